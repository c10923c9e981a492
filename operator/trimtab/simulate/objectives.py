"""The truth about objectives other than the cost: their values in the model without noise, and the best of them.

An objective is asked for at the median load that trials had, as the operator's model does; bounds must hold at peak.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from math import prod
from statistics import median
from typing import Final

from trimtab.domain.cost import COST_SLACK
from trimtab.domain.measurement import NoData
from trimtab.domain.space import Assignment
from trimtab.domain.spec import Objective, QuantileQuery, ScalingQuery, ValueQuery
from trimtab.domain.state import RecommendationState
from trimtab.simulate import results as r
from trimtab.simulate.optimum import axes_of
from trimtab.simulate.scaling import loads_of
from trimtab.simulate.truth import Truth

MOST_JUDGED: Final = 4_000
MOST_STEPS: Final = 30_000_000  # of pods that scale, played for all assignments together: about a minute


def objective_results(
    truth: Truth, chosen: RecommendationState | None, loads: tuple[float, ...], peak_rps: float
) -> tuple[r.ObjectiveResult, ...]:
    """Every objective of the Experiment; none where the cost alone is minimized. `loads` are those that trials had."""
    if truth.spec.is_cost:
        return ()
    return tuple(
        _result(truth, o, chosen, median(loads) if loads else peak_rps, peak_rps) for o in truth.spec.objectives
    )


def front_results(
    truth: Truth, chosen: RecommendationState, loads: tuple[float, ...], peak_rps: float
) -> tuple[r.FrontPoint, ...]:
    """The recommended front beside the truth."""
    load = median(loads) if loads else peak_rps
    named = {o.name: o for o in truth.spec.objectives}
    return tuple(
        r.FrontPoint(
            assignment=tuple(r.Value(name=n, value=v) for n, v in truth.spec.space.format(point.assignment)),
            truly_feasible=truth.holds(point.assignment, peak_rps),
            objectives=tuple(
                r.FrontValue(
                    name=v.name,
                    expected=v.value,
                    sd=v.sd,
                    true=true_value(truth, named[v.name], point.assignment, load),
                )
                for v in point.objectives
                if v.name in named
            ),
        )
        for point in chosen.front
    )


def true_value(truth: Truth, objective: Objective, assignment: Assignment, load_rps: float) -> r.Number:
    """The weighted sum in the model without noise."""
    verdict, total = truth.judge(assignment, load_rps), 0.0
    for term in objective.terms:
        value = truth.hourly(assignment) if term.sli is None else verdict.value(term.sli)
        if isinstance(value, NoData):
            return r.Absent(absent="NoData", detail=value.detail)
        total += term.weight * value
    return total


def _result(
    truth: Truth, objective: Objective, chosen: RecommendationState | None, load: float, peak_rps: float
) -> r.ObjectiveResult:
    recommended: r.Number = r.Absent(absent="NoRecommendation")
    baseline = true_value(truth, objective, truth.baseline, load)
    if chosen is not None:
        recommended = true_value(truth, objective, chosen.assignment, load)
    change: r.Number = recommended if isinstance(recommended, r.Absent) else r.Absent(absent="BaselineIsZero")
    if not isinstance(recommended, r.Absent) and not isinstance(baseline, r.Absent) and baseline:
        change = 100 * (recommended - baseline) / abs(baseline)
    return r.ObjectiveResult(
        name=objective.name,
        goal="Maximize" if objective.maximize else "Minimize",
        unit=_unit(truth, objective),
        load=load,
        baseline=baseline,
        recommended=recommended,
        change_percent=change,
        optimum=_best(truth, objective, load, peak_rps),
    )


def _unit(truth: Truth, objective: Objective) -> str:
    """That of a single term of weight 1; a sum is a number."""
    if len(objective.terms) != 1 or objective.terms[0].weight != 1:
        return "1"
    sli = objective.terms[0].sli
    if sli is None:
        return "$/h"
    query = truth.spec.sli(sli).query
    return query.unit if isinstance(query, QuantileQuery | ValueQuery | ScalingQuery) else "ratio"


@lru_cache(maxsize=16)
def _best(truth: Truth, objective: Objective, load: float, peak_rps: float) -> r.Number:
    """Of all assignments of the grid that keep every bound at peak, the cost's too."""
    axes = axes_of(truth)
    most = _most_judged(truth)
    if prod(len(axis) for axis in axes) > most:
        return r.Absent(absent="GridTooLarge", detail=f"more than {most:,} assignments")
    limit = min((each.maximum for each in truth.spec.cost_limits), default=None)
    found = []
    for values in product(*axes):
        assignment = Assignment(tuple(zip(truth.spec.space.names, values, strict=True)))
        dear = limit is not None and truth.cost.hourly(assignment) > limit * COST_SLACK
        if dear or truth.spec.space.violated(assignment) is not None:
            continue
        if truth.holds(assignment, peak_rps):
            value = true_value(truth, objective, assignment, load)
            found += [] if isinstance(value, r.Absent) else [value]
    if not found:
        return r.Absent(
            absent="Infeasible", detail=f"no assignment keeps every bound at {peak_rps:.0f} {truth.load_unit}"
        )
    return max(found) if objective.maximize else min(found)


def _most_judged(truth: Truth) -> int:
    """Where pods scale each assignment is played over the whole period."""
    if truth.autoscaler is None:
        return MOST_JUDGED
    return min(MOST_JUDGED, MOST_STEPS // len(loads_of(truth.workload, truth.period)))


__all__ = ["front_results", "objective_results", "true_value"]
