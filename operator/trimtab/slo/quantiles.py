"""Quantiles of classic histograms, from increments per sub-window and bucket. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from trimtab.domain.measurement import NoData, Reading, Sample
from trimtab.slo.estimate import overdispersed
from trimtab.slo.student import USUAL, z_of

Z = z_of(USUAL)
SMOOTH = 0.5  # a neighbouring bucket's density may differ by this share, for the density to count as smooth
LOOKS = (1, 2, 3, 4)  # standard errors of the rank at which the lower limit of a quantile is looked up


def quantile_sample(bounds: Sequence[float], counts: Sequence[Sequence[float]], q: float) -> Reading:
    """The q-quantile from a classic histogram, interpolated within its bucket as Prometheus does.

    The standard error has two parts: that of the rank, (Q(q + z d) - Q(q - z d)) / 2 z with z of 95 % (Woodruff 1952),
    and that of not knowing where in its bucket the quantile lies (`_within`). d = sqrt(phi q (1 - q) / n), phi of the
    events beyond the quantile as of bad events: where latency swings, how they differ between sub-windows tells it.

    Coverage of 95 % intervals, simulated with buckets of 9 % over ten minutes: 98 % where latency is independent, 94 %
    where it is alike for a minute. Of wide buckets only which one it is can be known: the interval is about as wide as
    the bucket, and always holds the quantile.

    Beyond the last finite bound a quantile has only a lower limit, which is that bound: `Sample.below`.

    Args:
        bounds: upper bounds, ascending, the last one infinite, shape (B,).
        counts: events per sub-window and bucket (not cumulative), shape (H, B).
        q: in (0, 1).

    Returns:
        NoData without events, or without a finite bound.
    """
    whole = [sum(column) for column in zip(*counts, strict=True)]
    n = sum(whole)
    if not (n > 0 and math.isfinite(n)):
        return NoData("no traffic in the window")
    if not math.isfinite(bounds[0]):
        return NoData("the histogram has no bucket but +Inf")
    value, at = _quantile(bounds, whole, q)
    off, degrees = _rank(bounds, counts, q, value)
    if math.isinf(bounds[at]):
        below = max((value - _value(bounds, whole, q - look * off)) / look for look in LOOKS)
        return Sample(value, value, n, degrees=degrees, below=below)
    half = (_value(bounds, whole, q + Z * off) - _value(bounds, whole, q - Z * off)) / (2 * Z)
    return Sample(value, math.hypot(half, _within(bounds, whole, at)), n, degrees=degrees)


def _within(bounds: Sequence[float], counts: Sequence[float], at: int) -> float:
    """Standard error of interpolating in the bucket `at`, of width h.

    h / sqrt(12) as long as the quantile may be anywhere in it. Where the density is smooth over the bucket and both its
    neighbours, the remainder of a linear interpolation of the distribution: u (1 - u) h^2 / 2 |f'| / f at the place u
    in [0, 1], h^2 / sqrt(120) |f'| / f in the mean square over u. f' is that of the steeper side.
    """
    low, high = _edges(bounds, at)
    anywhere = (high - low) / math.sqrt(12)
    if at == 0 or at + 1 >= len(bounds) or math.isinf(bounds[at + 1]):
        return anywhere
    near = [(*_edges(bounds, i), counts[i]) for i in (at - 1, at, at + 1)]
    if not all(b > a for a, b, _ in near):  # a first bound below zero has no bucket of any width
        return anywhere
    density, middles = [k / (b - a) for a, b, k in near], [(a + b) / 2 for a, b, _ in near]
    if any(abs(d - density[1]) > SMOOTH * density[1] for d in density):
        return anywhere
    slope = max(abs(e - d) / (v - u) for (d, e), (u, v) in zip(pairwise(density), pairwise(middles), strict=True))
    return min(anywhere, (high - low) ** 2 / math.sqrt(120) * slope / density[1])


def _rank(
    bounds: Sequence[float], counts: Sequence[Sequence[float]], q: float, value: float
) -> tuple[float, int | None]:
    """(standard error of the share of events beyond `value`, its degrees of freedom): that of a ratio, whose events are
    counted in each sub-window."""
    shares = [
        0.0 if high <= value else 1.0 if low >= value else (high - value) / (high - low)
        for low, high in (_edges(bounds, i) for i in range(len(bounds)))
    ]
    total = [sum(row) for row in counts]
    phi, degrees = overdispersed([sum(s * k for s, k in zip(shares, row, strict=True)) for row in counts], total)
    return math.sqrt(phi * q * (1 - q) / sum(total)), degrees


def _value(bounds: Sequence[float], counts: Sequence[float], q: float) -> float:
    return _quantile(bounds, counts, min(max(q, 0.0), 1.0))[0]


def _quantile(bounds: Sequence[float], counts: Sequence[float], q: float) -> tuple[float, int]:
    """(value, its bucket); the last finite bound when it lies beyond."""
    rank, below = q * sum(counts), 0.0
    filled = [i for i, count in enumerate(counts) if count > 0]
    for i in filled:
        if below + counts[i] >= rank or i == filled[-1]:
            break
        below += counts[i]
    low, high = _edges(bounds, i)
    if math.isinf(high):
        return low, i
    return low + (high - low) * min(max(rank - below, 0.0) / counts[i], 1.0), i


def _edges(bounds: Sequence[float], at: int) -> tuple[float, float]:
    """(lower, upper) bound of a bucket; the first begins at zero, or at its bound where that is negative."""
    return (bounds[at - 1] if at > 0 else min(0.0, bounds[0])), bounds[at]


__all__ = ["quantile_sample"]
