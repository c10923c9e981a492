"""What a spec's autoscaler fields and replicas must be, whatever the target has: asked by lint and by the operator."""

from __future__ import annotations

from decimal import Decimal
from itertools import combinations

from trimtab.domain.autoscaler import MOST_STABILIZATION
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.space import AutoscalerField, Numeric, Order, Parameter, ReplicaCount, SearchSpace

MOST_TOLERANCE = Decimal(100)
LEAST = {"MinReplicas": 1, "MaxReplicas": 1, "CPUUtilization": 1, "MemoryUtilization": 1}
SPECIAL = {"tolerance": MOST_TOLERANCE, "stabilization": Decimal(MOST_STABILIZATION)}


def check_scaling(space: SearchSpace) -> None:
    """Every range is one that Kubernetes takes, and no two parameters decide on the same thing.

    Raises:
        InvalidSpec: names the first field and the remedy.
    """
    scaling = [p for p in space.parameters if isinstance(p.locus, AutoscalerField | ReplicaCount)]
    for parameter in scaling:
        _range(parameter)
    for one, other in combinations(scaling, 2):
        _apart(one, other)
        _crossing(space, one, other)
        _crossing(space, other, one)


def _range(parameter: Parameter) -> None:
    domain, locus = parameter.domain, parameter.locus
    assert isinstance(domain, Numeric)
    field = f"spec.parameters[{parameter.name}]"
    kind = "integer" if domain.integer else "decimal"
    name = locus.field if isinstance(locus, AutoscalerField) else "replicas"
    if "Tolerance" not in name and not domain.integer:
        raise InvalidSpec(f"{field}.decimal", f"{name} is a whole number", "use integer {min, max, step}")
    least = LEAST.get(name, 1 if isinstance(locus, ReplicaCount) else 0)
    if domain.minimum < least:
        raise InvalidSpec(f"{field}.{kind}.min", f"{name} must be at least {least}", f"raise min to {least}")
    most = next((value for words, value in SPECIAL.items() if words in name.lower()), None)
    if most is not None and domain.maximum > most:
        raise InvalidSpec(f"{field}.{kind}.max", f"{name} may be at most {most}", f"lower max to {most}")


def _apart(one: Parameter, other: Parameter) -> None:
    a, b, field = one.locus, other.locus, f"spec.parameters[{other.name}]"
    if not isinstance(a, AutoscalerField) or not isinstance(b, AutoscalerField):
        problem = f"{one.name} and {other.name} both decide on the number of pods"
        raise InvalidSpec(field, problem, "tune replicas of a fixed-size target, or fields of its autoscaler")
    if a.name != b.name:
        raise InvalidSpec(f"{field}.autoscaler.name", f"{one.name} names another one", "tune one autoscaler")
    if (a.field, a.metric_container) == (b.field, b.metric_container):
        raise InvalidSpec(f"{field}.autoscaler.field", f"{one.name} sets the same field", "remove one of them")


def _crossing(space: SearchSpace, low: Parameter, high: Parameter) -> None:
    """minReplicas above maxReplicas is refused by Kubernetes."""
    fields = [p.locus.field if isinstance(p.locus, AutoscalerField) else "" for p in (low, high)]
    if fields != ["MinReplicas", "MaxReplicas"]:
        return
    assert isinstance(low.domain, Numeric)
    assert isinstance(high.domain, Numeric)
    ordered = any(isinstance(r, Order) and (r.lower, r.upper) == (low.name, high.name) for r in space.constraints)
    if not ordered and low.domain.maximum > high.domain.minimum:
        problem = f"{low.name} may exceed {high.name}, and Kubernetes refuses minReplicas above maxReplicas"
        remedy = f"add order: {{lower: {low.name}, upper: {high.name}}}"
        raise InvalidSpec("spec.parameterConstraints", problem, remedy)


__all__ = ["check_scaling"]
