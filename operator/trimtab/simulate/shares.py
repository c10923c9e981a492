"""What the load of a service is divided by, over time: by weights of routes, and by how many ready endpoints each
Service has that it goes to.

Kept as integrals of what one endpoint gets, so that a pod that is looked at after an hour has got exactly its share of
every moment of it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping
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
from trimtab.workload.routing import divide
from trimtab.workload.sampling import Chances

KEPT = 2000
MOST_BEHAVIOURS = 512
DRIFT_SECONDS = 10.0
COUNT_SECONDS = 10.0
Run = tuple[WorkloadSpec, Resources]
"""What a pod runs, as its settings make it, and with what."""


class Level:
    """A number that changes now and then, and its integral. Times are unix seconds, ascending."""

    def __init__(self, now: float, value: float = 0.0) -> None:
        self._times, self._values, self._integral = [now], [value], [0.0]

    @property
    def now(self) -> float:
        """The number of now."""
        return self._values[-1]

    @property
    def since(self) -> float:
        """When it was set last."""
        return self._times[-1]

    def set(self, value: float, now: float) -> None:
        """It is this from now on."""
        passed = now - self._times[-1]
        self._integral.append(self._integral[-1] + passed * self._values[-1])
        self._times.append(now)
        self._values.append(value)

    def mean(self, starts: FloatArray, ends: FloatArray) -> FloatArray:
        """Its mean in each interval, shape (k,)."""
        return np.asarray((self.integral(ends) - self.integral(starts)) / (ends - starts))

    def integral(self, t: FloatArray) -> FloatArray:
        """Its integral up to each t; shape of `t`."""
        if len(self._times) == 1 or t.min() >= self._times[-1]:
            return np.asarray(self._integral[-1] + (t - self._times[-1]) * self._values[-1])
        index = np.searchsorted(self._times, t, side="right") - 1
        index = np.maximum(index, 0)
        times, values, integral = (np.array(c)[index] for c in (self._times, self._values, self._integral))
        return np.asarray(integral + (t - times) * values)

    def forget(self, before: float) -> None:
        """Nobody asks for what was before this time any more."""
        if len(self._times) > KEPT:
            drop = max(0, bisect_right(self._times, before) - 1)
            for column in (self._times, self._values, self._integral):
                del column[:drop]


class ServiceShare:
    """The load of one workload in one namespace. Times are unix seconds, ascending.

    `levels` say by Service what one of its ready endpoints gets, as a part of the whole load; `lost` is the part that
    goes to nobody.
    """

    def __init__(self, namespace: str, workload: WorkloadSpec, seed: int, now: float) -> None:
        self.namespace, self.workload = namespace, workload
        self.service = workload.target.service
        self.load = OfferedLoad.of(workload, seed)
        self.parts: Mapping[str, float] = {self.service: 1.0}
        self.levels = {self.service: Level(now)}
        self.lost = Level(now, 1.0)
        self._endpoints: dict[str, frozenset[str]] = {}
        self._silent = False
        self._behaviours: dict[tuple[Run, float, Conditions], tuple[PodBehaviour, Chances]] = {}
        self._offered = lru_cache(maxsize=512)(lambda second: self.load.at(second + 0.5))
        self._drift = lru_cache(maxsize=512)(self._drift_in)

    @property
    def endpoints(self) -> frozenset[str]:
        """Ready endpoints of the target's own Service."""
        return self.endpoints_of(self.service)

    def endpoints_of(self, service: str) -> frozenset[str]:
        """Ready endpoints of one of the Services that the load goes to."""
        return self._endpoints.get(service, frozenset())

    def set_endpoints(self, service: str, names: frozenset[str], now: float) -> None:
        """From now on these pods share what goes to this Service."""
        self._endpoints[service] = names
        self._set(now, (service,))

    def set_parts(self, parts: Mapping[str, float], now: float) -> None:
        """From now on the load is divided among Services like this."""
        for service in parts:
            self.levels.setdefault(service, Level(now))
        self.parts = dict(parts)
        self._set(now, parts)

    def silence(self, silent: bool, now: float) -> None:
        """From now on nobody asks anything of this workload, or they do again."""
        self._silent = silent
        self._set(now, tuple(self.levels))

    def _set(self, now: float, touched: Collection[str]) -> None:
        division = divide(self.parts, self._endpoints)
        for service, level in self.levels.items():
            each = 0.0 if self._silent else division.each.get(service, 0.0)
            if service in touched or each != level.now:
                level.set(each, now)
        self.lost.set(0.0 if self._silent else division.lost, now)

    def load_of(self, levels: Collection[Level], now: float) -> float:
        """Requests per second that an endpoint of these Services gets now."""
        part = sum(level.now for level in levels)
        return self.offered(now) * part if part else 0.0

    def requests_lost(self, start: float, end: float) -> float:
        """Requests between two moments that were sent to a backend without ready endpoints, or to none at all."""
        if end <= start:
            return 0.0
        edges = np.linspace(start, end, 1 + max(1, round((end - start) / COUNT_SECONDS)))
        offered = self.load.series(0.5 * (edges[:-1] + edges[1:]))
        return float(offered @ np.diff(self.lost.integral(edges)))

    def offered(self, t: float) -> float:
        """Requests per second offered to the whole workload, the same within each second."""
        return self._offered(int(t))

    def drift(self, t: float) -> float:
        """Factor on the dependencies' time, on the model's grid, the same within each few seconds."""
        return self._drift(int(t // DRIFT_SECONDS))

    def _drift_in(self, slot: int) -> float:
        spread = self.workload.noise
        middle = (slot + 0.5) * DRIFT_SECONDS
        return rounded(noise.drift(self.load.seed, "drift", spread.drift_percent, spread.drift_interval, middle))

    def load_between(self, levels: Collection[Level], start: float, end: float) -> float:
        """Mean requests per second of an endpoint of these Services between two moments, in plain numbers."""
        middle = 0.5 * (start + end)
        if all(start >= level.since for level in levels):
            return self.offered(middle) * sum(level.now for level in levels)
        starts, ends = np.array([start]), np.array([end])
        part = sum(level.mean(starts, ends) for level in levels)
        return float((self.load.series(np.array([middle])) * part)[0])

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

    def forget(self, before: float) -> None:
        """Nobody asks for what was before this time any more."""
        for level in (*self.levels.values(), self.lost):
            level.forget(before)


__all__ = ["Level", "Run", "ServiceShare"]
