"""Preflight of SLIs: which of a preset's spellings this Prometheus has, and whether the SLI can be measured at all.

The choice is remembered per SLI and set of pods; until something was probed, the first spelling is used.
"""

from __future__ import annotations

import asyncio
import math

from trimtab.adapters.prometheus_client import PrometheusClient, QueryFailed
from trimtab.domain.spec import QuantileQuery, RatioQuery, Sli, SlowRatioQuery, ValueQuery
from trimtab.ports import PodSet, SliProbe
from trimtab.slo.promql import inject, label_names, le_pattern, with_matchers
from trimtab.slo.series import duplicated, scrape_interval

AGES = (1.0, 0.5, 0.2, 0.05, 0.01)
PAST_SECONDS = 6 * 3600
EMPTY = "check the metric's name and that its pods are scraped with labels namespace and pod"


class Prober:
    """Remembers choices; knows no secrets and keeps no connections of its own."""

    def __init__(self, client: PrometheusClient) -> None:
        self._client = client
        self._choices: dict[tuple[str, str], int] = {}

    def chosen(self, sli: Sli, pods: PodSet) -> tuple[str, str]:
        """(bad, total) of a ratio SLI, with `$selector` in place."""
        query = sli.query
        if not isinstance(query, RatioQuery):
            raise QueryFailed(f"{sli.name} is no ratio")
        index = self._choice(sli, pods)
        return query.bad[min(index, len(query.bad) - 1)], query.total[min(index, len(query.total) - 1)]

    def histogram(self, sli: Sli, pods: PodSet) -> str:
        """Base name of a histogram SLI."""
        query = sli.query
        if not isinstance(query, SlowRatioQuery | QuantileQuery):
            raise QueryFailed(f"{sli.name} is no histogram")
        return query.histogram[min(self._choice(sli, pods), len(query.histogram) - 1)]

    def bad_and_total(self, sli: Sli, pods: PodSet) -> tuple[str, str]:
        """Selectors whose increases are (bad, total); for a slow ratio the first counts the FAST requests."""
        if isinstance(sli.query, SlowRatioQuery):
            name, more = f"{self.histogram(sli, pods)}_bucket", sli.query.matchers
            fast = with_matchers(name, pods, f'le=~"{le_pattern(sli.query.threshold)}"', more)
            return fast, with_matchers(name, pods, 'le="+Inf"', more)
        bad, total = self.chosen(sli, pods)
        return inject(bad, pods), inject(total, pods)

    def _choice(self, sli: Sli, pods: PodSet) -> int:
        return self._choices.get((pods.namespace, sli.name), 0)

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
            problem = f"Prometheus did not answer within {timeout:g} s"
        except QueryFailed as error:
            problem = f"Prometheus: {error}"
        return SliProbe(sli.name, "QueryFailed", problem, "correct the query, or repair Prometheus; it is retried")

    async def _value(self, sli: Sli, query: ValueQuery, pods: PodSet, now: float, timeout: float) -> SliProbe:
        rows = await self._client.vector(inject(query.query, pods), now, timeout)
        if not rows or math.isnan(rows[0].points[0][1]):
            return SliProbe(sli.name, "NoData", "the query returns nothing for the target's pods", EMPTY)
        if len(rows) > 1:
            problem = f"the query returns {len(rows)} series for the target's pods, one is needed"
            return SliProbe(sli.name, "Ambiguous", problem, "aggregate it, e.g. avg(...) or sum(...)")
        return SliProbe(sli.name)

    async def _ratio(
        self, sli: Sli, query: RatioQuery, pods: PodSet, now: float, history: float, timeout: float
    ) -> SliProbe:
        index = await self._pick(query, pods, now, timeout)
        if index is None:
            names = " or ".join(dict.fromkeys(query.total))
            return SliProbe(sli.name, "NoData", f"no series of {names} for the target's pods", EMPTY)
        self._choices[(pods.namespace, sli.name)] = index
        bad, total = self.bad_and_total(sli, pods)
        await self._client.vector(f"count({bad})", now, timeout)  # an empty answer is fine: no errors so far
        return await self._traffic(sli, pods, total, now, history, timeout)

    async def _pick(self, query: RatioQuery, pods: PodSet, now: float, timeout: float) -> int | None:
        """The first spelling with traffic whose label exists, else the first with traffic."""
        fallback: int | None = None
        for index, total in enumerate(query.total):
            if not await self._client.vector(f"count({inject(total, pods)})", now, timeout):
                continue
            if fallback is None:
                fallback = index
            labels = [n for n in label_names(query.bad[index]) if n not in label_names(total)]
            exists = [inject(total.replace("$selector", f'$selector,{name}!=""'), pods) for name in labels]
            found = [await self._client.vector(f"count({e})", now, timeout) for e in exists]
            if all(found):
                return index
        return fallback

    async def _histogram(
        self, sli: Sli, query: SlowRatioQuery | QuantileQuery, pods: PodSet, now: float, history: float, timeout: float
    ) -> SliProbe:
        for index, name in enumerate(query.histogram):
            metric = with_matchers(f"{name}_bucket", pods, query.matchers)
            rows = await self._client.vector(f"count by (le) ({metric})", now, timeout)
            if not rows:
                continue
            self._choices[(pods.namespace, sli.name)] = index
            bounds = sorted(float(r.label("le")) for r in rows)
            if isinstance(query, SlowRatioQuery) and not any(math.isclose(b, query.threshold) for b in bounds):
                return _no_bound(sli, query, name, bounds)
            total = with_matchers(f"{name}_bucket", pods, 'le="+Inf"', query.matchers)
            return await self._traffic(sli, pods, total, now, history, timeout)
        names = " or ".join(f"{n}_bucket" for n in query.histogram)
        return SliProbe(sli.name, "NoData", f"no series of {names} for the target's pods", EMPTY)

    async def _traffic(
        self, sli: Sli, pods: PodSet, total: str, now: float, history: float, timeout: float
    ) -> SliProbe:
        recent = await self._client.matrix(f"{total}[2m]", now, timeout)
        twice = duplicated(recent)
        if twice is not None:
            return SliProbe(sli.name, "Ambiguous", twice.detail, "scrape each pod once, or query one replica")
        interval = scrape_interval(recent)
        window = math.ceil(max(10.0, 10 * (interval or 15.0)))
        rate = await self._client.vector(f"sum(rate({total}[{window}s]))", now, timeout)
        value = rate[0].points[0][1] if rate else 0.0
        if not value > 0:
            problem = f"the target's pods got no request in the last {window} s"
            return SliProbe(sli.name, "NoTraffic", problem, "send traffic to it; Trimtab never makes any")
        bad_ratio = await self._past_ratio(sli, pods, now, timeout)
        reach = await self._reach(total, now, history, timeout)
        return SliProbe(
            sli.name, scrape_interval=interval, requests_per_second=value, bad_ratio=bad_ratio, history=reach
        )

    async def _past_ratio(self, sli: Sli, pods: PodSet, now: float, timeout: float) -> float | None:
        if isinstance(sli.query, QuantileQuery):
            return None
        queries = self.bad_and_total(sli, pods)
        sums = [await self._client.vector(f"sum(increase({q}[{PAST_SECONDS}s]))", now, timeout) for q in queries]
        part, whole = (rows[0].points[0][1] if rows else 0.0 for rows in sums)
        if not whole > 0:
            return None
        return 1 - part / whole if isinstance(sli.query, SlowRatioQuery) else part / whole

    async def _reach(self, total: str, now: float, history: float, timeout: float) -> float | None:
        """How far back the store answers, coarsely: the largest tried share of `history`."""
        for share in AGES:
            if await self._client.vector(f"count({total})", now - 0.98 * share * history, timeout):
                return share * history
        return None


def _no_bound(sli: Sli, query: SlowRatioQuery, name: str, bounds: list[float]) -> SliProbe:
    near = sorted((b for b in bounds if math.isfinite(b)), key=lambda b: abs(b - query.threshold))[:2]
    listed = " or ".join(f"{b:g}" for b in sorted(near))
    problem = f"threshold {query.threshold:g} is no bucket bound of {name}, so requests over it cannot be counted"
    return SliProbe(sli.name, "NoBucketBound", problem, f"use {listed}, the nearest bounds")
