"""Which safe point to try next.

All predictions are at the peak's load, but for what decides whether a point is in S: that is asked at the load of the
next trial.

Notation: N points, m bounds, s = improvement on what would be recommended now, as a fraction of the baseline's amount
(of its cost by default; expected where the objective is measured: improvement.py),
  A = {x in S: s > 0.004}
A not empty: the point of A that the spec's acquisition function values most (`scores.py`). A empty: a goal-directed
expander (the idea of GoOSE: Turchetta, Berkenkamp, Krause 2019) measures the safe point x that maximizes, over x and
over goals y that are not safe yet,
  s(y) R(y) P(y enters S | x measured), P = prod_j Phi((-mu_j - kappa beta sd_j sqrt(1 - r_j)) / (sd_j sqrt(r_j)))
with r_j = cov_j(x, y)^2 / ((sd_j(x)^2 + noise_j(x)) sd_j(y)^2), the share of y's variance that measuring x takes away,
and R(y) the chance that y then measures with the room that a recommendation needs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from trimtab.domain.space import Assignment
from trimtab.optimize.grouping import MOST, grouped
from trimtab.optimize.improvement import Improving, improving
from trimtab.optimize.kernel import Inputs
from trimtab.optimize.recommend import MARGIN, WIDTHS
from trimtab.optimize.safe import Belief, along_groups, is_safe, neighbours, reachable, trusted_boxes
from trimtab.optimize.scores import DECIMALS, JOINT, SCORES, Odds, expecting, log_room
from trimtab.optimize.steps import nearest

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MIN_SAVING = 0.004
MIN_UNLOCKED = 1e-4
GOALS = 200
STARTS = 8  # verified assignments, the cheapest, from which single parameters move
_REFINE_TOP = 6
_REFINE_ROUNDS = 3


@dataclass(frozen=True)
class Choice:
    """A point and why it was chosen; `rule` is Improve, Expand or "" (nothing found)."""

    assignment: Assignment | None
    rule: str
    value: float | None
    safe_points: int
    optimistic_saving: float  # the most that any reachable point may still save, at mu - beta sd
    reason: str = ""
    exhausted: bool = False  # not one grid point is reachable and admissible


@dataclass(frozen=True)
class _Pool:
    points: Ints
    saving: Floats
    log_saving: Floats | None
    hoped: Floats
    mean: Floats
    sd: Floats
    ahead: tuple[Floats, Floats]  # mean and sd at the load of the next trial; the others are at the peak's
    allowed: Bools

    def safe(self, belief: Belief) -> Bools:
        return is_safe(belief, *self.ahead) & self.allowed


def choose(
    belief: Belief, members: list[Assignment], answer: Assignment, banned: Collection[Assignment], seed: int
) -> Choice:
    """Improve when some safe point saves (or improves by) more than 0.4 %, else expand towards the most promising one.

    Args:
        members: V, from which the step limits count.
        answer: what would be recommended now.
        banned: assignments not to be proposed now (pending, twice in a row already, withdrawn twice).
    """
    limits = trusted_boxes(belief, members)
    gains = improving(belief, answer, seed)
    if grouped(belief.study):
        found = _by_groups(belief, members, limits, gains, banned, seed)
        if found is not None:
            return found
    pool = _pool(belief, _places(belief, members, limits, seed), gains, banned)
    if not len(pool.points):
        return Choice(None, "", None, 0, 0.0, "no admissible grid point is within the step limits", exhausted=True)
    safe = pool.safe(belief)
    hopeful = np.all(pool.mean - belief.beta * pool.sd <= 0, axis=0)
    optimistic = float(np.max(pool.hoped[hopeful], initial=0.0))
    useful = safe & (pool.saving > MIN_SAVING)
    if useful.any():
        point, value = _improve(belief, pool, useful, limits, gains, banned, seed)
        return Choice(belief.grid.assignment(point), "Improve", value, int(safe.sum()), optimistic)
    return _expand(belief, pool, safe, hopeful, optimistic)


def _places(belief: Belief, members: list[Assignment], limits: Ints, seed: int) -> Ints:
    """C, or above 8 parameters the part of it where one parameter moves from a verified assignment: random points of
    so many dimensions are far from all that is known. Shape: (N, d)."""
    grid = belief.grid
    if len(grid.parameters) <= MOST:
        return reachable(grid, limits, seed)
    starts = [[nearest(p, v[p.name]) for p in grid.parameters] for v in members[:STARTS]]
    return neighbours(grid.canonical(np.asarray(starts, dtype=np.int64)), limits, grid)


def _by_groups(
    belief: Belief,
    members: list[Assignment],
    limits: Ints,
    gains: Improving,
    banned: Collection[Assignment],
    seed: int,
) -> Choice | None:
    """The best safe point that moves whole groups; None when there is none worth a trial, so that single parameters
    have their turn earlier."""
    start = np.asarray([nearest(p, members[0][p.name]) for p in belief.grid.parameters])
    pool = _pool(belief, along_groups(belief.grid, limits, start, seed), gains, banned)
    if not len(pool.points):
        return None
    safe = pool.safe(belief)
    useful = safe & (pool.saving > MIN_SAVING)
    if not useful.any():
        return None
    hopeful = np.all(pool.mean - belief.beta * pool.sd <= 0, axis=0)
    values = _scores(belief, expecting(belief), pool, useful, seed)
    best = int(np.argmax(values))
    optimistic = float(np.max(pool.hoped[hopeful], initial=0.0))
    place = belief.grid.assignment(pool.points[best])
    return Choice(place, "Improve", float(values[best]), int(safe.sum()), optimistic)


def _pool(belief: Belief, points: Ints, gains: Improving, banned: Collection[Assignment]) -> _Pool:
    grid = belief.grid
    allowed = np.ones(len(points), dtype=bool)
    for assignment in banned:
        at = grid.locate(assignment)
        if at is not None:
            allowed &= ~np.all(points == np.asarray(at), axis=1)
    for assignment in belief.study.pending:  # nor what says about the same
        at = grid.locate(assignment)
        if at is not None:
            allowed &= ~np.all(np.abs(points - np.asarray(at)) <= grid.near, axis=1)
    u = grid.encode(points) if len(points) else np.zeros((0, len(belief.encoder.groups)))
    mean, sd = belief.predict(u)
    ahead = (mean, sd) if belief.loads.ahead == belief.loads.peak else belief.ahead(u)
    gain = gains(points)
    return _Pool(points, gain.expected, gain.log_expected, gain.optimistic, mean, sd, ahead, allowed)


def _improve(
    belief: Belief,
    pool: _Pool,
    useful: Bools,
    limits: Ints,
    gains: Improving,
    banned: Collection[Assignment],
    seed: int,
) -> tuple[Ints, float]:
    """The best score, refined by local moves when the pool is only a sample. Ties: the first in grid order."""
    expected = expecting(belief)
    values = _scores(belief, expected, pool, useful, seed)
    order = np.argsort(-values, kind="stable")[:_REFINE_TOP]
    top = pool.points[order][np.isfinite(values[order])]
    best, best_value = top[0], float(values[order[0]])
    for _ in range(0 if belief.study.search.acquisition in JOINT else _REFINE_ROUNDS):
        near = _pool(belief, neighbours(top, limits, belief.grid), gains, banned)
        values = _scores(belief, expected, near, near.safe(belief) & (near.saving > MIN_SAVING), seed)
        order = np.argsort(-values, kind="stable")[:_REFINE_TOP]
        if not len(order) or not values[order[0]] > best_value + 1e-12:
            break
        top = near.points[order][np.isfinite(values[order])]
        best, best_value = top[0], float(values[order[0]])
    return best, best_value


def _scores(belief: Belief, expected: Belief, pool: _Pool, useful: Bools, seed: int) -> Floats:
    """The score of the useful points by what is `expected`, -inf elsewhere. Shape: (N,)."""
    values = np.full(len(useful), -np.inf)
    u, mean, sd = belief.grid.encode(pool.points[useful]), pool.mean[:, useful], pool.sd[:, useful]
    if expected is not belief:
        mean, sd = expected.predict(u)
    logs = None if pool.log_saving is None else pool.log_saving[useful]
    odds = Odds(expected, u, pool.saving[useful], mean, sd, seed, logs)
    values[useful] = SCORES[belief.study.search.acquisition](odds)
    return values


def _expand(belief: Belief, pool: _Pool, safe: Bools, hopeful: Bools, optimistic: float) -> Choice:
    """The safe point whose measurement is expected to unlock the most saving (module docstring)."""
    count = int(safe.sum())
    wanted = np.flatnonzero(hopeful & pool.allowed & (pool.saving > MIN_SAVING))
    if not len(wanted) or not safe.any() or not belief.models:
        return Choice(None, "", None, count, optimistic, f"{count} safe points, none worth a trial")
    u = belief.grid.encode(pool.points)
    promised = pool.saving[wanted] * np.exp(log_room(belief, u[wanted]))
    first = np.argsort(-np.round(promised * _unlocked(belief, pool, wanted), DECIMALS), kind="stable")[:GOALS]
    goals, promised = wanted[first], promised[first]
    at, ends = belief.inputs(u[safe], belief.loads.usual), belief.inputs(u[goals])
    chance = _chances(belief, at, ends, pool.mean[:, goals], pool.sd[:, goals], belief.kappa * belief.beta)
    value = np.round(chance * promised, DECIMALS)
    best, goal = np.unravel_index(int(np.argmax(value)), value.shape)
    if value[best, goal] < MIN_UNLOCKED:
        why = f"no safe point is expected to unlock more than {value[best, goal]:.2%}"
        return Choice(None, "", None, count, optimistic, why)
    target = belief.grid.assignment(pool.points[goals[goal]])
    reason = f"may show that {belief.study.space.describe(target)} is safe ({chance[best, goal]:.0%})"
    place = belief.grid.assignment(pool.points[safe][best])
    return Choice(place, "Expand", float(value[best, goal]), count, optimistic, reason)


def entry_chance(mean: Floats, sd: Floats, gain: Floats, widths: float) -> Floats:
    """Probability that a point with g ~ N(mean, sd^2) meets mean + widths x sd <= 0 after one more measurement.

    `gain` in [0, 1) is the share of the variance that the measurement takes away: the new sd is sd sqrt(1 - gain), and
    the new mean is normal about the old one with sd x sqrt(gain). Shapes broadcast.
    """
    share = np.clip(gain, 1e-9, 1 - 1e-9)
    return np.asarray(ndtr((-mean / sd - widths * np.sqrt(1 - share)) / np.sqrt(share)))


def _chances(belief: Belief, at: Inputs, ends: Inputs, mean: Floats, sd: Floats, widths: float) -> Floats:
    """`entry_chance` of each end, in every bound at once, after a measurement at each place.

    `mean` and `sd` (m, G) are those of the ends. Shape: (N, G).
    """
    chance = np.ones((len(at), len(ends)))
    for j, model in enumerate(belief.models):
        seen, spread = model.predict(at)
        gain = model.covariance(at, ends) ** 2 / (spread**2 + model.reading_variance(seen))[:, None] / sd[j] ** 2
        chance *= entry_chance(mean[j], sd[j], gain, widths)
    return chance


def confirmed_saving(belief: Belief, assignment: Assignment, answer: Assignment) -> float:
    """Improvement on `answer`, what would be recommended now, x the chance that one more trial of the assignment makes
    it recommendable."""
    aims, u = belief.aims, belief.encoder.encode([assignment])
    mean, sd = belief.predict(u)
    at, ends = belief.inputs(u, belief.loads.usual), belief.inputs(u)
    chance = float(_chances(belief, at, ends, mean + MARGIN, sd, WIDTHS)[0, 0] * np.exp(log_room(belief, u)[0]))
    return chance * (aims.value(answer) - aims.value(assignment)) / aims.scale


def _unlocked(belief: Belief, pool: _Pool, points: Ints) -> Floats:
    """Chance that each point enters S if half of its variance could be measured away. Shape: (len(points),)."""
    half = np.full(len(points), 0.5)
    chance = np.ones(len(points))
    for mean, sd in zip(pool.mean[:, points], pool.sd[:, points], strict=True):
        chance = chance * entry_chance(mean, sd, half, belief.kappa * belief.beta)
    return chance
