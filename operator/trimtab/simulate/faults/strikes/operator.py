"""Faults of the operator's processes and of their clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trimtab.domain import kinds
from trimtab.domain.kube import Manifest
from trimtab.simulate.faults.kinds import FaultKind
from trimtab.simulate.faults.plan import Fault
from trimtab.simulate.faults.stage import Heal, Stage
from trimtab.simulate.frozen import thawed

K = FaultKind
FROM_THE_FUTURE = {"newField": {"since": "v9", "numbers": [1, 2, 3]}, "anotherNewField": True}
LATER_FIELDS = frozenset({
    "trialsCounted", "improvement", "floors", "figures", "designerFailures", "spoiltBefore", "slis", "objectives",
    "front", "observed", "allowedBad", "metricsSince", "diversity", "effectiveDimension", "fallbacks", "symptoms",
    "degrees", "below", "pods", "podsError", "use", "useError", "unseen", "rate", "until", "subject", "nodeTypes",
    "events",
})  # fmt: skip
"""Of statuses, at any depth: what their first version did not have yet."""


def _killed(stage: Stage, fault: Fault) -> None:
    leader = stage.fleet.leader
    if leader is not None:
        stage.fleet.kill(leader, fault.number("restartAfter"))


def _upgraded(stage: Stage, fault: Fault) -> None:
    """What the other version has left behind is there when this one starts."""
    _killed(stage, fault)
    found = [(kinds.EXPERIMENTS, stage.world.experiment(stage.experiment)), (kinds.TRIALS, stage.live())]
    with stage.hand():
        for kind, obj in found:
            if obj is not None and obj.get("status"):
                added = fault.text("fields") == "added"
                _set_status(
                    stage, kind, obj, {**obj["status"], **FROM_THE_FUTURE} if added else without_later(obj["status"])
                )


def without_later(part: Any) -> Any:
    """A status, or a part of one, as its first version would have written it."""
    if isinstance(part, Mapping):
        return {key: without_later(value) for key, value in part.items() if key not in LATER_FIELDS}
    return [without_later(each) for each in part] if isinstance(part, list | tuple) else part


def _set_status(stage: Stage, kind: kinds.Kind, obj: Manifest, status: Mapping[str, Any]) -> None:
    objects = stage.world.cluster.objects
    objects.set_status(kind, stage.namespace, obj["metadata"]["name"], thawed(status))


def _standby(stage: Stage, fault: Fault) -> None:
    del fault
    stage.fleet.add()


def _frozen(stage: Stage, fault: Fault) -> Heal | None:
    del fault
    leader = stage.fleet.leader
    return stage.fleet.freeze(leader) if leader is not None else None


def _moved(stage: Stage, fault: Fault) -> None:
    """As when somebody edits the lease, with a standby that takes it."""
    del fault
    stage.fleet.add()
    with stage.hand():
        stage.world.expire_lease()


def _jumped(stage: Stage, fault: Fault) -> Heal:
    by, clock = fault.number("by"), stage.world.operator_clock
    clock.skew += by

    def heal() -> None:
        clock.skew -= by

    return heal


OPERATOR: dict[FaultKind, Callable[[Stage, Fault], Heal | None]] = {
    K.OPERATOR_KILLED: _killed,
    K.OPERATOR_UPGRADED: _upgraded,
    K.STANDBY_STARTED: _standby,
    K.OPERATOR_FROZEN: _frozen,
    K.LEADERSHIP_MOVED: _moved,
    K.CLOCK_JUMPED: _jumped,
}
