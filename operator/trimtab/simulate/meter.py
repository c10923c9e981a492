"""The counters of one simulated pod: drawn only when somebody looks, for all scrapes since the last look at once.

Whatever changes how the pod behaves (its readiness, its Service's endpoints, a restart, a fault) is noted when it
happens, so that looking late sees the same as looking all the time.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from trimtab.simulate.columns import WORKING_SET, Columns, Key, columns_of
from trimtab.simulate.drawing import draw_spans
from trimtab.simulate.shares import Level, Run, ServiceShare
from trimtab.simulate.tracks import Labels, Past, Track
from trimtab.workload import Conditions, PodBehaviour, Resources, WorkloadSpec, cold_slowdown, noise, rounded
from trimtab.workload.faultboard import FaultBoard
from trimtab.workload.faults import FaultKind
from trimtab.workload.latency import FloatArray

RAW_SECONDS = 7200.0  # scrapes of the last two hours are kept, of older ones one in five minutes
COARSE_SECONDS = 300.0
HEAP_SECONDS = 3.0  # time in which a new container's memory grows to its working set
COLD = 6.0  # time constants after which a container counts as warm


@dataclass(frozen=True)
class PodFacts:
    """What does not change about a pod. It is scraped `offset` seconds after each multiple of `interval`."""

    namespace: str
    name: str
    uid: str
    labels: dict[str, str]
    container: str
    workload: WorkloadSpec
    resources: Resources
    speed: float
    interval: float
    offset: float

    @cached_property
    def run(self) -> Run:
        """The workload and its resources."""
        return self.workload, self.resources


@dataclass(frozen=True)
class PodState:
    """What the cluster's own metrics say of a pod, from `since` (unix seconds) on."""

    since: float
    up: bool = False
    ready: bool = False
    restarts: int = 0
    oom_kills: int = 0


@dataclass(frozen=True)
class Span:
    """Time that is to be drawn: intervals from `start` to each of `edges`, and which of these are scrapes."""

    start: float
    edges: list[float]
    scrapes: list[float]


@dataclass(frozen=True)
class PodPast:
    """Counts from before the world began: the row of counts at its end, and samples by series."""

    counts: FloatArray
    samples: dict[Key, Past]


class PodMeter:
    """Samples of one pod, as `tracks` by series. `with_sum`: latencies are summed up, too, which takes time."""

    def __init__(
        self,
        facts: PodFacts,
        share: ServiceShare,
        faults: FaultBoard,
        *,
        seed: int,
        now: float,
        with_sum: bool = False,
        past: PodPast | None = None,
    ) -> None:
        self.facts, self.share, self.faults = facts, share, faults
        self._steady = rounded(facts.speed)
        self._rng = np.random.default_rng(int(noise.uniform(seed, f"draws {facts.uid}", 0)[0] * 2**53))
        self._columns: Columns = columns_of(facts.workload, math.isfinite(facts.resources.cpu_limit), with_sum)
        self.with_sum = with_sum
        self._past = past
        self._counts = past.counts if past is not None else np.zeros(len(self._columns.transform))
        self._at = now
        self._running: float | None = None
        self._ready: float | None = None
        self.levels: dict[str, Level] = {}  # by Service of which it is a ready endpoint
        self._times: list[float] = []
        self.tracks: list[Track] = []
        self._by_column: list[Track | None] = [None] * len(self._columns.keys)
        self._memory: Track | None = None
        self.ended: float | None = None
        self.states = [PodState(now)]
        self.changed = False  # a series was added since the last look
        self.next_scrape = self._next_after(now)
        for index, key in enumerate(self._columns.keys if past is not None else ()):
            if past is not None and key in past.samples:
                self._born(index, [])

    # What happens to the pod

    def started(self, now: float) -> None:
        """A container starts."""
        self.advance(now)
        self._running = now
        self._note(now, up=True)

    def stopped(self, now: float, *, oom: bool = False) -> None:
        """The container ends; the next one counts from zero."""
        self.advance(now)
        self._running = self._ready = None
        self._counts = np.zeros_like(self._counts)
        self._note(now, oom_kills=self.states[-1].oom_kills + oom, restarts=self.states[-1].restarts + 1)

    def ready(self, now: float, is_ready: bool) -> None:
        """The readiness probe's answer changed."""
        self.advance(now)
        self._ready = now if is_ready else None
        self._note(now, ready=is_ready)

    def serving(self, now: float, service: str, is_serving: bool) -> None:
        """The pod became, or is no longer, a ready endpoint. Call it before the share's endpoints change."""
        self.advance(now)
        if is_serving:
            self.levels[service] = self.share.levels[service]
        else:
            self.levels.pop(service, None)

    def end(self, now: float) -> None:
        """The pod is gone, and its target with it."""
        self.advance(now)
        self._running, self.ended = None, now
        for track in self.tracks:
            track.ended = now

    def _note(self, now: float, **changes: Any) -> None:
        """Add to the log what kube-state-metrics would tell from now on."""
        up, ready = self._running is not None, self._ready is not None
        self.states.append(replace(self.states[-1], since=now, **{"up": up, "ready": ready, **changes}))
        if len(self.states) > 100:
            del self.states[0]

    # What it is like now

    @property
    def running(self) -> bool:
        """Does the container run?"""
        return self._running is not None

    @property
    def drawn_until(self) -> float:
        """Up to when its counts are drawn (unix seconds)."""
        return self._at

    @property
    def serves(self) -> bool:
        """Is it a ready endpoint of a Service that the load goes to?"""
        return bool(self.levels)

    @property
    def has_past(self) -> bool:
        """Was it there before the world began?"""
        return self._past is not None

    def behaviour(self, now: float) -> PodBehaviour | None:
        """The noise-free truth at this moment; None while the container does not run."""
        if self._running is None:
            return None
        load = self.share.load_of(self.levels.values(), now)
        return self.share.behaviour(self.facts.run, rounded(load), self.conditions(now))[0]

    # Looking

    def due(self, to: float, *, flush: bool) -> Span | None:
        """What must be drawn: up to the last scrape that is not later than `to`, or with `flush` up to `to` itself."""
        if self.ended is not None or self._running is None or to <= self._at:
            return None
        if not flush and to < self.next_scrape:
            return None
        start = self._at
        scrapes = self.scrapes(start, to)
        end = to if flush else scrapes[-1] if scrapes else start
        if end <= start:
            return None
        edges = sorted({*scrapes, *self._breaks(start, end), end})
        self._at = end
        self.next_scrape = self._next_after(end)
        return Span(start, edges, [t for t in scrapes if self._scrapable(t)])

    def advance(self, to: float) -> None:
        """Something is about to change: draw everything up to this moment."""
        draw_spans([self], to, self._rng, flush=True)
        self._at = max(self._at, to)
        self.next_scrape = self._next_after(self._at)

    def _next_after(self, t: float) -> float:
        interval, offset = self.facts.interval, self.facts.offset
        return offset + (math.floor((t - offset) / interval) + 1) * interval

    def scrapes(self, start: float, end: float) -> list[float]:
        """Times in (start, end] at which this pod is scraped; of a long time ago only a few are kept."""
        interval, offset = self.facts.interval, self.facts.offset
        found: list[float] = []
        if end - start > RAW_SECONDS:
            step = max(1, round(COARSE_SECONDS / interval)) * interval
            first = math.floor((start - offset) / step) + 1
            last = math.floor((end - RAW_SECONDS - offset) / step)
            found = [offset + n * step for n in range(first, last + 1)]
            start = max(start, end - RAW_SECONDS)
        first, last = math.floor((start - offset) / interval) + 1, math.floor((end - offset) / interval)
        return found + [offset + n * interval for n in range(first, last + 1)]

    def trim(self, now: float) -> None:
        """Forget what is too old, or too dense for its age."""
        if len(self._times) > 2.5 * RAW_SECONDS / self.facts.interval:
            cut = now - RAW_SECONDS
            shared = _kept(self._times, cut)
            for track in self.tracks:
                own = shared if track.times is self._times else _kept(track.times, cut)
                track.values[:] = [track.values[i] for i in own]
                if track.times is not self._times:
                    track.times[:] = [track.times[i] for i in own]
            self._times[:] = [self._times[i] for i in shared]

    def _breaks(self, start: float, end: float) -> list[float]:
        """Moments within at which a fault begins or ends, or the cold start is over."""
        found = [t for t in self.faults.edges if start < t < end]
        if self._ready is not None:
            warm = self._ready + COLD * self.facts.workload.startup.cold_for
            found += [t for t in (warm,) if start < t < end]
        return found

    def took(self, span: Span, rows: FloatArray, behaviours: Sequence[PodBehaviour]) -> None:
        """Gains of each interval of a span, shape (len(span.edges), counts), and how the pod behaved in it."""
        if len(span.edges) == 1:
            self._counts = self._counts + rows[0]
            if span.scrapes:
                self._record(span.scrapes, self._counts[None, :], behaviours)
            return
        counts = self._counts + np.cumsum(rows, axis=0)
        self._counts = counts[-1]
        if span.scrapes:
            at = [bisect_left(span.edges, t) for t in span.scrapes]
            self._record(span.scrapes, counts[at], [behaviours[i] for i in at])

    def _record(self, times: list[float], rows: FloatArray, behaviours: Sequence[PodBehaviour]) -> None:
        """Samples of all series at these scrapes; `rows` are the counts then, shape (len(times), counts)."""
        self._times += times
        values = (rows @ self._columns.transform).T.tolist()
        for index, (track, column) in enumerate(zip(self._by_column, values, strict=True)):
            if track is not None:
                if track.times is not self._times:
                    track.times += times
                track.extend(column, times)
            elif (born := self._born(index, column)) is not None:
                born.extend(column, times)
        self._record_memory(times, behaviours)

    def _born(self, index: int, column: list[float]) -> Track | None:
        """The first sample of a series, now or once there is something to tell."""
        key = self._columns.keys[index]
        past = self._past.samples.get(key) if self._past is not None else None
        if index in self._columns.late and past is None:
            first = next((i for i, value in enumerate(column) if value), None)
            if first is None:
                return None
            del column[:first]
            times = self._times[len(self._times) - len(column) :]
        else:
            times = self._times
        track = Track(self._labels(key), times, [], past)
        self._by_column[index] = track
        self.tracks.append(track)
        self.changed = True
        return track

    def _record_memory(self, times: list[float], behaviours: Sequence[PodBehaviour]) -> None:
        if self._memory is None:
            self._memory = Track(self._labels((WORKING_SET, ())), self._times, [])
            self.tracks.append(self._memory)
        begun, limit = self._running or 0.0, self.facts.resources.memory_limit
        for t, behaviour in zip(times, behaviours, strict=True):
            grown = 1.0 - math.exp(-(t - begun + 0.5) / HEAP_SECONDS)
            self._memory.values.append(min(behaviour.working_set_bytes * grown, limit))

    def _labels(self, key: Key) -> Labels:
        facts = self.facts
        own = {"namespace": facts.namespace, "pod": facts.name, "container": facts.container, "__name__": key[0]}
        return tuple(sorted((own | dict(key[1])).items()))

    def slowdown(self, t: float) -> float:
        """Factor on CPU time: of node and pod, and of the cold start."""
        workload = self.facts.workload
        if self._ready is not None and t - self._ready < COLD * workload.startup.cold_for:
            return rounded(self.facts.speed * cold_slowdown(workload, t - self._ready))
        return self._steady

    def conditions(self, t: float) -> Conditions:
        """What the surroundings do to the pod at this moment."""
        base = Conditions(cpu_slowdown=self.slowdown(t), dependency_factor=self.share.drift(t))
        return self.faults.conditions(self.facts.labels, t, base, self.facts.namespace) if self.faults.all else base

    def _scrapable(self, t: float) -> bool:
        facts = self.facts
        return not self.faults.acting(FaultKind.SCRAPE_MISSING, facts.labels, t, facts.namespace)


def _kept(times: list[float], cut: float) -> list[int]:
    """Indices of all samples after `cut`, and of the first of each five minutes before."""
    slots = [t // COARSE_SECONDS for t in times]
    return [i for i, t in enumerate(times) if t > cut or i == 0 or slots[i] != slots[i - 1]]


__all__ = ["PodFacts", "PodMeter", "PodPast", "Span"]
