"""What is to be improved, as far as no model is needed: weights, references, and what was measured.

An objective is a weighted sum, sum_i w_i v_i, of the cost and of measured SLIs, in the units people wrote. Here its
weights are signed so that less is better. An SLI v is modelled as f = ln(v / r), for one that should be high as
f = ln(r / v), so that the priors of a bound apply: r is its level at the baseline, and more resource lowers f.
Where an autoscaler decides how many pods there are, the cost itself is measured: what `Cost.hourly` expects, times the
measured target `PODS`, pods of those that are expected.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

from trimtab.domain.cost import COST_SLACK
from trimtab.domain.measurement import Sample
from trimtab.domain.space import Assignment
from trimtab.domain.spec import Objective
from trimtab.domain.study import PODS, ArmOutcome, ConstraintTarget, Study, TrialOutcome, measured_name
from trimtab.optimize.readings import observe
from trimtab.optimize.steps import below_floor


def weights(objective: Objective) -> tuple[tuple[str | None, float], ...]:
    """(name of the measured target, None for the cost; weight), signed so that less is better."""
    sign = -1.0 if objective.maximize else 1.0
    return tuple((t.sli if t.sli is None else measured_name(t.sli), sign * t.weight) for t in objective.terms)


def _affordable(study: Study, assignment: Assignment) -> bool:
    """Whether it keeps the bound on the cost, if there is one."""
    return study.cost_limit is None or study.cost.hourly(assignment) <= study.cost_limit * COST_SLACK


def allowed(study: Study, assignment: Assignment) -> bool:
    """Whether it keeps every rule that needs no measurement: between parameters, floors, the bound on the cost."""
    if study.space.violated(assignment) is not None or below_floor(study, assignment):
        return False
    return _affordable(study, assignment)


def referenced(study: Study) -> Study:
    """The study with each measured target's bound at the baseline's level: the median of what arms with the baseline
    read, 1 while nothing was read. It is 0 where that is not positive."""
    if not study.measured:
        return study
    return replace(study, measured=tuple(replace(t, bound=_level(study, t)) for t in study.measured))


def without_reference(study: Study) -> str:
    """The measured target whose level at the baseline is not positive, as far as it was measured; "" when none is."""
    found = (t.name for t in referenced(study).measured if [*_of_baseline(study, t)] and not t.bound > 0)
    return next(found, "").partition("/")[2]


def observed_value(study: Study, assignment: Assignment) -> float:
    """The first objective by the assignment's own trials, less is better: each SLI's median; inf where one lacks."""
    if not study.objectives:
        return study.cost.hourly(assignment)
    targets, total = {t.name: t for t in study.measured}, 0.0
    for name, weight in weights(study.objectives[0]):
        known = study.cost.hourly(assignment) if name is None else 1.0
        measured = PODS if name is None else name
        if measured not in targets:
            total += weight * known
            continue
        values = [v for arm in _arms(study, assignment) if (v := reading(targets[measured], arm)) is not None]
        if not values:
            return math.inf
        total += weight * known * median(values)
    return total


def reading(target: ConstraintTarget, arm: ArmOutcome) -> float | None:
    """What one arm read of a measured target, in its unit; None where it cannot be used."""
    sample = next((r.sample for r in arm.readings if r.constraint == target.name), None)
    if sample is None or observe(replace(target, bound=1.0), sample) is None:
        return None
    return _amount(sample)


def _amount(sample: Sample) -> float:
    if sample.bad is not None:
        return (sample.bad + 0.5) / (sample.total + 1.0)
    return max(sample.value, sample.standard_error)


def _level(study: Study, target: ConstraintTarget) -> float:
    values = [*_of_baseline(study, target)]
    return median(values) if values else 1.0


def _of_baseline(study: Study, target: ConstraintTarget) -> Iterator[float]:
    for arm in _arms(study, study.baseline):
        value = reading(target, arm)
        if value is not None:
            yield value


def _arms(study: Study, assignment: Assignment) -> Iterator[ArmOutcome]:
    """The arms of complete trials that ran it."""
    for trial in (*study.inherited, *study.outcomes):
        if not _teaches(trial):
            continue
        for arm in (trial.canary, trial.control):
            if arm is not None and arm.assignment == assignment:
                yield arm


def _teaches(trial: TrialOutcome) -> bool:
    """Windows of trials that were withdrawn were chosen for what they showed: no measure of the objective."""
    return trial.learnable and not trial.truncated and trial.failure is None


def teaching(study: Study) -> Study:
    """The study of which only complete trials teach."""

    def only(trials: tuple[TrialOutcome, ...]) -> tuple[TrialOutcome, ...]:
        return tuple(t if _teaches(t) else replace(t, learnable=False) for t in trials)

    return replace(study, inherited=only(study.inherited), outcomes=only(study.outcomes), hints=only(study.hints))


def loadless(study: Study) -> Study:
    """The study of which no arm's load is known. How hard pods are driven follows from how many there are, so it must
    not explain their number."""

    def bare(arm: ArmOutcome | None) -> ArmOutcome | None:
        return None if arm is None else replace(arm, load=None)

    def all_of(trials: tuple[TrialOutcome, ...]) -> tuple[TrialOutcome, ...]:
        return tuple(replace(t, canary=replace(t.canary, load=None), control=bare(t.control)) for t in trials)

    return replace(study, inherited=all_of(study.inherited), outcomes=all_of(study.outcomes), hints=all_of(study.hints))


__all__ = [
    "allowed",
    "loadless",
    "observed_value",
    "reading",
    "referenced",
    "teaching",
    "weights",
    "without_reference",
]
