"""SafeOpt's rule: of all points held safe, the most uncertain among those that may be best or may widen the safe set.

Berkenkamp, Krause, Schoellig: "Bayesian optimization with safety constraints" (2016), the form without a Lipschitz
constant, with beta = 2 as in the authors' examples, on its own Gaussian process with fixed hyperparameters (a squared
exponential kernel on the unit cube, variance 2). The cost is known, so it has no interval: what may be best is whatever
is safe and cheaper than the cheapest verified point. ln(value / bound) is modelled with mean 0. The lengthscale is the
safest of 0.3, 0.5, 1 and 1.5 on seeds 0-3 of three scenarios (d = 4; the cost was alike); candidates are random within
the step limits, as in the equal track.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.optimizer.box import Notes, candidates, point_at, unit
from benchmarks.optimizer.contract import Point, Result, Task
from benchmarks.optimizer.methods.gp import FixedGP

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
BETA, LENGTHSCALE, VARIANCE, NOISE = 2.0, 0.3, 2.0, 0.05
CANDIDATES, EXPANDERS = 500, 40


class SafeOpt:
    """One Gaussian process per bound."""

    def __init__(self, task: Task, seed: int, lengthscale: float = LENGTHSCALE) -> None:
        self._task, self._lengthscale = task, lengthscale
        self._rng = np.random.default_rng([seed, 2])
        self._notes = Notes(task)

    def ask(self) -> Point | None:
        if self._notes.told < 2:
            return self._task.baseline
        rows = candidates(self._task, self._notes.verified, CANDIDATES, self._rng)
        at = unit(self._task, rows)
        models = self._models()
        predicted = [m.predict(at) for m in models]
        mean, sd = np.stack([p[0] for p in predicted]), np.stack([p[1] for p in predicted])
        safe = np.all(mean + BETA * sd <= 0.0, axis=0)
        if not safe.any():
            return self._task.baseline
        cost = np.array([self._notes.cost(row) for row in rows])
        width = np.max(sd, axis=0)
        best = safe & (cost < self._notes.best())
        chosen = int(np.argmax(np.where(best, width, -np.inf))) if best.any() else None
        wider = self._expander(models, at, mean, sd, safe, width, -np.inf if chosen is None else width[chosen])
        pick = wider if wider is not None else chosen
        return self._task.baseline if pick is None else point_at(self._task, rows[pick])

    def released(self) -> None:
        self._notes.released()

    def tell(self, point: Point, result: Result) -> None:
        self._notes.add(point, result)

    def recommend(self) -> Point | None:
        return self._notes.recommended()

    def _models(self) -> list[FixedGP]:
        notes = self._notes
        x = unit(self._task, np.array(notes.rows, dtype=np.int64))
        found = []
        for j in range(len(self._task.limits)):
            y = np.array([g[j][0] for g in notes.g])
            se = np.array([g[j][1] for g in notes.g])
            found.append(FixedGP(x, y, se**2 + NOISE**2, self._lengthscale, VARIANCE))
        return found

    def _expander(
        self,
        models: list[FixedGP],
        at: Floats,
        mean: Floats,
        sd: Floats,
        safe: NDArray[np.bool_],
        width: Floats,
        least: float,
    ) -> int | None:
        """The widest safe point above `least` whose lower limit, were it measured, would make another point safe."""
        order = [int(i) for i in np.argsort(-width) if safe[i] and width[i] > least][:EXPANDERS]
        if safe.all():
            return None
        for i in order:
            widened = np.ones(int((~safe).sum()), dtype=bool)
            for j, model in enumerate(models):
                shared = model.covariance(at[i : i + 1], at[~safe])
                variance = sd[j, i] ** 2 + NOISE**2
                lower = mean[j, ~safe] - shared / variance * BETA * sd[j, i]
                spread = np.sqrt(np.maximum(sd[j, ~safe] ** 2 - shared**2 / variance, 1e-12))
                widened &= lower + BETA * spread <= 0.0
            if widened.any():
                return i
        return None
