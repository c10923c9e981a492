"""A keyed work queue: each key is worked on by one worker at a time, and never forgotten.

A key that is added again while it waits is one entry; added again while it is being worked on, it comes once more
afterwards. Errors come back with a growing, jittered delay per key. Nothing but the Clock tells time here, so the same
queue runs in virtual time. Keys carry no payload: whoever takes one reads the world afresh.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from trimtab.control.faults import least_pause
from trimtab.domain.backoff import doubling
from trimtab.domain.errors import LeadershipLost
from trimtab.ports import Clock


class Key(NamedTuple):
    """An Experiment, by namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class QueueClosed(Exception):
    """The queue is shutting down: take nothing more from it."""


Handler = Callable[[Key], Awaitable[float | None]]
OnError = Callable[[Key, Exception, float], None]
OnDone = Callable[[Key, float], None]


class WorkQueue:
    """Keys to reconcile, in the order of their arrival.

    `base` and `cap` (seconds) bound the delay after errors; `rng` draws its jitter, so a seeded one replays.
    """

    def __init__(self, clock: Clock, *, base: float = 0.5, cap: float = 60.0, rng: random.Random | None = None) -> None:
        self._clock = clock
        self._base, self._cap = base, cap
        self._rng = rng or random.Random()
        self._ready: asyncio.Queue[Key | None] = asyncio.Queue()  # None: closed
        self._queued: set[Key] = set()  # in _ready, or to be put there once its worker is done
        self._working: set[Key] = set()
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._counter = 0
        self._failures: dict[Key, int] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._timer: asyncio.Task[None] | None = None
        self._timer_due = 0.0
        self.closed = False

    @property
    def depth(self) -> int:
        """Keys that wait for a worker now; delayed ones are not counted."""
        return 0 if self.closed else self._ready.qsize()

    @property
    def working(self) -> int:
        """Keys that a worker holds."""
        return len(self._working)

    def add(self, key: Key) -> None:
        """Queue this key, unless it is queued already."""
        if self.closed or key in self._queued:
            return
        self._queued.add(key)
        if key not in self._working:
            self._ready.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Queue this key in a while; of several delays for one key the earliest holds."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        if self.closed or self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        self._counter += 1
        heapq.heappush(self._heap, (due, self._counter, key))
        self._arm()

    def add_failed(self, key: Key, at_least: float = 0.0) -> float:
        """Queue this key after its back-off, which doubles with each failure in a row; returns the delay."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        ceiling = doubling(self._base, failures + 1, self._cap)
        delay = max(at_least, ceiling * (0.5 + 0.5 * self._rng.random()))
        self.add_after(key, delay)
        return delay

    def forget(self, key: Key) -> None:
        """Start this key's back-off from the beginning."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """Wait for a key and take it; `done` must follow.

        Raises:
            QueueClosed: the queue is shutting down.
        """
        key = await self._ready.get()
        if key is None:
            self._ready.put_nowait(None)  # for the next worker
            raise QueueClosed
        self._queued.discard(key)
        self._working.add(key)
        self._idle.clear()
        return key

    def done(self, key: Key) -> None:
        """Give a key back; it is queued again if it was added meanwhile."""
        self._working.discard(key)
        if key in self._queued:
            self._ready.put_nowait(key)
        if not self._working:
            self._idle.set()

    def close(self) -> None:
        """Take nothing more and give nothing more; what is being worked on goes on. Queued keys are dropped: they are
        no more than hints, and whoever leads next lists everything."""
        if self.closed:
            return
        self.closed = True
        while not self._ready.empty():
            self._ready.get_nowait()
        self._ready.put_nowait(None)
        self._queued.clear()
        self._due.clear()
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()

    async def drained(self) -> None:
        """Wait until no worker holds a key."""
        await self._idle.wait()

    def _arm(self) -> None:
        """Have the timer wake up no later than the earliest delayed key."""
        if not self._heap:
            return
        due = self._heap[0][0]
        if self._timer is not None and not self._timer.done():
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = asyncio.get_running_loop().create_task(self._expire(due))

    async def _expire(self, due: float) -> None:
        await self._clock.sleep(due - self._clock.monotonic())
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now + 1e-6:
            at, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == at:
                del self._due[key]
                self.add(key)
        self._timer = None
        self._arm()


async def run_workers(
    queue: WorkQueue,
    handle: Handler,
    *,
    workers: int,
    clock: Clock,
    on_error: OnError,
    on_done: OnDone | None = None,
) -> None:
    """Work on the queue's keys until it is closed.

    `handle` returns in how many seconds it wants the key again, or None. Whatever it raises is told to `on_error` with
    the delay of the next attempt; only LeadershipLost ends all workers, since nothing may be written any more.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                group.create_task(_work(queue, handle, clock, on_error, on_done), name=f"worker-{number}")
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _work(queue: WorkQueue, handle: Handler, clock: Clock, on_error: OnError, on_done: OnDone | None) -> None:
    with contextlib.suppress(QueueClosed):
        while True:
            key = await queue.get()
            started = clock.monotonic()
            try:
                again = await handle(key)
            except LeadershipLost:
                queue.close()
                raise
            except Exception as error:
                on_error(key, error, queue.add_failed(key, least_pause(error)))
            else:
                queue.forget(key)
                if again is not None:
                    queue.add_after(key, again)
            finally:
                queue.done(key)
                if on_done is not None:
                    on_done(key, clock.monotonic() - started)


__all__ = ["Handler", "Key", "QueueClosed", "WorkQueue", "run_workers"]
