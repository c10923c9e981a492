"""The covariance of one constraint's g, and its derivatives in the logs of its scales.

Notation: n rows, D encoded columns, G lengthscales (columns of one group share one), all arrays float64.
  k(x, x') = sf^2 M52(r) M52(|z - z'| / lz) [(1 - w) + w exp(-|t - t'| / T)] + s0^2 + sum_i sb_i^2 c_i c'_i + sz^2 z z'
  r^2 = sum_i (u_i - u'_i)^2 / l_{g(i)}^2,  c = u - 1/2,  M52(r) = (1 + sqrt5 r + 5 r^2 / 3) exp(-sqrt5 r)
The last three terms are the marginalized constant and linear trend. M52: Rasmussen and Williams, Gaussian Processes
for Machine Learning (2006), eq. 4.17; d M52 / d log l = (5/3) (1 + sqrt5 r) exp(-sqrt5 r) (u - u')^2 / l^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

AGE_WEIGHT = 0.3
AGE_SECONDS = 7 * 86400.0
_ROOT5 = float(np.sqrt(5.0))


@dataclass(frozen=True)
class Inputs:
    """Where rows were (or would be) measured: `u` (n, D), `z` = log2(load / reference) (n,), `t` unix seconds (n,)."""

    u: Floats
    z: Floats
    t: Floats

    def __len__(self) -> int:
        return len(self.z)

    def part(self, begin: int, end: int) -> Inputs:
        """Rows from `begin` to before `end`."""
        return Inputs(self.u[begin:end], self.z[begin:end], self.t[begin:end])


@dataclass(frozen=True)
class Scales:
    """Hyperparameters: lengthscales `l` (G,) and `lz`, amplitude `sf`, sd of the trial effect `tau`."""

    l: Floats  # noqa: E741 - the name of the formula
    lz: float
    sf: float
    tau: float


@dataclass(frozen=True)
class Trend:
    """Prior of the marginalized trend: mean m0 + b.(u - 1/2) + bz z with sd s0, sb (each column) and sz."""

    m0: float
    s0: float
    b: Floats
    sb: Floats
    bz: float
    sz: float

    def mean(self, at: Inputs) -> Floats:
        """Shape: (n,)."""
        return np.asarray(self.m0 + (at.u - 0.5) @ self.b + self.bz * at.z)

    def covariance(self, one: Inputs, other: Inputs) -> Floats:
        """Shape: (n, n')."""
        return np.asarray(self._features(one) @ self._features(other).T)

    def _features(self, at: Inputs) -> Floats:
        """[s0, sb (u - 1/2), sz z]. Shape: (n, D + 2)."""
        return np.column_stack([np.full(len(at), self.s0), (at.u - 0.5) * self.sb, self.sz * at.z])

    def variance(self, at: Inputs) -> Floats:
        """Shape: (n,)."""
        return np.asarray(self.s0**2 + (at.u - 0.5) ** 2 @ self.sb**2 + self.sz**2 * at.z**2)


def matern52(r: Floats) -> Floats:
    """(1 + sqrt5 r + 5 r^2 / 3) exp(-sqrt5 r), elementwise."""
    s = _ROOT5 * r
    decay = np.exp(-s)
    shape = s * s
    shape /= 3.0
    shape += s
    shape += 1.0
    shape *= decay
    return np.asarray(shape)


def _shape_and_slope(r2: Floats) -> tuple[Floats, Floats]:
    """M52 and (5/3) (1 + sqrt5 r) exp(-sqrt5 r) of squared distances, elementwise."""
    s = np.sqrt(r2)
    s *= _ROOT5
    decay = np.exp(-s)
    shape = s * s
    shape /= 3.0
    s += 1.0
    shape += s
    shape *= decay
    s *= 5.0 / 3.0
    s *= decay
    return shape, s


class TrainingKernel:
    """The n x n covariance of the training rows as a function of the scales, with everything constant precomputed."""

    def __init__(self, at: Inputs, groups: Ints, trend: Trend) -> None:
        n = len(at)
        count = int(groups.max()) + 1
        squares = np.zeros((count, n * n))
        for column, group in enumerate(groups):
            difference = at.u[:, column, None] - at.u[None, :, column]
            squares[group] += (difference * difference).ravel()
        self._squares = squares
        self._dz2 = (at.z[:, None] - at.z[None, :]) ** 2
        self._fixed_age = _age(at.t, at.t)
        self._trend = trend.covariance(at, at)
        self._n = n

    def value(self, scales: Scales) -> Floats:
        """Shape: (n, n)."""
        return self._parts(scales)[0] + self._trend

    def value_and_weights(self, scales: Scales) -> tuple[Floats, KernelGradient]:
        """The covariance and what its derivatives need."""
        stationary, shape_u, slope_u, shape_z, slope_z, rz2 = self._parts(scales)
        base = scales.sf**2 * self._fixed_age
        gradient = KernelGradient(
            self._squares, scales, base * shape_z * slope_u, base * shape_u * slope_z * rz2, stationary
        )
        return stationary + self._trend, gradient

    def _parts(self, scales: Scales) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
        n = self._n
        shape_u, slope_u = _shape_and_slope((scales.l**-2.0) @ self._squares)
        shape_u, slope_u = shape_u.reshape(n, n), slope_u.reshape(n, n)
        rz2 = self._dz2 / scales.lz**2
        shape_z, slope_z = _shape_and_slope(rz2)
        stationary = scales.sf**2 * self._fixed_age * shape_u * shape_z
        return stationary, shape_u, slope_u, shape_z, slope_z, rz2


@dataclass(frozen=True)
class KernelGradient:
    """Derivatives of the covariance, contracted: `contract(B)` gives sum(B * dK / d log p) for every scale p."""

    squares: Floats
    scales: Scales
    by_u: Floats
    by_z: Floats
    stationary: Floats

    def contract(self, weight: Floats) -> tuple[Floats, float, float]:
        """(d/d log l (G,), d/d log lz, d/d log sf) of sum(weight * K); weight (n, n), symmetric or not."""
        lengths = (self.squares @ (weight * self.by_u).ravel()) * self.scales.l**-2.0
        return lengths, float(np.sum(weight * self.by_z)), 2.0 * float(np.sum(weight * self.stationary))


def cross(one: Inputs, other: Inputs, groups: Ints, scales: Scales, trend: Trend) -> Floats:
    """k(one, other) with the trend. Shape: (n, n')."""
    widths = scales.l[groups]
    a, b = one.u / widths, other.u / widths
    r2 = a @ b.T
    r2 *= -2.0
    r2 += (a * a).sum(1)[:, None]
    r2 += (b * b).sum(1)[None, :]
    np.maximum(r2, 0.0, out=r2)
    shape = matern52(np.sqrt(r2, out=r2))
    z = one.z[:1] if _constant(one.z) else one.z
    shape *= matern52(np.abs(z[:, None] - other.z[None, :]) / scales.lz)
    shape *= scales.sf**2 * _age(one.t, other.t)
    shape += trend.covariance(one, other)
    return np.asarray(shape)


def variance(at: Inputs, scales: Scales, trend: Trend) -> Floats:
    """k(x, x) of each row. Shape: (n,)."""
    return scales.sf**2 + trend.variance(at)


def _age(one: Floats, other: Floats) -> Floats:
    """(1 - w) + w exp(-|t - t'| / T): what is old still counts, but less."""
    if _constant(one):
        one = one[:1]
    return np.asarray((1 - AGE_WEIGHT) + AGE_WEIGHT * np.exp(-np.abs(one[:, None] - other[None, :]) / AGE_SECONDS))


def _constant(values: Floats) -> bool:
    """Whether all values are the same, so that one row stands for all."""
    return len(values) > 0 and bool(np.all(values == values[0]))
