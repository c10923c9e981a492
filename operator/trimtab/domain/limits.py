"""One-sided limits of rare events, where a normal interval claims far more than it knows. Pure arithmetic."""

from __future__ import annotations

import math


def poisson_limits(events: float, z: float) -> tuple[float, float]:
    """(lower, upper): what the expected number of events may be after so many were seen.

    The exact limits (Garwood 1936) in the approximation of Wilson and Hilferty (1931). The upper one is within 1 % at
    95 % confidence and 2.5 % at 99.9 %; the lower one is within 3 % at 95 % from two events on, and too low below.

    Args:
        events: seen, not negative; events that cluster as their number over phi, and the limits times phi.
        z: one-sided normal quantile of the confidence, not negative.
    """
    more = events + 1
    upper = more * (1 - 1 / (9 * more) + z / (3 * math.sqrt(more))) ** 3
    if events <= 0:
        return 0.0, upper
    return events * max(0.0, 1 - 1 / (9 * events) - z / (3 * math.sqrt(events))) ** 3, upper


def ratio_limits(bad: float, total: float, overdispersion: float, z: float) -> tuple[float, float]:
    """(lower, upper): what the true ratio may be after `bad` of `total` events, each in [0, 1].

    Those of a Poisson number of the rarer kind of events, k' = k / phi, with z sqrt(1 - p): the variance of a binomial
    number is smaller by 1 - p. Where independent, within 4 % of the exact limits (Clopper and Pearson 1934) with 100
    events or more, whatever their ratio; with fewer it is wider.

    Args:
        bad: from 0 to `total`.
        total: above zero.
        overdispersion: phi, how many times the variance of independent events; at least 1.
        z: one-sided normal quantile of the confidence, not negative.
    """
    if bad > total / 2:
        good_lower, good_upper = ratio_limits(total - bad, total, overdispersion, z)
        return 1 - good_upper, 1 - good_lower
    lower, upper = poisson_limits(bad / overdispersion, z * math.sqrt(1 - bad / total))
    return lower * overdispersion / total, min(1.0, upper * overdispersion / total)
