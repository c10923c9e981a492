"""A target with an autoscaler whose arms scale, too."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from tests.unit.control import builders

from trimtab.domain.autoscaler import AutoscalerView, MetricView
from trimtab.domain.kube import ContainerView, Resources, Surroundings, Target
from trimtab.domain.space import (
    Apply,
    Assignment,
    AutoscalerField,
    ContainerResource,
    LimitsRule,
    Numeric,
    Parameter,
    ParameterConstraint,
    ReplicaCount,
    Resource,
    Scale,
    SearchSpace,
)
from trimtab.domain.spec import ExperimentSpec

D = Decimal
ROUTE = replace(builders.ROUTE, share=0.05)
CPU = MetricView("Resource", "cpu", utilization=70)
SCALER = AutoscalerView(
    "web-hpa",
    "Deployment",
    "web",
    0.15,
    uid="hpa-uid",
    minimum=40,
    maximum=200,
    current=100,
    metrics=(CPU,),
    rest="rest",
)


def whole(called: str, field: str, low: int, high: int, step: int = 1, **locus: str) -> Parameter:
    """A field of the autoscaler."""
    scale = Scale.LOGIT if field.endswith("Utilization") else Scale.LINEAR
    return Parameter(called, AutoscalerField(field, **locus), Numeric(D(low), D(high), D(step), scale, integer=True))


def cores(low: str = "0.5", high: str = "4") -> Parameter:
    locus = ContainerResource("web", Resource.CPU, Apply.REQUESTS, LimitsRule.RATIO)
    return Parameter("cpu", locus, Numeric(D(low), D(high), D("0.5"), Scale.LOG))


def count(low: int = 2, high: int = 200) -> Parameter:
    return Parameter("replicas", ReplicaCount(), Numeric(D(low), D(high), D(1), Scale.LINEAR, integer=True))


UTILIZATION = whole("target", "CPUUtilization", 50, 85, 5)
LEAST = whole("least", "MinReplicas", 10, 60, 10)
MOST = whole("most", "MaxReplicas", 150, 300, 50)
DOWN = whole("down", "ScaleDownStabilizationSeconds", 0, 300, 60)
UP = whole("up", "ScaleUpStabilizationSeconds", 0, 120, 30)
TOLERANCE_DOWN = whole("easy", "ScaleDownTolerancePercent", 0, 20, 5)
TOLERANCE_UP = whole("eager", "ScaleUpTolerancePercent", 0, 20, 5)
ALL = (UTILIZATION, LEAST, MOST, DOWN, UP, TOLERANCE_DOWN, TOLERANCE_UP)


def spec(*parameters: Parameter, rules: tuple[ParameterConstraint, ...] = (), **changes: Any) -> ExperimentSpec:
    """In mode HTTPRoute, with trials long enough for a scale-down."""
    made = builders.spec(space=SearchSpace(parameters, rules), route=ROUTE)
    made = replace(
        made, trial=replace(made.trial, duration=600.0), verification=replace(made.verification, duration=900)
    )
    return replace(made, **changes)


def target(**changes: Any) -> Target:
    """100 pods of 2 cores."""
    resources = Resources(D(2), D(2), D(2**30), D(2**30))
    container = ContainerView("web", "registry.example/web:1", resources)
    return builders.target(**{"replicas": 100, "ready_replicas": 100, "containers": (container,), **changes})


def around(*scalers: AutoscalerView, **changes: Any) -> Surroundings:
    """With the autoscaler, or those that are given."""
    return builders.surroundings(
        **{
            "autoscalers": scalers or (SCALER,),
            "kubernetes_version": "v1.36.3",
            "ready_service_endpoints": 100,
            **changes,
        }
    )


def assigned(**values: int | str) -> Assignment:
    return Assignment.of({name: D(value) for name, value in values.items()})
