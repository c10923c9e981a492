"""Greedy step-down, the honest simple rival: one parameter at a time, as far as one trial may, while nothing breaks.

It measures the baseline first and stops when that is not inside every bound. Then parameters take turns, the one whose
step saves most first. A step counts when every bound is kept with the upper limit of a 95 % interval, with room for the
load that was not seen; else it goes back, and the next step of that parameter is half as long. A parameter whose step
would be less than one of its grid is frozen. Steps down that cost more are not made. When all are frozen it measures
what it has reached again, and stops. A point that breaks a bound when measured again is given up for the last one.
"""

from __future__ import annotations

from benchmarks.optimizer.box import Notes, kept, point_at, reach
from benchmarks.optimizer.contract import Point, Result, Task

CONFIRMATIONS = 2


class Greedy:
    """Coordinate descent within Trimtab's step limits."""

    def __init__(self, task: Task, _seed: int) -> None:
        self._task = task
        self._notes = Notes(task)
        self._begin()

    def released(self) -> None:
        self._notes.released()
        self._begin()

    def _begin(self) -> None:
        task = self._task
        self._path = [self._notes.start]
        self._share = [1.0] * len(task.axes)
        self._frozen = [False] * len(task.axes)
        self._turn: list[int] = []
        self._moved: int | None = None
        self._confirmed = 0
        self._refused = False

    def ask(self) -> Point | None:
        if self._refused:
            return None
        if not self._notes.told:
            return self._task.baseline
        self._moved = self._next()
        if self._moved is not None:
            return point_at(self._task, self._step(self._moved))
        if self._confirmed >= CONFIRMATIONS:
            return None
        return point_at(self._task, self._path[-1])

    def tell(self, point: Point, result: Result) -> None:
        first = not self._notes.told
        self._notes.add(point, result)
        good = kept(self._task, result.measured, None if first else result.load, result.failed)
        if first:
            self._refused = not good
        elif self._moved is not None:
            if good:
                self._path.append(self._step(self._moved))
            else:
                self._share[self._moved] /= 2
        elif good:
            self._confirmed += 1
        elif len(self._path) > 1:
            self._path.pop()
            self._confirmed = 0

    def recommend(self) -> Point | None:
        return self._notes.recommended()

    def _next(self) -> int | None:
        """Whose turn it is; a round begins with the parameter whose step saves most."""
        for _ in range(2):
            while self._turn:
                axis = self._turn.pop(0)
                if self._saves(axis) > 0:
                    return axis
                self._frozen[axis] = True
            open_ = [i for i, frozen in enumerate(self._frozen) if not frozen]
            self._turn = sorted(open_, key=self._saves, reverse=True)
        return None

    def _saves(self, axis: int) -> float:
        here = self._path[-1]
        step = self._step(axis)
        return self._notes.cost(here) - self._notes.cost(step) if step != here else 0.0

    def _step(self, axis: int) -> tuple[int, ...]:
        """Where a step of this parameter leads: towards what is less safe, by its share of the longest step."""
        here, a = self._path[-1], self._task.axes[axis]
        low, high = reach(a, here[axis])
        farthest = low if a.safer >= 0 else high
        change = int((farthest - here[axis]) * self._share[axis])
        return tuple(v + change if i == axis else v for i, v in enumerate(here))
