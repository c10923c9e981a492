"""Raw samples as Prometheus returned them to one reading per request. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from trimtab.domain.measurement import AlertSeen, NoData, Reading, Sample, Window
from trimtab.domain.names import pod_pattern
from trimtab.domain.spec import QuantileQuery, SlowRatioQuery
from trimtab.ports import PodSet, SliRequest, Steps
from trimtab.slo.estimate import ratio_sample, standard_error_of_mean, widened
from trimtab.slo.native import Split, as_classic, is_native, split
from trimtab.slo.quantiles import quantile_sample
from trimtab.slo.series import (
    Births,
    Series,
    by_sub_window,
    duplicated,
    edges_of,
    last_seen,
    of_pods,
    stale_pod,
)


def ratio_reading(
    request: SliRequest, bad: Sequence[Series], total: Sequence[Series], from_birth: bool = False
) -> Reading:
    """bad / total. No series of bad events beside a total with traffic are no bad events."""
    mine, problem = usable(request, total)
    if problem is not None:
        return problem
    wrong = of_pods(bad, pod_pattern(request.pods.workloads))
    twice = duplicated(wrong)
    if twice is not None:
        return twice
    births = Births.of(mine)
    edges = edges_of(request.window, births.scrape)
    counted = ratio_sample(
        by_sub_window(wrong, request.window, births, edges, from_birth),
        by_sub_window(mine, request.window, births, edges, from_birth),
    )
    return _seen(counted, mine, request)


def slow_ratio_reading(
    request: SliRequest, query: SlowRatioQuery, buckets: Sequence[Series], from_birth: bool = False
) -> Reading:
    """1 - (requests in buckets up to the threshold) / all. The threshold must be a bound: nothing is interpolated."""
    mine, problem = usable(request, [b for b in buckets if math.isinf(bound_of(b))])
    if problem is not None:
        return problem
    close = of_pods(buckets, pod_pattern(request.pods.workloads))
    fast = [b for b in close if math.isclose(bound_of(b), query.threshold)]
    if {b.label("pod") for b in fast} != {b.label("pod") for b in mine}:
        return no_bound(query)
    births = Births.of(mine)
    edges = edges_of(request.window, births.scrape)
    total = by_sub_window(mine, request.window, births, edges, from_birth)
    good = by_sub_window(fast, request.window, births, edges, from_birth)
    return _seen(ratio_sample([max(n - g, 0.0) for n, g in zip(total, good, strict=True)], total), mine, request)


def native_slow_ratio_reading(
    request: SliRequest, query: SlowRatioQuery, samples: Sequence[Series], from_birth: bool = False
) -> Reading:
    """The same of native histograms. What a bucket across the threshold gained in the window widens the error."""
    own = of_pods(samples, pod_pattern(request.pods.workloads))
    if not own:
        return NoData("no series of these pods")
    divided = split(own, query.threshold)
    if divided is None:
        return no_bound(query)
    reading = slow_ratio_reading(request, query, divided.counters, from_birth)
    if not isinstance(reading, Sample):
        return reading
    births, end = Births.of(divided.unsure), (request.window.end,)
    return widened(reading, sum(by_sub_window(divided.unsure, request.window, births, end, from_birth)))


def increased_reading(query: SlowRatioQuery, increases: Sequence[Series]) -> Reading:
    """The slow ratio of increases, as Prometheus makes them: native histograms without a past."""
    if not any(h.count > 0 for each in increases for _, h in each.histograms):
        return NoData("no traffic in the window")
    divided = split(increases, query.threshold)
    if divided is None:
        return no_bound(query)
    fast, total = (_last(divided, which) for which in (False, True))
    reading = ratio_sample([max(total - fast, 0.0)], [total])
    unsure = sum(each.points[-1][1] for each in divided.unsure)
    return widened(reading, unsure) if isinstance(reading, Sample) else reading


def increased_quantile(query: QuantileQuery, increases: Sequence[Series]) -> Reading:
    """A quantile of increases, as Prometheus makes them: of buckets by `le`, or of one native histogram."""
    buckets = as_classic(increases) if is_native(increases) else increases
    counts: dict[float, float] = {}
    for each in buckets:
        if each.points and not math.isnan(bound_of(each)):  # `1` and `1.0` are one bound
            counts[bound_of(each)] = counts.get(bound_of(each), 0.0) + each.points[-1][1]
    bounds = sorted(counts)
    if not bounds:
        return NoData("no traffic in the window")
    gained = [
        max(counts[le] - below, 0.0) for le, below in zip(bounds, (0.0, *(counts[b] for b in bounds)), strict=False)
    ]
    return quantile_sample([le * query.scale for le in bounds], [gained], query.quantile)


def _last(divided: Split, infinite: bool) -> float:
    return sum(each.points[-1][1] for each in divided.counters if math.isinf(bound_of(each)) is infinite)


def no_bound(query: SlowRatioQuery) -> NoData:
    return NoData(f"{query.threshold * query.scale:g} is no bucket bound of {query.histogram[0]}")


def quantile_reading(request: SliRequest, query: QuantileQuery, buckets: Sequence[Series]) -> Reading:
    """A quantile of all pods of the request together, from the increments of their buckets."""
    mine, problem = usable(request, [b for b in buckets if math.isinf(bound_of(b))])
    if problem is not None:
        return problem
    births = Births.of(mine)
    edges = edges_of(request.window, births.scrape)
    own = of_pods(buckets, pod_pattern(request.pods.workloads))
    bounds = sorted({bound_of(b) for b in own if not math.isnan(bound_of(b))})
    cumulative = [by_sub_window([b for b in own if bound_of(b) == le], request.window, births, edges) for le in bounds]
    counts = [
        [max(c - p, 0.0) for c, p in zip(row, (0.0, *row), strict=False)] for row in zip(*cumulative, strict=True)
    ]
    scaled = [le * query.scale for le in bounds]
    return _seen(quantile_sample(scaled, counts, query.quantile), mine, request)


def load_reading(pods: PodSet, window: Window, total: Sequence[Series]) -> Reading:
    """Requests per second of all pods together; the standard error is that of the sub-windows' rates, as arrivals
    come in bursts."""
    mine = of_pods(total, pod_pattern(pods.workloads))
    twice = duplicated(mine)
    if twice is not None:
        return twice
    births = Births.of(mine)
    counts = by_sub_window(mine, window, births, edges_of(window, births.scrape))
    if not (sum(counts) > 0 and math.isfinite(sum(counts))):
        return NoData("no traffic in the window", last_seen(mine, pods.live))
    rate, length = sum(counts) / window.seconds, window.seconds / len(counts)
    poisson = math.sqrt(sum(counts)) / window.seconds
    error = standard_error_of_mean([c / length for c in counts]) if len(counts) > 1 else 0.0
    return Sample(rate, max(poisson, error), sum(counts), newest=last_seen(mine, pods.live))


def alerts_seen(rows: Sequence[Series], window: Window) -> tuple[AlertSeen, ...]:
    """Alerts by name, from when the store last saw each fire, asked at even times up to the window's end."""
    found = []
    for row in sorted(rows, key=lambda r: r.label("alertname")):
        seen = [(at, last) for at, last in row.points if window.start < last <= window.end]
        if seen:
            still = abs(seen[-1][0] - window.end) < 0.5
            found.append(AlertSeen(row.label("alertname"), max(last for _, last in seen), still))
    return tuple(found)


def step_counts(part: Sequence[Series], total: Sequence[Series], step: float, *, good: bool) -> Steps:
    """What each pod was asked and failed in each step, from its counters at even times.

    Args:
        part: one row per pod, the counter of its bad events, or of those that were not bad (`good`).
        total: one row per pod, the counter of all.
        step: seconds between two times; after a longer gap nobody knows in which step the events were.
    """
    parts = {row.label("pod"): _growth(row, step) for row in part}
    steps: dict[float, list[tuple[float, float]]] = {}
    for row in total:
        share = parts.get(row.label("pod"), {})
        for at, n in _growth(row, step).items():
            k = share.get(at, 0.0)
            if n > 0:
                steps.setdefault(at, []).append((min(max(n - k if good else k, 0.0), n), n))
    return tuple(tuple(steps[at]) for at in sorted(steps))


def _growth(row: Series, step: float) -> dict[float, float]:
    """Time (rounded to seconds) to increase since the step before. A counter that fell started again from zero."""
    return {
        round(t): v if v < before else v - before
        for (earlier, before), (t, v) in pairwise(row.points)
        if t - earlier <= 1.5 * step and math.isfinite(v) and math.isfinite(before)
    }


def usable(request: SliRequest, total: Sequence[Series]) -> tuple[tuple[Series, ...], Reading | None]:
    """The request's own series, or why they cannot be used."""
    mine = of_pods(total, pod_pattern(request.pods.workloads))
    if not mine:
        return (), NoData("no series of these pods")
    twice = duplicated(mine)
    if twice is not None:
        return (), twice
    stale = stale_pod(mine, request.pods.live, request.window.end) if request.fresh else None
    return mine, stale


def _seen(reading: Reading, mine: Sequence[Series], request: SliRequest) -> Reading:
    if isinstance(reading, Sample | NoData):
        return replace(reading, newest=last_seen(mine, request.pods.live))
    return reading


def bound_of(series: Series) -> float:
    try:
        return float(series.label("le"))
    except ValueError:
        return math.nan
