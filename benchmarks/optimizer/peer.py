"""What adapters of peers share: the unit cube of a task, the history as arrays, and the two tracks.

Notation: d parameters, n trials told, m limits, u [0, 1]^d (log scale where the axis says so), c = log(value / bound),
so c <= 0 is feasible. A value's standard error becomes one of c by the delta method.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.optimizer.contract import Entry, Limit, Method, Point, Result, Task
from benchmarks.optimizer.cube import Space
from benchmarks.optimizer.recommender import optimizer_for, tell

Floats = NDArray[np.float64]
FAILED = math.log(3.0)  # c of every limit where a point could not run at all: what Trimtab assumes too
LEAST_VALUE = 1e-12  # of the bound


@dataclass(frozen=True)
class Box:
    """Where the next point may lie, in units of the parameters. Shapes: (d,), (d,)."""

    low: Floats
    high: Floats

    def clip(self, space: Space, point: Point) -> dict[str, float]:
        """The nearest grid point in the box."""
        clipped = {}
        for axis, low, high in zip(space.axes, self.low, self.high, strict=True):
            first = math.ceil((low - axis.low) / axis.step - 1e-9)
            last = math.floor((high - axis.low) / axis.step + 1e-9)
            at = round((point[axis.name] - axis.low) / axis.step)
            clipped[axis.name] = round(axis.low + axis.step * min(max(at, first), last), 12)
        return clipped

    def unit(self, space: Space) -> tuple[Floats, Floats]:
        """Both corners in the unit cube."""
        names = [axis.name for axis in space.axes]
        return tuple(  # type: ignore[return-value]
            np.clip(space.unit(dict(zip(names, corner, strict=True))), 0.0, 1.0) for corner in (self.low, self.high)
        )


def step_box(space: Space, start: Point) -> Box:
    """What the step limits of the axes allow from `start`: at least one grid step each way; all where there is none."""
    low, high = [], []
    for axis in space.axes:
        value = start[axis.name]
        down = axis.low if axis.decrease is None else min(value * (1 - axis.decrease), value - axis.step)
        up = axis.high if axis.increase is None else max(value * (1 + axis.increase), value + axis.step)
        low.append(max(axis.low, down))
        high.append(min(axis.high, up))
    return Box(np.asarray(low), np.asarray(high))


@dataclass
class History:
    """What was told, as a peer's model wants it."""

    space: Space
    limits: tuple[Limit, ...]
    cost: Callable[[Point], float]
    points: list[dict[str, float]] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    _c: list[Floats] = field(default_factory=list)
    _se: list[Floats] = field(default_factory=list)

    def add(self, point: Point, result: Result) -> bool:
        """Take in a trial; False, and nothing is learned, when a limit was not measured in a point that ran."""
        if result.failed:
            c, se = np.full(len(self.limits), FAILED), np.full(len(self.limits), 0.5)
        elif any(limit.name not in result.measured for limit in self.limits):
            return False
        else:
            pairs = [_log_ratio(result.measured[limit.name], limit.bound) for limit in self.limits]
            c, se = np.asarray([p[0] for p in pairs]), np.asarray([p[1] for p in pairs])
        self.points.append(dict(point))
        self.costs.append(float(self.cost(point)))
        self._c.append(c)
        self._se.append(se)
        return True

    def __len__(self) -> int:
        return len(self.points)

    @property
    def u(self) -> Floats:
        """Shape: (n, d)."""
        return np.asarray([self.space.unit(p) for p in self.points]).reshape(len(self), self.space.d)

    @property
    def c(self) -> Floats:
        """Shape: (n, m)."""
        return np.asarray(self._c).reshape(len(self), len(self.limits))

    @property
    def se(self) -> Floats:
        """Shape: (n, m)."""
        return np.asarray(self._se).reshape(len(self), len(self.limits))

    def best(self) -> int | None:
        """Index of the cheapest point that measured within every limit."""
        good = np.flatnonzero(np.all(self.c <= 0, axis=1)) if len(self) else np.zeros(0, dtype=int)
        return int(good[np.argmin(np.asarray(self.costs)[good])]) if len(good) else None


class Peer(Protocol):
    """A peer's search. `history` is what it was told; `tell` adds to it."""

    history: History

    def ask(self, box: Box | None) -> dict[str, float]:
        """The next grid point; in the box when there is one (whoever cannot search in one is clipped to it)."""

    def tell(self, point: Point, result: Result) -> None:
        """What was measured at a point, asked or not."""


class Native:
    """A peer as its documentation would have it used: the whole box, its own start, the best measured as the answer."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def ask(self) -> Point | None:
        return self._peer.ask(None)

    def tell(self, point: Point, result: Result) -> None:
        self._peer.tell(point, result)

    def recommend(self) -> Point | None:
        history = self._peer.history
        best = history.best()
        return None if best is None else history.points[best]


class Equal:
    """A peer under Trimtab's conditions: it starts at the baseline (the middle of the box without one), moves within
    the step limits of the cheapest assignment that measured within every limit, and Trimtab recommends. After a release
    of the service it begins anew."""

    def __init__(self, make: Callable[[Task, int], Peer], task: Task, seed: int) -> None:
        self._make, self._task, self._seed = make, task, seed
        self._peer = make(task, seed)
        self._space = self._peer.history.space
        self._start = dict(task.baseline) if task.baseline is not None else self._space.centre()
        self._recommender = optimizer_for(task, seed, safe=task.baseline is not None)
        self._limited = any(axis.decrease is not None or axis.increase is not None for axis in task.axes)

    def ask(self) -> Point | None:
        history = self._peer.history
        if not len(history):
            return self._start
        best = history.best()
        if not self._limited:
            return self._peer.ask(None)
        box = step_box(self._space, self._start if best is None else history.points[best])
        return box.clip(self._space, self._peer.ask(box))

    def released(self) -> None:
        self._peer = self._make(self._task, self._seed)
        self._recommender.released()

    def tell(self, point: Point, result: Result) -> None:
        self._peer.tell(point, result)
        tell(self._recommender, point, result)

    def recommend(self) -> Point | None:
        found = self._recommender.recommend()
        if found is not None:
            return {name: float(value) for name, value in found.assignment.items()}
        return None


class Random:
    """Uniformly random grid points (in the unit cube, so by ratio where the axis is logarithmic)."""

    def __init__(self, task: Task, seed: int) -> None:
        self.history = History(Space(task.axes), task.limits, task.cost)
        self._rng = np.random.default_rng(seed)

    def ask(self, box: Box | None) -> dict[str, float]:
        space = self.history.space
        low, high = box.unit(space) if box else (np.zeros(space.d), np.ones(space.d))
        return space.point(low + (high - low) * self._rng.random(space.d))

    def tell(self, point: Point, result: Result) -> None:
        self.history.add(point, result)


def entries(name: str, native: Callable[[Task, int], Peer], equal: Callable[[Task, int], Peer]) -> tuple[Entry, Entry]:
    """One peer in both tracks. `equal` makes the one that uses the known cost, if the peer can."""

    def in_native(task: Task, seed: int) -> Method:
        return Native(native(task, seed))

    def in_equal(task: Task, seed: int) -> Method:
        return Equal(equal, task, seed)

    return Entry(name, "native", in_native), Entry(name, "equal", in_equal)


RANDOM = entries("random", Random, Random)


def keyed(found: Iterable[Entry]) -> dict[str, Entry]:
    """By name and track, and named so: a library is one method in each track."""
    named = (replace(entry, name=f"{entry.name}/{entry.track}") for entry in found)
    return {entry.name: entry for entry in named}


def _log_ratio(measured: tuple[float, float], bound: float) -> tuple[float, float]:
    value, error = measured
    value = max(value, error, LEAST_VALUE * bound)
    return math.log(value / bound), error / value
