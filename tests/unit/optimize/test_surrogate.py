"""The surrogate: gradients, the oracle, counts, diagnostics, and what happens when numbers are bad."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import poisson

from trimtab.domain.spec import SliKind
from trimtab.optimize import surrogate
from trimtab.optimize.crosscheck import oracle
from trimtab.optimize.kernel import Inputs
from trimtab.optimize.surrogate import (
    NumericalFailure,
    Posterior,
    Rows,
    _Problem,
    fit,
    prior_for,
    subset,
)

GROUPS = np.asarray([0, 1])
SIGNS = np.ones(2)


def rows(n: int = 12, seed: int = 0, counts: bool = False) -> Rows:
    """n rows, two per trial; g falls with both parameters and rises with load."""
    rng = np.random.default_rng(seed)
    u = rng.uniform(size=(n, 2))
    z = 0.3 * rng.normal(size=n)
    g = 0.5 - 1.5 * u[:, 0] - 0.7 * u[:, 1] + 0.6 * z + 0.05 * rng.normal(size=n)
    expected = np.full(n, 150.0)
    bad = rng.poisson(expected * np.exp(g)).astype(float) if counts else np.full(n, np.nan)
    return Rows(
        at=Inputs(u, z, 1.8e9 + 3600.0 * np.arange(n)),
        y=g,
        v=np.full(n, 0.03**2),
        bad=bad,
        expected=expected if counts else np.full(n, np.nan),
        phi=np.ones(n),
        trial=np.arange(n) // 2,
        canary=np.arange(n) % 2 == 0,
    )


def prior(counts: bool = False, kind: SliKind = SliKind.LATENCY):  # type: ignore[no-untyped-def]
    return prior_for(kind, counts, SIGNS, 2)


def queries(n: int = 20) -> Inputs:
    rng = np.random.default_rng(9)
    return Inputs(rng.uniform(size=(n, 2)), np.zeros(n), np.full(n, 1.8e9 + 1e5))


@pytest.mark.parametrize("counts", [False, True])
def test_evidence_gradient_by_finite_differences(counts: bool) -> None:
    problem = _Problem(rows(counts=counts), GROUPS, prior(counts))
    theta = np.asarray([0.3, -0.4, 0.2, 0.5, -0.6])
    y, v = problem.working(theta)
    _, gradient = problem.objective(theta, y, v)
    for i in range(len(theta)):
        step = np.zeros(len(theta))
        step[i] = 1e-5
        numeric = (problem.objective(theta + step, y, v)[0] - problem.objective(theta - step, y, v)[0]) / 2e-5
        assert gradient[i] == pytest.approx(numeric, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("counts", [False, True])
def test_scikit_learn_agrees(counts: bool) -> None:
    model = fit(rows(counts=counts), GROUPS, prior(counts), 200)
    at = queries()
    mean, sd = model.predict(at)
    points = np.column_stack([at.u, at.z, at.t, -np.ones(len(at))])
    other, other_sd = oracle(model).predict(points, return_std=True)
    assert np.allclose(mean, other + model.prior.trend.mean(at), atol=1e-6)
    assert np.allclose(sd, other_sd, atol=1e-6)


def test_scikit_learns_evidence_agrees() -> None:
    model = fit(rows(), GROUPS, prior(), 200)
    problem = _Problem(model.rows, GROUPS, model.prior)
    value, _ = problem.objective(model.theta, model.y, model.v)
    mine = -(value - 0.5 * float(model.theta @ model.theta)) - 0.5 * len(model.rows) * math.log(2 * math.pi)
    assert mine == pytest.approx(oracle(model).log_marginal_likelihood_value_, rel=1e-8)


def test_the_map_is_better_than_the_prior_mode_and_stationary() -> None:
    model = fit(rows(24), GROUPS, prior(), 400)
    problem = _Problem(model.rows, GROUPS, model.prior)
    at_mode, _ = problem.objective(np.zeros(5), model.y, model.v)
    best, gradient = problem.objective(model.theta, model.y, model.v)
    assert best < at_mode
    inside = np.abs(model.theta) < surrogate.THETA_LIMIT
    assert np.all(np.abs(gradient[inside]) < 0.05)
    assert model.fallback == ""


def test_covariance_agrees_with_sd() -> None:
    model = fit(rows(), GROUPS, prior(), 100)
    at = queries(6)
    covariance = model.covariance(at, at)
    _, sd = model.predict(at)
    assert np.allclose(np.sqrt(np.diag(covariance)), sd, atol=1e-6)
    assert np.allclose(covariance, covariance.T, atol=1e-7)


def refit(model: Posterior, keep: np.ndarray) -> Posterior:
    """The same scales and working data with some rows only."""
    part = subset(model.rows, keep)
    plain = replace(part, bad=np.full(len(part), np.nan), y=model.y[keep], v=model.v[keep])
    return _Problem(plain, model.groups, model.prior).posterior(model.theta, "")


def test_leave_one_out_by_leaving_one_out() -> None:
    model = fit(rows(), GROUPS, prior(), 100)
    shortcut = model.leave_one_out()
    for i in (0, 5, 11):
        keep = np.arange(12) != i
        other = refit(model, keep)
        at = Inputs(model.rows.at.u[i : i + 1], model.rows.at.z[i : i + 1], model.rows.at.t[i : i + 1])
        assert shortcut[i] == pytest.approx(predictive(model, other, at, i), rel=1e-4)


def test_residuals_are_one_step_ahead() -> None:
    model = fit(rows(), GROUPS, prior(), 100)
    for i in (0, 3, 11):
        other = refit(model, np.arange(12) < i)
        at = Inputs(model.rows.at.u[i : i + 1], model.rows.at.z[i : i + 1], model.rows.at.t[i : i + 1])
        assert model.residuals()[i] == pytest.approx(predictive(model, other, at, i), rel=1e-4)


def predictive(model: Posterior, other: Posterior, at: Inputs, i: int) -> float:
    """Standardized residual of row i under `other`, noise and shared trial effect included."""
    whole = model.kernel_matrix()
    index = [j for j in range(len(model.rows)) if _in(other, model, j)]
    k = whole[i, index]
    inside = whole[np.ix_(index, index)] + np.diag(model.v[index])
    mean = model.prior.trend.mean(model.rows.at)
    shift = k @ np.linalg.solve(inside, (model.y - mean)[index]) if index else 0.0
    var = whole[i, i] + model.v[i] - (k @ np.linalg.solve(inside, k) if index else 0.0)
    return float((model.y[i] - mean[i] - shift) / math.sqrt(var))


def _in(other: Posterior, model: Posterior, j: int) -> bool:
    return bool(np.any(np.all(other.rows.at.u == model.rows.at.u[j], axis=1))) if len(other.rows) else False


@pytest.mark.parametrize(("bad", "expected"), [(0.0, 4.0), (3.0, 4.0), (40.0, 50.0)])
def test_counts_against_the_exact_posterior(bad: float, expected: float) -> None:
    one = Rows(
        Inputs(np.full((1, 2), 0.5), np.zeros(1), np.zeros(1)),
        np.zeros(1), np.ones(1), np.asarray([bad]), np.asarray([expected]), np.ones(1),
        np.zeros(1, dtype=int), np.ones(1, dtype=bool),
    )  # fmt: skip
    model = fit(one, GROUPS, prior(True, SliKind.ERRORS), 100)
    scales = model.scales
    m = float(model.prior.trend.mean(one.at)[0])
    s2 = scales.sf**2 + model.prior.trend.s0**2

    width = s2 + scales.tau**2

    def weight(f: float) -> float:
        return math.exp(-0.5 * (f - m) ** 2 / width) * poisson.pmf(bad, expected * math.exp(f))

    # Laplace: the mode of the trial's g, shrunk to the latent part, and the curvature there.
    mode = minimize_scalar(lambda f: -math.log(weight(f)), bounds=(-8, 4), method="bounded").x
    mean, sd = model.predict(one.at)
    assert mean[0] == pytest.approx(m + s2 / width * (mode - m), abs=2e-3)
    noise = 1 / (expected * math.exp(mode)) + surrogate.SE_FLOOR**2
    assert sd[0] == pytest.approx(math.sqrt(s2 - s2**2 / (width + noise)), rel=2e-3)
    # And it is not far from the exact posterior.
    total = quad(weight, -12, 6)[0]
    exact = quad(lambda f: f * weight(f), -12, 6)[0] / total
    spread = math.sqrt(quad(lambda f: (f - exact) ** 2 * weight(f), -12, 6)[0] / total)
    assert mean[0] == pytest.approx(exact, abs=0.3 * spread)


def test_few_events_do_not_bias_towards_bad() -> None:
    """No error among few requests is hardly evidence; many requests without one are."""
    means = []
    for expected in (0.1, 10.0, 1000.0):
        one = rows(8, counts=True)
        one = replace(one, bad=np.zeros(8), expected=np.full(8, expected))
        model = fit(one, GROUPS, prior(True, SliKind.ERRORS), 100)
        means.append(float(model.predict(one.at)[0].mean()))
    assert means[0] < 0
    assert means[0] > means[1] > means[2]


def test_overdispersion_widens() -> None:
    plain = rows(12, counts=True)
    _, narrow = fit(plain, GROUPS, prior(True), 0).predict(queries())
    _, wide = fit(replace(plain, phi=np.full(12, 9.0)), GROUPS, prior(True), 0).predict(queries())
    assert np.all(wide > narrow)


def test_the_shared_effect_is_not_averaged_away_within_a_trial() -> None:
    alone = rows(12)
    apart = replace(alone, trial=np.arange(12))
    theta = np.asarray([0.0, 0.0, 0.0, 0.0, 2.5])
    _, shared = _Problem(alone, GROUPS, prior()).posterior(theta, "").predict(queries())
    _, split = _Problem(apart, GROUPS, prior()).posterior(theta, "").predict(queries())
    assert not np.allclose(shared, split)


def test_more_resource_is_better_before_any_data() -> None:
    model = fit(subset(rows(), np.zeros(12, dtype=bool)), GROUPS, prior(), 100)
    ends = Inputs(np.asarray([[0.1, 0.5], [0.9, 0.5]]), np.zeros(2), np.zeros(2))
    mean, sd = model.predict(ends)
    assert mean[0] > mean[1]
    assert np.all(sd > 0.5)
    loaded = Inputs(ends.u, np.ones(2), ends.t)
    assert np.all(model.predict(loaded)[0] > mean)
    assert model.residuals().shape == model.leave_one_out().shape == (0,)


def test_noise_does_not_make_a_cliff_of_the_load() -> None:
    """Ten trials of the example service, as the demo may measure them: CPU, memory, octaves below the peak, slow
    requests, and the control's. By these counts alone g would rise by 3 to 4 per octave; the service's by 1 to 2.1.
    """
    trials = (
        (1.00, 1.00, -0.238, 69, -0.230, 61),
        (1.00, 1.00, -0.223, 65, -0.235, 66),
        (0.89, 0.88, -0.201, 66, -0.208, 91),
        (0.75, 0.69, -0.176, 93, -0.205, 64),
        (0.67, 0.59, -0.174, 85, -0.231, 70),
        (0.50, 0.41, -0.154, 266, -0.175, 93),
        (0.59, 0.51, -0.172, 118, -0.152, 73),
        (0.56, 0.51, -0.135, 166, -0.140, 64),
        (0.62, 0.78, -0.176, 120, -0.174, 62),
        (0.56, 0.46, -0.244, 103, -0.219, 89),
    )
    canary = [(cpu, memory, z, bad) for cpu, memory, z, bad, _, _ in trials]
    control = [(1.0, 1.0, z, bad) for *_, z, bad in trials]
    data = np.asarray([row for pair in zip(canary, control, strict=True) for row in pair])
    n = len(data)
    seen = Rows(
        at=Inputs(data[:, :2], data[:, 2], 1.8e9 + 16.0 * (np.arange(n) // 2)),
        y=np.zeros(n),
        v=np.ones(n),
        bad=data[:, 3],
        expected=316.0 * 2 ** data[:, 2],
        phi=np.ones(n),
        trial=np.arange(n) // 2,
        canary=np.arange(n) % 2 == 0,
    )
    model = fit(seen, GROUPS, prior(True), 400)
    at = np.asarray([[0.56, 0.46], [0.56, 0.46]])
    (usual, peak), sd = model.predict(Inputs(at, np.asarray([-0.19, 0.0]), np.full(2, 1.8e9 + 200)))
    assert 0.3 < (peak - usual) / 0.19 < 2.1
    assert sd[1] > sd[0]


def test_priors_by_kind() -> None:
    latency, errors, slow = prior(), prior(True, SliKind.ERRORS), prior(True)
    assert [round(math.exp(p.amplitude[0]), 2) for p in (latency, errors, slow)] == [0.4, 1.0, 1.5]
    assert [p.trend.b[0] for p in (latency, errors, slow)] == [-0.5, -1.0, -3.0]
    assert math.exp(prior_for(SliKind.VALUE, False, np.ones(4), 4).length[0]) == pytest.approx(0.6)


@pytest.mark.parametrize("n", [1, 2])
def test_below_three_rows_the_prior_mode_holds(n: int) -> None:
    model = fit(subset(rows(), np.arange(12) < n), GROUPS, prior(), 100)
    assert np.all(model.theta == 0)
    assert model.fallback == ""


def test_no_evaluations_means_prior_mode() -> None:
    model = fit(rows(), GROUPS, prior(), 0)
    assert np.all(model.theta == 0)
    assert "prior mode" in model.fallback


@pytest.mark.parametrize("same", ["points", "outputs", "everything"])
def test_duplicates_and_constants_are_ordinary_data(same: str) -> None:
    data = rows()
    if same in ("points", "everything"):
        data = replace(data, at=Inputs(np.full((12, 2), 0.4), np.zeros(12), np.zeros(12)))
    if same in ("outputs", "everything"):
        data = replace(data, y=np.full(12, -1.0))
    mean, sd = fit(data, GROUPS, prior(), 200).predict(queries())
    assert np.all(np.isfinite(mean))
    assert np.all(sd > 0)


def test_constant_outputs_do_not_make_it_sure_elsewhere() -> None:
    """Physical units: safe data that hardly vary say little about what lies far away."""
    at = Inputs(np.column_stack([np.linspace(0.8, 1.0, 12)] * 2), np.zeros(12), np.full(12, 1.8e9))
    model = fit(replace(rows(), at=at, y=np.full(12, -1.0)), GROUPS, prior(), 200)
    far = Inputs(np.zeros((1, 2)), np.zeros(1), np.full(1, 1.8e9))
    mean, sd = model.predict(far)
    assert mean[0] + 2 * sd[0] > 0


def test_a_failing_optimizer_falls_back_to_the_prior_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("line search failed")

    monkeypatch.setattr(surrogate, "minimize", broken)
    model = fit(rows(), GROUPS, prior(), 100)
    assert np.all(model.theta == 0)
    assert model.fallback == "prior mode: line search failed"


def test_no_positive_definite_covariance_is_a_typed_failure() -> None:
    data = replace(rows(), v=np.full(12, np.nan))
    with pytest.raises(NumericalFailure, match="12 rows"):
        fit(data, GROUPS, prior(), 100)


def test_the_jitter_ladder_is_climbed_and_noted() -> None:
    problem = _Problem(rows(), GROUPS, prior())
    # Indefinite by 1e-7: too much for the first rungs.
    matrix = np.eye(12) - (1 + 1e-7) * np.ones((12, 12)) / 12
    _, jitter = surrogate.cholesky(matrix, np.zeros(12))
    assert jitter == 1e-6
    assert problem.size == 5
