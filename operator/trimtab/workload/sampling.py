"""Seeded counts of one pod over one tick: what counters would have gained.

The model gives probabilities; telemetry gives counts. Requests are Poisson at the scale of a tick (bursts are shorter
than a tick and average out), their buckets multinomial, errors clustered as the workload says, throttled periods
binomial.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cfs import PERIOD_S
from .latency import FloatArray
from .model import Conditions, PodBehaviour
from .spec import WorkloadSpec

IntArray = NDArray[np.int64]


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


@dataclass(frozen=True, slots=True)
class Gains:
    """Gains of a pod's counters in one tick (numbers) or in k ticks (arrays of shape (k,))."""

    buckets: Any
    """shape (len(workload.buckets)+1,) or (k, len(workload.buckets)+1)."""
    requests: Any
    failed: Any
    unavailable: Any
    cpu_seconds: Any
    periods: Any
    throttled: Any


@dataclass(frozen=True)
class Chances:
    """What the counts are drawn from: of one behaviour, or of the behaviour of each of k ticks."""

    buckets: FloatArray
    """shape (len(workload.buckets)+1,) or (k, ...)."""
    timed_out: Any
    cores: Any
    throttled: Any

    @classmethod
    def of(cls, workload: WorkloadSpec, behaviour: PodBehaviour) -> Chances:
        """For ticks in which a pod behaves the same."""
        probabilities = behaviour.latency.bucket_probabilities(workload.buckets)
        late, throttled = behaviour.latency.timed_out, behaviour.throttled_ratio
        return cls(
            probabilities / probabilities.sum(),
            min(max(late, 0.0), 1.0),
            behaviour.cpu_usage_cores,
            min(max(throttled, 0.0), 1.0),
        )

    @classmethod
    def each(cls, chances: Sequence[Chances], which: IntArray) -> Chances:
        """For k ticks: `which` is the index of each tick's own, shape (k,)."""
        numbers = np.array([(c.timed_out, c.cores, c.throttled) for c in chances]).T[:, which]
        return cls(np.array([c.buckets for c in chances])[which], *numbers)


def clustered(rng: np.random.Generator, mean: Any, dispersion: float) -> Any:
    """Counts with this mean and variance = dispersion * mean (negative binomial; Poisson at 1); shape of `mean`."""
    if dispersion > 1.0:
        mean = rng.gamma(mean / (dispersion - 1.0), dispersion - 1.0)
    return rng.poisson(mean)


def draw(
    rng: np.random.Generator, workload: WorkloadSpec, chances: Chances, load_rps: Any, seconds: Any, injected: Any
) -> Gains:
    """Draw what a pod counts in one tick (numbers) or in k ticks (arrays of shape (k,)): numbers are ten times faster.

    Args:
        load_rps: the exact load, near that of the behaviour.
        seconds: length of the tick.
        injected: ratio of errors that conditions added.
    """
    requests = rng.poisson(load_rps * seconds)
    late = rng.binomial(requests, chances.timed_out)
    answered = requests - late
    base, dispersion = workload.request.error_percent / 100.0, workload.request.error_dispersion
    if np.any(injected):
        clean = clustered(rng, np.where(injected > 0.0, 0.0, answered * base), dispersion)
        raised = rng.binomial(answered, np.where(injected > 0.0, np.minimum(base + injected, 1.0), 0.0))
        failed = np.minimum(clean, answered) + raised
    else:
        failed = np.minimum(clustered(rng, answered * base, dispersion), answered)
    periods = np.rint(seconds / PERIOD_S).astype(np.int64)
    return Gains(
        buckets=rng.multinomial(requests, chances.buckets),
        requests=requests,
        failed=failed,
        unavailable=late,
        cpu_seconds=chances.cores * seconds * rng.normal(1.0, 0.01, np.shape(seconds) or None),
        periods=periods,
        throttled=rng.binomial(periods, chances.throttled),
    )


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
    load = behaviour.load_rps if load_rps is None else load_rps
    injected = conditions.error_ratio if conditions is not None else 0.0
    drawn = draw(rng, workload, Chances.of(workload, behaviour), load, seconds, injected)
    noise = math.sqrt(drawn.requests) * behaviour.latency.sd_s * float(rng.standard_normal())
    return TickCounts(
        buckets=drawn.buckets.astype(float),
        succeeded=int(drawn.requests - drawn.failed - drawn.unavailable),
        failed=int(drawn.failed),
        unavailable=int(drawn.unavailable),
        latency_sum_s=max(drawn.requests * behaviour.latency.mean_s + noise, 0.0),
        cpu_seconds=float(drawn.cpu_seconds),
        periods=int(drawn.periods),
        throttled=int(drawn.throttled),
        oom=bool(rng.random() < -math.expm1(-behaviour.oom_per_s * seconds)),
    )
