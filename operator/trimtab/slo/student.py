"""Student's t: how much wider an interval is when its standard error was itself told by few degrees of freedom. Pure.

A `Sample` carries a standard error that is widened already: multiplied by the normal quantile of 95 % it is Student's
interval. For another confidence that is not enough, or too much; `at_confidence` is the rest.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

USUAL = 0.95
MANY = 200  # degrees from which Student's is the normal one for all that matters here


def z_of(confidence: float) -> float:
    """One-sided normal quantile, e.g. 1.645 for 0.95."""
    return NormalDist().inv_cdf(confidence)


@lru_cache(maxsize=4096)
def t_of(confidence: float, degrees: int) -> float:
    """One-sided quantile of Student's t, e.g. 2.132 for 0.95 and 4 degrees of freedom.

    Exact for one and two degrees, Hill's expansion from three on (CACM 13 (1970) 619, algorithm 396): within 0.1 % for
    confidences up to 0.9999.

    Args:
        confidence: in [0.5, 1).
        degrees: at least 1.
    """
    both = 2 * (1 - confidence)
    if degrees == 1:
        return math.tan(math.pi * (confidence - 0.5))
    if degrees == 2:
        return math.sqrt(max(2 / (both * (2 - both)) - 2, 0.0))
    n = float(degrees)
    a = 1 / (n - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * n
    y = (d * both) ** (2 / n)
    if y > 0.05 + a:
        x = z_of(both / 2) if both < 1 else 0.0
        y = x * x
        c += 0.3 * (n - 4.5) * (x + 0.6) if n < 5 else 0.0
        c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y * y)
    else:
        y = ((1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1) * (n + 1) / (
            n + 2
        ) + 1 / y
    return math.sqrt(n * y)


def widening(degrees: int) -> float:
    """t / z at 95 %: what a standard error of so many degrees of freedom is multiplied by. At least 1 degree."""
    return 1.0 if degrees > MANY else t_of(USUAL, max(degrees, 1)) / z_of(USUAL)


def at_confidence(confidence: float, degrees: int | None) -> float:
    """What a widened standard error is multiplied by at this confidence; 1.0 at 95 %, and where it is known well.

    Args:
        confidence: one-sided, at least 0.5.
        degrees: of freedom of the standard error, None or 0 where it needs no widening.
    """
    z = z_of(confidence)
    if not degrees or degrees > MANY or not z > 0:
        return 1.0
    return t_of(confidence, degrees) / z / widening(degrees)
