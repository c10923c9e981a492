"""How many pods: parameters of the target's autoscaler and its replicas, and what becomes of them in an arm. Pure.

An arm gets a share s of the load, so its autoscaler is the target's own with bounds of that size:
min' = max(1, ceil(s min)), max' = max(min', ceil(s max)). A target of fixed size R is emulated by the share alone: n
pods that get n / R of the load see what each of R pods would see.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from decimal import Decimal

from trimtab.control.values import BaselineError, inside
from trimtab.domain.autoscaler import (
    AutoscalerChanges,
    AutoscalerPlan,
    AutoscalerView,
    UtilizationTarget,
)
from trimtab.domain.kube import Surroundings, Target
from trimtab.domain.space import Assignment, AutoscalerField, Categorical, Parameter, ReplicaCount, Resource
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.state import ScaledBy

UTILIZATION = {"CPUUtilization": Resource.CPU, "MemoryUtilization": Resource.MEMORY}
BOUNDS = {"MinReplicas": "minimum", "MaxReplicas": "maximum"}
WINDOWS = {"ScaleDownStabilizationSeconds": "stabilization_down", "ScaleUpStabilizationSeconds": "stabilization_up"}
TOLERANCES = {"ScaleDownTolerancePercent": "tolerance", "ScaleUpTolerancePercent": "tolerance_up"}
ROUNDING = 1e-9

Tuned = tuple[tuple[Parameter, AutoscalerField], ...]


def fields(spec: ExperimentSpec) -> Tuned:
    """The parameters that are fields of an autoscaler."""
    return tuple((p, p.locus) for p in spec.space.parameters if isinstance(p.locus, AutoscalerField))


def autoscaler_of(spec: ExperimentSpec, surroundings: Surroundings) -> AutoscalerView | None:
    """The target's autoscaler, the one that parameters name; None where there is none, or nobody can tell which."""
    names = {locus.name for _, locus in fields(spec) if locus.name}
    found = [a for a in surroundings.autoscalers if not names or a.name in names]
    return found[0] if len(found) == 1 else None


def arms_autoscaler(spec: ExperimentSpec, surroundings: Surroundings) -> AutoscalerView | None:
    """The autoscaler that arms get a copy of; None where they have a fixed number of pods: the Services' balancing
    would send more traffic to an arm that grows."""
    return autoscaler_of(spec, surroundings) if spec.route is not None else None


def scaled_by(spec: ExperimentSpec, target: Target, surroundings: Surroundings) -> ScaledBy | None:
    """What decides how many pods arms have, and the utilization that it goes by: the one that is tuned, else its first.
    None where the number is fixed."""
    view = arms_autoscaler(spec, surroundings)
    if view is None:
        return None
    replicas = max(target.replicas, 1)
    tuned = {(UTILIZATION[a.field].value, a.metric_container) for _, a in fields(spec) if a.field in UTILIZATION}
    known = [m for m in view.metrics if m.utilization is not None]
    metric = next((m for m in known if (m.name, m.container) in tuned), known[0] if known else None)
    if metric is None:
        return ScaledBy(view.name, replicas, tolerance=view.tolerance_up)
    share = (metric.utilization or 0) / 100
    by = ScaledBy(view.name, replicas, Resource(metric.name), metric.container, share, view.tolerance_up)
    # Of memory a pod uses most whatever its load, so that its use does not say how many pods there would be.
    alone = by.resource is Resource.CPU and len(view.metrics) == 1
    return replace(by, minimum=view.minimum, maximum=view.maximum) if alone else by


# Today


def present_scaling(spec: ExperimentSpec, target: Target, surroundings: Surroundings, parameter: Parameter) -> Decimal:
    """What the target's autoscaler, or its `replicas`, has today.

    Raises:
        BaselineError: nothing that a trial could be compared with, or it lies outside the parameter's range.
    """
    locus = parameter.locus
    if isinstance(locus, ReplicaCount):
        value, words = _replicas(target, surroundings, parameter), f"Deployment {target.name} has replicas"
    else:
        assert isinstance(locus, AutoscalerField)
        view = _required(spec, target, surroundings, parameter, locus)
        value, words = _field(view, parameter, locus), f"HorizontalPodAutoscaler {view.name} has {locus.field}"
    inside(parameter, value, words)
    return value


def _replicas(target: Target, surroundings: Surroundings, parameter: Parameter) -> Decimal:
    for view in surroundings.autoscalers:
        problem = f"HorizontalPodAutoscaler {view.name} decides on the replicas of Deployment {target.name}"
        remedy = "tune its bounds: autoscaler: {field: MinReplicas} and {field: MaxReplicas}"
        raise BaselineError("AutoscaledTarget", f"spec.parameters[{parameter.name}].replicas", problem, remedy)
    return Decimal(target.replicas)


def _required(
    spec: ExperimentSpec, target: Target, surroundings: Surroundings, parameter: Parameter, locus: AutoscalerField
) -> AutoscalerView:
    field = f"spec.parameters[{parameter.name}].autoscaler"
    names = ", ".join(a.name for a in surroundings.autoscalers)
    view = autoscaler_of(spec, surroundings)
    if view is None and locus.name:
        other = next((a for a in surroundings.other_autoscalers if a.name == locus.name), None)
        remedy = f"use one that does: {names}" if names else "create one that does, or remove the parameter"
        if other is not None:
            problem = f"it scales {other.target_kind} {other.target_name}, not Deployment {target.name}"
            raise BaselineError("AutoscalerElsewhere", f"{field}.name", f"{locus.name}: {problem}", remedy)
        problem = f"HorizontalPodAutoscaler {locus.name} does not exist"
        raise BaselineError("AutoscalerNotFound", f"{field}.name", problem, remedy)
    if view is None and names:
        problem = f"several scale Deployment {target.name}: {names}"
        raise BaselineError("AutoscalerAmbiguous", f"{field}.name", problem, "name the one that is meant")
    if view is None:
        problem = f"no HorizontalPodAutoscaler scales Deployment {target.name}"
        raise BaselineError("NoAutoscaler", field, problem, "create one, or tune replicas instead")
    if view.given_by:
        problem = (
            f"HorizontalPodAutoscaler {view.name} belongs to {view.given_by}, which puts back what is changed in it"
        )
        remedy = f"remove the parameter, or replace {view.given_by} by a HorizontalPodAutoscaler of your own"
        raise BaselineError("AutoscalerOwned", field, problem, remedy)
    return view


def _field(view: AutoscalerView, parameter: Parameter, locus: AutoscalerField) -> Decimal:
    if locus.field in UTILIZATION:
        return _utilization(view, parameter, locus)
    if locus.field in TOLERANCES:
        return percent_of(getattr(view, TOLERANCES[locus.field]))
    return Decimal(int(getattr(view, (BOUNDS | WINDOWS)[locus.field])))


def percent_of(fraction: float) -> Decimal:
    """A fraction as an exact number of percent: 0.1 is 10."""
    return Decimal(format(Decimal(str(round(100 * fraction, 9))).normalize(), "f"))


def _utilization(view: AutoscalerView, parameter: Parameter, locus: AutoscalerField) -> Decimal:
    resource, where = UTILIZATION[locus.field].value, f"HorizontalPodAutoscaler {view.name}"
    kind = "ContainerResource" if locus.metric_container else "Resource"
    field = f"spec.parameters[{parameter.name}].autoscaler" + (".metric" if locus.metric_container else "")
    same = [m for m in view.metrics if (m.kind, m.name, m.container) == (kind, resource, locus.metric_container)]
    found = next((m.utilization for m in same if m.utilization is not None), None)
    if found is not None:
        return Decimal(found)
    listed = ", ".join(m.words for m in view.metrics) or "none"
    if same:
        problem = f"{where} scales by an average value of {resource}, not by its utilization"
        raise BaselineError("NoUtilizationMetric", field, problem, "give the metric a target of type Utilization")
    of = f" of container {locus.metric_container}" if locus.metric_container else ""
    problem = f"{where} has no metric {resource}{of}; it has {listed}"
    containers = [m.container for m in view.metrics if m.kind == "ContainerResource" and m.name == resource]
    whole = any(m.kind == "Resource" and m.name == resource for m in view.metrics)
    remedy = f"set metric.container to {containers[0]}" if containers else f"add a Resource metric of {resource}"
    if locus.metric_container and whole and not containers:
        remedy = "remove metric: the autoscaler counts all containers of a pod together"
    raise BaselineError("NoUtilizationMetric", field, problem, f"{remedy}, or remove the parameter")


# What an assignment makes of it


def autoscaler_changes(spec: ExperimentSpec, view: AutoscalerView, assignment: Assignment) -> AutoscalerChanges:
    """The fields that an assignment has other than the autoscaler; the others are left as they stand."""
    found: dict[str, Decimal] = {}
    targets: list[UtilizationTarget] = []
    for parameter, locus in fields(spec):
        value = assignment.number(parameter.name)
        if value == _field(view, parameter, locus):
            continue
        if locus.field in UTILIZATION:
            targets.append(UtilizationTarget(UTILIZATION[locus.field], locus.metric_container, int(value)))
        else:
            found[locus.field] = value
    whole = {name: int(value) for name, value in found.items()}
    fractions = {name: value / 100 for name, value in found.items()}
    return AutoscalerChanges(
        minimum=whole.get("MinReplicas"),
        maximum=whole.get("MaxReplicas"),
        targets=tuple(targets),
        stabilization_down=whole.get("ScaleDownStabilizationSeconds"),
        stabilization_up=whole.get("ScaleUpStabilizationSeconds"),
        tolerance_down=fractions.get("ScaleDownTolerancePercent"),
        tolerance_up=fractions.get("ScaleUpTolerancePercent"),
    )


def scaled_bounds(minimum: int, maximum: int, share: float) -> tuple[int, int]:
    """Least and greatest number of pods of an arm that gets `share` of the load."""
    low = max(1, math.ceil(minimum * share - ROUNDING))
    return low, max(low, math.ceil(maximum * share - ROUNDING))


def autoscaler_plan(spec: ExperimentSpec, surroundings: Surroundings, assignment: Assignment) -> AutoscalerPlan | None:
    """The autoscaler of an arm with this assignment; None where it has a fixed number of pods.

    Raises:
        BaselineError: the target's autoscaler lacks what is tuned.
    """
    view = arms_autoscaler(spec, surroundings)
    if view is None:
        return None
    changes = autoscaler_changes(spec, view, assignment)
    least = view.minimum if changes.minimum is None else changes.minimum
    most = view.maximum if changes.maximum is None else changes.maximum
    return AutoscalerPlan(view, *scaled_bounds(least, most, spec.route_share(assignment)), changes)


def first_pods(spec: ExperimentSpec, plan: AutoscalerPlan | None, replicas: int, assignment: Assignment) -> int:
    """The pods with which an arm begins: of `replicas` pods of the target its share, within its autoscaler's bounds."""
    if plan is None:
        return spec.canary.replicas
    wanted = max(spec.canary.replicas, round(replicas * spec.route_share(assignment)))
    return min(max(wanted, plan.minimum), plan.maximum)


def most_pods(spec: ExperimentSpec, surroundings: Surroundings) -> int:
    """The greatest number of pods that any arm may come to have."""
    view = arms_autoscaler(spec, surroundings)
    if view is None or spec.route is None:
        return spec.canary.replicas
    ranges = [p.domain for p, locus in fields(spec) if locus.field == "MaxReplicas"]
    most = max([view.maximum, *(int(r.maximum) for r in ranges if not isinstance(r, Categorical))])
    return max(spec.canary.replicas, scaled_bounds(1, most, spec.route.share)[1])


# What trials are compared under


def context_hash(spec: ExperimentSpec, target: Target, surroundings: Surroundings) -> str:
    """A digest of what stays the same in all trials: the pod template, and of an autoscaler that arms get a copy of
    everything that no parameter sets."""
    view = arms_autoscaler(spec, surroundings)
    if view is None:
        return target.template_hash
    tuned = {locus.field for _, locus in fields(spec)}
    named = (BOUNDS | WINDOWS | TOLERANCES).items()
    kept = [(attribute, getattr(view, attribute)) for field, attribute in named if field not in tuned]
    free = {(UTILIZATION[a.field].value, a.metric_container) for _, a in fields(spec) if a.field in UTILIZATION}
    metrics = [replace(m, utilization=None) if (m.name, m.container) in free else m for m in view.metrics]
    return hashlib.sha256(repr((target.template_hash, view.name, view.rest, kept, metrics)).encode()).hexdigest()[:16]


def rescaled(spec: ExperimentSpec, target: Target, surroundings: Surroundings, baseline: Assignment) -> tuple[str, str]:
    """Reason and words when today's values of these parameters are not the recorded ones any more, ("", "") while they
    are."""
    for parameter in spec.space.parameters:
        if not isinstance(parameter.locus, AutoscalerField | ReplicaCount):
            continue
        fixed = isinstance(parameter.locus, ReplicaCount)
        reason = "TargetScaled" if fixed else "AutoscalerChanged"
        try:
            now = present_scaling(spec, target, surroundings, parameter)
        except BaselineError as error:
            return reason, str(error)
        was = baseline.number(parameter.name)
        if now != was:
            before, after = parameter.format(was), parameter.format(now)
            return reason, f"{parameter.name} of the target was changed from {before} to {after} during the experiment"
    return "", ""
