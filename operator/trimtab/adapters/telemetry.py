"""The Telemetry port over any store that answers PromQL.

Counts come from raw samples (`metric[10s]`), not from extrapolated rates: see `slo.series`. One query serves both arms.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from trimtab.adapters.batches import in_groups
from trimtab.adapters.pod_use import use_reading, use_selector
from trimtab.adapters.prometheus_names import Names
from trimtab.adapters.prometheus_probe import Prober
from trimtab.adapters.prometheus_readings import (
    alerts_seen,
    load_reading,
    native_slow_ratio_reading,
    quantile_reading,
    ratio_reading,
    slow_ratio_reading,
    step_counts,
)
from trimtab.adapters.prometheus_sums import at_steps, increased, raw_counts
from trimtab.adapters.query_limits import absence_of
from trimtab.adapters.recorded import Recorded
from trimtab.adapters.scaling import scaling_reading, slow_scaling_reading
from trimtab.adapters.series_store import QueryFailed, SeriesStore
from trimtab.adapters.usage import WORKING_SET, containers_in, usage_selector
from trimtab.domain.measurement import (
    Absence,
    AlertSeen,
    Ambiguous,
    ContainerUse,
    NoData,
    Reading,
    Sample,
    TelemetryError,
    Window,
)
from trimtab.domain.spec import QuantileQuery, RatioQuery, ScalingQuery, Sli, SlowRatioQuery, ValueQuery
from trimtab.ports import PodSet, SliProbe, SliRequest, Steps, UseOf
from trimtab.slo.counters import Counters
from trimtab.slo.estimate import ratio_sample, value_sample
from trimtab.slo.native import as_classic, counts_of, is_native
from trimtab.slo.promql import firing_alerts, inject, le_matcher, quoted, vector_selectors, with_matchers
from trimtab.slo.series import Series, scrape_interval, stale_since

ARM_PREFIX = "tt-"
LOOKBACK_LEAST, LOOKBACK_MOST = 5.0, 300.0  # seconds before a window, for the baseline of differences
RAW_SECONDS = 7200.0  # up to this long an arm's window is counted from raw samples, beyond by increase()
POINTS = 64  # evaluations of a value query over a window
LEAST_POINTS = 8  # of them, however seldom the store scrapes
DEFAULT_SCRAPE = 15.0
ALERT_STEP = 5.0  # seconds between two looks at alerts: rules are hardly evaluated more often


class StoreTelemetry:
    """Implements `trimtab.ports.Telemetry`."""

    def __init__(self, store: SeriesStore) -> None:
        self._store = store
        self._names, self._recorded = Names(store), Recorded(store)
        self._prober = Prober(store, self._names)
        self._scrape = DEFAULT_SCRAPE

    async def read(self, requests: Sequence[SliRequest], *, timeout: float) -> tuple[Reading, ...]:
        """One reading per request. Requests for the same SLI, namespace and window share their queries."""
        return await in_groups(
            requests, lambda r: (r.sli, r.pods.namespace, r.window), lambda some: self._group(some, timeout)
        )

    async def totals(self, sli: Sli, pods: PodSet, window: Window, *, timeout: float) -> Reading:
        """Event sums over a long window. Those of an arm are counted from raw samples since its pods' birth, also when
        they are gone."""
        try:
            arm = window.seconds <= RAW_SECONDS and all(w.startswith(ARM_PREFIX) for w in pods.workloads)
            found = await self._names.counters(sli, pods, window.end, timeout, window.seconds if arm else 0.0)
            if found is None:
                return NoData("no series of these pods")
            if arm:
                request = SliRequest(sli, pods, window, fresh=False)
                return (await self._counted([request], found, timeout, from_birth=True))[0]
            sums = None if found.native else await self._recorded.sums(found, window, timeout)
            if sums is not None:
                return ratio_sample([sums.bad], [sums.total]) if sums.total > 0 else NoData("no traffic in the window")
            return await increased(self._store, found, sli.query, window.end, window.seconds, timeout)
        except QueryFailed as error:
            return absence_of(error)

    async def history(self, sli: Sli, pods: PodSet, window: Window, step: float, *, timeout: float) -> Steps | Absence:
        """Two queries of one row per pod."""
        try:
            found = await self._names.counters(sli, pods, window.end, timeout)
            if found is None:
                return NoData("no series of these pods")
            part, total = await asyncio.gather(
                *(self._store.range(q, window.start, window.end, step, timeout) for q in at_steps(found, sli.query))
            )
        except QueryFailed as error:
            return absence_of(error)
        return step_counts(part, total, step, good=found.good) or NoData("no traffic in the window")

    async def load(self, sli: Sli, pods: PodSet, window: Window, *, timeout: float) -> Reading:
        """Requests per second of all pods of the set together."""
        try:
            found = await self._names.total(sli, pods, window.end, timeout)
            if found is None:
                return NoData("no series of these pods")
            samples = await raw_counts(self._store, found, window.end, _with_lookback(window), timeout)
            return load_reading(pods, window, samples)
        except QueryFailed as error:
            return absence_of(error)

    async def working_set(
        self,
        pods: PodSet,
        container: str,
        window: Window,
        *,
        store: str,  # noqa: ARG002 - this one
        timeout: float,
    ) -> Reading:
        """As cAdvisor has it; one query, one row per pod."""
        metric = with_matchers(WORKING_SET, pods, f"container={quoted(container)}")
        asked = f"max by (pod) (max_over_time({metric}[{math.ceil(window.seconds)}s]))"
        try:
            rows = await self._store.vector(asked, window.end, timeout)
        except QueryFailed as error:
            return absence_of(error)
        sizes = [size for row in rows for _, size in row.points if math.isfinite(size) and size > 0]
        return Sample(max(sizes), 0.0, float(len(sizes))) if sizes else NoData(f"no {WORKING_SET} of it")

    async def usage(
        self,
        pods: PodSet,
        window: Window,
        *,
        store: str,  # noqa: ARG002 - this one
        timeout: float,
    ) -> tuple[ContainerUse, ...] | Absence:
        """All of cAdvisor's series of these pods in one query of raw samples."""
        try:
            found = await self._store.matrix(f"{usage_selector(pods)}[{_with_lookback(window)}s]", window.end, timeout)
        except QueryFailed as error:
            return absence_of(error)
        return containers_in(found, window) or NoData("the store has nothing of cAdvisor")

    async def use(self, pods: Sequence[PodSet], of: UseOf, window: Window, *, timeout: float) -> tuple[Reading, ...]:
        """Of all sets in one query of raw samples."""
        if not pods:
            return ()
        try:
            selector = use_selector(_union(pods), of)
            found = await self._store.matrix(f"{selector}[{_with_lookback(window)}s]", window.end, timeout)
        except QueryFailed as error:
            return tuple(absence_of(error) for _ in pods)
        return tuple(use_reading(found, each, of.resource, window) for each in pods)

    async def alerts(
        self,
        names: Sequence[str],
        namespace: str,
        window: Window,
        *,
        store: str,  # noqa: ARG002 - this one
        timeout: float,
    ) -> tuple[AlertSeen, ...] | TelemetryError:
        """One query of one row per name, however many series an alert has."""
        if not names:
            return ()
        start = window.end - ALERT_STEP * math.floor(window.seconds / ALERT_STEP)
        asked = f"max by (alertname) (timestamp({firing_alerts(names, namespace)}))"
        try:
            rows = await self._store.range(asked, start, window.end, ALERT_STEP, timeout)
        except QueryFailed as error:
            return absence_of(error)
        return alerts_seen(rows, window)

    async def probe(self, sli: Sli, pods: PodSet, now: float, history: float, *, timeout: float) -> SliProbe:
        """Preflight of one SLI on the target's pods."""
        return await self._prober.probe(sli, pods, now, history, timeout)

    async def _group(self, group: list[SliRequest], timeout: float) -> list[Reading]:
        sli, window = group[0].sli, group[0].window
        union = _union([r.pods for r in group])
        try:
            match sli.query:
                case RatioQuery() | SlowRatioQuery():
                    found = await self._names.counters(sli, union, window.end, timeout)
                    if found is None:
                        return [NoData("no series of these pods") for _ in group]
                    return await self._counted(group, found, timeout)
                case QuantileQuery():
                    return await self._quantiles(sli, sli.query, union, group, timeout)
                case ValueQuery():
                    return await self._values(sli.query, union, group, timeout)
                case ScalingQuery():
                    return await self._scaled(sli, sli.query, union, group, timeout)
        except QueryFailed as error:
            return [absence_of(error) for _ in group]

    async def _counted(
        self, group: list[SliRequest], names: Counters, timeout: float, *, from_birth: bool = False
    ) -> list[Reading]:
        window, query = group[0].window, group[0].sli.query
        if isinstance(query, SlowRatioQuery) and names.native:
            native = await self._samples(names.total, window, timeout)
            return [native_slow_ratio_reading(r, query, native, from_birth) for r in group]
        if isinstance(query, SlowRatioQuery):
            both = names.total.replace('le="+Inf"', le_matcher(query.threshold, total=True))
            buckets = await self._samples(both, window, timeout)
            return [slow_ratio_reading(r, query, buckets, from_birth) for r in group]
        bad, total = await asyncio.gather(
            self._samples(names.part, window, timeout), self._samples(names.total, window, timeout)
        )
        return [ratio_reading(r, bad, total, from_birth) for r in group]

    async def _quantiles(
        self, sli: Sli, query: QuantileQuery, union: PodSet, group: list[SliRequest], timeout: float
    ) -> list[Reading]:
        window = group[0].window
        found = await self._names.histogram(sli, union, window.end, timeout)
        if found is None:
            return [NoData("no series of these pods") for _ in group]
        buckets = await self._samples(found.selector(union, query.labels), window, timeout)
        if found.native:
            buckets = as_classic(buckets)
        return [quantile_reading(r, query, buckets) for r in group]

    async def _values(self, query: ValueQuery, union: PodSet, group: list[SliRequest], timeout: float) -> list[Reading]:
        """Each arm's value by itself; when its pods were last scraped is asked once for all."""
        try:
            selectors = [inject(s, union) for s in vector_selectors(query.query)]
        except ValueError as error:
            raise QueryFailed(f"not PromQL: {error}") from None
        scrapes, values = await asyncio.gather(
            asyncio.gather(*(self._scrapes(s, group[0].window, timeout) for s in selectors)),
            asyncio.gather(*(self._value(query, r, timeout) for r in group)),
        )
        return [_fresh(r, v, scrapes) for r, v in zip(group, values, strict=True)]

    async def _scaled(
        self, sli: Sli, query: ScalingQuery, union: PodSet, group: list[SliRequest], timeout: float
    ) -> list[Reading]:
        """From the raw samples of the counters behind it: a pod is there while it is scraped."""
        window, counting = group[0].window, query.counting
        behind = replace(sli, query=counting)
        if query.above is None or isinstance(counting, QuantileQuery):
            all_ = await self._names.total(behind, union, window.end, timeout)
            if all_ is None:
                return [NoData("no series of these pods") for _ in group]
            total = await raw_counts(self._store, all_, window.end, _with_lookback(window), timeout)
            return [scaling_reading(r, query, (), total, good=False) for r in group]
        found = await self._names.counters(behind, union, window.end, timeout)
        if found is None:
            return [NoData("no series of these pods") for _ in group]
        if isinstance(counting, RatioQuery):
            bad, total = await asyncio.gather(
                self._samples(found.part, window, timeout), self._samples(found.total, window, timeout)
            )
            return [scaling_reading(r, query, bad, total, good=False) for r in group]
        both = (
            found.total
            if found.native
            else found.total.replace('le="+Inf"', le_matcher(counting.threshold, total=True))
        )
        buckets = await self._samples(both, window, timeout)
        return [slow_scaling_reading(r, query, counting, buckets) for r in group]

    async def _scrapes(self, selector: str, window: Window, timeout: float) -> tuple[dict[str, float], float]:
        """(newest sample by pod, seconds between scrapes), without fetching what may be many series.

        The time of the newest sample is asked at even steps; it jumps by one scrape, or by a step where that is longer.
        """
        step = min(window.seconds / LEAST_POINTS, DEFAULT_SCRAPE)
        start = window.end - step * math.floor(_with_lookback(window) / step)
        rows = await self._store.range(f"max by (pod) (timestamp({selector}))", start, window.end, step, timeout)
        jumps = (b[1] - a[1] for row in rows for a, b in pairwise(row.points) if b[1] > a[1])
        return {row.label("pod"): row.points[-1][1] for row in rows if row.points}, min(jumps, default=self._scrape)

    async def _value(self, query: ValueQuery, request: SliRequest, timeout: float) -> Reading:
        window = request.window
        step = min(max(window.seconds / POINTS, self._scrape), window.seconds / LEAST_POINTS)
        expression = inject(query.query, request.pods)
        rows = await self._store.range(expression, window.start + step, window.end, step, timeout)
        if not rows:
            return NoData("the query returns nothing")
        if len(rows) > 1:
            return Ambiguous(f"the query returns {len(rows)} series; aggregate it to one")
        samples = None
        if query.samples_query is not None:
            counted = await self._store.vector(inject(query.samples_query, request.pods), window.end, timeout)
            if is_native(counted):
                raise QueryFailed("samplesQuery yields histograms, not numbers; wrap it in histogram_count")
            samples = sum(p[1] for each in counted for p in each.points if math.isfinite(p[1]))
        return value_sample([v for _, v in rows[0].points], samples)

    async def _samples(self, selector: str, window: Window, timeout: float) -> tuple[Series, ...]:
        """Raw samples of the window and before it: as long as the window, so that a baseline is among them."""
        found = await self._store.matrix(f"{selector}[{_with_lookback(window)}s]", window.end, timeout)
        self._scrape = scrape_interval(counts_of(found)) or self._scrape
        return found


def _union(sets: Sequence[PodSet]) -> PodSet:
    """The pods of all of them; of one namespace."""
    return PodSet(sets[0].namespace, tuple(dict.fromkeys(w for each in sets for w in each.workloads)))


def _with_lookback(window: Window) -> int:
    """Seconds to look back from a window's end: its length, and as much again before it."""
    return math.ceil(window.seconds + min(max(window.seconds, LOOKBACK_LEAST), LOOKBACK_MOST))


def _fresh(request: SliRequest, value: Reading, scrapes: list[tuple[dict[str, float], float]]) -> Reading:
    """An instant query answers from up to five minutes ago: a pod that is gone must not go on having a value."""
    if not request.fresh or not isinstance(value, Sample | NoData):
        return value
    for newest, scrape in scrapes:
        looked = float(_with_lookback(request.window))
        stale = stale_since(newest, request.pods.live, request.window.end, scrape, looked) if newest else None
        if stale is not None:
            return stale
    seen = [newest[pod] for newest, _ in scrapes for pod in request.pods.live if pod in newest]
    return replace(value, newest=min(seen, default=None))
