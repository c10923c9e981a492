"""A service over a horizon of days: what its pods cost, and in which minutes it broke its bounds.

The load is the one that the world offers, with its noise, minute by minute; pods are the model's, without noise, so
that a rule is judged by what it does and not by its luck. In the minutes in which the node is full
(`cpu.contendedPercent`, drawn by the seed) a pod gets its CPU request and no more; in the others its limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trimtab.domain.cost import GIB
from trimtab.domain.measurement import NoData
from trimtab.domain.spec import OutcomeConstraint, QuantileQuery
from trimtab.simulate.truth import Truth
from trimtab.workload import OfferedLoad, PodBehaviour, Resources, WorkloadSpec, evaluate, noise

MINUTE_S: Final = 60.0
LOAD_STEP: Final = 0.01
"""Loads are rounded up to steps of one percent, so that each is evaluated once."""

Pods = tuple[tuple[Resources, int], ...]
"""Groups of pods that share the load: (resources of the workload's container, how many)."""


@dataclass(frozen=True)
class Segment:
    """From `start` (unix seconds) until the next one the service is `target`, with `canary` and `control` beside it."""

    start: float
    target: Resources
    canary: Pods = ()
    control: Pods = ()

    @property
    def pods(self) -> Pods:
        return (*self.canary, *self.control)


@dataclass(frozen=True)
class Score:
    """A whole horizon: $ per hour at its end and on average, minutes with a broken bound, expected OOM kills."""

    final_cost: float
    mean_cost: float
    violation_minutes: int
    unsafe_canary_minutes: int
    oom_kills: float


@dataclass(frozen=True)
class Horizon:
    """The days over which rules are compared. Pure."""

    truth: Truth
    offered: OfferedLoad
    start: float
    days: float

    @property
    def end(self) -> float:
        return self.start + self.days * 86400.0

    @cached_property
    def minutes(self) -> NDArray[np.float64]:
        """The middle of each minute, unix seconds; shape (m,)."""
        return minutes_between(self.start, self.end)

    @property
    def baseline(self) -> Resources:
        return self.truth.resources(self.truth.baseline)

    def load(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Requests per second of the whole service, in steps of one percent; shape of `times`."""
        steps = np.ceil(np.log(self.offered.series(times)) / math.log1p(LOAD_STEP) - 1e-9)
        return np.asarray(np.exp(steps * math.log1p(LOAD_STEP)))

    def full(self, times: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether the node is full in each of these minutes; shape of `times`."""
        index = np.floor(times / MINUTE_S).astype(np.int64)
        share = self.truth.workload.cpu.contended_percent / 100.0
        return np.asarray(noise.uniform(self.offered.seed, "node-full", index) < share)

    def behaviour(self, resources: Resources, load_rps: float, full: bool) -> PodBehaviour:
        """One pod in a minute in which its node is full, or not."""
        return evaluate(_when(self.truth.workload, full), resources, load_rps)

    def cost(self, resources: Resources) -> float:
        """$ per hour of one pod: requests of the workload's container, and of what else is in the pod."""
        other = self.truth.cost.pod_hourly(self.truth.baseline) - self._price(self.baseline)
        return other + self._price(resources)

    def _price(self, resources: Resources) -> float:
        prices = self.truth.spec.prices
        memory = resources.memory_request / GIB * prices.memory_gib_hour
        return resources.cpu_request * prices.cpu_core_hour + memory

    def score(self, segments: Iterable[Segment]) -> Score:
        """What the service cost and broke; the first segment must begin with the horizon."""
        parts = sorted(segments, key=lambda s: s.start)
        ends = [*(s.start for s in parts[1:]), self.end]
        spent = broken = unsafe = kills = 0.0
        for segment, end in zip(parts, ends, strict=True):
            times = self.minutes[(self.minutes >= segment.start) & (self.minutes < end)]
            pods = self._pods(segment)
            spent += sum(n * self.cost(each) for each, n in pods) * max(min(end, self.end) - segment.start, 0.0)
            for load, full, minutes in self._moments(times, sum(n for _, n in pods)):
                broken += minutes * self._broken(pods, load, full)
                unsafe += minutes * (bool(segment.canary) and self._broken(segment.canary, load, full))
                hazard = sum(n * self.behaviour(each, load, full).oom_per_s for each, n in pods)
                kills += minutes * MINUTE_S * hazard
        final = self.truth.target.replicas * self.cost(parts[-1].target)
        return Score(final, spent / (self.end - self.start), int(broken), int(unsafe), kills)

    def _pods(self, segment: Segment) -> Pods:
        return ((segment.target, self.truth.target.replicas), *segment.pods)

    def _moments(self, times: NDArray[np.float64], pods: int) -> list[tuple[float, bool, int]]:
        """Distinct (load per pod, node full) with how many minutes each."""
        pairs = np.stack([self.load(times) / pods, self.full(times).astype(float)])
        found, counts = np.unique(pairs, axis=1, return_counts=True)
        return [(float(load), bool(full), int(n)) for load, full, n in zip(*found, counts, strict=True)]

    def _broken(self, pods: Pods, load_rps: float, full: bool) -> bool:
        """Does the service as a whole break a bound? Pods share the load alike, so its ratios are weighted means."""
        groups = tuple((self.behaviour(each, load_rps, full), n) for each, n in pods)
        base = ((self.behaviour(self.baseline, load_rps, full), 1),)
        return any(self._exceeds(c, groups, base) for c in self.truth.spec.constraints)

    def _exceeds(self, constraint: OutcomeConstraint, groups: Behaviours, base: Behaviours) -> bool:
        value = self._value(constraint, groups)
        if value is None:
            return True
        if constraint.maximum is not None and self._over(constraint, groups, constraint.maximum):
            return True
        if constraint.minimum is not None and value < constraint.minimum:
            return True
        relative, reference = constraint.relative, self._value(constraint, base)
        if relative is None:
            return False
        if reference is None:
            return True
        ratio, most = relative.max_increase_ratio, relative.max_increase
        allowed = reference * (1 + ratio) if ratio is not None else reference + (most if most is not None else 0.0)
        return self._over(constraint, groups, allowed)

    def _over(self, constraint: OutcomeConstraint, groups: Behaviours, bound: float) -> bool:
        """A quantile is over a bound when too many requests are; everything else is compared as it is."""
        query = self.truth.spec.sli(constraint.sli).query
        if isinstance(query, QuantileQuery):
            slow = sum(n * behaviour.slow_fraction(bound) for behaviour, n in groups) / sum(n for _, n in groups)
            return slow > 1.0 - query.quantile
        value = self._value(constraint, groups)
        return value is None or value > bound

    def _value(self, constraint: OutcomeConstraint, groups: Behaviours) -> float | None:
        question = next(q for q in self.truth.questions if q.sli == constraint.sli)
        values = [(question.of(behaviour, n), n) for behaviour, n in groups]
        known = [(value, n) for value, n in values if not isinstance(value, NoData)]
        if len(known) < len(values):
            return None
        return sum(value * n for value, n in known) / sum(n for _, n in known)


Behaviours = tuple[tuple[PodBehaviour, int], ...]


def minutes_between(start: float, end: float) -> NDArray[np.float64]:
    """The middle of each whole minute; shape (m,)."""
    return np.asarray(start + MINUTE_S * (np.arange(int((end - start) / MINUTE_S)) + 0.5))


@lru_cache(maxsize=32)
def _when(workload: WorkloadSpec, full: bool) -> WorkloadSpec:
    """The workload while its node is full, or has room."""
    cpu = workload.cpu.model_copy(update={"contended_percent": 100.0 if full else 0.0})
    return workload.model_copy(update={"cpu": cpu})
