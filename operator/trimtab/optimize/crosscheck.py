"""A second opinion in numbers: scikit-learn's Gaussian process recomputes what is about to be recommended.

The surrogate is our own code, so before an assignment leaves the optimizer its mean and standard deviation are computed
again by `sklearn.gaussian_process.GaussianProcessRegressor` with the same kernel, written there independently. A
difference means that one of the two is wrong, and nothing is recommended. The same class, with an optimizer hook, is
the oracle of the tests and the other candidate of ADR 3. Imported only when needed: it adds some 45 MiB.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Kernel, Matern

from trimtab.domain.space import Assignment
from trimtab.optimize.kernel import AGE_SECONDS, AGE_WEIGHT, Scales, Trend
from trimtab.optimize.safe import Belief
from trimtab.optimize.surrogate import JITTERS, Posterior

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TOLERANCE = 1e-5


class TrialKernel(Kernel):  # type: ignore[misc]  # scikit-learn has no types
    """k of `kernel.py` plus the shared trial effect, for rows [u (D), z, t, trial]; trial < 0 shares with nobody."""

    def __init__(self, scales: Scales, groups: Ints, trend: Trend) -> None:
        self.scales = scales
        self.groups = groups
        self.trend = trend

    def __call__(self, X: Floats, Y: Floats | None = None, eval_gradient: bool = False) -> Floats:
        """Shape: (n, n'). Gradients are not offered.

        Raises:
            ValueError: a gradient was asked for.
        """
        if eval_gradient:
            raise ValueError("this kernel has fixed scales")
        other = X if Y is None else Y
        width = len(self.groups)
        lengths = self.scales.l[self.groups]
        shape = Matern(length_scale=lengths, nu=2.5)(X[:, :width], other[:, :width])
        load = Matern(length_scale=self.scales.lz, nu=2.5)(X[:, width : width + 1], other[:, width : width + 1])
        age = np.abs(X[:, None, width + 1] - other[None, :, width + 1]) / AGE_SECONDS
        fading = (1.0 - AGE_WEIGHT) + AGE_WEIGHT * np.exp(-age)
        centred, centred_other = X[:, :width] - 0.5, other[:, :width] - 0.5
        line = self.trend.s0**2 + np.einsum("id,jd,d->ij", centred, centred_other, self.trend.sb**2)
        line += self.trend.sz**2 * np.multiply.outer(X[:, width], other[:, width])
        trial, trial_other = X[:, -1], other[:, -1]
        shared = (trial[:, None] == trial_other[None, :]) & (trial[:, None] >= 0)
        return np.asarray(self.scales.sf**2 * shape * load * fading + line + self.scales.tau**2 * shared)

    def diag(self, X: Floats) -> Floats:
        """Shape: (n,)."""
        return np.asarray([float(self(X[i : i + 1])[0, 0]) for i in range(len(X))])

    def is_stationary(self) -> bool:
        return False


def oracle(model: Posterior) -> GaussianProcessRegressor:
    """scikit-learn's regressor conditioned on the model's working data with its scales."""
    kernel = TrialKernel(model.scales, model.groups, model.prior.trend)
    regressor = GaussianProcessRegressor(kernel=kernel, alpha=model.v + JITTERS[0], optimizer=None)
    rows = model.rows
    inputs = np.column_stack([rows.at.u, rows.at.z, rows.at.t, rows.trial.astype(float)])
    return regressor.fit(inputs, model.y - model.prior.trend.mean(rows.at))


def disagreement(belief: Belief, assignment: Assignment) -> str:
    """What differs between the two implementations at one assignment; "" when they agree on every bound at peak
    and on every measured SLI of an objective."""
    u = belief.encoder.encode([assignment])
    peak, usual = belief.inputs(u), belief.aims.inputs(u)
    bounds = [(target, model, peak) for target, model in zip(belief.targets, belief.models, strict=True)]
    aims = [(target, model, usual) for target, model in zip(belief.study.measured, belief.aims.models, strict=True)]
    for target, model, at in (*bounds, *aims):
        mean, sd = model.predict(at)
        query = np.column_stack([at.u, at.z, at.t, -np.ones(1)])
        other, other_sd = oracle(model).predict(query, return_std=True)
        other = other + model.prior.trend.mean(at)
        gap = max(abs(float(mean[0] - other[0])), abs(float(sd[0] - other_sd[0])))
        if not gap <= TOLERANCE * (1.0 + abs(float(mean[0])) + float(sd[0])):
            return (
                f"{target.name}: {mean[0]:.6g} +- {sd[0]:.6g} here, {other[0]:.6g} +- {other_sd[0]:.6g} by scikit-learn"
            )
    return ""
