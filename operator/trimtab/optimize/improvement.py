"""How much better a point would be than what is known by now: exact for a known cost, over joint draws otherwise.

Notation: E the places that may be recommended now and the baseline, o(x) the objectives as fractions of the baseline's
amount, less is better; mean over S joint draws of E and x (aims.py).
  known cost      s(x) = cost(answer) - cost(x), exact; its log is the log of the improvement
  one objective   log mean (min_E o - o(x))+: noisy expected improvement. The best of E is not observed, it is
                  drawn, so noise does not pass for progress (Letham et al. 2019)
  two objectives  log mean of the hypervolume that o(x) adds to o(E) (noisy: Daulton et al. 2021), up to a reference
                  point: the worst of E in each, and the baseline's whole amount beyond
Where next to nothing is expected, a softplus takes the place of ( )+, so that the log stays finite and ranks points of
which no draw improves (Ament et al. 2023).
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
from trimtab.optimize.pareto import SMOOTH, hypervolume_gain, log_hypervolume_gain, log_positive
from trimtab.optimize.recommend import holding
from trimtab.optimize.safe import Belief

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MOST_PLACES = 64
OPTIMISTIC = 0.95
TAIL_STRIDE = 8


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
    gains = found[0].min(axis=1)[:, None] - at[0]
    return _summed(np.maximum(gains, 0.0), lambda rare: log_positive(gains[:, rare]))


def _area(belief: Belief, draws: Draws, points: Ints) -> Improvement:
    at, found = _fractions(belief, draws, points)
    corner = found.mean(axis=1).max(axis=1) + 1.0
    gains = np.stack([hypervolume_gain(at[:, s].T, found[:, s].T, corner) for s in range(DRAWS)])

    def tails(rare: Bools) -> Floats:
        some = range(0, DRAWS, TAIL_STRIDE)  # a tail is for ranking alone
        return np.stack([log_hypervolume_gain(at[:, s, rare].T, found[:, s].T, corner) for s in some])

    return _summed(gains, tails)


def _summed(gains: Floats, tails: Callable[[Bools], Floats]) -> Improvement:
    """Of draws of the improvement (S, N) >= 0, and the smoothed logs (S', n) of those points that hardly have any."""
    if not gains.shape[1]:
        return Improvement(np.zeros(0), np.zeros(0), np.zeros(0))
    expected = gains.mean(axis=0)
    rare = expected < SMOOTH
    logs = np.log(np.where(rare, 1.0, expected))
    if rare.any():
        smooth = tails(rare)
        logs[rare] = logsumexp(smooth, axis=0) - np.log(len(smooth))
    return Improvement(expected, logs, np.asarray(np.quantile(gains, OPTIMISTIC, axis=0)))


__all__ = ["Improvement", "Improving", "improving"]
