"""What the watch feeds, and how a dead one is told from an idle one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from tests.virtual import passes

from trimtab.adapters.clock import LoopClock
from trimtab.domain import kinds
from trimtab.domain.errors import ApiError, Forbidden, NotFound, Unavailable
from trimtab.domain.kube import Manifest
from trimtab.runtime.handlers import kopf_selector, kopf_settings
from trimtab.runtime.resync import WATCHED, Resync, WatchState, keys_of
from trimtab.runtime.workqueue import Key
from trimtab.simulate.client import Client, Request
from trimtab.simulate.cluster import InMemoryCluster, WatchEvent

pytestmark = pytest.mark.looptime

WEB = Key("default", "web")


class Bench:
    """Experiments in memory, a watch that can be cut, and a running resync."""

    def __init__(self, *namespaces: str) -> None:
        self.clock = LoopClock()
        self.cluster = InMemoryCluster(self.clock, namespaces=namespaces or ("default",))
        self.client = Client(self.cluster)
        self.client.before = self._before
        self.refused: dict[str, ApiError] = {}  # by namespace
        self.state = WatchState(self.clock)
        self.alive = True
        self.fed: list[tuple[float, Key]] = []
        self.listed: list[Mapping[Key, str]] = []
        self.errors: list[ApiError] = []
        self.cluster.subscribe(self._on_event)
        self.resync = Resync(
            self.client,
            self.clock,
            self.state,
            lambda key: self.fed.append((self.clock.monotonic(), key)),
            namespaces=namespaces,
            on_listed=self.listed.append,
            on_error=self.errors.append,
        )
        self.task = asyncio.create_task(self.resync.run())

    async def _before(self, request: Request) -> None:
        if request.namespace in self.refused:
            raise self.refused[request.namespace]

    def _on_event(self, event: WatchEvent) -> None:
        if self.alive and event.kind == kinds.EXPERIMENTS:
            self.state.delivered(event.object, event.type == "DELETED")

    async def make(self, name: str, target: str = "web") -> Manifest:
        body = {"metadata": {"name": name}, "spec": {"targetRef": {"name": target}}}
        return await self.cluster.create(kinds.EXPERIMENTS, "default", body)

    async def touch(self, name: str) -> None:
        found = await self.cluster.get(kinds.EXPERIMENTS, "default", name)
        n = (found.get("status") or {}).get("n", 0)
        body = {**found, "status": {"n": n + 1}}
        await self.cluster.replace(kinds.EXPERIMENTS, "default", name, body, subresource="status")

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_every_experiment_is_fed_at_the_start_and_each_minute() -> None:
    bench = Bench()
    made = await bench.make("web")
    await passes(130)
    assert bench.fed == [(0.0, WEB), (60.0, WEB), (120.0, WEB)]
    assert bench.listed[0] == {WEB: made["metadata"]["uid"]}
    await bench.end()


@pytest.mark.parametrize("answer", [Forbidden(403, "no right"), NotFound(404, "gone")])
async def test_a_namespace_without_rights_keeps_nothing_of_the_others(answer: ApiError) -> None:
    """Neither their feed nor the health of their watch, which goes on without it until it is back."""
    bench = Bench("default", "billing")
    await bench.make("web")
    bench.refused["billing"] = answer
    await passes(601)
    assert [key for _, key in bench.fed] == [WEB] * 11
    assert bench.state.age() <= 60
    assert bench.state.unread == {"billing"}
    assert bench.state.dead.is_set(), "the watch is started anew, without it"
    assert bench.listed == [], "who is missing may be in the namespace that nobody reads"
    assert bench.errors[0] is answer
    bench.state.anew()
    await passes(60)
    assert not bench.state.dead.is_set()
    bench.refused.clear()
    await passes(60)
    assert bench.state.unread == frozenset()
    assert bench.state.dead.is_set(), "and once more, with it"
    assert [list(each) for each in bench.listed] == [[WEB]]
    await bench.end()


async def test_a_namespace_that_does_not_answer_is_waited_for() -> None:
    bench = Bench("default", "billing")
    await bench.make("web")
    bench.refused["billing"] = Unavailable(503, "down")
    await passes(601)
    assert [key for _, key in bench.fed] == [WEB] * 11
    assert bench.state.age() > 600
    assert bench.listed == []
    assert not bench.state.dead.is_set()
    await bench.end()


async def test_an_idle_watch_is_healthy() -> None:
    bench = Bench()
    await bench.make("web")
    await passes(3600)
    assert bench.state.age() <= 60
    assert not bench.state.dead.is_set()
    await bench.end()


async def test_no_experiments_at_all_are_healthy_too() -> None:
    bench = Bench()
    await passes(3600)
    assert bench.state.age() <= 60
    await bench.end()


async def test_only_what_people_want_is_news() -> None:
    """The operator's own writes of a status wake nobody: each pass writes one."""
    bench = Bench()
    made = await bench.make("web")

    def delivered(**metadata: Any) -> bool:
        return bench.state.delivered({**made, "metadata": {**made["metadata"], **metadata}}, False)

    assert not delivered(resourceVersion="99")
    assert not delivered(annotations={"kubectl.kubernetes.io/last-applied-configuration": "{}"})
    assert not delivered(finalizers=["trimtab.dev/undo"])
    assert delivered(annotations={"trimtab.dev/pause": "me"})
    assert not delivered(annotations={"trimtab.dev/pause": "me"}, resourceVersion="100")
    assert delivered()  # the annotation was removed
    assert delivered(generation=made["metadata"].get("generation", 1) + 1)
    assert delivered(deletionTimestamp="2026-03-01T00:00:00Z")
    assert bench.state.delivered(made, deleted=True)
    assert delivered()  # another one of that name
    assert not delivered()
    bench.state.anew()
    assert delivered()  # whatever was missed by a watch that died
    await bench.end()


async def test_a_dead_watch_is_noticed_within_two_relists() -> None:
    bench = Bench()
    await bench.make("web")
    await passes(61)
    bench.alive = False
    await bench.touch("web")
    await passes(60)
    assert not bench.state.dead.is_set()
    await passes(60)
    assert bench.state.dead.is_set()
    assert bench.state.age() == pytest.approx(121)
    await bench.end()


async def test_a_watch_that_catches_up_is_not_dead() -> None:
    bench = Bench()
    await bench.make("web")
    await passes(61)
    bench.alive = False
    await bench.touch("web")
    await passes(60)
    bench.alive = True
    for _ in range(10):  # it was only slow; and it goes on writing, so no list ever shows what was delivered last
        await bench.touch("web")
        await passes(6)
    await passes(60)
    assert not bench.state.dead.is_set()
    assert bench.state.age() <= 60
    await bench.end()


async def test_an_experiment_deleted_unseen_is_no_evidence() -> None:
    bench = Bench()
    await bench.make("web")
    await passes(61)
    bench.alive = False
    await bench.touch("web")
    await passes(60)
    await bench.cluster.delete(kinds.EXPERIMENTS, "default", "web")
    await passes(120)
    assert not bench.state.dead.is_set()
    assert bench.state.tuning("default", "web") == ()
    await bench.end()


async def test_lists_that_fail_age_the_watch_and_are_tried_again() -> None:
    bench = Bench()

    async def down() -> tuple[Manifest, ...]:
        raise Unavailable(0, "down")

    await passes(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.cluster, "list", lambda *_, **__: down())
        await passes(600)
    assert bench.state.age() == pytest.approx(601)
    assert len(bench.errors) == 10
    assert not bench.state.dead.is_set()
    await passes(60)
    assert bench.state.age() <= 60
    await bench.end()


async def test_a_standby_that_waited_for_days_starts_fresh() -> None:
    clock = LoopClock()
    state = WatchState(clock)
    await passes(200_000)
    state.begin()
    assert state.age() == 0.0


async def test_a_target_is_known_by_its_experiments() -> None:
    bench = Bench()
    await bench.make("web")
    await bench.make("second")
    assert set(bench.state.tuning("default", "web")) == {WEB, Key("default", "second")}
    assert bench.state.tuning("other", "web") == ()
    found = await bench.cluster.get(kinds.EXPERIMENTS, "default", "second")
    moved = {**found, "spec": {"targetRef": {"name": "api"}}}
    await bench.cluster.replace(kinds.EXPERIMENTS, "default", "second", moved)
    assert bench.state.tuning("default", "web") == (WEB,)
    assert bench.state.tuning("default", "api") == (Key("default", "second"),)
    await bench.cluster.delete(kinds.EXPERIMENTS, "default", "web")
    assert bench.state.tuning("default", "web") == ()
    await bench.end()


@pytest.mark.parametrize(
    ("metadata", "keys"),
    [
        ({"labels": {"trimtab.dev/arm": "canary", "trimtab.dev/experiment": "e1"}}, (Key("default", "e1"),)),
        (
            {
                "labels": {"trimtab.dev/experiment": "cut-short"},
                "ownerReferences": [
                    {"apiVersion": "trimtab.dev/v1alpha1", "kind": "Experiment", "name": "cut-shorter"}
                ],
            },
            (Key("default", "cut-shorter"),),
        ),
        ({"name": "web"}, (WEB,)),
        ({"name": "stranger"}, ()),
        ({"name": "stranger", "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Experiment", "name": "x"}]}, ()),
    ],
)
async def test_an_object_concerns_its_experiments(metadata: dict[str, Any], keys: tuple[Key, ...]) -> None:
    bench = Bench()
    await bench.make("web")
    manifest = {"metadata": {"name": "a", "namespace": "default"} | metadata}
    assert tuple(keys_of(manifest, bench.state)) == keys
    await bench.end()


async def test_kopf_is_told_to_write_nothing() -> None:
    settings = kopf_settings()
    assert settings.posting.enabled is False
    assert settings.peering.standalone is True
    assert settings.scanning.disabled is True
    assert (settings.watching.server_timeout, settings.watching.client_timeout) == (120, 150)
    assert settings.networking.request_timeout == 15


async def test_only_our_own_pods_are_watched() -> None:
    assert kinds.PODS in WATCHED

    class Resource:
        group, plural = "metrics.k8s.io", "pods"

    assert not kopf_selector(kinds.PODS)(Resource())
