"""Event sums of long windows from recording rules, where somebody has installed them and they cover the window."""

from __future__ import annotations

import asyncio

from trimtab.adapters.series_store import QueryFailed, SeriesStore, StoreUnavailable
from trimtab.domain.measurement import Window
from trimtab.slo.counters import Counters
from trimtab.slo.recording import (
    INTERVAL,
    RECORDED_LEAST,
    Identity,
    Sums,
    count_query,
    digest,
    recent_query,
    recorded_sums,
    recorders,
    sum_query,
)

REMEMBERED = 512


class Recorded:
    """Remembers for one interval of the rules who records what; keeps no connections of its own."""

    def __init__(self, client: SeriesStore) -> None:
        self._client = client
        self._known: dict[str, tuple[float, frozenset[Identity]]] = {}

    async def sums(self, counters: Counters, window: Window, timeout: float) -> Sums | None:
        """The events of a window of a day or more; None where the raw counters must be asked.

        Raises:
            StoreUnavailable: the store is away; the raw counters would not be answered either.
        """
        if window.seconds < RECORDED_LEAST:
            return None
        try:
            known = await self._recorders(counters, window.end, timeout)
            if not known:
                return None
            counted, summed = await asyncio.gather(
                *(
                    self._client.vector(ask(counters, window.seconds), window.end, timeout)
                    for ask in (count_query, sum_query)
                )
            )
        except StoreUnavailable:
            raise
        except QueryFailed:
            return None  # whatever it is about these series, the raw ones do not depend on it
        return recorded_sums(counted, summed, window.seconds, known)

    async def _recorders(self, counters: Counters, at: float, timeout: float) -> frozenset[Identity]:
        key = digest(counters)
        asked, known = self._known.get(key, (None, frozenset()))
        if asked is not None and 0 <= at - asked < INTERVAL:
            return known
        known = recorders(await self._client.vector(recent_query(counters), at, timeout))
        self._known[key] = (at, known)
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        return known


__all__ = ["Recorded"]
