"""What two counters grew by over a long window, in one query: both are read of the same moment, and in half as many
requests."""

from __future__ import annotations

import math

from trimtab.adapters.series_store import SeriesStore
from trimtab.slo.counters import Counters
from trimtab.slo.series import Series


async def increases(
    store: SeriesStore, counters: Counters, seconds: float, at: float, timeout: float
) -> tuple[float | None, float | None]:
    """(part, total) by Prometheus' own increase(), each None where there is no finite number.

    Raises:
        QueryFailed: no complete answer within `timeout` seconds.
    """
    asked = " or ".join(
        f'label_replace(sum(increase({selector}[{math.ceil(seconds)}s])),"counter","{name}","","")'
        for name, selector in (("part", counters.part), ("total", counters.total))
    )
    rows = await store.vector(asked, at, timeout)
    return _of(rows, "part"), _of(rows, "total")


def _of(rows: tuple[Series, ...], name: str) -> float | None:
    value = next((p[1] for row in rows if row.label("counter") == name for p in row.points), math.nan)
    return value if math.isfinite(value) else None


__all__ = ["increases"]
