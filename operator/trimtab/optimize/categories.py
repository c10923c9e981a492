"""Categories that nobody has tried: each once, alone, with everything else at the baseline.

What is known of one category says little of another, so the model would never call an untried one safe (two of them lie
a whole unit apart, see `encoding.py`). But whoever lists a value asks for it to be tried. So it gets one trial where
most is known and nothing is saved on resources, under the same safety monitor as every canary; from then on the model
knows it (ADR 14). A value that could not be tried is asked for twice, not for ever.
"""

from __future__ import annotations

from collections.abc import Collection

from trimtab.domain.space import Assignment, Categorical
from trimtab.domain.study import Study
from trimtab.optimize.objective import allowed

ATTEMPTS = 2
REASON = "a category that was not tried yet, all else at the baseline"


def untried(study: Study, forbidden: Collection[Assignment]) -> Assignment | None:
    """The baseline with the first category that no trial has shown anything of, in the order of the space; None when
    each was tried or may not be, and where nothing has to be safe."""
    for parameter in study.space.parameters:
        if not study.safe or not isinstance(parameter.domain, Categorical):
            continue
        start = _switched_on(study, parameter.name)
        for value in parameter.domain.values:
            found = start.replace(parameter.name, value)
            if found not in forbidden and not _known(study, parameter.name, value) and allowed(study, found):
                return found
    return None


def _switched_on(study: Study, name: str) -> Assignment:
    """The baseline with what makes a conditional parameter active."""
    found, when = study.baseline, study.space[name].when
    while when is not None and not study.space.active(name, found):
        if found[when.parameter] not in when.values:
            found = found.replace(when.parameter, when.values[0])
        when = study.space[when.parameter].when
    return found


def _known(study: Study, name: str, value: str) -> bool:
    """Today's value is, and what a trial taught something about or was lost on twice."""
    if value == study.baseline[name]:
        return True
    trials = [
        t
        for t in study.outcomes
        if t.canary.assignment[name] == value and study.space.active(name, t.canary.assignment)
    ]
    return any(t.learnable for t in trials) or len(trials) >= ATTEMPTS


__all__ = ["REASON", "untried"]
