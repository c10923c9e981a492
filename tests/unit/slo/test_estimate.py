"""Standard errors and intervals: closed forms, edges, and coverage in seeded simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from trimtab.domain.measurement import NoData, Sample
from trimtab.slo.estimate import (
    interval,
    overdispersion,
    quantile_sample,
    ratio_sample,
    shrunk_overdispersion,
    standard_error_of_mean,
    value_sample,
    z_of,
)

BOTH_SIDES = 0.975  # one-sided bounds at 97.5 % make a 95 % interval
RUNS = 1500


def sample(reading: object) -> Sample:
    assert isinstance(reading, Sample)
    return reading


def clustered(rng: np.random.Generator, mean: float, variance_over_mean: float, size: int) -> np.ndarray:
    """Counts with this variance: Poisson, or negative binomial."""
    if variance_over_mean == 1:
        return rng.poisson(mean, size)
    return rng.negative_binomial(mean / (variance_over_mean - 1), 1 / variance_over_mean, size)


@pytest.mark.parametrize("sub_windows", [4, 16])
@pytest.mark.parametrize("phi", [1, 3])
@pytest.mark.parametrize(("ratio", "requests"), [(0.01, 12_000), (0.05, 3_200), (0.001, 12_000)])
def test_ratio_intervals_cover(ratio: float, requests: int, phi: int, sub_windows: int) -> None:
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(RUNS):
        total = rng.poisson(requests / sub_windows, sub_windows)
        bad = np.minimum(clustered(rng, ratio * requests / sub_windows, phi, sub_windows), total)
        low, high = interval(sample(ratio_sample(bad.tolist(), total.tolist())), BOTH_SIDES)
        hits += low <= ratio <= high
    assert 0.92 <= hits / RUNS <= 0.985


def test_ratio_intervals_cover_where_an_incident_lasts_as_long_as_a_sub_window() -> None:
    """Clusters of three bad events, each of which begins in one sub-window and ends in the next."""
    rng, hits = np.random.default_rng(12), 0
    for _ in range(RUNS):
        total = rng.poisson(750, 16)
        events = np.array([rng.multinomial(3 * n, [0.6, 0.4]) for n in rng.poisson(0.03 * 750 / 3, 17)])
        bad = np.minimum(events[1:, 0] + events[:-1, 1], total)
        low, high = interval(sample(ratio_sample(bad.tolist(), total.tolist())), BOTH_SIDES)
        hits += low <= 0.03 <= high
    assert 0.92 <= hits / RUNS <= 0.985


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6, 0.8])
def test_value_intervals_cover_although_neighbours_are_alike(correlation: float) -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(RUNS, 120))
    values = np.zeros_like(noise)
    for i in range(1, 120):
        values[:, i] = correlation * values[:, i - 1] + math.sqrt(1 - correlation**2) * noise[:, i]
    hits = 0
    for row in values[:, 56:]:
        low, high = interval(sample(value_sample((7 + row).tolist(), None)), BOTH_SIDES)
        hits += low <= 7 <= high
    assert 0.92 <= hits / RUNS <= 0.985


def test_quantile_intervals_cover_with_fine_buckets() -> None:
    rng = np.random.default_rng(3)
    bounds = [*np.arange(0.01, 2.0, 0.01).tolist(), math.inf]
    truth, hits = -0.1 * math.log(0.05), 0  # p95 of an exponential with mean 0.1
    for _ in range(RUNS):
        counts, _edges = np.histogram(rng.exponential(0.1, 2000), [0.0, *bounds[:-1], 1e9])
        low, high = interval(sample(quantile_sample(bounds, [counts.tolist()], 0.95)), BOTH_SIDES)
        hits += low <= truth <= high
    assert 0.93 <= hits / RUNS <= 0.985


def alike(rng: np.random.Generator, size: int, memory: float) -> np.ndarray:
    """AR(1) of unit variance, its first value among them."""
    found = rng.normal(size=size)
    for i in range(1, size):
        found[i] = memory * found[i - 1] + math.sqrt(1 - memory**2) * found[i]
    return found


def test_quantile_intervals_cover_although_latency_swings_for_a_minute() -> None:
    """Ten minutes in 16 sub-windows, exponential latencies whose mean swings by a tenth, buckets of 5 %. Independent
    events of the same number would cover 70 to 80 %."""
    rng, hits, runs = np.random.default_rng(6), 0, RUNS // 2
    bounds = np.array([*(0.03 * 1.05 ** np.arange(80)), math.inf])
    means = 0.1 * np.exp(0.1 * rng.normal(size=100_000))
    truth = brentq(lambda x: float(np.exp(-x / means).mean()) - 0.05, 0.1, 1.0)
    for _ in range(runs):
        now = 0.1 * np.exp(0.1 * alike(rng, 16, math.exp(-37.5 / 60)))
        shares = np.diff(1 - np.exp(-bounds / now[:, None]), prepend=0.0)
        counts = [rng.multinomial(750, row).tolist() for row in shares]
        low, high = interval(sample(quantile_sample(bounds.tolist(), counts, 0.95)), BOTH_SIDES)
        hits += low <= truth <= high
    assert 0.92 <= hits / runs <= 0.985


def test_a_coarse_bucket_says_that_it_does_not_know() -> None:
    found = sample(quantile_sample([0.1, 0.5, 1.0, math.inf], [[0, 0, 100_000, 0]], 0.5))
    assert found.value == pytest.approx(0.75)
    assert found.standard_error >= 0.5 / math.sqrt(12)


def test_a_quantile_beyond_the_last_bound_is_only_known_to_be_beyond() -> None:
    found = sample(quantile_sample([0.1, 0.5, math.inf], [[1, 1, 98]], 0.95))
    assert found.value == 0.5
    assert found.standard_error >= 0.5


def test_no_traffic_is_no_data_and_no_errors_are_zero() -> None:
    assert isinstance(ratio_sample([0, 0], [0, 0]), NoData)
    assert isinstance(ratio_sample([], []), NoData)
    assert isinstance(ratio_sample([math.nan], [math.nan]), NoData)
    assert isinstance(quantile_sample([1.0, math.inf], [[0, 0]], 0.5), NoData)
    clean = sample(ratio_sample([0, 0, 0, 0], [250, 250, 250, 250]))
    assert (clean.value, clean.bad) == (0.0, 0)
    assert clean.standard_error > 0
    assert interval(clean, 0.95)[1] == pytest.approx(0.0027, rel=0.02)  # Wilson at k = 0: z^2 / (n + z^2)


def test_values_that_are_not_numbers_are_absent() -> None:
    assert isinstance(value_sample([], None), NoData)
    assert isinstance(value_sample([math.nan, math.inf], None), NoData)
    assert sample(value_sample([math.nan, 3.0, 5.0], None)).value == 4.0
    assert sample(value_sample([3.0, 5.0], 40.0)).total == 40.0


def test_one_value_is_hardly_known() -> None:
    assert sample(value_sample([8.0], None)).standard_error == 8.0


def test_the_standard_error_of_few_is_students() -> None:
    error = standard_error_of_mean([1.0, 3.0])
    assert z_of(0.95) * error == pytest.approx(6.314 * 1.0, rel=1e-3)


def test_overdispersion_is_seen_and_never_below_one() -> None:
    rng = np.random.default_rng(1)
    even = [10] * 16
    assert overdispersion(even, [1000] * 16) == 1.0
    found = [overdispersion(clustered(rng, 10.0, 6.0, 16).tolist(), [1000] * 16) for _ in range(200)]
    assert 5 < sum(found) / len(found) < 8  # 6, widened for the few degrees of freedom
    assert overdispersion([1, 2, 3], [10, 10, 10]) == 1.0  # too few to tell
    assert overdispersion([0] * 8, [100] * 8) == 1.0


def test_without_evidence_clusters_are_assumed_and_evidence_wins() -> None:
    assert shrunk_overdispersion([], []) == 3.0
    assert shrunk_overdispersion([0, 0], [10, 10]) == 3.0
    rng = np.random.default_rng(2)
    poisson = rng.poisson(20, 2000).tolist()
    assert shrunk_overdispersion(poisson, [10_000] * 2000) < 1.15
    assert shrunk_overdispersion(clustered(rng, 20, 5, 2000).tolist(), [10_000] * 2000) > 4


@given(
    st.integers(0, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.floats(1, 50),
    st.floats(0.5, 0.999),
)
def test_ratio_intervals_stay_within_bounds_and_hold_the_estimate(
    counts: tuple[int, int], phi: float, confidence: float
) -> None:
    bad, total = counts
    if total == 0:
        return
    low, high = interval(Sample(bad / total, 0.0, total, bad, phi), confidence)
    assert 0.0 <= low <= bad / total + 1e-9
    assert bad / total - 1e-9 <= high <= 1.0
