"""Limits of rare events against the exact ones."""

from __future__ import annotations

from statistics import NormalDist

import pytest
from scipy.stats import beta, chi2

from trimtab.domain.limits import poisson_limits, ratio_limits


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(confidence)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99, 0.999])
@pytest.mark.parametrize("events", [0, 1, 2, 5, 10, 100])
def test_the_upper_limit_is_garwoods(events: int, confidence: float) -> None:
    exact = chi2.ppf(confidence, 2 * events + 2) / 2
    assert poisson_limits(events, _z(confidence))[1] == pytest.approx(exact, rel=0.025)


@pytest.mark.parametrize("events", [2, 3, 5, 10, 100])
def test_the_lower_limit_is_garwoods_from_two_events_on(events: int) -> None:
    exact = chi2.ppf(0.05, 2 * events) / 2
    assert poisson_limits(events, _z(0.95))[0] == pytest.approx(exact, rel=0.03)


@pytest.mark.parametrize("confidence", [0.95, 0.99, 0.999])
def test_the_lower_limit_of_few_events_is_never_above_the_exact_one(confidence: float) -> None:
    assert poisson_limits(0, _z(confidence))[0] == 0.0
    assert 0.0 <= poisson_limits(1, _z(confidence))[0] <= chi2.ppf(1 - confidence, 2) / 2


@pytest.mark.parametrize(("total", "bad"), [(1000, 0), (1000, 5), (1000, 200), (1000, 500), (100, 5), (100, 50)])
def test_limits_of_a_ratio_are_those_of_clopper_and_pearson(total: int, bad: int) -> None:
    lower, upper = ratio_limits(bad, total, 1.0, _z(0.95))
    assert upper == pytest.approx(beta.ppf(0.95, bad + 1, total - bad), rel=0.04)
    assert lower == pytest.approx(beta.ppf(0.05, bad, total - bad + 1) if bad else 0.0, rel=0.04)


def test_good_and_bad_events_have_the_same_limits() -> None:
    lower, upper = ratio_limits(3, 400, 2.0, _z(0.95))
    assert ratio_limits(397, 400, 2.0, _z(0.95)) == (1 - upper, 1 - lower)


def test_events_that_cluster_threefold_need_three_times_as_many() -> None:
    alone, clustered = ratio_limits(4, 10_000, 1.0, _z(0.95)), ratio_limits(12, 30_000, 3.0, _z(0.95))
    assert clustered == pytest.approx(alone, rel=1e-3)
    assert ratio_limits(0, 20, 10.0, _z(0.95)) == (0.0, 1.0)
