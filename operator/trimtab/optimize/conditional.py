"""Conditional parameters: one form for all assignments that do the same.

A parameter that is not active keeps the baseline's value (`When` in the domain), so assignments that differ in inactive
values only are one point: in the data, in the grid, and among what is never proposed twice. The baseline's value is
also what is imputed for the model (as SMAC imputes defaults: Hutter, Hoos, Leyton-Brown 2011), so a category that
switches a parameter on differs from one without it by the category alone, until the parameter is moved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from trimtab.domain.space import Assignment
from trimtab.domain.study import ArmOutcome, Study, TrialOutcome


def canonical(study: Study) -> Study:
    """The study with every assignment in its canonical form; itself where nothing is conditional, or where conditions
    are misplaced (then nothing can be proposed, and the Hold says why)."""
    if not study.space.conditional or study.space.misplaced():
        return study

    def form(assignment: Assignment) -> Assignment:
        return study.space.canonical(assignment, study.baseline)

    return replace(
        study,
        outcomes=_outcomes(study.outcomes, form),
        inherited=_outcomes(study.inherited, form),
        hints=_outcomes(study.hints, form),
        pending=tuple(map(form, study.pending)),
        excluded=tuple(map(form, study.excluded)),
        wanted=tuple(map(form, study.wanted)),
    )


def _outcomes(trials: tuple[TrialOutcome, ...], form: Callable[[Assignment], Assignment]) -> tuple[TrialOutcome, ...]:
    return tuple(replace(t, canary=_arm(t.canary, form), control=t.control and _arm(t.control, form)) for t in trials)


def _arm(arm: ArmOutcome, form: Callable[[Assignment], Assignment]) -> ArmOutcome:
    return replace(arm, assignment=form(arm.assignment))


__all__ = ["canonical"]
