"""Which series a pod of a workload exposes, and how their values follow from what it has counted.

The names are those of the local playground, so an Experiment that runs here runs there: the application's own
(`http_...`), cAdvisor's (`container_...`) and kube-state-metrics' (`kube_pod_...`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from trimtab.workload import WorkloadSpec
from trimtab.workload.kubestate import NAMES
from trimtab.workload.latency import FloatArray

HISTOGRAM = "http_request_duration_seconds"
REQUESTS = "http_requests_total"
LATENCY_SUM = f"{HISTOGRAM}_sum"
WORKING_SET = "container_memory_working_set_bytes"
STATE = (
    "up",
    "container_oom_events_total",
    "kube_pod_container_resource_requests",
    "kube_pod_container_resource_limits",
    "kube_pod_container_status_restarts_total",
    "kube_pod_status_ready",
)
EXTRA = ("failed", "unavailable", "cpu_seconds", "periods", "throttled", "latency_sum")
"""What a pod counts besides its latency buckets; in this order behind them in a row of counts."""

Key = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name and the labels that tell its series of one pod apart."""


@dataclass(frozen=True)
class Columns:
    """Counters of a pod: `keys` name them, `transform` makes them from a row of counts, shape (counts, keys).

    `late` are indices of those that are exposed only once they are above zero, as a client library does.
    """

    keys: tuple[Key, ...]
    transform: FloatArray
    late: frozenset[int]


@lru_cache(maxsize=64)
def columns_of(workload: WorkloadSpec, limited: bool, with_sum: bool) -> Columns:
    """The counters of this workload's pods; `limited`: with a CPU limit there are CFS periods."""
    buckets = len(workload.buckets) + 1
    places = {name: buckets + i for i, name in enumerate(EXTRA)}
    found: list[tuple[Key, dict[int, float]]] = []
    every = dict.fromkeys(range(buckets), 1.0)
    good = every | {places["failed"]: -1.0, places["unavailable"]: -1.0}
    found.append(((REQUESTS, (("code", "200"),)), good))
    found.append(((REQUESTS, (("code", "500"),)), {places["failed"]: 1.0}))
    found.append(((REQUESTS, (("code", "503"),)), {places["unavailable"]: 1.0}))
    for index, bound in enumerate((*workload.buckets, math.inf)):
        le = "+Inf" if math.isinf(bound) else repr(float(bound))
        found.append(((f"{HISTOGRAM}_bucket", (("le", le),)), dict.fromkeys(range(index + 1), 1.0)))
    found.append(((f"{HISTOGRAM}_count", ()), every))
    found.append((("container_cpu_usage_seconds_total", ()), {places["cpu_seconds"]: 1.0}))
    if limited:
        found.append((("container_cpu_cfs_periods_total", ()), {places["periods"]: 1.0}))
        found.append((("container_cpu_cfs_throttled_periods_total", ()), {places["throttled"]: 1.0}))
    if with_sum:
        found.append(((LATENCY_SUM, ()), {places["latency_sum"]: 1.0}))
    transform = np.zeros((buckets + len(EXTRA), len(found)))
    for column, (_, weights) in enumerate(found):
        for place, weight in weights.items():
            transform[place, column] = weight
    return Columns(tuple(key for key, _ in found), transform, frozenset({1, 2}))


def offered(workload: WorkloadSpec) -> tuple[str, ...]:
    """Names of all metrics that pods of this workload expose."""
    counters = {name for name, _ in columns_of(workload, True, True).keys}
    return tuple(sorted({*counters, WORKING_SET, *STATE, *NAMES}))


__all__ = [
    "EXTRA", "HISTOGRAM", "LATENCY_SUM", "REQUESTS", "STATE", "WORKING_SET", "Columns", "Key", "columns_of", "offered",
]  # fmt: skip
