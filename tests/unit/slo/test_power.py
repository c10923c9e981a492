"""How many requests a verdict needs: against the exact test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from trimtab.slo.power import least_ratio_found, requests_needed
from trimtab.slo.sequential import EProcess


def exact_power(n: int, bound: float, ratio: float, alpha: float = 0.05) -> float:
    """Of the exact one-sided test that n requests with k bad ones lie below the bound."""
    most = int(binom.ppf(alpha, n, bound))
    most = most if binom.cdf(most, n, bound) <= alpha else most - 1
    return float(binom.cdf(most, n, ratio)) if most >= 0 else 0.0


@pytest.mark.parametrize(("bound", "ratio"), [(0.001, 0.0005), (0.001, 0.0003), (0.05, 0.03), (0.01, 0.002)])
def test_as_many_requests_as_the_exact_test_wants(bound: float, ratio: float) -> None:
    n = requests_needed(bound, ratio, 0.95)
    assert exact_power(int(1.12 * n), bound, ratio) >= 0.8
    assert exact_power(int(0.85 * n), bound, ratio) < 0.8


def test_the_figures_of_a_three_nines_objective() -> None:
    assert requests_needed(0.001, 0.0005, 0.95) == pytest.approx(21_308, rel=0.08)
    assert requests_needed(0.001, 0.0003, 0.95) == pytest.approx(9_263, rel=0.08)


def test_never_fewer_than_no_error_at_all_would_need() -> None:
    assert requests_needed(0.001, 0.0, 0.95) == pytest.approx(math.log(20) / 0.001)
    assert math.isinf(requests_needed(0.001, 0.001, 0.95))


@pytest.mark.parametrize(("requests", "ratio"), [(5_200, 3.2), (12_000, 2.4), (36_000, 1.8)])
def test_the_least_ratio_that_half_of_the_trials_find(requests: float, ratio: float) -> None:
    """At 1 % errors; three times as many are found after a median of 260 s at 20 requests/s, that is 5,200."""
    found = least_ratio_found(1.2, 0.005, 0.01, requests)
    assert found == pytest.approx(ratio, rel=0.02)
    hits = 0
    rng = np.random.default_rng(3)
    for _ in range(300):
        test = EProcess(delta=1.2, phi=3.0)
        counts = rng.negative_binomial([found * 0.01 * requests / 40, 0.01 * requests / 40], 1 / 3, size=(20, 2))
        for canary, control in counts.tolist():
            test = test.add(canary, requests / 20, control, requests / 20)
            if test.rejects(0.005):
                hits += 1
                break
    assert 0.4 <= hits / 300 <= 0.75


def test_what_cannot_be_found_is_not_promised() -> None:
    assert least_ratio_found(1.2, 0.005, 0.0, 12_000) is None
    assert least_ratio_found(1.2, 0.005, 0.0001, 1_000) is None
    assert (least_ratio_found(2.0, 0.005, 0.01, 12_000) or 0.0) > (least_ratio_found(1.2, 0.005, 0.01, 12_000) or 0.0)
