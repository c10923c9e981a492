"""When recorded sums are asked for: seldom where nobody records, and never in place of an answer."""

# ruff: noqa: ARG002 - Store has the signatures of its port

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from tests.contract.test_telemetry import ERRORS

from trimtab.adapters.recorded import Recorded
from trimtab.adapters.series_store import QueryFailed, StoreUnavailable
from trimtab.domain.measurement import Window
from trimtab.ports import PodSet
from trimtab.slo.counters import counters_of
from trimtab.slo.recording import INTERVAL, Sums
from trimtab.slo.series import Series

DAY, NOW = 86400.0, 1_790_000_000.0
COUNTERS = counters_of(ERRORS.query, PodSet("shop", ("web",)))[0]


@dataclass
class Store:
    """Has two days of recorded sums, or none; or fails."""

    present: bool = True
    error: QueryFailed | None = None
    asked: list[str] = field(default_factory=list)

    async def vector(self, expression: str, at: float, timeout: float) -> tuple[Series, ...]:
        self.asked.append(expression)
        if self.error is not None:
            raise self.error
        seconds = float(expression.split("[")[1].split("s]")[0])
        count = seconds / INTERVAL
        value = count if expression.startswith("count") else 10.0 * count
        return tuple(Series((("part", p),), ((at, value),)) for p in ("bad", "total")) if self.present else ()

    async def matrix(self, expression: str, at: float, timeout: float) -> tuple[Series, ...]:
        raise AssertionError("never asked")

    async def range(self, expression: str, start: float, end: float, step: float, timeout: float) -> tuple[Series, ...]:
        raise AssertionError("never asked")


def window(end: float = NOW, seconds: float = DAY) -> Window:
    return Window(end - seconds, end)


async def test_sums_of_a_day() -> None:
    assert await Recorded(Store()).sums(COUNTERS, window(), 1.0) == Sums(2880.0, 2880.0)


async def test_a_short_window_is_not_asked_for() -> None:
    store = Store()
    assert await Recorded(store).sums(COUNTERS, window(seconds=DAY - 1), 1.0) is None
    assert store.asked == []


async def test_where_nobody_records_one_small_question_in_five_minutes_is_asked() -> None:
    store = Store(present=False)
    recorded = Recorded(store)
    for second in range(0, 3600, 10):
        assert await recorded.sums(COUNTERS, window(NOW + second), 1.0) is None
    assert len(store.asked) == 12
    assert all("[900s]" in asked for asked in store.asked)


async def test_rules_that_are_installed_are_found_within_five_minutes() -> None:
    store = Store(present=False)
    recorded = Recorded(store)
    assert await recorded.sums(COUNTERS, window(), 1.0) is None
    store.present = True
    assert await recorded.sums(COUNTERS, window(NOW + INTERVAL - 1), 1.0) is None
    assert await recorded.sums(COUNTERS, window(NOW + INTERVAL), 1.0) is not None


async def test_a_clock_that_went_back_asks_again() -> None:
    store = Store(present=False)
    recorded = Recorded(store)
    await recorded.sums(COUNTERS, window(NOW + 5 * 3600), 1.0)
    store.present = True
    assert await recorded.sums(COUNTERS, window(NOW), 1.0) is not None


async def test_what_the_store_refuses_leaves_the_raw_counters() -> None:
    assert await Recorded(Store(error=QueryFailed("too many samples"))).sums(COUNTERS, window(), 1.0) is None


async def test_a_store_that_is_away_is_not_asked_twice() -> None:
    with pytest.raises(StoreUnavailable):
        await Recorded(Store(error=StoreUnavailable("503"))).sums(COUNTERS, window(), 1.0)


async def test_what_is_remembered_is_bounded() -> None:
    recorded = Recorded(Store(present=False))
    for number in range(600):
        counters = counters_of(ERRORS.query, PodSet("shop", (f"web-{number}",)))[0]
        await recorded.sums(counters, window(), 1.0)
    assert len(recorded._known) == 512
