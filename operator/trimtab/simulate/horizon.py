"""A service over a horizon of days: what its pods cost, and in which minutes it broke its bounds.

The load is the one that the world offers, with its noise, minute by minute; pods are the model's, without noise, so
that a rule is judged by what it does and not by its luck. In the minutes in which the node is full
(`cpu.contendedPercent`, drawn by the seed) a pod gets its CPU request and no more; in the others its limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Final, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from trimtab.domain.cost import GIB
from trimtab.domain.measurement import NoData
from trimtab.domain.quantity import format_cpu
from trimtab.domain.space import Assignment
from trimtab.domain.spec import OutcomeConstraint, QuantileQuery
from trimtab.simulate.truth import Truth
from trimtab.workload import OfferedLoad, PodBehaviour, Resources, WorkloadSpec, evaluate, noise
from trimtab.workload.units import MIB

FloatArray = NDArray[np.float64]

MINUTE_S: Final = 60.0
LOAD_STEP: Final = 0.01
"""Loads are rounded up to steps of one percent, so that each is evaluated once."""

S = TypeVar("S")
"""What pods run with: `Resources` of the workload's container, or what else a horizon plays."""


@dataclass(frozen=True)
class Segment(Generic[S]):
    """From `start` (unix seconds) until the next one the service is `target`, with `canary` and `control` beside it:
    groups of pods, (what they run with, how many)."""

    start: float
    target: S
    canary: tuple[tuple[S, int], ...] = ()
    control: tuple[tuple[S, int], ...] = ()


@dataclass(frozen=True)
class Score:
    """A whole horizon: $ per hour at its end and on average, minutes with a broken bound, expected OOM kills."""

    final_cost: float
    mean_cost: float
    violation_minutes: int
    unsafe_canary_minutes: int
    oom_kills: float


class Days(Protocol[S]):
    """The days over which rules are compared. Times are unix seconds."""

    @property
    def truth(self) -> Truth: ...

    @property
    def offered(self) -> OfferedLoad: ...

    @property
    def start(self) -> float: ...

    @property
    def end(self) -> float: ...

    @property
    def baseline(self) -> Resources:
        """What the workload's container has today."""
        ...

    def setting(self, assignment: Assignment) -> S:
        """What pods run with under an assignment."""
        ...

    def resized(self, resources: Resources) -> S:
        """The target as it is, but for these resources of the workload's container."""
        ...

    def arm(self, setting: S) -> tuple[tuple[S, int], ...]:
        """The pods of an arm, at its beginning."""
        ...

    def usage(self, resources: Resources, times: FloatArray) -> tuple[FloatArray, FloatArray]:
        """CPU (cores) and working set (bytes) of one pod in each minute, shape of `times` each."""
        ...

    def held(self, assignment: Assignment, begun: float, seconds: float) -> bool:
        """Whether an arm of this kept every bound in this time, without noise."""
        ...

    def score(self, segments: Iterable[Segment[S]]) -> Score:
        """What the service cost and broke; the first segment must begin with the horizon."""
        ...

    def shown(self, setting: S) -> str:
        """In one line for people."""
        ...


@dataclass(frozen=True)
class DaysOf:
    """Days of a service's load from `start` (unix seconds) on, and the truth about its assignments."""

    truth: Truth
    offered: OfferedLoad
    start: float
    days: float

    @property
    def end(self) -> float:
        """Unix seconds."""
        return self.start + self.days * 86400.0

    @property
    def baseline(self) -> Resources:
        """What the workload's container has today."""
        return self.truth.resources(self.truth.baseline)


@dataclass(frozen=True)
class Horizon(DaysOf):
    """The days over which rules are compared where the number of pods is fixed. Implements `Days`. Pure."""

    @cached_property
    def minutes(self) -> FloatArray:
        """The middle of each minute, unix seconds; shape (m,)."""
        return minutes_between(self.start, self.end)

    def setting(self, assignment: Assignment) -> Resources:
        """What pods run with under an assignment."""
        return self.truth.resources(assignment)

    def resized(self, resources: Resources) -> Resources:
        """The target as it is, but for these resources of the workload's container."""
        return resources

    def arm(self, setting: Resources) -> Pods:
        """The pods of an arm."""
        return ((setting, self.truth.spec.canary.replicas),)

    def usage(self, resources: Resources, times: FloatArray) -> tuple[FloatArray, FloatArray]:
        """CPU (cores) and working set (bytes) of one pod in each minute, shape of `times` each."""
        loads = self.load(times) / self.truth.target.replicas
        pairs, index = np.unique(np.stack([loads, self.full(times).astype(float)]), axis=1, return_inverse=True)
        behaviours = [self.behaviour(resources, float(load), bool(full)) for load, full in pairs.T]
        cpu = np.array([b.cpu_usage_cores for b in behaviours])
        memory = np.array([b.working_set_bytes for b in behaviours])
        return cpu[index.ravel()], memory[index.ravel()]

    def held(self, assignment: Assignment, begun: float, seconds: float) -> bool:
        """Whether an arm of this kept every bound in this time, without noise."""
        pods = self.truth.target.replicas + 2 * self.truth.spec.canary.replicas
        loads = self.load(minutes_between(begun, begun + max(seconds, MINUTE_S))) / pods
        return all(self.truth.judge(assignment, float(load)).feasible for load in np.unique(loads))

    def shown(self, setting: Resources) -> str:
        """In one line for people."""
        return resource_words(setting)

    def load(self, times: FloatArray) -> FloatArray:
        """Requests per second of the whole service, in steps of one percent; shape of `times`."""
        steps = np.ceil(np.log(self.offered.series(times)) / math.log1p(LOAD_STEP) - 1e-9)
        return np.asarray(np.exp(steps * math.log1p(LOAD_STEP)))

    def full(self, times: FloatArray) -> NDArray[np.bool_]:
        """Whether the node is full in each of these minutes; shape of `times`."""
        return node_full(self.truth.workload, self.offered, times)

    def behaviour(self, resources: Resources, load_rps: float, full: bool) -> PodBehaviour:
        """One pod in a minute in which its node is full, or not."""
        return evaluate(when_full(self.truth.workload, full), resources, load_rps)

    def cost(self, resources: Resources) -> float:
        """$ per hour of one pod: requests of the workload's container, and of what else is in the pod."""
        return pod_cost(self.truth, resources)

    def score(self, segments: Iterable[Segment[Resources]]) -> Score:
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

    def _pods(self, segment: Segment[Resources]) -> Pods:
        return ((segment.target, self.truth.target.replicas), *segment.canary, *segment.control)

    def _moments(self, times: FloatArray, pods: int) -> list[tuple[float, bool, int]]:
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
Pods = tuple[tuple[Resources, int], ...]


def minutes_between(start: float, end: float) -> FloatArray:
    """The middle of each whole minute; shape (m,)."""
    return np.asarray(start + MINUTE_S * (np.arange(int((end - start) / MINUTE_S)) + 0.5))


def node_full(workload: WorkloadSpec, offered: OfferedLoad, times: FloatArray) -> NDArray[np.bool_]:
    """Whether the node is full in each of these minutes; shape of `times`."""
    index = np.floor(times / MINUTE_S).astype(np.int64)
    share = workload.cpu.contended_percent / 100.0
    return np.asarray(noise.uniform(offered.seed, "node-full", index) < share)


@lru_cache(maxsize=32)
def when_full(workload: WorkloadSpec, full: bool) -> WorkloadSpec:
    """The workload while its node is full, or has room."""
    cpu = workload.cpu.model_copy(update={"contended_percent": 100.0 if full else 0.0})
    return workload.model_copy(update={"cpu": cpu})


def pod_cost(truth: Truth, resources: Resources) -> float:
    """$ per hour of one pod: requests of the workload's container, and of what else is in the pod today."""
    prices = truth.spec.prices

    def price(of: Resources) -> float:
        memory = of.memory_request / GIB * prices.memory_gib_hour
        return of.cpu_request * prices.cpu_core_hour + memory

    other = truth.cost.pod_hourly(truth.baseline) - price(truth.resources(truth.baseline))
    return other + price(resources)


def resource_words(resources: Resources) -> str:
    """Requests and limits of one container for people."""

    def side(request: float, limit: float, write: Callable[[Decimal], str]) -> str:
        text = write(Decimal(round(request, 6)))
        if request == limit:
            return text
        return f"{text}/{'none' if math.isinf(limit) else write(Decimal(round(limit, 6)))}"

    cpu = side(resources.cpu_request, resources.cpu_limit, lambda x: format_cpu(x.quantize(Decimal("0.001"))))
    memory = side(resources.memory_request, resources.memory_limit, lambda x: f"{float(x) / MIB:.0f}Mi")
    return f"cpu {cpu} memory {memory}"
