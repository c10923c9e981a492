"""Student's t: how much wider an interval is when its standard error was itself told by few degrees of freedom. Pure.

A `Sample` carries a standard error that is widened already: multiplied by the normal quantile of 95 % it is Student's
interval. For another confidence that is not enough, or too much; `at_confidence` is the rest.
"""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

from scipy.special import stdtrit

USUAL = 0.95
MANY = 200  # degrees from which Student's is the normal one for all that matters here


def z_of(confidence: float) -> float:
    """One-sided normal quantile, e.g. 1.645 for 0.95."""
    return NormalDist().inv_cdf(confidence)


@lru_cache(maxsize=4096)
def t_of(confidence: float, degrees: int) -> float:
    """One-sided quantile of Student's t, e.g. 2.132 for 0.95 and 4 degrees of freedom.

    Args:
        confidence: in [0.5, 1).
        degrees: at least 1.
    """
    return float(stdtrit(degrees, confidence))


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
