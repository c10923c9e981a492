"""Where leadership and locks are shown: in memory and in virtual time, or on the real API server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from tests.virtual import passes

from trimtab.adapters.clock import LoopClock
from trimtab.ports import Clock, Cluster
from trimtab.simulate.client import Client
from trimtab.simulate.cluster import InMemoryCluster

Condition = Callable[[], Awaitable[bool] | bool]


class Until(Protocol):
    """Wait for a condition; fails when it does not come true."""

    async def __call__(self, condition: Condition, what: str) -> None: ...


@dataclass(frozen=True)
class Place:
    """A cluster and a namespace of this test's own. `slack`: seconds by which a busy machine may be late."""

    cluster: Cluster
    namespace: str
    clock: Clock
    until: Until
    slack: float = 0.0

    def client(self) -> Client:
        """Another connection, with hooks."""
        return Client(self.cluster)


def in_memory() -> Place:
    """Waits in virtual time."""
    clock = LoopClock()

    async def until(condition: Condition, what: str) -> None:
        for _ in range(1200):
            holds = condition()
            if await holds if isinstance(holds, Awaitable) else holds:
                return
            await passes(0.05)
        raise AssertionError(f"not within a minute: {what}")

    return Place(InMemoryCluster(clock), "default", clock, until)


__all__ = ["Place", "in_memory"]
