"""Faults of traffic by an HTTPRoute and of the target's autoscaler: what people do to them, and a metrics API away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trimtab.domain import kinds
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.simulate.faults.kinds import FaultKind
from trimtab.simulate.faults.plan import Fault
from trimtab.simulate.faults.scenario import route
from trimtab.simulate.faults.stage import Heal, Stage, by_hand
from trimtab.simulate.frozen import thawed

K = FaultKind
Body = dict[str, Any]
TEAM = "gitops"
LASTING = ("name", "labels", "annotations")


def _only(stage: Stage, kind: Kind) -> Manifest | None:
    """The object of its kind that the service has."""
    if kind not in stage.world.cluster.objects.served:
        return None
    found = stage.world.admin.list(kind, stage.namespace)
    return next((each for each in found if not each["metadata"]["name"].startswith("tt-")), None)


def _edit(stage: Stage, kind: Kind, name: str, change: Callable[[Body], object]) -> None:
    with by_hand(stage):
        stage.world.admin.edit(kind, stage.namespace, name, change)


def _again(stage: Stage, old: Manifest) -> None:
    """As it was by its manifest, without what the server made of it."""
    metadata = {key: thawed(old["metadata"][key]) for key in LASTING if key in old["metadata"]}
    body = {"apiVersion": old["apiVersion"], "kind": old["kind"], "metadata": metadata, "spec": thawed(old["spec"])}
    with by_hand(stage):
        stage.world.admin.apply(body, stage.namespace)


def _weights(rule: Body) -> None:
    """Half of the traffic that goes to the service."""
    rule["backendRefs"][0]["weight"] = max(1, rule["backendRefs"][0]["weight"] // 2)


def _without_arms(rule: Body) -> None:
    rule["backendRefs"] = [ref for ref in rule["backendRefs"] if not ref["name"].startswith("tt-")]


_EDITS: dict[str, Callable[[Body], object]] = {
    "field": lambda rule: rule.update(timeouts={"request": "30s"}),
    "weights": _weights,
    "backends": _without_arms,
}


def _route_edited(stage: Stage, fault: Fault) -> None:
    found, how = _only(stage, kinds.HTTP_ROUTES), fault.text("how")
    if found is None:
        return
    if how == "apply":
        with by_hand(stage):
            stage.world.admin.apply_server_side(
                route(stage.world.settings[0].workload), stage.namespace, TEAM, force=True
            )
        return
    _edit(stage, kinds.HTTP_ROUTES, found["metadata"]["name"], lambda body: _EDITS[how](body["spec"]["rules"][0]))


def _route_deleted(stage: Stage, fault: Fault) -> Heal | None:
    del fault
    found = _only(stage, kinds.HTTP_ROUTES)
    if found is None:
        return None
    with by_hand(stage):
        stage.world.admin.delete(kinds.HTTP_ROUTES, stage.namespace, found["metadata"]["name"])

    def heal() -> None:
        with by_hand(stage):
            stage.world.admin.apply(route(stage.world.settings[0].workload), stage.namespace)

    return heal


def _backend_emptied(stage: Stage, fault: Fault) -> None:
    there = {service["metadata"]["name"] for service in stage.world.admin.list(kinds.SERVICES, stage.namespace)}
    for name in there.intersection(stage.arms(fault.text("of"))):
        _edit(stage, kinds.SERVICES, name, lambda body: body["spec"].update(selector={"app": "nobody"}))


def _bounds(spec: Body) -> None:
    spec["maxReplicas"] += 2


def _target(spec: Body) -> None:
    spec["metrics"][0]["resource"]["target"]["averageUtilization"] += 5


def _autoscaler_edited(stage: Stage, fault: Fault) -> Heal | None:
    kind = kinds.HORIZONTAL_POD_AUTOSCALERS
    found, how = _only(stage, kind), fault.text("how")
    if found is None:
        return None
    name, spec = found["metadata"]["name"], thawed(found["spec"])
    if how == "deleted":
        with by_hand(stage):
            stage.world.admin.delete(kind, stage.namespace, name)
        return lambda: _again(stage, found)
    change = _bounds if how == "bounds" else _target
    _edit(stage, kind, name, lambda body: change(body["spec"]))
    return lambda: _edit(stage, kind, name, lambda body: body.update(spec=spec))


def _metrics_absent(stage: Stage, fault: Fault) -> Heal:
    del fault
    stage.world.autoscaler.absent = True

    def heal() -> None:
        stage.world.autoscaler.absent = False

    return heal


ROUTES: dict[FaultKind, Callable[[Stage, Fault], Heal | None]] = {
    K.ROUTE_EDITED: _route_edited,
    K.ROUTE_DELETED: _route_deleted,
    K.BACKEND_EMPTIED: _backend_emptied,
    K.AUTOSCALER_EDITED: _autoscaler_edited,
    K.METRICS_API_ABSENT: _metrics_absent,
}
