"""The Telemetry port over several metrics stores: each SLI is read from the store that it names.

Every store has threads and connections of its own, in each of the operator's loops. So one that hangs delays the trials
that are measured in it, and no others. Each query counts for the Experiment of the pods that it is about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from trimtab.adapters.query_limits import on_account
from trimtab.domain.measurement import Absence, AlertSeen, ContainerUse, Reading, TelemetryError, Window
from trimtab.domain.spec import Sli
from trimtab.ports import PodSet, SliProbe, SliRequest, Steps, Telemetry

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
        groups: dict[tuple[str, str], list[int]] = {}
        for number, request in enumerate(requests):
            groups.setdefault((request.sli.store, request.pods.account), []).append(number)
        answers = await asyncio.gather(
            *(self._read(*key, [requests[n] for n in numbers], timeout) for key, numbers in groups.items())
        )
        found: dict[int, Reading] = {}
        for numbers, batch in zip(groups.values(), answers, strict=True):
            found.update(zip(numbers, batch, strict=True))
        return tuple(found[n] for n in range(len(requests)))

    async def _read(self, store: str, account: str, requests: list[SliRequest], timeout: float) -> tuple[Reading, ...]:
        telemetry = self._of(store)
        if telemetry is None:
            return tuple(self._unknown(store) for _ in requests)
        with on_account(account):
            return await telemetry.read(requests, timeout=timeout)

    async def totals(self, sli: Sli, pods: PodSet, window: Window, *, timeout: float) -> Reading:
        """See the port."""
        telemetry = self._of(sli.store)
        if telemetry is None:
            return self._unknown(sli.store)
        with on_account(pods.account):
            return await telemetry.totals(sli, pods, window, timeout=timeout)

    async def history(self, sli: Sli, pods: PodSet, window: Window, step: float, *, timeout: float) -> Steps | Absence:
        """See the port."""
        telemetry = self._of(sli.store)
        if telemetry is None:
            return self._unknown(sli.store)
        with on_account(pods.account):
            return await telemetry.history(sli, pods, window, step, timeout=timeout)

    async def load(self, sli: Sli, pods: PodSet, window: Window, *, timeout: float) -> Reading:
        """See the port."""
        telemetry = self._of(sli.store)
        if telemetry is None:
            return self._unknown(sli.store)
        with on_account(pods.account):
            return await telemetry.load(sli, pods, window, timeout=timeout)

    async def working_set(self, pods: PodSet, container: str, window: Window, *, store: str, timeout: float) -> Reading:
        """See the port."""
        telemetry = self._of(store)
        if telemetry is None:
            return self._unknown(store)
        with on_account(pods.account):
            return await telemetry.working_set(pods, container, window, store=store, timeout=timeout)

    async def usage(
        self, pods: PodSet, window: Window, *, store: str, timeout: float
    ) -> tuple[ContainerUse, ...] | Absence:
        """See the port."""
        telemetry = self._of(store)
        if telemetry is None:
            return self._unknown(store)
        with on_account(pods.account):
            return await telemetry.usage(pods, window, store=store, timeout=timeout)

    async def alerts(
        self, names: Sequence[str], namespace: str, window: Window, *, store: str, timeout: float
    ) -> tuple[AlertSeen, ...] | TelemetryError:
        """See the port."""
        telemetry = self._of(store)
        if telemetry is None:
            return self._unknown(store)
        return await telemetry.alerts(names, namespace, window, store=store, timeout=timeout)

    async def probe(self, sli: Sli, pods: PodSet, now: float, history: float, *, timeout: float) -> SliProbe:
        """See the port; an unknown store is a problem that a person must solve."""
        telemetry = self._of(sli.store)
        if telemetry is None:
            return SliProbe(sli.name, "UnknownStore", self._unknown(sli.store).detail, REMEDY)
        with on_account(pods.account):
            return await telemetry.probe(sli, pods, now, history, timeout=timeout)

    def _of(self, name: str) -> Telemetry | None:
        return self._stores.get(name, self._otherwise)

    def _unknown(self, name: str) -> TelemetryError:
        return TelemetryError(f"{name!r} is no metrics store of this operator; it knows {', '.join(self._stores)}")


__all__ = ["Stores"]
