"""Grids and step limits: how far one trial may move from an assignment that has been verified.

Plain Python without numpy, so that the fallback designer can run in the operator's own process.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from functools import lru_cache

from trimtab.domain.space import (
    Assignment,
    AutoscalerField,
    Categorical,
    ContainerResource,
    Numeric,
    Parameter,
    PlainValue,
    ReplicaCount,
    Resource,
    Scale,
    SearchSpace,
    Value,
)
from trimtab.domain.study import Study

CPU_DECREASE = 0.30
MEMORY_DECREASE = 0.20
OTHER_DECREASE = 0.30
INCREASE = 0.50
REPLICAS_DECREASE = 1.0
TARGET_POINTS = 10.0
# Fields of an autoscaler of which more keeps, or brings sooner, more pods (+1) or fewer (-1).
FIELD_DIRECTIONS = {
    "CPUUtilization": -1,
    "MemoryUtilization": -1,
    "MinReplicas": 1,
    "MaxReplicas": 1,
    "ScaleDownStabilizationSeconds": 1,
    "ScaleUpStabilizationSeconds": -1,
    "ScaleDownTolerancePercent": 1,
    "ScaleUpTolerancePercent": -1,
}
_SLACK = 1e-9


@lru_cache(maxsize=256)
def axis(domain: Numeric | Categorical) -> tuple[Value, ...]:
    """All values of one parameter, ascending (categories in their order). Shape: (k,), k >= 1 for a valid domain."""
    return domain.values if isinstance(domain, Categorical) else domain.grid()


def more_is_better(parameter: Parameter) -> int:
    """+1: a larger value is more resource; -1: a larger value is less (utilization targets); 0: not known."""
    if isinstance(parameter.locus, ContainerResource | ReplicaCount):
        return 1
    if isinstance(parameter.locus, AutoscalerField):
        return FIELD_DIRECTIONS.get(parameter.locus.field, 0)
    if isinstance(parameter.locus, PlainValue):
        return parameter.locus.direction
    return 0


def reference(parameter: Parameter, baseline: Value | None) -> float | None:
    """The baseline's value of a multiplicative parameter of which more (or less) is known to give room: what is left of
    it tells how near a cliff is (ADR 13). None of any other parameter, and where the value is not positive."""
    domain = parameter.domain
    if isinstance(domain, Categorical) or domain.scale is not Scale.LOG or domain.minimum <= 0:
        return None
    if baseline is None or isinstance(baseline, str) or baseline <= 0 or not more_is_better(parameter):
        return None
    return float(baseline)


def bounds(parameter: Parameter, value: Value, baseline: Value | None = None) -> tuple[float, float]:
    """Least and greatest number that the step limit allows from a verified `value`, before rounding to the grid.

    A parameter's own `max_decrease` and `max_increase` (fractions) win over the defaults. Units: the parameter's base
    units. Beyond the baseline a step to what is less safe is shorter than that (`_left`).
    """
    number = float(value)
    locus = parameter.locus
    down, up = number * OTHER_DECREASE, number * INCREASE
    if isinstance(locus, ContainerResource):
        down = number * (CPU_DECREASE if locus.resource is Resource.CPU else MEMORY_DECREASE)
    elif isinstance(locus, ReplicaCount):
        down = REPLICAS_DECREASE
    elif isinstance(locus, AutoscalerField) and _is_target(locus):
        up = TARGET_POINTS
    size = abs(number)
    if _around_zero(parameter) and isinstance(parameter.domain, Numeric):
        size = float(parameter.domain.maximum - parameter.domain.minimum)  # around zero a share of the value is nothing
        down, up = size * OTHER_DECREASE, size * INCREASE
    if parameter.max_decrease is not None:
        down = size * parameter.max_decrease
    if parameter.max_increase is not None:
        up = size * parameter.max_increase
    return _left(parameter, number, baseline, number - down, number + up)


def _left(parameter: Parameter, number: float, baseline: Value | None, low: float, high: float) -> tuple[float, float]:
    """The same with a step to what is less safe no longer in b / x (in x / b where less is safer) than it is at the
    baseline b: bounds are nearly straight in what is left, so a share of little comes nearer to the cliff (ADR 13).
    """
    b = reference(parameter, baseline)
    if b is None or not number > 0:
        return low, high
    if more_is_better(parameter) > 0:
        return max(low, b / (b / number + number / low - 1)) if 0 < low < number else low, high
    return low, min(high, b * (number / b + high / number - 1))


def reach(parameter: Parameter, value: Value, baseline: Value | None = None) -> tuple[int, int]:
    """Indices (first, last) into `axis` that one trial may choose, starting from a verified `value`.

    At least one grid step each way is allowed, also from a value between grid points; (0, k - 1) for categories. The
    interval is empty (last < first) only when the whole grid is empty.
    """
    values = axis(parameter.domain)
    if isinstance(parameter.domain, Categorical) or isinstance(value, str):
        return 0, len(values) - 1
    numbers = _numbers(parameter.domain)
    low, high = bounds(parameter, value, baseline)
    slack = _SLACK * max(1.0, abs(float(value)))
    first = bisect_left(numbers, low - slack)
    last = bisect_right(numbers, high + slack) - 1
    below = bisect_left(numbers, float(value) - slack) - 1
    above = bisect_right(numbers, float(value) + slack)
    first = min(first, max(below, 0))
    last = max(last, min(above, len(numbers) - 1))
    return first, last


def nearest(parameter: Parameter, value: Value) -> int:
    """Index of the grid value nearest to `value` (ties: the larger)."""
    values = axis(parameter.domain)
    if isinstance(parameter.domain, Categorical) or isinstance(value, str):
        return values.index(value)
    numbers = _numbers(parameter.domain)
    at = bisect_left(numbers, float(value))
    if at == 0:
        return 0
    if at == len(numbers):
        return at - 1
    return at if numbers[at] - float(value) <= float(value) - numbers[at - 1] else at - 1


def within_steps(space: SearchSpace, assignment: Assignment, verified: Iterable[Assignment]) -> bool:
    """Whether every parameter is within the step limit of ONE verified assignment."""
    return any(_within(space, assignment, v) for v in verified)


def no_more(space: SearchSpace, assignment: Assignment, other: Assignment) -> bool:
    """Whether the assignment has no more resource than `other` in any parameter (and equals it in all others)."""
    for parameter in space.parameters:
        one, two = assignment[parameter.name], other[parameter.name]
        sign = more_is_better(parameter)
        if isinstance(one, str) or isinstance(two, str) or sign == 0:
            if one != two:
                return False
        elif sign * (one - two) > 0:
            return False
    return True


def below_floor(study: Study, assignment: Assignment) -> bool:
    """Whether a white-box floor is broken (base units)."""
    return any(
        not isinstance(assignment[name], str) and float(assignment[name]) < floor * (1 - _SLACK)
        for name, floor in study.floors
        if name in assignment
    )


def grid_size(space: SearchSpace) -> int:
    """Number of points of the whole grid."""
    return math.prod(len(axis(p.domain)) for p in space.parameters)


def resource_parameters(space: SearchSpace, resource: Resource | None) -> tuple[str, ...]:
    """Names of the parameters that set this resource (all container resources for None)."""
    return tuple(
        p.name
        for p in space.parameters
        if isinstance(p.locus, ContainerResource) and (resource is None or p.locus.resource is resource)
    )


def _within(space: SearchSpace, assignment: Assignment, start: Assignment) -> bool:
    for parameter in space.parameters:
        values = axis(parameter.domain)
        value = assignment[parameter.name]
        if value == start[parameter.name] or not space.active(parameter.name, assignment):
            continue
        first, last = reach(parameter, start[parameter.name])
        if value not in values[first : last + 1]:
            return False
    return True


def _around_zero(parameter: Parameter) -> bool:
    """It may be 0, as an autoscaler's times and tolerances may: a share of the value would be no step."""
    may = isinstance(parameter.locus, PlainValue | AutoscalerField)
    return may and isinstance(parameter.domain, Numeric) and parameter.domain.minimum <= 0


def _is_target(locus: AutoscalerField) -> bool:
    return "utilization" in locus.field.lower()


@lru_cache(maxsize=256)
def _numbers(domain: Numeric) -> tuple[float, ...]:
    return tuple(float(v) for v in domain.grid())


__all__ = [
    "axis",
    "below_floor",
    "bounds",
    "grid_size",
    "more_is_better",
    "nearest",
    "no_more",
    "reach",
    "reference",
    "resource_parameters",
    "within_steps",
]
