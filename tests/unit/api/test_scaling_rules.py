"""What Kubernetes would refuse of an autoscaler's fields is refused by the spec already, with the field.

The API server's words are in `tests/cluster/manifests/bad/scaling.yaml`.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.cluster.manifests import table

from trimtab.api.experiment import ExperimentSpec
from trimtab.api.problems import Unreadable, read

CASES = [case for case in table.bad() if case.table == "scaling"]


def problems(spec: dict[str, Any]) -> list[str]:
    try:
        read(ExperimentSpec, spec, "spec")
    except Unreadable as error:
        return [f"{p.field}: {p.problem}; {p.remedy}" for p in error.problems]
    return []


def bound(name: str, field: str, low: int, high: int, **autoscaler: Any) -> dict[str, Any]:
    return {"name": name, "autoscaler": {"field": field, **autoscaler}, "integer": {"min": low, "max": high}}


def scaled(*parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**table.good()["autoscaler"]["spec"], "parameters": list(parameters), **more}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_lint_says_what_the_server_says(case: table.Case) -> None:
    (said,) = problems(case.manifest["spec"])
    field, _, words = said.partition(": ")
    assert words in case.message
    assert field in case.message


@pytest.mark.parametrize(
    "spec",
    [
        scaled(bound("least", "MinReplicas", 1, 5), bound("most", "MaxReplicas", 5, 20)),
        scaled(
            bound("most", "MaxReplicas", 4, 20),
            bound("least", "MinReplicas", 1, 5),
            parameterConstraints=[{"name": "bounds", "order": {"lower": "least", "upper": "most"}}],
        ),
        scaled(
            bound("all", "CPUUtilization", 50, 60),
            bound("one", "CPUUtilization", 50, 60, metric={"container": "web"}),
        ),
        scaled(
            bound("slack", "ScaleUpTolerancePercent", 0, 100), bound("wait", "ScaleUpStabilizationSeconds", 0, 3600)
        ),
        scaled({"name": "replicas", "replicas": {}, "integer": {"min": 1, "max": 9}}),
    ],
)
def test_what_is_fine(spec: dict[str, Any]) -> None:
    assert problems(spec) == []
