"""Seeded counts of one pod over one tick: what counters would have gained.

The model gives probabilities; telemetry gives counts. Requests are Poisson at the scale of a tick (bursts are shorter
than a tick and average out), their buckets multinomial, errors clustered as the workload says, throttled periods
binomial.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .cfs import PERIOD_S
from .latency import FloatArray
from .model import Conditions, PodBehaviour
from .spec import WorkloadSpec


@dataclass(frozen=True, slots=True)
class TickCounts:
    """Gains of a pod's counters in one tick."""

    buckets: FloatArray
    """shape (len(workload.buckets)+1,): requests per latency bucket, not cumulative; the last is over all bounds."""
    succeeded: int
    failed: int
    """Answered with an error (code 500)."""
    unavailable: int
    """Refused or timed out (code 503)."""
    latency_sum_s: float
    cpu_seconds: float
    periods: int
    throttled: int
    oom: bool

    @property
    def requests(self) -> int:
        """All requests of the tick."""
        return self.succeeded + self.failed + self.unavailable


def clustered(rng: np.random.Generator, mean: float, dispersion: float) -> int:
    """A count with the given mean and variance = dispersion * mean (negative binomial; Poisson at 1)."""
    if mean <= 0.0:
        return 0
    if dispersion > 1.0:
        mean = rng.gamma(mean / (dispersion - 1.0), dispersion - 1.0)
    return int(rng.poisson(mean))


def sample_tick(
    rng: np.random.Generator,
    workload: WorkloadSpec,
    behaviour: PodBehaviour,
    seconds: float,
    conditions: Conditions | None = None,
    load_rps: float | None = None,
) -> TickCounts:
    """Draw what a pod with this behaviour counts in `seconds`.

    `conditions` tell how errors were raised; `load_rps` is the exact load when the behaviour is that of a nearby one.
    """
    requests = int(rng.poisson((behaviour.load_rps if load_rps is None else load_rps) * seconds))
    probabilities = behaviour.latency.bucket_probabilities(workload.buckets)
    buckets = rng.multinomial(requests, probabilities / probabilities.sum()).astype(float)
    late = int(rng.binomial(requests, min(max(behaviour.latency.timed_out, 0.0), 1.0)))
    injected = conditions.error_ratio if conditions is not None else 0.0
    ratio = min(workload.request.error_percent / 100.0 + injected, 1.0)
    answered = requests - late
    if injected:
        failed = int(rng.binomial(answered, ratio))
    else:
        failed = min(clustered(rng, answered * ratio, workload.request.error_dispersion), answered)
    noise = math.sqrt(requests) * behaviour.latency.sd_s * float(rng.standard_normal())
    periods = round(seconds / PERIOD_S)
    return TickCounts(
        buckets=buckets,
        succeeded=answered - failed,
        failed=failed,
        unavailable=late,
        latency_sum_s=max(requests * behaviour.latency.mean_s + noise, 0.0),
        cpu_seconds=behaviour.cpu_usage_cores * seconds * float(rng.normal(1.0, 0.01)),
        periods=periods,
        throttled=int(rng.binomial(periods, min(max(behaviour.throttled_ratio, 0.0), 1.0))),
        oom=bool(rng.random() < -math.expm1(-behaviour.oom_per_s * seconds)),
    )
