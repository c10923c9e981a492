"""Optuna's GPSampler (constrained log expected improvement) and TPESampler (constrained) with their defaults.

Both take the constraints by `Trial.set_constraint`. An axis is a float with the task's step; one that is logarithmic or
has 100 steps or more is continuous (its documentation's case, and searched by gradients) and rounded to the grid.
"""

from __future__ import annotations

import warnings

import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.trial import Trial

from benchmarks.optimizer.contract import Axis, Point, Result, Task
from benchmarks.optimizer.cube import Space
from benchmarks.optimizer.peer import Box, History

FINE = 100  # steps
optuna.logging.set_verbosity(optuna.logging.ERROR)


class OptunaPeer:
    """One study in memory."""

    def __init__(self, task: Task, sampler: BaseSampler) -> None:
        self.history = History(Space(task.axes), task.limits, task.cost)
        self._study = optuna.create_study(direction="minimize", sampler=sampler)
        self._distributions = {axis.name: _distribution(axis) for axis in task.axes}
        self._asked: tuple[Trial, dict[str, float]] | None = None

    def ask(self, box: Box | None) -> dict[str, float]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a step that does not divide the range is what the grid is
            trial = self._study.ask(self._distributions)
        space = self.history.space
        point = {name: float(value) for name, value in trial.params.items()}
        point = space.point(space.unit(point))
        if box is not None:
            point = box.clip(space, point)
        self._asked = trial, point
        return point

    def tell(self, point: Point, result: Result) -> None:
        if not self.history.add(point, result):
            return
        c = [float(v) for v in self.history.c[-1]]
        asked, self._asked = self._asked, None
        if asked is not None and asked[1] == dict(point) and self._matches(asked[0], point):
            trial = asked[0]
        else:
            self._study.enqueue_trial(dict(point))
            trial = self._study.ask(self._distributions)
        for j, value in enumerate(c):
            trial.set_constraint(f"c{j}", value)
        self._study.tell(trial, self.history.costs[-1])

    def _matches(self, trial: Trial, point: Point) -> bool:
        """Whether what was tried is what the sampler asked for, up to the grid."""
        space = self.history.space
        return space.point(space.unit(trial.params)) == dict(point)


def _distribution(axis: Axis) -> FloatDistribution:
    if axis.log or axis.high - axis.low >= FINE * axis.step:
        return FloatDistribution(axis.low, axis.high, log=axis.log)
    return FloatDistribution(axis.low, axis.high, step=axis.step)


def gp(task: Task, seed: int) -> OptunaPeer:
    """GPSampler."""
    return OptunaPeer(task, GPSampler(seed=seed))


def tpe(task: Task, seed: int) -> OptunaPeer:
    """TPESampler."""
    return OptunaPeer(task, TPESampler(seed=seed))


__all__ = ["OptunaPeer", "gp", "tpe"]
