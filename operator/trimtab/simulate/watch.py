"""The operator's watch in a simulation: the cluster's changes become keys, as kopf makes them of a real stream.

Each life of the stream begins with a list and goes on with changes. `deliver` decides what becomes of each change on
its way, so streams can lose, repeat, reorder and delay; `close` ends the stream, which is then listed anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from trimtab.domain.errors import ApiError
from trimtab.domain.kinds import EXPERIMENTS, PODS
from trimtab.domain.names import LABEL_ARM
from trimtab.ports import Clock, Cluster
from trimtab.runtime.resync import WATCHED, Feed, WatchState, key_of, keys_of
from trimtab.simulate.cluster import InMemoryCluster, WatchEvent

Deliver = Callable[[WatchEvent], Iterable[tuple[float, WatchEvent]]]
"""What arrives of a change: nothing, itself, itself twice, later ..., each with its delay in seconds."""
RECONNECT_SECONDS = 1.0


class SimulatedWatch:
    """Feeds `feed` and `state`. `cluster` are the objects, `client` how this operator lists them."""

    def __init__(
        self,
        cluster: InMemoryCluster,
        client: Cluster,
        clock: Clock,
        feed: Feed,
        state: WatchState,
        *,
        namespaces: Sequence[str] = (),
        deliver: Deliver | None = None,
    ) -> None:
        self._cluster, self._client, self._clock = cluster, client, clock
        self._feed, self._state = feed, state
        self._namespaces = frozenset(namespaces)
        self.deliver = deliver
        self._closed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._life = 0

    def close(self) -> None:
        """The server ends the stream (410 Gone, a time-out, a restart)."""
        self._closed.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Keep watching until `stop`."""
        while not stop.is_set():
            self._closed.clear()
            self._state.anew()
            self._life += 1
            unsubscribe = self._cluster.subscribe(self._changed, WATCHED)
            try:
                await self._list()
                await _first(stop.wait(), self._closed.wait(), self._state.dead.wait())
            except ApiError:
                pass  # as a stream that ended
            finally:
                unsubscribe()
            if not stop.is_set():
                await _first(stop.wait(), self._clock.sleep(RECONNECT_SECONDS))

    async def _list(self) -> None:
        for kind in WATCHED:
            labels = LABEL_ARM if kind == PODS else ""
            for namespace in self._within_reach():
                for each in await self._client.list(kind, namespace, labels=labels):
                    self._arrived(self._life, WatchEvent("ADDED", kind, each))

    def _within_reach(self) -> Sequence[str | None]:
        """As the real one: without namespaces that cannot be read, of which one would end the stream."""
        found = sorted(self._namespaces - self._state.unread)
        return found or sorted(self._namespaces) or (None,)

    def _changed(self, event: WatchEvent) -> None:
        metadata = event.object["metadata"]
        if self._namespaces and metadata.get("namespace") not in self._within_reach():
            return
        if event.kind == PODS and LABEL_ARM not in (metadata.get("labels") or {}):
            return
        for delay, each in ((0.0, event),) if self.deliver is None else self.deliver(event):
            self._loop.call_later(delay, self._arrived, self._life, each)

    def _arrived(self, life: int, event: WatchEvent) -> None:
        if life != self._life or self._closed.is_set():
            return
        if event.kind == EXPERIMENTS:
            if self._state.delivered(event.object, event.type == "DELETED"):
                self._feed(key_of(event.object["metadata"]))
            return
        for key in keys_of(event.object, self._state):
            self._feed(key)


async def _first(*waits: object) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]  # type: ignore[call-overload]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


__all__ = ["Deliver", "SimulatedWatch"]
