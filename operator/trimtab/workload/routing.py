"""Which part of a service's load goes to which pods: by the weights of HTTPRoutes, else by the Service alone. Pure.

The load of a workload arrives for its target's Service. Where rules of HTTPRoutes send to that Service, the load comes
in through these rules, in equal parts, and each rule divides its part among its backends by weight; a gateway sends a
backend's part to its ready endpoints evenly. What is sent to a backend that has none fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass
from typing import Any, Final

Manifest = Mapping[str, Any]

NOWHERE: Final = ""
"""Stands for backends that are no Services of the namespace, and for rules whose weights are all zero."""
CONTROLLER: Final = "trimtab.dev/local-gateway"


def parts_of(routes: Iterable[Manifest], service: str) -> dict[str, float]:
    """Part of the service's load by the Service that gets it; they sum to 1.

    Args:
        routes: the HTTPRoutes of the service's namespace.
        service: the Service for which the load arrives.
    """
    attached = (route for route in routes if (route.get("spec") or {}).get("parentRefs"))
    rules = [rule for route in attached for rule in route["spec"].get("rules") or () if _leads_to(rule, service)]
    if not rules:
        return {service: 1.0}
    parts: dict[str, float] = {}
    for rule in rules:
        for name, part in _divided(rule).items():
            parts[name] = parts.get(name, 0.0) + part / len(rules)
    return parts


def _leads_to(rule: Manifest, service: str) -> bool:
    return any(_service_of(ref) == service for ref in rule.get("backendRefs") or ())


def _divided(rule: Manifest) -> dict[str, float]:
    """Part of a rule's requests by Service."""
    weights: dict[str, float] = {}
    for ref in rule["backendRefs"]:
        name = _service_of(ref)
        weights[name] = weights.get(name, 0.0) + float(ref.get("weight", 1))
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()} if total > 0 else {NOWHERE: 1.0}


def _service_of(ref: Manifest) -> str:
    """The Service that a backendRef names; a namespace makes it another's, which would need a grant."""
    is_service = (ref.get("group") or "", ref.get("kind") or "Service") == ("", "Service")
    return str(ref["name"]) if is_service and not ref.get("namespace") else NOWHERE


@dataclass(frozen=True)
class Division:
    """What each ready endpoint of a Service gets, as a part of the whole load, and which part is lost."""

    each: Mapping[str, float]
    lost: float


def divide(parts: Mapping[str, float], endpoints: Mapping[str, Sized]) -> Division:
    """Divide each Service's part evenly among its ready endpoints.

    Args:
        parts: see `parts_of`.
        endpoints: ready endpoints by Service; a Service that is not there has none.
    """
    counts = {name: len(endpoints[name]) if name in endpoints else 0 for name in parts}
    each = {name: part / counts[name] for name, part in parts.items() if counts[name]}
    return Division(each, sum(part for name, part in parts.items() if not counts[name]))


def accepted(route: Manifest, services: Iterable[str], now: str) -> dict[str, Any]:
    """The status that a gateway's controller writes: every parent has accepted the route.

    Args:
        route: the HTTPRoute with its present status.
        services: names of the Services of its namespace.
        now: as Kubernetes writes a time; of conditions that change.
    """
    missing = sorted({n for n in _named(route) if n not in set(services)})
    resolved = ("False", "BackendNotFound", f"no Service {', '.join(missing)}") if missing else ("True", "ResolvedRefs")
    told = (("Accepted", "True", "Accepted"), ("ResolvedRefs", *resolved))
    status = route.get("status") or {}
    parents = []
    for reference in route["spec"].get("parentRefs") or ():
        known = [p for p in status.get("parents") or () if p["parentRef"] == reference]
        before = {c["type"]: c for p in known for c in p["conditions"]}
        conditions = [_condition(before.get(each[0]), each, route, now) for each in told]
        parents.append({"parentRef": dict(reference), "controllerName": CONTROLLER, "conditions": conditions})
    return {"parents": parents}


def _named(route: Manifest) -> Iterable[str]:
    refs = (ref for rule in route["spec"].get("rules") or () for ref in rule.get("backendRefs") or ())
    return (name for ref in refs if (name := _service_of(ref)) != NOWHERE)


def _condition(before: Manifest | None, told: tuple[str, ...], route: Manifest, now: str) -> dict[str, Any]:
    kind, status, reason, *message = told
    same = before is not None and before["status"] == status
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "".join(message),
        "observedGeneration": route["metadata"].get("generation", 1),
        "lastTransitionTime": before["lastTransitionTime"] if same and before is not None else now,
    }


__all__ = ["NOWHERE", "Division", "accepted", "divide", "parts_of"]
