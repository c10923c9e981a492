"""Locks of targets over any Cluster: here in memory; `tests/cluster/test_contract_lease.py` has the real API server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.contract.place import Place, in_memory
from tests.contract.test_ledger import SPEC
from tests.virtual import passes

from trimtab.domain import kinds
from trimtab.domain.errors import Conflict, NotFound
from trimtab.runtime.targetlock import Claim, TargetLocks
from trimtab.simulate.client import Request

pytestmark = pytest.mark.looptime

POD = {"metadata": {"labels": {"app": "arm"}}, "spec": {"containers": [{"name": "api", "image": "example.test/a:1"}]}}
DEPLOYMENT: dict[str, Any] = {"selector": {"matchLabels": {"app": "arm"}}, "template": POD}


@pytest.fixture
async def place() -> Place:
    return in_memory()


async def claim(place: Place, name: str) -> Claim:
    """An Experiment and its claim on the one target of these tests."""
    head = {"apiVersion": kinds.EXPERIMENTS.api_version, "kind": kinds.EXPERIMENTS.name}
    body = {**head, "metadata": {"name": name}, "spec": SPEC}
    made = await place.cluster.create(kinds.EXPERIMENTS, place.namespace, body)
    return Claim("t1", place.namespace, name, made["metadata"]["uid"])


async def finish(place: Place, name: str, phase: str) -> None:
    """The Experiment gets to this phase."""
    found = await place.cluster.get(kinds.EXPERIMENTS, place.namespace, name)
    body = {**found, "status": {"phase": phase}}
    await place.cluster.replace(kinds.EXPERIMENTS, place.namespace, name, body, subresource="status")


async def arm(place: Place, claim: Claim) -> None:
    """It has an arm."""
    labels = {"trimtab.dev/arm": "canary", "trimtab.dev/experiment-uid": claim.experiment_uid}
    body = {"metadata": {"name": "tt-1-c", "labels": labels}, "spec": DEPLOYMENT}
    await place.cluster.create(kinds.DEPLOYMENTS, place.namespace, body)


async def gone(place: Place, lease: str) -> bool:
    """Whether there is no such Lease."""
    try:
        await place.cluster.get(kinds.LEASES, place.namespace, lease)
    except NotFound:
        return True
    return False


class TestTargetLock:
    @pytest.fixture
    def locks(self, place: Place) -> TargetLocks:
        return TargetLocks(place.cluster, place.clock)

    async def test_one_holds_it_and_the_other_learns_who(self, place: Place, locks: TargetLocks) -> None:
        first, second = await claim(place, "first"), await claim(place, "second")
        assert await locks.peek(first) is None
        await locks.acquire(first)
        await locks.acquire(first)
        mine = await locks.peek(first)
        assert mine is not None
        assert mine.uid == first.experiment_uid
        blocked = await locks.peek(second)
        assert blocked is not None
        assert (blocked.namespace, blocked.name, blocked.uid) == (place.namespace, "first", first.experiment_uid)
        with pytest.raises(Conflict, match=f"locked by Experiment {place.namespace}/first"):
            await locks.acquire(second)

    async def test_a_holder_that_lost_its_name_keeps_it(self, place: Place, locks: TargetLocks) -> None:
        first, second = await claim(place, "first"), await claim(place, "second")
        await locks.acquire(first)
        lease = await place.cluster.get(kinds.LEASES, place.namespace, first.lease_name)
        metadata = {**lease["metadata"], "annotations": {}}
        await place.cluster.replace(kinds.LEASES, place.namespace, first.lease_name, {**lease, "metadata": metadata})
        blocked = await locks.peek(second)
        assert blocked is not None
        assert f"uid {first.experiment_uid} in {place.namespace}" in blocked.title
        assert "lacks the annotation trimtab.dev/holder" in blocked.title
        with pytest.raises(Conflict, match="lacks the annotation"):
            await locks.acquire(second)
        await locks.acquire(first)
        await locks.release(first)
        assert await locks.peek(second) is None

    async def test_it_is_free_after_release(self, place: Place, locks: TargetLocks) -> None:
        first, second = await claim(place, "first"), await claim(place, "second")
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
        self, place: Place, locks: TargetLocks, phase: str
    ) -> None:
        first, second = await claim(place, "first"), await claim(place, "second")
        await locks.acquire(first)
        await arm(place, first)
        await finish(place, "first", phase)
        blocked = await locks.peek(second)
        assert blocked is not None
        assert blocked.why == f"it is finished ({phase}), but Deployment tt-1-c of it is still there"
        await place.cluster.delete(kinds.DEPLOYMENTS, place.namespace, "tt-1-c")
        assert await locks.peek(second) is None
        await locks.acquire(second)

    async def test_a_paused_holder_keeps_it(self, place: Place, locks: TargetLocks) -> None:
        first, second = await claim(place, "first"), await claim(place, "second")
        await locks.acquire(first)
        await finish(place, "first", "Paused")
        assert await locks.peek(second) is not None

    async def test_it_goes_with_its_holder(self, place: Place, locks: TargetLocks) -> None:
        first = await claim(place, "first")
        await locks.acquire(first)
        await place.cluster.delete(kinds.EXPERIMENTS, place.namespace, "first")
        await place.until(lambda: gone(place, first.lease_name), "its lock is collected")

    async def test_a_namesake_is_not_the_holder(self, place: Place, locks: TargetLocks) -> None:
        first = await claim(place, "first")
        await locks.acquire(first)
        lease = await place.cluster.get(kinds.LEASES, place.namespace, first.lease_name)
        await place.cluster.delete(kinds.EXPERIMENTS, place.namespace, "first")
        await place.until(lambda: gone(place, first.lease_name), "its lock is collected")
        # As if it were not yet.
        metadata = {"name": first.lease_name, "annotations": lease["metadata"]["annotations"]}
        await place.cluster.create(kinds.LEASES, place.namespace, {"metadata": metadata, "spec": lease["spec"]})
        again = await claim(place, "first")
        assert await locks.peek(again) is None
        await locks.acquire(again)
        held = await locks.peek(again)
        assert held is not None
        assert held.uid == again.experiment_uid

    async def test_of_two_at_once_one_is_told_to_ask_again(self, place: Place) -> None:
        first, second = await claim(place, "first"), await claim(place, "second")
        client = place.client()
        locks = TargetLocks(client, place.clock)
        barrier = asyncio.Barrier(2)

        async def meet(request: Request) -> None:
            if request.verb == "create":
                await barrier.wait()

        client.before = meet
        results = await asyncio.gather(locks.acquire(first), locks.acquire(second), return_exceptions=True)
        assert sorted(type(r).__name__ for r in results) == ["Conflict", "NoneType"]


async def test_time_does_not_free_it(place: Place) -> None:
    locks = TargetLocks(place.cluster, place.clock)
    first, second = await claim(place, "first"), await claim(place, "second")
    await locks.acquire(first)
    await passes(30 * 86_400)
    assert await locks.peek(second) is not None
