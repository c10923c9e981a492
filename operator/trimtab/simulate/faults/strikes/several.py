"""Faults of an install of several namespaces: one is lost to the operator, or holds a copy of what is another's."""

from __future__ import annotations

from collections.abc import Callable

from trimtab.domain import kinds
from trimtab.simulate.faults.acting import Acting
from trimtab.simulate.faults.kinds import BESIDE, FaultKind
from trimtab.simulate.faults.plan import Fault
from trimtab.simulate.faults.stage import Heal, Stage, by_hand
from trimtab.simulate.frozen import thawed

K = FaultKind


def _installed(stage: Stage) -> bool:
    return BESIDE in stage.world.installed


def _lost(stage: Stage, fault: Fault) -> Heal | None:
    """A Role is an object of its namespace: it goes with that, and comes back when somebody makes both again."""
    if not _installed(stage):
        return None
    acting = Acting(fault, stage.now())
    stage.acting.add(acting)
    if fault.text("how") == "deleted":
        with by_hand(stage):
            stage.world.admin.delete(kinds.NAMESPACES, None, BESIDE)

    def heal() -> None:
        stage.acting.remove(acting)
        if fault.text("how") == "deleted":
            with by_hand(stage):
                stage.world.cluster.make(kinds.NAMESPACES, None, {"metadata": {"name": BESIDE}})

    return heal


def _copied(stage: Stage, fault: Fault) -> None:
    """As `kubectl get -o yaml`, another namespace and `kubectl apply` do it: labels, annotations and all."""
    if not _installed(stage):
        return
    for name in stage.arms(fault.text("of")):
        arm = thawed(stage.world.cluster.objects.need(kinds.DEPLOYMENTS, stage.namespace, name))
        metadata = {key: arm["metadata"][key] for key in ("name", "labels", "annotations") if key in arm["metadata"]}
        with by_hand(stage):
            stage.world.admin.apply({**arm, "metadata": metadata, "status": {}}, BESIDE)


SEVERAL: dict[FaultKind, Callable[[Stage, Fault], Heal | None]] = {K.NAMESPACE_LOST: _lost, K.ARM_COPIED: _copied}
