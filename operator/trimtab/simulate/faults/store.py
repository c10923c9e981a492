"""The metrics store as an operator sees it, with its faults: it fails, or its samples are not what they should be.

The faults are in the raw series, as a real Prometheus has them, so that the adapter's own code meets them.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

from trimtab.adapters.series_store import QueryFailed, SeriesStore
from trimtab.ports import Clock
from trimtab.simulate.faults.acting import Acting, ActingFaults
from trimtab.simulate.faults.kinds import LONG_SECONDS, FaultKind
from trimtab.slo.series import Series

K = FaultKind
Points = tuple[tuple[float, float], ...]
_WORDS = {
    K.PROMETHEUS_DOWN: "not reachable: ConnectionError",
    K.PROMETHEUS_MALFORMED: "the answer is not JSON",
    K.PROMETHEUS_WARNS: "a partial answer, with the warning: no response from store 2",
}
_SPAN = re.compile(r"\[(\d+)s\]")
_CHANGES = (
    K.PROMETHEUS_EMPTIED, K.SAMPLES_STALE, K.POD_NOT_SCRAPED, K.COUNTER_RESET, K.SAMPLES_NAN, K.SAMPLES_MISSING,
    K.SERIES_DUPLICATED,
)  # fmt: skip


class FaultyStore:
    """Implements `trimtab.adapters.series_store.SeriesStore` over another one. `standing` waits while the process that
    asks stands still."""

    def __init__(
        self, store: SeriesStore, clock: Clock, acting: ActingFaults, standing: Callable[[], Awaitable[None]]
    ) -> None:
        self._store, self._clock, self._acting, self._standing = store, clock, acting, standing

    async def matrix(self, expression: str, at: float, timeout: float) -> tuple[Series, ...]:
        """See the protocol."""
        off = await self._before(timeout, _longest(expression))
        found = await self._store.matrix(expression, at - off, timeout)
        return self._changed(expression, _shifted(found, off), raw=True)

    async def vector(self, expression: str, at: float, timeout: float) -> tuple[Series, ...]:
        """See the protocol."""
        off = await self._before(timeout, _longest(expression))
        found = await self._store.vector(expression, at - off, timeout)
        return self._changed(expression, _shifted(found, off), raw=False)

    async def range(self, expression: str, start: float, end: float, step: float, timeout: float) -> tuple[Series, ...]:
        """See the protocol."""
        off = await self._before(timeout, max(_longest(expression), end - start))
        found = await self._store.range(expression, start - off, end - off, step, timeout)
        return self._changed(expression, _shifted(found, off), raw=False)

    async def _before(self, timeout: float, span: float) -> float:
        """By how many seconds the store's clock is off; `span` are the seconds that the question is about.

        Raises:
            QueryFailed: it does not answer, or not completely.
        """
        await self._standing()
        slow = self._acting.first(K.PROMETHEUS_SLOW)
        if slow is not None:
            await asyncio.sleep(min(slow.number("delay"), timeout))
            if slow.number("delay") > timeout:
                raise QueryFailed(f"no answer within {timeout:g} s")
            await self._standing()
        for kind, words in _WORDS.items():
            if self._acting.first(kind) is not None:
                raise QueryFailed(words)
        failing = self._acting.first(K.PROMETHEUS_ERROR)
        if failing is not None:
            raise QueryFailed(f"HTTP {failing.text('status')}: query processing failed")
        if span > LONG_SECONDS:
            await self._over_hours(timeout)
        offset = self._acting.first(K.PROMETHEUS_CLOCK_OFFSET)
        return offset.number("by") if offset is not None else 0.0

    async def _over_hours(self, timeout: float) -> None:
        """
        Raises:
            QueryFailed: what takes long to add up is refused, or not answered in time.
        """
        failing = self._acting.first(K.LONG_WINDOWS_FAIL)
        if failing is None:
            return
        if failing.text("how") == "silent":
            await asyncio.sleep(timeout)
            raise QueryFailed(f"no answer within {timeout:g} s")
        raise QueryFailed("HTTP 422: query processing would load too many samples into memory")

    def _changed(self, expression: str, found: tuple[Series, ...], *, raw: bool) -> tuple[Series, ...]:
        for acting in self._acting.of(*_CHANGES):
            found = _with_fault(acting, expression, found, raw)
        return found


def _longest(expression: str) -> float:
    """Seconds of the longest range in a query, 0 without any."""
    return max((float(seconds) for seconds in _SPAN.findall(expression)), default=0.0)


def _shifted(found: tuple[Series, ...], by: float) -> tuple[Series, ...]:
    if not by:
        return found
    return tuple(replace(s, points=tuple((t + by, v) for t, v in s.points)) for s in found)


def _with_fault(acting: Acting, expression: str, found: tuple[Series, ...], raw: bool) -> tuple[Series, ...]:
    kind, since = acting.fault.kind, acting.since
    if kind is K.PROMETHEUS_EMPTIED:
        return _each(found, lambda points: tuple(p for p in points if p[0] > since))
    whose = acting.fault.text("of")
    mine = [s for s in found if _concerns(whose, s, expression)]
    if kind is K.POD_NOT_SCRAPED:
        first = min((s.label("pod") for s in mine), default="")
        mine = [s for s in mine if s.label("pod") == first]
    others = tuple(s for s in found if s not in mine)
    match kind:
        case K.SAMPLES_MISSING:
            return others
        case K.SAMPLES_NAN:
            return others + _each(tuple(mine), lambda points: tuple((t, math.nan) for t, _ in points))
        case K.SERIES_DUPLICATED:
            return found + tuple(replace(s, labels=(*s.labels, ("replica", "b"))) for s in mine)
        case K.COUNTER_RESET if raw:
            lost = acting.fault.number("lost")
            return others + _each(tuple(mine), lambda points: _reset(points, since, lost))
        case K.SAMPLES_STALE | K.POD_NOT_SCRAPED if raw:
            return others + _each(tuple(mine), lambda points: tuple(p for p in points if p[0] <= since))
        case _:
            return found


def _each(found: tuple[Series, ...], change: Callable[[Points], Points]) -> tuple[Series, ...]:
    """Every series with its points changed; a series without points is none."""
    changed = (replace(s, points=change(s.points)) for s in found)
    return tuple(s for s in changed if s.points)


def _reset(points: Points, since: float, lost: float) -> Points:
    """The counter starts anew at `since`, and loses this share of the scrape in which that happens."""
    before = [v for t, v in points if t <= since]
    after = [v for t, v in points if t > since]
    if not before or not after:
        return points
    base = before[-1] + lost * max(after[0] - before[-1], 0.0)
    return tuple((t, v if t <= since else max(v - base, 0.0)) for t, v in points)


def _concerns(whose: str, series: Series, expression: str) -> bool:
    """Does a series belong to these pods? An aggregate is told by its query."""
    pod = series.label("pod")
    is_arm = pod.startswith("tt-") if pod else '"tt-' in expression or "(tt-" in expression
    if whose == "all":
        return True
    if whose in ("arms", "target"):
        return is_arm == (whose == "arms")
    side = "c" if whose == "canary" else "b"
    return is_arm and (pod.split("-")[3:4] == [side] if pod else f"-{side}-" in expression)


__all__ = ["FaultyStore"]
