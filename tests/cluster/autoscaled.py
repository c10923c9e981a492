"""A target with an autoscaler and a route on the real control plane: its manifests, as its team applies them, and what
must be true of them after a trial."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from controlplane import ApiClient, wait_for

ROUTES, AUTOSCALERS, TEAM = "gateway.networking.k8s.io/v1", "autoscaling/v2", "team"
SHARE = 0.2
UTILIZATION = 20  # percent: a pod uses 0.4 cores of its two
FASTER = 14  # what a canary with pods at less use has
MANAGERS = {TEAM, "kube-controller-manager", "trimtab-playground"}
Obj = dict[str, Any]


def manifests(namespace: str, utilization: int = UTILIZATION) -> tuple[Obj, Obj]:
    """The route, and the autoscaler: both arms' share is within its tolerance, and trials may be short."""
    route_ = {
        "apiVersion": ROUTES,
        "kind": "HTTPRoute",
        "metadata": {"name": "shop", "namespace": namespace},
        "spec": {
            "parentRefs": [{"name": "gateway"}],
            "rules": [{"name": "pages", "backendRefs": [{"name": "web", "port": 80}]}],
        },
    }
    metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": utilization}}
    autoscaler_ = {
        "apiVersion": AUTOSCALERS,
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": namespace, "labels": {"team": "web"}, "annotations": {"page": "wiki"}},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 6,
            "maxReplicas": 36,
            "metrics": [{"type": "Resource", "resource": metric}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5, "tolerance": "0.6"}},
        },
    }
    return route_, autoscaler_


def applied(client: ApiClient, namespace: str, utilization: int = UTILIZATION) -> Obj:
    """The team applies both; the autoscaler once it scales by what pods use and the route is accepted."""
    for manifest in manifests(namespace, utilization):
        client.server_side_apply(manifest, TEAM)
    accepted = lambda: (route(client, namespace).get("status") or {}).get("parents")  # noqa: E731
    wait_for(accepted, "the Gateway to accept the route")
    wait_for(lambda: active(autoscaler(client, namespace)), "the HPA controller to find metrics", seconds=120)
    return autoscaler(client, namespace)


def taken_away(client: ApiClient, namespace: str) -> None:
    """The team deletes both."""
    client.delete(ROUTES, "HTTPRoute", "shop", namespace)
    client.delete(AUTOSCALERS, "HorizontalPodAutoscaler", "web", namespace)


def route(client: ApiClient, namespace: str) -> Obj:
    found: Obj = client.get(ROUTES, "HTTPRoute", "shop", namespace)
    return found


def autoscaler(client: ApiClient, namespace: str) -> Obj:
    found: Obj = client.get(AUTOSCALERS, "HorizontalPodAutoscaler", "web", namespace)
    return found


def active(found: Obj) -> bool:
    """It scales by its metrics: none is missing, and nobody else counts its pods."""
    conditions = {c["type"]: c["status"] for c in (found.get("status") or {}).get("conditions") or ()}
    return conditions.get("ScalingActive") == "True"


def as_before(client: ApiClient, namespace: str, before: Obj) -> None:
    """Route and autoscaler are what they were, and their team's unchanged manifests change nothing and meet nobody."""
    now, goal = autoscaler(client, namespace), before["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"]
    for part in ("labels", "annotations", "uid"):
        assert now["metadata"].get(part) == before["metadata"].get(part)
    assert now["spec"] == before["spec"]
    assert weights(client, namespace) == {"web": 1}
    for manifest, look in zip(manifests(namespace, goal), (route, autoscaler), strict=True):
        old = look(client, namespace)
        client.server_side_apply(manifest, TEAM)
        new = look(client, namespace)
        assert new["spec"] == old["spec"]
        assert {entry["manager"] for entry in new["metadata"]["managedFields"]} <= MANAGERS


def owned(found: Mapping[str, Any]) -> Obj:
    """What the team would miss of a route: its spec and annotations, and who owns which field of them."""
    metadata = found["metadata"]
    entries = [entry for entry in metadata["managedFields"] if entry.get("subresource") != "status"]
    owners = sorted((entry["manager"], entry["operation"], json.dumps(entry["fieldsV1"])) for entry in entries)
    return {"spec": found["spec"], "annotations": metadata.get("annotations") or {}, "owners": owners}


def weights(client: ApiClient, namespace: str) -> dict[str, int]:
    """Of the rule, by backend."""
    (rule,) = route(client, namespace)["spec"]["rules"]
    return {r["name"]: r["weight"] for r in rule["backendRefs"]}


def sections(canary_percent: float = 100 * SHARE) -> dict[str, Any]:
    """What the spec of an Experiment has that tunes it."""
    chosen = {"name": "shop", "ruleName": "pages", "backendService": "web", "canaryPercent": f"{canary_percent:g}"}
    target = {
        "name": "busy",
        "autoscaler": {"field": "CPUUtilization"},
        "integer": {"min": FASTER, "max": UTILIZATION, "step": UTILIZATION - FASTER},
        "maxDecreasePercent": "50",
    }
    return {"parameters": [target], "traffic": {"mode": "HTTPRoute", "httpRoute": chosen}}
