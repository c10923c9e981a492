"""What a Service's load is divided by, over time: how many ready endpoints it had, and since when.

Kept as the integral of 1 / endpoints, so that a pod that is looked at after an hour has got exactly its share of every
moment of it.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache

import numpy as np

from trimtab.workload import (
    Conditions,
    OfferedLoad,
    PodBehaviour,
    Resources,
    WorkloadSpec,
    evaluate,
    noise,
    rounded,
)
from trimtab.workload.latency import FloatArray
from trimtab.workload.sampling import Chances

KEPT = 2000
MOST_BEHAVIOURS = 512
DRIFT_SECONDS = 10.0
Run = tuple[WorkloadSpec, Resources]
"""What a pod runs, as its settings make it, and with what."""


class ServiceShare:
    """One workload's Service in one namespace. Times are unix seconds, ascending."""

    def __init__(self, namespace: str, workload: WorkloadSpec, seed: int, now: float) -> None:
        self.namespace, self.workload = namespace, workload
        self.load = OfferedLoad.of(workload, seed)
        self.endpoints: frozenset[str] = frozenset()
        self._silent = False
        self._times, self._inverse, self._integral = [now], [0.0], [0.0]
        self._behaviours: dict[tuple[Run, float, Conditions], tuple[PodBehaviour, Chances]] = {}
        self._offered = lru_cache(maxsize=512)(lambda second: self.load.at(second + 0.5))
        self._drift = lru_cache(maxsize=512)(self._drift_in)

    def set_endpoints(self, names: frozenset[str], now: float) -> None:
        """From now on these pods share the load."""
        self.endpoints = names
        passed = now - self._times[-1]
        self._integral.append(self._integral[-1] + passed * self._inverse[-1])
        self._times.append(now)
        self._inverse.append(1.0 / len(names) if names and not self._silent else 0.0)

    def silence(self, silent: bool, now: float) -> None:
        """From now on nobody asks anything of this Service, or they do again."""
        self._silent = silent
        self.set_endpoints(self.endpoints, now)

    def per_endpoint(self, now: float) -> float:
        """Requests per second that each ready endpoint gets now."""
        return self.offered(now) / len(self.endpoints) if self.endpoints and not self._silent else 0.0

    def offered(self, t: float) -> float:
        """Requests per second offered to the whole Service, the same within each second."""
        return self._offered(int(t))

    def drift(self, t: float) -> float:
        """Factor on the dependencies' time, on the model's grid, the same within each few seconds."""
        return self._drift(int(t // DRIFT_SECONDS))

    def _drift_in(self, slot: int) -> float:
        spread = self.workload.noise
        middle = (slot + 0.5) * DRIFT_SECONDS
        return rounded(noise.drift(self.load.seed, "drift", spread.drift_percent, spread.drift_interval, middle))

    def loads(self, starts: FloatArray, ends: FloatArray) -> FloatArray:
        """Mean requests per second of one endpoint in each interval, shape (k,)."""
        part = (self.integral(ends) - self.integral(starts)) / (ends - starts)
        return np.asarray(self.load.series(0.5 * (starts + ends)) * part)

    def load_between(self, start: float, end: float) -> float:
        """The same between two moments, in plain numbers."""
        if start >= self._times[-1]:
            return self.offered(0.5 * (start + end)) * self._inverse[-1]
        return float(self.loads(np.array([start]), np.array([end]))[0])

    def behaviour(self, run: Run, load: float, conditions: Conditions) -> tuple[PodBehaviour, Chances]:
        """How such a pod behaves at a load on the model's grid, and what its counts are drawn from."""
        key = (run, load, conditions)
        found = self._behaviours.get(key)
        if found is None:
            workload, resources = run
            behaviour = evaluate(workload, resources, load, conditions)
            found = self._behaviours[key] = (behaviour, Chances.of(workload, behaviour))
            if len(self._behaviours) > MOST_BEHAVIOURS:
                del self._behaviours[next(iter(self._behaviours))]
        return found

    def integral(self, t: FloatArray) -> FloatArray:
        """Integral of 1 / endpoints up to each t, in seconds; shape of `t`."""
        if len(self._times) == 1 or t.min() >= self._times[-1]:
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


__all__ = ["Run", "ServiceShare"]
