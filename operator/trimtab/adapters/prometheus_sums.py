"""Sums over days by the store's own increase(): extrapolated, but cheap over many pods; and counters at even times."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

from trimtab.adapters.increases import increases
from trimtab.adapters.prometheus_readings import increased_reading
from trimtab.adapters.series_store import SeriesStore
from trimtab.domain.measurement import NoData, Reading
from trimtab.domain.spec import SliQuery, SlowRatioQuery
from trimtab.slo.counters import Counters
from trimtab.slo.estimate import ratio_sample
from trimtab.slo.series import Series

MOST_STEPS = 1200


async def increased(
    store: SeriesStore, names: Counters, query: SliQuery, at: float, seconds: float, timeout: float
) -> Reading:
    """bad / total of the `seconds` before `at`.

    Raises:
        QueryFailed: the store does not answer.
    """
    span = f"[{math.ceil(seconds)}s]"
    if names.native and isinstance(query, SlowRatioQuery):
        return increased_reading(query, await store.vector(f"sum(increase({names.total}{span}))", at, timeout))
    part, total = await increases(store, names, seconds, at, timeout)
    if total is None or not total > 0:
        return NoData("no traffic in the window")
    if names.good:
        if part is None:
            return NoData("the threshold is no bucket bound of the histogram")
        return ratio_sample([max(total - part, 0.0)], [total])
    return ratio_sample([max(part or 0.0, 0.0)], [total])


async def raw_counts(
    store: SeriesStore, names: Counters, at: float, seconds: float, timeout: float
) -> tuple[Series, ...]:
    """The samples of the counter of all requests, of the `seconds` before `at`.

    A native histogram brings all its buckets with every sample, megabytes for many pods. So its counts, and when they
    were scraped, are asked for at even times, each second of up to twenty minutes: no scrape of a longer interval is
    missed.

    Raises:
        QueryFailed: the store does not answer.
    """
    if not names.native:
        return await store.matrix(f"{names.total}[{math.ceil(seconds)}s]", at, timeout)
    step = max(1.0, math.ceil(1000 * seconds / MOST_STEPS) / 1000)
    start = at - step * math.floor(seconds / step)
    times, counts = await asyncio.gather(
        *(
            store.range(f"{function}({names.total})", start, at, step, timeout)
            for function in ("timestamp", "histogram_count")
        )
    )
    scraped = {each.labels: dict(each.points) for each in times}
    return tuple(_at_scrapes(each, scraped.get(each.labels, {}), at - seconds) for each in counts)


def _at_scrapes(each: Series, scraped: Mapping[float, float], after: float) -> Series:
    """Each sample once, at the time when it was scraped."""
    points = {scraped[t]: n for t, n in each.points if scraped.get(t, -math.inf) > after}
    return Series(each.labels, tuple(sorted(points.items())))


def at_steps(names: Counters, query: SliQuery) -> tuple[str, str]:
    """PromQL of both counters, one row per pod. Prometheus itself divides a native histogram; when its buckets are
    merged meanwhile, one step looks odd."""
    if names.native and isinstance(query, SlowRatioQuery):
        all_ = f"histogram_count({names.total})"
        within = f"histogram_fraction(-Inf, {query.threshold!r}, {names.total})"
        return f"sum by (pod) ({within} * {all_})", f"sum by (pod) ({all_})"
    return f"sum by (pod) ({names.part})", f"sum by (pod) ({names.total})"


__all__ = ["at_steps", "increased", "raw_counts"]
