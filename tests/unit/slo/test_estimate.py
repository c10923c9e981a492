"""Standard errors and intervals: closed forms, edges, and coverage in seeded simulation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import poisson

from trimtab.domain.measurement import NoData, Sample
from trimtab.slo.estimate import (
    ASSUMED,
    interval,
    overdispersed,
    ratio_sample,
    shrunk_overdispersion,
    standard_error_of_mean,
    value_sample,
)
from trimtab.slo.quantiles import quantile_sample
from trimtab.slo.student import widening, z_of

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
    # Of four sub-windows phi is known by three degrees of freedom and at least 1, and the limits of 12 events are exact
    # ones: where events are independent after all, this covers more than 95 %.
    assert 0.92 <= hits / RUNS <= (0.985 if sub_windows > 4 else 0.995)


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
    assert interval(found, 0.95) == (0.5, math.inf)


def test_a_quantile_just_beyond_the_last_bound_may_lie_before_it() -> None:
    found = sample(quantile_sample([0.1, 0.5, math.inf], [[500, 440, 60]], 0.95))
    low, high = interval(found, 0.95)
    assert 0.4 < low < 0.5
    assert high == math.inf


def test_a_histogram_without_a_finite_bucket_is_no_data() -> None:
    assert isinstance(quantile_sample([math.inf], [[100]], 0.95), NoData)


def test_fine_buckets_are_nearly_as_good_as_the_requests_themselves() -> None:
    """Interpolation errs by far less than a bucket where the density is smooth; where it is not, by any part of it."""
    bounds = [*np.arange(0.02, 1.0, 0.02).tolist(), math.inf]
    smooth = np.diff(1 - np.exp(-np.array(bounds) / 0.1), prepend=0.0) * 100_000
    found = sample(quantile_sample(bounds, [smooth.tolist()], 0.95))
    assert found.standard_error < 0.3 * 0.02 / math.sqrt(12)
    jagged = smooth * np.array([i % 2 for i in range(len(bounds))])
    assert sample(quantile_sample(bounds, [jagged.tolist()], 0.95)).standard_error >= 0.02 / math.sqrt(12)


def test_no_traffic_is_no_data_and_no_errors_are_zero() -> None:
    assert isinstance(ratio_sample([0, 0], [0, 0]), NoData)
    assert isinstance(ratio_sample([], []), NoData)
    assert isinstance(ratio_sample([math.nan], [math.nan]), NoData)
    assert isinstance(quantile_sample([1.0, math.inf], [[0, 0]], 0.5), NoData)
    clean = sample(ratio_sample([0, 0, 0, 0], [250, 250, 250, 250]))
    assert (clean.value, clean.bad) == (0.0, 0)
    assert clean.standard_error > 0
    assert interval(clean, 0.95)[1] == pytest.approx(0.003, rel=0.02)  # the rule of three


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
    assert overdispersed(even, [1000] * 16)[0] == 1.0
    found = [overdispersed(clustered(rng, 10.0, 6.0, 16).tolist(), [1000] * 16)[0] for _ in range(400)]
    assert 5 < sum(found) / len(found) / widening(4) ** 2 < 8  # 6, and a little for what may wander
    assert overdispersed([5], [10])[0] == 1.0  # one part says nothing, whoever judges by it knows phi otherwise
    assert overdispersed([0] * 8, [100] * 8)[0] == 1.0


@pytest.mark.parametrize("bad", [[1, 2], [1, 2, 3], [0, 0, 0], [4, 0, 0, 0]])
def test_few_parts_are_taken_to_hold_clusters(bad: list[float]) -> None:
    """A window of four to seven scrapes has two or three parts; or only three of many saw requests."""
    total = [100.0 if i < 3 else 0.0 for i in range(len(bad))]
    found = sample(ratio_sample(bad, total))
    assert (found.overdispersion, found.degrees) == (shrunk_overdispersion(bad, total), ASSUMED)
    assert found.overdispersion > 2.5
    assert interval(found, 0.95)[1] > interval(replace(found, overdispersion=1.0), 0.95)[1]


@pytest.mark.parametrize("bad", [1, 2, 3, 5, 10, 30])
def test_a_ratio_within_its_bound_is_seldom_called_broken(bad: int) -> None:
    """Were the true ratio at the lower limit, so many events or more would come in 5 % of windows."""
    low, _ = interval(Sample(bad / 10_000, 0.0, 10_000.0, bad), 0.95)
    assert 0.03 if bad > 1 else 0.0 <= poisson.sf(bad - 1, low * 10_000) <= 0.052


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_one_sided_errors_are_as_promised_at_any_confidence(confidence: float) -> None:
    """Student's quantile at the confidence that is asked, not that of 95 % stretched by a normal one."""
    rng = np.random.default_rng(8)
    found = [sample(value_sample(row.tolist(), None)) for row in rng.normal(size=(4 * RUNS, 64))]
    missed = sum(interval(s, confidence)[0] > 0 for s in found) / len(found)
    assert missed == pytest.approx(1 - confidence, rel=0.25)


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
