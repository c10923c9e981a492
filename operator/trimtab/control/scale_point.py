"""The use of a pod at which its autoscaler adds more: a utilization target times a request. Pure.

Both can be tuned, and only their product says when pods are added: half the request at twice the target scales at the
same use, and a smaller request alone makes more pods.
"""

from __future__ import annotations

from decimal import Decimal

from trimtab.control.arms import tuned, write
from trimtab.control.preflight_capacity import resized
from trimtab.control.scaling import autoscaler_changes, autoscaler_of
from trimtab.domain.autoscaler import AutoscalerChanges, AutoscalerView, ScaleChanges, UtilizationPoint
from trimtab.domain.kube import ContainerView, Surroundings, Target
from trimtab.domain.space import Apply, Assignment, Resource
from trimtab.domain.spec import ExperimentSpec


def scale_points(
    spec: ExperimentSpec, target: Target, view: AutoscalerView, assignment: Assignment
) -> tuple[UtilizationPoint, ...]:
    """One for each metric of the autoscaler that is a utilization; without those whose request is not set."""
    containers = (*resized(spec, target, assignment), *(c for c in target.init_containers if c.sidecar))
    return points_of(view, autoscaler_changes(spec, view, assignment), containers)


def points_of(
    view: AutoscalerView, changes: AutoscalerChanges, containers: tuple[ContainerView, ...]
) -> tuple[UtilizationPoint, ...]:
    """The same where these are the containers of a pod that have requests: those that keep running."""
    changed = {(t.resource.value, t.container): t.percent for t in changes.targets}
    found = []
    for metric in view.metrics:
        if metric.utilization is None or metric.name not in {r.value for r in Resource}:
            continue
        percent = changed.get((metric.name, metric.container), metric.utilization)
        request = _request(containers, Resource(metric.name), metric.container)
        if request is not None:
            found.append(UtilizationPoint(Resource(metric.name), metric.container, percent, request))
    return tuple(found)


def _request(containers: tuple[ContainerView, ...], resource: Resource, name: str) -> Decimal | None:
    """Of one container, or of all of a pod; None where one that counts sets none: the autoscaler stands still then."""
    amounts = [c.resources.request(resource) for c in containers if not name or c.name == name]
    known = [a for a in amounts if a is not None]
    return sum(known, Decimal(0)) if known and len(known) == len(amounts) else None


def scale_changes(
    spec: ExperimentSpec, target: Target, surroundings: Surroundings, baseline: Assignment, assignment: Assignment
) -> ScaleChanges:
    """What a recommendation changes of the number of pods, and where its autoscaler adds more, if it has one.

    Raises:
        BaselineError: the autoscaler lacks what is tuned.
    """
    tuned_count, view = spec.replicas_parameter, autoscaler_of(spec, surroundings)
    replicas = int(assignment.number(tuned_count.name)) if tuned_count is not None else None
    if view is None:
        return ScaleChanges(replicas)
    before, after = (scale_points(spec, target, view, a) for a in (baseline, assignment))
    return ScaleChanges(replicas, view, autoscaler_changes(spec, view, assignment), before, after)


def moving(spec: ExperimentSpec, points: tuple[UtilizationPoint, ...]) -> bool:
    """Whether requests are tuned that these points are shares of."""
    requests = {(locus.resource, locus.container) for _, locus in tuned(spec) if locus.apply is not Apply.LIMITS}
    return any(p.resource is r and p.container in {"", c} for p in points for r, c in requests)


def point_words(points: tuple[UtilizationPoint, ...]) -> str:
    """`1.4 cores a pod (70 % of 2)`, joined by commas."""
    return ", ".join(f"{_amount(p)} a pod ({p.percent} % of {write(p.resource, p.request)})" for p in points)


def _amount(point: UtilizationPoint) -> str:
    of = f" of container {point.container}" if point.container else ""
    if point.resource is Resource.CPU:
        return f"{float(point.value):.3g} cores{of}"
    return f"{float(point.value) / 2**20:.4g} MiB of memory{of}"


def compared(before: tuple[UtilizationPoint, ...], after: tuple[UtilizationPoint, ...]) -> str:
    """`1.4 cores a pod (70 % of 2) -> 0.85 cores a pod (85 % of 1)`, "" where nothing changes."""
    return "" if before == after else f"{point_words(before)} -> {point_words(after)}"


__all__ = ["compared", "moving", "point_words", "points_of", "scale_changes", "scale_points"]
