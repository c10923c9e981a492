"""Events do not live for ever: the API server lets each go after an hour."""

from __future__ import annotations

import asyncio
from collections import deque

from trimtab.domain import kinds
from trimtab.ports import Clock
from trimtab.simulate.cluster import InMemoryCluster, WatchEvent

EVENT_SECONDS = 3600.0


class Expiry:
    """Removes Events, with one timer for all of them."""

    watches = (kinds.EVENTS,)

    def __init__(self, cluster: InMemoryCluster, clock: Clock) -> None:
        self._objects, self._clock = cluster.objects, clock
        self._loop = asyncio.get_running_loop()
        self._due: deque[tuple[float, str, str]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def changed(self, event: WatchEvent) -> None:
        """An Event was written."""
        if event.type == "ADDED":
            metadata = event.object["metadata"]
            self._due.append((self._clock.monotonic() + EVENT_SECONDS, metadata["namespace"], metadata["name"]))
            self._plan()

    def _plan(self) -> None:
        if self._timer is None and self._due:
            self._timer = self._loop.call_later(max(0.0, self._due[0][0] - self._clock.monotonic()), self._run)

    def _run(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        while self._due and self._due[0][0] <= now + 1e-6:
            _, namespace, name = self._due.popleft()
            if self._objects.find(kinds.EVENTS, namespace, name) is not None:
                self._objects.begin_delete(kinds.EVENTS, namespace, name, 0)
        self._plan()


__all__ = ["Expiry"]
