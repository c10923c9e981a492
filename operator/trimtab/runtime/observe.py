"""Ports to snapshot: read what one pass needs, once, into a frozen value.

Nothing is decided here. What is expensive is read only when `decide` asked for it (see `answer.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass
from typing import TypeVar

from trimtab.api.kube import scaled_workloads, surroundings_from, target_from
from trimtab.api.routes import route_view
from trimtab.control.requests import stop_request
from trimtab.control.snapshot import LockView, Snapshot
from trimtab.domain import kinds
from trimtab.domain.errors import ApiError, NotFound
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest, Surroundings, Target, TargetMissing
from trimtab.domain.remembered import Remembered, version_of
from trimtab.domain.route import RouteMissing, RouteView
from trimtab.ports import Clock, Cluster, ExperimentRecord, Ledger
from trimtab.runtime.arms import ArmReader
from trimtab.runtime.killswitch import KillSwitches, NamespaceView
from trimtab.runtime.targetlock import Claim, TargetLocks
from trimtab.runtime.withdraw import Latch

T = TypeVar("T")
SHARED_SECONDS = 30.0
VERSION_SECONDS = 300.0


@dataclass(frozen=True)
class _Known:
    """What was around a target, at `at` (monotonic seconds)."""

    at: float
    target: Target
    around: Surroundings


class Observer:
    """Reads snapshots through the ports."""

    def __init__(
        self,
        cluster: Cluster,
        ledger: Ledger,
        clock: Clock,
        locks: TargetLocks,
        leader: Callable[[], str],
        switches: KillSwitches,
        latch: Latch,
    ) -> None:
        self._cluster, self._ledger, self._clock, self._locks = cluster, ledger, clock, locks
        self._leader, self._switches, self._latch = leader, switches, latch
        self._arms = ArmReader(cluster)
        self._targets: Remembered[Target] = Remembered()
        self._version, self._version_at = "", 0.0
        self._around_known: dict[str, _Known] = {}

    def keep_only(self, experiment_uids: Set[str]) -> None:
        """Forget Experiments that are gone."""
        self._arms.keep_only(experiment_uids)

    async def observe(self, experiment: ExperimentRecord, now: float, *, quick: bool = False) -> Snapshot:
        """One snapshot, nothing answered yet.

        `quick` leaves out what undoing and on-call requests do not need, and does not mind what cannot be read beside
        that; a deletion and a request to stop are always answered from such a snapshot.

        Raises:
            TrimtabError: a read that is needed failed; `Forbidden` names the right that is missing.
        """
        quick = quick or experiment.deleting or stop_request(experiment, "", "") is not None
        namespace = experiment.namespace
        target, around = (None, None) if quick else await self._around(experiment)
        rows, arms, route, place, own_paused = await asyncio.gather(
            self._ledger.trials(experiment),
            self._arms.read(namespace, experiment.uid),
            _if_readable(lambda: self._route(experiment), None, quick),
            _if_readable(lambda: self._switches.namespace(namespace), NamespaceView(), quick),
            _if_readable(self._switches.operator, "", quick),
        )
        return Snapshot(
            now=now,
            experiment=experiment,
            trials=rows.readable,
            target=target,
            surroundings=around,
            arms=arms,
            lock=await _if_readable(lambda: self._lock_view(experiment, target), LockView(mine=False), quick),
            leader=self._leader(),
            namespace_paused=place.paused,
            namespace_leaving=place.leaving,
            operator_paused=own_paused,
            withdrawing=self._latch.under_way,  # read after the arms: whoever misses one finds it here
            broken=rows.broken,
            strays=rows.strays,
            partial=quick,
            route=route,
        )

    async def _route(self, experiment: ExperimentRecord) -> RouteView | RouteMissing | None:
        """The route that the Experiment names."""
        wanted = experiment.spec.route if experiment.spec is not None else None
        if wanted is None:
            return None
        try:
            return route_view(await self._cluster.get(kinds.HTTP_ROUTES, experiment.namespace, wanted.name))
        except NotFound as error:
            return RouteMissing(wanted.name, error.message)

    async def _around(self, experiment: ExperimentRecord) -> tuple[Target | TargetMissing | None, Surroundings | None]:
        if experiment.spec is None:
            return None, None
        target = await self.target(experiment.namespace, experiment.spec.target.name)
        if not isinstance(target, Target):
            return target, None
        return target, await self._surroundings(experiment, target)

    async def _surroundings(self, experiment: ExperimentRecord, target: Target) -> Surroundings:
        """What is around this very target; of a live trial, read not long ago: eight lists are too many for each of its
        passes, which come with each change of a pod."""
        experiment_uid, live = experiment.uid, experiment.state is not None and bool(experiment.state.active)
        most = SHARED_SECONDS if live else 0.0
        now = self._clock.monotonic()
        self._around_known = {uid: k for uid, k in self._around_known.items() if now - k.at < SHARED_SECONDS}
        known = self._around_known.get(experiment_uid)
        if known is not None and known.target == target and now - known.at < most:
            return known.around
        scaling = experiment.spec is not None and experiment.spec.route is not None
        around = await self.surroundings(target, scaling=scaling)
        self._around_known[experiment_uid] = _Known(now, target, around)
        return around

    async def target(self, namespace: str, name: str) -> Target | TargetMissing:
        """The target Deployment, or what is there instead of it."""
        try:
            found = await self._cluster.get(kinds.DEPLOYMENTS, namespace, name)
            return self._targets.known((namespace, name), version_of(found), lambda _: target_from(found))
        except NotFound:
            for kind in (kinds.STATEFUL_SETS, kinds.DAEMON_SETS):
                if await self._exists(kind, namespace, name):
                    return TargetMissing(name, kind.name)
            return TargetMissing(name)

    async def _exists(self, kind: Kind, namespace: str, name: str) -> bool:
        return await self._get(kind, namespace, name) is not None

    async def surroundings(self, target: Target, *, scaling: bool = False) -> Surroundings:
        """Everything beside the target that preflight has to know; `scaling`: also whose pods each autoscaler of the
        namespace counts."""
        lists = await asyncio.gather(*(self._list(kind, target.namespace) for kind in SURROUNDING_KINDS))
        found = dict(zip((k.plural for k in SURROUNDING_KINDS), lists, strict=True))
        autoscalers = found[kinds.HORIZONTAL_POD_AUTOSCALERS.plural]
        return surroundings_from(
            target,
            services=found[kinds.SERVICES.plural],
            autoscalers=autoscalers,
            disruption_budgets=found[kinds.POD_DISRUPTION_BUDGETS.plural],
            vpas=found[kinds.VERTICAL_POD_AUTOSCALERS.plural],
            quotas=found[kinds.RESOURCE_QUOTAS.plural],
            limit_ranges=found[kinds.LIMIT_RANGES.plural],
            network_policies=found[kinds.NETWORK_POLICIES.plural],
            endpoint_slices=found[kinds.ENDPOINT_SLICES.plural],
            version=await self._server_version(),
            scaled=await self._scaled(autoscalers, target) if scaling else (),
        )

    async def _server_version(self) -> str:
        """The API server's, asked again now and then: it is upgraded while this process runs."""
        now = self._clock.monotonic()
        if not self._version or now - self._version_at >= VERSION_SECONDS:
            self._version, self._version_at = await self._cluster.version(), now
        return self._version

    async def _scaled(self, autoscalers: tuple[Manifest, ...], target: Target) -> tuple[tuple[str, Manifest], ...]:
        """What the namespace's other autoscalers scale, with its kind, where it is a kind that can be read."""
        known = {kind.name: kind for kind in (kinds.DEPLOYMENTS, kinds.STATEFUL_SETS)}
        wanted = [(kind, name) for kind, name in scaled_workloads(autoscalers, target) if kind in known]
        found = await asyncio.gather(*(self._get(known[kind], target.namespace, name) for kind, name in wanted))
        return tuple((kind, item) for (kind, _), item in zip(wanted, found, strict=True) if item is not None)

    async def _get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        try:
            return await self._cluster.get(kind, namespace, name)
        except NotFound:
            return None

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
        return LockView(mine=False, holder=holder.title)


async def _if_readable(read: Callable[[], Awaitable[T]], otherwise: T, quick: bool) -> T:
    """What was read; in a quick look, `otherwise` when the API server refuses. Nothing is begun that a cancelled pass
    would leave behind."""
    try:
        return await read()
    except ApiError:
        if not quick:
            raise
        return otherwise


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
