"""Native histograms: what is counted at a threshold, and how surely, whatever the layout of the buckets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.domain.measurement import Sample
from trimtab.slo.estimate import interval, ratio_sample, widened
from trimtab.slo.native import as_classic, common_bounds, counts_of, exponential, split
from trimtab.slo.quantiles import quantile_sample
from trimtab.slo.series import Buckets, Series

LABELS = (("pod", "p"),)
latencies = st.lists(st.floats(1e-4, 50.0), min_size=1, max_size=60)
schemas = st.integers(1, 8)


def observed(values: Sequence[float], schema: int) -> Buckets:
    """A histogram of these observations, as a client keeps it."""
    counts: dict[int, int] = {}
    for value in values:
        index = math.ceil(math.log2(value) * 2**schema - 1e-9)
        counts[index] = counts.get(index, 0) + 1
    parts = tuple((2 ** ((i - 1) / 2**schema), 2 ** (i / 2**schema), float(n)) for i, n in sorted(counts.items()))
    return Buckets(float(len(values)), parts)


def series(*samples: Buckets, labels: tuple[tuple[str, str], ...] = LABELS) -> Series:
    return Series(labels, (), tuple((float(t), s) for t, s in enumerate(samples)))


def last(found: Sequence[Series], le: str) -> float:
    return sum(s.points[-1][1] for s in found if s.label("le") == le)


@given(latencies, schemas, st.floats(1e-4, 50.0))
def test_what_is_counted_is_off_by_the_unsure_at_most(values: list[float], schema: int, threshold: float) -> None:
    divided = split([series(observed(values, schema))], threshold)
    assert divided is not None
    true = sum(v <= threshold for v in values)
    unsure = divided.unsure[0].points[-1][1]
    assert abs(last(divided.counters, repr(threshold)) - true) <= unsure + 1e-9
    assert last(divided.counters, "+Inf") == len(values)
    within = 2 ** (2.0**-schema) * (1 + 1e-9)
    assert unsure <= sum(threshold / within <= v <= threshold * within for v in values)


@given(latencies, latencies, schemas, schemas, st.floats(1e-4, 50.0))
def test_layouts_of_different_width_are_read_at_what_they_share(
    first: list[float], more: list[float], fine: int, coarse: int, threshold: float
) -> None:
    """A process that merged its buckets: counters never fall, and the last sample counts everything."""
    fine, coarse = max(fine, coarse), min(fine, coarse)
    one = series(observed(first, fine), observed([*first, *more], coarse))
    divided = split([one], threshold)
    assert divided is not None
    for each in divided.counters:
        values = [v for _, v in each.points]
        assert values == sorted(values)
    true = sum(v <= threshold for v in (*first, *more))
    unsure = divided.unsure[0].points[-1][1]
    assert abs(last(divided.counters, repr(threshold)) - true) <= unsure + 1e-9


@given(latencies, latencies, schemas, schemas)
def test_as_classic_is_cumulative_in_time_and_bound(
    first: list[float], more: list[float], one: int, other: int
) -> None:
    listed = [
        series(observed(first, one), observed([*first, *more], min(one, other))),
        series(observed(more, other), labels=(("pod", "q"),)),
    ]
    found = as_classic(listed)
    assert len(found) == 2 * (len(common_bounds(listed)) + 1)
    for pod in "pq":
        rows = [s for s in found if s.label("pod") == pod]
        ends = [s.points[-1][1] for s in rows]
        assert ends == sorted(ends)
        assert rows[-1].label("le") == "+Inf"
    assert last(found, "+Inf") == len(first) + 2 * len(more)


def test_a_restart_is_carried_on_in_every_bucket_at_once() -> None:
    """After it one bucket holds more than before: by itself it would not look like a restart."""
    before, after = observed([0.1] * 5 + [0.9] * 90, 3), observed([0.1] * 8, 3)
    (slow,) = (s for s in split([series(before, after)], 0.5).counters if s.label("le") == "0.5")  # type: ignore[union-attr]
    assert [v for _, v in slow.points] == [5.0, 13.0]


def test_bounds_of_somebodys_own_are_exact_or_nothing() -> None:
    wide = series(Buckets(10.0, ((-math.inf, 0.1, 6.0), (0.1, 0.25, 3.0), (0.5, math.inf, 1.0))))
    for threshold, within in ((0.1, 6.0), (0.25, 9.0), (0.3, 9.0), (0.5, 9.0)):
        divided = split([wide], threshold)
        assert divided is not None
        assert last(divided.counters, repr(threshold)) == within
        assert divided.unsure[0].points[-1][1] == 0
    for threshold in (0.05, 0.2, 0.7):
        assert split([wide], threshold) is None
    assert common_bounds([wide]) == (0.1, 0.25, 0.5)
    assert not exponential([wide])


@pytest.mark.parametrize(("low", "high"), [(0.25, 0.5), (1.0, 4.0), (0.1, 0.25), (-0.5, -0.25), (-1e-9, 1e-9)])
def test_buckets_that_double_are_not_divided(low: float, high: float) -> None:
    middle = (low + high) / 2 if low + high else low / 2
    assert split([series(Buckets(4.0, ((low, high, 4.0),)))], middle) is None


def test_an_exponential_histogram_is_one_with_its_zeros_and_overflow() -> None:
    parts = ((-1e-9, 1e-9, 2.0), *observed([0.1, 0.2], 3).parts, (2.0**1000, math.inf, 1.0))
    assert exponential([series(Buckets(5.0, parts))])
    assert not exponential([series(Buckets(1.0, ((0.25, 0.5, 1.0),)))])


def test_nothing_was_ever_observed() -> None:
    divided = split([series(Buckets(0.0, ()))], 0.3)
    assert divided is not None
    assert [s.points for s in divided.counters] == [((0.0, 0.0),)] * 2


def test_a_summary_of_the_same_name_is_left_out() -> None:
    summary = Series((("pod", "p"), ("quantile", "0.9")), ((0.0, 0.7),))
    native = series(observed([0.1, 0.2], 3))
    assert counts_of([summary, native]) == (Series(LABELS, ((0.0, 2.0),)),)
    assert counts_of([summary]) == (summary,)
    divided = split([summary, native], 0.15)
    assert divided is not None
    assert {s.labels for s in divided.unsure} == {(("le", "0.15"), *LABELS)}


@pytest.mark.parametrize(
    ("schema", "requests"),
    [(3, 500), *(pytest.param(n, 20_000, marks=pytest.mark.thorough) for n in (1, 2, 3))],
)
def test_intervals_cover_the_truth_that_a_bucket_hides(schema: int, requests: int) -> None:
    """Lognormal latencies, a threshold that 6.6 % exceed, both ends of the interval at 95 %: nominal are 90 %. Counts
    alone would cover 3 % with the widest buckets."""
    drawn, threshold, truth = np.random.default_rng(7), 0.55, 1 - NormalDist(-1.5, 0.6).cdf(math.log(0.55))
    quantile = math.exp(NormalDist(-1.5, 0.6).inv_cdf(0.95))
    covered, told, alone = 0, 0, 0
    for _ in range(200):
        each = series(gathered(np.exp(drawn.normal(-1.5, 0.6, requests)), schema))
        divided = split([each], threshold)
        assert divided is not None
        counted = ratio_sample([requests - last(divided.counters, repr(threshold))], [requests])
        assert isinstance(counted, Sample)
        alone += within(counted, truth)
        covered += within(widened(counted, divided.unsure[0].points[-1][1]), truth)
        rows = as_classic([each])
        sums = [0.0, *(s.points[-1][1] for s in rows)]
        bounds = [float(s.label("le")) for s in rows]
        p95 = quantile_sample(bounds, [[b - a for a, b in pairwise(sums)]], 0.95)
        assert isinstance(p95, Sample)
        told += within(p95, quantile)
    assert covered >= 0.88 * 200
    assert told >= 0.88 * 200
    assert schema > 2 or alone < 0.8 * 200


def gathered(values: npt.NDArray[np.float64], schema: int) -> Buckets:
    """As `observed`, of many at once."""
    found, counts = np.unique(np.ceil(np.log2(values) * 2**schema), return_counts=True)
    ends = [(2 ** ((float(i) - 1) / 2**schema), 2 ** (float(i) / 2**schema)) for i in found]
    return Buckets(float(len(values)), tuple((*e, float(n)) for e, n in zip(ends, counts, strict=True)))


def within(sample: Sample, truth: float) -> bool:
    low, high = interval(sample, 0.95)
    return low <= truth <= high


def test_unsure_events_widen_both_the_error_and_the_interval() -> None:
    sample = ratio_sample([100.0] * 8, [1000.0] * 8)
    assert isinstance(sample, Sample)
    assert widened(sample, 0.0) == sample
    wider = widened(sample, 400.0)
    assert wider.standard_error == pytest.approx(math.hypot(sample.standard_error, 0.05 / math.sqrt(12)))
    low, high = interval(wider, 0.95)
    narrow_low, narrow_high = interval(sample, 0.95)
    assert low < narrow_low < narrow_high < high
    assert (wider.bad, wider.total, wider.value) == (sample.bad, sample.total, sample.value)
    assert (high - low) / 2 == pytest.approx(1.645 * wider.standard_error, rel=0.1)
