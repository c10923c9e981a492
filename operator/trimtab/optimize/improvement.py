"""How much better a point would be than what is known by now: exact for a known cost, over joint draws otherwise.

Notation: E the places that may be recommended now and the baseline, o(x) the objectives as fractions of the baseline's
amount, less is better; mean over S joint draws of E and x (aims.py).
  known cost      s(x) = cost(answer) - cost(x), exact; its log is the log of the improvement
  one objective   log mean softplus(min_E o - o(x)): noisy expected improvement. The best of E is not observed, it is
                  drawn, so noise does not pass for progress (Letham et al. 2019); smoothed, its log stays finite where
                  no draw improves (Ament et al. 2023)
  two objectives  log mean of the smoothed hypervolume that o(x) adds to o(E) (noisy: Daulton et al. 2021),
                  up to a reference point: the worst of E in each, and the baseline's whole amount beyond
The optimistic improvement is the 95 % quantile over the draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from trimtab.domain.space import Assignment
from trimtab.optimize.aims import DRAWS, Aims, Draws
from trimtab.optimize.pareto import hypervolume_gain, log_hypervolume_gain, log_positive
from trimtab.optimize.recommend import holding
from trimtab.optimize.safe import Belief

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_PLACES = 64
OPTIMISTIC = 0.95


@dataclass(frozen=True)
class Improvement:
    """Of N points, as fractions of the baseline's amount. Shapes (N,): what is expected, the log of it (None: it is
    exact, and may be negative), and what is at most to be hoped for."""

    expected: Floats
    log_expected: Floats | None
    optimistic: Floats


Improving = Callable[[Ints], Improvement]
"""Grid points, (N, d), to their improvement."""


def improving(belief: Belief, answer: Assignment, seed: int) -> Improving:
    """What grid points would improve on `answer`, what would be recommended now, and on all else that could be."""
    if belief.aims.known:
        return lambda points: _exact(belief, answer, points)
    aims = belief.aims.expecting()
    draws = Draws(aims, _places(belief, aims), seed)
    if len(belief.study.objectives) == 1:
        return lambda points: _noisy(belief, draws, points)
    return lambda points: _area(belief, draws, points)


def _exact(belief: Belief, answer: Assignment, points: Ints) -> Improvement:
    saving = (belief.study.cost.hourly(answer) - belief.grid.hourly(points)) / belief.aims.scale
    return Improvement(saving, None, saving)


def _places(belief: Belief, aims: Aims) -> list[Assignment]:
    """E: what nothing speaks against, the baseline first; of very many the best by either objective. What is pending
    counts as found."""
    study = belief.study
    tried = [x for x, own in belief.evidence.items() if x != study.baseline and own.clean > 0]
    found = list(dict.fromkeys([*holding(belief, tried), *(x for x in study.pending if x != study.baseline)]))
    if len(found) > MOST_PLACES:
        means, share = aims.means(found), MOST_PLACES // len(study.objectives)
        best = {int(i) for row in means for i in np.argsort(row, kind="stable")[:share]}
        found = [found[i] for i in sorted(best)]
    return [study.baseline, *found]


def _fractions(belief: Belief, draws: Draws, points: Ints) -> tuple[Floats, Floats]:
    """Draws at the points and at the places, as fractions. Shapes: (K, S, N), (K, S, n)."""
    scales = belief.aims.scales[:, None, None]
    at = draws.at(belief.grid.encode(points), belief.grid.hourly(points))
    return at / scales, draws.at_places / scales


def _noisy(belief: Belief, draws: Draws, points: Ints) -> Improvement:
    at, found = _fractions(belief, draws, points)
    gain = found[0].min(axis=1)[:, None] - at[0]
    return _summed(log_positive(gain), gain)


def _area(belief: Belief, draws: Draws, points: Ints) -> Improvement:
    at, found = _fractions(belief, draws, points)
    corner = found.mean(axis=1).max(axis=1) + 1.0
    logs, gains = np.empty((DRAWS, len(points))), np.empty((DRAWS, len(points)))
    for s in range(DRAWS):
        here, there = np.ascontiguousarray(at[:, s].T), found[:, s].T
        logs[s] = log_hypervolume_gain(here, there, corner)
        gains[s] = hypervolume_gain(here, there, corner)
    return _summed(logs, gains)


def _summed(logs: Floats, gains: Floats) -> Improvement:
    if not gains.shape[1]:
        return Improvement(np.zeros(0), np.zeros(0), np.zeros(0))
    hoped = np.maximum(np.quantile(gains, OPTIMISTIC, axis=0), 0.0)
    log_mean = logsumexp(logs, axis=0) - np.log(len(logs))
    return Improvement(np.maximum(gains, 0.0).mean(axis=0), log_mean, np.asarray(hoped))


__all__ = ["Improvement", "Improving", "improving"]
