"""scikit-learn's Gaussian process with constrained expected improvement (Gardner et al. 2014): what a careful person
builds in an afternoon. The cost is known, so improvement is exact and weighted with the probability of feasibility.

Native: the whole grid, the baseline and 2 d random points first, the cheapest point seen to hold as its answer. Equal:
within the step limits of what was verified, the baseline first, Trimtab's recommender.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from benchmarks.optimizer.box import Notes, anywhere, candidates, point_at, unit
from benchmarks.optimizer.contract import Point, Result, Task

Ints = NDArray[np.int64]
CANDIDATES = 1000


class SklearnEI:
    """One regressor per bound, refitted at each trial."""

    def __init__(self, task: Task, seed: int, *, equal: bool = False) -> None:
        self._task, self._equal = task, equal
        self._rng = np.random.default_rng([seed, 3])
        self._notes = Notes(task)

    def ask(self) -> Point | None:
        notes, d = self._notes, len(self._task.axes)
        if not notes.history:
            return self._task.baseline
        if len(notes.history) <= (2 if self._equal else 2 * d):
            return point_at(self._task, self._places(1)[0])
        rows = self._places(CANDIDATES)
        return point_at(self._task, rows[int(np.argmax(self._scores(rows)))])

    def tell(self, point: Point, result: Result) -> None:
        self._notes.add(point, result)

    def recommend(self) -> Point | None:
        return self._notes.recommended() if self._equal else self._notes.cheapest()

    def _places(self, count: int) -> Ints:
        if self._equal:
            return candidates(self._task, self._notes.verified, count, self._rng)
        return anywhere(self._task, count, self._rng)

    def _scores(self, rows: Ints) -> NDArray[np.float64]:
        notes = self._notes
        x, at = unit(self._task, np.array(notes.rows, dtype=np.int64)), unit(self._task, rows)
        cost = np.array([notes.cost(row) for row in rows])
        better = notes.best() - cost
        score = np.log(np.maximum(better, 1e-12 * notes.best()))
        for j in range(len(self._task.limits)):
            y = np.array([g[j][0] for g in notes.g])
            kernel = ConstantKernel(1.0) * Matern(np.ones(x.shape[1]), (0.05, 10.0), nu=2.5) + WhiteKernel(0.01)
            model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(x, y)
            mean, sd = model.predict(at, return_std=True)
            score = score + log_ndtr(-mean / np.maximum(sd, 1e-9))
        return np.asarray(score)
