"""p95 of canary and control for the live table: read from the demo's Prometheus once a trial's window is over.

For the eye alone: a quantile of classic buckets is interpolated. What decides is the fraction of slow requests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from demo.script import TERMINAL
from trimtab.domain.measurement import Arm
from trimtab.domain.names import arm_name

Query = Callable[[str], float | None]
"""One number for a PromQL expression, None when there is none."""
METRIC = "http_request_duration_seconds_bucket"
DONE = TERMINAL | {"Draining"}
P95 = tuple[float, float]
"""Seconds: canary, control."""


class Latencies:
    """Remembers what it has read: a window that is over does not change."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._known: dict[str, P95] = {}

    def of(self, trials: Iterable[dict[str, Any]]) -> dict[str, P95]:
        """p95 by the name of the Trial, of those whose window is over and was read."""
        for trial in trials:
            name, status = trial["metadata"]["name"], trial.get("status") or {}
            if name in self._known or "window" not in status or status.get("phase") not in DONE:
                continue
            found = tuple(self._query(expression(trial, arm)) for arm in (Arm.CANARY, Arm.CONTROL))
            canary, control = found
            if canary is not None and control is not None and math.isfinite(canary) and math.isfinite(control):
                self._known[name] = (canary, control)
        return dict(self._known)


def expression(trial: dict[str, Any], arm: Arm) -> str:
    """PromQL for the p95 of one arm over the part of its window in which it served, in seconds."""
    spec, status = trial["spec"], trial["status"]
    start, end = (_seconds(status["window"][edge]) for edge in ("start", "end"))
    drained = (status.get("times") or {}).get("draining")
    end = min(end, _seconds(drained)) if drained else end
    pods = f"{arm_name(spec['experiment']['uid'], int(spec['index']), arm)}-[a-z0-9]+-[a-z0-9]+"
    series = f'{METRIC}{{namespace="{trial["metadata"]["namespace"]}",pod=~"{pods}"}}'
    length = max(2, math.ceil(end - start))
    return f"histogram_quantile(0.95, sum by (le) (rate({series}[{length}s] @ {end:.3f})))"


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
