"""What a Service's load is divided by, over time: how many ready endpoints it had, and since when.

Kept as the integral of 1 / endpoints, so that a pod that is looked at after an hour has got exactly its share of every
moment of it.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from trimtab.workload import OfferedLoad, WorkloadSpec
from trimtab.workload.latency import FloatArray

KEPT = 2000


class ServiceShare:
    """One workload's Service in one namespace. Times are unix seconds, ascending."""

    def __init__(self, namespace: str, workload: WorkloadSpec, seed: int, now: float) -> None:
        self.namespace, self.workload = namespace, workload
        self.load = OfferedLoad.of(workload, seed)
        self.endpoints: frozenset[str] = frozenset()
        self._times, self._inverse, self._integral = [now], [0.0], [0.0]

    def set_endpoints(self, names: frozenset[str], now: float) -> None:
        """From now on these pods share the load."""
        self.endpoints = names
        passed = now - self._times[-1]
        self._integral.append(self._integral[-1] + passed * self._inverse[-1])
        self._times.append(now)
        self._inverse.append(1.0 / len(names) if names else 0.0)

    def per_endpoint(self, now: float) -> float:
        """Requests per second that each ready endpoint gets now."""
        return self.load.at(now) / len(self.endpoints) if self.endpoints else 0.0

    def integral(self, t: FloatArray) -> FloatArray:
        """Integral of 1 / endpoints up to each t, in seconds; shape of `t`."""
        if len(self._times) == 1 or t[0] >= self._times[-1]:
            return np.asarray(self._integral[-1] + (t - self._times[-1]) * self._inverse[-1])
        index = np.searchsorted(self._times, t, side="right") - 1
        index = np.maximum(index, 0)
        times, inverse, integral = (np.array(c)[index] for c in (self._times, self._inverse, self._integral))
        return np.asarray(integral + (t - times) * inverse)

    def forget(self, before: float) -> None:
        """Nobody asks for what was before this time any more."""
        if len(self._times) > KEPT:
            drop = max(0, bisect_right(self._times, before) - 1)
            for column in (self._times, self._inverse, self._integral):
                del column[:drop]


__all__ = ["ServiceShare"]
