"""What to try next where nothing has to be safe and every trial repeats itself: models of a service, known functions.

Notation as in `acquisition.py`. Every grid point may be tried, and what a trial says holds for it by itself, so
  best   the cheapest evaluated assignment whose own trials measured within every bound
  s      saving against `best`; while there is none, 1 everywhere: then feasibility alone counts
  x      the grid point that was not tried yet of the highest acquisition (`scores.py`)
It is sought among uniform samples of the grid, half of them around the best tried, and then by steps of all parameters
at once about the highest, which become smaller round by round: bounds that meet in a corner leave no room for steps
along one axis.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from trimtab.domain.space import Assignment
from trimtab.optimize.acquisition import Choice
from trimtab.optimize.encoding import Grid
from trimtab.optimize.safe import Belief
from trimtab.optimize.scores import JOINT, SCORES, Odds, expecting

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SAMPLES = 1200  # each: anywhere, and about the best tried
KEPT, MOVES, ROUNDS = 8, 40, 8
WIDEST, NARROWER = 0.15, 0.5  # of an axis in the first round; by round


def cheapest_within(belief: Belief) -> Assignment | None:
    """`best`: the point estimates of its own trials keep every bound of the safe set, and no trial of it failed."""
    study = belief.study
    found = [
        x
        for x, own in belief.evidence.items()
        if own.clean > 0 and x not in study.excluded and not own.contradicts(study.constraints)
    ]
    return min(found, key=lambda x: (study.cost.hourly(x), x.items_), default=None)


def choose(belief: Belief, banned: Collection[Assignment], seed: int) -> Choice:
    """The untried point of the highest acquisition; rule "" when none is cheaper than `best`. That the model
    holds all that is cheaper infeasible is no reason to stop: without a safe set it may be wrong at no risk."""
    study, grid = belief.study, belief.grid
    best, rng = cheapest_within(belief), np.random.default_rng(seed)
    tried = {at for x in (*belief.evidence, *banned) if (at := grid.locate(x)) is not None}
    search = _Search(belief, best, tried, seed)
    search.look(rng.integers(0, grid.shape, size=(SAMPLES, len(grid.shape))))
    start = None if best is None else grid.locate(best)
    if start is not None:
        widths = WIDEST * rng.random((SAMPLES, 1))
        search.look(_about(grid, np.repeat(np.asarray([start]), SAMPLES, axis=0), widths, rng))
    for number in range(0 if study.search.acquisition in JOINT else ROUNDS):
        top = search.top()
        if not len(top):
            break
        search.look(_about(grid, np.repeat(top, MOVES, axis=0), WIDEST * NARROWER**number, rng))
    return search.choice()


def _about(grid: Grid, points: Ints, width: float | Floats, rng: np.random.Generator) -> Ints:
    """Each point moved by normal steps of `width` of each axis, in about half of the axes (in one at least)."""
    sizes = np.asarray(grid.shape)
    steps = np.maximum(np.abs(rng.standard_normal(points.shape)) * width * sizes, 1.0).round().astype(np.int64)
    moved = rng.random(points.shape) < 0.5
    moved[np.arange(len(points)), rng.integers(0, points.shape[1], len(points))] = True
    signs = np.where(rng.random(points.shape) < 0.5, -1, 1)
    return np.asarray(np.clip(points + np.where(moved, signs * steps, 0), 0, sizes - 1))


class _Search:
    """The points that were looked at, and what they are worth."""

    def __init__(self, belief: Belief, best: Assignment | None, tried: set[tuple[int, ...]], seed: int) -> None:
        self._belief, self._seed, self._tried = belief, seed, tried
        study = belief.study
        self._scale = study.cost.hourly(study.baseline)
        self._cost = None if best is None else study.cost.hourly(best)
        self._expected = expecting(belief)
        self._points: Ints = np.zeros((0, len(belief.grid.shape)), dtype=np.int64)
        self._values: Floats = np.zeros(0)
        self._seen = 0
        self._optimistic = 0.0

    def look(self, points: Ints) -> None:
        """Value points that are new, admissible and cheaper."""
        belief, grid = self._belief, self._belief.grid
        points = np.unique(grid.canonical(points), axis=0)
        points = points[grid.admissible(points)]
        points = points[[tuple(int(i) for i in row) not in self._tried for row in points]]
        if not len(points):
            return
        saving = np.ones(len(points))
        if self._cost is not None:
            saving = (self._cost - grid.hourly(points)) / self._scale
            more = saving >= belief.study.min_improvement
            points, saving = points[more], saving[more]
        if not len(points):
            return
        u = grid.encode(points)
        mean, sd = self._expected.predict(u)
        hopeful = np.all(mean - belief.beta * sd <= 0, axis=0)
        self._optimistic = max(self._optimistic, float(np.max(saving[hopeful], initial=0.0)))
        values = SCORES[belief.study.search.acquisition](Odds(self._expected, u, saving, mean, sd, self._seed))
        self._points = np.concatenate([self._points, points])
        self._values = np.concatenate([self._values, values])
        self._seen += len(points)

    def top(self) -> Ints:
        """The highest few. Shape: (<= KEPT, d)."""
        return self._points[np.argsort(-self._values, kind="stable")[:KEPT]]

    def choice(self) -> Choice:
        """The highest of all."""
        if not len(self._points):
            why = "of the grid points that were looked at, none that was not tried saves anything"
            return Choice(None, "", None, self._seen, self._optimistic, why)
        at = int(np.argmax(self._values))
        found = self._belief.grid.assignment(self._points[at])
        return Choice(found, "Improve", float(self._values[at]), self._seen, self._optimistic)


__all__ = ["cheapest_within", "choose"]
