"""The recommendation: the cheapest EVALUATED assignment that is feasible at peak with a margin, or the baseline.

Margin: mu_j + 1.88 sd_j <= -0.015 for every bound (one-sided 97 %; measured in ADR 3 between 1.64 sd with 1 %, which
saves a little more but broke a bound once in 120 runs, and 2.13 sd with 2 %, which loses savings when the frontier just
misses it). Its own trials must not contradict it, and scikit-learn must agree on mu and sd (crosscheck.py). Changes
that bring next to nothing are undone (`pruned`).
"""

from __future__ import annotations

from trimtab.domain.space import Assignment
from trimtab.domain.study import Recommended, Study
from trimtab.optimize.readings import Evidence, exact
from trimtab.optimize.safe import Belief, boxes, is_safe, reachable, upper_limits, verified
from trimtab.optimize.steps import below_floor

WIDTHS = 1.88
MARGIN = 0.015
WORTHLESS = 0.01  # of the saving: a change that brings less is undone
STEEPEST = 2.0  # of g = ln(SLI / bound) per octave of load next to the bound: 1 to 2.1 in the workload model


def keep_baseline(study: Study, why: str) -> Recommended:
    """The baseline as the answer."""
    return Recommended(study.baseline, True, 0.0, (), why)


def saving(study: Study, assignment: Assignment) -> float:
    """Fraction of the baseline's cost that the assignment saves."""
    baseline = study.cost.hourly(study.baseline)
    return (baseline - study.cost.hourly(assignment)) / baseline


def recommendable(belief: Belief, z: float | None = None) -> list[Assignment]:
    """Evaluated assignments that hold every bound with the margin, at peak or at another load; cheapest first, the
    baseline excluded."""
    study = belief.study
    tried = [
        x
        for x, own in belief.evidence.items()
        if x != study.baseline and own.clean > 0 and saving(study, x) >= study.min_improvement
    ]
    return sorted(_good(belief, tried, z), key=lambda x: (study.cost.hourly(x), x.items_))


def _good(belief: Belief, assignments: list[Assignment], z: float | None = None) -> list[Assignment]:
    """Those that nothing speaks against: neither a rule, nor a verification, nor their own trials, nor the model."""
    allowed = [x for x in assignments if _allowed(belief, x)]
    limits = upper_limits(belief, allowed, WIDTHS, z)
    return [
        x
        for x, limit in zip(allowed, limits, strict=True)
        if (limit <= -MARGIN and _leaves_room(belief, x, z)) or _plainly_within(belief, x)
    ]


def _plainly_within(belief: Belief, assignment: Assignment) -> bool:
    """What a function measured within every bound (`_allowed`: its trials do not contradict) needs no margin."""
    own = belief.evidence.get(assignment)
    return own is not None and own.clean > 0 and exact(belief.study)


def _allowed(belief: Belief, assignment: Assignment) -> bool:
    study, own = belief.study, belief.evidence.get(assignment)
    if assignment in study.excluded or (own is not None and own.contradicts(study.constraints)):
        return False
    return study.space.violated(assignment) is None and not below_floor(study, assignment)


def room(belief: Belief, z: float | None = None) -> float:
    """How far below an absolute bound (in g) an assignment must measure, for the load that its arms do not see.

    The model's slope in load is mostly that of the baseline, where there is room; next to the bound it is several times
    steeper. So what was measured, raised by `STEEPEST` per octave up to the load `z` (the peak), must hold by itself.
    """
    return STEEPEST * max((belief.loads.peak if z is None else z) - belief.loads.usual, 0.0)


def _leaves_room(belief: Belief, assignment: Assignment, z: float | None) -> bool:
    own, needed = belief.evidence.get(assignment, Evidence()), room(belief, z)
    intervals = [own.interval(target.name) for target in belief.targets if not target.relative]
    return all(interval is None or interval[1] + needed <= 0 for interval in intervals)


def recommend(belief: Belief) -> Recommended:
    """The cheapest of `recommendable`, with what the model expects at peak."""
    study = belief.study
    good = recommendable(belief)
    if not good:
        evaluated = sum(own.clean > 0 for own in belief.evidence.values())
        return keep_baseline(
            study,
            f"keep the baseline: none of {evaluated} evaluated assignments saves {study.min_improvement:.0%} or more "
            f"and holds every bound at peak with a margin{_because_of_load(belief)}",
        )
    best = good[0]
    clean = belief.evidence[best].clean
    message = (
        f"{clean} complete trial{'s' if clean != 1 else ''}, every bound holds at peak with a margin of {MARGIN:.1%}"
    )
    kept = pruned(belief, best)
    names = [name for name in study.space.names if kept[name] != best[name]]
    if names:
        loss = saving(study, best) - saving(study, kept)
        message += f"; {', '.join(names)} left as it is, since changing it saves no more than {loss:.2%}"
    return Recommended(kept, False, saving(study, kept), belief.predictions(kept), message)


def pruned(belief: Belief, best: Assignment) -> Assignment:
    """`best` with every change undone that is worth less than 1 % of the saving, all of them together: what changes
    little had better not change. Verification measures it by itself before it is recommended."""
    study, kept = belief.study, best
    least = saving(study, best) * (1 - WORTHLESS)
    changed = [name for name in study.space.names if best[name] != study.baseline[name]]
    for name in sorted(changed, key=lambda n: -saving(study, best.replace(n, study.baseline[n]))):
        undone = kept.replace(name, study.baseline[name])
        if saving(study, undone) >= max(least, study.min_improvement) and _good(belief, [undone]):
            kept = undone
    return kept


def _because_of_load(belief: Belief) -> str:
    """Says so when only the load without the arms stands against all that is cheaper: it is what each pod gets once
    they, and the share that they were given, are gone."""
    study, seen = belief.study, belief.loads.seen
    if seen >= belief.loads.peak:
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
    points = reachable(grid, boxes(study, verified(belief)), study.search.seed)
    if not len(points):
        return False
    mean, sd = belief.predict(grid.encode(points), z)
    saved = 1 - grid.hourly(points) / study.cost.hourly(study.baseline)
    return bool((is_safe(belief, mean, sd) & (saved >= study.min_improvement)).any())
