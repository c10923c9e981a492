"""Which kind of trial is due: the baseline twice, a few initial ones, then search with every fifth a replicate."""

from __future__ import annotations

import math

from trimtab.domain.space import Assignment
from trimtab.domain.study import Hold, HoldReason, Study
from trimtab.domain.trial import SEARCHES, Purpose
from trimtab.optimize.objective import without_reference
from trimtab.optimize.readings import Evidence, complete, usable
from trimtab.optimize.steps import grid_size

BASELINES = 2
MAX_BASELINE_ATTEMPTS = 5
SEARCHES_PER_REPLICATE = 4


def next_purpose(study: Study, incumbent: Assignment) -> Purpose:
    """Baseline until two are complete; Initial up to `initial_trials` (baselines included); then Search.

    After every fourth search trial the incumbent is measured again, unless it is the baseline, which the control arm
    measures in each trial anyway. Trials that are live count for what they are for.
    """
    if complete_baselines(study) < BASELINES:
        return Purpose.BASELINE
    initial = sum(p is Purpose.INITIAL for p in (*(t.purpose for t in study.outcomes), *study.waiting))
    known = (t.purpose for t in study.outcomes if t.learnable)
    searches = [p for p in (*known, *study.waiting) if p in (*SEARCHES, Purpose.REPLICATE)]
    if not searches and initial < study.search.initial_trials - BASELINES:
        return Purpose.INITIAL
    recent = searches[-SEARCHES_PER_REPLICATE:]
    due = len(recent) == SEARCHES_PER_REPLICATE and all(p in SEARCHES for p in recent)
    return Purpose.REPLICATE if due and incumbent not in (study.baseline, *study.pending) else Purpose.SEARCH


def complete_baselines(study: Study) -> int:
    """Complete trials whose canary ran the baseline."""
    return sum(t.canary.assignment == study.baseline and complete(study, t) for t in study.outcomes)


def banned(study: Study, evidence: dict[Assignment, Evidence]) -> set[Assignment]:
    """Not to be proposed now: pending, twice in a row already, withdrawn twice, broken, or failed at verification."""
    found = set(study.pending) | set(study.excluded)
    last = [t.canary.assignment for t in study.outcomes[-2:]]
    if len(last) == 2 and last[0] == last[1]:
        found.add(last[0])
    found |= {x for x, own in evidence.items() if own.withdrawn >= 2}
    found |= {t.canary.assignment for t in study.outcomes if t.failure is not None}
    found.discard(study.baseline)
    return found


def like_pending(study: Study, assignment: Assignment) -> bool:
    """It says about the same as a trial that is live."""
    return any(study.space.alike(assignment, other) for other in study.pending)


def suggestion_seed(study: Study) -> int:
    """The seed recorded with (and used for) one suggestion."""
    return (study.search.seed * 1_000_003 + study.index) % 2**31


def unusable(study: Study) -> Hold | None:
    """Why nothing can be proposed at all, whatever the measurements: bad bounds, cost, space or readings."""
    for target in study.constraints:
        if not usable(target):
            return Hold(HoldReason.NUMERICAL, f"the bound of {target.name} must be positive and finite")
    if not math.isfinite(study.now) or not math.isfinite(study.probability):
        return Hold(HoldReason.NUMERICAL, "time and probability must be finite")
    cost = study.cost.hourly(study.baseline)
    if not (math.isfinite(cost) and cost > 0):
        return Hold(HoldReason.NUMERICAL, f"the baseline's cost must be positive, not {cost}")
    misplaced = study.space.misplaced()
    if misplaced:
        return Hold(HoldReason.NUMERICAL, misplaced)
    unreadable = without_reference(study)
    if unreadable:
        why = f"the baseline reads 0 for {unreadable}: an objective needs an SLI above 0 there"
        return Hold(HoldReason.NUMERICAL, why)
    size = grid_size(study.space) if study.space.parameters else 0
    if size <= 1:
        return Hold(HoldReason.SPACE_EXHAUSTED, f"the grid has {size} points: nothing to search")
    return _baseline_in_vain(study)


def _baseline_in_vain(study: Study) -> Hold | None:
    """The baseline was tried often enough without a usable reading; more of the same will not do.

    Attempts that were lost before there was anything to read say nothing about readings: they have a cap of their own
    (`stopping.maxInconclusive`), or end with `stopping.maxDuration` where people or a changing target cause them.
    """
    if complete_baselines(study) >= BASELINES:
        return None
    tries = [t for t in study.outcomes if t.purpose is Purpose.BASELINE and not t.lost and not complete(study, t)]
    if len(tries) < MAX_BASELINE_ATTEMPTS:
        return None
    withdrawn = sum(t.truncated or t.failure is not None for t in tries)
    if withdrawn >= BASELINES:
        return Hold(HoldReason.BASELINE_INFEASIBLE, f"{withdrawn} baseline trials were withdrawn")
    return Hold(
        HoldReason.BASELINE_UNREADABLE, f"{len(tries)} baseline trials ended without a usable reading of every bound"
    )


def repairing(study: Study, evidence: dict[Assignment, Evidence]) -> bool:
    """Whether an assignment that holds every bound is looked for where the baseline does not: it may be repaired, and
    its own measurements say that it breaks a bound of the safe set, clearly or not: below it nothing would be safe."""
    own = evidence.get(study.baseline) if study.search.repair and study.safe else None
    if own is None or complete_baselines(study) < BASELINES:
        return False
    intervals = (own.interval(target.name) for target in study.constraints if not target.guard_only)
    return any(interval is not None and interval[1] > 0 for interval in intervals)


def baseline_infeasible(study: Study, evidence: dict[Assignment, Evidence]) -> Hold | None:
    """The baseline's own measurements clearly break a bound of the safe set."""
    own = evidence.get(study.baseline) if study.safe else None
    for target in study.constraints:
        interval = own.interval(target.name) if own is not None and not target.guard_only else None
        if interval is not None and interval[0] > 0:
            ratio = math.exp(interval[1])
            return Hold(
                HoldReason.BASELINE_INFEASIBLE,
                f"the baseline itself stands at {ratio:.2f} x the bound of {target.name} "
                f"(95 %: at least {math.exp(interval[0]):.2f}): widen the bound or add resources first",
            )
    return None
