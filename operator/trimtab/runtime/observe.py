"""Ports to snapshot: read what one pass needs, once, into a frozen value.

Nothing is decided here. What is expensive is read only when `decide` asked for it (see `answer.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from trimtab.api.kube import surroundings_from, target_from
from trimtab.control.snapshot import Inquiry, LockView, Snapshot
from trimtab.domain import kinds
from trimtab.domain.errors import NotFound
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest, Surroundings, Target, TargetMissing
from trimtab.ports import Clock, Cluster, ExperimentRecord, Ledger
from trimtab.runtime.arms import read_arms
from trimtab.runtime.killswitch import KillSwitches
from trimtab.runtime.targetlock import Claim, TargetLocks
from trimtab.runtime.withdraw import Latch


class Observer:
    """Reads snapshots through the ports."""

    def __init__(
        self,
        cluster: Cluster,
        ledger: Ledger,
        clock: Clock,
        locks: TargetLocks,
        leader: str,
        switches: KillSwitches,
        latch: Latch,
    ) -> None:
        self._cluster, self._ledger, self._clock, self._locks = cluster, ledger, clock, locks
        self._leader, self._switches, self._latch = leader, switches, latch
        self._version = ""

    async def observe(
        self, experiment: ExperimentRecord, now: float, answers: Mapping[Inquiry, Any], *, quick: bool = False
    ) -> Snapshot:
        """One snapshot. `quick` leaves out target and surroundings (on-call requests need neither).

        Raises:
            ApiError: any read failed; `Forbidden` names the right that is missing.
        """
        namespace = experiment.namespace
        target: Target | TargetMissing | None = None
        around: Surroundings | None = None
        if experiment.spec is not None and not quick:
            target = await self.target(namespace, experiment.spec.target.name)
            if isinstance(target, Target):
                around = await self.surroundings(target)
        trials, arms, place, own_paused = await asyncio.gather(
            self._ledger.trials(experiment),
            read_arms(self._cluster, namespace, experiment.uid),
            self._switches.namespace(namespace),
            self._switches.operator(),
        )
        return Snapshot(
            now=now,
            experiment=experiment,
            trials=trials,
            target=target,
            surroundings=around,
            arms=arms,
            lock=await self._lock_view(experiment, target),
            leader=self._leader,
            namespace_paused=place.paused,
            namespace_leaving=place.leaving,
            operator_paused=own_paused,
            withdrawing=self._latch.under_way,  # read after the arms: whoever misses one finds it here
            answers=answers,
        )

    async def target(self, namespace: str, name: str) -> Target | TargetMissing:
        """The target Deployment, or what is there instead of it."""
        try:
            return target_from(await self._cluster.get(kinds.DEPLOYMENTS, namespace, name))
        except NotFound:
            for kind in (kinds.STATEFUL_SETS, kinds.DAEMON_SETS):
                if await self._exists(kind, namespace, name):
                    return TargetMissing(name, kind.name)
            return TargetMissing(name)

    async def _exists(self, kind: Kind, namespace: str, name: str) -> bool:
        try:
            await self._cluster.get(kind, namespace, name)
        except NotFound:
            return False
        return True

    async def surroundings(self, target: Target) -> Surroundings:
        """Everything beside the target that preflight has to know."""
        lists = await asyncio.gather(*(self._list(kind, target.namespace) for kind in SURROUNDING_KINDS))
        found = dict(zip((k.plural for k in SURROUNDING_KINDS), lists, strict=True))
        if not self._version:
            self._version = await self._cluster.version()
        return surroundings_from(
            target,
            services=found[kinds.SERVICES.plural],
            autoscalers=found[kinds.HORIZONTAL_POD_AUTOSCALERS.plural],
            disruption_budgets=found[kinds.POD_DISRUPTION_BUDGETS.plural],
            vpas=found[kinds.VERTICAL_POD_AUTOSCALERS.plural],
            quotas=found[kinds.RESOURCE_QUOTAS.plural],
            limit_ranges=found[kinds.LIMIT_RANGES.plural],
            network_policies=found[kinds.NETWORK_POLICIES.plural],
            endpoint_slices=found[kinds.ENDPOINT_SLICES.plural],
            version=self._version,
        )

    async def _list(self, kind: Kind, namespace: str) -> tuple[Manifest, ...]:
        try:
            return await self._cluster.list(kind, namespace)
        except NotFound:  # the resource type is not installed (VPA)
            return ()

    async def _lock_view(self, experiment: ExperimentRecord, target: Target | TargetMissing | None) -> LockView:
        uid = target.uid if isinstance(target, Target) else None
        if uid is None and experiment.state is not None and experiment.state.target is not None:
            uid = experiment.state.target.uid
        if uid is None:
            return LockView(mine=False)
        holder = await self._locks.peek(Claim(uid, experiment.namespace, experiment.name, experiment.uid))
        if holder is None:
            return LockView(mine=False)
        if holder.uid == experiment.uid:
            return LockView(mine=True)
        return LockView(mine=False, holder=f"{holder.namespace}/{holder.name}")


SURROUNDING_KINDS = (
    kinds.SERVICES,
    kinds.HORIZONTAL_POD_AUTOSCALERS,
    kinds.POD_DISRUPTION_BUDGETS,
    kinds.VERTICAL_POD_AUTOSCALERS,
    kinds.RESOURCE_QUOTAS,
    kinds.LIMIT_RANGES,
    kinds.NETWORK_POLICIES,
    kinds.ENDPOINT_SLICES,
)
