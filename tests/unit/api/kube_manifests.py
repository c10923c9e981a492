"""Raw Kubernetes objects as an API server returns them, for the tests that read and clone them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.domain.names import (
    ANNOTATION_DEADLINE,
    LABEL_ARM,
    LABEL_EXPERIMENT,
    LABEL_EXPERIMENT_UID,
    LABEL_TRIAL,
)

Obj = dict[str, Any]
POD_LABELS = {"app.kubernetes.io/name": "web", "app.kubernetes.io/instance": "web-production", "tier": "front"}
SELECTOR = {"app.kubernetes.io/name": "web", "app.kubernetes.io/instance": "web-production"}


def deployment(*, pod: Mapping[str, Any] | None = None, spec: Mapping[str, Any] | None = None, **metadata: Any) -> Obj:
    """A settled Deployment of 20 pods; `pod` and `spec` replace top-level fields."""
    container = {
        "name": "web",
        "image": "registry.example/web:1.4.2",
        "resources": {"requests": {"cpu": "2", "memory": "2Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}},
    }
    pod_spec = {"containers": [container], "terminationGracePeriodSeconds": 10, **(pod or {})}
    return copy.deepcopy(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "uid": "target-uid", "generation": 3, **metadata},
            "spec": {
                "replicas": 20,
                "selector": {"matchLabels": SELECTOR},
                "strategy": {"type": "RollingUpdate"},
                "template": {"metadata": {"labels": POD_LABELS, "creationTimestamp": None}, "spec": pod_spec},
                **(spec or {}),
            },
            "status": {
                "observedGeneration": 3,
                "replicas": 20,
                "updatedReplicas": 20,
                "readyReplicas": 20,
                "availableReplicas": 20,
            },
        }
    )


def arm_labels(trial_uid: str = "trial-uid", arm: str = "canary") -> dict[str, str]:
    return {LABEL_EXPERIMENT: "web", LABEL_EXPERIMENT_UID: "exp-uid", LABEL_TRIAL: trial_uid, LABEL_ARM: arm}


def pod(name: str, labels: Mapping[str, str] | None = None, *, ready: bool = True, **status: Any) -> Obj:
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-05-01T10:00:00Z"}
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "labels": {"pod-template-hash": "6d4cf56db6", **(labels or {})},
            "annotations": {ANNOTATION_DEADLINE: "2026-05-01T11:00:00Z"},
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "web", "resources": {"requests": {"cpu": "500m"}}}]},
        "status": {"phase": "Running", "conditions": [condition], **status},
    }


def endpoint_slice(service: str, *endpoints: tuple[str, Mapping[str, Any]]) -> Obj:
    """Endpoints as (pod name, conditions)."""
    return {
        "metadata": {"name": f"{service}-x", "labels": {"kubernetes.io/service-name": service}},
        "endpoints": [
            {"conditions": dict(conditions), "targetRef": {"kind": "Pod", "name": name}}
            for name, conditions in endpoints
        ],
    }


def named(name: str, **spec: Any) -> Obj:
    """Any object of which only name and spec matter."""
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def service(name: str = "web", selector: Mapping[str, str] | None = None) -> Obj:
    return named(name, selector=dict(selector or {"app.kubernetes.io/name": "web"}))


def anti_affinity(*terms: Mapping[str, Any]) -> Obj:
    rule = "requiredDuringSchedulingIgnoredDuringExecution"
    return {"podAntiAffinity": {rule: [{"topologyKey": "kubernetes.io/hostname", **t} for t in terms]}}


def arguments(**lists: Sequence[Obj]) -> dict[str, Any]:
    """The lists that `surroundings_from` takes, empty unless given."""
    names = (
        "services",
        "autoscalers",
        "disruption_budgets",
        "vpas",
        "quotas",
        "limit_ranges",
        "network_policies",
        "endpoint_slices",
    )
    return {name: lists.get(name, ()) for name in names} | {"version": "v1.36.3"}
