"""How much a bound grows next to it when pods are driven harder.

Notation: of a pod, rho is the part of its CPU limit that is used, c that limit in cores, w the CPU seconds of a
request; b is the bound on the part of requests that take longer than a time t. In the time t the pod gets through
n = c t / w requests. g = ln(SLI / b), and its rise is from rho_1 to rho_2, next to the bound at rho_2.

  waiting  ln(1 / b) (rho_2 - rho_1) / (1 - rho_2), where nothing but waiting makes requests slow: in an M/M/1 queue
           P(T > t) = exp(-(1 - rho) n), so n is ln(1 / b) / (1 - rho_2) where that is b, and no larger n is within it
  queued   k rho^2 / (1 - rho) per octave, whose integral is
           k (log2((1 - rho_1) / (1 - rho_2)) - (rho_2 - rho_1) / ln 2).
           A part rho of requests waits, and of these a time is exceeded with a chance that grows by rho / (1 - rho)
A bound on slow requests rises by `waiting` where n is below `FEW`, or not known: there a queue alone can be what makes
them slow. Where n is larger only bursts or the pauses of a collector can, and it rises by `queued`, but by no less than
`LEAST` per octave, as those pauses do, and no more than `waiting`. Other bounds, on errors or a quantile, by `queued`.

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
FEW = 60.0  # requests in the time of the bound
LEAST = 1.0  # of g per octave


@dataclass(frozen=True)
class Pods:
    """Pods at their scale point, of one assignment or of many (arrays): `full` is their rho, `cores` their limit."""

    full: Floats | float
    cores: Floats | float


@dataclass(frozen=True)
class Slow:
    """A bound b on the part of slow requests, and n of the pods, None where that is not known."""

    bound: float
    turns: Floats | float | None = None


def rise(before: Floats | float, after: Floats | float, slow: Slow | None) -> Floats:
    """The rise of g from one rho to another; not below 0. Beyond `MOST_FULL` it is as from so much less to that.

    Args:
        slow: the bound; None for one that is not on slow requests.
    """
    within = np.minimum(MOST_FULL / np.asarray(after, dtype=np.float64), 1.0)
    low, high = before * within, after * within
    queued = np.maximum(QUEUED * (np.log2((1 - low) / (1 - high)) - (high - low) / np.log(2.0)), 0.0)
    if slow is None:
        return np.asarray(queued)
    least = np.maximum(LEAST * np.log2(np.asarray(after) / before), 0.0)
    waiting = np.maximum(np.log(1 / slow.bound) * (high - low) / (1 - high), least)
    if slow.turns is None:
        return np.asarray(waiting)
    return np.asarray(np.where(np.asarray(slow.turns) < FEW, waiting, np.minimum(np.maximum(queued, least), waiting)))


__all__ = ["FEW", "LEAST", "MOST_FULL", "QUEUED", "STEEPEST", "Pods", "Slow", "rise"]
