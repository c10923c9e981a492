"""What Kubernetes would refuse of an autoscaler's fields is refused by the spec already, with the field."""

from __future__ import annotations

import pytest
from tests.unit.control.scaled import DOWN, LEAST, MOST, UTILIZATION, count, whole

from trimtab.api.scaling_rules import check_scaling
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.space import Order, Parameter, ParameterConstraint, SearchSpace

WIDE = whole("most", "MaxReplicas", 20, 300, 10)


@pytest.mark.parametrize(
    ("parameters", "field", "words"),
    [
        ((whole("a", "MinReplicas", 0, 5),), "[a].integer.min", "must be at least 1"),
        ((whole("a", "CPUUtilization", 0, 80, 10),), "[a].integer.min", "raise min to 1"),
        ((count(0, 9),), "[replicas].integer.min", "must be at least 1"),
        ((whole("a", "ScaleDownStabilizationSeconds", 0, 3601),), "[a].integer.max", "at most 3600"),
        ((whole("a", "ScaleUpTolerancePercent", 0, 101),), "[a].integer.max", "at most 100"),
        ((count(), UTILIZATION), "[target]", "both decide on the number of pods"),
        ((UTILIZATION, whole("b", "MinReplicas", 1, 5, name="other")), "[b].autoscaler.name", "target names another"),
        ((UTILIZATION, whole("b", "CPUUtilization", 50, 60)), "[b].autoscaler.field", "target sets the same field"),
        ((LEAST, WIDE), "Constraints", "order: {lower: least, upper: most}"),
        ((WIDE, LEAST), "Constraints", "order: {lower: least, upper: most}"),
    ],
)
def test_what_is_refused(parameters: tuple[Parameter, ...], field: str, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words) as caught:
        check_scaling(SearchSpace(parameters))
    assert caught.value.field.endswith(field)
    assert caught.value.remedy


def test_a_fraction_of_a_pod_is_refused() -> None:
    halves = whole("a", "MinReplicas", 1, 5)
    fractional = Parameter(
        "a", halves.locus, type(halves.domain)(*list(vars(halves.domain).values())[:4], integer=False)
    )
    with pytest.raises(InvalidSpec, match="is a whole number"):
        check_scaling(SearchSpace((fractional,)))


@pytest.mark.parametrize(
    ("parameters", "rules"),
    [
        ((UTILIZATION, LEAST, MOST, DOWN), ()),
        ((LEAST, WIDE), (Order("ordered", "least", "most"),)),
        ((UTILIZATION, whole("b", "CPUUtilization", 50, 60, metric_container="web")), ()),
        ((count(),), ()),
    ],
)
def test_what_is_fine(parameters: tuple[Parameter, ...], rules: tuple[ParameterConstraint, ...]) -> None:
    check_scaling(SearchSpace(parameters, rules))
