"""Other choices of categories: a cheaper end may lie behind steps that save nothing yet.

Each choice of categories that something verified has is a branch of the search. The model's rule takes the best safe
point of all branches, so it goes on where it is, as a branch that starts at the baseline's resources costs more than
one that came down already. So every other search trial belongs to the branch that promises most, where another one
promises more than the incumbent's:

  p(b) = min cost of sampled grid points of b with mu_j - sd_j <= 0 for all bounds j

which is optimism in the face of uncertainty (a lower confidence bound, as in Srinivas et al. 2010): a branch is left as
soon as its own trials say that it is no better. In it, what is measured against is its own cheapest verified member; S
and the step limits are those of any trial.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab.domain.space import Assignment, Categorical
from trimtab.domain.trial import SEARCHES
from trimtab.optimize.safe import Belief
from trimtab.optimize.steps import nearest

Ints = NDArray[np.int64]

SAMPLES = 1200
CLEARLY = 0.98  # of the incumbent branch's promise
Branch = tuple[str, ...]
REASON = "the best safe step towards what another category promises"


def names(belief: Belief) -> tuple[str, ...]:
    """The categories."""
    return tuple(p.name for p in belief.study.space.parameters if isinstance(p.domain, Categorical))


def other_branches(belief: Belief, members: list[Assignment], seed: int) -> list[list[Assignment]]:
    """The members, cheapest first, of each branch that promises more than the incumbent's, the most promising first;
    none when it is the incumbent's turn.

    Args:
        members: V, the best first.
    """
    chosen = names(belief)
    if not chosen or not belief.aims.known or not belief.models or len(belief.study.objectives) > 1:
        return []
    branches: dict[Branch, list[Assignment]] = {}
    for member in members:
        branches.setdefault(_of(member, chosen), []).append(member)
    home = _of(members[0], chosen)
    if len(branches) < 2 or _was_away(belief, chosen, home):
        return []
    promises = {branch: _promise(belief, found[0], chosen, seed) for branch, found in branches.items()}
    better = [branch for branch in branches if branch != home and promises[branch] < CLEARLY * promises[home]]
    return [branches[branch] for branch in sorted(better, key=lambda branch: (promises[branch], branch))]


def _of(assignment: Assignment, chosen: tuple[str, ...]) -> Branch:
    return tuple(str(assignment[name]) for name in chosen)


def _was_away(belief: Belief, chosen: tuple[str, ...], home: Branch) -> bool:
    """The last search trial was in another branch: now it is the incumbent's turn."""
    last = next((t for t in reversed(belief.study.outcomes) if t.purpose in SEARCHES), None)
    return last is not None and _of(last.canary.assignment, chosen) != home


def _promise(belief: Belief, member: Assignment, chosen: tuple[str, ...], seed: int) -> float:
    """p(b), at most the cost of its member: inf where nothing of it is hoped for."""
    grid, rng = belief.grid, np.random.default_rng(seed)
    points: Ints = rng.integers(0, grid.shape, size=(SAMPLES, len(grid.shape)))
    for i, parameter in enumerate(grid.parameters):
        if parameter.name in (*chosen, *belief.held):
            points[:, i] = nearest(parameter, member[parameter.name])
    points = grid.distinct(grid.canonical(points))
    points = points[grid.admissible(points)]
    own = belief.study.cost.hourly(member)
    if not len(points):
        return own
    mean, sd = belief.predict(grid.encode(points))
    hopeful = np.all(mean - sd <= 0, axis=0)
    return float(min(np.min(grid.hourly(points[hopeful]), initial=np.inf), own))


__all__ = ["REASON", "names", "other_branches"]
