"""A service whose pods an autoscaler decides about, played without noise over a series of loads. Pure.

Time goes in steps of 15 s, the period of the autoscaler. In step k a load of L_k requests/s is shared alike by the
pods that serve. At its end the autoscaler sees what pods used in it and says how many there are from then on
(`hpa.py`). A new pod is ready after its start-up time, and serves from the first step whose middle is later; it is slow
while it is cold. The autoscaler has no metrics of it until its container has run for a step, and leaves it out as not
ready until it has been ready for one. The youngest pods are taken away first.

Behaviours are computed once for each load per pod on the model's grid of 2 %, and kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trimtab.domain.space import Resource
from trimtab.simulate.shares import Run
from trimtab.workload import (
    ORDINARY,
    Conditions,
    PodBehaviour,
    asked_cores,
    cold_slowdown,
    evaluate,
    startup_seconds,
)
from trimtab.workload.hpa import ROUNDING, SYNC_SECONDS, Hpa, Memory, Seen, act, decide, largest
from trimtab.workload.lifecycle import CREATE_SECONDS
from trimtab.workload.model import GRID

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

STEP_S: Final = SYNC_SECONDS
HOUR_S: Final = 3600.0
COLD: Final = 6.0  # time constants after which a pod counts as warm
LEAST_LOAD: Final = 1e-6  # requests/s
MOST_ROUNDS: Final = 64  # of decisions at a steady load
KEPT_RUNS: Final = 512


@dataclass(frozen=True)
class Aim:
    """A metric of the autoscaler: it keeps the use near the fraction `target` of `request` (cores or bytes a pod)."""

    resource: Resource
    target: float
    request: float


@dataclass(frozen=True)
class Busy:
    """In these steps pods run like this instead."""

    run: Run
    steps: BoolArray


@dataclass(frozen=True)
class Fleet:
    """Pods that all run alike, and their autoscaler. `blind`: it has a further metric that says nothing."""

    run: Run
    hpa: Hpa
    aims: tuple[Aim, ...]
    blind: bool = False

    @cached_property
    def pods(self) -> Pods:
        """How its pods behave."""
        return pods_of(self.run)

    def fewest(self, loads: FloatArray) -> IntArray:
        """The fewest pods that it would keep at each load (requests/s), shape (m,): it comes to them from more, and
        adds none. Their use is up to the target and the tolerance above it."""
        limit = self._most_level(loads)
        return self._shared(loads, math.inf if limit is None else math.exp((limit + 0.5) * GRID))

    def no_fewer(self, loads: FloatArray) -> IntArray:
        """Quickly, at most as many as `fewest`, and nearly always the same where pods are not overloaded."""
        low, high = self._ends(loads)
        guess = self._guess(low, high)
        return self._shared(loads, math.inf if guess + 1 >= high else math.exp((guess + 0.5) * GRID))

    def usual(self, loads: FloatArray) -> IntArray:
        """As many as the target itself asks for at each load, shape (m,)."""
        return replace(self, hpa=replace(self.hpa, up=replace(self.hpa.up, tolerance=0.0))).fewest(loads)

    def _shared(self, loads: FloatArray, each: float) -> IntArray:
        return np.clip(np.ceil(loads / each - ROUNDING), self.hpa.least, self.hpa.most).astype(np.int64)

    def _ends(self, loads: FloatArray) -> tuple[int, int]:
        """Levels just beyond those that a pod can be left with."""
        return _level(float(loads.min()) / self.hpa.most) - 1, _level(float(loads.max()) / self.hpa.least) + 1

    def _most_level(self, loads: FloatArray) -> int | None:
        """The highest load of a pod, on the grid, at which none is added; None where none is at any of these loads."""
        low, end = self._ends(loads)
        high, guess = end, self._guess(low, end)
        for middle in (guess, guess + 1):
            if low < middle < high:
                low, high = (middle, high) if self._kept(middle) else (low, middle)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._kept(middle) else (low, middle)
        return None if high == end else low

    def _guess(self, low: int, high: int) -> int:
        """The same by the CPU that pods ask for, which is quick: exact while they are not overloaded."""
        limits = [limit for aim, limit in self.limits if aim.resource is Resource.CPU]
        while high - low > 1 and limits:
            middle = (low + high) // 2
            low, high = (middle, high) if self._asked(middle) < min(limits) else (low, middle)
        return low

    @cached_property
    def limits(self) -> tuple[tuple[Aim, float], ...]:
        """Of each metric that says something the use (cores or bytes a pod) from which on pods are added."""
        percents = ((aim, math.floor(100 * aim.target * (1 + self.hpa.up.tolerance) + ROUNDING)) for aim in self.aims)
        return tuple((aim, aim.request * (percent + 1 - ROUNDING) / 100) for aim, percent in percents if aim.request)

    def _kept(self, level: int) -> bool:
        """Whether no pod is added where each gets this load."""
        asked = self._asked(level)
        if all(aim.resource is Resource.CPU and asked < limit for aim, limit in self.limits):
            return True
        behaviour = self.pods.at(level)
        return all(used(behaviour, aim.resource) < limit for aim, limit in self.limits)

    def _asked(self, level: int) -> float:
        return min(asked_cores(*self.run, math.exp(level * GRID)), self.run[1].cpu_limit)

    def settled(self, load: float) -> int:
        """Pods after a while at one load (requests/s), beginning with the least number."""
        pods = self.hpa.least
        for _ in range(MOST_ROUNDS):
            behaviour = self.pods.at(_level(load / pods))
            wanted = largest(self.hpa, self.seen(behaviour, pods), pods)
            following = pods if wanted is None else min(max(wanted, pods), self.hpa.most)
            if following == pods:
                break
            pods = following
        return pods

    def seen(self, behaviour: PodBehaviour, count: int) -> list[Seen]:
        """What the autoscaler sees of so many pods that behave like this and are ready."""
        return self.mixed(((behaviour, count),))

    def mixed(self, groups: Sequence[tuple[PodBehaviour, int]], unready: int = 0, missing: int = 0) -> list[Seen]:
        """The same of groups of pods, and of some that are not ready or have no metrics yet."""
        counted = sum(n for _, n in groups)
        found = [
            Seen(
                aim.target,
                sum(n * used(behaviour, aim.resource) for behaviour, n in groups),
                aim.request * counted,
                counted,
                missing=(aim.request,) * missing,
                unready=(aim.request,) * (unready if aim.resource is Resource.CPU else 0),
            )
            for aim in self.aims
        ]
        return [*found, Seen(1.0, 0.0, 0.0, 0)] if self.blind else found

    def play(self, loads: FloatArray, first: int | None = None, busy: Busy | None = None) -> Play:
        """Everything that happens over these loads (requests/s), one for each step; it begins with `first` warm
        pods, by default as many as it settles to at the first load."""
        player = _Player(self, self.settled(float(loads[0])) if first is None else first, busy)
        for log in (np.log(np.maximum(loads, LEAST_LOAD)) / GRID).tolist():
            player.step(log)
        return player.played(loads)


def used(behaviour: PodBehaviour, resource: Resource) -> float:
    """Cores or bytes of one pod."""
    return behaviour.cpu_usage_cores if resource is Resource.CPU else behaviour.working_set_bytes


def _level(load: float) -> int:
    return round(math.log(max(load, LEAST_LOAD)) / GRID)


class Pods:
    """The behaviours of a run, each computed once: by the level of the load and of the slowdown on the model's grid."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.startup = startup_seconds(*run)
        self._known: dict[tuple[int, int], PodBehaviour] = {}

    def at(self, level: int, cold: int = 0) -> PodBehaviour:
        """A pod at this load, `cold` levels slower than usual."""
        found = self._known.get((level, cold))
        if found is None:
            conditions = Conditions(cpu_slowdown=math.exp(cold * GRID)) if cold else ORDINARY
            found = self._known[level, cold] = evaluate(*self.run, math.exp(level * GRID), conditions)
        return found


@lru_cache(maxsize=KEPT_RUNS)
def pods_of(run: Run) -> Pods:
    """The same for the same run."""
    return Pods(run)


@dataclass(frozen=True)
class Play:
    """What happened, step by step; shape (k,) each. `loads` are those of the whole fleet (requests/s), `pods` those
    that it had, `serving` those that served.

    Requests by behaviour, shape (m,) each: in step `at` so many `requests` met `behaviours[which]`.
    """

    loads: FloatArray
    pods: IntArray
    serving: IntArray
    at: IntArray
    which: IntArray
    requests: FloatArray
    behaviours: tuple[PodBehaviour, ...]

    def since(self, step: int) -> Play:
        """From this step on."""
        later = self.at >= step
        return Play(
            self.loads[step:],
            self.pods[step:],
            self.serving[step:],
            self.at[later] - step,
            self.which[later],
            self.requests[later],
            self.behaviours,
        )

    @property
    def mean_pods(self) -> float:
        """Over all steps."""
        return float(self.pods.mean())

    @property
    def events_per_hour(self) -> float:
        """How often the number of pods changed."""
        steps = len(self.pods) - 1
        return float(np.count_nonzero(np.diff(self.pods))) / (steps * STEP_S / HOUR_S) if steps > 0 else 0.0

    def ratios(self, of: Callable[[PodBehaviour], float]) -> FloatArray:
        """The part of the requests of each step, shape (k,), that `of` says of pods."""
        parts = np.array([of(behaviour) for behaviour in self.behaviours])[self.which]
        bad, total = (
            np.bincount(self.at, weights, len(self.loads)) for weights in (self.requests * parts, self.requests)
        )
        return np.asarray(bad / np.maximum(total, LEAST_LOAD))

    def ratio(self, of: Callable[[PodBehaviour], float]) -> float:
        """The part of all requests."""
        parts = np.array([of(behaviour) for behaviour in self.behaviours])[self.which]
        return float(self.requests @ parts / self.requests.sum())

    def seconds(self, of: Callable[[PodBehaviour], float]) -> float:
        """The sum over pods that served, and over time, of what `of` says of a pod."""
        rates = np.array([of(behaviour) for behaviour in self.behaviours])[self.which]
        parts = self.requests / np.maximum(self.loads[self.at] * STEP_S, LEAST_LOAD)
        return float(np.sum(parts * self.serving[self.at] * rates) * STEP_S)

    def breach_seconds_per_hour(self, of: Callable[[PodBehaviour], float], above: float) -> float:
        """Seconds per hour in steps in which that part is beyond `above`."""
        return HOUR_S * float(np.mean(self.ratios(of) > above))


class _Player:
    """The state between two steps."""

    def __init__(self, fleet: Fleet, first: int, busy: Busy | None) -> None:
        self._fleet, self._hpa = fleet, fleet.hpa
        self._memory = Memory({first: 0.0})  # what is there at the first look counts as proposed
        self._busy = busy.steps.tolist() if busy is not None else None
        self._runs = (fleet.pods, pods_of(busy.run) if busy is not None else fleet.pods)
        self._warm, self._young = first, list[_Cohort]()  # the youngest last
        self._warm_after = max(STEP_S, COLD * fleet.run[0].startup.cold_for if fleet.run[0].startup.cold_percent else 0)
        self._wanted: dict[tuple[int, int, bool], tuple[int, int | None]] = {}
        self._index: dict[tuple[int, int, bool], int] = {}
        self._behaviours: list[PodBehaviour] = []
        self._pods: list[int] = []
        self._serving: list[int] = []
        self._rows: list[tuple[int, int, float]] = []  # (step, behaviour, part of the requests)
        self._set_warm(first)

    def _set_warm(self, pods: int) -> None:
        self._warm, self._log_warm = pods, math.log(pods) / GRID

    def step(self, log: float) -> None:
        """One step at a load whose logarithm, in steps of the grid, is `log`."""
        if self._young:
            self._uneven(log)
            return
        number, pods = len(self._pods), self._warm
        key = (pods, round(log - self._log_warm), self._busy is not None and self._busy[number])
        known = self._wanted.get(key)
        if known is None:
            behaviour = self._index_of(*key[1:])
            seen = self._fleet.seen(self._behaviours[behaviour], pods)
            known = self._wanted[key] = (behaviour, largest(self._hpa, seen, pods))
        behaviour, wanted = known
        self._pods.append(pods)
        self._serving.append(pods)
        self._rows.append((number, behaviour, 1.0))
        end = (number + 1) * STEP_S
        if wanted == pods and self._hpa.least <= pods <= self._hpa.most:
            self._memory.proposals[pods] = end  # nothing can come of it
        elif not self._hpa.least <= pods <= self._hpa.most:
            self._become(decide(self._hpa, (), pods, self._memory, end), end)
        elif wanted is not None:
            self._become(act(self._hpa, wanted, pods, self._memory, end), end)

    def _index_of(self, level: int, busy: bool, cold: int = 0) -> int:
        key = (level, cold, busy)
        if key not in self._index:
            self._index[key] = len(self._behaviours)
            self._behaviours.append(self._runs[busy].at(level, cold))
        return self._index[key]

    def _uneven(self, log: float) -> None:
        """A step in which some pods are new."""
        number, workload = len(self._pods), self._fleet.run[0]
        middle, end = (number + 0.5) * STEP_S, (number + 1) * STEP_S
        busy = self._busy is not None and self._busy[number]
        young = [c for c in self._young if c.ready <= middle]
        serving = self._warm + sum(c.pods for c in young)
        pods = self._warm + sum(c.pods for c in self._young)
        level = round(log - math.log(serving) / GRID)
        groups = [(self._index_of(level, busy), self._warm, 0.0)]
        for cohort in young:
            cold = round(math.log(cold_slowdown(workload, middle - cohort.ready)) / GRID)
            groups.append((self._index_of(level, busy, cold), cohort.pods, cohort.ready))
        self._pods.append(pods)
        self._serving.append(serving)
        self._rows += [(number, behaviour, n / serving) for behaviour, n, _ in groups]
        counted = [(self._behaviours[b], n) for b, n, ready in groups if ready + STEP_S <= end]
        missing = sum(c.pods for c in self._young if c.running + STEP_S > end)
        seen = self._fleet.mixed(counted, pods - missing - sum(n for _, n in counted), missing)
        following = decide(self._hpa, seen, pods, self._memory, end)
        grown = [c for c in self._young if c.ready + self._warm_after <= end]
        self._young = self._young[len(grown) :]
        self._set_warm(self._warm + sum(c.pods for c in grown))
        self._become(following, end)

    def _become(self, wanted: int, now: float) -> None:
        """So many pods from now on."""
        more = wanted - self._warm - sum(c.pods for c in self._young)
        if more > 0:
            running = now + CREATE_SECONDS
            self._young.append(_Cohort(more, running, running + self._fleet.pods.startup))
        while more < 0 and self._young:
            last = self._young.pop()
            if last.pods + more > 0:
                self._young.append(replace(last, pods=last.pods + more))
            more = min(more + last.pods, 0)
        if more < 0:
            self._set_warm(self._warm + more)

    def played(self, loads: FloatArray) -> Play:
        """What has happened."""
        at, which, parts = zip(*self._rows, strict=True)
        steps = np.array(at)
        return Play(
            loads,
            np.array(self._pods),
            np.array(self._serving),
            steps,
            np.array(which),
            loads[steps] * STEP_S * np.array(parts),
            tuple(self._behaviours),
        )


@dataclass(frozen=True)
class _Cohort:
    """Pods that were added at the same time, and since when they run and are ready, in seconds from the beginning."""

    pods: int
    running: float
    ready: float


__all__ = ["STEP_S", "Aim", "Busy", "Fleet", "Play", "Pods", "used"]
