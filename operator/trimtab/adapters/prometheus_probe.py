"""Preflight of SLIs: can it be measured at all on this Prometheus, and what does its past say?"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

from trimtab.adapters.prometheus_absence import EMPTY, why_absent
from trimtab.adapters.prometheus_names import Names
from trimtab.adapters.prometheus_readings import increased_quantile
from trimtab.adapters.prometheus_sums import increased, raw_counts
from trimtab.adapters.query_limits import absence_of
from trimtab.adapters.series_store import QueryFailed, SeriesStore, StoreUnavailable
from trimtab.adapters.usage import presence_query
from trimtab.domain.measurement import Ambiguous, NoData, Reading, Sample, Window
from trimtab.domain.placeholder import PLACEHOLDER, narrowed
from trimtab.domain.spec import QuantileQuery, RatioQuery, ScalingQuery, Sli, SlowRatioQuery, ValueQuery
from trimtab.ports import NOT_ASKED, PodSet, SliProbe
from trimtab.slo.counters import Histogram
from trimtab.slo.estimate import value_sample
from trimtab.slo.guards import METRICS
from trimtab.slo.native import common_bounds, exponential, is_native, split
from trimtab.slo.promql import inject, label_names
from trimtab.slo.series import Births, Series, by_sub_window, duplicated, scrape_interval

PAST_SECONDS = 6 * 3600
RECENT_SECONDS = 300  # the longest that Prometheus lets pass between two scrapes
FULL_HISTORY = 0.98  # of what is asked for: nothing is as old as its window to the second
PAST_STEP = 300  # between two looks at a value
REACH_STEPS = 60
REACH_PRECISION = 0.02  # of the age
REACH_LEAST = 1.0  # seconds
LEAST_RATE_WINDOW, RATE_SCRAPES = 10.0, 10


class Prober:
    """Asks what preflight needs of one SLI."""

    def __init__(self, client: SeriesStore, names: Names) -> None:
        self._client, self._names = client, names

    async def probe(self, sli: Sli, pods: PodSet, now: float, history: float, timeout: float) -> SliProbe:
        """Everything that preflight asks of one SLI; a failing store is part of the answer."""
        try:
            async with asyncio.timeout(timeout):
                found = await self._answer(sli, pods, now, history, timeout)
                return found if found.reason else replace(found, unseen=await self._unseen(pods, now, timeout))
        except TimeoutError:
            return _unavailable(sli, f"no answer within {timeout:g} s")
        except StoreUnavailable as error:
            return _unavailable(sli, str(error))
        except QueryFailed as error:
            remedy = "correct the query, or repair Prometheus; it is retried"
            return SliProbe(sli.name, "QueryFailed", f"Prometheus: {error}", remedy)

    async def _answer(self, sli: Sli, pods: PodSet, now: float, history: float, timeout: float) -> SliProbe:
        match sli.query:
            case ScalingQuery(counting=counting):
                return await self._answer(replace(sli, query=counting), pods, now, history, timeout)
            case ValueQuery():
                return await self._value(sli, sli.query, pods, now, timeout)
            case RatioQuery():
                return await self._ratio(sli, sli.query, pods, now, history, timeout)
            case SlowRatioQuery() | QuantileQuery():
                return await self._histogram(sli, sli.query, pods, now, history, timeout)

    async def _unseen(self, pods: PodSet, now: float, timeout: float) -> tuple[str, ...] | None:
        """What resource guards would look at and the store does not have; None where it does not say."""
        try:
            rows = await self._client.vector(presence_query(pods), now, timeout)
        except QueryFailed:
            return None
        there = {row.label("metric") for row in rows}
        return tuple(metric for metric in METRICS if metric not in there)

    async def _value(self, sli: Sli, query: ValueQuery, pods: PodSet, now: float, timeout: float) -> SliProbe:
        rows = await self._client.vector(inject(query.query, pods), now, timeout)
        if is_native(rows):
            remedy = "wrap it in histogram_quantile, histogram_fraction or histogram_avg"
            return SliProbe(sli.name, "QueryFailed", "the query yields histograms, not numbers", remedy)
        if _number(rows) is None:
            return SliProbe(sli.name, "NoData", "the query returns nothing for the target's pods", EMPTY)
        if len(rows) > 1:
            problem = f"the query returns {len(rows)} series for the target's pods, one is needed"
            return SliProbe(sli.name, "Ambiguous", problem, "aggregate it, e.g. avg(...) or sum(...)")
        return SliProbe(sli.name, level=await self._past_value(query, pods, now, timeout))

    async def _past_value(self, query: ValueQuery, pods: PodSet, now: float, timeout: float) -> Reading:
        """Its mean over the last hours, at even times."""
        start = now - PAST_STEP * math.floor(PAST_SECONDS / PAST_STEP)
        try:
            rows = await self._client.range(inject(query.query, pods), start, now, PAST_STEP, timeout)
        except QueryFailed as error:
            return absence_of(error)
        if len(rows) != 1:
            return Ambiguous(f"the query returned {len(rows)} series in the last hours") if rows else NoData(EMPTY)
        return value_sample([v for _, v in rows[0].points], None)

    async def _ratio(
        self, sli: Sli, query: RatioQuery, pods: PodSet, now: float, history: float, timeout: float
    ) -> SliProbe:
        index = await self._names.choose(sli, pods, now, timeout, again=True)
        if index is None:
            return await self._absent(sli, tuple(total for _, total in query.counters), pods, now, timeout)
        unlike = await self._unsegmented(query, index, pods, now, timeout)
        if unlike:
            problem = f"{query.bad[index]} has no label {unlike}, so no bad event could ever be in the segment"
            return SliProbe(sli.name, "SegmentMissing", problem, "give both counters the segment's labels")
        return await self._traffic(sli, pods, now, history, timeout)

    async def _absent(self, sli: Sli, selectors: tuple[str, ...], pods: PodSet, now: float, timeout: float) -> SliProbe:
        problem, remedy = await why_absent(self._client, selectors, pods, now, timeout)
        return SliProbe(sli.name, "NoData", problem, remedy)

    async def _unsegmented(self, query: RatioQuery, index: int, pods: PodSet, now: float, timeout: float) -> str:
        """A label of the segment that the counter of bad events does not have, though it has series; "" for none."""
        labels = label_names(f"x{{{PLACEHOLDER},{query.segment}}}") if query.segment else ()
        bad = query.bad[index]
        asked = [inject(bad, pods), *(inject(narrowed(bad, f'{name}!=""'), pods) for name in labels)]
        if not labels:
            return ""
        there, *each = await asyncio.gather(*(self._client.vector(f"count({a})", now, timeout) for a in asked))
        return next((name for name, rows in zip(labels, each, strict=True) if not rows), "") if there else ""

    async def _histogram(
        self, sli: Sli, query: SlowRatioQuery | QuantileQuery, pods: PodSet, now: float, history: float, timeout: float
    ) -> SliProbe:
        found = await self._names.histogram(sli, pods, now, timeout, again=True)
        if found is None:
            forms = (f"{n}{form}" for form in ("_bucket", "") for n in query.histogram)
            selectors = tuple(narrowed(f"{n}{{{PLACEHOLDER}}}", query.labels) for n in forms)
            return await self._absent(sli, selectors, pods, now, timeout)
        rows = await self._client.vector(_layout(found, pods, query), now, timeout)
        if isinstance(query, SlowRatioQuery) and not _countable(found, query, rows):
            bounds = list(common_bounds(rows)) if found.native else _bounds(rows)
            return _no_bound(sli, query, found.name, bounds)
        probe = await self._traffic(sli, pods, now, history, timeout)
        coarse = isinstance(query, QuantileQuery) and not (found.native and exponential(rows))
        return replace(probe, coarse=coarse)

    async def _traffic(self, sli: Sli, pods: PodSet, now: float, history: float, timeout: float) -> SliProbe:
        total = await self._names.total(sli, pods, now, timeout)
        if total is None:
            return SliProbe(sli.name, "NoData", "no series for the target's pods", EMPTY)
        recent = await raw_counts(self._client, total, now, RECENT_SECONDS, timeout)
        twice = duplicated(recent)
        if twice is not None:
            return SliProbe(sli.name, "Ambiguous", twice.detail, "scrape each pod once, or query one replica")
        interval = scrape_interval(recent)
        window = math.ceil(max(LEAST_RATE_WINDOW, RATE_SCRAPES * (interval or RECENT_SECONDS)))
        value = _rate(recent, now - window)
        if not value > 0:
            problem = f"the target's pods got no request in the last {window} s"
            return SliProbe(sli.name, "NoTraffic", problem, "send traffic to it; Trimtab never makes any")
        past = await self._past(sli, pods, now, timeout)
        reach = await self._reach(total.total, now, max(history, PAST_SECONDS), timeout)
        known = past if isinstance(past, Sample) else None
        ratio = None if known is None or isinstance(sli.query, QuantileQuery) else min(max(known.value, 0.0), 1.0)
        return SliProbe(
            sli.name,
            scrape_interval=interval,
            requests_per_second=value,
            usual_per_second=None if known is None or not reach else known.total / min(reach, PAST_SECONDS),
            bad_ratio=ratio,
            level=past if isinstance(sli.query, QuantileQuery) else NOT_ASKED,
            history=history if reach is not None and reach >= FULL_HISTORY * history else reach,
        )

    async def _past(self, sli: Sli, pods: PodSet, now: float, timeout: float) -> Reading:
        """The fraction of bad events over the last hours, or the quantile, of how many."""
        if isinstance(sli.query, QuantileQuery):
            return await self._past_quantile(sli, sli.query, pods, now, timeout)
        names = await self._names.counters(sli, pods, now, timeout)
        if names is None:
            return NoData(EMPTY)
        return await increased(self._client, names, sli.query, now, PAST_SECONDS, timeout)

    async def _past_quantile(self, sli: Sli, query: QuantileQuery, pods: PodSet, now: float, timeout: float) -> Reading:
        found = await self._names.histogram(sli, pods, now, timeout)
        if found is None:
            return NoData(EMPTY)
        by = "" if found.native else " by (le) "
        asked = f"sum{by}(increase({found.selector(pods, query.labels)}[{PAST_SECONDS}s]))"
        return increased_quantile(query, await self._client.vector(asked, now, timeout))

    async def _reach(self, total: str, now: float, history: float, timeout: float) -> float | None:
        """How far back the store answers, at most `history`, within a fiftieth: in finer and finer steps.

        A service that is a minute old is known to be: its budget is its rate times the window.
        """
        counted = f"count({total})"
        if await self._client.vector(counted, now - FULL_HISTORY * history, timeout):
            return history
        end, step = now, history / REACH_STEPS
        while True:
            begin = end - REACH_STEPS * step
            rows = await self._client.range(counted, begin, end + step / 2, step, timeout)
            if not rows or not rows[0].points:
                return None
            end = rows[0].points[0][0]  # there are samples at this step, and none at the one before
            if step <= max(REACH_PRECISION * (now - end), REACH_LEAST):
                return min(now - end + step, history)
            step /= REACH_STEPS


def _unavailable(sli: Sli, why: str) -> SliProbe:
    remedy = "it is asked again by itself; if that lasts, repair Prometheus, or its address in the operator's settings"
    return SliProbe(sli.name, "TelemetryUnavailable", f"Prometheus: {why}", remedy)


def _layout(found: Histogram, pods: PodSet, query: SlowRatioQuery | QuantileQuery) -> str:
    """What shows the buckets."""
    series = found.selector(pods, query.labels)
    return series if found.native else f"count by (le) ({series})"


def _countable(found: Histogram, query: SlowRatioQuery, rows: tuple[Series, ...]) -> bool:
    if found.native:
        return split(rows, query.threshold) is not None
    return any(math.isclose(b, query.threshold) for b in _bounds(rows))


def _bounds(rows: tuple[Series, ...]) -> list[float]:
    found = []
    for each in rows:
        try:
            found.append(float(each.label("le")))
        except ValueError:
            continue
    return sorted(found)


def _rate(recent: tuple[Series, ...], since: float) -> float:
    """Requests per second over the time that was observed: `rate` takes a service that is younger than its range for
    a slow one, and what a trial may cost is reckoned from this."""
    times = [t for each in recent for t, _ in each.points if t > since]
    if not times or min(times) == max(times):
        return 0.0
    observed = Window(min(times), max(times))
    counted = sum(by_sub_window(recent, observed, Births.of(recent), (observed.end,)))
    return counted / observed.seconds if math.isfinite(counted) else 0.0


def _number(rows: tuple[Series, ...]) -> float | None:
    value = rows[0].points[0][1] if rows and rows[0].points else math.nan
    return value if math.isfinite(value) else None


def _no_bound(sli: Sli, query: SlowRatioQuery, name: str, bounds: list[float]) -> SliProbe:
    finite = [b for b in bounds if math.isfinite(b)]
    near = [*[b for b in finite if b < query.threshold][-1:], *[b for b in finite if b > query.threshold][:1]]
    listed = " or ".join(f"{b * query.scale:g}" for b in near)
    shown = f"{query.threshold * query.scale:g}"
    problem = f"threshold {shown} is no bucket bound of {name}, so requests over it cannot be counted"
    remedy = f"use {listed}, the nearest bounds" if near else "give the histogram buckets"
    return SliProbe(sli.name, "NoBucketBound", problem, remedy)
