"""HTTPRoutes as an API server returns them, for the tests that write into them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from trimtab.domain.route import RoutePlan

Obj = dict[str, Any]
EXPERIMENT = "0f0e0d0c-0b0a-4908-8706-050403020100"
CANARY, CONTROL = "tt-0f0e0d0c-7-c", "tt-0f0e0d0c-7-b"
PLAN = RoutePlan(
    namespace="shop",
    route="web",
    rule="pages",
    backend="web",
    canary=CANARY,
    control=CONTROL,
    shares=(0.05, 0.05),
    trial_uid="trial-uid",
    trial_name="web-0f0e0d-0007",
    experiment_uid=EXPERIMENT,
    experiment_name="web",
    deadline=1777633199.0,
)


def backend(name: str = "web", weight: int = 1, port: int = 80, **more: Any) -> Obj:
    return {"group": "", "kind": "Service", "name": name, "port": port, "weight": weight, **more}


def rule(name: str = "pages", backends: Sequence[Obj] = (), **more: Any) -> Obj:
    matches = [{"path": {"type": "PathPrefix", "value": f"/{name}"}}]
    return {"name": name, "matches": matches, "backendRefs": list(backends or [backend()]), **more}


def owner(manager: str, fields: Obj, operation: str = "Apply") -> Obj:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "gateway.networking.k8s.io/v1",
        "time": "2026-05-01T10:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }


RULES_AND_HOSTS: Obj = {"f:spec": {"f:hostnames": {}, "f:rules": {}}}


def route(*rules: Obj, **metadata: Any) -> Obj:
    """A route that its Gateway has accepted, applied by `team`."""
    return copy.deepcopy(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {
                "name": "web",
                "namespace": "shop",
                "uid": "route-uid",
                "resourceVersion": "7",
                "managedFields": [owner("team", RULES_AND_HOSTS)],
                **metadata,
            },
            "spec": {"hostnames": ["shop.test"], "rules": list(rules or [rule()])},
            "status": {"parents": [{"conditions": [{"type": "Accepted", "status": "True"}]}]},
        }
    )


def put_by(manifest: Any, before: Any, manager: str = "trimtab") -> Obj:
    """What the API server makes of a PUT: who changed the rules owns them alone."""
    made: Obj = copy.deepcopy(dict(manifest))
    if made["spec"].get("rules") == before["spec"].get("rules"):
        return made
    managed = made["metadata"].get("managedFields") or []
    for entry in managed:
        entry["fieldsV1"].get("f:spec", {}).pop("f:rules", None)
    kept = [e for e in managed if e["fieldsV1"].get("f:spec") and e["manager"] != manager]
    made["metadata"]["managedFields"] = [*kept, owner(manager, {"f:spec": {"f:rules": {}}}, "Update")]
    return made
