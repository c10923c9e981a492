"""A plain Gaussian process with fixed hyperparameters, for SafeOpt's rule: squared exponential, noise, mean 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class FixedGP:
    """Rasmussen and Williams 2006, algorithm 2.1. `x` (n, d), `y` (n,), `noise` (n,) variances."""

    def __init__(self, x: Floats, y: Floats, noise: Floats, lengthscale: float, variance: float) -> None:
        self._x, self._l, self._v = x, lengthscale, variance
        self._chol = np.linalg.cholesky(self._k(x, x) + np.diag(noise + 1e-8))
        self._alpha = np.linalg.solve(self._chol.T, np.linalg.solve(self._chol, y))

    def predict(self, at: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation without noise. Shapes: (m,), (m,)."""
        cross = self._k(self._x, at)
        half = np.linalg.solve(self._chol, cross)
        return cross.T @ self._alpha, np.sqrt(np.maximum(self._v - np.sum(half**2, axis=0), 1e-12))

    def covariance(self, at: Floats, others: Floats) -> Floats:
        """Posterior covariance of one point (1, d) with others (m, d). Shape: (m,)."""
        one = np.linalg.solve(self._chol, self._k(self._x, at))
        many = np.linalg.solve(self._chol, self._k(self._x, others))
        return np.asarray((self._k(at, others) - one.T @ many)[0])

    def _k(self, a: Floats, b: Floats) -> Floats:
        square = np.sum((a[:, None, :] - b[None, :, :]) ** 2, axis=-1)
        return np.asarray(self._v * np.exp(-0.5 * square / self._l**2))
