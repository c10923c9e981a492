"""The covariance: closed forms and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import Matern

from trimtab.optimize.kernel import AGE_SECONDS, Inputs, Scales, TrainingKernel, Trend, cross, matern52, variance

GROUPS = np.asarray([0, 1, 2, 2])
TREND = Trend(0.3, 0.7, np.asarray([-1.0, -0.5, 0.0, 0.0]), np.asarray([0.8, 0.4, 0.2, 0.2]), 0.5, 0.6)
SCALES = Scales(np.asarray([0.4, 0.9, 1.3]), 0.8, 1.2, 0.1)


def inputs(n: int, seed: int = 0) -> Inputs:
    rng = np.random.default_rng(seed)
    return Inputs(rng.uniform(size=(n, 4)), rng.normal(size=n), 1.8e9 + rng.uniform(0, 3 * AGE_SECONDS, n))


def test_matern_closed_form() -> None:
    r = np.linspace(0, 5, 11)
    expected = (1 + np.sqrt(5) * r + 5 / 3 * r**2) * np.exp(-np.sqrt(5) * r)
    assert np.allclose(matern52(r), expected, rtol=1e-14)
    sklearn = Matern(length_scale=1.0, nu=2.5)(r[:, None], np.zeros((1, 1)))[:, 0]
    assert np.allclose(matern52(r), sklearn, rtol=1e-12)


def test_every_factor_by_hand() -> None:
    one = Inputs(np.asarray([[0.2, 0.7, 0.0, 1.0]]), np.asarray([0.5]), np.asarray([1.8e9]))
    two = Inputs(np.asarray([[0.6, 0.1, 1.0, 0.0]]), np.asarray([-0.25]), np.asarray([1.8e9 + AGE_SECONDS]))
    r = np.sqrt((0.4 / 0.4) ** 2 + (0.6 / 0.9) ** 2 + 2 / 1.3**2)
    age = 0.7 + 0.3 * np.exp(-1)
    expected = 1.2**2 * float(matern52(np.asarray(r))) * float(matern52(np.asarray(0.75 / 0.8))) * age
    expected += 0.7**2 + 0.8**2 * (-0.3) * 0.1 + 0.4**2 * 0.2 * (-0.4) + 2 * 0.2**2 * (-0.5) * 0.5
    expected += 0.6**2 * 0.5 * (-0.25)
    assert cross(one, two, GROUPS, SCALES, TREND)[0, 0] == pytest.approx(expected, rel=1e-12)


def test_training_and_cross_covariance_are_one_function() -> None:
    at = inputs(12)
    training = TrainingKernel(at, GROUPS, TREND).value(SCALES)
    assert np.allclose(training, cross(at, at, GROUPS, SCALES, TREND), atol=1e-7)
    assert np.allclose(np.diag(training), variance(at, SCALES, TREND), rtol=1e-12)


def test_it_is_positive_definite() -> None:
    training = TrainingKernel(inputs(40), GROUPS, TREND).value(SCALES)
    assert np.linalg.eigvalsh(training).min() > -1e-9


def test_constant_load_and_age_of_the_query_broadcast() -> None:
    at, other = inputs(5, 1), inputs(7, 2)
    fixed = Inputs(at.u, np.full(5, 0.3), np.full(5, 1.8e9))
    whole = cross(fixed, other, GROUPS, SCALES, TREND)
    rows = [
        cross(Inputs(fixed.u[i : i + 1], fixed.z[i : i + 1], fixed.t[i : i + 1]), other, GROUPS, SCALES, TREND)
        for i in range(5)
    ]
    assert np.allclose(whole, np.vstack(rows), atol=1e-12)
    assert cross(inputs(0), other, GROUPS, SCALES, TREND).shape == (0, 7)


def test_gradients_by_finite_differences() -> None:
    at = inputs(9)
    kernel = TrainingKernel(at, GROUPS, TREND)
    weight = np.random.default_rng(3).normal(size=(9, 9))
    weight = weight + weight.T
    value, gradient = kernel.value_and_weights(SCALES)
    assert np.allclose(value, kernel.value(SCALES))
    lengths, load, amplitude = gradient.contract(weight)

    def total(logs: np.ndarray) -> float:
        p = np.exp(logs)
        return float(np.sum(weight * kernel.value(Scales(p[:3], float(p[3]), float(p[4]), 0.1))))

    start = np.log(np.asarray([*SCALES.l, SCALES.lz, SCALES.sf]))
    for i, analytic in enumerate([*lengths, load, amplitude]):
        step = np.zeros(5)
        step[i] = 1e-5
        numeric = (total(start + step) - total(start - step)) / 2e-5
        assert analytic == pytest.approx(numeric, rel=1e-6, abs=1e-6)


def test_coinciding_rows_have_finite_gradients() -> None:
    at = Inputs(np.zeros((3, 4)), np.zeros(3), np.zeros(3))
    _, gradient = TrainingKernel(at, GROUPS, TREND).value_and_weights(SCALES)
    lengths, load, amplitude = gradient.contract(np.ones((3, 3)))
    assert np.all(np.isfinite([*lengths, load, amplitude]))
