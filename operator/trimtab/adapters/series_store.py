"""What the Telemetry port needs of a metrics store: three forms of PromQL query, and one way to fail.

A real Prometheus answers them (`prometheus_client.py`), and a simulated one, so that everything above them, which is
where readings go right or wrong, is the same code.
"""

from __future__ import annotations

from typing import Protocol

from trimtab.slo.series import Series


class QueryFailed(Exception):
    """The store did not answer, or not completely; the message is one line."""


class StoreUnavailable(QueryFailed):
    """The store is away, busy or too slow: no query is to blame, and the same one may be answered later."""


class QueryRefused(QueryFailed):
    """The store read the query and will never answer it: PromQL that it does not have, or that is none."""


class StoreSilent(StoreUnavailable):
    """It did not answer in time."""


class SeriesStore(Protocol):
    """Each query raises `QueryFailed` when there is no complete answer within `timeout` seconds, `StoreUnavailable` of
    these when that is nothing about the query."""

    async def matrix(self, expression: str, at: float, timeout: float) -> tuple[Series, ...]:
        """An instant query that yields a range vector (`metric[10s]`): raw samples, numbers or native histograms."""
        ...

    async def vector(self, expression: str, at: float, timeout: float) -> tuple[Series, ...]:
        """An instant query that yields an instant vector: one sample per series, a number or a native histogram. A
        scalar is one series without labels."""
        ...

    async def range(self, expression: str, start: float, end: float, step: float, timeout: float) -> tuple[Series, ...]:
        """A range query that yields numbers, evaluated at start, start + step, ... up to end."""
        ...


__all__ = ["QueryFailed", "QueryRefused", "SeriesStore", "StoreSilent", "StoreUnavailable"]
