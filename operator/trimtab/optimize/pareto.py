"""Two objectives at once, both minimized: domination, the front, hypervolume and its improvement, exact in two
dimensions.

The hypervolume of a set is the area that it dominates up to a reference point (Zitzler and Thiele 1998). With a front
a_1 < ... < a_n (and b_1 > ... > b_n), a_0 = -inf, a_{n+1} = the reference's first coordinate and b_0 = its second, a
point (p, q) adds in each strip [a_i, a_{i+1}) the rectangle (a_{i+1} - max(a_i, p))+ (b_i - q)+ (Emmerich, Deutz and
Klinkenberg 2011).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SMOOTH = 1e-3  # width of the softplus, in fractions of the baseline's amount


def log_positive(value: Floats) -> Floats:
    """log of the softplus SMOOTH log(1 + exp(value / SMOOTH)), which is max(value, 0) but for a width of SMOOTH: its
    logarithm falls on in the lower tail, where that of max(value, 0) is -inf (Ament et al. 2023). Elementwise."""
    x = value / SMOOTH
    # log(1 + e^x) is e^x below -36, to the last bit
    return np.asarray(np.where(x < -36.0, x, np.log(np.logaddexp(0.0, np.maximum(x, -36.0)))) + np.log(SMOOTH))


def front(points: Floats) -> Ints:
    """Which points (N, 2) no other one beats: as good in both objectives and better in one. Of equal ones the first.
    Sorted by the first objective. Shape: (n,)."""
    order = np.lexsort((np.arange(len(points)), points[:, 1], points[:, 0]))
    kept, best = [], np.inf
    for i in order:
        if points[i, 1] < best:
            kept.append(int(i))
            best = float(points[i, 1])
    return np.asarray(kept, dtype=np.int64)


def hypervolume(points: Floats, reference: Floats) -> float:
    """Area that points (N, 2) dominate up to the reference (2,)."""
    inside = points[np.all(points < reference, axis=1)]
    total, ceiling = 0.0, float(reference[1])
    for a, b in inside[front(inside)]:
        total += (float(reference[0]) - float(a)) * (ceiling - float(b))
        ceiling = float(b)
    return total


def hypervolume_gain(points: Floats, found: Floats, reference: Floats) -> Floats:
    """What each point (N, 2) alone would add to the hypervolume of `found` (M, 2). Shape: (N,)."""
    left, right, height = _strips(found, reference)
    widths = np.maximum(right - np.maximum(left, points[:, :1]), 0.0)
    return np.asarray(np.sum(widths * np.maximum(height - points[:, 1:], 0.0), axis=1))


def log_hypervolume_gain(points: Floats, found: Floats, reference: Floats) -> Floats:
    """Log of the same with each side smoothed: finite also where nothing would be added (Ament et al. 2023, section
    4). Shape: (N,)."""
    left, right, height = _strips(found, reference)
    widths = log_positive(right - np.maximum(left, points[:, :1]))
    return np.asarray(logsumexp(widths + log_positive(height - points[:, 1:]), axis=1))


def _strips(found: Floats, reference: Floats) -> tuple[Floats, Floats, Floats]:
    """Left and right ends and heights of the strips between the front's points, each (n + 1,)."""
    inside = found[np.all(found < reference, axis=1)]
    kept = inside[front(inside)]
    left = np.concatenate([[-np.inf], kept[:, 0]])
    right = np.concatenate([kept[:, 0], reference[:1]])
    return left, right, np.concatenate([reference[1:], kept[:, 1]])


__all__ = ["front", "hypervolume", "hypervolume_gain", "log_hypervolume_gain", "log_positive"]
