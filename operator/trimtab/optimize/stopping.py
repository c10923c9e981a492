"""When the search is over, in words with numbers."""

from __future__ import annotations

from trimtab.domain.space import Assignment
from trimtab.domain.study import Hold, HoldReason, Study
from trimtab.domain.trial import SEARCHES, Purpose

_SEARCHING = SEARCHES | {Purpose.INITIAL}


def out_of_trials(study: Study) -> Hold | None:
    """All trials that the Experiment may make have been made."""
    if study.index < study.max_trials:
        return None
    return Hold(HoldReason.CONVERGED, f"{study.index} of {study.max_trials} trials used")


def out_of_patience(study: Study, incumbent: Assignment) -> Hold | None:
    """No cheaper verified assignment within the last `patience` search trials."""
    since = searches_since(study, incumbent)
    if study.patience <= 0 or since < study.patience:
        return None
    return Hold(HoldReason.CONVERGED, f"no improvement in {since} search trials (patience {study.patience})")


def nothing_left(study: Study, optimistic_saving: float) -> Hold | None:
    """Even if every uncertain bound turned out well, too little would be saved."""
    if optimistic_saving >= study.min_improvement:
        return None
    return Hold(
        HoldReason.CONVERGED,
        f"at most {optimistic_saving:.2%} of the cost is left to save (minImprovement {study.min_improvement:.2%})",
    )


def searches_since(study: Study, incumbent: Assignment) -> int:
    """Search trials since the incumbent was first evaluated (all of them when it is the baseline)."""
    count = 0
    for trial in study.outcomes:
        if trial.purpose in _SEARCHING and trial.learnable:
            count = 0 if trial.canary.assignment == incumbent and not _seen_before(study, trial.index) else count + 1
    return count


def _seen_before(study: Study, index: int) -> bool:
    assignment = next(t.canary.assignment for t in study.outcomes if t.index == index)
    return any(t.index < index and t.canary.assignment == assignment for t in study.outcomes)
