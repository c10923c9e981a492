"""What a pod uses of a resource, from cAdvisor's raw samples: the mean over pods and time, with a standard error. Pure.

Notation: pod i used y_i (core-seconds or byte-seconds) in the t_i seconds in which it was seen.
  use   u = sum y / sum t, a ratio, so that a pod that came or went within the window counts by its time
  se    sqrt(n / (n - 1) sum (y_i - u t_i)^2) / sum t: pods are the sampling units of a ratio (Cochran 1977, section
        6.3), as what makes one dearer than another, its node, stays. Of a single pod the parts of the window are
A pod's y is that of its containers together, each by the seconds in which it was seen itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from trimtab.adapters.usage import WORKING_SET
from trimtab.domain.measurement import NoData, Reading, Sample, Window
from trimtab.domain.names import pod_pattern
from trimtab.domain.space import Resource
from trimtab.ports import PodSet, UseOf
from trimtab.slo.promql import quoted, with_matchers
from trimtab.slo.series import Series, edges_of, of_pods, scrape_interval

CPU_SECONDS = "container_cpu_usage_seconds_total"
SERIES = {Resource.CPU: CPU_SECONDS, Resource.MEMORY: WORKING_SET}
LEAST_SEEN = 0.5  # of the pods that serve


@dataclass(frozen=True)
class _Step:
    """What was used between two samples."""

    at: float
    amount: float
    seconds: float


def use_selector(pods: PodSet, of: UseOf) -> str:
    """One vector selector for it; the pod's own cgroup and its sandbox are left out."""
    which = f"container={quoted(of.container)}" if of.container else 'container!~"|POD"'
    return with_matchers(SERIES[of.resource], pods, which)


def use_reading(series: Iterable[Series], pods: PodSet, resource: Resource, window: Window) -> Reading:
    """Of one set of pods; `total` counts those that were seen."""
    mine = of_pods(series, pod_pattern(pods.workloads))
    found: dict[str, dict[str, list[list[_Step]]]] = {}
    for each in mine:
        steps = _steps(each, resource, window)
        if steps:
            found.setdefault(each.label("pod"), {}).setdefault(each.label("container"), []).append(steps)
    by_pod = {pod: [_longest(listed) for listed in by_container.values()] for pod, by_container in found.items()}
    live = [pod for pod in pods.live if pod in by_pod]
    if not by_pod or len(live) < LEAST_SEEN * len(pods.live):
        return NoData(f"the store has {SERIES[resource]} of {len(live) or len(by_pod)} of these pods")
    edges = [window.end] if len(by_pod) > 1 else list(edges_of(window, scrape_interval(mine)))
    units = [unit for containers in by_pod.values() for unit in _units(containers, edges)]
    return _mean(units, len(by_pod))


def _steps(each: Series, resource: Resource, window: Window) -> list[_Step]:
    """From the last sample before the window on. A counter that fell began anew at zero."""
    points = [(t, v) for t, v in each.points if math.isfinite(v) and t <= window.end]
    found = []
    for (before, was), (at, value) in pairwise(points):
        if at > window.start and at > before:
            gained = value - was if value >= was else value
            amount = gained if resource is Resource.CPU else value * (at - before)
            found.append(_Step(at, amount, at - before))
    return found


def _longest(listed: Sequence[list[_Step]]) -> list[_Step]:
    """Of a container that is stored twice (an HA pair), or that began anew under another id."""
    return max(listed, key=lambda steps: (sum(s.seconds for s in steps), sum(s.amount for s in steps)))


def _units(containers: Sequence[list[_Step]], edges: Sequence[float]) -> list[tuple[float, float]]:
    """(amount, seconds) of a pod in each part of the window in which all of its containers were seen."""
    found, start = [], -math.inf
    for edge in edges:
        parts = [[s for s in steps if start < s.at <= edge] for steps in containers]
        start = edge
        if all(parts):
            times = [sum(s.seconds for s in part) for part in parts]
            rates = [sum(s.amount for s in part) / time for part, time in zip(parts, times, strict=True)]
            found.append((sum(rates) * max(times), max(times)))
    return found


def _mean(units: Sequence[tuple[float, float]], pods: int) -> Reading:
    count, amount, seconds = len(units), sum(y for y, _ in units), sum(t for _, t in units)
    if count < 2 or not amount > 0:
        return NoData("too few samples of what these pods use")
    use = amount / seconds
    residual = math.fsum((y - use * t) ** 2 for y, t in units) * count / (count - 1)
    return Sample(use, math.sqrt(residual) / seconds, float(pods))


__all__ = ["CPU_SECONDS", "SERIES", "use_reading", "use_selector"]
