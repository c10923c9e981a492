"""Which of an SLI's spellings this Prometheus has: presets list several metric and label names, tried in order.

The choice is found from the store when it is first needed, not only in preflight: after a restart, and in the safety
loop's own instance, nobody has probed. It is remembered per query and set of pods, a bounded number of them.
"""

from __future__ import annotations

import asyncio
import math

from trimtab.adapters.series_store import QueryFailed, QueryRefused, SeriesStore
from trimtab.domain.placeholder import narrowed
from trimtab.domain.spec import QuantileQuery, RatioQuery, ScalingQuery, Sli, SliQuery, SlowRatioQuery, ValueQuery
from trimtab.ports import PodSet
from trimtab.slo.counters import Counters, Histogram, counters_of, forms_of
from trimtab.slo.promql import inject, label_names, le_matcher

REMEMBERED = 512
NATIVE = "histogram_count"
Key = tuple[str, tuple[str, ...], SliQuery]


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
        spellings = counters_of(sli.query, pods)
        if not spellings:
            raise QueryFailed(f"{sli.name} is no ratio")
        index = await self.choose(sli, pods, at, timeout, lookback=lookback)
        return None if index is None else spellings[index]

    async def total(self, sli: Sli, pods: PodSet, at: float, timeout: float) -> Counters | None:
        """The counter of all requests, or the native histogram that counts them; None when no spelling has series.

        Raises:
            QueryFailed: as above.
        """
        if isinstance(sli.query, QuantileQuery):
            found = await self.histogram(sli, pods, at, timeout)
            return None if found is None else Counters("", found.total(pods, sli.query.labels), True, found.native)
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
        return None if index is None else forms_of(query)[index]

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
        there = await asyncio.gather(*(self._any(series, at, timeout) for _, series in asked))
        present = [index for (index, _), found in zip(asked, there, strict=True) if found]
        if not present:
            alone = isinstance(query, SlowRatioQuery | QuantileQuery) and len(query.histogram) == 1
            return asked[-1][0] if alone and not again else None
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


def _presence(query: SliQuery, pods: PodSet, lookback: float) -> list[tuple[int, str]]:
    """(index of a spelling, series that are there when it is), in the order in which they are taken. A classic
    histogram without the threshold's bound comes last: nothing can be counted in it, and preflight names its bounds."""
    if isinstance(query, RatioQuery):
        return [(index, _within(inject(total, pods), lookback)) for index, (_, total) in enumerate(query.counters)]
    if isinstance(query, ValueQuery | ScalingQuery):  # the latter is asked for by what counts it
        return [(0, "")]
    bound = le_matcher(query.threshold) if isinstance(query, SlowRatioQuery) else ""
    first, last = [], []
    for index, form in enumerate(forms_of(query)):
        series = _within(form.selector(pods, query.labels), lookback)
        if form.native:
            first.append((index, f"{NATIVE}({series})"))
            continue
        if bound:
            first.append((index, _within(form.selector(pods, bound, query.labels), lookback)))
        last.append((index, series))
    return first + last
