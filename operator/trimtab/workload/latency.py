"""The distribution of a request's latency: a service time plus discrete delays.

T = D + X, D the request's own time (lognormal or exponential), X one of finitely many delays (waiting for a worker,
stalled by the CPU quota, paused by the collector), so that P(T <= t) = sum_i w_i F_D(t - x_i) can be computed at any
histogram bound, with as many digits as a test wants and no simulation. Moving any delay to the right, or weight from
a small delay to a larger one, lowers the whole distribution function: that is what makes the model monotone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

FloatArray = NDArray[np.float64]
Family = Literal["Lognormal", "Exponential"]

_POINTS: Final = 600
_STEEPNESS: Final = 8.0


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """A positive random time with the given mean (seconds) and coefficient of variation (1 for Exponential)."""

    mean_s: float
    cv: float
    family: Family = "Lognormal"

    def cdf(self, t: FloatArray) -> FloatArray:
        """P(time <= t), any shape; 0 for t <= 0 unless the time is 0."""
        if self.mean_s <= 0.0:
            return np.where(t >= 0.0, 1.0, 0.0)
        positive = np.maximum(t, 1e-12)
        if self.family == "Exponential":
            return np.where(t > 0.0, -np.expm1(-positive / self.mean_s), 0.0)
        sigma = math.sqrt(math.log1p(self.cv**2))
        mu = math.log(self.mean_s) - 0.5 * sigma**2
        return np.where(t > 0.0, ndtr((np.log(positive) - mu) / sigma), 0.0)

    def nodes(self, count: int) -> tuple[FloatArray, FloatArray]:
        """`count` values and weights at fixed quantile levels that keep the mean; scaling the mean scales them."""
        level = (np.arange(count) + 0.5) / count
        if self.family == "Exponential":
            values = -np.log1p(-level)
        else:
            values = np.exp(math.sqrt(math.log1p(self.cv**2)) * ndtri(level))
        return np.asarray(values * (self.mean_s / values.mean())), np.full(count, 1.0 / count)


@dataclass(frozen=True)
class LatencyDistribution:
    """Latency of a pod's requests; `late` of them never get an answer in time and count as `timeout_s`."""

    service: ServiceTime
    delays_s: FloatArray
    weights: FloatArray
    timeout_s: float
    late: float = 0.0
    _buckets: dict[tuple[float, ...], FloatArray] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls, service: ServiceTime, delays: Sequence[tuple[FloatArray, FloatArray]], timeout_s: float, late: float
    ) -> LatencyDistribution:
        """Combine independent discrete delays, each given as (values, weights)."""
        lattice = _lattice(timeout_s)
        value, weight = np.zeros(1), np.ones(1)
        for more in delays:
            more_value, more_weight = _on_lattice(*more, lattice)
            value = np.add.outer(value, more_value).ravel()
            weight = np.multiply.outer(weight, more_weight).ravel()
            value, weight = _on_lattice(value, weight, lattice)
        return cls(service, value, weight / weight.sum(), timeout_s, late)

    def cdf(self, t: ArrayLike) -> FloatArray:
        """P(latency <= t) of all requests; t in seconds, shape (m,) -> (m,)."""
        at = np.atleast_1d(np.asarray(t, dtype=float))
        each = self.service.cdf(at[:, None] - self.delays_s[None, :])
        answered = np.einsum("ij,j->i", each, self.weights)  # not BLAS: see cfs.py on its threads
        return np.where(at >= self.timeout_s, 1.0, (1.0 - self.late) * np.minimum(answered, 1.0))

    def fraction_over(self, threshold_s: float) -> float:
        """P(latency > threshold): the "slow fraction" that a latency SLO bounds."""
        return float(1.0 - self.cdf(threshold_s)[0])

    def bucket_probabilities(self, bounds_s: Sequence[float]) -> FloatArray:
        """P(a request falls into each bucket); shape (len(bounds)+1,), the last bucket is (bounds[-1], inf)."""
        known = self._buckets.get(tuple(bounds_s))
        if known is None:
            cumulative = np.append(self.cdf(bounds_s), 1.0)
            known = np.maximum(np.diff(cumulative, prepend=0.0), 0.0)
            self._buckets[tuple(bounds_s)] = known
        return known

    @cached_property
    def timed_out(self) -> float:
        """Fraction of requests that are not answered within the timeout (including `late`)."""
        answered = float(self.service.cdf(self.timeout_s - self.delays_s) @ self.weights)
        return 1.0 - (1.0 - self.late) * min(answered, 1.0)

    def quantile(self, q: float) -> float:
        """Smallest t with P(latency <= t) >= q, in seconds, by bisection; never above the timeout."""
        low, high = 0.0, self.timeout_s
        for _ in range(40):
            middle = 0.5 * (low + high)
            if float(self.cdf(middle)[0]) >= q:
                high = middle
            else:
                low = middle
        return high

    @property
    def mean_s(self) -> float:
        """E[min(latency, timeout)] in seconds."""
        return self._moments[0]

    @property
    def sd_s(self) -> float:
        """Standard deviation of min(latency, timeout) in seconds."""
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[float, float]:
        """Mean and standard deviation: E[T] and E[T^2]/2 are the integrals of P(T > t) and t P(T > t)."""
        t = np.concatenate(([0.0], np.geomspace(1e-4, self.timeout_s, 240)))
        over = 1.0 - self.cdf(t)
        over[-1] = self.timed_out
        mean = float(np.trapezoid(over, t))
        square = 2.0 * float(np.trapezoid(t * over, t))
        return mean, math.sqrt(max(square - mean * mean, 0.0))


def _lattice(longest: float) -> FloatArray:
    """Points from 0 to `longest`: fine near 0 (1e-5 of the length), 1.3 % apart further out; shape (601,)."""
    return np.asarray(longest * np.sinh(np.linspace(0.0, _STEEPNESS, _POINTS + 1)) / math.sinh(_STEEPNESS))


def _on_lattice(value: FloatArray, weight: FloatArray, lattice: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The same delays on fixed points, mass split linearly between neighbours: mean and stochastic order stay.

    It bounds the work, however many delays are combined, and must be done always: done only when there are many, it
    would make two nearly equal inputs differ by the error of the lattice.
    """
    at = np.minimum(value, lattice[-1])
    low = np.clip(np.searchsorted(lattice, at, side="right") - 1, 0, len(lattice) - 2)
    part = (at - lattice[low]) / (lattice[low + 1] - lattice[low])
    size = len(lattice)
    mass = np.bincount(low, weight * (1.0 - part), size) + np.bincount(low + 1, weight * part, size)
    keep = mass > 1e-12
    return lattice[keep], np.asarray(mass[keep], dtype=float)
