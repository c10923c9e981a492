"""`trimtab reap` in a simulated world, as its CronJob runs it: a new process each minute, none beside another.

It is no operator's life: it has a connection of its own, it knows what it sees in one run, and nobody restarts it.
"""

from __future__ import annotations

import asyncio
import contextvars

from trimtab.ports import Clock
from trimtab.runtime.reaper import Reaped, Reaper, Where
from trimtab.simulate.client import Client, Hook
from trimtab.simulate.cluster import InMemoryCluster
from trimtab.simulate.life import LEASE_NAME, LEASE_NAMESPACE

PERIOD_SECONDS = 60.0
POD_SECONDS = 5.0
"""Until the process of a new pod runs: scheduling, a container, an interpreter."""
WHERE = Where(LEASE_NAMESPACE, LEASE_NAME)


class MinutelyReap:
    """Runs from `start` to `stop`; `runs` are what each came to, with its beginning and end in unix seconds."""

    def __init__(
        self, cluster: InMemoryCluster, clock: Clock, *, before: Hook | None = None, after: Hook | None = None
    ) -> None:
        self._cluster, self._clock, self._before, self._after = cluster, clock, before, after
        self._task: asyncio.Task[None] | None = None
        self.runs: list[tuple[float, float, Reaped]] = []

    def start(self, context: contextvars.Context) -> None:
        """From now on, in a context that is of no operator's life."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="reap", context=context.copy())

    def stop(self) -> None:
        """Nobody makes a new process, and one that runs is killed.

        Raises:
            Exception: what ended it before.
        """
        if self._task is not None and not self._task.cancel():
            self._task.result()

    async def _run(self) -> None:
        begun = self._clock.monotonic()
        while True:
            await self._clock.sleep(POD_SECONDS)
            client = Client(self._cluster)
            client.before, client.after = self._before, self._after
            at = self._clock.now()
            reaped = await Reaper(client, self._clock, WHERE).once()
            self.runs.append((at, self._clock.now(), reaped))
            passed = (self._clock.monotonic() - begun) % PERIOD_SECONDS
            await self._clock.sleep(PERIOD_SECONDS - passed)


__all__ = ["PERIOD_SECONDS", "MinutelyReap"]
