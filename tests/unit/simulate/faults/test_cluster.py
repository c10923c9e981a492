"""One operator process' way to the API server, with faults, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from trimtab.adapters.clock import LoopClock
from trimtab.domain import kinds
from trimtab.domain.errors import Conflict, Forbidden, NotFound, Throttled, Unavailable
from trimtab.simulate.cluster import InMemoryCluster
from trimtab.simulate.faults.acting import Acting, ActingFaults
from trimtab.simulate.faults.cluster import REQUEST_SECONDS, FaultyCluster
from trimtab.simulate.faults.plan import Fault
from trimtab.simulate.faults.process import Died, Process

pytestmark = pytest.mark.looptime

BODY = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}}


class Way:
    """A cluster, a process and its faulty way to it."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.cluster = InMemoryCluster(self.clock)
        self.process, self.acting, self.points = Process("one"), ActingFaults(), list[str]()
        self.kill_at = ""
        self.client = FaultyCluster(self.cluster, self.clock, self.process, self.acting, self._on_effect, seed="7")

    async def _on_effect(self, point: str) -> None:
        self.points.append(point)
        if point == self.kill_at:
            self.process.kill()

    def strike(self, kind: str, process: str = "", **parameters: object) -> Acting:
        fault = Fault.model_validate({"kind": kind, "at": "0s", "parameters": parameters})
        acting = Acting(fault, self.clock.now(), process)
        self.acting.add(acting)
        return acting

    async def create(self) -> object:
        return await self.client.create(kinds.CONFIG_MAPS, "default", BODY)

    async def read(self) -> object:
        return await self.client.get(kinds.CONFIG_MAPS, "default", "a")

    async def stored(self) -> bool:
        try:
            await self.cluster.get(kinds.CONFIG_MAPS, "default", "a")
        except NotFound:
            return False
        return True


async def test_without_faults_everything_comes_through_and_writes_are_announced() -> None:
    way = Way()
    await way.create()
    await way.client.list(kinds.CONFIG_MAPS, "default")
    await way.client.version()
    stored = await way.read()
    await way.client.replace(kinds.CONFIG_MAPS, "default", "a", {**stored, "data": {"x": "2"}})  # type: ignore[dict-item]
    await way.client.delete(kinds.CONFIG_MAPS, "default", "a")
    effects = [f"{when}:{verb}:ConfigMap" for verb in ("create", "replace", "delete") for when in ("before", "after")]
    assert way.points == effects


@pytest.mark.parametrize(
    ("kind", "parameters", "error"),
    [
        ("APIThrottled", {"chance": 1.0, "retryAfter": "7s"}, Throttled),
        ("APIError", {"chance": 1.0, "status": "503"}, Unavailable),
        ("APIForbidden", {"verb": "all"}, Forbidden),
        ("APIForbidden", {"verb": "create"}, Forbidden),
        ("APIUnreachable", {"how": "refused"}, Unavailable),
    ],
)
async def test_a_server_that_refuses_has_done_nothing(kind: str, parameters: dict[str, object], error: type) -> None:
    way = Way()
    acting = way.strike(kind, **parameters)
    with pytest.raises(error) as caught:
        await way.create()
    assert not await way.stored()
    if isinstance(caught.value, Throttled):
        assert caught.value.after == 7.0
    way.acting.remove(acting)
    await way.create()
    assert await way.stored()


async def test_a_missing_right_concerns_its_verb_only() -> None:
    way = Way()
    await way.create()
    way.strike("APIForbidden", verb="delete")
    await way.read()
    with pytest.raises(Forbidden):
        await way.client.delete(kinds.CONFIG_MAPS, "default", "a")


async def test_a_conflict_meets_updates_only() -> None:
    way = Way()
    way.strike("APIConflict", chance=1.0)
    await way.create()
    with pytest.raises(Conflict):
        await way.client.replace(kinds.CONFIG_MAPS, "default", "a", BODY)


async def test_an_answer_that_is_lost_comes_after_the_effect() -> None:
    way = Way()
    way.strike("APIAnswerLost", chance=1.0)
    begun = way.clock.monotonic()
    with pytest.raises(Unavailable):
        await way.create()
    assert await way.stored()
    assert way.clock.monotonic() - begun == pytest.approx(REQUEST_SECONDS)


async def test_a_silent_server_costs_the_whole_time_out() -> None:
    way = Way()
    way.strike("APIUnreachable", how="silent")
    begun = way.clock.monotonic()
    with pytest.raises(Unavailable):
        await way.read()
    assert way.clock.monotonic() - begun == pytest.approx(REQUEST_SECONDS)


async def test_a_late_answer_was_read_early() -> None:
    way = Way()
    await way.create()
    way.strike("APISlow", latency="3s")
    reading = asyncio.create_task(way.read())
    await way.clock.sleep(1.0)
    stored = await way.cluster.get(kinds.CONFIG_MAPS, "default", "a")
    await way.cluster.replace(kinds.CONFIG_MAPS, "default", "a", {**stored, "data": {"x": "2"}})
    found = await reading
    assert found["data"] == {"x": "1"}  # type: ignore[index]


async def test_a_fault_of_one_process_leaves_others_alone() -> None:
    way = Way()
    way.strike("APIForbidden", process="another", verb="all")
    await way.create()
    assert await way.stored()


@pytest.mark.parametrize(("point", "stored"), [("before:create:ConfigMap", False), ("after:create:ConfigMap", True)])
async def test_a_killed_process_does_nothing_more(point: str, stored: bool) -> None:
    way = Way()
    way.kill_at = point
    with pytest.raises(Died):
        await way.create()
    assert await way.stored() is stored
    with pytest.raises(Died):
        await way.read()


async def test_a_frozen_process_goes_on_where_it_stood() -> None:
    way = Way()
    way.process.freeze()
    assert way.process.frozen
    writing = asyncio.create_task(way.create())
    await way.clock.sleep(30.0)
    assert not await way.stored()
    way.process.thaw()
    await writing
    assert await way.stored()


async def test_chance_is_drawn_from_the_seed() -> None:
    async def outcomes() -> list[bool]:
        way, found = Way(), list[bool]()
        way.strike("APIError", chance=0.5)
        for _ in range(30):
            try:
                await way.client.list(kinds.CONFIG_MAPS, "default")
            except Unavailable:
                found.append(False)
            else:
                found.append(True)
        return found

    first = await outcomes()
    assert first == await outcomes()
    assert len(set(first)) == 2
