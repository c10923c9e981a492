"""Faults of the arms' pods, of their nodes, and of what becomes of new pods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trimtab.domain import kinds
from trimtab.domain.errors import Rejected
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.domain.names import LABEL_ARM
from trimtab.simulate.admission import all_of
from trimtab.simulate.cluster import Admit
from trimtab.simulate.faults.kinds import FaultKind
from trimtab.simulate.faults.plan import Fault
from trimtab.simulate.faults.stage import Heal, Stage
from trimtab.simulate.objects import Obj
from trimtab.workload import FaultKind as PodFaultKind

K = FaultKind
BLOCKER = "blocked by a fault"


def _of_model(kind: PodFaultKind, **rest: object) -> Callable[[Stage, Fault], Heal]:
    """A fault that the workload model plays."""
    return lambda stage, fault: stage.pod_fault(kind, str(fault.parameters.get("of", "")), **rest)


def _once(kind: PodFaultKind) -> Callable[[Stage, Fault], None]:
    """One that strikes the pods that are there, once."""

    def strike(stage: Stage, fault: Fault) -> None:
        stage.pod_fault(kind, fault.text("of"), duration="1s")

    return strike


def _slow(stage: Stage, fault: Fault) -> Heal:
    return stage.pod_fault(PodFaultKind.SLOW_DEPENDENCY, fault.text("of"), factor=fault.number("factor"))


def _burning(stage: Stage, fault: Fault) -> Heal:
    return stage.pod_fault(PodFaultKind.ERRORS, "", errorPercent=fault.number("errorPercent"))


def _preempted(stage: Stage, fault: Fault) -> None:
    for name in stage.pods(fault.text("of")):
        _disrupt(stage, name, "PreemptionByScheduler")
        stage.world.admin.delete(kinds.PODS, stage.namespace, name)


def _disrupt(stage: Stage, name: str, reason: str) -> None:
    pod = stage.world.cluster.objects.need(kinds.PODS, stage.namespace, name)
    status: dict[str, Any] = dict(pod.get("status") or {})
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason}
    status["conditions"] = [*(status.get("conditions") or ()), condition]
    stage.world.cluster.objects.set_status(kinds.PODS, stage.namespace, name, status)


def _deleted(stage: Stage, fault: Fault) -> None:
    for name in stage.pods(fault.text("of")):
        stage.world.admin.delete(kinds.PODS, stage.namespace, name)


def _nodes(stage: Stage, fault: Fault) -> list[str]:
    found = stage.world.admin.list(kinds.PODS, stage.namespace)
    names = set(stage.pods(fault.text("of")))
    return sorted({p["spec"]["nodeName"] for p in found if p["metadata"]["name"] in names and "nodeName" in p["spec"]})


def _drained(stage: Stage, fault: Fault) -> None:
    """Everything on those nodes is evicted, the target's pods too; a controller makes new ones elsewhere."""
    nodes = _nodes(stage, fault)
    for pod in stage.world.admin.list(kinds.PODS, stage.namespace):
        if pod["spec"].get("nodeName") in nodes:
            stage.world.admin.evict(stage.namespace, pod["metadata"]["name"])


def _lost(stage: Stage, fault: Fault) -> Heal:
    nodes = [stage.world.scheduler.nodes[name] for name in _nodes(stage, fault)]
    for node in nodes:
        if node.up:
            stage.world.kubelet.lose(node)

    def heal() -> None:
        for node in nodes:
            if not node.up:
                stage.world.kubelet.restore(node)

    return heal


def _unschedulable(stage: Stage, fault: Fault) -> Heal:
    del fault
    nodes = tuple(stage.world.scheduler.nodes.values())
    for node in nodes:
        node.used[BLOCKER] = (node.cores, node.memory)

    def heal() -> None:
        for node in nodes:
            node.used.pop(BLOCKER, None)
        stage.world.scheduler.retry()

    return heal


def _admitting(admit: Admit) -> Callable[[Stage, Fault], Heal]:
    """Another admission webhook, for a while."""

    def strike(stage: Stage, fault: Fault) -> Heal:
        del fault
        cluster = stage.world.cluster
        acting = [True]

        def sometimes(kind: Kind, verb: str, new: Obj, old: Manifest | None) -> None:
            if acting:
                admit(kind, verb, new, old)

        before = cluster.admit
        cluster.admit = all_of(before, sometimes) if before is not None else sometimes
        return acting.clear

    return strike


def _refuse(kind: Kind, verb: str, new: Obj, old: Manifest | None) -> None:
    del old
    if (kind, verb) == (kinds.DEPLOYMENTS, "create") and LABEL_ARM in (new["metadata"].get("labels") or {}):
        raise Rejected(403, 'admission webhook "policy.example" denied the request: no new Deployments on a Friday')


def _mutate(kind: Kind, verb: str, new: Obj, old: Manifest | None) -> None:
    del old
    if (kind, verb) != (kinds.PODS, "create") or LABEL_ARM not in (new["metadata"].get("labels") or {}):
        return
    containers = [{**c, "resources": _larger(c.get("resources") or {})} for c in new["spec"]["containers"]]
    new["spec"] = {**new["spec"], "containers": containers}


def _larger(resources: Obj) -> Obj:
    return {side: {**(resources.get(side) or {}), "memory": "3Gi"} for side in ("requests", "limits")}


PODS: dict[FaultKind, Callable[[Stage, Fault], Heal | None]] = {
    K.CRASH_LOOP: _of_model(PodFaultKind.CRASH_LOOP),
    K.OOM_KILLED: _once(PodFaultKind.OOM),
    K.READINESS_LOST: _of_model(PodFaultKind.NOT_READY),
    K.SLOW_PODS: _slow,
    K.BUDGET_BURNING: _burning,
    K.POD_EVICTED: _once(PodFaultKind.EVICT),
    K.POD_PREEMPTED: _preempted,
    K.POD_DELETED: _deleted,
    K.NODE_DRAINED: _drained,
    K.NODE_LOST: _lost,
    K.IMAGE_PULL_FAILS: _of_model(PodFaultKind.IMAGE_PULL),
    K.UNSCHEDULABLE: _unschedulable,
    K.ADMISSION_REFUSED: _admitting(_refuse),
    K.RESOURCES_MUTATED: _admitting(_mutate),
}
