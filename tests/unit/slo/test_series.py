"""Raw samples to counts: exact, whatever resets, gaps, births and duplicates there are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.domain.measurement import Ambiguous, Stale, Window
from trimtab.slo.series import (
    Births,
    Series,
    by_sub_window,
    duplicated,
    edges_of,
    increments,
    last_seen,
    of_pods,
    scrape_interval,
    stale_pod,
)

W = Window(100.0, 108.0)


def series(*values: float, first: float = 95.0, step: float = 1.0, pod: str = "a-b-c", **labels: str) -> Series:
    points = tuple((first + i * step, v) for i, v in enumerate(values))
    return Series(tuple(sorted({"pod": pod, **labels}.items())), points)


def total(each: Series, window: Window = W, births: Births | None = None, from_birth: bool = False) -> float:
    return sum(i for _, i in increments(each, window, births or Births.of([each]), from_birth))


def test_windows_are_left_open() -> None:
    assert total(series(*range(0, 200, 10))) == 80.0
    exact = Series((("pod", "p"),), ((100.0, 5.0), (108.0, 9.0)))
    assert total(exact) == 4.0
    after = Series((("pod", "p"),), ((100.0, 5.0), (108.001, 9.0)))
    assert total(after) == 0.0


def test_adjacent_windows_lose_and_double_nothing() -> None:
    each = series(*[float(i * i) for i in range(40)], first=90.0)
    parts = [total(each, Window(95.0 + 5 * i, 100.0 + 5 * i)) for i in range(6)]
    assert sum(parts) == total(each, Window(95.0, 125.0))


def test_a_reset_counts_from_zero() -> None:
    assert total(series(100, 110, 120, 130, 140, 150, 160, 7, 17)) == 10 + 7 + 10


def test_without_a_baseline_the_first_sample_is_one_unless_the_series_is_younger_than_its_pod() -> None:
    born = series(4, 6, first=103.0, code="500")
    assert total(born) == 2.0
    pod = series(*range(20), first=95.0, code="200")
    assert total(born, births=Births.of([pod, born])) == 6.0
    assert total(born, from_birth=True) == 6.0


def test_another_exporters_phase_is_no_birth() -> None:
    pod = series(*range(20), first=99.2)
    other = series(5000, 5001, first=100.6)
    assert total(other, births=Births.of([pod])) == 1.0


def test_nan_samples_are_left_out() -> None:
    assert total(series(0, 1, 2, 3, 4, 5, math.nan, 7, 8)) == 3.0


@given(st.lists(st.integers(0, 50), min_size=2, max_size=30), st.integers(1, 29))
def test_counts_equal_the_events_that_happened_across_a_reset(increases: list[int], reset: int) -> None:
    value, points = 0.0, [(100.0, 0.0)]
    for i, n in enumerate(increases):
        value = float(n) if i == reset else value + n
        points.append((101.0 + i, value))
    each = Series((("pod", "p"),), tuple(points))
    counted = total(each, Window(100.0, 200.0))
    # A reset is visible only if the counter then stands lower than before.
    hidden = reset < len(increases) and increases[reset] >= sum(increases[:reset])
    expected = sum(increases) - (sum(increases[:reset]) if hidden else 0)
    assert counted == expected


def test_sub_windows_add_up_and_reach_the_very_end() -> None:
    each = Series((("pod", "p"),), tuple((99.9 + i * 0.1, float(i)) for i in range(82)))
    edges = edges_of(Window(100.0, 108.1), 0.1)
    assert len(edges) == 16
    assert edges[-1] == 108.1
    sums = by_sub_window([each], Window(100.0, 108.1), Births.of([each]), edges)
    assert sum(sums) == pytest.approx(total(each, Window(100.0, 108.1)))


@pytest.mark.parametrize(
    ("seconds", "scrape", "count"), [(8.0, 1.0, 4), (600.0, 15.0, 16), (2.0, 1.0, 1), (1.0, 15.0, 1)]
)
def test_a_sub_window_holds_two_scrapes(seconds: float, scrape: float, count: int) -> None:
    assert len(edges_of(Window(0.0, seconds), scrape)) == count


def test_ha_pairs_are_ambiguous_and_two_codes_are_not() -> None:
    a, b = series(1, 2, replica="a", code="200"), series(1, 2, replica="b", code="200")
    assert isinstance(duplicated([a, b]), Ambiguous)
    assert duplicated([series(1, 2, code="200"), series(1, 2, code="500")]) is None
    assert duplicated([series(1, 2, pod="p-a-b"), series(1, 2, pod="p-a-c")]) is None


def test_pods_are_picked_by_the_whole_name() -> None:
    listed = [series(1, pod="tt-1-1-c-abc-12345"), series(1, pod="tt-1-11-c-abc-12345"), series(1, pod="x")]
    assert [s.label("pod") for s in of_pods(listed, "tt-1-1-c-[a-z0-9]+-[a-z0-9]+")] == ["tt-1-1-c-abc-12345"]


def test_a_live_pod_must_be_fresh() -> None:
    fresh, old = series(*range(14), pod="a"), series(*range(5), pod="b")
    assert stale_pod([fresh, old], ["a"], 108.0) is None
    found = stale_pod([fresh, old], ["a", "b"], 108.0)
    assert isinstance(found, Stale)
    assert found.age == 9.0
    missing = stale_pod([fresh], ["a", "c"], 108.0)
    assert isinstance(missing, Stale)
    assert "c is Ready but not scraped" in missing.detail
    assert missing.age == 13.0


def test_when_pods_were_last_seen() -> None:
    listed = [series(*range(14), pod="a"), series(*range(5), pod="b"), series(1, 2, pod="gone")]
    assert last_seen(listed, ["a", "b"]) == 99.0
    assert last_seen(listed, ["a"]) == 108.0
    assert last_seen(listed) == 96.0
    assert last_seen([]) is None


def test_the_scrape_interval_is_that_of_the_liveliest_series() -> None:
    assert scrape_interval([series(1, 2, 3), series(1, 2, 3, step=60.0)]) == 1.0
    assert scrape_interval([series(1)]) is None
