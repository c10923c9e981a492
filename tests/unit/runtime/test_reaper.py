"""Reap beside operators that live, die, stand still and are removed. Virtual time, the API server's semantics."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from trimtab.adapters.clock import LoopClock
from trimtab.api.times import format_seconds
from trimtab.domain import kinds
from trimtab.domain.errors import Forbidden, Throttled, Unavailable
from trimtab.domain.names import (
    ANNOTATION_DEADLINE,
    ARM_RESOURCES,
    FINALIZER,
    LABEL_ARM,
    LABEL_EXPERIMENT,
    LABEL_EXPERIMENT_UID,
    LABEL_TRIAL,
)
from trimtab.runtime.lease import Elector
from trimtab.runtime.reap import lease_missing
from trimtab.runtime.reaper import LIMIT_SECONDS, Reaped, Reaper, Where
from trimtab.runtime.uninstall import AFTERWARDS_SECONDS, Uninstall
from trimtab.simulate.client import Client, Request
from trimtab.simulate.cluster import InMemoryCluster
from trimtab.simulate.objects import SERVED
from trimtab.slo.reap import STALE_SECONDS, STRAY_SECONDS

pytestmark = pytest.mark.looptime

EXPERIMENT_UID = "0f0e0d0c-0b0a-4908-8706-050403020100"
WHERE = Where("trimtab", "trimtab-operator")
SOON = 900.0  # until the arms' deadline


class Ground:
    """A cluster with namespaces `shop` and `other`, and the connection of the process under test."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.cluster = InMemoryCluster(self.clock, namespaces=["shop", "other", "trimtab"])
        self.client = Client(self.cluster)
        self.deletions: list[str] = []
        self.client.before = self._note

    async def _note(self, request: Request) -> None:
        if request.verb == "delete":
            self.deletions.append(f"{request.kind.name}/{request.name}")

    def reaper(self, *namespaces: str) -> Reaper:
        return Reaper(self.client, self.clock, Where("trimtab", "trimtab-operator", namespaces))

    async def trial(self, phase: str = "Measuring", namespace: str = "shop", index: int = 1) -> str:
        """A Trial with a canary that serves; returns its uid."""
        kind, name = kinds.TRIALS, f"tune-{index}"
        metadata = {"name": name, "namespace": namespace, "finalizers": [FINALIZER]}
        body = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "spec": {}}
        made = await self.cluster.create(kind, namespace, body)
        uid = str(made["metadata"]["uid"])
        await self.phase(name, phase, namespace)
        await self.arm(uid, name, namespace, index)
        return uid

    async def phase(self, name: str, phase: str, namespace: str = "shop") -> None:
        self.cluster.objects.set_status(kinds.TRIALS, namespace, name, {"phase": phase})

    async def arm(self, uid: str, trial_name: str, namespace: str = "shop", index: int = 1, **labels: str) -> None:
        """A canary: Deployment, ReplicaSet, pod, and the pod's ready endpoint."""
        deadline = format_seconds(self.clock.now() + SOON)
        name = f"tt-0f0e0d0c-{index}-c"
        for kind, suffix in ((kinds.DEPLOYMENTS, ""), (kinds.REPLICA_SETS, "-6d4c"), (kinds.PODS, "-6d4c-abcde")):
            metadata = {
                "name": name + suffix,
                "namespace": namespace,
                "labels": {
                    LABEL_ARM: "canary", LABEL_EXPERIMENT_UID: EXPERIMENT_UID, LABEL_EXPERIMENT: "tune",
                    LABEL_TRIAL: uid,
                } | labels,
                "annotations": {ANNOTATION_DEADLINE: deadline, "trimtab.dev/trial-name": trial_name},
            }  # fmt: skip
            template = {"metadata": {}, "spec": {"containers": [{"name": "web"}]}}
            spec = {"containers": []} if kind is kinds.PODS else {"selector": {"matchLabels": {}}, "template": template}
            body = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "spec": spec}
            await self.cluster.create(kind, namespace, body)

    async def left(self, namespace: str = "shop") -> list[str]:
        found = []
        for kind in (kinds.DEPLOYMENTS, kinds.REPLICA_SETS, kinds.PODS):
            found += [m["metadata"]["name"] for m in await self.cluster.list(kind, namespace, labels=LABEL_ARM)]
        return found

    def elector(self, identity: str = "one") -> Elector:
        return Elector(self.cluster, self.clock, namespace="trimtab", name="trimtab-operator", identity=identity)


class Led:
    """An operator that holds the Lease while the block runs; it releases it at the end, or just stops."""

    def __init__(self, ground: Ground, identity: str = "one", *, release: bool = False) -> None:
        self.elector, self._release = ground.elector(identity), release
        self._stop, self.started, self.lost = asyncio.Event(), asyncio.Event(), list[str]()

    async def __aenter__(self) -> Led:
        run = self.elector.run(self._stop, on_started=self.started.set, on_lost=self.lost.append)
        self._task = asyncio.ensure_future(run)
        await self.started.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._release:
            self._stop.set()
            await self._task
        self._task.cancel()
        await asyncio.wait({self._task})


@contextmanager
def failing(client: Client, error: Exception, verb: str, kind: kinds.Kind) -> Iterator[None]:
    """Every such request fails."""
    before = client.before

    async def fail(request: Request) -> None:
        if (request.verb, request.kind) == (verb, kind):
            raise error

    client.before = fail
    try:
        yield
    finally:
        client.before = before


async def test_nothing_there_is_done_at_once() -> None:
    ground = Ground()
    reaped = await ground.reaper().once()
    assert (reaped.removed, reaped.problems, ground.clock.monotonic()) == ((), (), 0.0)


async def test_a_live_trial_of_a_living_leader_is_left_alone() -> None:
    ground = Ground()
    await ground.trial()
    async with Led(ground):
        for _ in range(20):
            begun = ground.clock.monotonic()
            reaped = await ground.reaper().once()
            assert reaped.kept == ("shop/tune-1",)
            assert ground.clock.monotonic() - begun <= 4.0
            await ground.clock.sleep(60.0 - 4.0)
            if ground.clock.monotonic() > SOON - 60.0:
                break
    assert ground.deletions == []


async def test_all_arms_go_once_the_leader_has_not_renewed_for_a_minute() -> None:
    ground = Ground()
    await ground.trial()
    await ground.trial(namespace="other", index=2)
    async with Led(ground):
        pass
    died = ground.clock.monotonic()
    reaped = await ground.reaper().once()
    assert reaped.removed == ("other/tune-2", "shop/tune-1")
    assert reaped.problems == ()
    assert await ground.left() == []
    assert STALE_SECONDS <= ground.clock.monotonic() - died <= STALE_SECONDS + 8.0
    shop = [d for d in ground.deletions if "-1-c" in d]
    assert shop == ["Deployment/tt-0f0e0d0c-1-c", "ReplicaSet/tt-0f0e0d0c-1-c-6d4c", "Pod/tt-0f0e0d0c-1-c-6d4c-abcde"]


async def test_a_lease_that_was_given_up_counts_as_nobodys() -> None:
    ground = Ground()
    await ground.trial()
    async with Led(ground, release=True):
        pass
    reaped = await ground.reaper().once()
    assert reaped.removed == ("shop/tune-1",)
    assert ground.clock.monotonic() >= STALE_SECONDS


async def test_a_successor_within_the_minute_keeps_its_trial() -> None:
    ground = Ground()
    await ground.trial()
    async with Led(ground):
        pass
    run = asyncio.ensure_future(ground.reaper().once())
    await ground.clock.sleep(30.0)
    async with Led(ground, "two"):
        reaped = await run
    assert reaped.kept == ("shop/tune-1",)
    assert ground.deletions == []


async def test_arms_past_their_deadline_go_though_somebody_leads() -> None:
    ground = Ground()
    await ground.trial()
    await ground.clock.sleep(SOON + 61.0)
    async with Led(ground):
        begun = ground.clock.monotonic()
        reaped = await ground.reaper().once()
        assert reaped.removed == ("shop/tune-1",)
        assert ground.clock.monotonic() - begun < 10.0


@pytest.mark.parametrize("how", ["ended", "gone", "another of its name"])
async def test_strays_go_when_a_living_leader_does_not_remove_them(how: str) -> None:
    ground = Ground()
    await ground.trial(phase="Succeeded" if how == "ended" else "Measuring")
    if how != "ended":
        await ground.arm("another-uid", "tune-1" if how == "another of its name" else "nobody", index=2)
    async with Led(ground):
        begun = ground.clock.monotonic()
        reaped = await ground.reaper().once()
        assert len(reaped.removed) == 1
        assert STRAY_SECONDS <= ground.clock.monotonic() - begun <= STRAY_SECONDS + 8.0
    assert len(await ground.left()) == (0 if how == "ended" else 3)


async def test_another_namespace_is_not_touched() -> None:
    ground = Ground()
    await ground.trial()
    await ground.trial(namespace="other", index=2)
    reaped = await ground.reaper("shop").once()
    assert reaped.removed == ("shop/tune-1",)
    assert len(await ground.left("other")) == 3


async def test_two_at_once_do_it_once() -> None:
    ground = Ground()
    await ground.trial()
    first, second = await asyncio.gather(ground.reaper().once(), ground.reaper().once())
    assert first.problems == second.problems == ()
    assert await ground.left() == []


async def holding_pod(ground: Ground) -> None:
    """The canary's pod takes its time to end: in tests a finalizer stands for a long grace period."""
    name = "tt-0f0e0d0c-1-c-6d4c-abcde"
    found = ground.cluster.objects.need(kinds.PODS, "shop", name)
    held = {**found, "metadata": {**found["metadata"], "finalizers": ["somebody.example/grace"]}}
    ground.cluster.put(kinds.PODS, "shop", name, held)


async def test_a_pod_that_ends_slowly_is_no_failure() -> None:
    ground = Ground()
    await ground.trial()
    await holding_pod(ground)
    reaped = await ground.reaper().once()
    assert (reaped.removed, reaped.problems) == (("shop/tune-1",), ())
    assert await ground.left() == ["tt-0f0e0d0c-1-c-6d4c-abcde"]
    begun = ground.clock.monotonic()
    again = await ground.reaper().once()
    assert (again, ground.clock.monotonic()) == (Reaped(), begun), "nothing is left to do for the next run"


async def test_all_lets_go_while_a_pod_ends_slowly() -> None:
    ground = Ground()
    await ground.trial()
    await holding_pod(ground)
    reaped = await Uninstall(ground.client, ground.clock, WHERE, "one").run()
    assert reaped.problems == ()
    assert await held(ground) == []


async def test_a_trial_that_cannot_be_read_is_said_with_the_servers_words() -> None:
    ground = Ground()
    await ground.trial()
    with failing(ground.client, Forbidden(403, "cannot get trials"), "get", kinds.TRIALS):
        async with Led(ground):
            reaped = await ground.reaper().once()
    assert "its Trial could not be read (403: cannot get trials)" in reaped.problems[0]
    assert ground.deletions == []


async def test_what_stays_is_named_with_what_to_type() -> None:
    ground = Ground()
    uid = await ground.trial()
    with failing(ground.client, Forbidden(403, 'User "reap" cannot delete resource "pods"'), "delete", kinds.PODS):
        reaped = await ground.reaper().once()
    assert ground.clock.monotonic() == pytest.approx(LIMIT_SECONDS)
    assert "arms of shop/tune-1 are still there after 150 s" in reaped.problems[0]
    assert f"kubectl -n shop delete {ARM_RESOURCES} -l {LABEL_TRIAL}={uid}" in reaped.problems[0]
    assert 'cannot delete resource "pods"' in " ".join(reaped.problems)


async def test_one_that_stays_keeps_no_other() -> None:
    ground = Ground()
    await ground.trial()
    await ground.trial(namespace="other", index=2)
    stuck = ground.cluster.objects.need(kinds.DEPLOYMENTS, "shop", "tt-0f0e0d0c-1-c")
    held = {**stuck, "metadata": {**stuck["metadata"], "finalizers": ["somebody.example/holds"]}}
    ground.cluster.put(kinds.DEPLOYMENTS, "shop", "tt-0f0e0d0c-1-c", held)
    reaped = await ground.reaper().once()
    assert reaped.removed == ("other/tune-2",)
    assert await ground.left() == ["tt-0f0e0d0c-1-c"]
    assert reaped.problems[0].startswith("arms of shop/tune-1 are still there")


async def test_a_lease_that_cannot_be_read_is_said_and_deadlines_count_all_the_same() -> None:
    ground = Ground()
    await ground.trial()
    await ground.clock.sleep(SOON + 61.0)
    await ground.trial(index=2)
    with failing(ground.client, Forbidden(403, "cannot get leases"), "get", kinds.LEASES):
        reaped = await ground.reaper().once()
    assert reaped.removed == ("shop/tune-1",)
    assert "Lease trimtab/trimtab-operator cannot be read" in reaped.problems[0]
    assert "shop/tune-2" in reaped.problems[-1]


async def test_an_api_server_that_is_away_for_a_while_is_no_reason_to_remove_anything() -> None:
    """Neither can a leader renew meanwhile; it needs a moment afterwards, too."""
    ground = Ground()
    await ground.trial()
    async with Led(ground):
        run = asyncio.ensure_future(ground.reaper().once())
        await ground.clock.sleep(0.5)
    with failing(ground.client, Unavailable(503, "away"), "get", kinds.LEASES):
        await ground.clock.sleep(59.0)
    await ground.clock.sleep(15.0)
    async with Led(ground, "two"):
        reaped = await run
    assert reaped.kept == ("shop/tune-1",)
    assert ground.deletions == []


async def test_a_lease_that_may_not_be_read_is_said_before_it_matters() -> None:
    ground = Ground()
    with failing(ground.client, Forbidden(403, "cannot get leases"), "get", kinds.LEASES):
        reaped = await ground.reaper().once()
    assert len(reaped.problems) == 1
    assert "Lease trimtab/trimtab-operator cannot be read" in reaped.problems[0]


async def test_a_namespace_that_cannot_be_looked_at_keeps_no_other() -> None:
    ground = Ground()
    await ground.trial()
    before = ground.client.before

    async def forbidden(request: Request) -> None:
        if request.namespace == "other" and request.verb == "list":
            raise Forbidden(403, "cannot list deployments")
        assert before is not None
        await before(request)

    ground.client.before = forbidden
    reaped = await ground.reaper("other", "shop").once()
    assert reaped.removed == ("shop/tune-1",)
    assert reaped.problems == ("arms in other cannot be listed: 403: cannot list deployments",)
    assert await ground.left() == []


async def test_it_asks_no_sooner_than_the_server_wants() -> None:
    ground = Ground()
    await ground.trial()
    asked: list[float] = []

    async def throttled(request: Request) -> None:
        if request.kind == kinds.DEPLOYMENTS:
            asked.append(ground.clock.monotonic())
            raise Throttled("slow down", 40.0)

    ground.client.before = throttled
    reaped = await ground.reaper().once()
    assert asked == [0.0, 40.0, 80.0, 120.0]
    assert "arms cannot be listed" in reaped.problems[0]


async def test_one_that_watches_for_ever_sees_what_happens_and_ends_when_told() -> None:
    ground, stop = Ground(), asyncio.Event()
    watching = asyncio.ensure_future(ground.reaper().forever(stop))
    async with Led(ground):
        await ground.trial()
        await ground.clock.sleep(100.0)
        assert ground.deletions == []
    await ground.clock.sleep(STALE_SECONDS + 15.0)
    assert await ground.left() == []
    stop.set()
    await watching


# Before everything is removed


async def experiment(ground: Ground, name: str = "tune", namespace: str = "shop") -> None:
    kind = kinds.EXPERIMENTS
    metadata = {"name": name, "namespace": namespace, "finalizers": ["somebody.example/too", FINALIZER]}
    await ground.cluster.create(
        kind, namespace, {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "spec": {}}
    )


async def held(ground: Ground) -> list[str]:
    found = [*await ground.cluster.list(kinds.TRIALS, None), *await ground.cluster.list(kinds.EXPERIMENTS, None)]
    return [m["metadata"]["name"] for m in found if FINALIZER in (m["metadata"].get("finalizers") or ())]


async def test_all_takes_the_lead_removes_arms_and_lets_go() -> None:
    ground = Ground()
    await ground.trial()
    await experiment(ground)
    async with Led(ground) as leader:
        reaped = await Uninstall(ground.client, ground.clock, WHERE, "one").run()
        assert leader.lost, "the leader has noticed"
    assert (reaped.removed, reaped.problems) == (("shop/tune-1",), ())
    assert await ground.left() == await held(ground) == []
    kept = await ground.cluster.get(kinds.EXPERIMENTS, "shop", "tune")
    assert kept["metadata"]["finalizers"] == ["somebody.example/too"]


async def test_all_waits_until_the_leader_has_noticed_before_it_touches_anything() -> None:
    ground = Ground()
    await ground.trial()
    async with Led(ground) as leader:
        begun = ground.clock.monotonic()

        async def noticing(request: Request) -> None:
            if request.verb == "delete" or (request.verb, request.kind) == ("replace", kinds.TRIALS):
                assert ground.clock.monotonic() - begun >= 15.0
                assert not leader.elector.leading

        ground.client.before = noticing
        await Uninstall(ground.client, ground.clock, WHERE, "one").run()
    assert await ground.left() == []


async def test_after_all_nobody_leads_for_a_minute_and_then_somebody_may() -> None:
    ground = Ground()
    async with Led(ground):
        await Uninstall(ground.client, ground.clock, WHERE, "one").run()
        done = ground.clock.monotonic()
    async with Led(ground, "two"):
        assert AFTERWARDS_SECONDS <= ground.clock.monotonic() - done <= AFTERWARDS_SECONDS + 5.0


async def test_all_that_was_killed_keeps_operators_away_for_no_more_than_a_minute() -> None:
    """Nobody watches canaries then."""
    ground = Ground()
    await ground.trial()
    with failing(ground.client, Unavailable(500, "webhook"), "delete", kinds.DEPLOYMENTS):
        async with Led(ground):
            run = asyncio.ensure_future(Uninstall(ground.client, ground.clock, WHERE, "one").run())
            await ground.clock.sleep(100.0)
    lease = await ground.cluster.get(kinds.LEASES, "trimtab", "trimtab-operator")
    assert lease["spec"]["holderIdentity"] == "uninstall_one", "it renews while it lives"
    run.cancel()
    killed = ground.clock.monotonic()
    async with Led(ground, "two"):
        assert ground.clock.monotonic() - killed <= AFTERWARDS_SECONDS + 5.0


async def test_all_whose_lease_is_taken_away_waits_again() -> None:
    ground = Ground()
    await ground.trial()
    taken: list[float] = []

    async def take(request: Request) -> None:
        if request.verb == "delete" and not taken:
            taken.append(ground.clock.monotonic())
            lease = await ground.cluster.get(kinds.LEASES, "trimtab", "trimtab-operator")
            spec = {**lease["spec"], "holderIdentity": "two", "leaseDurationSeconds": 30}
            await ground.cluster.replace(kinds.LEASES, "trimtab", "trimtab-operator", {**lease, "spec": spec})
            raise Unavailable(500, "webhook")

    ground.client.before = take
    reaped = await Uninstall(ground.client, ground.clock, WHERE, "one").run()
    assert reaped.problems == ()
    assert ground.clock.monotonic() - taken[0] >= 30.0


async def test_all_where_no_operator_ever_was() -> None:
    ground = Ground()
    await experiment(ground)
    reaped = await Uninstall(ground.client, ground.clock, WHERE, "one").run()
    assert reaped.problems == ()
    assert await held(ground) == []


async def test_what_has_arms_left_stays_held() -> None:
    ground = Ground()
    await ground.trial()
    await ground.trial(index=2)
    with failing(ground.client, Unavailable(500, "webhook"), "delete", kinds.REPLICA_SETS):
        reaped = await Uninstall(ground.client, ground.clock, WHERE, "one").run()
    assert await held(ground) == ["tune-1", "tune-2"]
    assert "arms of shop/tune-1 cannot be deleted (Trimtab is being removed): 500: webhook" in reaped.problems


async def test_an_answer_that_was_lost_makes_nobody_hasty() -> None:
    """The Lease was taken, but nobody knows for how long the leader has known."""
    ground = Ground()
    await ground.trial()
    lost: list[float] = []

    async def lose(request: Request) -> None:
        if (request.verb, request.kind) == ("replace", kinds.LEASES) and not lost:
            lost.append(ground.clock.monotonic())
            raise Unavailable(0, "no answer")

    ground.client.after = lose
    async with Led(ground):
        reaped = await Uninstall(ground.client, ground.clock, WHERE, "one").run()
    assert reaped.problems == ()
    assert ground.clock.monotonic() - lost[0] >= 15.0


async def test_all_that_has_no_more_time_says_what_it_was_doing() -> None:
    ground = Ground()
    await ground.trial()
    async with Led(ground):
        reaped = await Uninstall(ground.client, ground.clock, WHERE, "one").run(limit=16.0)
    assert reaped.problems == ("stopped after 16 s while removing arms",)


async def test_a_lease_that_cannot_be_taken_is_said() -> None:
    ground = Ground()
    with failing(ground.client, Forbidden(403, 'cannot update resource "leases"'), "get", kinds.LEASES):
        reaped = await Uninstall(ground.client, ground.clock, WHERE, "one").run()
    assert reaped.problems == ('403: cannot update resource "leases"',)


async def test_definitions_that_are_gone_hold_nothing() -> None:
    ground = Ground()
    ground.cluster = InMemoryCluster(
        ground.clock, namespaces=["shop", "trimtab"], served=SERVED - {kinds.EXPERIMENTS, kinds.TRIALS}
    )
    ground.client = Client(ground.cluster)
    await ground.arm("uid", "tune-1")
    reaped = await Uninstall(ground.client, ground.clock, WHERE, "one").run()
    assert (reaped.removed, reaped.problems) == (("shop/tune-1",), ())


async def test_all_where_the_operators_namespace_is_gone() -> None:
    """Nobody can lead there, and somebody has to let go."""
    ground = Ground()
    await ground.trial()
    gone = Where("deleted", "trimtab-operator")
    assert await lease_missing(ground.client, gone)
    reaped = await Uninstall(ground.client, ground.clock, gone, "one").run()
    assert (reaped.removed, reaped.problems) == (("shop/tune-1",), ())
    assert await held(ground) == []


async def test_only_a_lease_that_is_surely_not_there_is_missing() -> None:
    ground = Ground()
    assert await lease_missing(ground.client, WHERE)
    with failing(ground.client, Forbidden(403, "cannot get leases"), "get", kinds.LEASES):
        assert not await lease_missing(ground.client, WHERE)
    async with Led(ground):
        assert not await lease_missing(ground.client, WHERE)
