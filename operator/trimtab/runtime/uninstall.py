"""`trimtab reap --all`: everything that Trimtab holds in the cluster is undone and let go, before it is removed.

The operators still run then, and would make new arms and take new finalizers. So this process takes their Lease, as a
hand could, and waits until the leader that it was taken from has noticed: from then on nobody else leads. Arms go
before finalizers, and what has arms left keeps its finalizer: a finalizer that goes first leaves a canary that nobody
knows of. At the end the Lease runs out by itself, so operators that were not removed after all go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

import structlog

from trimtab.adapters.ledger import KubernetesLedger
from trimtab.api.convert import experiment_record, stray_trial
from trimtab.api.kube_reap import lease_seen
from trimtab.domain.errors import AlreadyExists, ApiError, Conflict, NotFound
from trimtab.domain.kinds import EXPERIMENTS, LEASES, TRIALS, Kind
from trimtab.domain.kube import Manifest
from trimtab.domain.names import FINALIZER
from trimtab.domain.reaping import LeftArms
from trimtab.ports import Clock, Cluster
from trimtab.runtime.lease import LeaseTiming, micro_time
from trimtab.runtime.reaper import LIMIT_SECONDS, LOOK_SECONDS, LeftReader, Reaped, Undoer, Where
from trimtab.runtime.withdraw import by_hand

log = structlog.get_logger(__name__)

SEIZE_ATTEMPTS = 20  # a leader renews every two seconds, so hardly any of them meets a renewal
AFTERWARDS_SECONDS = 60  # for which nobody leads afterwards: time to remove the operators
RENEW_SECONDS = 10.0
LONGEST_LEASE = 120.0  # seconds that a setting of the operator allows
HOLDER = "uninstall_"  # begins the name of each such process, of which one may have been killed before this one
WHY = "Trimtab is being removed"


class Uninstall:
    """Use one for one run. `identity` is, after HOLDER, what the Lease shows as its holder."""

    def __init__(self, cluster: Cluster, clock: Clock, where: Where, identity: str) -> None:
        self._cluster, self._clock, self._where = cluster, clock, where
        self._identity = f"{HOLDER}{identity}"
        self._left, self._undoer = LeftReader(cluster, clock), Undoer(cluster, clock)
        self._ledger = KubernetesLedger(cluster)
        self._doing = "taking the Lease"
        self._noticed = False  # has whoever led before had the time to notice that it does no more?

    async def run(self, limit: float = LIMIT_SECONDS) -> Reaped:
        """Undo all and let go, for at most `limit` seconds; what could not be done is among the problems."""
        removed: list[str] = []
        problems: tuple[str, ...] = ()
        renewing = asyncio.ensure_future(self._renew())
        try:
            async with asyncio.timeout(limit):
                while True:
                    try:
                        problems = await self._pass(removed)
                    except ApiError as error:
                        problems = (str(error),)
                    if not problems:
                        break
                    await self._clock.sleep(LOOK_SECONDS)
        except TimeoutError:
            problems = problems or (f"stopped after {limit:.0f} s while {self._doing}",)
        finally:
            renewing.cancel()
            await asyncio.wait({renewing})
        return Reaped(removed=tuple(dict.fromkeys(removed)), problems=problems)

    async def _pass(self, removed: list[str]) -> tuple[str, ...]:
        """Everything once; returns what is left to do, a line each.

        Raises:
            ApiError: it got no further.
        """
        await self._lead()
        self._doing = "removing arms"
        found = await self._found()
        said = await asyncio.gather(*(self._undoer.remove(arms, WHY) for arms in found))
        removed += [str(arms) for arms, problem in zip(found, said, strict=True) if not problem]
        left = await self._found()
        problems = [problem for problem in said if problem]
        problems += [
            f"arms of {arms} are still there; {by_hand(arms.namespace, arms.trial_uid)}"
            for arms in left
            if not problems
        ]
        self._doing = "letting go of Trials and Experiments"
        problems += await self._let_go(left)
        if not problems:
            await self._hold()
        return tuple(problems)

    async def _found(self) -> list[LeftArms]:
        return [arms for scope in self._where.scopes for arms in await self._left.read(scope)]

    async def _let_go(self, left: Sequence[LeftArms]) -> list[str]:
        """Remove our finalizers from all that has no arms any more; returns what is still held, a line each."""
        trials, experiments = {arms.trial_uid for arms in left}, {arms.experiment_uid for arms in left}
        problems: list[str] = []
        for scope in self._where.scopes:
            for manifest in await self._listed(TRIALS, scope):
                if manifest["metadata"]["uid"] not in trials:
                    trial = stray_trial(manifest)
                    problems += await self._let_go_of("Trial", manifest, self._ledger.let_go(trial))
            for manifest in await self._listed(EXPERIMENTS, scope):
                if manifest["metadata"]["uid"] not in experiments:
                    record = experiment_record(manifest)
                    letting_go = self._ledger.finalize_experiment(record, False)
                    problems += await self._let_go_of("Experiment", manifest, letting_go)
        return problems

    async def _listed(self, kind: Kind, scope: str | None) -> list[Manifest]:
        """Those of a kind that our finalizer holds; none where the kind is not served any more."""
        try:
            found = await self._cluster.list(kind, scope)
        except NotFound:
            return []
        return [m for m in found if FINALIZER in (m["metadata"].get("finalizers") or ())]

    async def _let_go_of(self, what: str, manifest: Manifest, letting_go: Awaitable[object]) -> list[str]:
        metadata = manifest["metadata"]
        log.warning("uninstall.let_go", what=what, namespace=metadata["namespace"], name=metadata["name"])
        try:
            await letting_go
        except NotFound:
            return []
        except ApiError as error:
            return [f"{what} {metadata['namespace']}/{metadata['name']} is still held: {error}"]
        return []

    # The Lease

    async def _lead(self) -> None:
        """Make sure that nobody else leads, and wait until whoever did has noticed.

        Raises:
            ApiError: the Lease cannot be read or written.
        """
        while True:
            before = await self._hold()
            if self._noticed:
                return
            holder = before.get("holderIdentity") or ""
            # Also where the Lease seems to be free: a hand may have freed it, and its leader notices that no sooner.
            theirs = 0.0 if holder.startswith(HOLDER) else lease_seen({"spec": before}).duration
            duration = min(max(theirs, LeaseTiming.duration), LONGEST_LEASE)
            log.info("uninstall.lease_taken", holder=holder, wait=duration)
            self._noticed = True  # unless somebody takes the Lease meanwhile
            await self._clock.sleep(duration)

    async def _renew(self) -> None:
        """Hold the Lease while this process lives, and for a minute after a kill: nobody watches canaries then."""
        while True:
            await self._clock.sleep(RENEW_SECONDS)
            try:
                await self._hold()
            except ApiError as error:
                log.warning("uninstall.not_renewed", error=str(error))

    async def _hold(self) -> Mapping[str, Any]:
        """Take or keep the Lease; returns the spec that it had before.

        Raises:
            ApiError: see `_lead`.
        """
        name, namespace = self._where.lease_name, self._where.lease_namespace
        for _ in range(SEIZE_ATTEMPTS):
            try:
                found = await self._cluster.get(LEASES, namespace, name)
            except NotFound:
                metadata = {"name": name, "namespace": namespace}
                body = {"apiVersion": LEASES.api_version, "kind": LEASES.name, "metadata": metadata}
                try:
                    await self._cluster.create(LEASES, namespace, body | {"spec": self._spec({})})
                except AlreadyExists:
                    continue
                except NotFound:  # where the namespace itself is gone nobody can lead
                    log.warning("uninstall.no_namespace", namespace=namespace)
                return {}
            before = found.get("spec") or {}
            if before.get("holderIdentity") != self._identity:
                self._noticed = False
            try:
                await self._cluster.replace(LEASES, namespace, name, {**found, "spec": self._spec(before)})
            except (Conflict, NotFound):
                continue
            return before
        raise Conflict(409, f"Lease {namespace}/{name} was changed by somebody else {SEIZE_ATTEMPTS} times in a row")

    def _spec(self, before: Mapping[str, Any]) -> dict[str, Any]:
        now, mine = micro_time(self._clock.now()), before.get("holderIdentity") == self._identity
        return dict(before) | {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": AFTERWARDS_SECONDS,
            "acquireTime": before.get("acquireTime") or now if mine else now,
            "renewTime": now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (0 if mine else 1),
        }


__all__ = ["Uninstall"]
