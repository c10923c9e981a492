"""scikit-optimize's ask and tell with its defaults (GP, gp_hedge, ten random points first).

It knows no constraints, so it minimizes cost + spread x sum_j max(c_j, 0): an exterior penalty in the unit of the cost.
`spread` is the range of the cost over 256 points of a Sobol sequence.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.stats import qmc
from skopt import Optimizer
from skopt.space import Real

from benchmarks.optimizer.contract import Point, Result, Task
from benchmarks.optimizer.cube import Space
from benchmarks.optimizer.peer import Box, History


class GpMinimize:
    """`skopt.Optimizer` in the unit cube."""

    def __init__(self, task: Task, seed: int) -> None:
        self.history = History(Space(task.axes), task.limits, task.cost)
        space = self.history.space
        self._optimizer = Optimizer([Real(0.0, 1.0)] * space.d, random_state=seed)
        sample = qmc.Sobol(space.d, seed=0).random(256)
        costs = [task.cost(space.point(u)) for u in sample]
        self._spread = float(max(costs) - min(costs)) or 1.0

    def ask(self, box: Box | None) -> dict[str, float]:
        space = self.history.space
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns when it would ask for the same point again
            point = space.point(self._optimizer.ask())
        return point if box is None else box.clip(space, point)

    def tell(self, point: Point, result: Result) -> None:
        if not self.history.add(point, result):
            return
        penalty = self._spread * float(np.sum(np.maximum(self.history.c[-1], 0.0)))
        u = np.clip(self.history.space.unit(point), 0.0, 1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._optimizer.tell([float(v) for v in u], self.history.costs[-1] + penalty)


__all__ = ["GpMinimize"]
