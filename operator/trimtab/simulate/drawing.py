"""Counts of several pods at once: one draw for all intervals of all of them, since numpy charges by the call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trimtab.simulate.shares import Run, ServiceShare
from trimtab.workload import Conditions, PodBehaviour, rounded
from trimtab.workload.latency import FloatArray
from trimtab.workload.sampling import Chances, Gains, draw

if TYPE_CHECKING:
    from trimtab.simulate.meter import PodMeter, Span

Work = list[tuple["PodMeter", "Span"]]


def draw_spans(meters: Iterable[PodMeter], to: float, rng: np.random.Generator, *, flush: bool = False) -> None:
    """Bring pods up to a moment: to their last scrape before it, or with `flush` to the moment itself."""
    by_share: dict[int, Work] = {}
    for meter in meters:
        span = meter.due(to, flush=flush)
        if span is not None:
            by_share.setdefault(id(meter.share), []).append((meter, span))
    for work in by_share.values():
        if len(work) == 1 and len(work[0][1].edges) == 1:
            _draw_one(*work[0], rng)
        else:
            _draw_many(work, rng)


def _draw_one(meter: PodMeter, span: Span, rng: np.random.Generator) -> None:
    """A single interval, in plain numbers."""
    share, end = meter.share, span.edges[0]
    load = share.load_between(meter.levels.values(), span.start, end) if meter.serves else 0.0
    conditions = meter.conditions(0.5 * (span.start + end))
    behaviour, chances = share.behaviour(meter.facts.run, rounded(load), conditions)
    gains = draw(rng, share.workload, chances, load, end - span.start, conditions.error_ratio)
    total = gains.requests * behaviour.latency.mean_s if meter.with_sum else 0.0
    extra = (gains.failed, gains.unavailable, gains.cpu_seconds, gains.periods, gains.throttled, total)
    meter.took(span, np.concatenate((gains.buckets, extra))[None, :], [behaviour])


def _draw_many(work: Work, rng: np.random.Generator) -> None:
    share = work[0][0].share
    starts, ends = _intervals(work)
    seconds, middles = ends - starts, 0.5 * (starts + ends)
    loads = share.load.series(middles) * _parts(work, starts, ends)
    which, found, injected = _behaviours(work, share, middles, loads)
    chances = Chances.each([c for _, c in found], which)
    gains = draw(rng, share.workload, chances, loads, seconds, injected)
    rows = _rows(gains, found, which, work[0][0].with_sum)
    behaviours = [found[i][0] for i in which.tolist()]
    begin = 0
    for meter, span in work:
        end = begin + len(span.edges)
        meter.took(span, rows[begin:end], behaviours[begin:end])
        begin = end


def _intervals(work: Work) -> tuple[FloatArray, FloatArray]:
    """Starts and ends of all intervals one after the other; shape (k,)."""
    starts: list[float] = []
    ends: list[float] = []
    for _, span in work:
        starts.append(span.start)
        starts += span.edges[:-1]
        ends += span.edges
    return np.array(starts), np.array(ends)


def _parts(work: Work, starts: FloatArray, ends: FloatArray) -> FloatArray:
    """The mean part of the load that the pod gets in each interval; shape (k,)."""
    counts = [len(span.edges) for _, span in work]
    parts = np.zeros(len(starts))
    for service, level in work[0][0].share.levels.items():
        serving = [float(service in meter.levels) for meter, _ in work]
        if any(serving):
            parts += level.mean(starts, ends) * np.repeat(serving, counts)
    return parts


def _behaviours(
    work: Work, share: ServiceShare, middles: FloatArray, loads: FloatArray
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], list[tuple[PodBehaviour, Chances]], FloatArray]:
    """(index of each interval's behaviour, the different behaviours, ratio of injected errors by interval)."""
    seen: dict[tuple[Run, float, Conditions], int] = {}
    which, injected = [], []
    moments = iter(zip(middles.tolist(), loads.tolist(), strict=True))
    plain: dict[tuple[float, float], Conditions] = {}
    for meter, span in work:
        quiet = not meter.faults.all
        for _ in span.edges:
            middle, load = next(moments)
            if quiet:
                pair = (meter.slowdown(middle), share.drift(middle))
                conditions = plain.get(pair) or plain.setdefault(pair, Conditions(*pair))
            else:
                conditions = meter.conditions(middle)
            which.append(seen.setdefault((meter.facts.run, rounded(load), conditions), len(seen)))
            injected.append(conditions.error_ratio)
    return np.array(which), [share.behaviour(*key) for key in seen], np.array(injected)


def _rows(
    gains: Gains, found: Sequence[tuple[PodBehaviour, Chances]], which: np.ndarray[tuple[int], np.dtype[np.int64]],
    with_sum: bool,
) -> FloatArray:  # fmt: skip
    means = np.array([b.latency.mean_s if with_sum else 0.0 for b, _ in found])[which]
    extra = (gains.failed, gains.unavailable, gains.cpu_seconds, gains.periods, gains.throttled)
    return np.column_stack((gains.buckets, *extra, gains.requests * means))


__all__ = ["draw_spans"]
