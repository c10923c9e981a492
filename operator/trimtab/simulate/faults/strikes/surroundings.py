"""Faults of the target and of what stands around it: quotas, autoscalers, disruption budgets, the namespace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trimtab.domain import kinds
from trimtab.domain.errors import ApiError
from trimtab.domain.kinds import Kind
from trimtab.simulate.faults.kinds import FaultKind
from trimtab.simulate.faults.plan import Fault
from trimtab.simulate.faults.stage import Heal, Stage

K = FaultKind
NAME = "added-by-a-fault"


def _added(kind: Kind, spec: Callable[[Stage], Mapping[str, Any]]) -> Callable[[Stage, Fault], Heal]:
    """Another object, for a while."""

    def strike(stage: Stage, fault: Fault) -> Heal:
        del fault
        stage.number += 1
        name = f"{NAME}-{stage.number}"
        with stage.hand():
            _try(lambda: stage.world.cluster.make(kind, stage.namespace, {"metadata": {"name": name}, **spec(stage)}))

        def heal() -> None:
            with stage.hand():
                _try(lambda: stage.world.admin.delete(kind, stage.namespace, name))

        return heal

    return strike


def _try(act: Callable[[], object]) -> None:
    """What people do may be refused, for example in a namespace that goes away."""
    try:
        act()
    except ApiError:
        return


def _quota(stage: Stage) -> Mapping[str, Any]:
    pods = len(stage.world.admin.list(kinds.PODS, stage.namespace))
    return {"spec": {"hard": {"pods": str(pods)}}}


def _limit_range(_: Stage) -> Mapping[str, Any]:
    return {"spec": {"limits": [{"type": "Container", "min": {"cpu": "7"}}]}}


def _autoscaler(stage: Stage) -> Mapping[str, Any]:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": stage.target}
    metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}
    return {
        "spec": {
            "scaleTargetRef": reference,
            "minReplicas": 2,
            "maxReplicas": 30,
            "metrics": [{"type": "Resource", "resource": metric}],
        }
    }


def _vpa(stage: Stage) -> Mapping[str, Any]:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": stage.target}
    return {"spec": {"targetRef": reference, "updatePolicy": {"updateMode": "Auto"}}}


def _disruption_budget(stage: Stage) -> Mapping[str, Any]:
    found = stage.world.admin.find(kinds.DEPLOYMENTS, stage.namespace, stage.target)
    labels = dict(found["spec"]["selector"]["matchLabels"]) if found is not None else {"app": "none"}
    return {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}}}


def _with_autoscaler(stage: Stage, fault: Fault) -> Heal:
    """Once it is gone somebody sets the replicas that were before."""
    before = _replicas(stage)
    heal = _added(kinds.HORIZONTAL_POD_AUTOSCALERS, _autoscaler)(stage, fault)

    def both() -> None:
        heal()
        _scale(stage, before)

    return both


def _replicas(stage: Stage) -> int | None:
    found = stage.world.admin.find(kinds.DEPLOYMENTS, stage.namespace, stage.target)
    return int(found["spec"].get("replicas", 1)) if found is not None else None


def _scale(stage: Stage, replicas: int | None) -> None:
    if replicas is not None:
        with stage.hand():
            _try(lambda: stage.world.admin.scale(stage.namespace, stage.target, replicas))


def _scaled(stage: Stage, fault: Fault) -> Heal | None:
    before = _replicas(stage)
    if before is None:
        return None
    _scale(stage, max(1, round(before * fault.number("factor"))))
    return lambda: _scale(stage, before)


def _edited(stage: Stage, fault: Fault) -> None:
    del fault
    stage.number += 1
    image = f"web:{stage.number + 1}"
    with stage.hand():
        _try(lambda: stage.world.admin.roll(stage.namespace, stage.target, image))


def _restarted(stage: Stage, fault: Fault) -> None:
    del fault

    def change(body: dict[str, Any]) -> None:
        metadata = body["spec"]["template"].setdefault("metadata", {})
        annotations = metadata.setdefault("annotations", {})
        annotations["kubectl.kubernetes.io/restartedAt"] = stage.world.cluster.objects.timestamp(0)

    with stage.hand():
        _try(lambda: stage.world.admin.edit(kinds.DEPLOYMENTS, stage.namespace, stage.target, change))


def _deleted(stage: Stage, fault: Fault) -> Heal | None:
    del fault
    found = stage.world.admin.find(kinds.DEPLOYMENTS, stage.namespace, stage.target)
    if found is None:
        return None
    metadata = {k: found["metadata"][k] for k in ("name", "labels", "annotations") if k in found["metadata"]}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": found["spec"]}
    with stage.hand():
        _try(lambda: stage.world.admin.delete(kinds.DEPLOYMENTS, stage.namespace, stage.target))

    def heal() -> None:
        with stage.hand():
            _try(lambda: stage.world.admin.apply(body, stage.namespace))

    return heal


def _namespace_deleted(stage: Stage, fault: Fault) -> None:
    del fault
    with stage.hand():
        _try(lambda: stage.world.admin.delete(kinds.NAMESPACES, None, stage.namespace))


SURROUNDINGS: dict[FaultKind, Callable[[Stage, Fault], Heal | None]] = {
    K.QUOTA_EXCEEDED: _added(kinds.RESOURCE_QUOTAS, _quota),
    K.LIMIT_RANGE_ADDED: _added(kinds.LIMIT_RANGES, _limit_range),
    K.TARGET_EDITED: _edited,
    K.TARGET_RESTARTED: _restarted,
    K.TARGET_SCALED: _scaled,
    K.AUTOSCALER_ADDED: _with_autoscaler,
    K.VPA_ADDED: _added(kinds.VERTICAL_POD_AUTOSCALERS, _vpa),
    K.DISRUPTION_BUDGET_ADDED: _added(kinds.POD_DISRUPTION_BUDGETS, _disruption_budget),
    K.TARGET_DELETED: _deleted,
    K.NAMESPACE_DELETED: _namespace_deleted,
}
