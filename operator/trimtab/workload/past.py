"""A service's past, as the model would have had it: sparse samples of what one pod has counted.

Error budgets look back 30 days, which neither a demo nor a simulation has lived through. Recent samples are dense
enough for rates over minutes, older ones only for sums over hours and days: a tenth of the samples of an even step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from . import noise
from .latency import FloatArray
from .load import OfferedLoad
from .model import Resources, evaluate, rounded
from .spec import WorkloadSpec

_HOUR: Final = 3600.0
_DAY: Final = 86400.0
_NAME_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
"""Characters that Kubernetes uses in generated names."""
_STEPS: Final = ((6.0 * _HOUR, 1.0), (2.0 * _DAY, 5.0), (math.inf, 30.0))
"""Until this age, samples lie so many steps apart."""


def sample_times(end: float, length_s: float, step_s: float) -> FloatArray:
    """Sample times up to `end`, dense in the last hours and sparse before; shape (n,), increasing."""
    parts, age = [], 0.0
    for until, factor in _STEPS:
        limit = min(until, length_s)
        if limit > age:
            parts.append(np.arange(age, limit, step_s * factor))
        age = max(age, limit)
    return np.asarray(np.round(end - np.concatenate(parts), 3)[::-1])


def pod_names(deployment: str, count: int, seed: int) -> tuple[str, ...]:
    """Names such as a ReplicaSet gives: <deployment>-<hash>-<5 characters>."""

    def word(key: str, length: int) -> str:
        picks = noise.uniform(seed, key, np.arange(length)) * len(_NAME_ALPHABET)
        return "".join(_NAME_ALPHABET[int(pick)] for pick in picks)

    template = word("past template", 10)
    return tuple(f"{deployment}-{template}-{word(f'past pod {i}', 5)}" for i in range(count))


@dataclass(frozen=True)
class Gains:
    """Expected gains of one pod between samples; shapes (n, ...)."""

    buckets: FloatArray
    errors: FloatArray
    latency_sum: FloatArray
    cpu_seconds: FloatArray
    working_set: FloatArray


def expected_gains(
    workload: WorkloadSpec,
    resources: Resources,
    times: FloatArray,
    load_times: FloatArray,
    pods: int,
    seed: int,
    *,
    with_sum: bool = True,
    sharing: FloatArray | None = None,
) -> Gains:
    """What a pod gains in each interval on average: the model at the load in its middle, on a 2 % grid.

    Args:
        times: sample times, increasing, shape (n,).
        load_times: times of the offered load at `times`, shape (n,).
        pods: how many share the load.
        with_sum: latencies are summed up too, which is most of the work; zeros otherwise.
        sharing: how many pods shared the load at each time, where an autoscaler decided that, shape (n,): what all of
            them gained is what `pods` pods together are given here.
    """
    gaps = np.diff(times, prepend=times[0])
    load = OfferedLoad.of(workload, seed).series(load_times - 0.5 * gaps) / pods
    crowd = np.ones(len(times)) if sharing is None else sharing / pods
    grid = np.array([rounded(value) for value in load / crowd])
    known = {value: evaluate(workload, resources, float(value)) for value in np.unique(grid)}
    requests = load * gaps
    at = [known[value] for value in grid]
    return Gains(
        buckets=np.array([b.latency.bucket_probabilities(workload.buckets) for b in at]) * requests[:, None],
        errors=np.array([b.error_ratio for b in at]) * requests,
        latency_sum=np.array([b.latency.mean_s if with_sum else 0.0 for b in at]) * requests,
        cpu_seconds=np.array([b.cpu_usage_cores for b in at]) * gaps * crowd,
        working_set=np.array([b.working_set_bytes for b in at]),
    )
