"""Taking arms away: the one routine that the safety loop, the reconciler and a deletion share.

Deleting a Deployment and then its pods lets its ReplicaSet recreate one; so the Deployment goes first, then its
ReplicaSets, then its pods, each with a uid precondition, and all of it again until nothing is left and no arm endpoint
was ready for two seconds. Its autoscaler goes before them, its Service, which may still be asked, after them.

A route that leads to the arms is freed of them before anything is deleted: a weight on a backend without endpoints is
an outage. Where it cannot be written, the arms stay for some seconds and are then deleted all the same: settings that
broke a bound are an outage for the same requests. The Service stays until the route is free, and it is tried on. The
same holds for an install that lost the right to routes and autoscalers while arms had them: what has to go goes, and
the withdrawal is not over before somebody grants the right again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from trimtab.api.kube import ready_endpoint_names, trial_uid_of
from trimtab.api.kube_read import experiment_uid_of
from trimtab.domain import kinds
from trimtab.domain.errors import ApiError, Conflict, Forbidden, NotFound, RetryLater
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.domain.names import ARM_RESOURCES, LABEL_ARM, LABEL_EXPERIMENT_UID, LABEL_TRIAL
from trimtab.ports import Clock, Cluster
from trimtab.runtime.arms import LAYERS
from trimtab.runtime.routes import RouteKeeper

log = structlog.get_logger(__name__)

QUIET_SECONDS = 2.0
POLL_SECONDS = 0.25
STUCK_SECONDS = 30.0
TAKEN = (kinds.HORIZONTAL_POD_AUTOSCALERS, *LAYERS)  # in this order; Services after them
COMPANIONS = frozenset({kinds.HORIZONTAL_POD_AUTOSCALERS, kinds.SERVICES})
NO_ANSWER = (0, 429)  # statuses after which the next request would fare no better
ROUTE_SECONDS = 5.0  # for which arms stay while the route that leads to them cannot be written
REMEMBERED = 1000  # withdrawn trials; a stale read is never older than that many trials


def by_hand(namespace: str, trial_uid: str) -> str:
    """What a person does to take the arms of a trial away."""
    typed = f"kubectl -n {namespace} delete {ARM_RESOURCES} -l {LABEL_TRIAL}={trial_uid}"
    return f"by hand: {typed}; if an HTTPRoute leads to them, free it first (runbook rollback-stuck)"


class Latch:
    """Trials that were withdrawn by this process: no effect that starts something may follow, whatever a stale read
    says. In memory only; the Trial's status is the lasting record."""

    def __init__(self) -> None:
        self._uids: dict[str, None] = {}
        self._under_way: set[str] = set()

    @property
    def under_way(self) -> frozenset[str]:
        """Trials that the safety loop is withdrawing and has not recorded yet: their arms vanish by its hand."""
        return frozenset(self._under_way)

    def begin(self, trial_uid: str) -> None:
        self._under_way.add(trial_uid)

    def end(self, trial_uid: str) -> None:
        self._under_way.discard(trial_uid)

    def set(self, trial_uid: str) -> None:
        self._uids[trial_uid] = None
        if len(self._uids) > REMEMBERED:
            del self._uids[next(iter(self._uids))]

    def is_set(self, trial_uid: str) -> bool:
        return trial_uid in self._uids


class Withdrawer:
    """Deletes the arms of a trial. Safe to repeat, safe to run twice at once."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster, self._clock = cluster, clock
        self._routes = RouteKeeper(cluster, clock)
        self._held: dict[str, float] = {}  # trials whose route cannot be freed, since when (monotonic seconds)

    async def send(self, namespace: str, experiment_uid: str, trial_uid: str) -> int:
        """Free the route, then delete everything of this trial once; returns how much was still to be done.

        Raises:
            ApiError: something could not be listed, written or deleted; try again soon.
        """
        services = await self._of_trial(kinds.SERVICES, namespace, experiment_uid, trial_uid)
        try:
            sent = await self._routes.free(namespace, experiment_uid, trial_uid, led_to=bool(services))
        except ApiError:
            if not services or self._waited_for_route(trial_uid):
                await self._take(TAKEN, namespace, experiment_uid, trial_uid)
            raise
        self._held.pop(trial_uid, None)
        return sent + await self._take((*TAKEN, kinds.SERVICES), namespace, experiment_uid, trial_uid)

    def _waited_for_route(self, trial_uid: str) -> bool:
        now = self._clock.monotonic()
        return now - self._held.setdefault(trial_uid, now) >= ROUTE_SECONDS

    async def _take(self, layers: Iterable[Kind], namespace: str, experiment_uid: str, trial_uid: str) -> int:
        """Delete layer by layer. What the API server refuses stops little else from being deleted: a webhook or a
        missing right that holds an autoscaler, or the control, must not keep a canary in the traffic. Only what a
        layer above would make anew has to wait for it.

        Raises:
            ApiError: what was refused first, or that the API server does not answer now.
        """
        sent, refused, held = 0, None, set[str]()
        for kind in layers:
            for manifest in await self._of_trial(kind, namespace, experiment_uid, trial_uid):
                metadata, arm = manifest["metadata"], manifest["metadata"]["labels"][LABEL_ARM]
                if (kind is kinds.PODS and metadata.get("deletionTimestamp")) or (kind in LAYERS and arm in held):
                    continue
                try:
                    sent += await self._delete(kind, namespace, manifest)
                except ApiError as error:
                    if error.status in NO_ANSWER:
                        raise
                    refused = refused or error
                    if kind in LAYERS:
                        held.add(arm)
        if refused is not None:
            raise refused
        return sent

    async def silenced(self, namespace: str, experiment_uid: str, trial_uid: str) -> int:
        """Delete until no endpoint of the trial is ready; returns how many objects there were to delete.

        Raises:
            RetryLater: endpoints are still ready after 30 s.
        """
        begun = self._clock.monotonic()
        sent = await self.send(namespace, experiment_uid, trial_uid)
        while await self.ready(namespace, experiment_uid, trial_uid):
            if self._clock.monotonic() - begun > STUCK_SECONDS:
                log.error("withdraw.stuck", trial_uid=trial_uid)
                raise RetryLater(1.0, f"endpoints of a withdrawn trial are still ready after {STUCK_SECONDS:.0f} s")
            await self._clock.sleep(0.1)
            sent += await self.send(namespace, experiment_uid, trial_uid)
        return sent

    async def verified(self, namespace: str, experiment_uid: str, trial_uid: str) -> None:
        """Delete until nothing is left and no endpoint of the trial was ready for two seconds.

        Raises:
            RetryLater: something is still there after 30 s; the caller comes back and it goes on.
        """
        begun = self._clock.monotonic()
        quiet_since: float | None = None
        while True:
            sent = await self.send(namespace, experiment_uid, trial_uid)
            ready = await self.ready(namespace, experiment_uid, trial_uid)
            now = self._clock.monotonic()
            if sent or ready:
                quiet_since = None
            elif quiet_since is None:
                quiet_since = now
            elif now - quiet_since >= QUIET_SECONDS:
                return
            if now - begun > STUCK_SECONDS:
                log.error("withdraw.stuck", trial_uid=trial_uid, objects=sent, ready_endpoints=ready)
                raise RetryLater(1.0, f"{sent} objects and {ready} ready endpoints of a withdrawn trial are left")
            await self._clock.sleep(POLL_SECONDS)

    async def _of_trial(self, kind: Kind, namespace: str, experiment_uid: str, trial_uid: str) -> tuple[Manifest, ...]:
        labels = f"{LABEL_ARM},{LABEL_EXPERIMENT_UID}={experiment_uid}"
        try:
            found = await self._cluster.list(kind, namespace, labels=labels)
        except (Forbidden, NotFound):
            if kind in COMPANIONS:  # who may not even list them, or where there are none, cannot have made one
                return ()
            raise
        return tuple(m for m in found if trial_uid_of(m) == trial_uid)

    async def ready(self, namespace: str, experiment_uid: str, trial_uid: str) -> int:
        pods, slices = await asyncio.gather(
            self._of_trial(kinds.PODS, namespace, experiment_uid, trial_uid),
            self._cluster.list(kinds.ENDPOINT_SLICES, namespace),
        )
        ready = ready_endpoint_names(slices)
        return sum(1 for p in pods if p["metadata"]["name"] in ready)

    async def _delete(self, kind: Kind, namespace: str, manifest: Manifest) -> int:
        name, uid = manifest["metadata"]["name"], manifest["metadata"]["uid"]
        try:
            await self._cluster.delete(kind, namespace, name, uid=uid)
        except NotFound:
            return 0
        except Conflict:
            left = await self._of_trial(kind, namespace, experiment_uid_of(manifest), trial_uid_of(manifest))
            if any(m["metadata"]["uid"] == uid for m in left):
                raise
            return 0  # another object of that name: not ours
        return 1
