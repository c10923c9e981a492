"""Counters and gauges of one pod: what it has served, used and suffered so far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .latency import FloatArray
from .sampling import TickCounts


@dataclass(slots=True)
class PodCounters:
    """Totals since the container started; out-of-memory events since the pod started."""

    buckets: FloatArray
    """shape (len(workload.buckets)+1,), not cumulative."""
    succeeded: int = 0
    failed: int = 0
    unavailable: int = 0
    latency_sum_s: float = 0.0
    cpu_seconds: float = 0.0
    periods: int = 0
    throttled: int = 0
    working_set_bytes: float = 0.0
    oom_events: int = 0

    @classmethod
    def empty(cls, bounds: int) -> PodCounters:
        """Counters of a new container whose histogram has so many bounds."""
        return cls(np.zeros(bounds + 1))

    def add(self, tick: TickCounts) -> None:
        """Add one tick's gains (an OOM is counted when the container is killed)."""
        self.buckets += tick.buckets
        self.succeeded += tick.succeeded
        self.failed += tick.failed
        self.unavailable += tick.unavailable
        self.latency_sum_s += tick.latency_sum_s
        self.cpu_seconds += tick.cpu_seconds
        self.periods += tick.periods
        self.throttled += tick.throttled

    def restarted(self) -> None:
        """A new container counts from zero."""
        fresh = PodCounters.empty(len(self.buckets) - 1)
        fresh.oom_events = self.oom_events
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))
