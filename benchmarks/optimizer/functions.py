"""Published constrained functions with known optima, as tasks for the optimizer and its peers.

Notation: x (..., d) points, f the objective (minimized), each constraint y(x) <= l with limit l, c = (y - l) / s with
s = |l|, or 1 where l = 0: what is left when the published inequality is divided by its right-hand side.

A bound of the contract is a measured quantity that must stay at or below a positive number. The quantity is
  value = (1 + max(c, 0)) / (1 + max(-c, 0)), bound 1
so y / l itself above the limit (for l > 0), and the same ratio mirrored below it. log(value) = sign(c) log(1 + |c|)
is the bilog transformation that Eriksson and Poloczek (2021) use for constraints whose size ranges over orders of
magnitude; it has the sign of c, and slope 1 at c = 0. Every method gets the same numbers: Trimtab takes logarithms of
values by itself, the adapters of peers take them too. There is no noise: the standard error is 0.

`cost` is f plus a constant that makes it positive in the whole box (the library wants a positive cost); regrets are
differences of f, so the constant drops out. The grids are those of `axes`: every method is evaluated on them, and
regret counts from the true optimum. `grid_best` is the best feasible value on the grid; no method gets under it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from benchmarks.optimizer.contract import Axis, Limit, Point, Result, Task

Floats = NDArray[np.float64]
TOLERANCE = 1e-9  # of c: what is exactly on a bound is feasible


@dataclass(frozen=True)
class Inequality:
    """y(x) <= limit; y maps (..., d) to (...)."""

    y: Callable[[Floats], Floats]
    limit: float = 0.0

    def scaled(self, x: Floats) -> Floats:
        """c = (y - l) / |l|, or y where l = 0."""
        return np.asarray((self.y(x) - self.limit) / (abs(self.limit) or 1.0))


@dataclass(frozen=True)
class Function:
    """A published problem.

    Attributes:
        optimum: the published f at `at`, to the digits that are published.
        shift: what is added to f to make the cost positive.
        source: where the formula was published.
    """

    name: str
    axes: tuple[Axis, ...]
    objective: Callable[[Floats], Floats]
    inequalities: tuple[Inequality, ...]
    optimum: float
    at: tuple[float, ...]
    source: str
    shift: float = 0.0

    def vector(self, point: Point) -> Floats:
        """Shape: (d,)."""
        return np.asarray([point[axis.name] for axis in self.axes], dtype=np.float64)

    def value(self, point: Point) -> float:
        """f, without the shift."""
        return float(self.objective(self.vector(point)))

    def constraints(self, x: Floats) -> Floats:
        """c of every constraint. Shape: (..., d) -> (..., m)."""
        return np.stack([inequality.scaled(x) for inequality in self.inequalities], axis=-1)

    def feasible(self, point: Point) -> bool:
        """The truth about a point."""
        return bool(np.all(self.constraints(self.vector(point)) <= TOLERANCE))

    def task(self, trials: int) -> Task:
        """As a method sees it."""
        limits = tuple(Limit(f"c{j + 1}", 1.0) for j in range(len(self.inequalities)))
        return Task(self.axes, limits, lambda point: self.value(point) + self.shift, None, trials)

    def measure(self, point: Point, at: float = 0.0) -> Result:
        """The noise-free result of a trial."""
        c = self.constraints(self.vector(point))
        ratio = (1 + np.maximum(c, 0.0)) / (1 + np.maximum(-c, 0.0))
        return Result({f"c{j + 1}": (float(v), 0.0) for j, v in enumerate(ratio)}, at=at)


def grid_values(axis: Axis) -> Floats:
    """All values of one axis. Shape: (k,)."""
    count = math.floor((axis.high - axis.low) / axis.step + 1e-9) + 1
    return np.round(axis.low + axis.step * np.arange(count), 12)


def grid_best(function: Function, window: int = 4) -> tuple[float, dict[str, float]]:
    """The best feasible (f, point) among the grid points within `window` steps of the optimum along each axis; the
    window is wide enough when a wider one finds no better (the tests check that)."""
    near = []
    for axis, best in zip(function.axes, function.at, strict=True):
        values = grid_values(axis)
        middle = int(np.argmin(np.abs(values - best)))
        near.append(values[max(middle - window, 0) : middle + window + 1])
    x = np.asarray(list(product(*near)), dtype=np.float64)
    f = np.where(np.all(function.constraints(x) <= TOLERANCE, axis=-1), function.objective(x), np.inf)
    best_row = int(np.argmin(f))
    point = {axis.name: float(v) for axis, v in zip(function.axes, x[best_row], strict=True)}
    return float(f[best_row]), point


def _axes(*given: tuple[float, float, float] | tuple[float, float, float, bool]) -> tuple[Axis, ...]:
    found = []
    for i, (low, high, step, *log) in enumerate(given):
        found.append(Axis(f"x{i + 1}", low, high, step, log=bool(log and log[0])))
    return tuple(found)


def gramacy() -> Function:
    """Gramacy et al., Modeling an augmented Lagrangian for blackbox constrained optimization, Technometrics 2016."""
    wave = Inequality(
        lambda x: -x[..., 0] - 2 * x[..., 1] - 0.5 * np.sin(2 * np.pi * (x[..., 0] ** 2 - 2 * x[..., 1])), -1.5
    )
    disk = Inequality(lambda x: x[..., 0] ** 2 + x[..., 1] ** 2, 1.5)
    return Function(
        "gramacy",
        _axes((0.0, 1.0, 0.0025), (0.0, 1.0, 0.0025)),
        lambda x: np.asarray(x[..., 0] + x[..., 1]),
        (wave, disk),
        0.599788,
        (0.195123, 0.404665),
        "Gramacy et al. 2016",
        shift=0.1,
    )


def gardner1() -> Function:
    """Gardner et al., Bayesian optimization with inequality constraints, ICML 2014, simulation 1."""
    bound = Inequality(lambda x: np.cos(x[..., 0]) * np.cos(x[..., 1]) - np.sin(x[..., 0]) * np.sin(x[..., 1]), 0.5)
    return Function(
        "gardner1",
        _axes((0.0, 6.0, 0.01), (0.0, 6.0, 0.01)),
        lambda x: np.asarray(np.cos(2 * x[..., 0]) * np.cos(x[..., 1]) + np.sin(x[..., 0])),
        (bound,),
        -2.0,
        (1.5 * math.pi, 0.0),
        "Gardner et al. 2014",
        shift=2.5,
    )


def gardner2() -> Function:
    """Gardner et al., Bayesian optimization with inequality constraints, ICML 2014, simulation 2."""
    bound = Inequality(lambda x: np.sin(x[..., 0]) * np.sin(x[..., 1]), -0.95)
    return Function(
        "gardner2",
        _axes((0.0, 6.0, 0.01), (0.0, 6.0, 0.01)),
        lambda x: np.asarray(np.sin(x[..., 0]) + x[..., 1]),
        (bound,),
        0.253236,
        (1.5 * math.pi, 1.253236),
        "Gardner et al. 2014",
        shift=1.5,
    )


def branin_disk(squared_radius: float) -> Function:
    """Branin's function (Dixon and Szego 1978) in a disk about the middle of its box (Parr et al. 2012 style)."""
    optimum, at = {25.0: (0.458377, (3.098466, 2.535945)), 16.0: (1.772782, (2.928692, 3.523038))}[squared_radius]
    a, b, c, t = 1.0, 5.1 / (4 * math.pi**2), 5 / math.pi, 1 / (8 * math.pi)
    disk = Inequality(lambda x: (x[..., 0] - 2.5) ** 2 + (x[..., 1] - 7.5) ** 2, squared_radius)
    return Function(
        f"branin{squared_radius:.0f}",
        _axes((-5.0, 10.0, 0.02), (0.0, 15.0, 0.02)),
        lambda x: np.asarray(
            a * (x[..., 1] - b * x[..., 0] ** 2 + c * x[..., 0] - 6) ** 2 + 10 * (1 - t) * np.cos(x[..., 0]) + 10
        ),
        (disk,),
        optimum,
        at,
        "Dixon and Szego 1978",
        shift=1.0,
    )


_HARTMANN_A = np.asarray([[3.0, 10, 30], [0.1, 10, 35], [3.0, 10, 30], [0.1, 10, 35]])
_HARTMANN_P = 1e-4 * np.asarray([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]])
_HARTMANN_W = np.asarray([1.0, 1.2, 3.0, 3.2])


def hartmann3() -> Function:
    """Hartmann's function in 3 d (Dixon and Szego 1978) with |x| <= 1, as Letham et al. 2019 bound the 6-d one."""

    def objective(x: Floats) -> Floats:
        inner = np.sum(_HARTMANN_A * (x[..., None, :] - _HARTMANN_P) ** 2, axis=-1)
        return np.asarray(-np.sum(_HARTMANN_W * np.exp(-inner), axis=-1))

    return Function(
        "hartmann3",
        _axes((0.0, 1.0, 0.005), (0.0, 1.0, 0.005), (0.0, 1.0, 0.005)),
        objective,
        (Inequality(lambda x: np.sqrt(np.sum(x**2, axis=-1)), 1.0),),
        -3.838521,
        (0.042731, 0.537385, 0.842254),
        "Dixon and Szego 1978; Letham et al. 2019",
        shift=4.0,
    )


def pressure_vessel() -> Function:
    """Kannan and Kramer 1994 in the form of Coello 2000: both thicknesses are multiples of 1/16 inch."""

    def cost(x: Floats) -> Floats:
        shell, head, radius, length = (x[..., i] for i in range(4))
        return np.asarray(
            0.6224 * shell * radius * length
            + 1.7781 * head * radius**2
            + 3.1661 * shell**2 * length
            + 19.84 * shell**2 * radius
        )

    def volume(x: Floats) -> Floats:
        return np.asarray(-math.pi * x[..., 2] ** 2 * x[..., 3] - 4 / 3 * math.pi * x[..., 2] ** 3)

    return Function(
        "pressure_vessel",
        _axes((0.0625, 6.1875, 0.0625), (0.0625, 6.1875, 0.0625), (10.0, 200.0, 0.1), (10.0, 200.0, 0.5)),
        cost,
        (
            Inequality(lambda x: -x[..., 0] + 0.0193 * x[..., 2]),
            Inequality(lambda x: -x[..., 1] + 0.00954 * x[..., 2]),
            Inequality(volume, -1_296_000.0),
            Inequality(lambda x: x[..., 3], 240.0),
        ),
        6059.714,
        (0.8125, 0.4375, 42.098446, 176.636596),
        "Kannan and Kramer 1994; Coello 2000",
    )


_LOAD, _LENGTH, _YOUNG, _SHEAR = 6000.0, 14.0, 30e6, 12e6


def _weld_stress(x: Floats) -> Floats:
    weld, length, height = x[..., 0], x[..., 1], x[..., 2]
    direct = _LOAD / (math.sqrt(2) * weld * length)
    arm = np.sqrt(length**2 / 4 + ((weld + height) / 2) ** 2)
    polar = 2 * math.sqrt(2) * weld * length * (length**2 / 12 + ((weld + height) / 2) ** 2)
    bending = _LOAD * (_LENGTH + length / 2) * arm / polar
    return np.asarray(np.sqrt(direct**2 + direct * bending * length / arm + bending**2))


def _buckling_load(x: Floats) -> Floats:
    height, width = x[..., 2], x[..., 3]
    slender = 4.013 * _YOUNG * np.sqrt(height**2 * width**6 / 36) / _LENGTH**2
    return np.asarray(slender * (1 - height / (2 * _LENGTH) * math.sqrt(_YOUNG / (4 * _SHEAR))))


def welded_beam() -> Function:
    """Ragsdell and Phillips 1976 in the form of Coello 2000 (seven constraints)."""

    def cost(x: Floats) -> Floats:
        return np.asarray(1.10471 * x[..., 0] ** 2 * x[..., 1] + 0.04811 * x[..., 2] * x[..., 3] * (14.0 + x[..., 1]))

    return Function(
        "welded_beam",
        _axes((0.1, 2.0, 0.002), (0.1, 10.0, 0.02), (0.1, 10.0, 0.02), (0.1, 2.0, 0.002)),
        cost,
        (
            Inequality(_weld_stress, 13_600.0),
            Inequality(lambda x: 6 * _LOAD * _LENGTH / (x[..., 3] * x[..., 2] ** 2), 30_000.0),
            Inequality(lambda x: x[..., 0] - x[..., 3]),
            Inequality(lambda x: 0.10471 * x[..., 0] ** 2 + 0.04811 * x[..., 2] * x[..., 3] * (14.0 + x[..., 1]), 5.0),
            Inequality(lambda x: -x[..., 0], -0.125),
            Inequality(lambda x: 4 * _LOAD * _LENGTH**3 / (_YOUNG * x[..., 2] ** 3 * x[..., 3]), 0.25),
            Inequality(lambda x: -_buckling_load(x), -_LOAD),
        ),
        1.724852,
        (0.205730, 3.470489, 9.036624, 0.205730),
        "Ragsdell and Phillips 1976; Coello 2000",
    )


def spring() -> Function:
    """Tension spring of Arora 1989 in the form of Coello 2000: wire diameter, coil diameter, active coils."""
    return Function(
        "spring",
        _axes((0.05, 2.0, 0.0002, True), (0.25, 1.3, 0.002), (2.0, 15.0, 0.05)),
        lambda x: np.asarray((x[..., 2] + 2) * x[..., 1] * x[..., 0] ** 2),
        (
            Inequality(lambda x: -(x[..., 1] ** 3) * x[..., 2] / (71_785 * x[..., 0] ** 4), -1.0),
            Inequality(
                lambda x: (
                    (4 * x[..., 1] ** 2 - x[..., 0] * x[..., 1])
                    / (12_566 * (x[..., 1] * x[..., 0] ** 3 - x[..., 0] ** 4))
                    + 1 / (5108 * x[..., 0] ** 2)
                ),
                1.0,
            ),
            Inequality(lambda x: -140.45 * x[..., 0] / (x[..., 1] ** 2 * x[..., 2]), -1.0),
            Inequality(lambda x: x[..., 0] + x[..., 1], 1.5),
        ),
        0.0126652,
        (0.051689, 0.356718, 11.288966),
        "Arora 1989; Coello 2000",
    )


def speed_reducer() -> Function:
    """Golinski 1973 with x5 in [7.3, 8.3] (Cagnina et al. 2008): eleven constraints, x3 a whole number of teeth."""

    def weight(x: Floats) -> Floats:
        a, b, teeth, c, d, e, g = (x[..., i] for i in range(7))
        gears = 0.7854 * a * b**2 * (3.3333 * teeth**2 + 14.9334 * teeth - 43.0934)
        shafts = -1.508 * a * (e**2 + g**2) + 7.4777 * (e**3 + g**3) + 0.7854 * (c * e**2 + d * g**2)
        return np.asarray(gears + shafts)

    def stress(x: Floats, length: int, load: float, diameter: int) -> Floats:
        moment = np.sqrt((745.0 * x[..., length] / (x[..., 1] * x[..., 2])) ** 2 + load)
        return np.asarray(moment / x[..., diameter] ** 3)

    return Function(
        "speed_reducer",
        _axes(
            (2.6, 3.6, 0.01),
            (0.7, 0.8, 0.001),
            (17.0, 28.0, 1.0),
            (7.3, 8.3, 0.01),
            (7.3, 8.3, 0.01),
            (2.9, 3.9, 0.005),
            (5.0, 5.5, 0.0025),
        ),
        weight,
        (
            Inequality(lambda x: 27.0 / (x[..., 0] * x[..., 1] ** 2 * x[..., 2]), 1.0),
            Inequality(lambda x: 397.5 / (x[..., 0] * x[..., 1] ** 2 * x[..., 2] ** 2), 1.0),
            Inequality(lambda x: 1.93 * x[..., 3] ** 3 / (x[..., 1] * x[..., 2] * x[..., 5] ** 4), 1.0),
            Inequality(lambda x: 1.93 * x[..., 4] ** 3 / (x[..., 1] * x[..., 2] * x[..., 6] ** 4), 1.0),
            Inequality(lambda x: stress(x, 3, 16.9e6, 5), 110.0),
            Inequality(lambda x: stress(x, 4, 157.5e6, 6), 85.0),
            Inequality(lambda x: x[..., 1] * x[..., 2], 40.0),
            Inequality(lambda x: 5 * x[..., 1] / x[..., 0], 1.0),
            Inequality(lambda x: x[..., 0] / (12 * x[..., 1]), 1.0),
            Inequality(lambda x: (1.5 * x[..., 5] + 1.9) / x[..., 3], 1.0),
            Inequality(lambda x: (1.1 * x[..., 6] + 1.9) / x[..., 4], 1.0),
        ),
        2994.4711,
        (3.5, 0.7, 17.0, 7.3, 7.7153199, 3.3502147, 5.2866545),
        "Golinski 1973; Cagnina et al. 2008",
    )


def functions() -> Sequence[Function]:
    """All of them, by rising number of parameters."""
    return (
        gramacy(),
        gardner1(),
        gardner2(),
        branin_disk(25.0),
        branin_disk(16.0),
        hartmann3(),
        spring(),
        pressure_vessel(),
        welded_beam(),
        speed_reducer(),
    )


__all__ = ["Function", "Inequality", "functions", "grid_best", "grid_values"]
