"""The recommendation: the best EVALUATED assignment that is feasible at peak with a margin, or the baseline.

Margin: mu_j + 1.88 sd_j <= -0.02 for every bound (one-sided 97 %; measured in ADR 3 between 1.64 sd with 1 %, which
saves a little more but broke a bound once in 120 runs, and 2.13 sd with 2 %, which loses savings when the frontier just
misses it). Its own trials must not contradict it, and scikit-learn must agree on mu and sd (crosscheck.py). Changes
that bring next to nothing are undone (`pruned`). The best is the cheapest by default. A measured objective is better
than the baseline's only when that is beyond doubt (`Aims.beyond_doubt`). Two objectives have a front of recommendable
assignments; named is the best in the first objective that any of them improves, as that is what came first in the spec.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from trimtab.domain.cost import CostModel
from trimtab.domain.space import Assignment
from trimtab.domain.study import FrontMember, Recommended, Study
from trimtab.optimize import pareto
from trimtab.optimize.data import ALIKE_LOAD
from trimtab.optimize.objective import allowed
from trimtab.optimize.readings import Evidence, exact
from trimtab.optimize.room import pods_of, room
from trimtab.optimize.safe import Belief, boxes, is_safe, reachable, upper_limits, verified
from trimtab.optimize.steps import no_more

Floats = NDArray[np.float64]

WIDTHS = 1.88
MARGIN = 0.02
WORTHLESS = 0.01  # of the saving: a change that brings less is undone
MOST_SHOWN = 16  # members of a front
ALIKE = math.log2(ALIKE_LOAD)  # octaves


def keep_baseline(study: Study, why: str) -> Recommended:
    """The baseline as the answer."""
    return Recommended(study.baseline, True, 0.0, (), why)


def recommendable(belief: Belief, z: float | None = None) -> list[Assignment]:
    """Evaluated assignments that improve the first objective and hold every bound with the margin, at peak or at
    another load; the best (by default the cheapest) first, the baseline excluded. Where that is to be repaired they
    need not improve anything."""
    tried = _tried(belief)
    better = np.asarray(belief.aims.beyond_doubt(tried)[0]) | belief.repairing
    return belief.aims.ranked(holding(belief, [x for i, x in enumerate(tried) if better[i]], z))


def _tried(belief: Belief) -> list[Assignment]:
    return [x for x, own in belief.evidence.items() if x != belief.study.baseline and own.full > 0]


def front(belief: Belief) -> list[Assignment]:
    """Of two objectives, the evaluated assignments that improve one of them (in a repair: any), hold every bound with
    the margin, and are beaten by none other in both; the best of the first objective first."""
    tried = _tried(belief)
    better = np.asarray(belief.aims.beyond_doubt(tried).any(axis=0)) | belief.repairing
    held = sorted(holding(belief, [x for i, x in enumerate(tried) if better[i]]), key=lambda x: x.items_)
    return [held[i] for i in pareto.front(belief.aims.means(held).T)] if held else []


def holding(belief: Belief, assignments: list[Assignment], z: float | None = None) -> list[Assignment]:
    """Those that nothing speaks against: neither a rule, nor a verification, nor their own trials, nor the model."""
    possible = [x for x in assignments if _unrefuted(belief, x)]
    limits = upper_limits(belief, possible, WIDTHS, z)
    return [
        x
        for x, limit in zip(possible, limits, strict=True)
        if (limit <= -MARGIN and _leaves_room(belief, x, z)) or _plainly_within(belief, x)
    ]


def _plainly_within(belief: Belief, assignment: Assignment) -> bool:
    """What a function measured within every bound (`_unrefuted`: its trials do not contradict) needs no margin."""
    own = belief.evidence.get(assignment)
    return own is not None and own.clean > 0 and exact(belief.study)


def _unrefuted(belief: Belief, assignment: Assignment) -> bool:
    study, own = belief.study, belief.evidence.get(assignment)
    if assignment in study.excluded or (own is not None and own.contradicts(study.constraints)):
        return False
    return allowed(study, assignment)


def _leaves_room(belief: Belief, assignment: Assignment, z: float | None) -> bool:
    """Each of its own readings counts from the load that it saw. One of the night says little about the day, neither
    for it nor against: where the days' peak is known, those of less load do not count beside those of more."""
    own, loads, pods = belief.evidence.get(assignment, Evidence()), belief.loads, pods_of(belief, assignment)
    swings = belief.study.usual_peak is not None
    for target in belief.targets:
        rows = own.observations.get(target.name)
        if target.relative or not rows:
            continue
        least = max(loads.z(row.load) for row in rows) + ALIKE if swings else -math.inf
        near = [row for row in rows if loads.z(row.load) >= least]
        rises = [float(room(belief, target, pods, loads.z(row.load), z)) for row in near]
        if Evidence.pooled([row.raised(rise) for row, rise in zip(near, rises, strict=True)])[1] > 0:
            return False
    return True


def recommend(belief: Belief) -> Recommended:
    """The best of `recommendable`, with what the model expects at peak."""
    if len(belief.study.objectives) == 2:
        return _of_front(belief)
    study = belief.study
    good = recommendable(belief)
    if not good:
        evaluated = sum(own.clean > 0 for own in belief.evidence.values())
        if belief.repairing:
            why = f"none of {evaluated} evaluated assignments holds every bound at peak with a margin"
            return keep_baseline(study, f"keep the baseline: {why}{_because_of_load(belief)}")
        return keep_baseline(
            study,
            f"keep the baseline: none of {evaluated} evaluated assignments {_improves(study)} "
            f"and holds every bound at peak with a margin{_because_of_load(belief)}",
        )
    best, aims = good[0], belief.aims
    message = _shown(belief, best)
    kept = best if belief.repairing else pruned(belief, best)
    names = [name for name in study.space.names if kept[name] != best[name]]
    if names:
        loss, verb = aims.saving(best) - aims.saving(kept), "saves" if aims.known else "improves it by"
        message += f"; {', '.join(names)} left as it is, since changing it {verb} no more than {loss:.2%}"
    return Recommended(kept, False, aims.saving(kept), belief.predictions(kept), message, aims.values(kept))


def _of_front(belief: Belief) -> Recommended:
    """The best in the first objective that any member of the front improves."""
    study, aims, members = belief.study, belief.aims, front(belief)
    shown = tuple(FrontMember(x, aims.values(x)) for x in _spread(members))
    better = aims.beyond_doubt(members)
    for number, objective in enumerate(study.objectives):
        able = [x for i, x in enumerate(members) if better[number, i]]
        if able:
            best = able[0] if number == 0 else able[-1]  # along the front one objective rises and the other falls
            message = f"the best in {objective.name} of a front of {len(members)}; {_shown(belief, best)}"
            values = aims.values(best)
            return Recommended(
                best, False, values[number].improvement, belief.predictions(best), message, values, shown
            )
    evaluated = len(_tried(belief))
    why = f"keep the baseline: none of {evaluated} evaluated assignments {_improves(study)} and holds every bound"
    return keep_baseline(study, f"{why} at peak with a margin")


def _spread(members: list[Assignment]) -> list[Assignment]:
    """At most `MOST_SHOWN`, evenly along the front, both ends included."""
    if len(members) <= MOST_SHOWN:
        return members
    return [members[round(i * (len(members) - 1) / (MOST_SHOWN - 1))] for i in range(MOST_SHOWN)]


def _shown(belief: Belief, best: Assignment) -> str:
    clean = belief.evidence[best].clean
    return f"{clean} complete trial{'s' if clean != 1 else ''}, every bound holds at peak with a margin of {MARGIN:.1%}"


def _improves(study: Study) -> str:
    least = f"{study.min_improvement:.0%} or more"
    if not study.objectives:
        return f"saves {least}"
    return f"improves {' or '.join(o.name for o in study.objectives)} by {least} beyond doubt"


def pruned(belief: Belief, best: Assignment) -> Assignment:
    """`best` with every change undone that is worth less than 1 % of the saving, all of them together: what changes
    little had better not change. Verification measures it by itself before it is recommended."""
    study, aims, kept = belief.study, belief.aims, best
    least = max(aims.saving(best) * (1 - WORTHLESS), study.min_improvement)
    changed = [name for name in study.space.names if best[name] != study.baseline[name]]
    for name in sorted(changed, key=lambda n: -aims.saving(best.replace(n, study.baseline[n]))):
        undone = study.space.canonical(kept.replace(name, study.baseline[name]), study.baseline)
        if aims.saving(undone) >= least and aims.beyond_doubt([undone])[0, 0] and _holds_too(belief, undone, kept):
            kept = undone
    return kept


def _holds_too(belief: Belief, assignment: Assignment, held: Assignment) -> bool:
    """Whether an assignment holds: by the model, or as it has no less of anything than one that holds. Where an
    autoscaler gives larger pods more to do, more of one thing may be too little of another: what was not measured does
    not hold."""
    if isinstance(belief.study.cost, CostModel) and belief.study.cost.scale is not None:
        return assignment in _tried(belief) and bool(holding(belief, [assignment]))
    more = no_more(belief.study.space, held, assignment) and _unrefuted(belief, assignment)
    return more or bool(holding(belief, [assignment]))


def _because_of_load(belief: Belief) -> str:
    """Says so when only the load without the arms stands against all that is cheaper: it is what each pod gets once
    they, and the share that they were given, are gone."""
    study, seen = belief.study, belief.loads.seen
    if seen >= belief.loads.peak or not belief.aims.known:
        return ""
    held = recommendable(belief, seen)
    if held:
        what = study.space.describe(held[0])
    elif _cheaper_is_safe(belief, seen) and not _cheaper_is_safe(belief, None):
        what = "something cheaper"
    else:
        return ""
    more = 2.0 ** (belief.loads.peak - seen) - 1
    return (
        f"; {what} would at the load that arms saw, but each pod gets {more:.0%} more once they are gone: let them "
        "take a smaller share, by more replicas of the target or fewer of canary.replicas"
    )


def _cheaper_is_safe(belief: Belief, z: float | None) -> bool:
    """Whether S, at this load, has a point that saves enough."""
    study, grid = belief.study, belief.grid
    members = verified(belief)
    if not members:
        return False
    points = reachable(grid, boxes(study, members), study.search.seed)
    if not len(points):
        return False
    mean, sd = belief.predict(grid.encode(points), z)
    saved = 1 - grid.hourly(points) / study.cost.hourly(study.baseline)
    return bool((is_safe(belief, mean, sd) & (saved >= study.min_improvement)).any())
