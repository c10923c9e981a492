"""What the API server fills in of an object's spec by itself, where the kind's definition says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trimtab.domain import kinds
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest

GATEWAY = {"group": kinds.HTTP_ROUTES.group, "kind": "Gateway"}
SERVICE = {"group": "", "kind": "Service", "weight": 1}
PATH = {"type": "PathPrefix", "value": "/"}
Change = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def with_defaults(kind: Kind, obj: Manifest) -> Manifest:
    """The object as the server would store it; the same one for kinds without defaults."""
    if kind != kinds.HTTP_ROUTES:
        return obj
    spec = dict(obj.get("spec") or {})
    spec.setdefault("rules", [{}])
    spec["rules"] = [_rule(rule) for rule in spec["rules"]]
    if "parentRefs" in spec:
        spec["parentRefs"] = [GATEWAY | ref for ref in spec["parentRefs"]]
    return {**obj, "spec": spec}


def _rule(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    matches = [_match(match) for match in rule.get("matches") or [{}]]
    found = {**rule, "matches": matches}
    if "backendRefs" in rule:
        found["backendRefs"] = [SERVICE | dict(ref) for ref in rule["backendRefs"]]
    return found


def _match(match: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**match, "path": PATH | dict(match.get("path") or {})}


__all__ = ["with_defaults"]
