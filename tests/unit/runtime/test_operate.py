"""The life of an operator as one piece: what a take-over looks like, and what leaves the process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.unit.runtime.telemetry import Told
from tests.virtual import passes

from trimtab.adapters.clock import LoopClock
from trimtab.adapters.executor import InlineDesigner
from trimtab.domain import kinds
from trimtab.domain.errors import Unavailable
from trimtab.runtime.events import EventType, Subject
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.operate import operate
from trimtab.runtime.parts import Parts, Ports, compose
from trimtab.runtime.settings import Settings
from trimtab.simulate.cluster import Effect, InMemoryCluster

pytestmark = pytest.mark.looptime

SETTINGS = Settings(prometheus_url="http://prometheus", lease_namespace="trimtab")


class Bench:
    """Operators over one cluster in memory."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.cluster = InMemoryCluster(self.clock, namespaces=["trimtab", "shop"])
        self._stops: list[tuple[asyncio.Event, asyncio.Task[str]]] = []

    def parts(self, identity: str) -> Parts:
        cluster, told = self.cluster, Told()
        ports = Ports(cluster, cluster, cluster, told, told, InlineDesigner(), self.clock)
        return compose(ports, SETTINGS, metrics=Metrics(), identity=identity)

    def start(self, parts: Parts, prepare: Callable[[], Awaitable[None]]) -> None:
        stop = asyncio.Event()

        async def watch(ended: asyncio.Event) -> None:
            await ended.wait()

        task = asyncio.create_task(operate(parts, SETTINGS, stop, watch=watch, prepare=prepare))
        self._stops.append((stop, task))

    async def stop(self) -> None:
        """End the operator that was started first."""
        stop, task = self._stops.pop(0)
        stop.set()
        await task


async def _nothing() -> None:
    return


async def test_a_lost_event_is_counted() -> None:
    bench = Bench()
    parts = bench.parts("a")

    async def fail(effect: Effect) -> None:
        if effect.kind == kinds.EVENTS:
            raise Unavailable(0, "no answer within 10 s")

    bench.cluster.before_effect = fail
    bench.start(parts, _nothing)
    await passes(5)
    parts.events.record(Subject(kinds.EXPERIMENTS, "shop", "web", "u1"), EventType.WARNING, "Withdrawn", "note")
    await passes(1)
    assert parts.metrics.registry.get_sample_value("trimtab_events_dropped_total", {"reason": "Unavailable"}) == 1.0
    await bench.stop()


async def test_whoever_takes_over_is_not_taken_for_one_that_has_gone_blind() -> None:
    bench = Bench()
    first, second = bench.parts("a"), bench.parts("b")
    ages: list[float] = []

    async def prepare() -> None:
        await passes(20)
        ages.append(second.watch.age())

    bench.start(first, _nothing)
    await passes(5)
    bench.start(second, prepare)
    await passes(1800)
    await bench.stop()
    await passes(60)
    assert second.elector.leading
    (age,) = ages
    assert 20.0 <= age < 3 * SETTINGS.resync
    await bench.stop()
