"""Random points: of the whole grid, with the cheapest that was seen to hold as its answer; or (`equal`) within the step
limits of what was verified, with Trimtab's recommender."""

from __future__ import annotations

import numpy as np

from benchmarks.optimizer.box import Notes, anywhere, candidates, point_at
from benchmarks.optimizer.contract import Point, Result, Task


class Random:
    """No thought for safety or cost."""

    def __init__(self, task: Task, seed: int, *, equal: bool = False) -> None:
        self._task, self._equal = task, equal
        self._rng = np.random.default_rng([seed, 1])
        self._notes = Notes(task)

    def ask(self) -> Point | None:
        if self._equal and not self._notes.history:
            return self._task.baseline
        rows = (
            candidates(self._task, self._notes.verified, 1, self._rng)
            if self._equal
            else anywhere(self._task, 1, self._rng)
        )
        return point_at(self._task, rows[0])

    def tell(self, point: Point, result: Result) -> None:
        self._notes.add(point, result)

    def recommend(self) -> Point | None:
        return self._notes.recommended() if self._equal else self._notes.cheapest()
