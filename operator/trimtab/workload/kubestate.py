"""What kube-state-metrics tells of Deployments and autoscalers, by name of the series; shared by both worlds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Manifest = Mapping[str, Any]

SPEC: Final = "kube_deployment_spec_replicas"
REPLICAS: Final = "kube_deployment_status_replicas"
READY: Final = "kube_deployment_status_replicas_ready"
AVAILABLE: Final = "kube_deployment_status_replicas_available"
DESIRED: Final = "kube_horizontalpodautoscaler_status_desired_replicas"
NAMES: Final = (SPEC, REPLICAS, READY, AVAILABLE, DESIRED)


def of_deployment(obj: Manifest) -> dict[str, int]:
    """Replicas that are wanted, there, ready and available; a count that the status lacks is zero."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    counts = {REPLICAS: "replicas", READY: "readyReplicas", AVAILABLE: "availableReplicas"}
    return {SPEC: int(spec.get("replicas", 1))} | {n: int(status.get(key, 0)) for n, key in counts.items()}


def of_autoscaler(obj: Manifest) -> dict[str, int]:
    """Replicas that it wants; zero before its first look."""
    return {DESIRED: int((obj.get("status") or {}).get("desiredReplicas", 0))}


__all__ = ["AVAILABLE", "DESIRED", "NAMES", "READY", "REPLICAS", "SPEC", "of_autoscaler", "of_deployment"]
