"""How long to wait after failures in a row: a pause that doubles."""

from __future__ import annotations

MOST_DOUBLINGS = 30  # beyond any longest pause; a counter that is on record may be of any size


def doubling(first: float, failures: int, longest: float) -> float:
    """The pause after so many failures in a row (1, 2, …): `first`, doubled with each further one, at most `longest`;
    all in seconds."""
    return min(first * 2.0 ** min(failures - 1, MOST_DOUBLINGS), longest)


__all__ = ["doubling"]
