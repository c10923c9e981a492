"""Preflight of SLIs: can it be measured at all on this Prometheus, and what does its past say?"""

from __future__ import annotations

import asyncio
import math

from trimtab.adapters.increases import increases
from trimtab.adapters.prometheus_names import Names
from trimtab.adapters.series_store import QueryFailed, SeriesStore, StoreUnavailable
from trimtab.domain.measurement import Window
from trimtab.domain.spec import QuantileQuery, RatioQuery, Sli, SlowRatioQuery, ValueQuery
from trimtab.ports import PodSet, SliProbe
from trimtab.slo.promql import inject, with_matchers
from trimtab.slo.series import Births, Series, by_sub_window, duplicated, scrape_interval

PAST_SECONDS = 6 * 3600
RECENT_SECONDS = 300  # the longest that Prometheus lets pass between two scrapes
FULL_HISTORY = 0.98  # of what is asked for: nothing is as old as its window to the second
REACH_STEPS = 60
REACH_PRECISION = 0.02  # of the age
REACH_LEAST = 1.0  # seconds
LEAST_RATE_WINDOW, RATE_SCRAPES = 10.0, 10
EMPTY = "check the metric's name and that its pods are scraped with labels namespace and pod"


class Prober:
    """Asks what preflight needs of one SLI."""

    def __init__(self, client: SeriesStore, names: Names) -> None:
        self._client, self._names = client, names

    async def probe(self, sli: Sli, pods: PodSet, now: float, history: float, timeout: float) -> SliProbe:
        """Everything that preflight asks of one SLI; a failing store is part of the answer."""
        try:
            async with asyncio.timeout(timeout):
                match sli.query:
                    case ValueQuery():
                        return await self._value(sli, sli.query, pods, now, timeout)
                    case RatioQuery():
                        return await self._ratio(sli, sli.query, pods, now, history, timeout)
                    case SlowRatioQuery() | QuantileQuery():
                        return await self._histogram(sli, sli.query, pods, now, history, timeout)
        except TimeoutError:
            return _unavailable(sli, f"no answer within {timeout:g} s")
        except StoreUnavailable as error:
            return _unavailable(sli, str(error))
        except QueryFailed as error:
            remedy = "correct the query, or repair Prometheus; it is retried"
            return SliProbe(sli.name, "QueryFailed", f"Prometheus: {error}", remedy)

    async def _value(self, sli: Sli, query: ValueQuery, pods: PodSet, now: float, timeout: float) -> SliProbe:
        rows = await self._client.vector(inject(query.query, pods), now, timeout)
        if _number(rows) is None:
            return SliProbe(sli.name, "NoData", "the query returns nothing for the target's pods", EMPTY)
        if len(rows) > 1:
            problem = f"the query returns {len(rows)} series for the target's pods, one is needed"
            return SliProbe(sli.name, "Ambiguous", problem, "aggregate it, e.g. avg(...) or sum(...)")
        return SliProbe(sli.name)

    async def _ratio(
        self, sli: Sli, query: RatioQuery, pods: PodSet, now: float, history: float, timeout: float
    ) -> SliProbe:
        if await self._names.choose(sli, pods, now, timeout, again=True) is None:
            names = " or ".join(dict.fromkeys(query.total))
            return SliProbe(sli.name, "NoData", f"no series of {names} for the target's pods", EMPTY)
        return await self._traffic(sli, pods, now, history, timeout)

    async def _histogram(
        self, sli: Sli, query: SlowRatioQuery | QuantileQuery, pods: PodSet, now: float, history: float, timeout: float
    ) -> SliProbe:
        index = await self._names.choose(sli, pods, now, timeout, again=True)
        if index is None:
            names = " or ".join(f"{n}_bucket" for n in query.histogram)
            return SliProbe(sli.name, "NoData", f"no series of {names} for the target's pods", EMPTY)
        name = query.histogram[index]
        metric = with_matchers(f"{name}_bucket", pods, query.matchers)
        bounds = _bounds(await self._client.vector(f"count by (le) ({metric})", now, timeout))
        if isinstance(query, SlowRatioQuery) and not any(math.isclose(b, query.threshold) for b in bounds):
            return _no_bound(sli, query, name, bounds)
        return await self._traffic(sli, pods, now, history, timeout)

    async def _traffic(self, sli: Sli, pods: PodSet, now: float, history: float, timeout: float) -> SliProbe:
        total = await self._names.total(sli, pods, now, timeout)
        if total is None:
            return SliProbe(sli.name, "NoData", "no series for the target's pods", EMPTY)
        recent = await self._client.matrix(f"{total}[{RECENT_SECONDS}s]", now, timeout)
        twice = duplicated(recent)
        if twice is not None:
            return SliProbe(sli.name, "Ambiguous", twice.detail, "scrape each pod once, or query one replica")
        interval = scrape_interval(recent)
        window = math.ceil(max(LEAST_RATE_WINDOW, RATE_SCRAPES * (interval or RECENT_SECONDS)))
        value = _rate(recent, now - window)
        if not value > 0:
            problem = f"the target's pods got no request in the last {window} s"
            return SliProbe(sli.name, "NoTraffic", problem, "send traffic to it; Trimtab never makes any")
        bad_ratio = await self._past_ratio(sli, pods, now, timeout)
        reach = await self._reach(total, now, history, timeout)
        return SliProbe(
            sli.name, scrape_interval=interval, requests_per_second=value, bad_ratio=bad_ratio, history=reach
        )

    async def _past_ratio(self, sli: Sli, pods: PodSet, now: float, timeout: float) -> float | None:
        """Fraction of bad events over the last hours; None where nothing was counted."""
        if isinstance(sli.query, QuantileQuery):
            return None
        names = await self._names.counters(sli, pods, now, timeout)
        if names is None:
            return None
        part, whole = await increases(self._client, names, PAST_SECONDS, now, timeout)
        if whole is None or not whole > 0:
            return None
        ratio = (part or 0.0) / whole
        return min(max(1 - ratio if names.good else ratio, 0.0), 1.0)

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
    listed = " or ".join(f"{b:g}" for b in near)
    problem = f"threshold {query.threshold:g} is no bucket bound of {name}, so requests over it cannot be counted"
    remedy = f"use {listed}, the nearest bounds" if near else "give the histogram buckets"
    return SliProbe(sli.name, "NoBucketBound", problem, remedy)
