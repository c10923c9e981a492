"""All pods' meters and the Services that divide the load among them: what a metrics store would scrape."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from trimtab.ports import Clock
from trimtab.simulate.columns import LATENCY_SUM, STATE, columns_of
from trimtab.simulate.drawing import draw_spans
from trimtab.simulate.fleet import Fleet
from trimtab.simulate.meter import PodFacts, PodMeter, PodPast, PodState
from trimtab.simulate.promql import Selector
from trimtab.simulate.shares import ServiceShare
from trimtab.simulate.tracks import LOOKBACK, Past, Track
from trimtab.workload import OfferedLoad, Resources, WorkloadSpec, noise
from trimtab.workload.faultboard import FaultBoard
from trimtab.workload.latency import FloatArray
from trimtab.workload.past import expected_gains

KEEP_ARMS = 3600.0  # seconds for which series of a pod that is gone are kept
STATE_SECONDS = 3600.0 + LOOKBACK  # how far back the cluster's own metrics are known
MOST_KNOWN = 2048
DENSE_SECONDS, DENSE_STEP = 6 * 3600.0, 60.0  # of the past, samples lie this far apart in its last hours


@dataclass(frozen=True)
class Scraping:
    """How pods are scraped, and how far back the store's memory goes. `names`: metrics that will be asked for. Samples
    of the past lie up to `past_step` seconds apart: near enough for an instant query to find one."""

    interval: float = 15.0
    past_days: float = 30.0
    past_step: float = 200.0
    names: frozenset[str] = frozenset()


@dataclass
class _Found:
    """What a selector matches, while `generation` lasts; nothing new can be there before `due`."""

    generation: int
    meters: list[PodMeter]
    tracks: list[Track]
    due: float = -math.inf


class Traffic:
    """Implements `promql.Source`. `seed` draws counts; the offered load has the workload's own seed."""

    def __init__(
        self, clock: Clock, services: Iterable[tuple[str, WorkloadSpec]], scraping: Scraping, *, seed: int
    ) -> None:
        self._clock, self._scraping, self._seed = clock, scraping, seed
        now = clock.now()
        self.faults = FaultBoard()
        self.faults.before_change = self.catch_up
        self.shares = {(ns, w.target.service): ServiceShare(ns, w, w.seed, now) for ns, w in services}
        self.meters: dict[tuple[str, str], PodMeter] = {}
        self._endpoints: dict[tuple[str, str], frozenset[str]] = {}  # of every Service, ours or not
        self._gone: list[PodMeter] = []
        self._known: dict[str, _Found] = {}
        self._rng = np.random.default_rng(int(noise.uniform(seed, "traffic", 0)[0] * 2**53))
        self._generation = 0
        self.begun = now
        # Services whose pods, so many, have always been there, and the autoscaler that has always scaled them.
        self.founding: dict[tuple[str, str], tuple[int, Fleet | None]] = {}

    # What happens

    def add(self, pod: PodFacts) -> PodMeter:
        """A pod is bound to a node."""
        key = (pod.namespace, pod.workload.target.service)
        share, founding = self.shares[key], self.founding.get(key)
        with_sum = LATENCY_SUM in self._scraping.names
        past = None
        if founding is not None and self._scraping.past_days > 0:
            days, step = self._scraping.past_days, self._scraping.past_step
            past = past_of(pod.workload, pod.resources, founding[0], self.begun, days, with_sum, founding[1], step)
        meter = PodMeter(pod, share, self.faults, seed=self._seed, now=self._clock.now(), with_sum=with_sum, past=past)
        self.meters[pod.namespace, pod.name] = meter
        self._generation += 1
        return meter

    def remove(self, meter: PodMeter) -> None:
        """The pod is gone; its series stay for a while."""
        now = self._clock.now()
        meter.end(now)
        self.meters.pop((meter.facts.namespace, meter.facts.name), None)
        self._gone.append(meter)
        kept = [m for m in self._gone if m.ended is not None and now - m.ended < self._keep(m)]
        if len(kept) < len(self._gone):
            self._gone = kept
            self._generation += 1
        share = meter.share
        share.forget(min((m.drawn_until for m in self.meters.values() if m.share is share), default=now))

    def _keep(self, meter: PodMeter) -> float:
        """Budgets count what the target's pods have served for weeks; nobody asks for an arm long after its trial."""
        return self._scraping.past_days * 86400.0 if meter.has_past else KEEP_ARMS

    def set_endpoints(self, namespace: str, service: str, names: frozenset[str]) -> None:
        """These pods get what goes to the Service from now on."""
        self._endpoints[namespace, service] = names
        for share in self.shares.values():
            if share.namespace == namespace and service in share.levels and share.endpoints_of(service) != names:
                self._serve(share, service, names)

    def set_parts(self, namespace: str, service: str, parts: Mapping[str, float]) -> None:
        """The load that arrives for the (target's) Service is divided among Services like this from now on."""
        share = self.shares[namespace, service]
        if share.parts == parts:
            return
        share.set_parts(parts, self._clock.now())
        for name in parts:
            names = self._endpoints.get((namespace, name), frozenset())
            if share.endpoints_of(name) != names:
                self._serve(share, name, names)

    def _serve(self, share: ServiceShare, service: str, names: frozenset[str]) -> None:
        now = self._clock.now()
        for name in sorted(share.endpoints_of(service) ^ names):
            meter = self.meters.get((share.namespace, name))
            if meter is not None and meter.share is share:
                meter.serving(now, service, name in names)
        share.set_endpoints(service, names, now)

    def catch_up(self) -> None:
        """Draw everything up to now: what comes next will be different."""
        draw_spans(self.meters.values(), self._clock.now(), self._rng, flush=True)

    def offset(self, namespace: str, name: str) -> float:
        """When within its interval a pod is scraped; spread evenly, as Prometheus does by a hash."""
        return float(noise.uniform(self._seed, f"scrape {namespace}/{name}", 0)[0]) * self._scraping.interval

    @property
    def interval(self) -> float:
        """Seconds between scrapes."""
        return self._scraping.interval

    # promql.Source

    def matching(self, selector: Selector) -> Iterable[Track]:
        """Series that match; everything up to now is drawn first."""
        now = self._clock.now()
        if selector.name in STATE:
            return self._states(selector, now)
        found = self._matching(selector)
        if now >= found.due:
            draw_spans(found.meters, now, self._rng)
            for meter in found.meters:
                meter.trim(now)
            found.due = min((m.next_scrape for m in found.meters if m.ended is None), default=math.inf)
            if any(m.changed for m in found.meters):
                self._generation += 1
                for meter in found.meters:
                    meter.changed = False
                found = self._matching(selector)
        return found.tracks

    def _matching(self, selector: Selector) -> _Found:
        known = self._known.get(selector.key)
        if known is not None and known.generation == self._generation:
            return known
        meters = [m for m in (*self._gone, *self.meters.values()) if _might_match(selector, m)]
        tracks = [t for m in meters for t in m.tracks if selector.matches(t.labels)]
        if len(self._known) > MOST_KNOWN:
            self._known.clear()
        found = self._known[selector.key] = _Found(self._generation, meters, tracks)
        return found

    def _states(self, selector: Selector, now: float) -> Iterator[Track]:
        """Series of the cluster's own metrics, made when somebody asks: hardly anybody does."""
        for meter in (*self._gone, *self.meters.values()):
            if _might_match(selector, meter):
                times = meter.scrapes(
                    max(meter.states[0].since, now - 2 * LOOKBACK - 3600.0), min(now, meter.ended or now)
                )
                for labels, values in _state_series(selector.name, meter, times):
                    track = Track(tuple(sorted(labels.items())), times, values)
                    track.ended = meter.ended
                    if selector.matches(track.labels):
                        yield track


def _might_match(selector: Selector, meter: PodMeter) -> bool:
    own = {"namespace": meter.facts.namespace, "pod": meter.facts.name}
    return all(test(own[name]) for name, test in selector.matchers if name in own)


def _state_series(name: str, meter: PodMeter, times: list[float]) -> Iterator[tuple[dict[str, str], list[float]]]:
    facts = meter.facts
    labels = {"__name__": name, "namespace": facts.namespace, "pod": facts.name}
    container = labels | {"container": facts.container}
    states = [_state_at(meter.states, t) for t in times]
    if name == "up":
        yield container, [float(s.up) for s in states]
    elif name == "container_oom_events_total":
        yield container, [float(s.oom_kills) for s in states]
    elif name == "kube_pod_container_status_restarts_total":
        yield container, [float(s.restarts) for s in states]
    elif name == "kube_pod_status_ready":
        yield labels | {"condition": "true"}, [float(s.ready) for s in states]
        yield labels | {"condition": "false"}, [float(not s.ready) for s in states]
    else:
        resources = facts.resources
        requested = name.endswith("requests")
        cpu = resources.cpu_request if requested else resources.cpu_limit
        memory = resources.memory_request if requested else resources.memory_limit
        for resource, unit, value in (("cpu", "core", cpu), ("memory", "byte", memory)):
            if math.isfinite(value):
                yield container | {"resource": resource, "unit": unit}, [value] * len(times)


def _state_at(states: list[PodState], t: float) -> PodState:
    return next((s for s in reversed(states) if s.since <= t), states[0])


def _dense(end: float, days: float) -> FloatArray:
    return np.arange(end - min(DENSE_SECONDS, days * 86400.0), end, DENSE_STEP)


@lru_cache(maxsize=16)
def past_of(
    workload: WorkloadSpec,
    resources: Resources,
    replicas: int,
    end: float,
    days: float,
    with_sum: bool,
    fleet: Fleet | None = None,
    step: float = Scraping.past_step,
) -> PodPast:
    """What each of so many equal pods has counted in the days before `end`: what the model expects, without noise.
    Where there were more or fewer of them, as `fleet` would have it, these have counted what all had."""
    times = np.concatenate((np.arange(end - days * 86400.0, end - DENSE_SECONDS, step), _dense(end, days)))
    sharing = None if fleet is None else fleet.usual(OfferedLoad.of(workload).series(times)).astype(float)
    gains = expected_gains(
        workload, resources, times, times, replicas, workload.seed, with_sum=with_sum, sharing=sharing
    )
    columns = columns_of(workload, math.isfinite(resources.cpu_limit), with_sum)
    nothing = np.zeros(len(times))
    extra = (gains.errors, nothing, gains.cpu_seconds, nothing, nothing, gains.latency_sum)
    # Whole numbers, or sums in another order would differ in the last digit, which reads as a counter's restart.
    counts = np.rint(np.cumsum(np.column_stack((gains.buckets, *extra)), axis=0))
    values = (counts @ columns.transform).T
    shared = tuple(times.tolist())
    wanted = {key: column for key, column in zip(columns.keys, values, strict=True) if column[-1] > 0}
    return PodPast(counts[-1], {key: Past(shared, tuple(column.tolist())) for key, column in wanted.items()})


__all__ = ["Scraping", "Traffic", "past_of"]
