"""When could the operator have known? Its rules, replayed over the same counters in Prometheus, after the fact.

The operator's windows begin when its arms were ready; the replay lets them end at every scrape, allows nothing for
errors that come in clusters, and takes the earliest moment at which any rule holds: what is measured from there is
never less than what it took.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from benchmarks.operator.live import Live
from controlplane import PrometheusServer
from trimtab.domain.measurement import Sample
from trimtab.slo.aborting import COUNTED_BEYOND_DOUBT
from trimtab.slo.estimate import interval, ratio_sample
from trimtab.slo.sequential import ALPHA, EProcess, LimitProcess

Points = list[tuple[float, float]]
Windows = list[tuple[float, float]]

WINDOW = 2.0  # seconds: the longer of checkInterval and two scrapes
BREACHES, OUT_OF, CONFIDENCE = 3, 4, 0.95
BOUNDS = {"slow": 0.05, "errors": 0.001}
SLO_BAD = 0.001  # 1 - objective
BAD_AND_TOTAL = {
    "slow": ('http_request_duration_seconds_bucket{%s,le="0.1"}', 'http_request_duration_seconds_bucket{%s,le="+Inf"}'),
    "errors": ('http_requests_total{%s,code=~"5.."}', "http_requests_total{%s}"),
}
SIGNS = ("kube_pod_container_status_restarts_total{%s}", 'kube_pod_status_ready{%s,condition="false"}')


def unix_seconds(text: Any) -> float:
    """A time of a status."""
    return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()


def first_satisfied(live: Live, name: str, broken: float, until: float) -> float | None:
    """The first scrape after the fault at which the abort rule or the sequential test holds for the newest trial of an
    Experiment; None when none does (unix seconds)."""
    begun = unix_seconds(live.trials(name)[-1]["status"]["window"]["start"])
    data = {
        (sli, arm): tuple(counter(live.stack.prometheus, q % _pods(live, name, arm), until) for q in queries)
        for sli, queries in BAD_AND_TOTAL.items()
        for arm in ("c", "b")
    }
    for moment in (t for t, _ in data["slow", "c"][1] if t > broken):
        windows = _windows(begun, moment)
        if any(_aborts(data[sli, "c"], bound, windows, sli) for sli, bound in BOUNDS.items()):
            return moment
        if _worse(data["errors", "c"], data["errors", "b"], windows):
            return moment
    return None


def first_sign(live: Live, name: str, broken: float, until: float) -> float | None:
    """The first scrape after the fault that shows a restart or lost readiness of the canary; None when it was gone
    before one did (unix seconds)."""
    queries = (sign % _pods(live, name, "c") for sign in SIGNS)
    seen = (t for q in queries for t, value in counter(live.stack.prometheus, q, until) if t > broken and value > 0)
    return min(seen, default=None)


def counter(prometheus: PrometheusServer, selector: str, until: float, span: str = "90s") -> Points:
    """Raw samples of all series that a selector finds, added up by their times."""
    total: dict[float, float] = {}
    for points in each_series(prometheus, selector, until, span):
        for at, value in points:
            total[at] = total.get(at, 0.0) + value
    return sorted(total.items())


def each_series(prometheus: PrometheusServer, selector: str, until: float, span: str) -> list[Points]:
    """Raw samples of each series that a selector finds."""
    found = prometheus.query(f"{selector}[{span}]", until + 1.0)
    return [[(float(at), float(value)) for at, value in series["values"]] for series in found]


def increase(points: Points, window: tuple[float, float]) -> float:
    """Events in (start, end]: the counter at its end less the counter at its start, 0 before its first sample."""
    start, end = (next((v for t, v in reversed(points) if t <= edge), 0.0) for edge in window)
    return end - start


def _pods(live: Live, name: str, arm: str) -> str:
    """Matchers of an arm's pods; arms of the Experiment before are in Prometheus, too, and have another uid."""
    uid = live.find(name)["metadata"]["uid"][:8]
    return f'namespace="{live.namespace}",pod=~"tt-{uid}-[0-9]+-{arm}-.*"'


def _windows(begun: float, moment: float) -> Windows:
    """Back to back, the last one ending at `moment`, oldest first."""
    count = math.floor((moment - begun) / WINDOW)
    return [(moment - (k + 1) * WINDOW, moment - k * WINDOW) for k in reversed(range(count))]


def _counts(arm: tuple[Points, ...], window: tuple[float, float], sli: str) -> tuple[float, float]:
    first, total = (increase(points, window) for points in arm)
    return (total - first if sli == "slow" else first), total


def _aborts(arm: tuple[Points, ...], bound: float, windows: Windows, sli: str) -> bool:
    counts = [_counts(arm, window, sli) for window in windows[-OUT_OF:]]
    samples = [ratio_sample([bad], [total]) for bad, total in counts]
    broken = sum(isinstance(s, Sample) and interval(s, CONFIDENCE)[0] > bound for s in samples)
    together = ratio_sample([sum(bad for bad, _ in counts)], [sum(total for _, total in counts)])
    return broken >= BREACHES and isinstance(together, Sample) and interval(together, COUNTED_BEYOND_DOUBT)[0] > bound


def _worse(canary: tuple[Points, ...], control: tuple[Points, ...], windows: Windows) -> bool:
    test, limit = EProcess(phi=1.0), LimitProcess(SLO_BAD, phi=1.0)
    for window in windows:
        bad, total = _counts(canary, window, "errors")
        test, limit = test.add(bad, total, *_counts(control, window, "errors")), limit.add(bad, total)
    return test.rejects(ALPHA) and limit.rejects(ALPHA)


__all__ = ["counter", "each_series", "first_satisfied", "first_sign", "increase", "unix_seconds"]
