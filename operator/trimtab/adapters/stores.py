"""The Telemetry port over several metrics stores: each SLI is read from the store that it names.

Every store has threads and connections of its own, in each of the operator's loops. So one that hangs delays the trials
that are measured in it, and no others. Each query counts for the Experiment and the trial of the pods that it is about.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from trimtab.adapters.batches import in_groups
from trimtab.adapters.query_limits import on_account
from trimtab.domain.measurement import Absence, AlertSeen, ContainerUse, Reading, TelemetryError, Window
from trimtab.domain.spec import Sli
from trimtab.ports import Account, PodSet, SliProbe, SliRequest, Steps, Telemetry, UseOf

Answer = TypeVar("Answer")
REMEDY = "use one of these, or let the operator's owner add the store"


class Stores:
    """Implements `trimtab.ports.Telemetry`.

    Args:
        stores: by name.
        otherwise: answers for every other name; None where an unknown name is an error.
    """

    def __init__(self, stores: Mapping[str, Telemetry], otherwise: Telemetry | None = None) -> None:
        self._stores, self._otherwise = dict(stores), otherwise

    async def read(self, requests: Sequence[SliRequest], *, timeout: float) -> tuple[Reading, ...]:
        """One reading per request, in order; the requests of each store together."""

        async def ask(some: list[SliRequest]) -> Sequence[Reading]:
            store, account = some[0].sli.store, some[0].pods.account
            found = await self._ask(store, account, lambda t: t.read(some, timeout=timeout))
            return [found for _ in some] if isinstance(found, TelemetryError) else found

        return await in_groups(requests, lambda r: (r.sli.store, r.pods.account), ask)

    async def totals(self, sli: Sli, pods: PodSet, window: Window, *, timeout: float) -> Reading:
        """See the port."""
        return await self._ask(sli.store, pods.account, lambda t: t.totals(sli, pods, window, timeout=timeout))

    async def history(self, sli: Sli, pods: PodSet, window: Window, step: float, *, timeout: float) -> Steps | Absence:
        """See the port."""
        return await self._ask(sli.store, pods.account, lambda t: t.history(sli, pods, window, step, timeout=timeout))

    async def load(self, sli: Sli, pods: PodSet, window: Window, *, timeout: float) -> Reading:
        """See the port."""
        return await self._ask(sli.store, pods.account, lambda t: t.load(sli, pods, window, timeout=timeout))

    async def working_set(self, pods: PodSet, container: str, window: Window, *, store: str, timeout: float) -> Reading:
        """See the port."""
        return await self._ask(
            store, pods.account, lambda t: t.working_set(pods, container, window, store=store, timeout=timeout)
        )

    async def usage(
        self, pods: PodSet, window: Window, *, store: str, timeout: float
    ) -> tuple[ContainerUse, ...] | Absence:
        """See the port."""
        return await self._ask(store, pods.account, lambda t: t.usage(pods, window, store=store, timeout=timeout))

    async def use(self, pods: Sequence[PodSet], of: UseOf, window: Window, *, timeout: float) -> tuple[Reading, ...]:
        """See the port."""
        account = pods[0].account if pods else None
        found = await self._ask(of.store, account, lambda t: t.use(pods, of, window, timeout=timeout))
        return tuple(found for _ in pods) if isinstance(found, TelemetryError) else found

    async def alerts(
        self, names: Sequence[str], namespace: str, window: Window, *, store: str, timeout: float
    ) -> tuple[AlertSeen, ...] | TelemetryError:
        """See the port."""
        return await self._ask(store, None, lambda t: t.alerts(names, namespace, window, store=store, timeout=timeout))

    async def probe(self, sli: Sli, pods: PodSet, now: float, history: float, *, timeout: float) -> SliProbe:
        """See the port; an unknown store is a problem that a person must solve."""
        found = await self._ask(sli.store, pods.account, lambda t: t.probe(sli, pods, now, history, timeout=timeout))
        return SliProbe(sli.name, "UnknownStore", found.detail, REMEDY) if isinstance(found, TelemetryError) else found

    async def _ask(
        self, store: str, account: Account | None, ask: Callable[[Telemetry], Awaitable[Answer]]
    ) -> Answer | TelemetryError:
        """The answer of the store of this name, asked on this account."""
        telemetry = self._stores.get(store, self._otherwise)
        if telemetry is None:
            known = ", ".join(self._stores)
            return TelemetryError(f"{store!r} is no metrics store of this operator; it knows {known}")
        with on_account(account):
            return await ask(telemetry)


__all__ = ["Stores"]
