"""Which of an SLI's spellings this Prometheus has: presets list several metric and label names, tried in order.

The choice is found from the store when it is first needed, not only in preflight: after a restart, and in the safety
loop's own instance, nobody has probed. It is remembered per query and set of pods, a bounded number of them.
"""

from __future__ import annotations

import asyncio
import math

from trimtab.adapters.series_store import QueryFailed, SeriesStore
from trimtab.domain.spec import QuantileQuery, RatioQuery, Sli, SliQuery, SlowRatioQuery, ValueQuery
from trimtab.ports import PodSet
from trimtab.slo.counters import Counters, counters_of
from trimtab.slo.promql import PLACEHOLDER, inject, label_names, with_matchers

REMEMBERED = 512
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

    async def total(self, sli: Sli, pods: PodSet, at: float, timeout: float) -> str | None:
        """The selector of the counter of all requests; None when no spelling has series.

        Raises:
            QueryFailed: as above.
        """
        if isinstance(sli.query, QuantileQuery):
            name = await self.histogram(sli, pods, at, timeout)
            return None if name is None else with_matchers(f"{name}_bucket", pods, 'le="+Inf"', sli.query.matchers)
        if isinstance(sli.query, ValueQuery):
            raise QueryFailed(f"{sli.name} is a value: it counts no requests")
        found = await self.counters(sli, pods, at, timeout)
        return None if found is None else found.total

    async def histogram(self, sli: Sli, pods: PodSet, at: float, timeout: float, lookback: float = 0.0) -> str | None:
        """Base name of a histogram SLI; None when no spelling has series."""
        query = sli.query
        if not isinstance(query, SlowRatioQuery | QuantileQuery):
            raise QueryFailed(f"{sli.name} is no histogram")
        index = await self.choose(sli, pods, at, timeout, lookback=lookback)
        return None if index is None else query.histogram[index]

    async def choose(
        self, sli: Sli, pods: PodSet, at: float, timeout: float, *, again: bool = False, lookback: float = 0.0
    ) -> int | None:
        """Index of the first spelling whose series exist at `at`; only one needs no look. `again` forgets the last."""
        totals = _totals(sli.query, pods)
        if len(totals) == 1 and not again:
            return 0
        key = (pods.namespace, pods.workloads, sli.query)
        if key in self._choices and not again:
            return self._choices[key]
        asked = [f"count({_within(t, lookback)})" for t in totals]
        counted = await asyncio.gather(*(self._client.vector(a, at, timeout) for a in asked))
        present = [index for index, rows in enumerate(counted) if rows]
        if not present:
            return None
        index = await self._with_labels(sli.query, pods, present, at, timeout, lookback)
        self._choices[key] = index
        while len(self._choices) > REMEMBERED:
            del self._choices[next(iter(self._choices))]
        return index

    async def _with_labels(
        self, query: SliQuery, pods: PodSet, present: list[int], at: float, timeout: float, lookback: float
    ) -> int:
        """The first of those whose labels for bad events exist: a service without them has no data, not no errors."""
        if not isinstance(query, RatioQuery) or len(present) == 1:
            return present[0]
        for index in present:
            total = query.total[index]
            missing = [n for n in label_names(query.bad[index]) if n not in label_names(total)]
            labelled = (total.replace(PLACEHOLDER, f'{PLACEHOLDER},{name}!=""') for name in missing)
            asked = [f"count({_within(inject(each, pods), lookback)})" for each in labelled]
            if all(await asyncio.gather(*(self._client.vector(a, at, timeout) for a in asked))):
                return index
        return present[0]


def _within(selector: str, lookback: float) -> str:
    """Series that exist now, or that had a sample within the lookback (seconds)."""
    return f"count_over_time({selector}[{math.ceil(lookback)}s])" if lookback else selector


def _totals(query: SliQuery, pods: PodSet) -> list[str]:
    if isinstance(query, RatioQuery):
        return [inject(total, pods) for total in query.total]
    if isinstance(query, SlowRatioQuery | QuantileQuery):
        return [with_matchers(f"{name}_bucket", pods, query.matchers) for name in query.histogram]
    return [""]
