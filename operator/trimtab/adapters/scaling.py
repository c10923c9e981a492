"""Raw samples to what scaling is measured by: how many pods of an arm there were, and what they served. Pure.

A pod is there at a moment when it was scraped within the last one and a half intervals: its first sample comes up to an
interval late, its last one counts half an interval too long, so that a life is about as long as it was.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

from trimtab.adapters.prometheus_readings import bound_of, no_bound, usable
from trimtab.domain.measurement import NoData, Reading, Sample, Window
from trimtab.domain.names import pod_pattern
from trimtab.domain.spec import ScalingQuery, SlowRatioQuery
from trimtab.ports import SliRequest
from trimtab.slo.native import is_native, split
from trimtab.slo.scaling import Moment, scaling
from trimtab.slo.series import Births, Series, by_sub_window, last_seen, of_pods, scrape_interval

MOMENTS = 240  # at most
THERE = 1.5  # scrape intervals


def scaling_reading(
    request: SliRequest, query: ScalingQuery, part: Sequence[Series], total: Sequence[Series], *, good: bool
) -> Reading:
    """The measure of the request's pods.

    Args:
        part: counters of bad events, or of those that were not bad (`good`).
        total: counters of all events.
    """
    mine, problem = usable(request, total)
    if problem is not None:
        return problem
    scrape = scrape_interval(mine)
    if scrape is None:
        return NoData("these pods were scraped once")
    distance = max(scrape, request.window.seconds / MOMENTS)
    own = of_pods(part, pod_pattern(request.pods.workloads))
    found = scaling(query, _moments(own, mine, request.window, distance, THERE * scrape, good), distance)
    return replace(found, newest=last_seen(mine, request.pods.live)) if isinstance(found, Sample | NoData) else found


def slow_scaling_reading(
    request: SliRequest, query: ScalingQuery, counting: SlowRatioQuery, buckets: Sequence[Series]
) -> Reading:
    """The same by a histogram, classic or native."""
    if is_native(buckets):
        divided = split(of_pods(buckets, pod_pattern(request.pods.workloads)), counting.threshold)
        if divided is None:
            return no_bound(counting)
        buckets = divided.counters
    fast = [b for b in buckets if math.isclose(bound_of(b), counting.threshold)]
    return scaling_reading(request, query, fast, [b for b in buckets if math.isinf(bound_of(b))], good=True)


def _moments(
    part: Sequence[Series], total: Sequence[Series], window: Window, distance: float, there: float, good: bool
) -> tuple[Moment, ...]:
    edges = [window.start + distance * i for i in range(1, math.floor(window.seconds / distance + 1e-9) + 1)]
    births = Births.of(total)
    counted, all_ = (by_sub_window(each, window, births, edges) for each in (part, total))
    pods: dict[str, list[float]] = {}
    for each in total:
        pods.setdefault(each.label("pod"), []).extend(t for t, _ in each.points)
    times = [sorted(listed) for listed in pods.values()]
    return tuple(
        Moment(sum(_seen(listed, edge, there) for listed in times), max(n - k, 0.0) if good else min(k, n), n)
        for edge, k, n in zip(edges, counted, all_, strict=True)
    )


def _seen(times: Sequence[float], at: float, there: float) -> bool:
    """Whether a sample lies in (at - there, at]."""
    index = bisect_right(times, at)
    return index > 0 and times[index - 1] > at - there


__all__ = ["scaling_reading", "slow_scaling_reading"]
