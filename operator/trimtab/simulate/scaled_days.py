"""A service whose pods an autoscaler decides about over a horizon of days: what they cost, and in which minutes they
broke its bounds.

The load is the one that the world offers, with its noise; pods are the model's, played in steps of 15 s (`fleet.py`).
While arms serve, the route gives each its share, and the target what is left. In the minutes in which the node is full
a pod gets its CPU request and no more, and the autoscaler sees what it uses then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from typing import Final

import numpy as np

from trimtab.control.scaling import autoscaler_changes
from trimtab.domain.autoscaler import AutoscalerChanges, AutoscalerView
from trimtab.domain.kube import ContainerView
from trimtab.domain.measurement import NoData
from trimtab.domain.space import Assignment
from trimtab.domain.spec import OutcomeConstraint, QuantileQuery
from trimtab.simulate.fleet import HOUR_S, STEP_S, BoolArray, Busy, Fleet, FloatArray, Play
from trimtab.simulate.horizon import MINUTE_S, DaysOf, Score, Segment, node_full, pod_cost, resource_words, when_full
from trimtab.simulate.questions import Value
from trimtab.simulate.scaling import Period, default_hpa, fleet_of, hpa_of, loads_of
from trimtab.workload import PodBehaviour, Resources
from trimtab.workload.hpa import Hpa

PER_MINUTE: Final = round(MINUTE_S / STEP_S)


@dataclass(frozen=True)
class Sized:
    """Pods and their autoscaler: of the whole service, and of an arm. `cost` is $ per hour of one pod."""

    fleet: Fleet
    arm: Fleet
    cost: float
    words: str = field(compare=False)


@dataclass(frozen=True)
class ScaledDays(DaysOf):
    """The days over which rules are compared where an autoscaler decides how many pods there are. Implements
    `horizon.Days`. Pure."""

    @property
    def autoscaler(self) -> AutoscalerView:
        """The target's."""
        assert self.truth.autoscaler is not None
        return self.truth.autoscaler

    @property
    def share(self) -> float:
        """The fraction of the load that an arm gets."""
        assert self.truth.spec.route is not None
        return self.truth.spec.route.share

    # What pods run with

    def setting(self, assignment: Assignment) -> Sized:
        """What pods run with under an assignment."""
        truth = self.truth
        words = " ".join(f"{name} {text}" for name, text in truth.spec.space.format(assignment))
        arm = truth.fleet(assignment, self.share)
        return Sized(truth.fleet(assignment), arm, truth.cost.pod_hourly(assignment), words)

    def resized(self, resources: Resources) -> Sized:
        """The target as it is, but for these resources of the workload's container."""
        if resources == self.baseline:
            return self.setting(self.truth.baseline)
        changes = autoscaler_changes(self.truth.spec, self.autoscaler, self.truth.baseline)
        whole, arm = (self._fleet(resources, changes, hpa_of(self.autoscaler, changes, s)) for s in (1.0, self.share))
        return Sized(whole, arm, pod_cost(self.truth, resources), resource_words(resources))

    def usual_behavior(self) -> Sized:
        """The target as it is, but for the autoscaler's behavior: Kubernetes' own."""
        now = self.setting(self.truth.baseline)
        fleet = replace(now.fleet, hpa=default_hpa(self.autoscaler))
        return Sized(fleet, now.arm, now.cost, "autoscaling by default behavior")

    def _fleet(self, resources: Resources, changes: AutoscalerChanges, hpa: Hpa) -> Fleet:
        """The target's pods with other resources of the workload's container."""
        target, (workload, _) = self.truth.target, self.truth.run(self.truth.baseline)
        containers = (*target.containers, *(c for c in target.init_containers if c.sidecar))
        changed = tuple(_resized(c, resources) if c.name == workload.target.container else c for c in containers)
        return fleet_of(self.autoscaler, changes, (workload, resources), changed, hpa)

    def arm(self, setting: Sized) -> tuple[tuple[Sized, int], ...]:
        """The pods of an arm: as many as its autoscaler says."""
        return ((setting, self.truth.spec.canary.replicas),)

    def shown(self, setting: Sized) -> str:
        """In one line for people."""
        return setting.words

    # What happens

    def _loads(self, start: float, end: float) -> FloatArray:
        return loads_of(self.truth.workload, Period(start, end))

    def _play(self, fleet: Fleet, loads: FloatArray, start: float, first: int | None = None) -> Play:
        """From `start` (unix seconds) on, full nodes and all."""
        workload, resources = fleet.run
        times: FloatArray = start + STEP_S * (np.arange(len(loads), dtype=np.float64) + 0.5)
        full = node_full(self.truth.workload, self.offered, times)
        roomy = replace(fleet, run=(when_full(workload, False), resources))
        return roomy.play(loads, first, Busy((when_full(workload, True), resources), full))

    def usage(self, resources: Resources, times: FloatArray) -> tuple[FloatArray, FloatArray]:
        """CPU (cores) and working set (bytes) of one pod in each minute, shape of `times` each."""
        start = float(times[0]) - MINUTE_S / 2
        loads = self._loads(start, start + MINUTE_S * len(times))
        play = self._play(self.resized(resources).fleet, loads, start)
        cpu, memory = play.ratios(lambda b: b.cpu_usage_cores), play.ratios(lambda b: b.working_set_bytes)
        return cpu.reshape(-1, PER_MINUTE).mean(axis=1), memory.reshape(-1, PER_MINUTE).mean(axis=1)

    def held(self, assignment: Assignment, begun: float, seconds: float) -> bool:
        """Whether an arm of this kept every bound in this time, without noise."""
        loads = self._loads(begun, begun + max(seconds, MINUTE_S))
        arms = (self.truth.fleet(a, self.share).play(loads * self.share) for a in (assignment, self.truth.baseline))
        return self.truth.judge_play(float(loads.mean()), *arms).feasible

    def score(self, segments: Iterable[Segment[Sized]]) -> Score:
        """What the service cost and broke; the first segment must begin with the horizon."""
        parts = sorted(segments, key=lambda s: s.start)
        played = _Played(self.steps)
        canaries = _Played(self.steps)
        for play, begin, cost, canary in self._plays(parts):
            played.add(play, begin, cost)
            if canary:
                canaries.add(play, begin, cost)
        broken, unsafe = self._broken(played), self._broken(canaries) & canaries.served
        final = self._play(parts[-1].target.fleet, self._loads(self.start, self.end), self.start).mean_pods
        spent = played.spent / (self.steps * STEP_S / HOUR_S)
        return Score(final * parts[-1].target.cost, spent, int(broken.sum()), int(unsafe.sum()), played.kills)

    @property
    def steps(self) -> int:
        """Of the whole horizon: whole minutes."""
        return PER_MINUTE * int((self.end - self.start) / MINUTE_S)

    def _plays(self, parts: Sequence[Segment[Sized]]) -> Iterator[tuple[Play, int, float, bool]]:
        """(what was played, the step at which it began, $ per hour of a pod, whether it was a canary)."""
        loads, pods = self._loads(self.start, self.end), None
        edges = [round((s.start - self.start) / STEP_S) for s in parts]
        for segment, begin, end in zip(parts, edges, [*edges[1:], self.steps], strict=True):
            if min(end, self.steps) <= begin:
                continue
            own, at = loads[begin : min(end, self.steps)], self.start + begin * STEP_S
            arms = [(sized, True) for sized, _ in segment.canary] + [(sized, False) for sized, _ in segment.control]
            target = self._play(segment.target.fleet, own * (1 - len(arms) * self.share), at, pods)
            pods = int(target.pods[-1])
            yield target, begin, segment.target.cost, False
            for sized, canary in arms:
                yield self._play(sized.arm, own * self.share, at), begin, sized.cost, canary

    # Which minutes broke a bound

    @cached_property
    def _usual(self) -> _Played:
        """The horizon with today's values."""
        found, today = _Played(self.steps), self.setting(self.truth.baseline)
        found.add(self._play(today.fleet, self._loads(self.start, self.end)[: self.steps], self.start), 0, today.cost)
        return found

    def _broken(self, played: _Played) -> BoolArray:
        """Does the service as a whole break a bound? All its requests of a minute count; shape (minutes,)."""
        found = np.zeros(self.steps // PER_MINUTE, dtype=bool)
        for constraint in self.truth.spec.constraints:
            found |= self._exceeds(constraint, played)
        return found

    def _exceeds(self, constraint: OutcomeConstraint, played: _Played) -> BoolArray:
        question = next(q for q in self.truth.questions if q.sli == constraint.sli)

        def value(behaviour: PodBehaviour) -> Value:
            return question.of(behaviour, self.truth.spec.canary.replicas)

        amounts, unknown = played.minutes(value)
        found = unknown.copy()
        query = self.truth.spec.sli(constraint.sli).query
        if constraint.maximum is not None and isinstance(query, QuantileQuery):  # over it when too many requests are
            bound = constraint.maximum
            found |= played.minutes(lambda b: b.slow_fraction(bound))[0] > 1.0 - query.quantile
        elif constraint.maximum is not None:
            found |= amounts > constraint.maximum
        if constraint.minimum is not None:
            found |= amounts < constraint.minimum
        if constraint.relative is not None:
            usual, missing = self._usual.minutes(value)
            ratio, most = constraint.relative.max_increase_ratio, constraint.relative.max_increase
            allowed = usual * (1 + ratio) if ratio is not None else usual + (most if most is not None else 0.0)
            found |= missing | (amounts > allowed)
        return found & played.served


class _Played:
    """Pods that served side by side or one after the other, over so many steps."""

    def __init__(self, steps: int) -> None:
        self._plays: list[tuple[Play, int]] = []
        self._steps = steps
        self.spent = self.kills = 0.0
        self._requests = np.zeros(steps)

    def add(self, play: Play, begin: int, cost: float) -> None:
        """What was played from this step on; `cost` is $ per hour of a pod."""
        self._plays.append((play, begin))
        self._requests[begin : begin + len(play.loads)] += play.loads * STEP_S
        self.spent += float(play.pods.sum()) * STEP_S / HOUR_S * cost
        self.kills += play.seconds(lambda b: b.oom_per_s)

    @property
    def served(self) -> BoolArray:
        """The minutes in which there were requests."""
        return np.asarray(self._requests.reshape(-1, PER_MINUTE).sum(axis=1) > 0)

    def minutes(self, of: Callable[[PodBehaviour], Value]) -> tuple[FloatArray, BoolArray]:
        """(the mean over all requests of each minute, where somebody had no value); shape (minutes,) each."""
        total, unknown = np.zeros(self._steps), np.zeros(self._steps, dtype=bool)
        for play, begin in self._plays:
            span = slice(begin, begin + len(play.loads))
            total[span] += play.ratios(lambda b: _known(of(b))) * play.loads * STEP_S
            unknown[span] |= play.ratios(lambda b: float(isinstance(of(b), NoData))) > 0
        requests = self._requests.reshape(-1, PER_MINUTE).sum(axis=1)
        means = total.reshape(-1, PER_MINUTE).sum(axis=1) / np.where(requests > 0, requests, 1.0)
        return np.asarray(means), np.asarray(unknown.reshape(-1, PER_MINUTE).any(axis=1))


def _known(value: Value) -> float:
    return 0.0 if isinstance(value, NoData) else value  # and counted as unknown beside it


def _resized(container: ContainerView, resources: Resources) -> ContainerView:
    """With these requests."""
    cpu, memory = (Decimal(repr(x)) for x in (resources.cpu_request, resources.memory_request))
    return replace(container, resources=replace(container.resources, cpu_request=cpu, memory_request=memory))


__all__ = ["ScaledDays", "Sized"]
