"""Traffic: each tick, every ready endpoint of a Service gets an equal share of the load and serves it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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
class ServiceShare:
    """What a Service received in the last tick."""

    namespace: str
    workload: str
    service: str
    offered_rps: float
    endpoints: int
    per_endpoint_rps: float


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

    def tick(self, runs: Mapping[str, PodRun], slices: Mapping[Key, Obj], now: float, seconds: float) -> None:
        """Serve the load of the last `seconds`."""
        virtual = self._clock.at(now)
        shares = []
        for namespace, workload, load in self._services:
            endpoints = ready_endpoints(slices.values(), namespace, workload.target.service)
            offered = load.at(virtual)
            per_endpoint = offered / len(endpoints) if endpoints else 0.0
            shares.append(
                ServiceShare(namespace, workload.name, workload.target.service, offered, len(endpoints), per_endpoint)
            )
            drift = noise.drift(
                load.seed, "drift", workload.noise.drift_percent, workload.noise.drift_interval, virtual
            )
            for run in runs.values():
                if run.workload is not None and run.workload.name == workload.name and run.key[0] == namespace:
                    run.load_rps = per_endpoint if run.key[1] in endpoints and run.running else 0.0
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
