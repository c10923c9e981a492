"""Leadership and target locks over any Cluster: here in memory and in virtual time.

`tests/cluster/test_contract_cluster.py` has what of it can be shown on the real API server.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from tests.virtual import passes

from trimtab.adapters.clock import LoopClock
from trimtab.domain import kinds
from trimtab.domain.errors import Conflict, LeadershipLost, NotFound, RetryLater, Unavailable
from trimtab.ports import Cluster
from trimtab.runtime.lease import Elector, Heartbeat
from trimtab.runtime.targetlock import Claim, TargetLocks
from trimtab.simulate.cluster import Effect, InMemoryCluster

pytestmark = pytest.mark.looptime

Faulty = Callable[[Effect], Awaitable[None]]


class Candidate:
    """One operator's elector, running, with what it was told."""

    def __init__(self, cluster: Cluster, clock: LoopClock, name: str, *, heartbeat: Heartbeat | None = None) -> None:
        self.clock = clock
        self.elector = Elector(
            cluster,
            clock,
            namespace="default",
            name="operator",
            identity=name,
            heartbeat=heartbeat,
            rng=random.Random(name),
        )
        self.stop = asyncio.Event()
        self.started_at: float | None = None
        self.lost_at: float | None = None
        self.why = ""
        self.task = asyncio.create_task(
            self.elector.run(self.stop, on_started=self._on_started, on_lost=self._on_lost), name=name
        )

    def _on_started(self) -> None:
        self.started_at = self.clock.monotonic()

    def _on_lost(self, why: str) -> None:
        self.lost_at, self.why = self.clock.monotonic(), why


@pytest.fixture
def clock() -> LoopClock:
    return LoopClock()


@pytest.fixture
async def cluster(clock: LoopClock) -> InMemoryCluster:
    return InMemoryCluster(clock)


@pytest.fixture
async def candidate(cluster: InMemoryCluster, clock: LoopClock) -> AsyncIterator[Callable[..., Candidate]]:
    """Start candidates; those that still run at the end are cancelled."""
    started: list[Candidate] = []

    def start(name: str, over: Cluster | None = None, heartbeat: Heartbeat | None = None) -> Candidate:
        started.append(Candidate(over or cluster, clock, name, heartbeat=heartbeat))
        return started[-1]

    yield start
    for each in started:
        each.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await each.task


def only_for(name: str, fault: Faulty) -> Faulty:
    """The fault, but only for the requests of one candidate."""

    async def hook(effect: Effect) -> None:
        task = asyncio.current_task()
        if task is not None and task.get_name() == name:
            await fault(effect)

    return hook


async def holder(cluster: Cluster) -> str:
    return str((await cluster.get(kinds.LEASES, "default", "operator"))["spec"]["holderIdentity"])


async def test_the_first_candidate_leads_at_once_and_stays(
    candidate: Callable[..., Candidate], cluster: InMemoryCluster
) -> None:
    first = candidate("first")
    await passes(1)
    second = candidate("second")
    await passes(600)
    assert first.started_at == 0.0
    assert first.elector.leading
    assert first.elector.transitions == 0
    assert second.started_at is None
    assert not second.elector.leading
    assert second.elector.holder == "first"
    assert await holder(cluster) == "first"


async def test_times_are_written_in_utc_with_microseconds(
    candidate: Callable[..., Candidate], cluster: InMemoryCluster
) -> None:
    candidate("first")
    await passes(1.5)
    spec = (await cluster.get(kinds.LEASES, "default", "operator"))["spec"]
    assert spec == {
        "holderIdentity": "first",
        "leaseDurationSeconds": 15,
        "acquireTime": "2023-11-14T22:13:20.000000Z",
        "renewTime": "2023-11-14T22:13:20.000000Z",
        "leaseTransitions": 0,
    }


async def test_a_released_lease_is_taken_within_one_retry(candidate: Callable[..., Candidate]) -> None:
    first = candidate("first")
    await passes(1)
    second = candidate("second")
    await passes(30)
    first.stop.set()
    await first.task
    released = second.clock.monotonic()
    await passes(5)
    assert second.started_at is not None
    assert second.started_at - released <= 2.4
    assert second.elector.transitions == 1
    assert first.lost_at is None


async def test_a_dead_leader_is_replaced_after_the_duration_and_within_20_seconds(
    candidate: Callable[..., Candidate],
) -> None:
    first = candidate("first")
    await passes(1)
    second = candidate("second")
    await passes(59)
    first.task.cancel()
    died = second.clock.monotonic()
    await passes(30)
    assert second.started_at is not None
    assert 13.0 <= second.started_at - died <= 20.0


async def test_nobody_leads_beside_a_frozen_leader(
    candidate: Callable[..., Candidate], cluster: InMemoryCluster
) -> None:
    frozen = asyncio.Event()

    async def hang(_: Effect) -> None:
        await frozen.wait()

    first = candidate("first")
    await passes(1)
    second = candidate("second")
    await passes(60)
    assert first.elector.leading
    cluster.before_effect = only_for("first", hang)
    overlap = 0
    for _ in range(400):
        await passes(0.1)
        overlap += first.elector.leading and second.elector.leading
    assert overlap == 0
    assert second.elector.leading
    assert first.lost_at is not None
    assert first.why.startswith("lease default/operator lost: no answer within")


@pytest.mark.parametrize("error", [Unavailable(503, "down"), OSError("reset"), ValueError("garbage"), KeyError("x")])
async def test_every_exception_is_just_a_failed_renewal(
    candidate: Callable[..., Candidate], cluster: InMemoryCluster, error: Exception
) -> None:
    async def fail(_: Effect) -> None:
        raise error

    first = candidate("first")
    await passes(7)  # the last renewal began at 6 s
    cluster.before_effect = fail
    await passes(8.5)
    assert first.elector.leading
    assert first.lost_at is None
    cluster.before_effect = None
    await passes(3)
    assert first.elector.leading
    cluster.before_effect = fail
    await passes(20)
    assert not first.elector.leading
    assert first.lost_at is not None
    assert first.task.done()
    with pytest.raises(LeadershipLost):
        first.elector.check()


async def test_the_deadline_counts_from_the_start_of_the_last_renewal(
    candidate: Callable[..., Candidate], cluster: InMemoryCluster
) -> None:
    async def slow(_: Effect) -> None:
        await passes(2.5)

    first = candidate("first")
    await passes(1)
    cluster.after_effect = slow  # each renewal takes effect at once, but its answer needs 2.5 s
    await passes(10)

    async def fail(_: Effect) -> None:
        raise Unavailable(0, "down")

    cluster.after_effect, cluster.before_effect = None, fail
    renewals = [first.elector._renewed_at]
    await passes(20)
    assert first.lost_at == pytest.approx((renewals[0] or 0.0) + 10.0)


async def test_an_answer_that_was_lost_does_not_cost_the_lease(
    candidate: Callable[..., Candidate], cluster: InMemoryCluster
) -> None:
    lost = 0

    async def lose(_: Effect) -> None:
        nonlocal lost
        lost += 1
        if lost % 2:
            raise Unavailable(0, "time-out after the write")

    first = candidate("first")
    await passes(1)
    cluster.after_effect = lose
    await passes(300)
    assert first.elector.leading
    assert lost > 50


async def test_a_leader_that_was_replaced_stops_at_its_next_renewal(
    candidate: Callable[..., Candidate], cluster: InMemoryCluster
) -> None:
    first = candidate("first")
    await passes(1)
    await give(cluster, "usurper", transitions=1)
    await passes(5)
    assert first.why == "lease default/operator lost: taken over by usurper"
    assert await holder(cluster) == "usurper"


async def test_a_lease_that_somebody_deleted_is_made_again(
    candidate: Callable[..., Candidate], cluster: InMemoryCluster
) -> None:
    first = candidate("first")
    await passes(1)
    await cluster.delete(kinds.LEASES, "default", "operator")
    await passes(5)
    assert first.elector.leading
    assert await holder(cluster) == "first"


class TestConfirm:
    """A Trial carries another leader's stamp: is this one still the leader?"""

    async def test_an_earlier_leaders_trial_needs_no_look(
        self, candidate: Callable[..., Candidate], cluster: InMemoryCluster
    ) -> None:
        first = candidate("first")
        await passes(1)
        written: list[Effect] = []

        async def note(effect: Effect) -> None:
            written.append(effect)

        cluster.before_effect = note
        for stamp in ("first/7", "dead/0", "no stamp", ""):
            await first.elector.confirm(stamp)
        assert written == []

    async def test_whoever_was_replaced_learns_it_before_its_next_renewal(
        self, candidate: Callable[..., Candidate], cluster: InMemoryCluster
    ) -> None:
        first = candidate("first")
        await passes(1)
        await give(cluster, "usurper", transitions=1)
        assert first.elector.leading, "it cannot know"
        with pytest.raises(LeadershipLost, match="taken over by usurper"):
            await first.elector.confirm("usurper/1")
        await passes(3)
        assert first.why == "lease default/operator lost: held by usurper"

    async def test_a_lease_that_counts_anew_counts_on(
        self, candidate: Callable[..., Candidate], cluster: InMemoryCluster
    ) -> None:
        first = candidate("first")
        await passes(1)
        await first.elector.confirm("dead/4")
        await passes(3)
        assert first.elector.leading
        assert first.elector.stamp() == "first/5"
        assert (await cluster.get(kinds.LEASES, "default", "operator"))["spec"]["leaseTransitions"] == 5

    async def test_a_lease_that_does_not_answer_tells_nothing(
        self, candidate: Callable[..., Candidate], cluster: InMemoryCluster
    ) -> None:
        async def fail(_: Effect) -> None:
            raise Unavailable(503, "down")

        first = candidate("first")
        await passes(1)
        cluster.before_effect = fail
        with pytest.raises(RetryLater, match="other may lead, the Lease does not answer: Unavailable"):
            await first.elector.confirm("other/1")
        assert first.elector.leading


async def give(cluster: Cluster, to: str, transitions: int) -> None:
    """Somebody gives the Lease away."""
    lease = await cluster.get(kinds.LEASES, "default", "operator")
    spec = {**lease["spec"], "holderIdentity": to, "leaseTransitions": transitions}
    await cluster.replace(kinds.LEASES, "default", "operator", {**lease, "spec": spec})


async def test_no_wall_clock_decides(candidate: Callable[..., Candidate], clock: LoopClock) -> None:
    first = candidate("first")
    await passes(1)
    second = candidate("second")
    for skew in (-86_400.0, 86_400.0, 0.0, 3_600.0):
        clock.skew = skew
        await passes(20)
    assert first.elector.leading
    assert second.started_at is None


async def test_a_silent_safety_loop_costs_the_lease(candidate: Callable[..., Candidate], clock: LoopClock) -> None:
    beat = 0.0
    heartbeat = Heartbeat(age=lambda: clock.monotonic() - beat, limit=lambda: 30.0)
    first = candidate("first", heartbeat=heartbeat)
    for _ in range(20):
        await passes(10)
        beat = clock.monotonic()
    assert first.elector.leading
    await passes(60)
    assert first.lost_at is not None
    assert 30.0 + 8.0 <= first.lost_at - beat <= 30.0 + 10.0
    assert "safety loop silent for" in first.why


async def test_a_candidate_stops_while_it_waits(candidate: Callable[..., Candidate]) -> None:
    candidate("first")
    await passes(1)
    second = candidate("second")
    await passes(1)
    second.stop.set()
    await second.task
    assert second.started_at is None


class TestTargetLock:
    @pytest.fixture
    def locks(self, cluster: InMemoryCluster, clock: LoopClock) -> TargetLocks:
        return TargetLocks(cluster, clock)

    async def claim(self, cluster: InMemoryCluster, name: str) -> Claim:
        """An Experiment and its claim on the one target of these tests."""
        body = {"metadata": {"name": name}, "spec": {}}
        made = await cluster.create(kinds.EXPERIMENTS, "default", body)
        return Claim("t1", "default", name, made["metadata"]["uid"])

    async def finish(self, cluster: InMemoryCluster, name: str, phase: str) -> None:
        found = await cluster.get(kinds.EXPERIMENTS, "default", name)
        body = {**found, "status": {"phase": phase}}
        await cluster.replace(kinds.EXPERIMENTS, "default", name, body, subresource="status")

    async def arm(self, cluster: InMemoryCluster, claim: Claim) -> None:
        labels = {"trimtab.dev/arm": "canary", "trimtab.dev/experiment-uid": claim.experiment_uid}
        await cluster.create(kinds.DEPLOYMENTS, "default", {"metadata": {"name": "tt-1-c", "labels": labels}})

    async def test_one_holds_it_and_the_other_learns_who(self, cluster: InMemoryCluster, locks: TargetLocks) -> None:
        first, second = await self.claim(cluster, "first"), await self.claim(cluster, "second")
        assert await locks.peek(first) is None
        await locks.acquire(first)
        await locks.acquire(first)
        mine = await locks.peek(first)
        assert mine is not None
        assert mine.uid == first.experiment_uid
        blocked = await locks.peek(second)
        assert blocked is not None
        assert (blocked.namespace, blocked.name, blocked.uid) == ("default", "first", first.experiment_uid)
        with pytest.raises(Conflict, match="locked by Experiment default/first"):
            await locks.acquire(second)

    async def test_a_holder_that_lost_its_name_keeps_it(self, cluster: InMemoryCluster, locks: TargetLocks) -> None:
        first, second = await self.claim(cluster, "first"), await self.claim(cluster, "second")
        await locks.acquire(first)
        lease = await cluster.get(kinds.LEASES, "default", first.lease_name)
        metadata = {**lease["metadata"], "annotations": {}}
        await cluster.replace(kinds.LEASES, "default", first.lease_name, {**lease, "metadata": metadata})
        blocked = await locks.peek(second)
        assert blocked is not None
        assert f"uid {first.experiment_uid} in default" in blocked.title
        assert "lacks the annotation trimtab.dev/holder" in blocked.title
        with pytest.raises(Conflict, match="lacks the annotation"):
            await locks.acquire(second)
        await locks.acquire(first)
        await locks.release(first)
        assert await locks.peek(second) is None

    async def test_time_does_not_free_it(self, cluster: InMemoryCluster, locks: TargetLocks) -> None:
        first, second = await self.claim(cluster, "first"), await self.claim(cluster, "second")
        await locks.acquire(first)
        await passes(30 * 86_400)
        assert await locks.peek(second) is not None

    async def test_it_is_free_after_release(self, cluster: InMemoryCluster, locks: TargetLocks) -> None:
        first, second = await self.claim(cluster, "first"), await self.claim(cluster, "second")
        await locks.acquire(first)
        await locks.release(second)
        assert await locks.peek(second) is not None
        await locks.release(first)
        await locks.release(first)
        assert await locks.peek(second) is None
        await locks.acquire(second)
        await locks.release(first)
        held = await locks.peek(second)
        assert held is not None
        assert held.name == "second"

    @pytest.mark.parametrize("phase", ["Completed", "Stopped", "Failed"])
    async def test_a_finished_holder_without_arms_is_followed(
        self, cluster: InMemoryCluster, locks: TargetLocks, phase: str
    ) -> None:
        first, second = await self.claim(cluster, "first"), await self.claim(cluster, "second")
        await locks.acquire(first)
        await self.arm(cluster, first)
        await self.finish(cluster, "first", phase)
        blocked = await locks.peek(second)
        assert blocked is not None
        assert blocked.why == f"it is finished ({phase}), but Deployment tt-1-c of it is still there"
        await cluster.delete(kinds.DEPLOYMENTS, "default", "tt-1-c")
        assert await locks.peek(second) is None
        await locks.acquire(second)

    async def test_a_paused_holder_keeps_it(self, cluster: InMemoryCluster, locks: TargetLocks) -> None:
        first, second = await self.claim(cluster, "first"), await self.claim(cluster, "second")
        await locks.acquire(first)
        await self.finish(cluster, "first", "Paused")
        assert await locks.peek(second) is not None

    async def test_it_goes_with_its_holder(self, cluster: InMemoryCluster, locks: TargetLocks) -> None:
        first = await self.claim(cluster, "first")
        await locks.acquire(first)
        await cluster.delete(kinds.EXPERIMENTS, "default", "first")
        with pytest.raises(NotFound):
            await cluster.get(kinds.LEASES, "default", first.lease_name)

    async def test_a_namesake_is_not_the_holder(self, cluster: InMemoryCluster, locks: TargetLocks) -> None:
        first = await self.claim(cluster, "first")
        await locks.acquire(first)
        lease = await cluster.get(kinds.LEASES, "default", first.lease_name)
        await cluster.delete(kinds.EXPERIMENTS, "default", "first")  # collects the Lease: put it back, as if not yet
        metadata = {"name": first.lease_name, "annotations": lease["metadata"]["annotations"]}
        await cluster.create(kinds.LEASES, "default", {"metadata": metadata, "spec": lease["spec"]})
        again = await self.claim(cluster, "first")
        assert await locks.peek(again) is None
        await locks.acquire(again)
        held = await locks.peek(again)
        assert held is not None
        assert held.uid == again.experiment_uid

    async def test_of_two_at_once_one_is_told_to_ask_again(self, cluster: InMemoryCluster, clock: LoopClock) -> None:
        first, second = await self.claim(cluster, "first"), await self.claim(cluster, "second")
        locks = TargetLocks(cluster, clock)
        barrier = asyncio.Barrier(2)

        async def meet(_: Effect) -> None:
            await barrier.wait()

        cluster.before_effect = meet
        results = await asyncio.gather(locks.acquire(first), locks.acquire(second), return_exceptions=True)
        cluster.before_effect = None
        assert sorted(type(r).__name__ for r in results) == ["Conflict", "NoneType"]
