"""The Telemetry port over a real Prometheus."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from trimtab.adapters.prometheus_client import PrometheusClient, QueryFailed
from trimtab.adapters.prometheus_probe import Prober
from trimtab.domain.measurement import Ambiguous, NoData, Reading, Sample, TelemetryError, Window
from trimtab.domain.names import pod_pattern
from trimtab.domain.spec import QuantileQuery, RatioQuery, Sli, SlowRatioQuery, ValueQuery
from trimtab.ports import PodSet, SliProbe, SliRequest
from trimtab.slo.estimate import quantile_sample, ratio_sample, value_sample
from trimtab.slo.promql import inject, le_pattern, with_matchers
from trimtab.slo.series import (
    SUB_WINDOWS,
    Births,
    Series,
    by_sub_window,
    duplicated,
    edges_of,
    of_pods,
    scrape_interval,
    stale_pod,
)

LOOKBACK = 5.0
RAW_SECONDS = 7200.0  # up to this long a window is counted from raw samples, beyond by increase()


class PrometheusTelemetry:
    """One instance for reconciling, another for safety: their thread pools must not wait for each other."""

    def __init__(self, url: str, *, token_file: str | None = None, threads: int = 4) -> None:
        self._client = PrometheusClient(url, token_file=token_file, threads=threads)
        self._prober = Prober(self._client)

    def close(self) -> None:
        """Release the threads."""
        self._client.close()

    async def read(self, requests: Sequence[SliRequest], *, timeout: float) -> tuple[Reading, ...]:
        """One reading per request. Requests for the same SLI and window share their queries."""
        groups: dict[tuple[Sli, Window], list[SliRequest]] = {}
        for request in requests:
            groups.setdefault((request.sli, request.window), []).append(request)
        answers = await asyncio.gather(*(self._group(list(group), timeout) for group in groups.values()))
        found = {
            id(r): a
            for group, batch in zip(groups.values(), answers, strict=True)
            for r, a in zip(group, batch, strict=True)
        }
        return tuple(found[id(r)] for r in requests)

    async def totals(self, sli: Sli, pods: PodSet, window: Window, *, timeout: float) -> Reading:
        """Event sums over a long window; short ones are counted from raw samples, since the pods' birth."""
        try:
            if window.seconds <= RAW_SECONDS and len(pods.workloads) == 1 and pods.workloads[0].startswith("tt-"):
                return await self._counted(sli, pods, window, timeout)
            return await self._increased(sli, pods, window, timeout)
        except QueryFailed as error:
            return TelemetryError(str(error))

    async def load(self, sli: Sli, pods: PodSet, window: Window, *, timeout: float) -> Reading:
        """Requests per second of all pods of the set together."""
        try:
            total = await self._matrix(self._total_expression(sli, pods), pods, window, timeout)
        except QueryFailed as error:
            return TelemetryError(str(error))
        births = Births.of(total)
        count = sum(by_sub_window(total, window, births, (window.end,)))
        if not total or count <= 0:
            return NoData("no traffic in the window")
        rate = count / window.seconds
        return Sample(rate, math.sqrt(count) / window.seconds, count)

    async def probe(self, sli: Sli, pods: PodSet, now: float, history: float, *, timeout: float) -> SliProbe:
        """Preflight of one SLI on the target's pods."""
        return await self._prober.probe(sli, pods, now, history, timeout)

    async def _group(self, group: list[SliRequest], timeout: float) -> list[Reading]:
        sli, window = group[0].sli, group[0].window
        union = PodSet(group[0].pods.namespace, tuple(dict.fromkeys(w for r in group for w in r.pods.workloads)))
        try:
            match sli.query:
                case RatioQuery():
                    return await self._ratios(sli, union, window, group, timeout)
                case SlowRatioQuery() | QuantileQuery():
                    return await self._histograms(sli, sli.query, union, window, group, timeout)
                case ValueQuery():
                    return [await self._value(sli.query, r, timeout) for r in group]
        except QueryFailed as error:
            return [TelemetryError(str(error)) for _ in group]

    async def _ratios(
        self, sli: Sli, union: PodSet, window: Window, group: list[SliRequest], timeout: float
    ) -> list[Reading]:
        bad_query, total_query = self._prober.chosen(sli, union)
        bad, total = await asyncio.gather(
            self._matrix(inject(bad_query, union), union, window, timeout),
            self._matrix(inject(total_query, union), union, window, timeout),
        )
        return [_ratio(r, bad, total) for r in group]

    async def _histograms(
        self,
        sli: Sli,
        query: SlowRatioQuery | QuantileQuery,
        union: PodSet,
        window: Window,
        group: list[SliRequest],
        timeout: float,
    ) -> list[Reading]:
        name = self._prober.histogram(sli, union)
        bounds = f'le=~"{le_pattern(query.threshold)}|\\\\+Inf"' if isinstance(query, SlowRatioQuery) else ""
        expression = with_matchers(f"{name}_bucket", union, bounds, query.matchers)
        buckets = await self._matrix(expression, union, window, timeout)
        if isinstance(query, SlowRatioQuery):
            return [_slow_ratio(r, query, buckets) for r in group]
        return [_quantile(r, query, buckets) for r in group]

    async def _value(self, query: ValueQuery, request: SliRequest, timeout: float) -> Reading:
        window = request.window
        step = max(window.seconds / SUB_WINDOWS, 1.0)
        expression = inject(query.query, request.pods)
        rows = await self._client.range(expression, window.start + step, window.end, step, timeout)
        if not rows:
            return NoData("the query returns nothing")
        if len(rows) > 1:
            return Ambiguous(f"the query returns {len(rows)} series; aggregate it to one")
        samples = None
        if query.samples_query is not None:
            counted = await self._client.vector(inject(query.samples_query, request.pods), window.end, timeout)
            samples = sum(p[1] for each in counted for p in each.points) if counted else 0.0
        return value_sample([v for _, v in rows[0].points], samples)

    async def _matrix(self, selector: str, pods: PodSet, window: Window, timeout: float) -> tuple[Series, ...]:
        """Raw samples of the window and a little before it, for the baseline of differences."""
        seconds = math.ceil(window.seconds + max(LOOKBACK, 0.25 * min(window.seconds, 240.0)))
        del pods
        return await self._client.matrix(f"{selector}[{seconds}s]", window.end, timeout)

    def _total_expression(self, sli: Sli, pods: PodSet) -> str:
        if isinstance(sli.query, RatioQuery):
            return inject(self._prober.chosen(sli, pods)[1], pods)
        if isinstance(sli.query, ValueQuery):
            raise QueryFailed(f"{sli.name} is a value: it counts no requests")
        name = self._prober.histogram(sli, pods)
        return with_matchers(f"{name}_bucket", pods, 'le="+Inf"', sli.query.matchers)

    async def _counted(self, sli: Sli, pods: PodSet, window: Window, timeout: float) -> Reading:
        """Raw counts since the birth of pods that are younger than the window."""
        if isinstance(sli.query, SlowRatioQuery):
            request = SliRequest(sli, pods, window, fresh=False)
            name = self._prober.histogram(sli, pods)
            bounds = f'le=~"{le_pattern(sli.query.threshold)}|\\\\+Inf"'
            expression = with_matchers(f"{name}_bucket", pods, bounds, sli.query.matchers)
            return _slow_ratio(request, sli.query, await self._matrix(expression, pods, window, timeout), True)
        bad_query, total_query = self._prober.chosen(sli, pods)
        bad, total = await asyncio.gather(
            self._matrix(inject(bad_query, pods), pods, window, timeout),
            self._matrix(inject(total_query, pods), pods, window, timeout),
        )
        return _ratio(SliRequest(sli, pods, window, fresh=False), bad, total, True)

    async def _increased(self, sli: Sli, pods: PodSet, window: Window, timeout: float) -> Reading:
        bad_query, total_query = self._prober.bad_and_total(sli, pods)
        seconds = math.ceil(window.seconds)
        answers = await asyncio.gather(
            *(
                self._client.vector(f"sum(increase({q}[{seconds}s]))", window.end, timeout)
                for q in (bad_query, total_query)
            )
        )
        bad, total = (_single(a) for a in answers)
        if total is None or not total > 0:
            return NoData("no traffic in the window")
        if isinstance(sli.query, SlowRatioQuery):
            bad = total - (bad or 0.0)  # the first query counted the fast ones
        return ratio_sample([max(bad or 0.0, 0.0)], [total])


def _single(rows: tuple[Series, ...]) -> float | None:
    if not rows or not rows[0].points or math.isnan(rows[0].points[0][1]):
        return None
    return rows[0].points[0][1]


def _prepared(request: SliRequest, total: tuple[Series, ...]) -> tuple[tuple[Series, ...], Reading | None]:
    """The request's own series, or why they cannot be used."""
    mine = of_pods(total, pod_pattern(request.pods.workloads))
    if not mine:
        return (), NoData("no series of these pods")
    twice = duplicated(mine)
    if twice is not None:
        return (), twice
    stale = stale_pod(mine, request.pods.live, request.window.end) if request.fresh else None
    return mine, stale


def _ratio(
    request: SliRequest, bad: tuple[Series, ...], total: tuple[Series, ...], from_birth: bool = False
) -> Reading:
    mine, problem = _prepared(request, total)
    if problem is not None:
        return problem
    wrong = of_pods(bad, pod_pattern(request.pods.workloads))
    edges, births = edges_of(request.window, scrape_interval(mine)), Births.of(mine)
    return ratio_sample(
        by_sub_window(wrong, request.window, births, edges, from_birth),
        by_sub_window(mine, request.window, births, edges, from_birth),
    )


def _slow_ratio(
    request: SliRequest, query: SlowRatioQuery, buckets: tuple[Series, ...], from_birth: bool = False
) -> Reading:
    total = tuple(b for b in buckets if math.isinf(_bound(b)))
    mine, problem = _prepared(request, total)
    if problem is not None:
        return problem
    close = of_pods(buckets, pod_pattern(request.pods.workloads))
    fast = tuple(b for b in close if math.isclose(_bound(b), query.threshold))
    if not fast:
        return NoData(f"{query.threshold:g} is no bucket bound of {query.histogram[0]}")
    edges, births = edges_of(request.window, scrape_interval(mine)), Births.of(mine)
    all_ = by_sub_window(mine, request.window, births, edges, from_birth)
    good = by_sub_window(fast, request.window, births, edges, from_birth)
    return ratio_sample([max(n - g, 0.0) for n, g in zip(all_, good, strict=True)], all_)


def _quantile(request: SliRequest, query: QuantileQuery, buckets: tuple[Series, ...]) -> Reading:
    mine, problem = _prepared(request, tuple(b for b in buckets if math.isinf(_bound(b))))
    if problem is not None:
        return problem
    births, end = Births.of(mine), (request.window.end,)
    own = of_pods(buckets, pod_pattern(request.pods.workloads))
    bounds = sorted({_bound(b) for b in own})
    cumulative = [by_sub_window([b for b in own if _bound(b) == le], request.window, births, end)[0] for le in bounds]
    counts = [max(c - p, 0.0) for c, p in zip(cumulative, [0.0, *cumulative[:-1]], strict=True)]
    return quantile_sample(bounds, counts, query.quantile)


def _bound(series: Series) -> float:
    try:
        return float(series.label("le"))
    except ValueError:
        return math.nan
