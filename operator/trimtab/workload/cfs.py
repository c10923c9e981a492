"""CPU limits as the Linux kernel enforces them: CFS bandwidth control.

A container with a limit of L cores gets a quota Q = L * P of CPU time per period P (100 ms in Kubernetes). Its
threads run at full speed until the quota of the period is used up and are then all stopped until the next period.
So a limit does not make a request slower by a factor; it makes SOME requests late by up to a period or more. That
is why the model tracks the backlog of CPU work from period to period instead of scaling a service rate.

Sources: P. Turner, B. B. Rao, N. Rao, "CPU bandwidth control for CFS", Linux Symposium 2010; kernel documentation
Documentation/scheduler/sched-bwc.rst (nr_periods, nr_throttled); D. V. Lindley, "The theory of queues with a
single server" (1952) for the recursion of the backlog B' = (B + A - Q)^+.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc

FloatArray = NDArray[np.float64]

PERIOD_S: Final = 0.1
"""`cpu.cfs_period_us` of Kubernetes, in seconds."""

_PHASES: Final = 8
"""Arrival instants within a period at which the stall is evaluated (midpoints)."""
_LATTICE: Final = 96
"""Lattice points of the backlog's law at most. BLAS solves systems of up to 100 unknowns in the calling thread; with
more it starts its own, which wait for each other for ever on a busy machine (50 times slower, measured)."""


def duty_cycle(limit_cores: float, runnable_threads: float) -> float:
    """Fraction of each period in which CPU-bound threads run: min(1, L/n). Exact for steady CPU-bound threads."""
    if runnable_threads <= 0.0:
        return 1.0
    return min(1.0, limit_cores / runnable_threads)


def wall_seconds(cpu_seconds: float, limit_cores: float, threads: int = 1) -> float:
    """Wall-clock time of `cpu_seconds` of work on `threads` CPU-bound threads, from the start of a period. Exact.

    All full quotas but the last cost a whole period; what is left runs at full speed.
    """
    if cpu_seconds <= 0.0:
        return 0.0
    if limit_cores >= threads:
        return cpu_seconds / threads
    quota = limit_cores * PERIOD_S
    exhausted = math.ceil(cpu_seconds / quota - 1e-12) - 1
    return exhausted * PERIOD_S + (cpu_seconds - exhausted * quota) / threads


@dataclass(frozen=True, slots=True)
class Stall:
    """How long requests are kept from the CPU by an exhausted quota."""

    delays_s: FloatArray
    """shape (m,): possible delays, the first is 0."""
    weights: FloatArray
    """shape (m,): probabilities of accepted requests, sum 1."""
    lost: float
    """Fraction of requests that find the bounded backlog full, or would wait too long."""
    throttled: float
    """Fraction of periods in which the quota is exhausted (nr_throttled / nr_periods)."""

    @property
    def mean_s(self) -> float:
        """Mean delay of an accepted request."""
        return float(self.delays_s @ self.weights)


@lru_cache(maxsize=256)
def _lattice_arrivals(mean: float, dispersion: float, size: int) -> FloatArray:
    """Law of the work that arrives in a time with `mean` of it, on the lattice 0..size-1; shape (size,).

    Gamma with variance = dispersion * mean (bursts, uneven work per request). Its mass is split linearly between
    neighbouring lattice points, which keeps the mean and the stochastic order in `mean`. The last point takes the
    rest of the tail.
    """
    if mean <= 1e-12:
        pmf = np.zeros(size)
        pmf[0] = 1.0
        return pmf
    shape, scale = mean / dispersion, dispersion
    x = np.arange(size + 1) / scale
    # E[(A - i)^+] for i = 0..size: its second difference is the split mass.
    excess = mean * (1.0 - gammainc(shape + 1.0, x)) - np.arange(size + 1) * (1.0 - gammainc(shape, x))
    tail = -np.diff(excess)  # in [0, 1]: split-law P(A > i) for i = 0..size-1
    pmf = np.empty(size)
    pmf[0] = 1.0 - tail[0]
    pmf[1:] = tail[:-1] - tail[1:]
    pmf[-1] += tail[-1]
    return np.maximum(pmf, 0.0)


def _stationary_backlog(arrivals: FloatArray, quota: float, bound: int) -> FloatArray:
    """Stationary law of B' = min(bound, (B + A - quota)^+) on the lattice 0..bound; shape (bound+1,).

    A quota between two lattice points mixes them, again order preserving.
    """
    low = math.floor(quota)
    part = quota - low
    cumulative = np.minimum(np.cumsum(arrivals), 1.0)
    cumulative[-1] = 1.0

    def at_most(k: NDArray[np.int64]) -> FloatArray:
        """P(A <= k)"""
        return np.where(k < 0, 0.0, cumulative[np.clip(k, 0, len(cumulative) - 1)])

    state = np.arange(bound + 1)
    gap = state[None, :] - state[:, None] + low  # A <= gap  <=>  B' <= column, when the quota is `low`
    below = (1.0 - part) * at_most(gap) + part * at_most(gap + 1)
    below[:, bound] = 1.0
    step = np.diff(below, axis=1, prepend=0.0)
    system = step.T - np.eye(bound + 1)
    system[-1, :] = 1.0
    right = np.zeros(bound + 1)
    right[-1] = 1.0
    law = np.maximum(np.linalg.solve(system, right), 0.0)
    return np.asarray(law / law.sum())


def _spread_tail(pmf: FloatArray, at: FloatArray) -> FloatArray:
    """P(X > at) of a lattice law whose mass at i is spread over (i-1/2, i+1/2]; continuous in `at`."""
    edges = np.arange(len(pmf) + 1) - 0.5
    tail = np.concatenate(([1.0], 1.0 - np.cumsum(pmf)))
    return np.asarray(np.interp(at, edges, np.maximum(tail, 0.0), left=1.0, right=0.0))


@lru_cache(maxsize=4096)
def quota_stall(
    arrivals_per_s: float, burstiness: float, work_cv2: float, served_per_s: float, bound: int, longest_s: float
) -> Stall:
    """Stall of requests under a CPU quota that serves `served_per_s` requests per second on average.

    Args: `burstiness` variance/mean of arrivals (requests come in batches); `work_cv2` squared coefficient of
    variation of a request's CPU work; `bound` requests in the pod at most; who would wait longer than `longest_s` is
    lost. In-period processing is taken as instant (threads run on whole cores while there is quota).

    An arrival at phase u of its period has in front of it the backlog B, what arrived earlier in the period, and the
    (burstiness - 1)/2 requests of its own batch that come before it on average. With its own work that makes V; it
    is served in the k-th next period, V in (kq, (k+1)q], and waits k*P - u.
    Cached: it depends on a few numbers only, and neighbours in a search ask for the same ones.
    """
    unit = max(1.0, bound / _LATTICE)  # requests per lattice point
    top = math.ceil(bound / unit)
    quota = max(served_per_s, 1e-3) * PERIOD_S / unit
    per_period = arrivals_per_s * PERIOD_S / unit
    size = 2 * top + 2
    dispersion, mates = (burstiness + work_cv2) / unit, 0.5 * (burstiness - 1.0) / unit
    arrivals = _lattice_arrivals(per_period, dispersion, size)
    backlog = _stationary_backlog(arrivals, min(quota, size - 2.0), top)
    throttled = float(_spread_tail(np.convolve(backlog, arrivals), np.array([quota]))[0])
    waiting = np.convolve(backlog, _lattice_arrivals(mates, mates, size))
    periods = np.arange(1, min(math.ceil(top / quota), math.ceil(longest_s / PERIOD_S)) + 2)
    at = np.minimum(periods * quota, top + quota) - 1.0 / unit
    delays, weights, lost = [np.zeros(1)], [np.zeros(1)], 0.0
    for phase in (np.arange(_PHASES) + 0.5) / _PHASES:
        ahead = np.convolve(waiting, _lattice_arrivals(per_period * phase, dispersion, size))
        tail = _spread_tail(ahead, at)
        lost += float(tail[-1]) / _PHASES
        delays.append((periods[:-1] - phase) * PERIOD_S)
        weights.append((tail[:-1] - tail[1:]) / _PHASES)
    weight = np.concatenate(weights)
    weight[0] = max(1.0 - lost - float(weight.sum()), 1e-12)  # never empty, though all may be lost
    keep = weight > 1e-13
    kept = weight[keep]
    return Stall(np.concatenate(delays)[keep], np.asarray(kept / kept.sum()), lost, throttled)
