"""What trials measured of the objectives, arms side by side, and what a recommendation promises of them. Pure.

An objective is sum_i w_i v_i of the cost, known unless an autoscaler decides about pods, and of SLIs, each pooled
over the trials of an arm with its standard error. The canary is compared with the control of the same trials, so what
moved both cancels. The standard error of the difference is sqrt(sum_i w_i^2 se_i^2), se_i that of canary - control.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trimtab.control.measured import difference, pool
from trimtab.control.pods import cost_of
from trimtab.domain.cost import CostModel
from trimtab.domain.measurement import Arm
from trimtab.domain.space import Assignment
from trimtab.domain.spec import ExperimentSpec, Objective
from trimtab.domain.state import FrontPoint, FrontValue, Interval, ObjectiveOutlook
from trimtab.domain.study import FrontMember, ObjectiveValue
from trimtab.domain.trial import Trial
from trimtab.slo.words import show

TWO_SIDED_95 = 1.959963984540054
ONE_SIDED_95 = 1.6448536269514722


@dataclass(frozen=True)
class Comparison:
    """One objective of the canary and of the control, in its unit, and the standard errors of both and of their
    difference. `scale` is the control's amount, sum_i |w_i| v_i."""

    canary: float
    control: float
    canary_error: float
    control_error: float
    error: float
    scale: float
    maximize: bool

    @property
    def improvement(self) -> float:
        """By how much the canary is better, as a fraction of the control's amount."""
        better = self.canary - self.control if self.maximize else self.control - self.canary
        return better / self.scale if self.scale > 0 else 0.0

    @property
    def sure(self) -> bool:
        """It is better beyond doubt: the one-sided 95 % interval of the improvement lies above 0."""
        return self.improvement * self.scale > ONE_SIDED_95 * self.error


def compare(
    objective: Objective, cost: CostModel, baseline: Assignment, assignment: Assignment, trials: tuple[Trial, ...]
) -> Comparison | None:
    """The objective as the trials of one assignment measured it; None when an arm lacks an SLI of it."""
    canary = control = canary_square = control_square = square = scale = 0.0
    for term in objective.terms:
        found = _apart(term.sli, cost, baseline, assignment, trials)
        if found is None:
            return None
        canary += term.weight * found.canary[0]
        control += term.weight * found.control[0]
        canary_square += (term.weight * found.canary[1]) ** 2
        control_square += (term.weight * found.control[1]) ** 2
        square += (term.weight * found.error) ** 2
        scale += abs(term.weight) * found.control[0]
    errors = (math.sqrt(canary_square), math.sqrt(control_square), math.sqrt(square))
    return Comparison(canary, control, *errors, scale, objective.maximize)


@dataclass(frozen=True)
class _Apart:
    """One term: (value, standard error) of both arms, and the standard error of their difference."""

    canary: tuple[float, float]
    control: tuple[float, float]
    error: float


def _apart(
    sli: str | None, cost: CostModel, baseline: Assignment, assignment: Assignment, trials: tuple[Trial, ...]
) -> _Apart | None:
    """The cost where no SLI is named; None when an arm lacks it."""
    if sli is None:
        mine, other = (cost_of(cost, x, trials, a) for x, a in ((assignment, Arm.CANARY), (baseline, Arm.CONTROL)))
        return None if mine is None or other is None else _Apart(mine, other, math.hypot(mine[1], other[1]))
    canary, control = (pool(trials, sli, arm) for arm in (Arm.CANARY, Arm.CONTROL))
    between = difference(trials, sli)
    if canary is None or control is None or between is None:
        return None
    read = [(s.value, s.standard_error) for s in (canary, control)]
    return _Apart(read[0], read[1], between.standard_error)


def improves(
    spec: ExperimentSpec, cost: CostModel, baseline: Assignment, assignment: Assignment, trials: tuple[Trial, ...]
) -> bool:
    """Whether these trials show beyond doubt that an objective improves. The cost is known and needs no trial."""
    found = (compare(objective, cost, baseline, assignment, trials) for objective in spec.objectives)
    return any(each is not None and each.sure for each in found)


def objective_outlooks(
    spec: ExperimentSpec,
    cost: CostModel,
    baseline: Assignment,
    assignment: Assignment,
    values: tuple[ObjectiveValue, ...],
    fresh: tuple[Trial, ...],
) -> tuple[ObjectiveOutlook, ...]:
    """Every objective at the recommended values. `fresh` are the trials that verified them."""
    found = []
    for objective, value in zip(spec.objectives, values, strict=False):
        seen = compare(objective, cost, baseline, assignment, fresh) if fresh else None
        found.append(
            ObjectiveOutlook(
                name=value.name,
                baseline=value.baseline,
                predicted=_interval(value.value, value.sd),
                change=(value.value - value.baseline) / abs(value.baseline) if value.baseline else 0.0,
                verified=_interval(seen.canary, seen.canary_error) if seen is not None else None,
                control=_interval(seen.control, seen.control_error) if seen is not None else None,
            )
        )
    return tuple(found)


def front_points(members: tuple[FrontMember, ...]) -> tuple[FrontPoint, ...]:
    """The front as the status has it."""
    return tuple(FrontPoint(m.assignment, tuple(FrontValue(v.name, v.value, v.sd) for v in m.values)) for m in members)


def changes(spec: ExperimentSpec, outlooks: tuple[ObjectiveOutlook, ...]) -> str:
    """`p95 281 ms -> 240 ms (-15 %)`: as fresh trials measured, else as the model expects."""
    words = []
    for objective, outlook in zip(spec.objectives, outlooks, strict=False):
        before, after = outlook.baseline, outlook.predicted.value
        if outlook.verified is not None and outlook.control is not None:
            before, after = outlook.control.value, outlook.verified.value
        percent = f" ({100 * (after - before) / abs(before):+.0f} %)" if before else ""
        words.append(
            f"{objective.name} {_amount(spec, objective, before)} -> {_amount(spec, objective, after)}{percent}"
        )
    return ", ".join(words)


def _amount(spec: ExperimentSpec, objective: Objective, value: float) -> str:
    """In the unit of a single SLI or of the cost, else a plain number."""
    if len(objective.terms) == 1 and objective.terms[0].weight == 1:
        sli = objective.terms[0].sli
        return f"${value:.3f}" if sli is None else show(spec.sli(sli), value)
    return f"{value:.4g}"


def _interval(value: float, error: float) -> Interval:
    return Interval(value, value - TWO_SIDED_95 * error, value + TWO_SIDED_95 * error)
