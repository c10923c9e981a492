"""Queueing formulas: a pool of workers with a bounded queue.

Notation: `c` workers, `K` places to wait, offered load `a = lambda * h` in erlangs (arrivals per second times mean
holding time), `r = a / c` utilization.

Sources:
- A. K. Erlang (1917); loss and delay formulas B and C: L. Kleinrock, Queueing Systems I (1975), sections 3.4-3.8.
  M/M/c/K with K waiting places: D. Gross et al., Fundamentals of Queueing Theory, 4th ed. (2008), section 2.5.
- G/G/c: A. O. Allen, Probability, Statistics and Queueing Theory (1990), section 5.2.2 (Allen-Cunneen): the wait of
  M/M/c stretched by (ca^2 + cs^2)/2, exact for M/M/c and, in the mean, for M/G/1 (Pollaczek-Khinchine).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc

FloatArray = NDArray[np.float64]

_TINY: Final = 1e-300


def erlang_b(workers: int, offered: float) -> float:
    """Probability that all workers are busy when nobody can wait (Erlang B), by the stable recursion."""
    blocked = 1.0
    for n in range(1, workers + 1):
        blocked = offered * blocked / (n + offered * blocked)
    return blocked


def erlang_c(workers: int, offered: float) -> float:
    """Probability that an arrival waits in M/M/c (Erlang C); 1 when the pool is overloaded."""
    if offered >= workers:
        return 1.0
    blocked = erlang_b(workers, offered)
    return blocked / (1.0 - offered / workers * (1.0 - blocked))


def wait_tail(workers: int, offered: float, holding_s: float, stretch: float, t: FloatArray) -> FloatArray:
    """P(wait > t) in G/G/c with an endless queue; exact for M/M/c (`stretch` = 1).

    `stretch` is (ca^2 + cs^2)/2; t: seconds, shape (m,); needs offered < workers.
    """
    rate = (workers - offered) / (holding_s * stretch)
    return np.asarray(erlang_c(workers, offered) * np.exp(-rate * t))


@dataclass(frozen=True, slots=True)
class PoolState:
    """What an arrival meets at a worker pool with a bounded queue."""

    lost: float
    """Fraction of arrivals that find no place (M/M/c/c+K blocking probability)."""
    found: FloatArray
    """shape (K,): P(an ACCEPTED arrival finds j requests waiting and all workers busy), j = 0..K-1."""

    @property
    def waits(self) -> float:
        """Probability that an accepted arrival has to wait."""
        return float(self.found.sum())


def bounded_pool(workers: int, places: int, offered: float) -> PoolState:
    """Stationary state of M/M/c with `places` waiting places, seen by arrivals (PASTA); any offered load."""
    if offered <= 0.0:
        return PoolState(0.0, np.zeros(places))
    n = np.arange(1, workers + places + 1)
    steps = math.log(offered) - np.log(np.minimum(n, workers))
    log_p = np.concatenate(([0.0], np.cumsum(steps)))
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    lost = float(p[-1])
    accepted = max(1.0 - lost, _TINY)
    return PoolState(lost, np.asarray(p[workers:-1] / accepted))


def pool_wait_tail(state: PoolState, workers: int, holding_s: float, stretch: float, t: FloatArray) -> FloatArray:
    """P(wait > t | accepted) at a bounded pool: with j ahead the wait is Erlang(j+1) at rate c/holding; shape (m,)."""
    x = np.asarray(t, dtype=float) * workers / (holding_s * stretch)
    likely = np.flatnonzero(state.found > 1e-15)
    tails = gammaincc(likely[None, :] + 1.0, x[:, None])
    return np.asarray(np.einsum("ij,j->i", tails, state.found[likely]))  # not BLAS: see cfs.py on its threads


def pool_wait_nodes(
    state: PoolState, workers: int, holding_s: float, stretch: float, nodes: int = 16
) -> tuple[FloatArray, FloatArray]:
    """Discrete wait of accepted arrivals: values in seconds and weights (sum 1), at fixed quantiles.

    Fixed quantile levels keep the stochastic order: a longer holding time moves every node to the right and none to
    the left, so a model built on them stays monotone.
    """
    waits = state.waits
    if waits < 1e-9:
        return np.zeros(1), np.ones(1)
    unit = holding_s * stretch / workers
    longest = len(state.found) + 10.0 * math.sqrt(len(state.found)) + 20.0
    t = np.concatenate(([0.0], np.geomspace(1e-3, longest, 96))) * unit
    tail = pool_wait_tail(state, workers, holding_s, stretch, t) / waits
    level, weight = np.polynomial.legendre.leggauss(nodes)
    level, weight = 0.5 * (level + 1.0), 0.5 * weight
    values = np.interp(level, tail[::-1], t[::-1])
    return np.concatenate(([0.0], values)), np.concatenate(([1.0 - waits], waits * weight))
