"""Rules of the schema for parameters that decide on the number of pods: what Kubernetes would refuse in the end."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

from trimtab.api.base import Rule
from trimtab.api.scalars import SIGNED_PATTERN, unless_malformed
from trimtab.domain.autoscaler import MOST_STABILIZATION

AT_LEAST_ONE = ("CPUUtilization", "MemoryUtilization", "MinReplicas", "MaxReplicas")
WINDOWS = ("ScaleDownStabilizationSeconds", "ScaleUpStabilizationSeconds")
TOLERANCES = ("ScaleDownTolerancePercent", "ScaleUpTolerancePercent")
MOST_TOLERANCE = 100


def _field_rule(names: tuple[str, ...], domain: str, cel: str, message: str, holds: Callable[[Any], bool]) -> Rule:
    """A rule of the range of some fields; `holds` gets the range."""

    def check(parameter: Any) -> bool:
        values = getattr(parameter, domain)
        if parameter.autoscaler is None or values is None or parameter.autoscaler.field not in names:
            return True
        return holds(values)

    listed = ", ".join(f"'{name}'" for name in names)
    guard = f"!has(self.autoscaler) || !has(self.{domain}) || !(self.autoscaler.field in [{listed}])"
    return Rule(f"{guard} || {cel}", message, check, field=f".{domain}")


def _decimal_guard() -> str:
    return unless_malformed(SIGNED_PATTERN, "self.decimal.min", "self.decimal.max")


PARAMETER_RULES = (
    _field_rule(
        (*AT_LEAST_ONE, *WINDOWS),
        "decimal",
        "false",
        "utilization targets, replicas and stabilization windows are whole numbers; use integer {min, max, step}",
        lambda _: False,
    ),
    _field_rule(
        AT_LEAST_ONE,
        "integer",
        "self.integer.min >= 1",
        "min of a utilization target and of replicas must be at least 1; raise min",
        lambda r: bool(r.min >= 1),
    ),
    _field_rule(
        WINDOWS,
        "integer",
        f"self.integer.max <= {MOST_STABILIZATION}",
        f"max of a stabilization window may be at most {MOST_STABILIZATION} seconds; lower max",
        lambda r: bool(r.max <= MOST_STABILIZATION),
    ),
    _field_rule(
        TOLERANCES,
        "integer",
        f"self.integer.max <= {MOST_TOLERANCE}",
        f"max of a tolerance may be at most {MOST_TOLERANCE} percent; lower max",
        lambda r: bool(r.max <= MOST_TOLERANCE),
    ),
    _field_rule(
        TOLERANCES,
        "decimal",
        f"{_decimal_guard()}double(self.decimal.min) >= 0.0 && double(self.decimal.max) <= {MOST_TOLERANCE}.0",
        f"a tolerance is from 0 to {MOST_TOLERANCE} percent; change decimal.min or decimal.max",
        lambda r: bool(r.low() >= 0 and r.high() <= MOST_TOLERANCE),
    ),
    Rule(
        "!has(self.replicas) || !has(self.integer) || self.integer.min >= 1",
        "min of replicas must be at least 1; raise min",
        lambda m: m.replicas is None or m.integer is None or m.integer.min >= 1,
        field=".integer",
    ),
)


def _scaling(spec: Any) -> list[Any]:
    return [p.autoscaler for p in spec.parameters if p.autoscaler is not None]


def _metric(autoscaler: Any) -> str:
    found = autoscaler.metric.container if autoscaler.metric is not None else None
    return found or ""


def _in_order(spec: Any) -> bool:
    """No assignment has minReplicas above maxReplicas."""
    orders = {(c.order.lower, c.order.upper) for c in spec.parameter_constraints if c.order is not None}
    return all(
        (low.name, high.name) in orders or low.integer.max <= high.integer.min
        for low, high in permutations(spec.parameters, 2)
        if low.autoscaler is not None
        and high.autoscaler is not None
        and (low.autoscaler.field, high.autoscaler.field) == ("MinReplicas", "MaxReplicas")
        and low.integer is not None
        and high.integer is not None
    )


_CONTAINER = (
    "(has({0}.autoscaler.metric) && has({0}.autoscaler.metric.container) ? {0}.autoscaler.metric.container : '')"
)
_NAME = "(has({0}.autoscaler.name) ? {0}.autoscaler.name : '')"


def _pairs(condition: str) -> str:
    """CEL: no two autoscaler parameters p and q are so."""
    other = "q.name == p.name || !has(q.autoscaler)"
    return f"self.parameters.all(p, !has(p.autoscaler) || self.parameters.all(q, {other} || {condition}))"


SPEC_RULES = (
    Rule(
        "self.parameters.filter(p, has(p.replicas)).size() <= 1 && "
        "(self.parameters.all(p, !has(p.replicas)) || self.parameters.all(p, !has(p.autoscaler)))",
        "parameters: only one may decide on the number of pods; tune the replicas of a fixed-size target, or fields of "
        "its autoscaler",
        lambda spec: (
            (count := sum(p.replicas is not None for p in spec.parameters)) == 0 or (count == 1 and not _scaling(spec))
        ),
        field=".parameters",
    ),
    Rule(
        _pairs(f"{_NAME.format('p')} == {_NAME.format('q')}"),
        "parameters: they name different autoscalers, and one target has one; correct autoscaler.name",
        lambda spec: len({a.name or "" for a in _scaling(spec)}) <= 1,
        field=".parameters",
    ),
    Rule(
        _pairs(f"p.autoscaler.field != q.autoscaler.field || {_CONTAINER.format('p')} != {_CONTAINER.format('q')}"),
        "parameters: two of them set the same field of the autoscaler; remove one",
        lambda spec: len({(a.field, _metric(a)) for a in _scaling(spec)}) == len(_scaling(spec)),
        field=".parameters",
    ),
    Rule(
        _pairs(
            "p.autoscaler.field != 'MinReplicas' || q.autoscaler.field != 'MaxReplicas' || !has(p.integer) || "
            "!has(q.integer) || p.integer.max <= q.integer.min || self.parameterConstraints.exists(c, has(c.order) && "
            "c.order.lower == p.name && c.order.upper == q.name)"
        ),
        "parameters: minReplicas may exceed maxReplicas, which Kubernetes refuses; add order {lower, upper} of the two "
        "to parameterConstraints",
        _in_order,
        field=".parameters",
    ),
)


__all__ = ["PARAMETER_RULES", "SPEC_RULES"]
