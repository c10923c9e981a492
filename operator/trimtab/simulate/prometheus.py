"""A metrics store that answers the queries of the Telemetry port from tracks, and can fail like a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from trimtab.adapters.series_store import QueryFailed, StoreSilent
from trimtab.simulate.promql import NotSimulated, Source, instant, matrix
from trimtab.simulate.promql_range import over
from trimtab.slo.series import Series

Before = Callable[[str], Awaitable[None]]
"""Called with each query; may sleep (a slow store) or raise `QueryFailed` (one that is down, or sends a warning)."""
Change = Callable[[str, tuple[Series, ...]], tuple[Series, ...]]
"""Called with each query and its answer; returns what is answered instead."""


class SimulatedPrometheus:
    """Implements `trimtab.adapters.series_store.SeriesStore`. Without `before` an answer takes no time."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.before: Before | None = None
        self.change: Change | None = None

    async def matrix(self, expression: str, at: float, timeout: float) -> tuple[Series, ...]:
        """See the protocol."""
        return await self._answered(expression, timeout, lambda: self._matrix(expression, at))

    async def vector(self, expression: str, at: float, timeout: float) -> tuple[Series, ...]:
        """See the protocol."""
        return await self._answered(expression, timeout, lambda: self._vector(expression, at))

    async def range(self, expression: str, start: float, end: float, step: float, timeout: float) -> tuple[Series, ...]:
        """See the protocol."""
        return await self._answered(expression, timeout, lambda: self._range(expression, start, end, step))

    def _matrix(self, expression: str, at: float) -> tuple[Series, ...]:
        found = matrix(self._source, expression, at)
        if found is None:
            raise QueryFailed("HTTP 400: a range vector was expected")
        return tuple(Series(labels, tuple(points)) for labels, points in found)

    def _vector(self, expression: str, at: float) -> tuple[Series, ...]:
        return tuple(Series(labels, ((at, value),)) for labels, value in instant(self._source, expression, at))

    def _range(self, expression: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        times = [start + number * step for number in range(int((end - start) / step + 1e-6) + 1)]
        rows = over(self._source, expression, times)
        return tuple(Series(labels, tuple(points)) for labels, points in rows.items())

    async def _answered(
        self, expression: str, timeout: float, answer: Callable[[], tuple[Series, ...]]
    ) -> tuple[Series, ...]:
        if self.before is not None:
            try:
                async with asyncio.timeout(timeout):
                    await self.before(expression)
            except TimeoutError:
                raise StoreSilent(f"no answer within {timeout:g} s") from None
        try:
            found = answer()
        except ValueError as error:
            raise QueryFailed(f"HTTP 400: {' '.join(str(error).split())[:200]}") from None
        except NotSimulated as error:
            raise QueryFailed(f"the simulated Prometheus does not have {error}") from None
        return found if self.change is None else self.change(expression, found)


__all__ = ["Before", "Change", "SimulatedPrometheus"]
