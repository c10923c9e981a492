"""How an arm scaled over a window: its pods on average, how often their number changed, how long they were
in breach. Pure.

Notation: N moments at even distances d over the window; R_t pods at moment t; k_t bad of n_t events between t - d
and t.
  MeanReplicas          mean of R_t, with the standard error of a mean whose neighbours are alike (estimate.py)
  ScaleEventsPerHour    E / T, E the number of t with another R_t than before, T the window in hours. Events are taken
                        for independent: standard error sqrt(E + 1/2) / T, which no quiet window makes zero
  BreachSecondsPerHour  3600 B / M, B the number of the M moments with events of which k_t / n_t is above the limit.
                        Breaches come in runs of L_i moments. As of a compound Poisson process, whose sum has variance
                        lambda E[L^2] (Ross, Stochastic Processes, 1996, section 2.5): 3600 sqrt(sum L_i^2 + 1/4) / M
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from trimtab.domain.measurement import NoData, Reading, Sample
from trimtab.domain.spec import Scaling, ScalingQuery
from trimtab.slo.estimate import value_sample

HOUR = 3600.0
LEAST_MOMENTS = 4


@dataclass(frozen=True)
class Moment:
    """One moment of an arm: its pods, and the events since the moment before (0 of 0 where nobody knows)."""

    pods: int
    bad: float = 0.0
    total: float = 0.0


def scaling(query: ScalingQuery, moments: Sequence[Moment], distance: float) -> Reading:
    """The measure over these moments, `distance` seconds apart, ascending in time.

    Returns:
        A Sample in the query's unit whose `total` counts moments, or NoData where there are too few.
    """
    if len(moments) < LEAST_MOMENTS:
        return NoData(f"{len(moments)} moments of these pods, {LEAST_MOMENTS} are needed")
    match query.measure:
        case Scaling.MEAN_REPLICAS:
            return value_sample([float(m.pods) for m in moments], None)
        case Scaling.SCALE_EVENTS:
            return _events(moments, distance)
        case Scaling.BREACH_SECONDS:
            return _breach(moments, query.above if query.above is not None else 0.0)


def _events(moments: Sequence[Moment], distance: float) -> Sample:
    hours = distance * (len(moments) - 1) / HOUR
    events = sum(1 for before, after in pairwise(moments) if before.pods != after.pods)
    return Sample(events / hours, math.sqrt(events + 0.5) / hours, float(len(moments)))


def _breach(moments: Sequence[Moment], above: float) -> Reading:
    broken = [m.bad > above * m.total for m in moments if m.total > 0]
    if len(broken) < LEAST_MOMENTS:
        return NoData("no traffic in the window")
    runs = [float(len([*run])) for breach, run in groupby(broken) if breach]
    count = float(len(broken))
    return Sample(HOUR * sum(runs) / count, HOUR * math.sqrt(sum(n * n for n in runs) + 0.25) / count, count)


__all__ = ["Moment", "scaling"]
