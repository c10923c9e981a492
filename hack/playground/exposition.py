"""The metrics page: what the application, cAdvisor and kube-state-metrics would expose, in one scrape.

Prometheus scrapes it with `honor_labels: true`, so namespace and pod are the pods' own. The series of a deleted pod
vanish with it, as they would from a real target.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from trimtab.workload.kubestate import NAMES, of_autoscaler, of_deployment
from trimtab.workload.lifecycle import Phase

from .kube import Key, Obj
from .podrun import PodRun

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_FAMILIES: Final = (
    ("up", "gauge"),
    ("http_requests_total", "counter"),
    ("http_request_duration_seconds", "histogram"),
    ("container_cpu_usage_seconds_total", "counter"),
    ("container_cpu_cfs_periods_total", "counter"),
    ("container_cpu_cfs_throttled_periods_total", "counter"),
    ("container_memory_working_set_bytes", "gauge"),
    ("container_oom_events_total", "counter"),
    ("kube_pod_container_resource_requests", "gauge"),
    ("kube_pod_container_resource_limits", "gauge"),
    ("kube_pod_container_status_restarts_total", "counter"),
    ("kube_pod_status_ready", "gauge"),
    *((name, "gauge") for name in NAMES),
)


def render(
    runs: Iterable[PodRun],
    missing: set[str],
    deployments: Mapping[Key, Obj],
    autoscalers: Mapping[Key, Obj] = MappingProxyType({}),
) -> str:
    """The page. `missing`: uids of pods whose own metrics cannot be scraped now."""
    lines: dict[str, list[str]] = {name: [] for name, _ in _FAMILIES}
    for run in runs:
        if run.workload is not None:
            if run.uid not in missing and run.running:
                _application(run, lines)
                _cadvisor(run, lines)
            labels = _labels(run)
            lines["up"].append(f"up{{{labels}}} {int(run.running and run.uid not in missing)}")
        _state(run, lines)
    counted = (("deployment", deployments, of_deployment), ("horizontalpodautoscaler", autoscalers, of_autoscaler))
    for label, items, counts in counted:
        for (namespace, name), item in sorted(items.items()):
            for series, value in counts(item).items():
                lines[series].append(f'{series}{{namespace="{namespace}",{label}="{name}"}} {value}')
    page: list[str] = []
    for name, kind in _FAMILIES:
        if lines[name]:
            page.append(f"# TYPE {name} {kind}")
            page.extend(lines[name])
    return "\n".join(page) + "\n"


def _labels(run: PodRun) -> str:
    namespace, name = run.key
    return f'namespace="{namespace}",pod="{name}",container="{run.main}"'


def _application(run: PodRun, lines: dict[str, list[str]]) -> None:
    labels, counters = _labels(run), run.counters
    for code, count in (("200", counters.succeeded), ("500", counters.failed), ("503", counters.unavailable)):
        if count or code == "200":
            lines["http_requests_total"].append(f'http_requests_total{{{labels},code="{code}"}} {count}')
    histogram, name = lines["http_request_duration_seconds"], "http_request_duration_seconds"
    total = 0
    bounds = run.workload.buckets if run.workload is not None else ()
    for bound, count in zip((*bounds, math.inf), counters.buckets, strict=True):
        total += int(count)
        le = "+Inf" if math.isinf(bound) else repr(float(bound))
        histogram.append(f'{name}_bucket{{{labels},le="{le}"}} {total}')
    histogram.append(f"{name}_sum{{{labels}}} {counters.latency_sum_s:.6f}")
    histogram.append(f"{name}_count{{{labels}}} {total}")


def _cadvisor(run: PodRun, lines: dict[str, list[str]]) -> None:
    labels, counters = _labels(run), run.counters
    values: list[tuple[str, str]] = [
        ("container_cpu_usage_seconds_total", f"{counters.cpu_seconds:.6f}"),
        ("container_memory_working_set_bytes", f"{counters.working_set_bytes:.0f}"),
        ("container_oom_events_total", str(counters.oom_events)),
    ]
    if math.isfinite(run.resources.cpu_limit):
        values.append(("container_cpu_cfs_periods_total", str(counters.periods)))
        values.append(("container_cpu_cfs_throttled_periods_total", str(counters.throttled)))
    for name, value in values:
        lines[name].append(f"{name}{{{labels}}} {value}")


def _state(run: PodRun, lines: dict[str, list[str]]) -> None:
    namespace, name = run.key
    pod, resources = f'namespace="{namespace}",pod="{name}"', run.resources
    node = run.pod["spec"]["nodeName"]
    for family, cpu, memory in (
        ("kube_pod_container_resource_requests", resources.cpu_request, resources.memory_request),
        ("kube_pod_container_resource_limits", resources.cpu_limit, resources.memory_limit),
    ):
        if math.isfinite(cpu):
            lines[family].append(
                f'{family}{{{pod},container="{run.main}",node="{node}",resource="cpu",unit="core"}} {cpu:g}'
            )
        lines[family].append(
            f'{family}{{{pod},container="{run.main}",node="{node}",resource="memory",unit="byte"}} {memory:.0f}'
        )
    family = "kube_pod_container_status_restarts_total"
    lines[family].append(f'{family}{{{pod},container="{run.main}"}} {run.life.restarts}')
    ready = run.life.ready and run.life.phase is Phase.RUNNING
    for condition, holds in (("true", ready), ("false", not ready), ("unknown", False)):
        lines["kube_pod_status_ready"].append(f'kube_pod_status_ready{{{pod},condition="{condition}"}} {int(holds)}')
