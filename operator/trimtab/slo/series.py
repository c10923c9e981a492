"""Raw counter samples to event counts of one window: reset-aware, per series, then summed. Pure.

Increments are differences of raw samples, not Prometheus' extrapolated `increase`, so that numerator and denominator
count the same events and a test may call them counts.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from trimtab.domain.measurement import Ambiguous, Stale, Window

REPLICA_LABELS = frozenset({"replica", "prometheus_replica", "__replica__", "prometheus", "instance", "job"})
SUB_WINDOWS = 16
FRESH_SCRAPES = 3.0
FRESH_SLACK = 1.0


@dataclass(frozen=True)
class Buckets:
    """One sample of a native histogram: the count of all observations, and (lower bound, upper bound, count) of each
    bucket that holds some, ascending."""

    count: float
    parts: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Series:
    """One counter as stored: sorted labels and (unix seconds, value) samples, ascending; a native histogram has
    `histograms` in place of points."""

    labels: tuple[tuple[str, str], ...]
    points: tuple[tuple[float, float], ...]
    histograms: tuple[tuple[float, Buckets], ...] = ()

    def label(self, name: str) -> str:
        for key, value in self.labels:
            if key == name:
                return value
        return ""


def of_pods(series: Iterable[Series], pattern: str) -> tuple[Series, ...]:
    """The series whose `pod` matches the anchored pattern."""
    wanted = re.compile(pattern)
    return tuple(s for s in series if wanted.fullmatch(s.label("pod")))


def duplicated(series: Iterable[Series]) -> Ambiguous | None:
    """The same counter of the same pod twice, as two scrapers or an HA pair store it."""
    seen: set[tuple[tuple[str, str], ...]] = set()
    for each in series:
        key = tuple((k, v) for k, v in each.labels if k not in REPLICA_LABELS)
        if key in seen:
            return Ambiguous(f"pod {each.label('pod')} is stored twice (two scrapers, or an HA pair)")
        seen.add(key)
    return None


def scrape_interval(series: Iterable[Series]) -> float | None:
    """Seconds between scrapes: the least of the series' median distances of samples, None without two samples.

    The least, because series of pods that are gone may come from another age (a restored or backfilled past).
    """
    gaps = [[b[0] - a[0] for a, b in pairwise(each.points)] for each in series]
    return min((median(g) for g in gaps if g), default=None)


def stale_pod(series: Sequence[Series], live: Iterable[str], end: float) -> Stale | None:
    """A live pod without a sample within three scrapes of the window's end. A failed scrape (`up` 0) leaves no sample
    either, so this covers it."""
    begun = min((s.points[0][0] for s in series if s.points), default=end)
    return stale_since(newest_by_pod(series), live, end, scrape_interval(series) or 0.0, looked=end - begun)


def stale_since(
    newest: Mapping[str, float], live: Iterable[str], end: float, scrape: float, looked: float
) -> Stale | None:
    """The same from each pod's newest sample (unix seconds). A pod that was not seen at all within the `looked` seconds
    is at least that old."""
    limit = FRESH_SCRAPES * scrape + FRESH_SLACK
    for pod in live:
        if pod not in newest:
            return Stale(f"pod {pod} is Ready but not scraped", looked)
        age = end - newest[pod]
        if age > limit:
            return Stale(f"newest sample of pod {pod} is {age:.0f} s old", age)
    return None


def last_seen(series: Iterable[Series], live: Iterable[str] = ()) -> float | None:
    """When the pods were last scraped: the oldest of the live pods' newest samples (of all pods without `live`)."""
    newest = newest_by_pod(series)
    wanted = [newest[p] for p in live if p in newest] or list(newest.values())
    return min(wanted, default=None)


def newest_by_pod(series: Iterable[Series]) -> dict[str, float]:
    """When each pod was last scraped (unix seconds)."""
    newest: dict[str, float] = {}
    for each in series:
        if each.points:
            pod = each.label("pod")
            newest[pod] = max(newest.get(pod, -math.inf), each.points[-1][0])
    return newest


@dataclass(frozen=True)
class Births:
    """When each pod's first sample was seen: a series that appears later than its pod began at zero.

    Later means by more than 1.5 scrapes: two exporters of one pod are scraped at different moments.
    """

    first: tuple[tuple[str, float], ...]
    scrape: float | None = None  # seconds between scrapes, None where nobody knows

    @classmethod
    def of(cls, series: Iterable[Series]) -> Births:
        first: dict[str, float] = {}
        listed = tuple(series)
        for each in listed:
            if each.points:
                pod = each.label("pod")
                first[pod] = min(first.get(pod, math.inf), each.points[0][0])
        return cls(tuple(sorted(first.items())), scrape_interval(listed))

    def born_later(self, each: Series) -> bool:
        begun = dict(self.first).get(each.label("pod"))
        return begun is not None and bool(each.points) and each.points[0][0] > begun + 1.5 * (self.scrape or 0.0)


def increments(each: Series, window: Window, births: Births, from_birth: bool = False) -> list[tuple[float, float]]:
    """(time, increase since the sample before) for the samples in (start, end].

    The baseline is the last sample at or before the start. Without one it is the first sample, unless the series is
    younger than its pod (or `from_birth`): counters start at zero, so the first value is an increase. A value below
    the one before is a reset: the counter started again from zero.
    """
    previous: float | None = None
    found: list[tuple[float, float]] = []
    for time, value in each.points:
        if math.isnan(value) or time > window.end:
            continue
        if time <= window.start:
            previous = value
            continue
        if previous is None:
            if from_birth or births.born_later(each):
                found.append((time, value))
        else:
            found.append((time, value - previous if value >= previous else value))
        previous = value
    return found


def by_sub_window(
    series: Iterable[Series], window: Window, births: Births, edges: Sequence[float], from_birth: bool = False
) -> tuple[float, ...]:
    """Sum of increases per sub-window; `edges` are their ends, ascending. Shape: (len(edges),)."""
    sums = [0.0] * len(edges)
    for each in series:
        for time, increase in increments(each, window, births, from_birth):
            index = bisect_left(edges, time)
            if index < len(sums):
                sums[index] += increase
    return tuple(sums)


def edges_of(window: Window, scrape: float | None) -> tuple[float, ...]:
    """Ends of at most 16 sub-windows, each at least two scrapes long."""
    longest = SUB_WINDOWS if not scrape else int(window.seconds / (2 * scrape))
    count = max(1, min(SUB_WINDOWS, longest))
    return (*(window.start + window.seconds * i / count for i in range(1, count)), window.end)
