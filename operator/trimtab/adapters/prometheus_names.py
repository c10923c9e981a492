"""Which of an SLI's spellings this Prometheus has: presets list several metric and label names, tried in order.

The choice is found from the store when it is first needed, not only in preflight: after a restart, and in the safety
loop's own instance, nobody has probed. It is remembered per query and set of pods, a bounded number of them.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from trimtab.adapters.series_store import QueryFailed, QueryRefused, SeriesStore
from trimtab.domain.placeholder import narrowed
from trimtab.domain.spec import QuantileQuery, RatioQuery, Sli, SliQuery, SlowRatioQuery, ValueQuery
from trimtab.ports import PodSet
from trimtab.slo.promql import inject, label_names, le_matcher, with_matchers

REMEMBERED = 512
NATIVE = "histogram_count"
Key = tuple[str, tuple[str, ...], SliQuery]


@dataclass(frozen=True)
class Counters:
    """Selectors (with the pods' matchers) of two counters: `part` of `total`. `good`: the part counts what is NOT bad
    (a histogram's bucket counts the fast requests). Of a native histogram, which is both, only `total` is used."""

    part: str
    total: str
    good: bool
    native: bool = False


@dataclass(frozen=True)
class Histogram:
    """A histogram that is there: its base name, and its form."""

    name: str
    native: bool

    def selector(self, pods: PodSet, *matchers: str) -> str:
        """PromQL of its samples, all buckets of a classic one."""
        return with_matchers(self.name if self.native else f"{self.name}_bucket", pods, *matchers)


class Names:
    """Finds and remembers choices; keeps no connections of its own."""

    def __init__(self, client: SeriesStore) -> None:
        self._client = client
        self._choices: dict[Key, int] = {}

    async def counters(
        self, sli: Sli, pods: PodSet, at: float, timeout: float, lookback: float = 0.0
    ) -> Counters | None:
        """The counters of a ratio or slow ratio; None when no spelling has series. With a `lookback` (seconds) also
        series of pods that are gone count.

        Raises:
            QueryFailed: the store does not answer, or the SLI counts nothing.
        """
        query = sli.query
        if isinstance(query, RatioQuery):
            index = await self.choose(sli, pods, at, timeout, lookback=lookback)
            if index is None:
                return None
            bad, total = query.counters[index]
            return Counters(inject(bad, pods), inject(total, pods), False)
        if not isinstance(query, SlowRatioQuery):
            raise QueryFailed(f"{sli.name} is no ratio")
        found = await self.histogram(sli, pods, at, timeout, lookback)
        if found is None:
            return None
        if found.native:
            return Counters("", found.selector(pods, query.labels), True, native=True)
        fast = found.selector(pods, le_matcher(query.threshold), query.labels)
        return Counters(fast, found.selector(pods, 'le="+Inf"', query.labels), True)

    async def total(self, sli: Sli, pods: PodSet, at: float, timeout: float) -> Counters | None:
        """The counter of all requests, or the native histogram that counts them; None when no spelling has series.

        Raises:
            QueryFailed: as above.
        """
        if isinstance(sli.query, QuantileQuery):
            found = await self.histogram(sli, pods, at, timeout)
            if found is None:
                return None
            everything = found.selector(pods, "" if found.native else 'le="+Inf"', sli.query.labels)
            return Counters("", everything, True, found.native)
        if isinstance(sli.query, ValueQuery):
            raise QueryFailed(f"{sli.name} is a value: it counts no requests")
        return await self.counters(sli, pods, at, timeout)

    async def histogram(
        self, sli: Sli, pods: PodSet, at: float, timeout: float, lookback: float = 0.0, *, again: bool = False
    ) -> Histogram | None:
        """The histogram of an SLI; None when no spelling has series."""
        query = sli.query
        if not isinstance(query, SlowRatioQuery | QuantileQuery):
            raise QueryFailed(f"{sli.name} is no histogram")
        index = await self.choose(sli, pods, at, timeout, again=again, lookback=lookback)
        return None if index is None else _forms(query)[index]

    async def choose(
        self, sli: Sli, pods: PodSet, at: float, timeout: float, *, again: bool = False, lookback: float = 0.0
    ) -> int | None:
        """Index of the first spelling, or form of a histogram, whose series exist at `at`. `again` forgets the last.

        A ratio with one spelling needs no look. Of a histogram with one name that has no samples yet the classic form
        is taken, but not remembered.
        """
        query = sli.query
        if not again and (isinstance(query, ValueQuery) or (isinstance(query, RatioQuery) and len(query.total) == 1)):
            return 0
        key = (pods.namespace, pods.workloads, query)
        if key in self._choices and not again:
            return self._choices[key]
        asked = _presence(query, pods, lookback)
        counted = await asyncio.gather(*(self._any(a, at, timeout) for a in asked))
        present = [index for index, there in enumerate(counted) if there]
        if not present:
            alone = isinstance(query, SlowRatioQuery | QuantileQuery) and len(query.histogram) == 1
            return len(asked) - 1 if alone and not again else None
        index = await self._with_labels(query, pods, present, at, timeout, lookback)
        self._choices[key] = index
        while len(self._choices) > REMEMBERED:
            del self._choices[next(iter(self._choices))]
        return index

    async def _any(self, series: str, at: float, timeout: float) -> bool:
        """There are such series. A store that does not have the functions of native histograms has none of them."""
        try:
            return bool(await self._client.vector(f"count({series})", at, timeout))
        except QueryRefused:
            if series.startswith(NATIVE):
                return False
            raise

    async def _with_labels(
        self, query: SliQuery, pods: PodSet, present: list[int], at: float, timeout: float, lookback: float
    ) -> int:
        """The first of those whose labels for bad events exist: a service without them has no data, not no errors."""
        if not isinstance(query, RatioQuery) or len(present) == 1:
            return present[0]
        for index in present:
            bad, total = query.counters[index]
            missing = [n for n in label_names(bad) if n not in label_names(total)]
            labelled = (narrowed(total, f'{name}!=""') for name in missing)
            asked = [f"count({_within(inject(each, pods), lookback)})" for each in labelled]
            if all(await asyncio.gather(*(self._client.vector(a, at, timeout) for a in asked))):
                return index
        return present[0]


def _within(selector: str, lookback: float) -> str:
    """Series that exist now, or that had a sample within the lookback (seconds)."""
    return f"last_over_time({selector}[{math.ceil(lookback)}s])" if lookback else selector


def _forms(query: SlowRatioQuery | QuantileQuery) -> list[Histogram]:
    """In the order in which they are taken: counts at a threshold are exact at a classic bound, a quantile is finer in
    a native histogram. The last are classic ones without the bound, which preflight names."""
    classic = [Histogram(name, False) for name in query.histogram]
    native = [Histogram(name, True) for name in query.histogram]
    return [*classic, *native, *classic] if isinstance(query, SlowRatioQuery) else [*native, *classic]


def _presence(query: SliQuery, pods: PodSet, lookback: float) -> list[str]:
    """Of each choice what has rows when it is there."""
    if isinstance(query, RatioQuery):
        return [_within(inject(total, pods), lookback) for _, total in query.counters]
    if isinstance(query, ValueQuery):
        return [""]
    bound = le_matcher(query.threshold) if isinstance(query, SlowRatioQuery) else ""
    forms, first = _forms(query), len(query.histogram)
    found = []
    for number, form in enumerate(forms):
        more = bound if number < first and not form.native else ""
        series = _within(form.selector(pods, more, query.labels), lookback)
        found.append(f"{NATIVE}({series})" if form.native else series)
    return found
