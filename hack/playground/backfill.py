"""A service's past as OpenMetrics, for `promtool tsdb create-blocks-from openmetrics`.

Error budgets look back 30 days, which a demo does not have. The past is drawn from the same model as the present, with
recent samples dense enough for rates over minutes and older ones only for sums over hours and days: a tenth of the
samples of an even step, so that writing and importing it takes seconds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import numpy as np
from numpy.typing import NDArray

from trimtab.workload import Resources, WorkloadSpec, noise
from trimtab.workload.latency import FloatArray
from trimtab.workload.past import Gains, expected_gains, pod_names, sample_times
from trimtab.workload.units import parse_bytes, parse_cores

IntArray = NDArray[np.int64]

_DAY: Final = 86400.0


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


def write_past(past: Past, out: Path) -> int:
    """Write the file; returns the number of samples."""
    with out.open("w", encoding="ascii") as file:
        count = _write(past, file)
        file.write("# EOF\n")
    return count


def _write(past: Past, file: TextIO) -> int:
    rng = np.random.default_rng(int(noise.uniform(past.seed, "past", 0)[0] * 2**53))
    gains = expected_gains(past.workload, past.resources, past.times, past.load_times, len(past.pods), past.seed)
    bounds = past.workload.buckets
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


def _draw(rng: np.random.Generator, gains: Gains, dispersion: float) -> tuple[IntArray, IntArray]:
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
