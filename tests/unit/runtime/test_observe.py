"""What a pass reads: all of it, or only what undoing and answering people need."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.control import scaled
from tests.unit.control.builders import NOW, experiment, running, spec
from tests.virtual import passes

from trimtab.adapters.clock import LoopClock
from trimtab.adapters.ledger import KubernetesLedger
from trimtab.control.snapshot import Snapshot
from trimtab.domain import kinds
from trimtab.domain.errors import Forbidden
from trimtab.domain.names import ANNOTATION_PAUSE, ANNOTATION_ROLLBACK, ANNOTATION_SKIP
from trimtab.ports import ExperimentRecord
from trimtab.runtime.killswitch import KillSwitches, OwnDeployment
from trimtab.runtime.observe import SHARED_SECONDS, SURROUNDING_KINDS, VERSION_SECONDS, Observer
from trimtab.runtime.targetlock import TargetLocks
from trimtab.runtime.withdraw import Latch
from trimtab.simulate.client import Client, Request
from trimtab.simulate.cluster import InMemoryCluster

pytestmark = pytest.mark.looptime

TARGET: dict[str, Any] = {
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web"}]}},
    },
}
AROUND = frozenset(("list", kind.plural) for kind in SURROUNDING_KINDS)


class Bench:
    """An Observer over a small cluster, and a count of its requests."""

    def __init__(self) -> None:
        self.clock = LoopClock(NOW)
        self.cluster = InMemoryCluster(self.clock, namespaces=["shop"])
        self.client = Client(self.cluster)
        self.client.before = self._count
        self.asked: Counter[str] = Counter()
        ledger, locks = KubernetesLedger(self.client), TargetLocks(self.client, self.clock)
        switches = KillSwitches(self.client, OwnDeployment("shop", "operator"))
        self.observer = Observer(self.client, ledger, self.clock, locks, lambda: "me/3", switches, Latch())

    async def _count(self, request: Request) -> None:
        self.asked[str(request)] += 1

    async def look(self, record: ExperimentRecord | None = None, **how: Any) -> Snapshot:
        if await self.cluster.list(kinds.DEPLOYMENTS, "shop") == ():
            await self.cluster.create(kinds.DEPLOYMENTS, "shop", TARGET)
        return await self.observer.observe(record or experiment(), self.clock.now(), **how)


async def test_a_whole_look_has_the_target_and_what_is_around_it() -> None:
    seen = await Bench().look()
    assert not seen.partial
    assert seen.target is not None
    assert seen.surroundings is not None
    assert seen.leader == "me/3"


async def test_whose_pods_other_autoscalers_count_is_read_where_arms_scale() -> None:
    bench = Bench()
    for kind, name in (("Deployment", "api"), ("StatefulSet", "gone"), ("Rollout", "foreign")):
        reference = {"apiVersion": "apps/v1", "kind": kind, "name": name}
        body = {"metadata": {"name": name}, "spec": {"scaleTargetRef": reference, "maxReplicas": 9}}
        await bench.cluster.create(kinds.HORIZONTAL_POD_AUTOSCALERS, "shop", body)
    other = {**TARGET, "metadata": {"name": "api"}}
    await bench.cluster.create(kinds.DEPLOYMENTS, "shop", TARGET)
    await bench.cluster.create(kinds.DEPLOYMENTS, "shop", other)
    plain = (await bench.look()).surroundings
    assert plain is not None
    assert plain.scaled_elsewhere == ()
    scaling = (await bench.look(experiment(spec=spec(route=scaled.ROUTE)))).surroundings
    assert scaling is not None
    assert [(o.name, o.selector) for o in scaling.scaled_elsewhere] == [("api", (("app", "web"),))]
    assert sorted(a.name for a in scaling.other_autoscalers) == ["api", "foreign", "gone"]


async def test_an_upgraded_api_server_is_noticed_and_asked_seldom() -> None:
    bench = Bench()
    answers = iter(["v1.32.1", "v1.36.0"])

    async def answer() -> str:
        return next(answers)

    bench.client.version = answer  # type: ignore[method-assign]

    async def version() -> str:
        around = (await bench.look()).surroundings
        assert around is not None
        return around.kubernetes_version

    assert [await version(), await version()] == ["v1.32.1"] * 2
    await passes(VERSION_SECONDS)
    assert await version() == "v1.36.0"


@pytest.mark.parametrize(
    "changes",
    [
        {"deleting": True},
        {"annotations": ((ANNOTATION_PAUSE, ""),)},
        {"annotations": ((ANNOTATION_ROLLBACK, "me"),)},
        {"quick": True},
    ],
    ids=["deletion", "pause", "rollback", "asked for"],
)
async def test_undoing_and_answering_need_few_requests(changes: dict[str, Any]) -> None:
    bench, quick = Bench(), "quick" in changes
    record = experiment() if quick else experiment(**changes)
    seen = await bench.look(record, quick=quick)
    assert seen.partial
    assert seen.target is None
    assert sum(bench.asked.values()) <= 7
    assert not any(request.startswith("list:") and request[5:] in {"LimitRange", "Service"} for request in bench.asked)


async def test_a_skip_is_answered_from_a_whole_look_while_there_is_one() -> None:
    assert not (await Bench().look(experiment(annotations=((ANNOTATION_SKIP, "3"),)))).partial


RIGHTS = sorted(AROUND | {("get", "deployments"), ("get", "namespaces"), ("get", "leases")})


@pytest.mark.parametrize("right", RIGHTS, ids=" ".join)
async def test_no_right_around_an_experiment_is_needed_to_hear_people(right: tuple[str, str]) -> None:
    bench = Bench()
    bench.client.missing = frozenset({right})
    with pytest.raises(Forbidden, match=right[1]):
        await bench.look(experiment())
    assert (await bench.look(experiment(annotations=((ANNOTATION_PAUSE, "me"),)))).partial
    assert (await bench.look(experiment(), quick=True)).partial


async def test_a_trial_that_cannot_be_read_hides_no_other() -> None:
    bench = Bench()
    labels = {"trimtab.dev/experiment": "web", "trimtab.dev/experiment-uid": experiment().uid}
    await bench.cluster.create(kinds.TRIALS, "shop", {"metadata": {"name": "web-0", "labels": labels}, "spec": {}})
    seen = await bench.look()
    assert [broken.name for broken in seen.broken] == ["web-0"]
    assert seen.trials == ()


class TestShared:
    """What is around a live trial's target is not read on every pass."""

    def live(self) -> ExperimentRecord:
        return experiment(running(active=("web-0",)))

    async def around(self, bench: Bench, record: ExperimentRecord) -> int:
        """How often the Services were listed for one look."""
        before = bench.asked["list:Service"]
        await bench.look(record)
        return bench.asked["list:Service"] - before

    async def test_it_is_read_once_in_a_while(self) -> None:
        bench, live = Bench(), self.live()
        assert [await self.around(bench, live) for _ in range(5)] == [1, 0, 0, 0, 0]
        await bench.clock.sleep(SHARED_SECONDS)
        assert await self.around(bench, live) == 1

    async def test_it_is_read_anew_while_no_trial_is_live(self) -> None:
        """A gate must see what is there when a trial starts, and a person who repairs something waits for it."""
        bench = Bench()
        assert [await self.around(bench, experiment()) for _ in range(3)] == [1, 1, 1]

    async def test_it_is_read_anew_when_the_target_changed(self) -> None:
        bench, live = Bench(), self.live()
        await self.around(bench, live)
        found = await bench.cluster.get(kinds.DEPLOYMENTS, "shop", "web")
        await bench.cluster.replace(
            kinds.DEPLOYMENTS, "shop", "web", {**found, "spec": {**found["spec"], "replicas": 7}}
        )
        assert await self.around(bench, live) == 1

    async def test_experiments_share_nothing(self) -> None:
        bench, live = Bench(), self.live()
        await self.around(bench, live)
        assert await self.around(bench, replace(live, uid="another")) == 1
