"""The box that one trial may choose from, and what a measurement shows, for methods that are no part of Trimtab.

Points are rows of grid indices. A point is verified when its last measurement, or the control's, kept every bound with
the upper limit of its one-sided 95 % interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.optimizer.contract import Axis, Measured, Point, Result, Task
from benchmarks.optimizer.recommender import recommended

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Z95 = 1.645
FAILED = math.log(3.0)
STEEPEST = 2.0  # of ln(value / bound) per octave of load, as Trimtab's recommender assumes


def size(axis: Axis) -> int:
    """Number of grid values."""
    return int((axis.high - axis.low) / axis.step + 1e-6) + 1


def point_at(task: Task, index: Sequence[int] | Ints) -> dict[str, float]:
    """Values of a row of grid indices."""
    return {a.name: round(a.low + a.step * int(i), 9) for a, i in zip(task.axes, index, strict=True)}


def index_of(task: Task, point: Point) -> tuple[int, ...]:
    """Nearest grid indices of a point."""
    return tuple(
        min(max(round((point[a.name] - a.low) / a.step), 0), size(a) - 1) for a in task.axes
    )  # fmt: skip


def reach(axis: Axis, index: int) -> tuple[int, int]:
    """First and last index that one trial may choose, from a verified one: at least one step each way, none below the
    floor."""
    value, top = axis.low + axis.step * index, size(axis) - 1
    least = 0 if axis.floor is None else min(max(math.ceil((axis.floor - axis.low) / axis.step - 1e-6), 0), index)
    if axis.decrease is None or axis.increase is None:
        return least, top
    low = math.ceil((value * (1 - axis.decrease) - axis.low) / axis.step - 1e-6)
    high = math.floor((value * (1 + axis.increase) - axis.low) / axis.step + 1e-6)
    return max(min(low, index - 1), least), min(max(high, index + 1), top)


def unit(task: Task, rows: Ints) -> Floats:
    """Rows of indices in the unit cube, by ratio where an axis acts so. Shape: (n, d)."""
    columns = []
    for i, axis in enumerate(task.axes):
        value = axis.low + axis.step * rows[:, i]
        if axis.log:
            columns.append(np.log(value / axis.low) / math.log(axis.high / axis.low))
        else:
            columns.append((value - axis.low) / (axis.high - axis.low))
    return np.stack(columns, axis=1)


def logs(task: Task, measured: Mapping[str, Measured], failed: str = "") -> list[tuple[float, float]]:
    """(ln(value / bound), its standard error) by bound; a failure is three times each bound."""
    if failed or any(limit.name not in measured for limit in task.limits):
        return [(FAILED, 0.5)] * len(task.limits)
    found = []
    for limit in task.limits:
        value, error = measured[limit.name]
        value = max(value, error, 1e-9 * limit.bound)
        found.append((math.log(value / limit.bound), max(error / value, 0.01)))
    return found


def room_for_load(task: Task, load: float | None) -> float:
    """How far below its bound a value must stay for the load that was not seen."""
    if load is None or task.peak_load is None:
        return 0.0
    return STEEPEST * max(math.log2(task.peak_load / load), 0.0)


def kept(task: Task, measured: Mapping[str, Measured], load: float | None, failed: str = "") -> bool:
    """Whether every bound is kept beyond doubt (95 %), at the peak too."""
    room = room_for_load(task, load)
    return not failed and all(g + Z95 * se + room <= 0.0 for g, se in logs(task, measured, failed))


def candidates(task: Task, verified: Sequence[tuple[int, ...]], count: int, rng: np.random.Generator) -> Ints:
    """`count` random rows of grid indices, each within the step limits of one verified row. Shape: (n, d)."""
    boxes = [[reach(a, i) for a, i in zip(task.axes, row, strict=True)] for row in verified]
    chosen = rng.integers(0, len(boxes), count)
    rows = [[rng.integers(low, high + 1) for low, high in boxes[k]] for k in chosen]
    return np.unique(np.array(rows, dtype=np.int64), axis=0)


def anywhere(task: Task, count: int, rng: np.random.Generator) -> Ints:
    """`count` random rows of the whole grid. Shape: (n, d)."""
    rows = np.stack([rng.integers(0, size(a), count) for a in task.axes], axis=1)
    return np.unique(rows.astype(np.int64), axis=0)


class Notes:
    """What a method was told: history, and of the present version of the service rows of indices and which of them are
    verified (the baseline always is). `before` trials of the history are of earlier versions."""

    def __init__(self, task: Task) -> None:
        assert task.baseline is not None
        self.task = task
        self.history: list[tuple[Point, Result]] = []
        self.before = 0
        self.rows: list[tuple[int, ...]] = []
        self.g: list[list[tuple[float, float]]] = []
        self.start = index_of(task, task.baseline)
        self.verified: list[tuple[int, ...]] = [self.start]

    @property
    def told(self) -> int:
        """Trials of the present version."""
        return len(self.history) - self.before

    def released(self) -> None:
        """The service is another one from now on."""
        self.before, self.rows, self.g, self.verified = len(self.history), [], [], [self.start]

    def recommended(self) -> Point | None:
        """What Trimtab would recommend had it seen the same."""
        return recommended(self.task, self.history, self.before)

    def add(self, point: Point, result: Result) -> None:
        """One trial: its canary and, as a row of its own, the baseline beside it."""
        row = index_of(self.task, point)
        self.history.append((point, result))
        self._learn(row, logs(self.task, result.measured, result.failed))
        if result.control:
            self._learn(self.start, logs(self.task, result.control))
        good = kept(self.task, result.measured, result.load, result.failed)
        if good and row not in self.verified:
            self.verified.append(row)
        if not good and row in self.verified and row != self.start:
            self.verified.remove(row)

    def _learn(self, row: tuple[int, ...], g: list[tuple[float, float]]) -> None:
        self.rows.append(row)
        self.g.append(g)

    def cost(self, row: Sequence[int] | Ints) -> float:
        return self.task.cost(point_at(self.task, row))

    def best(self) -> float:
        """Cost of the cheapest verified row."""
        return min(self.cost(row) for row in self.verified)

    def cheapest(self) -> Point | None:
        """The cheapest verified point; None for the baseline."""
        row = min(self.verified, key=self.cost)
        return None if row == self.start else point_at(self.task, row)
