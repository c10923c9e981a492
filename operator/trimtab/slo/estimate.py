"""From counts and values to a `Sample` with a standard error. Pure arithmetic on increments per sub-window.

Notation
    k, n      bad and total events of one arm in one window; p = k / n
    k_i, n_i  the same in sub-window i of H
    phi       overdispersion: variance of the counts over their binomial variance, at least 1
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import NormalDist, fmean

from trimtab.domain.measurement import NoData, Reading, Sample

MIN_SUB_WINDOWS = 4
PRIOR_OVERDISPERSION, PRIOR_WEIGHT = 3.0, 24.0
COSINES, SUB_COSINES = 4, 6
MOST_CORRELATION = 0.95
STUDENT_95 = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812)  # one-sided, by degrees of freedom


def z_of(confidence: float) -> float:
    """One-sided normal quantile, e.g. 1.645 for 0.95."""
    return NormalDist().inv_cdf(confidence)


def overdispersion(bad: Sequence[float], total: Sequence[float]) -> float:
    """phi: the variance that the whole window's bad events have, over that of independent ones; at least 1.

    It is told by how k_i - n_i p swings slowly (`_slow_error`), so events that cluster within a sub-window and ratios
    that are alike for a minute both show. Coverage of 95 % intervals, simulated over ten minutes in 16 sub-windows:
    92 to 97 % whether events are independent, clustered within ten seconds, or over half a minute; 88 % where a ratio
    of 5 % itself wanders by a fifth for a minute at a time.

    Args:
        bad: k_i, shape (H,).
        total: n_i, shape (H,).

    Returns:
        1.0 when fewer than 4 sub-windows hold events, or none is bad.
    """
    pairs = [(k, n) for k, n in zip(bad, total, strict=True) if n > 0]
    events = sum(n for _, n in pairs)
    p = sum(k for k, _ in pairs) / events if events > 0 else 0.0
    if len(pairs) < MIN_SUB_WINDOWS or not 0 < p < 1:
        return 1.0
    error = _slow_error([k - n * p for k, n in pairs], SUB_COSINES) * len(pairs)
    return max(1.0, error**2 / (events * p * (1 - p)))


def shrunk_overdispersion(bad: Sequence[float], total: Sequence[float]) -> float:
    """phi from few windows: (24 x 3 + X^2) / (24 + H - 1), at least 1.

    Windows of two scrapes show nothing of how events cluster within, so until there is evidence phi is taken for 3.
    Simulated with errors at 95 % of the bound and variance 3 x mean, the abort rule 3 of 4 withdraws 0.4 to 1.5 % of
    trials; with phi = 1 it were 6 to 13 %.

    Args:
        bad: k_i per window, shape (H,).
        total: n_i per window, shape (H,).
    """
    chi2, degrees = _pearson(bad, total)
    return max(1.0, (PRIOR_WEIGHT * PRIOR_OVERDISPERSION + chi2) / (PRIOR_WEIGHT + degrees))


def overdispersion_between(steps: Sequence[Sequence[tuple[float, float]]]) -> tuple[float, int]:
    """How events cluster on single pods: (X^2 / degrees of freedom, steps that say something).

    X^2 compares the pods of one step with each other, sum_i (k_i - n_i p)^2 / (n_i p (1 - p)) with the step's own ratio
    p. So what hits all pods alike, the hours of the day or an incident, is no overdispersion: a test of one pod against
    another is not misled by it, and the variance of the service's counts over hours would be full of it (335 instead of
    1 for independent errors under a load that doubles and one bad half hour). A single pod is compared with itself one
    step later.

    Args:
        steps: per step the (bad, total) events of each pod.
    """
    chi2, degrees, told = 0.0, 0, 0
    alone = max((len(pods) for pods in steps), default=0) == 1
    groups = [(*a, *b) for a, b in zip(steps[::2], steps[1::2], strict=False)] if alone else steps
    for group in groups:
        square, free = _pearson([k for k, _ in group], [n for _, n in group])
        if free:
            chi2, degrees, told = chi2 + square, degrees + free, told + 1
    return (chi2 / degrees if degrees else 1.0), told


def _pearson(bad: Sequence[float], total: Sequence[float]) -> tuple[float, int]:
    """(X^2, degrees of freedom) of a common ratio; (0, 0) where no event, or every event, is bad."""
    pairs = [(k, n) for k, n in zip(bad, total, strict=True) if n > 0]
    n = sum(n for _, n in pairs)
    p = sum(k for k, _ in pairs) / n if n > 0 else 0.0
    if not 0 < p < 1:
        return 0.0, 0
    return sum((k - n_i * p) ** 2 / (n_i * p * (1 - p)) for k, n_i in pairs), len(pairs) - 1


def ratio_sample(bad: Sequence[float], total: Sequence[float]) -> Reading:
    """bad / total with its standard error, as wide as the sub-windows differ.

    Args:
        bad: k_i per sub-window, shape (H,); absent bad events are zeros.
        total: n_i per sub-window, shape (H,).
    """
    k, n = sum(bad), sum(total)
    if not (math.isfinite(n) and math.isfinite(k)):
        return NoData("the counters are no numbers")
    if n <= 0:
        return NoData("no traffic in the window")
    k = min(k, n)
    return counted_sample(k, n, overdispersion(bad, total))


def counted_sample(bad: float, total: float, phi: float) -> Sample:
    """bad / total with the standard error of counts that vary phi times as much as independent ones.

    The error uses the smoothed ratio (k + 1/2) / (n + 1), so that no bad event is not taken for certainty.

    Args:
        bad: bad events, 0 to total.
        total: all events; above zero.
        phi: how many times the variance of independent events.
    """
    smooth = (bad + 0.5) / (total + 1)
    return Sample(bad / total, math.sqrt(phi * smooth * (1 - smooth) / total), total, bad, phi)


def value_sample(values: Sequence[float], samples: float | None) -> Reading:
    """Mean of a value with a standard error that allows for neighbours in time being alike.

    It is the larger of two: that of slow swings (`_slow_error`), and sd / sqrt(N (1 - r) / (1 + r)) with the first
    autocorrelation r, corrected for its bias (1 + 3 r) / N (Kendall 1954). Coverage of 95 % intervals, simulated with
    64 values over ten minutes: 97 % where they are independent, 95 and 93 % where they are alike for 30 and 60 s, 90 %
    for 120 s, as that leaves five values that tell something.

    Args:
        values: at even times over the window, in the value's unit.
        samples: how many samples are behind them; the number of values when unknown.
    """
    known = [v for v in values if math.isfinite(v)]
    if not known:
        return NoData("no value in the window")
    mean, count = fmean(known), samples if samples is not None else float(len(known))
    if len(known) < 2:
        return Sample(mean, abs(mean), count)
    return Sample(mean, max(_slow_error(known), _autocorrelated(known)), count)


def _slow_error(values: Sequence[float], most: int = COSINES) -> float:
    """Standard error of the mean from what swings slowly: the mean square of the first cosine coefficients, widened
    so that a normal interval at 95 % is Student's with as many degrees of freedom (Mueller 2007; Lazarus, Lewis, Stock
    and Watson 2018). Of independent values it is the usual one. At least 2 values."""
    n, mean = len(values), fmean(values)
    count = min(most, n - 1)
    square = sum(
        sum((v - mean) * math.cos(math.pi * j * (i + 0.5) / n) for i, v in enumerate(values)) ** 2
        for j in range(1, count + 1)
    )
    return _widening(count) * math.sqrt(2 * square / count) / n


def _autocorrelated(values: Sequence[float]) -> float:
    n, mean = len(values), fmean(values)
    off = [v - mean for v in values]
    square = sum(d * d for d in off)
    if n < MIN_SUB_WINDOWS or not square > 0:
        return 0.0
    r = sum(a * b for a, b in pairwise(off)) / square
    r = min(max(r + (1 + 3 * r) / n, 0.0), MOST_CORRELATION)
    alone = max(n * (1 - r) / (1 + r), 1.0)  # so many independent values would say as much
    return _widening(int(alone) - 1) * math.sqrt(square / (n - 1) / alone)


def standard_error_of_mean(values: Sequence[float]) -> float:
    """sd / sqrt(H), widened so that a normal interval at 95 % is Student's with H - 1 degrees of freedom. H >= 2."""
    degrees = len(values) - 1
    mean = fmean(values)
    variance = sum((v - mean) ** 2 for v in values) / degrees
    return _widening(degrees) * math.sqrt(variance / len(values))


def _widening(degrees: int) -> float:
    """t / z at 95 %, one-sided."""
    return STUDENT_95[max(degrees, 1) - 1] / z_of(0.95) if degrees <= len(STUDENT_95) else 1.0


def widened(sample: Sample, unsure: float) -> Sample:
    """A ratio of which `unsure` events may belong to either side: u / n / sqrt(12) beside its standard error, as if any
    share of them were equally likely.

    The interval of a ratio is made of counts and overdispersion, so that grows alike: by error^2 over the binomial
    variance.
    """
    if not unsure > 0 or sample.bad is None:
        return sample
    error = unsure / sample.total / math.sqrt(12)
    p = (sample.bad + 0.5) / (sample.total + 1)
    return replace(
        sample,
        standard_error=math.hypot(sample.standard_error, error),
        overdispersion=sample.overdispersion + error**2 * sample.total / (p * (1 - p)),
    )


def quantile_sample(bounds: Sequence[float], counts: Sequence[Sequence[float]], q: float) -> Reading:
    """The q-quantile from a classic histogram, interpolated within its bucket as Prometheus does.

    The standard error has two parts: half of Q(q + d) - Q(q - d), d the error of the rank (Woodruff 1952), and
    (hi - lo) / sqrt(12) for not knowing where in its bucket the quantile lies. d = sqrt(q (1 - q) / n) where events are
    independent; where latency swings, how the share beyond the quantile differs between sub-windows tells it
    (as for values). Coverage of 95 % intervals, simulated with buckets of 9 % over ten minutes: 96 % where latency is
    alike for a minute (76 % without); wide buckets are never wrong, as their width outweighs the rest.

    Args:
        bounds: upper bounds, ascending, the last one infinite, shape (B,).
        counts: events per sub-window and bucket (not cumulative), shape (H, B).
        q: in (0, 1).
    """
    whole = [sum(column) for column in zip(*counts, strict=True)]
    n = sum(whole)
    if not (n > 0 and math.isfinite(n)):
        return NoData("no traffic in the window")
    value, low, high = _quantile(bounds, whole, q)
    if math.isinf(high):
        return Sample(value, value, n)
    off = max(math.sqrt(q * (1 - q) / n), _rank_error(bounds, counts, q, value))
    above, below = (_quantile(bounds, whole, min(max(q + d, 0.0), 1.0))[0] for d in (off, -off))
    return Sample(value, math.hypot((above - below) / 2, (high - low) / math.sqrt(12)), n)


def _rank_error(bounds: Sequence[float], counts: Sequence[Sequence[float]], q: float, value: float) -> float:
    """Standard error of the share of events up to `value`, from what each sub-window has less or more of them than q;
    0.0 where there are too few sub-windows to tell."""
    if len(counts) < MIN_SUB_WINDOWS:
        return 0.0
    lower = [min(0.0, bounds[0]), *bounds[:-1]]
    parts = [
        1.0 if high <= value else 0.0 if low >= value else (value - low) / (high - low)
        for low, high in zip(lower, bounds, strict=True)
    ]
    off = [sum(p * k for p, k in zip(parts, row, strict=True)) - q * sum(row) for row in counts]
    return max(_slow_error(off), _autocorrelated(off)) * len(off) / sum(map(sum, counts))


def _quantile(bounds: Sequence[float], counts: Sequence[float], q: float) -> tuple[float, float, float]:
    """(value, lower and upper bound of its bucket); the last finite bound when it lies beyond."""
    rank, below = q * sum(counts), 0.0
    filled = [i for i, count in enumerate(counts) if count > 0]
    for i in filled:
        if below + counts[i] >= rank or i == filled[-1]:
            break
        below += counts[i]
    low, high = bounds[i - 1] if i > 0 else min(0.0, bounds[0]), bounds[i]
    if math.isinf(high):
        return low, low, high
    return low + (high - low) * min(max(rank - below, 0.0) / counts[i], 1.0), low, high


def interval(sample: Sample, confidence: float) -> tuple[float, float]:
    """One-sided bounds at this confidence on both sides. Ratios use Wilson's score interval with n / phi events
    (Wilson 1927), others the normal one."""
    z = z_of(confidence)
    if sample.bad is None:
        return sample.value - z * sample.standard_error, sample.value + z * sample.standard_error
    n = max(sample.total / sample.overdispersion, 1e-9)
    p, square = sample.value, z * z
    centre = (p + square / (2 * n)) / (1 + square / n)
    half = z / (1 + square / n) * math.sqrt(p * (1 - p) / n + square / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
