"""The Cluster port of one operator process, with the faults of the process and of its way to the API server.

Every write is announced before it is sent and after it took effect, so that a fault can strike exactly there. Reads are
consistent, as the operator's are: a late answer was read when the request arrived, so what it says may be old.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from trimtab.domain.errors import ApiError, Conflict, Forbidden, Throttled, Unavailable
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.ports import Clock, Cluster
from trimtab.runtime.effects import EffectfulCluster, FailPoint
from trimtab.simulate.faults.acting import ActingFaults
from trimtab.simulate.faults.kinds import FaultKind
from trimtab.simulate.faults.plan import Fault
from trimtab.simulate.faults.process import Process

T = TypeVar("T")
K = FaultKind
REQUEST_SECONDS = 10.0  # after which the real client gives up
WRITES = frozenset({"create", "update", "delete"})


class FaultyCluster:
    """Implements `trimtab.ports.Cluster` over another one.

    Args:
        on_effect: told each write, as `before:create:Trial` and `after:create:Trial`; it may kill the process.
        seed: draws which requests a fault meets.
    """

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        process: Process,
        acting: ActingFaults,
        on_effect: FailPoint,
        *,
        seed: str = "",
    ) -> None:
        self._clock, self._process, self._acting = clock, process, acting
        self._rng = random.Random(f"requests of {seed}")
        self._on_effect = on_effect
        self._cluster = EffectfulCluster(cluster, self._announce)

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest:
        """See the port."""
        return await self._ask("get", kind, lambda: self._cluster.get(kind, namespace, name))

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> tuple[Manifest, ...]:
        """See the port."""
        return await self._ask("list", kind, lambda: self._cluster.list(kind, namespace, labels=labels))

    async def version(self) -> str:
        """See the port."""
        return await self._ask("get", None, self._cluster.version)

    async def create(self, kind: Kind, namespace: str | None, body: Manifest, *, dry_run: bool = False) -> Manifest:
        """See the port."""
        verb = "get" if dry_run else "create"
        return await self._ask(verb, kind, lambda: self._cluster.create(kind, namespace, body, dry_run=dry_run))

    async def create_subresource(
        self, kind: Kind, namespace: str, name: str, subresource: str, body: Manifest
    ) -> Manifest:
        """See the port."""
        return await self._ask(
            "create", kind, lambda: self._cluster.create_subresource(kind, namespace, name, subresource, body)
        )

    async def replace(
        self, kind: Kind, namespace: str | None, name: str, body: Manifest, *, subresource: str = ""
    ) -> Manifest:
        """See the port."""
        return await self._ask(
            "update", kind, lambda: self._cluster.replace(kind, namespace, name, body, subresource=subresource)
        )

    async def delete(
        self, kind: Kind, namespace: str | None, name: str, *, uid: str | None = None, grace_seconds: int | None = None
    ) -> None:
        """See the port."""
        await self._ask(
            "delete", kind, lambda: self._cluster.delete(kind, namespace, name, uid=uid, grace_seconds=grace_seconds)
        )

    async def _ask(self, verb: str, kind: Kind | None, perform: Callable[[], Awaitable[T]]) -> T:
        """One request: on its way, at the server, and its answer's way back."""
        await self._process.alive()
        await self._reach()
        error = self._refused(verb, kind)
        if error is not None:
            raise error
        slow = self._first(K.API_SLOW)
        if slow is not None and verb in WRITES:
            await self._clock.sleep(slow.number("latency"))
        answer = await perform()
        if slow is not None and verb not in WRITES:
            await self._clock.sleep(slow.number("latency"))
        await self._process.alive()
        if verb in WRITES and self._meets(K.API_ANSWER_LOST):
            await self._give_up()
        await self._reach()
        return answer

    async def _announce(self, point: str) -> None:
        await self._on_effect(point)
        await self._process.alive()

    async def _reach(self) -> None:
        """Nothing comes through while the server cannot be reached."""
        cut = self._first(K.API_UNREACHABLE)
        if cut is None:
            return
        if cut.text("how") == "refused":
            raise Unavailable(0, "connection refused")
        await self._give_up()

    async def _give_up(self) -> None:
        await self._clock.sleep(REQUEST_SECONDS)
        await self._process.alive()
        raise Unavailable(0, f"no answer within {REQUEST_SECONDS:g} s")

    def _refused(self, verb: str, kind: Kind | None) -> ApiError | None:
        """The answer of a server that does not do it."""
        what = kind.plural if kind is not None else "version"
        denied = self._first(K.API_FORBIDDEN)
        if denied is not None and denied.text("verb") in ("all", verb):
            text = f"{what} is forbidden: User cannot {verb} resource {what}"
            return Forbidden(403, text)
        throttled = self._first(K.API_THROTTLED)
        if throttled is not None and self._meets(K.API_THROTTLED):
            return Throttled("too many requests, please try again later", throttled.number("retryAfter"))
        failing = self._first(K.API_ERROR)
        if failing is not None and self._meets(K.API_ERROR):
            return Unavailable(int(failing.text("status")), "the server is currently unable to handle the request")
        if verb == "update" and self._meets(K.API_CONFLICT):
            return Conflict(409, f"Operation cannot be fulfilled on {what}: the object has been modified")
        return None

    def _meets(self, kind: FaultKind) -> bool:
        """Does this request meet such a fault? Nothing is drawn while there is none."""
        fault = self._first(kind)
        return fault is not None and self._rng.random() < fault.number("chance")

    def _first(self, kind: FaultKind) -> Fault | None:
        return self._acting.first(kind, process=self._process.name)


__all__ = ["REQUEST_SECONDS", "FaultyCluster"]
