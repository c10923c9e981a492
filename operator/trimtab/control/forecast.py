"""How much load to expect while the next trial runs: an upper limit, from the same hours of the days before. Pure.

Notation: r_0 requests per second lately, r_d the same d days ago, a_d what came then in the time that the trial takes.
  expected = max(r_0, max_d a_d min(max(r_0 / r_d, 1/3), 3))
Each day says what it would come to at today's level, and the highest of them counts. A load that goes down counts as it
is now, and a crowd that no day has seen is the safety loop's.
"""

from __future__ import annotations

from trimtab.control.snapshot import LoadHistory

LEAST_DAYS = 2
MOST_GROWTH = 3.0  # of a day's level against another's; more is another service
DECIMALS = 6


def expected_load(found: LoadHistory, ready: int) -> float | None:
    """Requests per second per pod of a target with `ready` pods, which get all of it if the arms take none, or of the
    whole service with 1; None where too little is known, so that the peak has to be expected."""
    if found.now is None or len(found.days) < LEAST_DAYS or ready < 1:
        return None
    levels = ((min(max(found.now / then, 1 / MOST_GROWTH), MOST_GROWTH), ahead) for then, ahead in found.days)
    highest = max(found.now, *(level * ahead for level, ahead in levels))
    return round(highest / ready, DECIMALS)


__all__ = ["expected_load"]
