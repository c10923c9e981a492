"""The standard error of a mean of values that are alike for a while."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trimtab.slo.swings import correlation, differences, error_of_mean, slow_error

RUNS = 3000


def alike(rng: np.random.Generator, runs: int, size: int, memory: float) -> np.ndarray:
    found = rng.normal(size=(runs, size))
    for i in range(1, size):
        found[:, i] = memory * found[:, i - 1] + math.sqrt(1 - memory**2) * found[:, i]
    return found


@pytest.mark.parametrize("memory", [0.0, 0.4, 0.7, 0.85])
def test_cosines_put_right_by_the_true_correlation_tell_the_variance_of_the_mean(memory: float) -> None:
    rows = alike(np.random.default_rng(4), RUNS, 64, memory)
    told = np.mean([slow_error(differences(row.tolist()), 4, memory)[0] ** 2 for row in rows])
    lags = np.arange(1, 64)
    true = (1 + 2 * np.sum((1 - lags / 64) * memory**lags)) / 64
    assert told == pytest.approx(true, rel=0.12)


def test_without_that_cosines_miss_half_of_what_is_alike_for_long() -> None:
    rows = alike(np.random.default_rng(4), RUNS, 64, 0.925)
    plain, right = (
        np.mean([slow_error(differences(row.tolist()), 4, r)[0] ** 2 for row in rows]) for r in (0.0, 0.925)
    )
    assert plain < 0.6 * right


def test_correlation_is_freed_of_its_bias_and_of_what_dilutes_it() -> None:
    rng = np.random.default_rng(9)
    rows = alike(rng, RUNS, 64, 0.6)
    clean = [correlation(differences(row.tolist())) for row in rows]
    diluted = [correlation(differences((row + rng.normal(size=64)).tolist()), share=0.5) for row in rows]
    assert np.mean(clean) == pytest.approx(0.6, abs=0.03)
    assert np.mean(diluted) == pytest.approx(0.6, abs=0.06)
    assert correlation([0.0, 0.0, 0.0, 0.0]) == 0.0
    assert correlation([-1.0, 0.0, 1.0]) == 0.0  # too few to tell


def test_a_mean_of_constants_is_known() -> None:
    assert error_of_mean([3.0] * 40)[0] == 0.0
    assert error_of_mean([3.0] * 8)[0] == 0.0


@pytest.mark.parametrize(("size", "memory", "degrees"), [(64, 0.0, 4), (64, 0.9, 3), (8, 0.0, 4), (3, 0.0, 2)])
def test_degrees_of_freedom_are_those_of_what_told_it(size: int, memory: float, degrees: int) -> None:
    rows = alike(np.random.default_rng(2), 200, size, memory)
    found = [error_of_mean(row.tolist())[1] for row in rows]
    assert found.count(degrees) > 60
    assert min(found) >= 1
