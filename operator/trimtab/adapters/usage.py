"""What cAdvisor counts of a container, from raw samples: throttling, working set, and pressure (PSI).

The pod's own cgroup (`container=""`) and its sandbox (`POD`) are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from trimtab.domain.measurement import ContainerUse, Window
from trimtab.ports import PodSet
from trimtab.slo.guards import CPU_WAITING, MEMORY_STALLED, METRICS, PERIODS, THROTTLED, WORKING_SET
from trimtab.slo.promql import quoted, with_matchers
from trimtab.slo.series import Births, Series, increments

CONTAINERS = 'container!~"|POD"'
LEAST_PERIODS = 20.0  # 2 s of a busy container: a share of fewer says little


def usage_selector(pods: PodSet) -> str:
    """One vector selector for all of it."""
    return with_matchers("", pods, f"__name__=~{quoted('|'.join(METRICS))}", CONTAINERS)


def presence_query(pods: PodSet) -> str:
    """How many series there are of each of its metrics, by the label `metric`; nothing of one that has none."""
    return " or ".join(
        f'label_replace(count({with_matchers(metric, pods, CONTAINERS)}),"metric","{metric}","","")'
        for metric in METRICS
    )


def containers_in(series: Iterable[Series], window: Window) -> tuple[ContainerUse, ...]:
    """The use of every container that has a sample in the window. A series that is stored twice (an HA pair) counts
    once, with the greater value."""
    found: dict[tuple[str, str], dict[str, list[Series]]] = {}
    for each in series:
        key = (each.label("pod"), each.label("container"))
        found.setdefault(key, {}).setdefault(each.label("__name__"), []).append(each)
    uses = (_use(pod, container, by_name, window) for (pod, container), by_name in sorted(found.items()))
    return tuple(u for u in uses if u != ContainerUse(u.pod, u.container))


def _use(pod: str, container: str, by_name: dict[str, list[Series]], window: Window) -> ContainerUse:
    return ContainerUse(
        pod,
        container,
        throttled=_throttled(by_name, window),
        working_set=_highest(by_name.get(WORKING_SET, ()), window),
        memory_stalled=_share_of_time(by_name.get(MEMORY_STALLED, ()), window),
        cpu_waiting=_share_of_time(by_name.get(CPU_WAITING, ()), window),
    )


def _throttled(by_name: dict[str, list[Series]], window: Window) -> float | None:
    periods, throttled = (_gain(by_name.get(name, ()), window) for name in (PERIODS, THROTTLED))
    if periods is None or throttled is None or periods[0] < LEAST_PERIODS:
        return None
    return min(throttled[0] / periods[0], 1.0)


def _share_of_time(series: Sequence[Series], window: Window) -> float | None:
    found = _gain(series, window)
    return None if found is None else min(found[0] / found[1], 1.0)


def _highest(series: Sequence[Series], window: Window) -> float | None:
    inside = (v for s in series for t, v in s.points if window.start < t <= window.end)
    return max((v for v in inside if math.isfinite(v) and v > 0), default=None)


def _gain(series: Sequence[Series], window: Window) -> tuple[float, float] | None:
    """The greatest (increase of a counter, seconds over which it was seen) within the window, from the last sample
    before it; None without two samples."""
    return max((gain for each in series if (gain := _gain_of(each, window)) is not None), default=None)


def _gain_of(series: Series, window: Window) -> tuple[float, float] | None:
    finite = Series(series.labels, tuple(p for p in series.points if math.isfinite(p[1])))
    gains = increments(finite, window, Births(()))
    if not gains:
        return None
    begun = max(t for t, _ in finite.points if t < gains[0][0])
    return sum(gain for _, gain in gains), gains[-1][0] - begun


__all__ = ["WORKING_SET", "containers_in", "presence_query", "usage_selector"]
