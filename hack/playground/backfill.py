"""A service's past as OpenMetrics, for `promtool tsdb create-blocks-from openmetrics`.

Error budgets look back 30 days, which a demo does not have. The past is drawn from the same model as the present, with
recent samples dense enough for rates over minutes and older ones only for sums over hours and days: a tenth of the
samples of an even step, so that writing and importing it takes seconds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import numpy as np
from numpy.typing import NDArray

from trimtab.workload import OfferedLoad, Resources, WorkloadSpec, evaluate, noise
from trimtab.workload.latency import FloatArray
from trimtab.workload.units import parse_bytes, parse_cores

from .traffic import rounded

IntArray = NDArray[np.int64]

_HOUR: Final = 3600.0
_DAY: Final = 86400.0
_NAME_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
"""Characters that Kubernetes uses in generated names."""
_STEPS: Final = ((6.0 * _HOUR, 1.0), (2.0 * _DAY, 5.0), (math.inf, 30.0))
"""Until this age, samples lie so many steps apart."""


@dataclass(frozen=True)
class Past:
    """What to write."""

    workload: WorkloadSpec
    namespace: str
    pods: tuple[str, ...]
    deployment: str
    resources: Resources
    times: FloatArray
    """shape (n,): sample times, increasing, seconds since the epoch."""
    load_times: FloatArray
    """shape (n,): times of the offered load at `times`."""
    seed: int

    @classmethod
    def of(
        cls,
        workload: WorkloadSpec,
        *,
        namespace: str,
        replicas: int,
        end: float,
        deployment: str | None = None,
        cpu: str = "2",
        memory: str = "2Gi",
        days: float = 30.0,
        step_s: float = 60.0,
        origin: float | None = None,
        seed: int = 0,
    ) -> Past:
        """The past until `end` of so many replicas; `origin` is the time of the offered load at `end`."""
        if replicas < 1:
            raise ValueError(f"--replicas: must be at least 1, not {replicas}")
        times = sample_times(end, days * _DAY, step_s)
        name = deployment or workload.target.deployment
        return cls(
            workload=workload,
            namespace=namespace,
            pods=pod_names(name, replicas, seed),
            deployment=name,
            resources=Resources.equal(parse_cores(cpu), parse_bytes(memory)),
            times=times,
            load_times=times + ((end if origin is None else origin) - end),
            seed=seed,
        )


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


def write_past(past: Past, out: Path) -> int:
    """Write the file; returns the number of samples."""
    with out.open("w", encoding="ascii") as file:
        count = _write(past, file)
        file.write("# EOF\n")
    return count


@dataclass(frozen=True)
class _Gains:
    """Expected gains of one pod between samples; shapes (n, ...)."""

    buckets: FloatArray
    errors: FloatArray
    latency_sum: FloatArray
    cpu_seconds: FloatArray
    working_set: FloatArray


def _expected(past: Past) -> _Gains:
    """What a pod gains in each interval on average: the model at the load in its middle, on a 2 % grid."""
    gaps = np.diff(past.times, prepend=past.times[0])
    load = OfferedLoad.of(past.workload, past.seed).series(past.load_times - 0.5 * gaps) / len(past.pods)
    grid = np.array([rounded(value) for value in load])
    known = {value: evaluate(past.workload, past.resources, float(value)) for value in np.unique(grid)}
    requests = load * gaps
    at = [known[value] for value in grid]
    return _Gains(
        buckets=np.array([b.latency.bucket_probabilities(past.workload.buckets) for b in at]) * requests[:, None],
        errors=np.array([b.error_ratio for b in at]) * requests,
        latency_sum=np.array([b.latency.mean_s for b in at]) * requests,
        cpu_seconds=np.array([b.cpu_usage_cores for b in at]) * gaps,
        working_set=np.array([b.working_set_bytes for b in at]),
    )


def _write(past: Past, file: TextIO) -> int:
    rng = np.random.default_rng(int(noise.uniform(past.seed, "past", 0)[0] * 2**53))
    gains, bounds = _expected(past), past.workload.buckets
    stamps = [f" {t:.3f}\n" for t in past.times]
    shared = f'namespace="{past.namespace}",container="{past.workload.target.container}"'
    families: dict[str, list[str]] = {name: [f"# TYPE {name} {kind}\n"] for name, kind in _FAMILIES}

    def lines(name: str, labels: str, values: list[str]) -> list[str]:
        head = f"{name}{{{labels}}} "
        return [head + value + stamp for value, stamp in zip(values, stamps, strict=True)]

    def series(family: str, name: str, labels: str, values: list[str]) -> None:
        families[family].extend(lines(name, labels, values))

    for pod in past.pods:
        labels = f'{shared},pod="{pod}"'
        buckets, errors = _draw(rng, gains, past.workload.request.error_dispersion)
        total = np.cumsum(buckets, axis=0)
        failed = np.cumsum(errors)
        requests = total.sum(axis=1)
        series("http_requests", "http_requests_total", f'{labels},code="200"', _texts(requests - failed))
        series("http_requests", "http_requests_total", f'{labels},code="500"', _texts(failed))
        histogram = "http_request_duration_seconds"
        parts = [
            lines(f"{histogram}_bucket", f'{labels},le="{le}"', _texts(column))
            for le, column in zip(_bounds(bounds), np.cumsum(total, axis=1).T, strict=True)
        ]
        parts.append(lines(f"{histogram}_count", labels, _texts(requests)))
        parts.append(lines(f"{histogram}_sum", labels, [f"{v:.3f}" for v in np.cumsum(gains.latency_sum)]))
        families[histogram].extend(itertools.chain.from_iterable(zip(*parts, strict=True)))  # point by point
        cpu = "container_cpu_usage_seconds"
        series(cpu, f"{cpu}_total", labels, [f"{v:.3f}" for v in np.cumsum(gains.cpu_seconds)])
        used = gains.working_set * rng.normal(1.0, 0.005, len(gains.working_set))
        series("container_memory_working_set_bytes", "container_memory_working_set_bytes", labels, _texts(used))
    ready = f'namespace="{past.namespace}",deployment="{past.deployment}"'
    name = "kube_deployment_status_replicas_ready"
    series(name, name, ready, [str(len(past.pods))] * len(stamps))
    for written in families.values():
        file.writelines(written)
    return sum(len(written) - 1 for written in families.values())


_FAMILIES: Final = (
    ("http_requests", "counter"),
    ("http_request_duration_seconds", "histogram"),
    ("container_cpu_usage_seconds", "counter"),
    ("container_memory_working_set_bytes", "gauge"),
    ("kube_deployment_status_replicas_ready", "gauge"),
)


def _draw(rng: np.random.Generator, gains: _Gains, dispersion: float) -> tuple[IntArray, IntArray]:
    """Counts of one pod per interval: requests by bucket (n, buckets) and errors (n,), clustered."""
    buckets = rng.poisson(gains.buckets)
    mean = gains.errors
    if dispersion > 1.0:
        mean = rng.gamma(np.maximum(mean, 1e-12) / (dispersion - 1.0), dispersion - 1.0)
    return buckets, np.minimum(rng.poisson(mean), buckets.sum(axis=1))


def _texts(values: FloatArray | IntArray) -> list[str]:
    return [str(value) for value in np.rint(values).astype(np.int64).tolist()]


def _bounds(bounds: tuple[float, ...]) -> Iterator[str]:
    yield from (repr(float(bound)) for bound in bounds)
    yield "+Inf"
