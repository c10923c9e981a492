"""The latency distribution: sums of service time and delays, at any bound."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.workload.latency import LatencyDistribution, ServiceTime


def test_lognormal_service_has_its_mean_and_variation() -> None:
    service = ServiceTime(0.03, 0.7)
    t = np.linspace(0.0, 3.0, 300_001)
    over = 1.0 - service.cdf(t)
    mean = np.trapezoid(over, t)
    second = 2.0 * np.trapezoid(t * over, t)
    assert mean == pytest.approx(0.03, rel=1e-4)
    assert np.sqrt(second - mean**2) / mean == pytest.approx(0.7, rel=1e-3)


@pytest.mark.parametrize("family", ["Lognormal", "Exponential"])
def test_nodes_keep_the_mean(family: str) -> None:
    values, weights = ServiceTime(0.2, 1.0, family).nodes(6)  # type: ignore[arg-type]
    assert float(values @ weights) == pytest.approx(0.2)
    assert float(weights.sum()) == pytest.approx(1.0)


def test_no_service_time_is_a_point() -> None:
    assert ServiceTime(0.0, 1.0).cdf(np.array([-0.1, 0.0, 0.1])).tolist() == [0.0, 1.0, 1.0]


def test_sums_agree_with_drawn_ones() -> None:
    rng = np.random.default_rng(4)
    n = 400_000
    service = ServiceTime(0.03, 0.7)
    first, second = (np.array([0.0, 0.05]), np.array([0.8, 0.2])), (np.array([0.0, 0.01, 0.2]), np.full(3, 1 / 3))
    distribution = LatencyDistribution.of(service, [first, second], 5.0, late=0.02)
    sigma = np.sqrt(np.log1p(0.7**2))
    drawn = rng.lognormal(np.log(0.03) - sigma**2 / 2, sigma, n)
    drawn += rng.choice(first[0], n, p=first[1]) + rng.choice(second[0], n, p=second[1])
    drawn[rng.random(n) < 0.02] = 5.0
    at = np.array([0.02, 0.05, 0.1, 0.25, 0.5, 1.0])
    assert distribution.cdf(at) == pytest.approx(np.array([(drawn <= t).mean() for t in at]), abs=3e-3)
    assert distribution.mean_s == pytest.approx(drawn.mean(), rel=0.01)
    assert distribution.sd_s == pytest.approx(drawn.std(), rel=0.02)


def test_buckets_add_up_to_one_and_end_in_infinity() -> None:
    distribution = LatencyDistribution.of(ServiceTime(0.03, 0.7), [], 5.0, late=0.1)
    buckets = distribution.bucket_probabilities([0.01, 0.1, 1.0])
    assert float(buckets.sum()) == pytest.approx(1.0)
    assert buckets[-1] == pytest.approx(0.1, abs=1e-6)
    assert distribution.fraction_over(0.1) == pytest.approx(float(buckets[2:].sum()))


def test_who_gets_no_answer_counts_as_the_timeout() -> None:
    distribution = LatencyDistribution.of(ServiceTime(0.03, 0.7), [], 2.0, late=0.5)
    assert distribution.quantile(0.9) == pytest.approx(2.0)
    assert distribution.timed_out == pytest.approx(0.5)
    assert distribution.cdf(2.0)[0] == 1.0
