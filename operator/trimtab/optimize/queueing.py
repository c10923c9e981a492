"""How much a bound on slow requests grows next to it when pods are driven harder.

Notation: of a pod, rho is the part of its CPU limit that is used, c that limit in cores, w the CPU seconds of a
request; b is the bound on the part of requests that take longer than a time t. In the time t the pod gets through
n = c t / w requests. g = ln(SLI / b), and its rise is from rho_1 to rho_2, next to the bound at rho_2.

What makes requests slow beside waiting, such as the pauses of a collector, is taken to grow by `OTHERWISE` per octave
of load. Of a bound on slow requests two limits are known, of which the lower holds:
  waiting  where waiting makes all of them slow, or something else does. In an M/M/1 queue P(T > t) = exp(-(1 - rho) n),
           so n is ln(1 / b) / (1 - rho_2) where that is b, and the rise is ln(1 / b) (rho_2 - rho_1) / (1 - rho_2)
  mixed    where n is known, waiting makes only so many of them slow. In a queue whose arrivals and requests vary as
           v = c_a^2 + c_s^2 (2 for M/M/1) a wait longer than t has a chance of p(rho) = exp(-2 (1 - rho) n / v) in
           heavy traffic (Kingman 1962, "On queues in heavy traffic"; for several cores Koellerstroem 1974). There must
           be room for p(rho_2) - p(rho_1), so the rise is -ln(1 - (p(rho_2) - p(rho_1)) / b), and that of the others
How irregular arrivals are is not known, nor how much of t is left for waiting: v is taken for `IRREGULAR`.
Other bounds, on errors or a quantile, rise by `QUEUED` rho^2 / (1 - rho) per octave, whose integral is
k (log2((1 - rho_1) / (1 - rho_2)) - (rho_2 - rho_1) / ln 2).
The constants are from `benchmarks/simulation/steepness.py`, which judges the rules on services that they were not
chosen for, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STEEPEST = 2.0  # of g per octave of load next to the bound, where rho is not known: 1 to 2.1 in the workload model
QUEUED = 2.1  # k
MOST_FULL = 0.95  # of the limit
IRREGULAR = 10.0  # v
OTHERWISE = 1.0  # of g per octave


@dataclass(frozen=True)
class Pods:
    """Pods at their scale point, of one assignment or of many (arrays): `full` is their rho, `cores` their limit."""

    full: Floats | float
    cores: Floats | float


@dataclass(frozen=True)
class Slow:
    """A bound b on the part of slow requests, and n of the pods, None where that is not known."""

    bound: float
    turns: Floats | float | None


def rise(before: Floats | float, after: Floats | float, slow: Slow | None) -> Floats:
    """The rise of g from one rho to another; not below 0. Beyond `MOST_FULL` waiting alone is as from so much less to
    that.

    Args:
        slow: the bound; None for one that is not on slow requests.
    """
    within = np.minimum(MOST_FULL / np.asarray(after, dtype=np.float64), 1.0)
    low, high = before * within, after * within
    if slow is None:
        queued = QUEUED * (np.log2((1 - low) / (1 - high)) - (high - low) / np.log(2.0))
        return np.asarray(np.maximum(queued, 0.0))
    others = OTHERWISE * np.log2(np.asarray(after) / before)
    waiting = np.maximum(np.log(1 / slow.bound) * (high - low) / (1 - high), others)
    if slow.turns is not None:
        taken = np.minimum((_waits(after, slow.turns) - _waits(before, slow.turns)) / slow.bound, 1.0)
        with np.errstate(divide="ignore"):  # no room is enough where they alone break the bound
            waiting = np.minimum(waiting, others - np.log1p(-taken))
    return np.asarray(np.maximum(waiting, 0.0))


def _waits(rho: Floats | float, turns: Floats | float) -> Floats:
    """p(rho)."""
    return np.asarray(np.exp(-2 * (1 - np.minimum(rho, 1.0)) * turns / IRREGULAR))


__all__ = ["IRREGULAR", "MOST_FULL", "OTHERWISE", "QUEUED", "STEEPEST", "Pods", "Slow", "rise"]
