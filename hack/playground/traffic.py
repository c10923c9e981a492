"""Traffic: each tick the load is divided by the weights of HTTPRoutes, where there are any, and then evenly among the
ready endpoints of each Service, and served."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from trimtab.workload import (
    Conditions,
    OfferedLoad,
    WorkloadSpec,
    cold_slowdown,
    evaluate,
    noise,
    rounded,
    sample_tick,
)
from trimtab.workload.faultboard import FaultBoard
from trimtab.workload.routing import Division, divide, parts_of

from .kube import Key, Obj
from .podrun import PodRun

_HEAP_SECONDS: Final = 3.0
"""Time in which a new container's memory grows to its working set."""


@dataclass(frozen=True, slots=True)
class LoadClock:
    """Maps the wall clock to the time of the offered load."""

    started: float
    origin: float
    speed: float = 1.0

    def at(self, now: float) -> float:
        """Time of the load, seconds since the epoch."""
        return self.origin + (now - self.started) * self.speed


@dataclass(frozen=True, slots=True)
class BackendShare:
    """What one Service got of the load in the last tick; `part` is of the whole load."""

    service: str
    part: float
    endpoints: int
    per_endpoint_rps: float


@dataclass(frozen=True, slots=True)
class ServiceShare:
    """The load that arrived for a Service in the last tick, and where it went. `lost_rps`: to nobody."""

    namespace: str
    workload: str
    service: str
    offered_rps: float
    backends: tuple[BackendShare, ...]
    lost_rps: float

    @property
    def endpoints(self) -> int:
        """Ready endpoints of the Service itself."""
        return next((b.endpoints for b in self.backends if b.service == self.service), 0)

    @property
    def per_endpoint_rps(self) -> float:
        """Of the Service itself."""
        return next((b.per_endpoint_rps for b in self.backends if b.service == self.service), 0.0)


def ready_endpoints(slices: Iterable[Obj], namespace: str, service: str) -> set[str]:
    """Names of the pods that are ready endpoints of a Service."""
    names: set[str] = set()
    for item in slices:
        metadata = item["metadata"]
        if metadata["namespace"] != namespace or metadata["labels"].get("kubernetes.io/service-name") != service:
            continue
        for endpoint in item.get("endpoints") or ():
            ready = (endpoint.get("conditions") or {}).get("ready")
            target = endpoint.get("targetRef") or {}
            if ready is not False and target.get("kind") == "Pod":
                names.add(target["name"])
    return names


def _share(
    namespace: str,
    workload: WorkloadSpec,
    offered: float,
    parts: Mapping[str, float],
    endpoints: Mapping[str, set[str]],
    division: Division,
) -> ServiceShare:
    backends = tuple(
        BackendShare(name, part, len(endpoints[name]), offered * division.each.get(name, 0.0))
        for name, part in parts.items()
    )
    return ServiceShare(namespace, workload.name, workload.target.service, offered, backends, offered * division.lost)


class Traffic:
    """Gives pods their load and counts what they do with it."""

    def __init__(
        self,
        workloads: tuple[WorkloadSpec, ...],
        namespaces: tuple[str, ...],
        faults: FaultBoard,
        clock: LoadClock,
        seed: int | None,
        killed: Callable[[PodRun, str, int], None],
    ) -> None:
        self._services = [(namespace, w, OfferedLoad.of(w, seed)) for namespace in namespaces for w in workloads]
        self._faults = faults
        self._clock = clock
        self._killed = killed
        self.shares: list[ServiceShare] = []

    def tick(
        self,
        runs: Mapping[str, PodRun],
        slices: Mapping[Key, Obj],
        now: float,
        seconds: float,
        routes: Mapping[Key, Obj] = MappingProxyType({}),
    ) -> None:
        """Serve the load of the last `seconds`."""
        virtual = self._clock.at(now)
        shares = []
        for namespace, workload, load in self._services:
            here = [route for (where, _), route in sorted(routes.items()) if where == namespace]
            parts, offered = parts_of(here, workload.target.service), load.at(virtual)
            endpoints = {name: ready_endpoints(slices.values(), namespace, name) for name in parts}
            division = divide(parts, endpoints)
            shares.append(_share(namespace, workload, offered, parts, endpoints, division))
            drift = noise.drift(
                load.seed, "drift", workload.noise.drift_percent, workload.noise.drift_interval, virtual
            )
            for run in runs.values():
                if run.workload is not None and run.workload.name == workload.name and run.key[0] == namespace:
                    mine = sum(each for name, each in division.each.items() if run.key[1] in endpoints[name])
                    run.load_rps = offered * mine if run.running else 0.0
                    self._serve(run, run.workload, drift, now, seconds)
        self.shares = shares

    def _serve(self, run: PodRun, workload: WorkloadSpec, drift: float, now: float, seconds: float) -> None:
        if not run.running:
            run.behaviour, run.counters.working_set_bytes = None, 0.0
            return
        warmth = cold_slowdown(workload, now - run.life.ready_since) if run.life.ready else 1.0
        base = Conditions(cpu_slowdown=rounded(run.speed * warmth), dependency_factor=rounded(drift))
        run.conditions = self._faults.conditions(run.labels, now, base, run.key[0])
        behaviour = evaluate(workload, run.resources, rounded(run.load_rps), run.conditions)
        run.behaviour = behaviour
        counts = sample_tick(run.rng, workload, behaviour, seconds, run.conditions, load_rps=run.load_rps)
        run.counters.add(counts)
        grown = 1.0 - math.exp(-(now - run.life.running_since + 0.5) / _HEAP_SECONDS)
        jitter = float(run.rng.normal(1.0, 0.005))
        run.counters.working_set_bytes = min(behaviour.working_set_bytes * grown * jitter, run.resources.memory_limit)
        if counts.oom:
            self._killed(run, "OOMKilled", 137)
