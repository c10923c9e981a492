"""The two candidates for the surrogate, side by side: our numpy/scipy fit and scikit-learn's regressor with MAP hooks.

Run with `python benchmarks/suggest/backends.py [--quick]`. Both fit the same working data (values with per-row noise
and a shared trial effect) with the same kernel and priors; scikit-learn through its `Kernel` API with gradients, its
`alpha` for the noise and its `optimizer` hook for priors and L-BFGS-B. Prints CPU milliseconds per fit (median),
milliseconds for predicting 1,600 points, and how far the two optima are apart.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "operator"), str(ROOT)]
os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import numpy as np  # noqa: E402 - after the number of threads is set
from benchmarks.suggest.problem import study  # noqa: E402
from scipy.optimize import minimize  # noqa: E402
from sklearn.gaussian_process import GaussianProcessRegressor  # noqa: E402
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel  # noqa: E402

from trimtab.optimize.data import build_rows, load_scale  # noqa: E402
from trimtab.optimize.encoding import Encoder  # noqa: E402
from trimtab.optimize.kernel import Inputs, Scales, TrainingKernel, cross, variance  # noqa: E402
from trimtab.optimize.surrogate import THETA_LIMIT, Prior, Rows, _Problem, fit, prior_for  # noqa: E402

Floats = np.ndarray
EVALUATIONS = 400


class MapKernel(Kernel):  # type: ignore[misc]  # scikit-learn has no types
    """Our covariance behind scikit-learn's Kernel: `theta` are the whitened logs of the scales."""

    def __init__(self, whitened: Floats, groups: Floats, prior: Prior, means: Floats, sds: Floats) -> None:
        self.whitened = whitened
        self.groups = groups
        self.prior = prior
        self.means = means
        self.sds = sds

    @property
    def hyperparameter_whitened(self) -> Hyperparameter:
        return Hyperparameter("whitened", "numeric", (-THETA_LIMIT, THETA_LIMIT), len(self.whitened))

    @property
    def theta(self) -> Floats:
        return np.asarray(self.whitened)

    @theta.setter
    def theta(self, value: Floats) -> None:
        self.whitened = np.asarray(value)

    @property
    def bounds(self) -> Floats:
        return np.tile([-THETA_LIMIT, THETA_LIMIT], (len(self.whitened), 1))

    def _scales(self) -> Scales:
        p = np.exp(self.means + self.sds * self.whitened)
        return Scales(p[:-3], float(p[-3]), float(p[-2]), float(p[-1]))

    def __call__(self, X: Floats, Y: Floats | None = None, eval_gradient: bool = False):  # type: ignore[no-untyped-def]
        one, scales = _inputs(X), self._scales()
        if Y is not None:
            return cross(one, _inputs(Y), self.groups, scales, self.prior.trend)
        same = (X[:, None, -1] == X[None, :, -1]).astype(float)
        kernel, weights = TrainingKernel(one, self.groups, self.prior.trend).value_and_weights(scales)
        kernel = kernel + scales.tau**2 * same
        if not eval_gradient:
            return kernel
        n, count = len(X), len(self.whitened) - 3
        gradient = np.empty((n, n, len(self.whitened)))
        for i in range(count):
            gradient[:, :, i] = weights.by_u * weights.squares[i].reshape(n, n) * scales.l[i] ** -2
        gradient[:, :, count] = weights.by_z
        gradient[:, :, count + 1] = 2 * weights.stationary
        gradient[:, :, count + 2] = 2 * scales.tau**2 * same
        return kernel, gradient * self.sds

    def diag(self, X: Floats) -> Floats:
        return np.asarray(variance(_inputs(X), self._scales(), self.prior.trend))

    def is_stationary(self) -> bool:
        return False


def _inputs(X: Floats) -> Inputs:
    return Inputs(X[:, :-3], X[:, -3], X[:, -2])


def map_optimizer(
    objective: Callable[..., tuple[float, Floats]], start: Floats, bounds: Floats
) -> tuple[Floats, float]:
    """scikit-learn's hook: minus log evidence plus the priors, by L-BFGS-B."""

    def penalized(theta: Floats) -> tuple[float, Floats]:
        value, gradient = objective(theta, eval_gradient=True)
        return value + 0.5 * float(theta @ theta), gradient + theta

    options = {"maxfun": EVALUATIONS, "ftol": 1e-6, "gtol": 1e-3}
    result = minimize(penalized, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return result.x, result.fun


def working_rows(dimensions: int, n: int, seed: int) -> tuple[Rows, Encoder, Prior]:
    """The slow ratio's rows of a study as plain values, so that both candidates have the same task."""
    one = study(dimensions, n, seed)
    encoder = Encoder(one.space)
    target = one.constraints[0]
    rows = build_rows(one, target, encoder, load_scale(one), ())
    plain = Rows(
        rows.at, rows.y, rows.v, np.full(n, np.nan), np.full(n, np.nan), rows.phi, rows.trial, rows.canary
    )  # fmt: skip
    return plain, encoder, prior_for(target.kind, True, encoder.signs, dimensions)


def compare(dimensions: int, n: int, repeats: int) -> dict[str, float]:
    """Median CPU milliseconds and the largest difference of the two MAP objectives."""
    times: dict[str, list[float]] = {"ours": [], "sklearn": [], "ours_predict": [], "sklearn_predict": []}
    gap = 0.0
    for seed in range(repeats):
        rows, encoder, prior = working_rows(dimensions, n, seed)
        rng = np.random.default_rng(seed)
        query = Inputs(rng.uniform(size=(1600, dimensions)), np.zeros(1600), np.full(1600, rows.at.t[-1]))
        problem = _Problem(rows, encoder.groups, prior)
        X = np.column_stack([rows.at.u, rows.at.z, rows.at.t, rows.trial])
        Q = np.column_stack([query.u, query.z, query.t, -np.ones(1600)])
        residual = rows.y - prior.trend.mean(rows.at)

        started = process_time()
        model = fit(rows, encoder.groups, prior, EVALUATIONS)
        times["ours"].append(process_time() - started)
        started = process_time()
        model.predict(query)
        times["ours_predict"].append(process_time() - started)

        kernel = MapKernel(np.zeros(problem.size), encoder.groups, prior, problem.means, problem.sds)
        started = process_time()
        noise = np.maximum(rows.v, 1e-4)
        regressor = GaussianProcessRegressor(kernel, alpha=noise, optimizer=map_optimizer).fit(X, residual)
        times["sklearn"].append(process_time() - started)
        started = process_time()
        regressor.predict(Q, return_std=True)
        times["sklearn_predict"].append(process_time() - started)
        best = [problem.objective(t, model.y, model.v)[0] for t in (model.theta, regressor.kernel_.theta)]
        gap = max(gap, abs(best[0] - best[1]))
    return {name: 1000 * statistics.median(values) for name, values in times.items()} | {"gap": gap}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two sizes, few repeats")
    options = parser.parse_args()
    sizes = ((50, 4), (100, 8)) if options.quick else ((20, 2), (50, 4), (100, 4), (100, 8), (200, 8))
    print("rows   d  fit: ours  sklearn   predict: ours  sklearn   objective gap")
    for n, d in sizes:
        row = compare(d, n, 5 if options.quick else 15)
        print(
            f"{n:4d} {d:3d} {row['ours']:10.1f} {row['sklearn']:8.1f} {row['ours_predict']:15.1f} "
            f"{row['sklearn_predict']:8.1f} {row['gap']:15.1e}"
        )


if __name__ == "__main__":
    main()
