"""What one pod does with its resources and its share of the load: the noise-free truth.

The chain: requests -> batches (batching.py); memory limit -> collector's CPU and pauses (memory.py); CPU limit minus
background and collector -> quota in requests per period -> stalls (cfs.py); dependency time + CPU time + stalls -> how
long workers are held -> waits and refusals (queueing.py); all of it -> the latency distribution (latency.py). Every
step keeps the stochastic order, so more CPU is never slower, more memory never more OOM, and without batches more load
never faster: the tests check it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np

from .batching import batches
from .cfs import PERIOD_S, Stall, quota_stall, wall_seconds
from .latency import FloatArray, LatencyDistribution, ServiceTime
from .memory import MemoryState, memory_state
from .queueing import bounded_pool, pool_wait_nodes
from .spec import RequestSpec, WorkloadSpec

_CPU_NODES: Final = 5
_PAUSE_NODES: Final = 4
GRID: Final = 0.02
"""Step of the logarithm of loads and factors on which behaviours are computed (`rounded`)."""
UNLIMITED: Final = math.inf


@dataclass(frozen=True, slots=True)
class Resources:
    """Resources of one container; a missing CPU limit is `UNLIMITED`."""

    cpu_request: float
    """Cores."""
    cpu_limit: float
    """Cores."""
    memory_request: float
    """Bytes."""
    memory_limit: float
    """Bytes."""

    @classmethod
    def equal(cls, cpu: float, memory: float) -> Resources:
        """Requests equal to limits."""
        return cls(cpu, cpu, memory, memory)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the surroundings do to a pod; 1 and 0 mean nothing out of the ordinary."""

    cpu_slowdown: float = 1.0
    """Factor on CPU time (slow node, cold start)."""
    dependency_factor: float = 1.0
    dependency_addend_s: float = 0.0
    error_ratio: float = 0.0
    """Errors added to the base ratio."""
    memory_addend: float = 0.0
    """Bytes of live memory added (a leak, a large cache)."""

    def times(self, cpu: float = 1.0, dependency: float = 1.0) -> Conditions:
        """The same with further factors."""
        return replace(
            self, cpu_slowdown=self.cpu_slowdown * cpu, dependency_factor=self.dependency_factor * dependency
        )


ORDINARY: Final = Conditions()


@dataclass(frozen=True)
class PodBehaviour:
    """Noise-free behaviour of one pod."""

    load_rps: float
    latency: LatencyDistribution
    error_ratio: float
    """Failed requests / all requests: base, refused and timed out."""
    cpu_usage_cores: float
    throttled_ratio: float
    """Throttled periods / all periods."""
    working_set_bytes: float
    oom_per_s: float
    """Hazard of an OOM kill."""
    gc_cores: float

    @property
    def p50_s(self) -> float:
        """Median latency."""
        return self.latency.quantile(0.50)

    @property
    def p95_s(self) -> float:
        """95th percentile of latency."""
        return self.latency.quantile(0.95)

    @property
    def p99_s(self) -> float:
        """99th percentile of latency."""
        return self.latency.quantile(0.99)

    def slow_fraction(self, threshold_s: float) -> float:
        """Fraction of requests slower than the threshold."""
        return self.latency.fraction_over(threshold_s)


def rounded(value: float) -> float:
    """The value on a logarithmic grid of 2 %, so that a behaviour is computed once for many ticks; 0 stays 0."""
    if value <= 0.0:
        return 0.0
    return math.exp(round(math.log(value) / GRID) * GRID)


def effective_cores(workload: WorkloadSpec, resources: Resources) -> float:
    """Cores a pod gets on average: its limit, but on a full node (cpu.shares / cpu.weight) only its request."""
    free = min(resources.cpu_limit, workload.cpu.node_cores)
    full = min(free, resources.cpu_request)
    contended = workload.cpu.contended_percent / 100.0
    return (1.0 - contended) * free + contended * full


def asked_cores(workload: WorkloadSpec, resources: Resources, load_rps_per_pod: float) -> float:
    """CPU that a warm pod would use if no request were lost, and no limit kept it from that: quick, and never less than
    what `evaluate` says."""
    request, batch = workload.request, batches(workload, load_rps_per_pod)
    held = request.dependency.mean + request.cpu * batch.run + batch.wait_s
    memory = _memory(workload, resources, load_rps_per_pod, held, 0.0)
    return workload.cpu.background + memory.gc_cores + load_rps_per_pod * request.cpu * batch.work


@lru_cache(maxsize=4096)
def evaluate(
    workload: WorkloadSpec, resources: Resources, load_rps_per_pod: float, conditions: Conditions = ORDINARY
) -> PodBehaviour:
    """Behaviour of a warm pod that is offered `load_rps_per_pod` requests per second. Pure, cached."""
    request, batch = workload.request, batches(workload, load_rps_per_pod)
    dependency_s = request.dependency.mean * conditions.dependency_factor + conditions.dependency_addend_s
    alone_s = request.cpu * conditions.cpu_slowdown
    cpu_s, run_s = alone_s * batch.work, alone_s * batch.run  # that a request uses, and that it takes
    service_s = dependency_s + run_s + batch.wait_s
    memory = _memory(workload, resources, load_rps_per_pod, service_s, conditions.memory_addend)
    cores = effective_cores(workload, resources)
    left = max(cores - workload.cpu.background - memory.gc_cores * conditions.cpu_slowdown, 0.01 * min(cores, 1.0))
    places = request.concurrency + request.queue
    bursts = request.burstiness + (batch.size - 1.0)
    stall = quota_stall(load_rps_per_pod, bursts, request.cpu_cv**2, left / cpu_s, places, request.timeout)
    pauses = _pauses(memory, service_s)
    held_s = service_s + stall.mean_s + float(pauses[0] @ pauses[1])
    pool = bounded_pool(request.concurrency, request.queue, load_rps_per_pod * held_s)
    stretch = 0.5 * (1.0 + _cv2(workload))
    latency = LatencyDistribution.of(
        ServiceTime(dependency_s, request.dependency.cv, request.dependency.distribution),
        [
            (stall.delays_s, stall.weights),
            ServiceTime(run_s, request.cpu_cv / math.sqrt(batch.size)).nodes(_CPU_NODES),
            *batch.delays,
            pauses,
            pool_wait_nodes(pool, request.concurrency, held_s, stretch),
        ],
        request.timeout,
        late=1.0 - (1.0 - stall.lost) * (1.0 - pool.lost),
    )
    failed = min(request.error_percent / 100.0 + conditions.error_ratio, 1.0)
    served = load_rps_per_pod * (1.0 - latency.late)
    if pool.lost > 0.0:
        served = _worked_on(request, load_rps_per_pod, stall, held_s)
    used = workload.cpu.background + memory.gc_cores * conditions.cpu_slowdown + served * cpu_s
    return PodBehaviour(
        load_rps=load_rps_per_pod,
        latency=latency,
        error_ratio=1.0 - (1.0 - failed) * (1.0 - latency.timed_out),
        cpu_usage_cores=min(used, cores, resources.cpu_limit),
        throttled_ratio=stall.throttled if math.isfinite(resources.cpu_limit) else 0.0,
        working_set_bytes=memory.working_set_bytes,
        oom_per_s=memory.oom_per_s,
        gc_cores=memory.gc_cores,
    )


def _worked_on(request: RequestSpec, load_rps: float, stall: Stall, held_s: float) -> float:
    """Requests per second that CPU is used for: where workers are held by stalls there is no lack of work, and what CPU
    there is is used."""
    unheld = bounded_pool(request.concurrency, request.queue, load_rps * (held_s - stall.mean_s))
    return load_rps * (1.0 - stall.lost) * (1.0 - unheld.lost)


def _cv2(workload: WorkloadSpec) -> float:
    """Squared coefficient of variation of a worker's holding time (the dependency dominates it)."""
    dependency = workload.request.dependency
    return 1.0 if dependency.distribution == "Exponential" else dependency.cv**2


def _memory(workload: WorkloadSpec, resources: Resources, rps: float, held_s: float, addend: float) -> MemoryState:
    spec = workload.memory
    if addend:
        spec = spec.model_copy(update={"runtime": spec.runtime + addend})
    in_flight = min(rps * held_s, workload.request.concurrency)
    return memory_state(spec, resources.memory_limit, rps, in_flight)


def _pauses(memory: MemoryState, service_s: float) -> tuple[FloatArray, FloatArray]:
    """Delay by stop-the-world pauses: a request is hit if one starts just before or during it (Poisson cycles)."""
    hit = -math.expm1(-memory.gc_cycles_per_s * (memory.pause_s + service_s))
    if hit <= 0.0 or memory.pause_s <= 0.0:
        return np.zeros(1), np.ones(1)
    part = (np.arange(_PAUSE_NODES) + 0.5) / _PAUSE_NODES
    return np.append(0.0, part * memory.pause_s), np.append(1.0 - hit, np.full(_PAUSE_NODES, hit / _PAUSE_NODES))


def startup_seconds(workload: WorkloadSpec, resources: Resources, cpu_slowdown: float = 1.0) -> float:
    """Time from container start to ready: a fixed part and CPU work done under the CPU limit (exact, cfs.py)."""
    startup = workload.startup
    limit = max(min(resources.cpu_limit, workload.cpu.node_cores), PERIOD_S / 100.0)
    return startup.base + wall_seconds(startup.cpu * cpu_slowdown, limit)


def cold_slowdown(workload: WorkloadSpec, ready_for_s: float) -> float:
    """Factor on CPU time of a pod that has been ready for so long; fades exponentially."""
    startup = workload.startup
    return 1.0 + startup.cold_percent / 100.0 * math.exp(-max(ready_for_s, 0.0) / startup.cold_for)
