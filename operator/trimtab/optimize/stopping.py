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


def out_of_patience(study: Study, *incumbents: Assignment) -> Hold | None:
    """No better verified assignment within the last `patience` search trials; of two objectives, none that became one
    of the front's, `incumbents`."""
    since = searches_since(study, *incumbents)
    if study.patience <= 0 or since < study.patience:
        return None
    return Hold(HoldReason.CONVERGED, f"no improvement in {since} search trials (patience {study.patience})")


def nothing_left(study: Study, optimistic_saving: float) -> Hold | None:
    """Even if every uncertain bound turned out well, too little would be saved."""
    if optimistic_saving >= study.min_improvement:
        return None
    return Hold(
        HoldReason.CONVERGED,
        f"at most {optimistic_saving:.2%} {_what(study)} (minImprovement {study.min_improvement:.2%})",
    )


def _what(study: Study) -> str:
    if len(study.objectives) == 2:
        return "of the baseline's amounts is left for the front to gain"
    return f"of {study.objectives[0].name} is left to gain" if study.objectives else "of the cost is left to save"


def searches_since(study: Study, *incumbents: Assignment) -> int:
    """Search trials since an incumbent was first evaluated (all of them when that is the baseline alone)."""
    count = 0
    for trial in study.outcomes:
        if trial.purpose in _SEARCHING and trial.learnable:
            count = 0 if trial.canary.assignment in incumbents and not _seen_before(study, trial.index) else count + 1
    return count


def _seen_before(study: Study, index: int) -> bool:
    assignment = next(t.canary.assignment for t in study.outcomes if t.index == index)
    return any(t.index < index and t.canary.assignment == assignment for t in study.outcomes)
