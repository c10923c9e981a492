"""The published functions: their optima, and that feasibility means the same to a method and to the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from benchmarks.optimizer.functions import Function, functions, grid_best, grid_values

ALL = list(functions())
DIGITS = {"gramacy": 1e-6, "pressure_vessel": 1e-3, "speed_reducer": 1e-3, "spring": 1e-6}


def named(name: str) -> Function:
    return next(f for f in ALL if f.name == name)


@pytest.mark.parametrize("function", ALL, ids=lambda f: f.name)
def test_the_optimum_is_feasible_and_has_the_published_value(function: Function) -> None:
    at = np.asarray(function.at)
    assert float(function.objective(at)) == pytest.approx(function.optimum, abs=DIGITS.get(function.name, 5e-6))
    assert np.all(function.constraints(at) <= 5e-6)  # the digits that are published


@pytest.mark.parametrize("function", ALL, ids=lambda f: f.name)
def test_random_feasible_points_are_no_better_than_the_optimum(function: Function) -> None:
    rng = np.random.default_rng(1)
    low = np.asarray([a.low for a in function.axes])
    high = np.asarray([a.high for a in function.axes])
    at, width = np.asarray(function.at), high - low
    x = np.concatenate(
        [low + width * rng.random((20_000, len(low)))]
        + [np.clip(at + s * width * rng.standard_normal((20_000, len(low))), low, high) for s in (0.1, 0.01, 0.001)]
    )
    if function.name == "pressure_vessel":
        x[:, :2] = np.round(x[:, :2] * 16) / 16
    if function.name == "speed_reducer":
        x[:, 2] = np.round(x[:, 2])
    good = np.all(function.constraints(x) <= 0, axis=1)
    assert good.any()
    assert function.objective(x[good]).min() >= function.optimum - 1e-6 * abs(function.optimum)
    assert function.objective(x).min() + function.shift > 0  # the library wants a positive cost


@pytest.mark.parametrize("name", ["gramacy", "gardner1", "gardner2", "branin25", "branin16"])
def test_the_best_of_the_grid_near_the_optimum_is_the_best_of_the_whole_grid(name: str) -> None:
    function = named(name)
    x = np.stack(np.meshgrid(*[grid_values(a) for a in function.axes], indexing="ij"), axis=-1).reshape(-1, 2)
    good = np.all(function.constraints(x) <= 1e-9, axis=1)
    assert grid_best(function, 15)[0] == pytest.approx(float(function.objective(x[good]).min()), abs=1e-12)


@pytest.mark.parametrize("name", ["hartmann3", "spring", "pressure_vessel", "welded_beam"])
def test_the_grid_is_fine_enough_to_come_within_half_a_percent_of_the_optimum(name: str) -> None:
    function = named(name)
    value, point = grid_best(function, 6)
    assert function.feasible(point)
    assert function.optimum <= value + 1e-9
    assert value <= function.optimum + 0.005 * abs(function.optimum)


def test_known_points_by_hand() -> None:
    gramacy = named("gramacy")
    corner = {"x1": 1.0, "x2": 1.0}
    assert gramacy.value(corner) == 2.0
    # c2: (2 - 1.5) / 1.5; c1: 1.5 - 1 - 2 - sin(2 pi (1 - 2)) / 2 = -1.5, over 1.5
    assert gramacy.constraints(gramacy.vector(corner)) == pytest.approx([-1.0, 1 / 3])
    measured = gramacy.measure(corner).measured
    assert measured["c1"] == pytest.approx((0.5, 0.0))  # 1 / (1 + 1)
    assert measured["c2"] == pytest.approx((4 / 3, 0.0))  # the quantity over its limit
    vessel = named("pressure_vessel")
    point = {"x1": 1.0, "x2": 0.5, "x3": 50.0, "x4": 100.0}
    assert vessel.value(point) == pytest.approx(3112 + 2222.625 + 316.61 + 992)
    assert vessel.constraints(vessel.vector(point)) == pytest.approx(
        [-0.035, -0.023, 1 - math.pi * (250_000 + 500_000 / 3) / 1_296_000, -140 / 240]
    )


@pytest.mark.parametrize("function", ALL, ids=lambda f: f.name)
def test_what_is_measured_is_within_its_bound_exactly_where_the_truth_is_feasible(function: Function) -> None:
    rng, task = np.random.default_rng(2), function.task(10)
    for _ in range(50):
        point = {a.name: float(rng.choice(grid_values(a))) for a in function.axes}
        measured = function.measure(point).measured
        assert function.feasible(point) == all(measured[x.name][0] <= x.bound * (1 + 1e-9) for x in task.limits)
        assert task.cost(point) == pytest.approx(function.value(point) + function.shift)
