"""The surrogate: one Gaussian process per constraint, in physical units.

Notation (shapes in brackets)
  n rows, D encoded columns, G lengthscales, J trials; a trial gives a canary row and a control row
  g     ln(SLI / bound): <= 0 is safe; never standardized by the sample
  f [n] latent g of each row, f ~ GP(mean, k) of `kernel.py`, plus a trial effect shared by the rows of one trial
  y [n] observed g;  v [n] its variance: max(se, 0.01)^2 for values and quantiles (delta method)
  K [n, n] covariance;  C = K + tau^2 T, T[i, j] = 1 when rows i and j belong to one trial
  Ky = C + diag(v) + jitter I;  alpha = Ky^-1 (y - mean);  e = L^-1 (y - mean) with L L' = Ky: one-step-ahead residuals
Counts: bad_i ~ Poisson(mu_i), mu_i = n_i bound e^f_i, variance phi_i mu_i (quasi-Poisson). Laplace's method by working
responses: y_i = f_i + clip(bad_i / mu_i - 1, -1, 3), v_i = phi_i / mu_i (Rasmussen and Williams 2006, ch. 3.4; Breslow
and Clayton 1993 for the alternation with the scales). Pseudo-counts would bias log ratios at few expected errors.
Scales are the mode of evidence x priors (MAP). theta = (log p - prior mean) / prior sd, so the prior mode is theta = 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError
from scipy.linalg.lapack import dpotrf, dpotri, dtrtrs
from scipy.optimize import minimize

from trimtab.domain.spec import SliKind
from trimtab.optimize.kernel import Inputs, Scales, TrainingKernel, Trend, cross, variance

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SE_FLOOR = 0.01
JITTERS = (1e-10, 1e-8, 1e-6, 1e-4, 1e-2)
BLOCK = 256
NEWTON_STEPS = 7
CONVERGED = 1e-7  # of the last Newton step: what is left is its square
ROUNDS = 2
THETA_LIMIT = 3.0
LENGTH_MODE, LENGTH_SD = 0.3, 0.6  # of the lengthscales: mode over sqrt(d), sd of the logarithm (ADR 13)
THETA_DECIMALS = 3
_WORKING_LOW, _WORKING_HIGH = -1.0, 3.0
_VARIANCE_CAP = 1e6


class NumericalFailure(ArithmeticError):
    """Not even the prior mode gives a positive definite covariance: hold."""


@dataclass(frozen=True)
class Rows:
    """Training data of one constraint.

    `y`, `v` (n,) hold values; rows with counts have `bad` (n,) finite, `expected` = n x bound and `phi` >= 1, and their
    `y`, `v` are ignored. `trial` (n,) numbers the trial of a row; `canary` (n,) is True for canary rows.
    """

    at: Inputs
    y: Floats
    v: Floats
    bad: Floats
    expected: Floats
    phi: Floats
    trial: Ints
    canary: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Prior:
    """Gaussian priors on the logs of the scales, as (mean, sd), and the trend."""

    length: tuple[float, float]
    load_length: tuple[float, float]
    amplitude: tuple[float, float]
    tau: tuple[float, float]
    trend: Trend
    least_error: float = SE_FLOOR  # of values: their standard error in g is not believed to be less


def prior_for(kind: SliKind, counts: bool, signs: Floats, parameters: int) -> Prior:
    """The priors of a bound by what its SLI is.

    Errors range over orders of magnitude, latencies and values over less. The fraction of slow requests is a latency's
    tail: flat while there is room, then a cliff, so it takes the widest and steepest (measured: ADR 3). `signs` (D,)
    turn the trend: more resource lowers g. More load raises it (the only term that is not in terms of u). Trials see
    little of the load's range and each carries an effect of its own, so the slope in load is mostly the prior's: that
    of the fraction of slow requests, 1 +- 0.5 per octave beside a kernel of 4 octaves, covers 0.3 to 2.1 (ADR 3).
    """
    form = _ERRORS if kind is SliKind.ERRORS else SLOW_RATIO if counts else _VALUES
    trend = Trend(
        m0=form.m0,
        s0=form.s0,
        b=form.slope * signs,
        sb=np.full(len(signs), form.slope_sd),
        bz=form.load,
        sz=form.load_sd,
    )
    return Prior(
        length=(math.log(LENGTH_MODE * math.sqrt(max(parameters, 1))), LENGTH_SD),
        load_length=(math.log(4.0), 0.5),
        amplitude=(math.log(form.amplitude), 0.7),
        tau=(math.log(form.tau), 1.0),
        trend=trend,
    )


@dataclass(frozen=True)
class _Form:
    """Prior constants of one kind of SLI: means and sds of the constant and of the slopes (per unit cube; per octave of
    load), modes of the scales."""

    m0: float
    s0: float
    slope: float
    slope_sd: float
    load: float
    load_sd: float
    amplitude: float
    tau: float


_VALUES = _Form(m0=0.0, s0=0.5, slope=-0.5, slope_sd=0.5, load=0.25, load_sd=0.5, amplitude=0.4, tau=0.05)
_ERRORS = _Form(m0=-0.5, s0=1.0, slope=-1.0, slope_sd=1.0, load=0.5, load_sd=1.0, amplitude=1.0, tau=0.1)
SLOW_RATIO = _Form(m0=-0.5, s0=1.0, slope=-3.0, slope_sd=3.0, load=1.0, load_sd=0.5, amplitude=1.5, tau=0.1)


@dataclass(frozen=True)
class Posterior:
    """A fitted surrogate. `theta` (G + 3,) are the whitened scales; `fallback` says why it is not the MAP fit."""

    rows: Rows
    groups: Ints
    prior: Prior
    scales: Scales
    theta: Floats
    y: Floats
    v: Floats
    chol: Floats
    alpha: Floats
    evaluations: int
    fallback: str = ""

    def predict(self, at: Inputs) -> tuple[Floats, Floats]:
        """Mean and sd of the latent g, without trial effect or noise. Shapes: (N,), (N,)."""
        if len(at) > BLOCK:  # of so few points everything stays in the processor's cache
            parts = [self.predict(at.part(i, i + BLOCK)) for i in range(0, len(at), BLOCK)]
            return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
        k = cross(at, self.rows.at, self.groups, self.scales, self.prior.trend)
        mean = self.prior.trend.mean(at) + k @ self.alpha
        half = _half(self.chol, k.T)
        var = variance(at, self.scales, self.prior.trend) - np.einsum("ij,ij->j", half, half)
        return mean, np.sqrt(np.maximum(var, 1e-12))

    def expecting(self, at: Inputs, y: Floats, v: Floats) -> Posterior:
        """The same with rows that are yet to come: `y` (N,) is what is expected of each and `v` (N,) its variance. The
        scales stay. For scoring only: nothing is known to be safe because it is expected to be."""
        if not len(at):
            return self
        rows, nothing, trials = self.rows, np.full(len(at), np.nan), np.max(self.rows.trial, initial=-1) + 1
        more = Rows(
            at=Inputs(np.vstack([rows.at.u, at.u]), np.append(rows.at.z, at.z), np.append(rows.at.t, at.t)),
            y=np.append(rows.y, y),
            v=np.append(rows.v, v),
            bad=np.append(rows.bad, nothing),
            expected=np.append(rows.expected, nothing),
            phi=np.append(rows.phi, np.ones(len(at))),
            trial=np.append(rows.trial, trials + np.arange(len(at))),
            canary=np.append(rows.canary, np.ones(len(at), dtype=bool)),
        )
        whole = replace(self, rows=more, y=np.append(self.y, y), v=np.append(self.v, v))
        chol, _ = cholesky(whole.kernel_matrix(), whole.v)
        return replace(whole, chol=chol, alpha=_solve(chol, whole.y - self.prior.trend.mean(more.at)))

    def covariance(self, at: Inputs, other: Inputs) -> Floats:
        """Posterior covariance of the latent g between two sets of points. Shape: (N, N')."""
        trend = self.prior.trend
        one = _half(self.chol, cross(at, self.rows.at, self.groups, self.scales, trend).T)
        two = _half(self.chol, cross(other, self.rows.at, self.groups, self.scales, trend).T)
        return np.asarray(cross(at, other, self.groups, self.scales, trend) - one.T @ two)

    def reading_variance(self, mean: Floats) -> Floats:
        """Variance that a trial's reading would have where g has this mean (N,): counts at the predicted ratio, or the
        median so far, plus tau^2. Shape: (N,)."""
        counted = np.isfinite(self.rows.bad)
        if counted.any():
            expected = float(np.median(self.rows.expected[counted]))
            own = float(np.median(self.rows.phi[counted])) / np.maximum(expected * np.exp(mean), 1e-3)
        else:
            own = np.full(len(mean), float(np.median(self.v)) if len(self.v) else 0.01)
        return np.asarray(own + self.scales.tau**2)

    def kernel_matrix(self) -> Floats:
        """C: covariance of the rows' latent g and trial effects, without noise. Shape: (n, n)."""
        at = self.rows.at
        same = self.rows.trial[:, None] == self.rows.trial[None, :]
        latent = cross(at, at, self.groups, self.scales, self.prior.trend)
        return np.asarray(latent + self.scales.tau**2 * same)

    def residuals(self) -> Floats:
        """Standardized one-step-ahead residuals of each row given the rows before it, noise included. Shape: (n,)."""
        return _half(self.chol, self.y - self.prior.trend.mean(self.rows.at))

    def leave_one_out(self) -> Floats:
        """Standardized leave-one-out residuals, noise included (Rasmussen and Williams 2006, eq. 5.12). Shape: (n,)."""
        if not len(self.chol):
            return np.zeros(0)
        return np.asarray(self.alpha / np.sqrt(np.diag(_inverse(self.chol))))


def fit(rows: Rows, groups: Ints, prior: Prior, evaluations: int) -> Posterior:
    """Fit the scales by MAP and condition on the rows.

    Args:
        rows: n >= 0 rows; below 3 the prior mode is used.
        groups: (D,) lengthscale of each column.
        evaluations: at most so many evaluations of the evidence; 0 means prior mode.

    Raises:
        NumericalFailure: no jitter makes the covariance positive definite, not even in prior mode.
    """
    problem = _Problem(rows, groups, prior)
    start = np.zeros(problem.size)
    if len(rows) < 3 or evaluations <= 0:
        return problem.posterior(start, "" if evaluations > 0 else "prior mode: no evaluations left")
    try:
        theta = problem.maximize(start, evaluations)
        return problem.posterior(theta, "")
    except (LinAlgError, FloatingPointError, ValueError) as error:
        try:
            return problem.posterior(start, f"prior mode: {error}")
        except (LinAlgError, ValueError) as worse:
            raise NumericalFailure(f"no positive definite covariance of {len(rows)} rows: {worse}") from worse


class _Problem:
    """The evidence of one data set as a function of theta."""

    def __init__(self, rows: Rows, groups: Ints, prior: Prior) -> None:
        self.rows, self.groups, self.prior = rows, groups, prior
        self.lengths = int(groups.max()) + 1
        self.size = self.lengths + 3
        means = [prior.length[0]] * self.lengths + [prior.load_length[0], prior.amplitude[0], prior.tau[0]]
        sds = [prior.length[1]] * self.lengths + [prior.load_length[1], prior.amplitude[1], prior.tau[1]]
        self.means, self.sds = np.asarray(means), np.asarray(sds)
        self.kernel = TrainingKernel(rows.at, groups, prior.trend)
        self.mean = prior.trend.mean(rows.at)
        self.same = (rows.trial[:, None] == rows.trial[None, :]).astype(np.float64)
        self.counted = np.isfinite(rows.bad)
        self.mode = np.log((rows.bad[self.counted] + 0.5) / rows.expected[self.counted])  # of the counts' f, so far
        self.evaluations = 0

    def scales(self, theta: Floats) -> Scales:
        p = np.exp(self.means + self.sds * theta)
        return Scales(p[: self.lengths], float(p[-3]), float(p[-2]), float(p[-1]))

    def maximize(self, theta: Floats, evaluations: int) -> Floats:
        """Alternate: working responses at theta, then L-BFGS-B on the evidence they give."""
        rounds = ROUNDS if self.counted.any() else 1
        for _ in range(rounds):
            y, v = self.working(theta)
            result = minimize(
                lambda t, y=y, v=v: self.objective(t, y, v),
                theta,
                jac=True,
                method="L-BFGS-B",
                bounds=[(-THETA_LIMIT, THETA_LIMIT)] * self.size,
                options={"maxfun": max(1, evaluations // rounds), "ftol": 1e-6, "gtol": 1e-3},
            )
            if not np.all(np.isfinite(result.x)):
                raise ValueError("the optimizer left the finite numbers")
            # Rounded, so that the last bits of another BLAS or thread count do not reach the answer.
            theta = np.round(np.asarray(result.x), THETA_DECIMALS)
        return theta

    def objective(self, theta: Floats, y: Floats, v: Floats) -> tuple[float, Floats]:
        """Minus log(evidence x prior), up to a constant, and its gradient (G + 3,)."""
        self.evaluations += 1
        scales = self.scales(theta)
        covariance, weights = self.kernel.value_and_weights(scales)
        covariance = covariance + scales.tau**2 * self.same
        chol, _ = cholesky(covariance, v)
        residual = y - self.mean
        half = _half(chol, residual)
        value = 0.5 * float(half @ half) + float(np.sum(np.log(np.diag(chol)))) + 0.5 * float(theta @ theta)
        alpha = _solve(chol, residual)
        # Every derivative is symmetric, so twice what is on one side of the diagonal stands for both.
        weight = _inverse(chol).T
        weight *= 2.0
        weight[np.diag_indices(len(weight))] *= 0.5
        weight -= np.outer(alpha, alpha)
        lengths, load, amplitude = weights.contract(weight)
        tau = 2.0 * scales.tau**2 * float(np.sum(weight * self.same))
        gradient = 0.5 * np.concatenate([lengths, [load, amplitude, tau]]) * self.sds + theta
        return value, gradient

    def working(self, theta: Floats) -> tuple[Floats, Floats]:
        """Working responses and variances at the mode of f under theta. Shapes: (n,), (n,)."""
        rows, floor = self.rows, self.prior.least_error**2
        y, v = np.where(self.counted, 0.0, rows.y), np.where(self.counted, 1.0, np.maximum(rows.v, floor))
        if not self.counted.any():
            return y, v
        scales = self.scales(theta)
        prior = self.kernel.value(scales) + scales.tau**2 * self.same
        bad, expected, phi = rows.bad[self.counted], rows.expected[self.counted], rows.phi[self.counted]
        f = self.mode
        for _ in range(NEWTON_STEPS):
            y[self.counted], v[self.counted] = _respond(f, bad, expected, phi)
            chol, _ = cholesky(prior, v)
            new = self.mean + prior @ _solve(chol, y - self.mean)
            step = np.clip(new[self.counted] - f, -3.0, 3.0)
            f = f + step
            if float(np.max(np.abs(step))) < CONVERGED:
                break
        if np.all(np.isfinite(f)):
            self.mode = f
        y[self.counted], v[self.counted] = _respond(f, bad, expected, phi)
        return y, v

    def posterior(self, theta: Floats, fallback: str) -> Posterior:
        scales = self.scales(theta)
        if not len(self.rows):
            empty = np.zeros(0)
            return self._posterior(theta, scales, empty, empty, np.zeros((0, 0)), empty, fallback)
        y, v = self.working(theta)
        covariance = self.kernel.value(scales) + scales.tau**2 * self.same
        chol, jitter = cholesky(covariance, v)
        note = fallback or (f"jitter {jitter:g}" if jitter > JITTERS[0] else "")
        return self._posterior(theta, scales, y, v, chol, _solve(chol, y - self.mean), note)

    def _posterior(
        self, theta: Floats, scales: Scales, y: Floats, v: Floats, chol: Floats, alpha: Floats, fallback: str
    ) -> Posterior:
        if not np.all(np.isfinite(alpha)):
            raise ValueError("the posterior is not finite")
        return Posterior(
            self.rows, self.groups, self.prior, scales, theta, y, v, chol, alpha, self.evaluations, fallback
        )


def _respond(f: Floats, bad: Floats, expected: Floats, phi: Floats) -> tuple[Floats, Floats]:
    mu = np.maximum(expected * np.exp(np.clip(f, -30.0, 30.0)), 1e-9)
    y = f + np.clip(bad / mu - 1.0, _WORKING_LOW, _WORKING_HIGH)
    return y, np.minimum(phi / mu, _VARIANCE_CAP) + SE_FLOOR**2


def cholesky(covariance: Floats, v: Floats) -> tuple[Floats, float]:
    """Lower factor of covariance + diag(v) + jitter I, with the least jitter of the ladder that works.

    Raises:
        LinAlgError: none does.
    """
    n = len(v)
    if not np.isfinite(np.sum(covariance) + np.sum(v)):
        raise LinAlgError("the covariance is not finite")
    for jitter in JITTERS:
        matrix = np.array(covariance.T, order="F")  # in LAPACK's order, of which the matrix is its own transpose
        matrix[np.diag_indices(n)] += v + jitter
        chol, info = dpotrf(matrix, lower=1, clean=1, overwrite_a=1)
        if info == 0:
            return np.asarray(chol), jitter
    raise LinAlgError(f"not positive definite with jitter {JITTERS[-1]:g}")


def _half(chol: Floats, right: Floats) -> Floats:
    """L^-1 right."""
    if not len(chol):
        return right
    half, info = dtrtrs(chol, right, lower=1)
    if info != 0:
        raise LinAlgError("singular factor")
    return np.asarray(half)


def _solve(chol: Floats, right: Floats) -> Floats:
    """(L L')^-1 right."""
    whole, info = dtrtrs(chol, _half(chol, right), lower=1, trans=1)
    if info != 0:
        raise LinAlgError("singular factor")
    return np.asarray(whole)


def _inverse(chol: Floats) -> Floats:
    """(L L')^-1 on and below the diagonal, zeros above."""
    inverse, info = dpotri(chol, lower=1)
    if info != 0:
        raise LinAlgError("singular factor")
    return np.asarray(inverse)


def subset(rows: Rows, keep: Sequence[bool] | NDArray[np.bool_]) -> Rows:
    """The rows where `keep` (n,) is True."""
    k = np.asarray(keep, dtype=bool)
    at = Inputs(rows.at.u[k], rows.at.z[k], rows.at.t[k])
    return Rows(at, rows.y[k], rows.v[k], rows.bad[k], rows.expected[k], rows.phi[k], rows.trial[k], rows.canary[k])
