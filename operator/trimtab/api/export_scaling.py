"""The part of a recommendation that says how many pods: replicas and the autoscaler, in each form that pipelines take.

An autoscaler's `metrics` is one list to the API server, so whoever changes a target in it has to write all of it.
"""

from __future__ import annotations

from typing import Any

from trimtab.api.kube_autoscaler import changed_spec
from trimtab.domain.autoscaler import AutoscalerChanges, ScaleChanges, UtilizationPoint
from trimtab.domain.kinds import HORIZONTAL_POD_AUTOSCALERS
from trimtab.domain.quantity import format_cpu, format_memory
from trimtab.domain.space import Resource

HELM_TARGETS = {Resource.CPU: "targetCPUUtilizationPercentage", Resource.MEMORY: "targetMemoryUtilizationPercentage"}


def changes_autoscaler(scale: ScaleChanges) -> bool:
    return scale.autoscaler is not None and scale.changes != AutoscalerChanges()


def _changed(scale: ScaleChanges) -> tuple[dict[str, Any], dict[str, Any]]:
    """The autoscaler's spec now, and the parts of it that become another, whole."""
    assert scale.autoscaler is not None
    now = dict(scale.autoscaler.manifest["spec"])
    then = changed_spec(now, scale.changes)
    return now, {key: value for key, value in then.items() if value != now.get(key)}


def autoscaler_patch(scale: ScaleChanges, namespace: str) -> dict[str, Any]:
    """A merge patch of the autoscaler, which server-side apply takes, too."""
    assert scale.autoscaler is not None
    return {
        "apiVersion": HORIZONTAL_POD_AUTOSCALERS.api_version,
        "kind": HORIZONTAL_POD_AUTOSCALERS.name,
        "metadata": {"name": scale.autoscaler.name, "namespace": namespace},
        "spec": _changed(scale)[1],
    }


def autoscaler_json_patch(scale: ScaleChanges) -> list[dict[str, Any]]:
    """RFC 6902: refused by the API server where the autoscaler is not what trials were compared with."""
    now, parts = _changed(scale)
    patch: list[dict[str, Any]] = [
        {"op": "test", "path": f"/spec/{key}", "value": now[key]} for key in parts if key in now
    ]
    return patch + [
        {"op": "replace" if key in now else "add", "path": f"/spec/{key}", "value": value}
        for key, value in parts.items()
    ]


def helm_scaling(scale: ScaleChanges) -> dict[str, Any]:
    """Values in the layout of `helm create`."""
    found: dict[str, Any] = {} if scale.replicas is None else {"replicaCount": scale.replicas}
    changes = scale.changes
    autoscaling: dict[str, Any] = {}
    if changes.minimum is not None:
        autoscaling["minReplicas"] = changes.minimum
    if changes.maximum is not None:
        autoscaling["maxReplicas"] = changes.maximum
    autoscaling |= {HELM_TARGETS[t.resource]: t.percent for t in changes.targets if not t.container}
    if scale.autoscaler is not None and "behavior" in (parts := _changed(scale)[1]):
        autoscaling["behavior"] = parts["behavior"]
    return found | ({"autoscaling": autoscaling} if autoscaling else {})


def scale_document(scale: ScaleChanges) -> dict[str, Any]:
    """What `recommendation.json` says of it."""
    found: dict[str, Any] = {} if scale.replicas is None else {"replicas": scale.replicas}
    if scale.autoscaler is None:
        return found
    points = {"before": [*map(_point, scale.before)], "after": [*map(_point, scale.after)]}
    return found | {"autoscaler": {"name": scale.autoscaler.name, "spec": _changed(scale)[1], "addsPodsAbove": points}}


def _point(point: UtilizationPoint) -> dict[str, Any]:
    write = format_cpu if point.resource is Resource.CPU else format_memory
    of = {"container": point.container} if point.container else {}
    shown = {"use": write(point.value), "request": write(point.request), "utilizationPercent": point.percent}
    return {"resource": point.resource.value} | of | shown


__all__ = ["autoscaler_json_patch", "autoscaler_patch", "changes_autoscaler", "helm_scaling", "scale_document"]
