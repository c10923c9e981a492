"""One Experiment per target: a Lease named after the target's uid, which never expires by time.

A trial outlives the operator that started it, so an idle lock proves nothing: another Experiment may take it only when
the holder is gone or finished AND none of its arms is left. The lock lives in the target's namespace, where two
installations of the operator meet, and its ownerReference lets the garbage collector remove it with its holder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trimtab.domain.errors import AlreadyExists, Conflict, NotFound
from trimtab.domain.kinds import DEPLOYMENTS, EXPERIMENTS, LEASES, PODS
from trimtab.domain.names import GROUP, LABEL_ARM, LABEL_EXPERIMENT_UID, LABEL_MANAGED_BY, MANAGED_BY
from trimtab.domain.state import ExperimentPhase
from trimtab.ports import Clock, Cluster
from trimtab.runtime.lease import micro_time

ANNOTATION_HOLDER = f"{GROUP}/holder"

_TERMINAL = frozenset(phase.value for phase in ExperimentPhase if phase.terminal)


@dataclass(frozen=True)
class Claim:
    """Which Experiment wants which target."""

    target_uid: str
    namespace: str
    experiment_name: str
    experiment_uid: str

    @property
    def lease_name(self) -> str:
        return f"trimtab-target-{self.target_uid}"


@dataclass(frozen=True)
class BlockedBy:
    """Who holds the lock, and what would free it."""

    namespace: str
    name: str  # "": the Lease does not say it
    uid: str
    why: str

    @property
    def title(self) -> str:
        """`namespace/name`, or what is known of it."""
        if self.name:
            return f"{self.namespace}/{self.name}"
        lost = f"the target's Lease lacks the annotation {ANNOTATION_HOLDER}: restore that, or delete the Lease"
        return f"with the uid {self.uid} in {self.namespace} ({lost} when no arm of it is left)"


class TargetLocks:
    """Take and release target locks; every answer is read from the API server."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster, self._clock = cluster, clock

    async def peek(self, claim: Claim) -> BlockedBy | None:
        """Who holds the lock now, maybe this Experiment itself; None when it is free to take."""
        try:
            lease = await self._cluster.get(LEASES, claim.namespace, claim.lease_name)
        except NotFound:
            return None
        holder = _holder(lease)
        return holder if holder is None or holder.uid == claim.experiment_uid else await self._still_held(holder)

    async def acquire(self, claim: Claim) -> None:
        """Hold the lock for this Experiment; doing it again changes nothing.

        Raises:
            Conflict: another Experiment holds it, or took it in the same moment; nothing may be started.
        """
        try:
            lease = await self._cluster.get(LEASES, claim.namespace, claim.lease_name)
        except NotFound:
            await self._create(claim)
            return
        holder = _holder(lease)
        if holder is not None and holder.uid == claim.experiment_uid:
            return
        blocked = await self._still_held(holder) if holder is not None else None
        if blocked is not None:
            raise Conflict(409, f"target is locked by Experiment {blocked.title}: {blocked.why}")
        await self._cluster.replace(LEASES, claim.namespace, claim.lease_name, self._body(claim, lease))

    async def release(self, claim: Claim) -> None:
        """Give the lock up if this Experiment holds it. The empty Lease stays until its owner is deleted: a delete
        cannot say "only if still mine", and could remove the lock of the next holder."""
        try:
            lease = await self._cluster.get(LEASES, claim.namespace, claim.lease_name)
        except NotFound:
            return
        holder = _holder(lease)
        if holder is None or holder.uid != claim.experiment_uid:
            return
        spec = dict(lease.get("spec") or {}) | {"holderIdentity": "", "renewTime": micro_time(self._clock.now())}
        await self._cluster.replace(LEASES, claim.namespace, claim.lease_name, {**lease, "spec": spec})

    async def _create(self, claim: Claim) -> None:
        try:
            await self._cluster.create(LEASES, claim.namespace, self._body(claim, {}))
        except AlreadyExists as error:
            holder = _holder(await self._cluster.get(LEASES, claim.namespace, claim.lease_name))
            if holder is None or holder.uid != claim.experiment_uid:
                raise Conflict(409, f"target lock {claim.lease_name} was taken in the same moment") from error

    async def _still_held(self, holder: BlockedBy) -> BlockedBy | None:
        """The holder, unless it is gone or finished and has left no arm. Of one that has no name nothing is known."""
        if not holder.name:
            return holder
        gone = "deleted"
        try:
            experiment = await self._cluster.get(EXPERIMENTS, holder.namespace, holder.name)
        except NotFound:
            pass
        else:
            if experiment["metadata"]["uid"] == holder.uid:
                phase = (experiment.get("status") or {}).get("phase", "")
                if phase not in _TERMINAL:
                    return holder
                gone = f"finished ({phase})"
        labels = f"{LABEL_ARM},{LABEL_EXPERIMENT_UID}={holder.uid}"
        for kind in (DEPLOYMENTS, PODS):
            left = await self._cluster.list(kind, holder.namespace, labels=labels)
            if left:
                why = f"it is {gone}, but {kind.name} {left[0]['metadata']['name']} of it is still there"
                return BlockedBy(holder.namespace, holder.name, holder.uid, why)
        return None

    def _body(self, claim: Claim, lease: Mapping[str, Any]) -> dict[str, Any]:
        old = lease.get("spec") or {}
        now = micro_time(self._clock.now())
        metadata = dict(lease.get("metadata") or {"name": claim.lease_name, "namespace": claim.namespace})
        metadata["labels"] = (metadata.get("labels") or {}) | {LABEL_MANAGED_BY: MANAGED_BY}
        metadata["annotations"] = (metadata.get("annotations") or {}) | {
            ANNOTATION_HOLDER: f"{claim.namespace}/{claim.experiment_name}"
        }
        metadata["ownerReferences"] = [EXPERIMENTS.reference(claim.experiment_name, claim.experiment_uid)]
        spec = {
            "holderIdentity": claim.experiment_uid,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": int(old.get("leaseTransitions") or 0) + (1 if old else 0),
        }
        return {"apiVersion": LEASES.api_version, "kind": LEASES.name, "metadata": metadata, "spec": spec}


def _holder(lease: Mapping[str, Any]) -> BlockedBy | None:
    uid = (lease.get("spec") or {}).get("holderIdentity")
    if not uid:
        return None
    metadata = lease["metadata"]
    stated = (metadata.get("annotations") or {}).get(ANNOTATION_HOLDER, "")
    namespace, _, name = stated.partition("/")
    return BlockedBy(namespace or metadata["namespace"], name, uid, "it is tuning the same target")


__all__ = ["ANNOTATION_HOLDER", "BlockedBy", "Claim", "TargetLocks"]
