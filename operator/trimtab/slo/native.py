"""Native histograms to what classic ones are: cumulative counters by upper bound. Pure.

Samples are raw, so windows, resets and freshness are those of `slo.series`, and events are counted, not extrapolated. A
store shows only buckets that hold something, and a histogram that runs out of buckets merges them. So all samples are
read at the bounds that no bucket of any of them reaches across.

A threshold within a bucket is exact where that bucket is empty. Else the bucket is divided as Prometheus does,
evenly in the logarithm, when it is of an exponential schema; what it holds is then not known to be on either side, and
`Split.unsure` counts it. Buckets with bounds of somebody's own are as wide as they like, and never divided; nor are
exponential ones that double, as bounds of somebody's own may do too.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from trimtab.slo.series import Buckets, Series

SCHEMAS = range(1, 9)  # of exponential buckets, each 2^(2^-schema) times the one before; coarser ones are not divided
ROUNDING = 1e-6


@dataclass(frozen=True)
class Split:
    """Counters by pod of what is within a threshold (`le` is the threshold) and of all (`le` is +Inf), and of what one
    bucket holds that reaches across it."""

    counters: tuple[Series, ...]
    unsure: tuple[Series, ...]


def is_native(series: Iterable[Series]) -> bool:
    """Any of them has histograms for samples."""
    return any(each.histograms for each in series)


def counts_of(series: Sequence[Series]) -> tuple[Series, ...]:
    """The counters of all observations of native histograms; series of plain numbers as they are, unless both are
    there: then those are a summary of the same name."""
    if not is_native(series):
        return tuple(series)
    return tuple(
        Series(each.labels, tuple((t, h.count) for t, h in each.histograms)) for each in series if each.histograms
    )


def common_bounds(series: Iterable[Series]) -> tuple[float, ...]:
    """Finite bounds, ascending, that no populated bucket of any sample reaches across."""
    parts = {(low, high) for each in series for _, h in each.histograms for low, high, _ in h.parts}
    ends = sorted({end for part in parts for end in part if math.isfinite(end)})
    crossed = {
        end for low, high in parts for end in ends[bisect_right(ends, low) :] if end < high and not _same(end, high)
    }
    return tuple(end for end in ends if end not in crossed)


def as_classic(series: Sequence[Series]) -> tuple[Series, ...]:
    """One counter per common bound and +Inf, labelled `le`."""
    bounds = common_bounds(series)
    return tuple(
        _labelled(each, le, points)
        for each in series
        if each.histograms
        for le, points in zip((*bounds, math.inf), _columns(each, bounds), strict=True)
    )


def split(series: Sequence[Series], threshold: float) -> Split | None:
    """Everything at a threshold; None when it lies within a populated bucket that may not be divided."""
    bounds = common_bounds(series)
    equal = next((b for b in bounds if math.isclose(b, threshold)), None)
    at = bisect_right(bounds, threshold)
    low = bounds[at - 1] if at else -math.inf
    high = bounds[at] if at < len(bounds) else math.inf
    if equal is not None:
        low = high = equal
    counters, unsure = [], []
    share = _share(low, high, threshold) if low < high else 1.0
    for each in series:
        if not each.histograms:
            continue
        below, above, all_ = _columns(each, (low, high))
        between = tuple((t, v - u) for (t, u), (_, v) in zip(below, above, strict=True))
        if share is None and any(n > 0 for _, n in between):
            return None
        within = tuple((t, u + (share or 0.0) * n) for (t, u), (_, n) in zip(below, between, strict=True))
        counters += [_labelled(each, threshold, within), _labelled(each, math.inf, all_)]
        unsure.append(_labelled(each, threshold, between))
    return Split(tuple(counters), tuple(unsure))


def exponential(series: Iterable[Series]) -> bool:
    """Every populated bucket, but that around zero, is of an exponential schema, so that quantiles are known well."""
    parts = {(low, high) for each in series for _, h in each.histograms for low, high, _ in h.parts}
    return all(low < 0 < high or _on_grid(low, high) for low, high in parts if not (math.isinf(high) and low > 0))


def _share(low: float, high: float, threshold: float) -> float | None:
    """Which part of a bucket lies within the threshold; None when nobody knows."""
    if not _on_grid(low, high):
        return None
    return math.log(threshold / low) / math.log(high / low)


def _on_grid(low: float, high: float) -> bool:
    """The bounds are 2^(i/2^s) and 2^((i+1)/2^s) of a schema s; negative ones mirrored."""
    if high <= 0:
        low, high = -high, -low
    if not 0 < low < high < math.inf:
        return False
    octaves = math.log2(high / low)
    schema = -math.log2(octaves)
    index = math.log2(high) / octaves
    return (
        round(schema) in SCHEMAS
        and abs(schema - round(schema)) < ROUNDING
        and abs(index - round(index)) < ROUNDING * max(abs(index), 1.0)
    )


def _columns(each: Series, bounds: Sequence[float]) -> list[tuple[tuple[float, float], ...]]:
    """Cumulative counts at each bound and of all; a restart of the process is carried on from where it was, in all of
    them at once, as a single bucket may have grown beyond its old count already."""
    carried, before = [0.0] * (len(bounds) + 1), [0.0] * (len(bounds) + 1)
    columns: list[list[tuple[float, float]]] = [[] for _ in carried]
    for time, sample in each.histograms:
        now = [*_cumulative(sample, bounds), sample.count]
        if any(n < b and not _same(n, b) for n, b in zip(now, before, strict=True)):
            carried = [c + b for c, b in zip(carried, before, strict=True)]
        for column, base, n in zip(columns, carried, now, strict=True):
            column.append((time, base + n))
        before = now
    return [tuple(column) for column in columns]


def _cumulative(sample: Buckets, bounds: Sequence[float]) -> list[float]:
    sums, total, parts = [], 0.0, list(sample.parts)
    for bound in bounds:
        while parts and (parts[0][1] <= bound or _same(parts[0][1], bound)):
            total += parts.pop(0)[2]
        sums.append(total)
    return sums


def _labelled(each: Series, le: float, points: tuple[tuple[float, float], ...]) -> Series:
    text = "+Inf" if math.isinf(le) and le > 0 else repr(le)
    return replace(each, labels=tuple(sorted((*each.labels, ("le", text)))), points=points, histograms=())


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9)


__all__ = ["Split", "as_classic", "common_bounds", "counts_of", "exponential", "is_native", "split"]
