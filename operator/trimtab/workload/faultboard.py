"""The faults in force: set over HTTP or scripted, asked by the kubelet, the traffic and the scrape endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from .faults import Fault, FaultKind, acting, conditions_under
from .model import Conditions


class FaultBoard:
    """Faults by name; a fault of the same name replaces the earlier one. `before_change` is told of each change, before
    it counts."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults: dict[str, Fault] = {fault.name: fault for fault in faults}
        self._struck: set[tuple[str, float | None, str]] = set()
        self._change = asyncio.Event()
        self.before_change: Callable[[], None] | None = None

    @property
    def all(self) -> tuple[Fault, ...]:
        """Every fault, also those that are over or not yet begun."""
        return tuple(self._faults.values())

    @property
    def edges(self) -> tuple[float, ...]:
        """When faults begin and end, as far as that is known."""
        return tuple(t for f in self._faults.values() for t in f.edges)

    def set(self, fault: Fault, now: float) -> Fault:
        """Put a fault into force; without a start it begins now."""
        self._announce()
        begun = fault.starting_at(now)
        self._faults[begun.name] = begun
        self._tell()
        return begun

    def remove(self, name: str) -> bool:
        """End a fault; whether there was one."""
        self._announce()
        known = self._faults.pop(name, None) is not None
        self._tell()
        return known

    def clear(self) -> None:
        """End all faults."""
        self._announce()
        self._faults.clear()
        self._tell()

    async def changed(self) -> None:
        """Wait until a fault is set or ended."""
        await self._change.wait()

    def _announce(self) -> None:
        if self.before_change is not None:
            self.before_change()

    def _tell(self) -> None:
        """Wake whoever waits for a change."""
        self._change.set()
        self._change = asyncio.Event()

    def acting(self, kind: FaultKind, labels: Mapping[str, str], now: float, namespace: str) -> bool:
        """Whether a fault of this kind acts on such a pod now."""
        return acting(self._faults.values(), kind, labels, now, namespace)

    def global_acting(self, kind: FaultKind, now: float) -> bool:
        """Whether a fault of this kind acts on the whole program."""
        return any(f.kind is kind and f.active(now) for f in self._faults.values())

    def strikes(
        self, kind: FaultKind, uid: str, labels: Mapping[str, str], since: float, now: float, namespace: str
    ) -> bool:
        """Whether a one-shot fault hits this pod now: once, and only pods that were there (`since`) when it began."""
        hit = False
        for fault in self._faults.values():
            if fault.kind is not kind or not fault.active(now) or not fault.selects(labels, namespace):
                continue
            mark = (fault.name, fault.start, uid)
            there = fault.start is None or since <= fault.start
            hit = hit or (there and mark not in self._struck)
            self._struck.add(mark)
        return hit

    def conditions(self, labels: Mapping[str, str], now: float, base: Conditions, namespace: str) -> Conditions:
        """Conditions of such a pod now."""
        return conditions_under(self._faults.values(), labels, now, base, namespace)
