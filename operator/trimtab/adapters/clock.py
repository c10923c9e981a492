"""Clocks: the system's, and the event loop's for virtual time."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Wall time for what is written down, monotonic time for every deadline."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back, whatever happens to the wall clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let others run for this long."""
        await asyncio.sleep(max(0.0, seconds))


class LoopClock:
    """Both times follow the running event loop.

    In a loop with virtual time (looptime, the simulator) three days pass in seconds. Both start at the first look, so a
    clock may be made before its loop runs. `skew` moves the wall clock alone, as when a node's clock is set.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._start = start
        self._origin: float | None = None
        self.skew = 0.0

    def now(self) -> float:
        """Unix seconds: `start` at the first look."""
        return self._start + self.skew + self.monotonic()

    def monotonic(self) -> float:
        """Seconds since the first look."""
        now = asyncio.get_running_loop().time()
        if self._origin is None:
            self._origin = now
        return now - self._origin

    async def sleep(self, seconds: float) -> None:
        """Let others run for this long, in the loop's time."""
        await asyncio.sleep(max(0.0, seconds))
