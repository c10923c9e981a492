"""The Clock port over the running event loop: elapsed time is the loop's, wall time is an epoch more."""

from __future__ import annotations

import asyncio

EPOCH = 1_772_409_600.0  # 2026-03-02T00:00:00Z, a Monday


class SimulatedClock:
    """`epoch` is the wall time (unix seconds) when the loop's time is 0. Bound to the loop in which it is made.

    `skew` (seconds) moves the wall clock alone, as when a node's clock is set; several clocks over one loop may differ.
    """

    def __init__(self, epoch: float = EPOCH, *, skew: float = 0.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoch = epoch
        self.skew = skew

    def now(self) -> float:
        """Wall time in unix seconds."""
        return self._epoch + self.skew + self._loop.time()

    def monotonic(self) -> float:
        """Elapsed seconds, never going back, whatever `skew` does."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Let others run for this long."""
        await asyncio.sleep(max(0.0, seconds))


__all__ = ["EPOCH", "SimulatedClock"]
