"""Leadership over any Cluster: here in memory and in virtual time.

`tests/cluster/test_contract_lease.py` runs the classes on the real API server; what needs virtual time, or faults in
the middle of a request, is outside of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import pytest
from tests.contract.place import Place, in_memory
from tests.virtual import passes

from trimtab.adapters.clock import LoopClock
from trimtab.domain import kinds
from trimtab.domain.errors import Conflict, LeadershipLost, RetryLater, Unavailable
from trimtab.ports import Clock, Cluster
from trimtab.runtime.lease import Elector, Heartbeat
from trimtab.simulate.client import Request
from trimtab.simulate.cluster import Effect, InMemoryCluster

pytestmark = pytest.mark.looptime

Faulty = Callable[[Effect], Awaitable[None]]


class Candidate:
    """One operator's elector, running, with what it was told."""

    def __init__(
        self, cluster: Cluster, clock: Clock, name: str, namespace: str, *, heartbeat: Heartbeat | None = None
    ) -> None:
        self.clock = clock
        self.elector = Elector(
            cluster,
            clock,
            namespace=namespace,
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
async def place() -> Place:
    return in_memory()


@pytest.fixture
def clock(place: Place) -> LoopClock:
    assert isinstance(place.clock, LoopClock)
    return place.clock


@pytest.fixture
def cluster(place: Place) -> InMemoryCluster:
    """The one in memory, with its hooks."""
    assert isinstance(place.cluster, InMemoryCluster)
    return place.cluster


class Start(Protocol):
    """Start a candidate."""

    def __call__(self, name: str, over: Cluster | None = None, heartbeat: Heartbeat | None = None) -> Candidate: ...


@pytest.fixture
async def candidate(place: Place) -> AsyncIterator[Start]:
    """Start candidates; those that still run at the end are cancelled."""
    started: list[Candidate] = []

    def start(name: str, over: Cluster | None = None, heartbeat: Heartbeat | None = None) -> Candidate:
        started.append(Candidate(over or place.cluster, place.clock, name, place.namespace, heartbeat=heartbeat))
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


async def lease(place: Place) -> Any:
    """What the Lease says."""
    return (await place.cluster.get(kinds.LEASES, place.namespace, "operator"))["spec"]


async def holder(place: Place) -> str:
    return str((await lease(place))["holderIdentity"])


async def give(place: Place, to: str, transitions: int) -> None:
    """Somebody gives the Lease away, between two renewals."""

    async def given() -> bool:
        found = await place.cluster.get(kinds.LEASES, place.namespace, "operator")
        spec = {**found["spec"], "holderIdentity": to, "leaseTransitions": transitions}
        try:
            await place.cluster.replace(kinds.LEASES, place.namespace, "operator", {**found, "spec": spec})
        except Conflict:
            return False
        return True

    await place.until(given, f"the Lease is {to}'s")


async def test_the_first_candidate_leads_at_once_and_stays(candidate: Start, place: Place) -> None:
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
    assert await holder(place) == "first"


async def test_times_are_written_in_utc_with_microseconds(candidate: Start, place: Place) -> None:
    candidate("first")
    await passes(1.5)
    assert await lease(place) == {
        "holderIdentity": "first",
        "leaseDurationSeconds": 15,
        "acquireTime": "2023-11-14T22:13:20.000000Z",
        "renewTime": "2023-11-14T22:13:20.000000Z",
        "leaseTransitions": 0,
    }


async def test_nobody_leads_beside_a_frozen_leader(candidate: Start, cluster: InMemoryCluster) -> None:
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
    candidate: Start, cluster: InMemoryCluster, error: Exception
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
    candidate: Start, cluster: InMemoryCluster
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


async def test_an_answer_that_was_lost_does_not_cost_the_lease(candidate: Start, cluster: InMemoryCluster) -> None:
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


class TestElection:
    """One leads, and another one after it."""

    async def test_a_released_lease_is_taken_within_one_retry(self, candidate: Start, place: Place) -> None:
        first = candidate("first")
        await place.until(lambda: first.elector.leading, "the first leads")
        second = candidate("second")
        await place.until(lambda: second.elector.holder == "first", "the second has looked")
        assert not second.elector.leading
        first.stop.set()
        await first.task
        released = second.clock.monotonic()
        await place.until(lambda: second.started_at is not None, "the second leads")
        assert second.started_at is not None
        assert second.started_at - released <= 2.4 + place.slack
        assert second.elector.transitions == 1
        assert first.lost_at is None

    async def test_a_dead_leader_is_replaced_after_the_duration_and_within_20_seconds(
        self, candidate: Start, place: Place
    ) -> None:
        first = candidate("first")
        await place.until(lambda: first.elector.leading, "the first leads")
        second = candidate("second")
        await place.until(lambda: second.elector.holder == "first", "the second has looked")
        first.task.cancel()
        died = second.clock.monotonic()
        await place.until(lambda: second.started_at is not None, "the second leads")
        assert second.started_at is not None
        assert 13.0 - place.slack <= second.started_at - died <= 20.0 + place.slack

    async def test_a_leader_that_was_replaced_stops_at_its_next_renewal(self, candidate: Start, place: Place) -> None:
        first = candidate("first")
        await place.until(lambda: first.elector.leading, "the first leads")
        await give(place, "usurper", transitions=1)
        await place.until(lambda: bool(first.why), "the first has noticed")
        assert first.why == f"lease {place.namespace}/operator lost: taken over by usurper"
        assert await holder(place) == "usurper"

    async def test_a_lease_that_somebody_deleted_is_made_again(self, candidate: Start, place: Place) -> None:
        first = candidate("first")
        await place.until(lambda: first.elector.leading, "the first leads")
        before = (await place.cluster.get(kinds.LEASES, place.namespace, "operator"))["metadata"]["uid"]
        await place.cluster.delete(kinds.LEASES, place.namespace, "operator")

        async def made() -> bool:
            found = await place.cluster.list(kinds.LEASES, place.namespace)
            return [lease["metadata"]["uid"] for lease in found] not in ([], [before])

        await place.until(made, "there is a Lease again")
        assert first.elector.leading
        assert await holder(place) == "first"


class TestConfirm:
    """A Trial carries another leader's stamp: is this one still the leader?"""

    async def test_an_earlier_leaders_trial_needs_no_look(self, candidate: Start, place: Place) -> None:
        client, asked = place.client(), list[Request]()
        first = candidate("first", client)
        await place.until(lambda: first.elector.leading, "it leads")

        async def note(request: Request) -> None:
            asked.append(request)

        stamps = ("first/7", "dead/0", "no stamp", "")
        client.before = note
        for stamp in stamps:
            await first.elector.confirm(stamp)
        assert len(asked) < len(stamps), "at most its own renewal"

    async def test_whoever_was_replaced_learns_it_before_its_next_renewal(self, candidate: Start, place: Place) -> None:
        first = candidate("first")
        await place.until(lambda: first.elector.leading, "it leads")
        await give(place, "usurper", transitions=1)
        with pytest.raises(LeadershipLost, match="usurper"):
            await first.elector.confirm("usurper/1")
        await place.until(lambda: bool(first.why), "it stops")
        assert first.why in {
            f"lease {place.namespace}/operator lost: {how} by usurper" for how in ("held", "taken over")
        }

    async def test_a_lease_that_counts_anew_counts_on(self, candidate: Start, place: Place) -> None:
        first = candidate("first")
        await place.until(lambda: first.elector.leading, "it leads")
        await first.elector.confirm("dead/4")

        async def counted() -> bool:
            return bool((await lease(place))["leaseTransitions"] == 5)

        await place.until(counted, "the next renewal has written it")
        assert first.elector.leading
        assert first.elector.stamp() == "first/5"

    async def test_a_lease_that_does_not_answer_tells_nothing(self, candidate: Start, place: Place) -> None:
        async def fail(_: Request) -> None:
            raise Unavailable(503, "down")

        client = place.client()
        first = candidate("first", client)
        await place.until(lambda: first.elector.leading, "it leads")
        client.before = fail
        with pytest.raises(RetryLater, match="other may lead, the Lease does not answer: Unavailable"):
            await first.elector.confirm("other/1")
        assert first.elector.leading


async def test_no_wall_clock_decides(candidate: Start, clock: LoopClock) -> None:
    first = candidate("first")
    await passes(1)
    second = candidate("second")
    for skew in (-86_400.0, 86_400.0, 0.0, 3_600.0):
        clock.skew = skew
        await passes(20)
    assert first.elector.leading
    assert second.started_at is None


async def test_a_silent_safety_loop_costs_the_lease(candidate: Start, clock: LoopClock) -> None:
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


async def test_a_candidate_stops_while_it_waits(candidate: Start) -> None:
    candidate("first")
    await passes(1)
    second = candidate("second")
    await passes(1)
    second.stop.set()
    await second.task
    assert second.started_at is None
