"""What the API server fills in of an object's spec by itself, where the kind's definition says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.domain import kinds
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest

GATEWAY = {"group": kinds.HTTP_ROUTES.group, "kind": "Gateway"}
SERVICE = {"group": "", "kind": "Service", "weight": 1}
PATH = {"type": "PathPrefix", "value": "/"}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
WHOLE = {"type": "Percent", "value": 100, "periodSeconds": 15}
SCALE_UP = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, WHOLE],
}
SCALE_DOWN = {"selectPolicy": "Max", "policies": [WHOLE]}


def with_defaults(kind: Kind, obj: Manifest) -> Manifest:
    """The object as the server would store it; the same one for kinds without defaults."""
    if kind == kinds.HTTP_ROUTES:
        return {**obj, "spec": _route(obj.get("spec") or {})}
    if kind == kinds.HORIZONTAL_POD_AUTOSCALERS:
        return {**obj, "spec": _autoscaler(obj.get("spec") or {})}
    return obj


def _autoscaler(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    found = {"minReplicas": 1, **spec}
    found["metrics"] = list(spec.get("metrics") or ()) or [CPU]
    if spec.get("behavior") is not None:
        rules: Mapping[str, dict[str, Any]] = {"scaleUp": SCALE_UP, "scaleDown": SCALE_DOWN}
        found["behavior"] = {name: usual | dict(spec["behavior"].get(name) or {}) for name, usual in rules.items()}
    return found


def _route(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    found = {**spec, "rules": [_rule(rule) for rule in spec.get("rules", [{}])]}
    if "parentRefs" in spec:
        found["parentRefs"] = [GATEWAY | dict(ref) for ref in spec["parentRefs"]]
    return found


def _rule(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    matches = [_match(match) for match in rule.get("matches") or [{}]]
    found = {**rule, "matches": matches}
    if "backendRefs" in rule:
        found["backendRefs"] = [SERVICE | dict(ref) for ref in rule["backendRefs"]]
    return found


def _match(match: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**match, "path": PATH | dict(match.get("path") or {})}


__all__ = ["with_defaults"]
