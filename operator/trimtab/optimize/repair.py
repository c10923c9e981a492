"""The baseline breaks a bound: which assignment with more resources to try, while nothing can be recommended.

Notation: b baseline, R = {b} and every completely measured x that was never withdrawn and is at least as safe as b in
each parameter (more resource; where nobody knows what is safer, equal).
  C+ = grid points at least as safe as b in each parameter, within the increase limit of ONE r in R, and not with as
       little of everything as a point that its own trials showed infeasible
  p(x) = prod_j P(g_j <= 0) P(reading_j <= 0), readings raised by the room that a recommendation needs (`scores.py`)
As far as more resource is never worse, no point of C+ is less safe than what runs today, so S is not asked for. Chosen
is the cheapest point with p >= 0.97; without one the point of the largest p, and of those about as likely the cheapest.
Once something can be recommended the search goes on from there as ever, towards what is cheaper.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from trimtab.domain.space import Assignment
from trimtab.optimize.acquisition import Choice
from trimtab.optimize.safe import Belief, boxes, is_safe, reachable
from trimtab.optimize.scores import log_feasibility, log_room
from trimtab.optimize.steps import more_is_better, nearest, no_more

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LIKELY = float(np.log(0.97))
ALIKE = 0.02  # of log p: so much likelier is not worth any money
ENOUGH = 3  # trials after which a point that cannot be recommended is given up


def increase(belief: Belief, banned: Collection[Assignment], seed: int) -> Choice:
    """The next assignment of C+, or why there is none.

    Args:
        banned: assignments not to be proposed now (pending, twice in a row already, withdrawn).
    """
    study, grid = belief.study, belief.grid
    points = reachable(grid, _limits(belief), seed)
    points = points[~_hopeless(belief, points)]
    tired = {x for x, own in belief.evidence.items() if own.clean >= ENOUGH}
    known = [at for at in map(grid.locate, sorted({study.baseline, *tired, *banned}, key=repr)) if at is not None]
    out = np.asarray(known, dtype=np.int64).reshape(-1, points.shape[1])
    points = points[~np.any(np.all(points[:, None, :] == out[None, :, :], axis=2), axis=1)]
    if not len(points):
        why = "no increase is left within the ranges and step limits of the parameters"
        return Choice(None, "", None, 0, 0.0, why, exhausted=True)
    u = grid.encode(points)
    mean, sd = belief.predict(u)
    hourly, value = grid.hourly(points), log_feasibility(mean, sd) + log_room(belief, u)
    wanted = value >= min(LIKELY, float(np.max(value)) - ALIKE)
    best = min(np.flatnonzero(wanted), key=lambda i: (round(float(hourly[i]), 9), -float(value[i]), int(i)))
    share = float(hourly[best]) / study.cost.hourly(study.baseline) - 1
    chance = float(np.exp(log_feasibility(mean, sd)[best]))
    reason = f"costs {share:.1%} more than the baseline, which breaks a bound, and holds all with {chance:.0%}"
    safe = int(is_safe(belief, mean, sd).sum())
    return Choice(grid.assignment(points[best]), "Repair", float(value[best]), safe, 0.0, reason)


def _limits(belief: Belief) -> Ints:
    """The boxes around R, without what is less safe than the baseline. Shape: (|R|, d, 2)."""
    study = belief.study
    tried = (x for x, own in belief.evidence.items() if own.clean and not own.withdrawn)
    starts = [study.baseline, *(x for x in tried if x != study.baseline and no_more(study.space, study.baseline, x))]
    limits = boxes(study, starts)
    for axis, parameter in enumerate(study.space.parameters):
        sign, here = more_is_better(parameter), nearest(parameter, study.baseline[parameter.name])
        if sign >= 0:
            limits[:, axis, 0] = np.maximum(limits[:, axis, 0], here)
        if sign <= 0:
            limits[:, axis, 1] = np.minimum(limits[:, axis, 1], here)
    return limits


def _hopeless(belief: Belief, points: Ints) -> Bools:
    """Points with no more of anything than one that its own trials showed infeasible. Shape: (N, d) -> (N,)."""
    study = belief.study
    signs = np.asarray([more_is_better(p) for p in study.space.parameters], dtype=np.int64)
    found = np.zeros(len(points), dtype=bool)
    for assignment, own in belief.evidence.items():
        at = belief.grid.locate(assignment)
        if at is not None and own.contradicts(study.constraints):
            found |= np.all(points * signs <= np.asarray(at, dtype=np.int64) * signs, axis=1)
    return found


__all__ = ["increase"]
