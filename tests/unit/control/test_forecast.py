"""What load is expected while the next trial runs."""

from __future__ import annotations

import pytest

from trimtab.control.forecast import expected_load, usual_peak
from trimtab.control.snapshot import LoadHistory, PresentLoad


@pytest.mark.parametrize(
    ("now", "days", "expected"),
    [
        (1000.0, ((1000.0, 1200.0), (1000.0, 1100.0)), 120.0),  # as on the highest of days alike
        (2000.0, ((1000.0, 1200.0), (2000.0, 2100.0)), 240.0),  # at today's level
        (1000.0, ((2000.0, 1000.0), (1500.0, 900.0)), 100.0),  # not less than now, however it went then
        (9000.0, ((1000.0, 4000.0), (1000.0, 2000.0)), 1200.0),  # no day says more than three times what it saw
        (100.0, ((1000.0, 600.0), (1000.0, 900.0)), 30.0),  # nor less than a third
    ],
)
def test_the_highest_that_any_day_suggests(now: float, days: tuple[tuple[float, float], ...], expected: float) -> None:
    assert expected_load(LoadHistory(now, days), 10) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("found", "ready"),
    [
        (LoadHistory(), 10),
        (LoadHistory(1000.0), 10),
        (LoadHistory(1000.0, ((1000.0, 1200.0),)), 10),  # one day may be any day
        (LoadHistory(None, ((1000.0, 1200.0),) * 3), 10),
        (LoadHistory(1000.0, ((1000.0, 1200.0),) * 3), 0),
    ],
)
def test_where_too_little_is_known_nothing_is_said(found: LoadHistory, ready: int) -> None:
    assert expected_load(found, ready) is None


def test_a_crowd_of_this_minute_counts_before_it_shows_in_what_was_lately() -> None:
    calm = LoadHistory(1000.0, ((1000.0, 1100.0), (1000.0, 1050.0)))
    crowd = LoadHistory(calm.now, calm.days, present=PresentLoad(3000.0, 2900.0))
    assert (expected_load(calm, 10), expected_load(crowd, 10)) == (110.0, 300.0)


@pytest.mark.parametrize(
    ("highest", "peak"),
    [
        ((1200.0, 3600.0, 1100.0, 1250.0), 125.0),  # a crowd of one day is no peak
        ((1200.0, 1100.0, 1250.0), 120.0),
        ((1200.0, 1250.0), None),
        ((), None),
    ],
)
def test_the_peak_is_what_came_on_two_days(highest: tuple[float, ...], peak: float | None) -> None:
    assert usual_peak(LoadHistory(1000.0, highest=highest), 10) == peak
    assert usual_peak(LoadHistory(1000.0, highest=highest), 0) is None
