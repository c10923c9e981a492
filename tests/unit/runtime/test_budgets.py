"""Event sums of budgets: asked seldom, shared between the loops, and never instead of an answer that is due."""

# ruff: noqa: ARG002 - Sums has the signature of its port

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from tests.unit.control.builders import NOW, experiment, spec
from tests.unit.runtime.telemetry import Told

from trimtab.adapters.clock import LoopClock
from trimtab.domain.measurement import NoData, Reading, Sample, TelemetryError, Window
from trimtab.domain.spec import Sli
from trimtab.ports import Clock, PodSet
from trimtab.runtime.budgets import REREAD_MOST, BudgetReader, KnownSums
from trimtab.runtime.spending import SpendingAccount
from trimtab.simulate.clock import SimulatedClock
from trimtab.simulate.cluster import InMemoryCluster

pytestmark = pytest.mark.looptime

MONTH, HOURS = 720 * 3600.0, 6 * 3600.0
HOUR = 3600


@dataclass
class Sums(Told):
    """Counts how often each window is asked for. `answer` is that of a month; of a shorter window it is a part."""

    answer: Reading = field(default_factory=lambda: Sample(0.001, 0.0001, 1e6, 1e3))
    asked_for: list[float] = field(default_factory=list)

    async def totals(self, sli: Sli, pods: PodSet, window: Window, *, timeout: float) -> Reading:
        self.asked_for.append(round(window.seconds))
        found, part = self.answer, window.seconds / MONTH
        if isinstance(found, Sample) and found.bad is not None:
            return replace(found, total=found.total * part, bad=found.bad * part)
        return found


class Bench:
    """Two readers, as the operator has them: one for each loop, with telemetry of its own."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or LoopClock(NOW)
        self.spending = SpendingAccount(InMemoryCluster(self.clock, namespaces=["shop"]))
        self.stores, shared = (Sums(), Sums()), KnownSums()
        self.readers = [BudgetReader(s, self.spending, self.clock, shared) for s in self.stores]

    async def read(self, which: int = 0) -> dict[float, Reading]:
        found = await self.readers[which].read(experiment(), spec(), "target-uid", timeout=1.0)
        return {w.seconds: w.reading for w in found.windows}

    @property
    def asked(self) -> list[float]:
        return self.stores[0].asked_for + self.stores[1].asked_for


async def test_long_windows_are_asked_for_once_in_a_while_by_both_loops_together() -> None:
    bench = Bench()
    for _ in range(HOUR // 5):
        await bench.read(0)
        await bench.read(1)
        await bench.clock.sleep(5.0)
    assert bench.asked.count(MONTH) == HOUR // REREAD_MOST
    assert bench.asked.count(HOURS) == HOUR // (HOURS / 120)


async def test_half_of_the_budget_is_seen_to_be_gone_within_a_tick_however_long_the_window() -> None:
    bench, rate, spent = Bench(), 100.0, 0.0

    async def totals(sli: Sli, pods: PodSet, window: Window, *, timeout: float) -> Reading:
        total = rate * window.seconds
        return Sample(spent / total, 0.0001, total, spent)

    for store in bench.stores:
        store.totals = totals  # type: ignore[method-assign]
    (budget,), tick = spec().budgets, spec().safety.check_interval
    assert budget.pause_on_burn is not None
    limit, seen = budget.pause_on_burn.fraction * (1 - budget.objective) * MONTH * rate, 0.0
    while seen < limit:  # an outage: every request fails
        found = (await bench.read())[budget.pause_on_burn.window]
        assert isinstance(found, Sample)
        seen = found.bad or 0.0
        assert seen >= limit or spent < limit + tick * rate, "gone for longer than a tick"
        await bench.clock.sleep(tick)
        spent += tick * rate
    assert len(bench.asked) < 100, "and seldom while there is much left"


async def test_what_one_loop_has_read_the_other_knows() -> None:
    bench = Bench()
    await bench.read(0)
    assert await bench.read(1) == await bench.read(0)
    assert bench.stores[1].asked_for == []
    assert {w.seconds for w in bench.readers[1].known(experiment(), spec()).windows} == {MONTH, HOURS}


async def test_a_query_that_failed_is_asked_again_and_the_last_answer_is_kept() -> None:
    bench = Bench()
    await bench.read()
    bench.stores[0].answer = TelemetryError("503")
    await bench.clock.sleep(2 * REREAD_MOST)
    for _ in range(2):
        assert all(isinstance(reading, TelemetryError) for reading in (await bench.read()).values())
    assert bench.asked.count(MONTH) == 3
    assert all(isinstance(w.reading, Sample) for w in bench.readers[0].known(experiment(), spec()).windows)


async def test_the_first_request_of_a_service_is_seen_within_half_a_minute() -> None:
    bench = Bench()
    bench.stores[0].answer = NoData("no traffic")
    await bench.read()
    bench.stores[0].answer = Sample(0.0, 0.1, 10.0, 0.0)
    await bench.clock.sleep(30.0)
    assert all(isinstance(reading, Sample) for reading in (await bench.read()).values())


async def test_an_sli_that_was_edited_is_another_one() -> None:
    bench, other = Bench(), spec(slis=(replace(spec().slis[0], min_samples=7),))
    await bench.read()
    await bench.readers[0].read(experiment(), other, "target-uid", timeout=1.0)
    assert bench.asked.count(MONTH) == 2


async def test_an_answer_of_a_clock_that_was_ahead_does_not_stand_for_hours() -> None:
    clock = SimulatedClock(NOW, skew=5 * HOUR)
    bench = Bench(clock)
    bench.stores[0].answer = NoData("no series of these pods")
    await bench.read()
    clock.skew = 0.0
    bench.stores[0].answer = Sample(0.0, 0.1, 10.0, 0.0)
    await bench.clock.sleep(30.0)
    assert all(isinstance(reading, Sample) for reading in (await bench.read()).values())
