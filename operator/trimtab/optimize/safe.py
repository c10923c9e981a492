"""What is believed about the bounds, and the sets that follow: verified V, reachable C, safe S.

Notation: m bounds of the safe set, delta = 1 - probability, beta = Phi^-1(1 - delta / m) (union bound over the bounds),
kappa in [1, 2] widens the intervals when the model was surprised. All predictions are at peak load and at `study.now`.
  V = baseline and every evaluated x with mu_j + 1.64 sd_j <= 0 for all j that its own trials do not contradict
      (nor a failed verification)
  C = grid points whose every parameter is within the step limit of ONE member of V, minus white-box violations
  S = {x in C: mu_j + kappa beta sd_j <= 0 for all j}
No guarantee in the sense of SafeOpt is claimed (Fiedler et al. 2024); calibration is measured instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from trimtab.domain.space import Assignment, Numeric
from trimtab.domain.study import ConstraintTarget, Study, Symptom
from trimtab.domain.trial import Prediction
from trimtab.optimize.data import LoadScale, build_rows, has_counts, load_scale
from trimtab.optimize.encoding import Encoder, Grid
from trimtab.optimize.health import DISTRUSTED, Checked, checked
from trimtab.optimize.kernel import Inputs
from trimtab.optimize.readings import ONE_SIDED_95, Evidence, exact
from trimtab.optimize.steps import nearest, reach
from trimtab.optimize.surrogate import Posterior, Prior, Rows, fit, prior_for

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

KAPPA_START, KAPPA_LOW, KAPPA_HIGH, KAPPA_STEP = 1.5, 1.0, 2.0, 0.25
ENUMERATE = 8192
SAMPLES = 1600
DECIMALS = 9
_MOVES = (1, 2, 4, 8)
EXACT = 1e-3  # least standard error of g where every trial repeats itself
_TAU = (math.log(5e-3), 2.0)  # prior of the sd between such trials: there may be none


@dataclass(frozen=True)
class Belief:
    """Fitted surrogates of the bounds of the safe set and everything derived from the study alone."""

    study: Study
    encoder: Encoder
    grid: Grid
    loads: LoadScale
    targets: tuple[ConstraintTarget, ...]
    models: tuple[Posterior, ...]
    evidence: dict[Assignment, Evidence]
    beta: float
    kappa: float
    symptoms: tuple[Symptom, ...] = ()
    doubtful: tuple[Assignment, ...] = ()  # far from what all others say, not measured again yet, safe if a fluke

    @property
    def trusted(self) -> bool:
        """Whether steps may be whole: no model had to be replaced by its prior mode."""
        return not any(s.kind in DISTRUSTED for s in self.symptoms)

    def inputs(self, u: Floats, z: float | None = None) -> Inputs:
        """Points (N, D) at one load (the peak by default), now."""
        load = self.loads.peak if z is None else z
        return Inputs(u, np.full(len(u), load), np.full(len(u), self.study.now))

    def predict(self, u: Floats, z: float | None = None) -> tuple[Floats, Floats]:
        """Mean and sd of every bound at one load, the peak by default. Shapes: (m, N), (m, N)."""
        at = self.inputs(u, z)
        pairs = [model.predict(at) for model in self.models]
        if not pairs:
            return np.zeros((0, len(u))), np.zeros((0, len(u)))
        return np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])

    def predictions(self, assignment: Assignment) -> tuple[Prediction, ...]:
        """The same for one assignment, as the ledger stores it."""
        mean, sd = self.predict(self.encoder.encode([assignment]))
        return tuple(
            Prediction(t.name, round(float(mean[j, 0]), DECIMALS), round(float(sd[j, 0]), DECIMALS))
            for j, t in enumerate(self.targets)
        )


def believe(study: Study, evidence: dict[Assignment, Evidence]) -> Belief:
    """Fit one surrogate per bound of the safe set. `evidence` is `readings.gather(study)`.

    Raises:
        NumericalFailure: a surrogate cannot even be conditioned in prior mode.
    """
    encoder = Encoder(study.space)
    loads = load_scale(study)
    targets = tuple(t for t in study.constraints if not t.guard_only)
    held = [x for x, own in evidence.items() if own.held(study.constraints)]
    everything = (*study.inherited, *study.outcomes)
    models: list[Posterior] = []
    symptoms: list[Symptom] = []
    doubtful: dict[Assignment, tuple[int, Posterior]] = {}
    exactly = exact(study)
    for target in targets:
        counts = not target.relative and has_counts(study, target)
        prior = prior_for(target.kind, counts, encoder.signs, len(study.space.parameters))
        if exactly:
            prior = replace(prior, tau=_TAU, least_error=EXACT)
        rows = build_rows(study, target, encoder, loads, held, math.exp(2 * prior.tau[0]), prior.least_error)
        fitted = partial(_fit, encoder.groups, prior, study.max_fit_evaluations)
        # Nothing is odd about a function's values, and a bound that ignores a parameter has no end of a lengthscale.
        indices = [t.index for t in everything]
        found = Checked(fitted(rows, False)) if exactly else checked(target.name, rows, fitted, indices)
        models.append(found.model)
        symptoms += found.symptoms
        if found.doubtful is not None and found.if_fluke is not None:
            assignment = everything[int(rows.trial[found.doubtful])].canary.assignment
            doubtful[assignment] = len(models) - 1, found.if_fluke
    delta = min(max(1.0 - study.probability, 1e-6), 0.5)
    beta = float(ndtri(1.0 - delta / max(len(targets), 1)))
    kappa = adaptive_kappa(tuple(models), beta, delta)
    grid, seen = Grid(study, encoder), tuple(symptoms)
    belief = Belief(study, encoder, grid, loads, targets, tuple(models), evidence, beta, kappa, seen)
    belief = belief if belief.trusted else replace(belief, kappa=max(kappa, KAPPA_START))
    again = tuple(x for x, (j, model) in doubtful.items() if _safe_if(belief, x, j, model))
    return replace(belief, doubtful=again)


def _safe_if(belief: Belief, assignment: Assignment, bound: int, model: Posterior) -> bool:
    """Whether an assignment would be in S with another model of one bound."""
    models = (*belief.models[:bound], model, *belief.models[bound + 1 :])
    mean, sd = replace(belief, models=models).predict(belief.encoder.encode([assignment]))
    return bool(is_safe(belief, mean, sd)[0])


def _fit(groups: Ints, prior: Prior, evaluations: int, rows: Rows, prior_mode: bool) -> Posterior:
    return fit(rows, groups, prior, 0 if prior_mode else evaluations)


def adaptive_kappa(models: tuple[Posterior, ...], beta: float, delta: float) -> float:
    """kappa <- clip(kappa + 0.25 (1[any z_j > kappa beta] - delta), 1, 2) over the trials after the first two.

    z_j are one-step-ahead residuals of the canary rows, noise included: up when a bound was worse than foreseen.
    """
    worst: dict[int, float] = {}
    for model in models:
        if not len(model.rows):
            continue
        residuals = model.residuals()
        for trial, canary, z in zip(model.rows.trial, model.rows.canary, residuals, strict=True):
            if canary:
                worst[int(trial)] = max(worst.get(int(trial), -np.inf), float(z))
    kappa = KAPPA_START
    for trial in sorted(worst)[2:]:
        surprised = worst[trial] > kappa * beta
        kappa = min(max(kappa + KAPPA_STEP * (float(surprised) - delta), KAPPA_LOW), KAPPA_HIGH)
    return kappa


def upper_limits(belief: Belief, assignments: list[Assignment], widths: float, z: float | None = None) -> Floats:
    """max over the bounds of mu + widths x sd at one load, the peak by default. Shape: (N,); -inf without bounds."""
    if not assignments:
        return np.zeros(0)
    mean, sd = belief.predict(belief.encoder.encode(assignments), z)
    return np.asarray(np.max(mean + widths * sd, axis=0, initial=-np.inf))


def verified(belief: Belief) -> list[Assignment]:
    """V, cheapest first; the baseline is always a member."""
    study = belief.study
    tried = [
        x
        for x, own in belief.evidence.items()
        if x != study.baseline and x not in study.excluded and own.clean > 0 and not own.contradicts(study.constraints)
    ]
    limits = upper_limits(belief, tried, ONE_SIDED_95)
    members = [x for x, limit in zip(tried, limits, strict=True) if limit <= 0] + [study.baseline]
    return sorted(members, key=lambda x: (study.cost.hourly(x), x.items_))


def boxes(study: Study, members: list[Assignment], *, half: bool = False) -> Ints:
    """Index intervals that the step limits allow from each member of V. Shape: (|V|, d, 2), ends included.

    `half` steps are at least one grid step; categories have none.
    """
    known = [{value: reach(p, value) for value in {v[p.name] for v in members}} for p in study.space.parameters]
    whole = np.asarray(
        [[found[v[p.name]] for p, found in zip(study.space.parameters, known, strict=True)] for v in members],
        dtype=np.int64,
    )
    if not half:
        return whole
    at = np.asarray([[nearest(p, v[p.name]) for p in study.space.parameters] for v in members], dtype=np.int64)
    numeric = np.asarray([isinstance(p.domain, Numeric) for p in study.space.parameters])
    low, high = whole[..., 0], whole[..., 1]
    halved = np.stack([at - (at - low + 1) // 2, at + (high - at + 1) // 2], axis=-1)
    return np.where(numeric[None, :, None], halved, whole)


def trusted_boxes(belief: Belief, members: list[Assignment]) -> Ints:
    """The boxes from which one trial may be chosen: of half steps where the model is not trusted."""
    return boxes(belief.study, members, half=not belief.trusted)


def inside(points: Ints, limits: Ints) -> Bools:
    """Which points (N, d) lie within at least one box (|V|, d, 2). Shape: (N,)."""
    ok = np.zeros(len(points), dtype=bool)
    for box in limits:
        ok |= np.all((points >= box[:, 0]) & (points <= box[:, 1]), axis=1)
    return ok


def reachable(grid: Grid, limits: Ints, seed: int) -> Ints:
    """C: all of it when the grid is small, else moves of 1, 2, 4, 8 steps and samples. Shape: (N, d)."""
    if grid.size <= ENUMERATE:
        points = grid.all_points()
        points = points[inside(points, limits)]
        points = points[grid.admissible(points)]
        if len(points) <= SAMPLES:
            return points
        # Refinement around the best of a fixed random half finds what this leaves out.
        return points[np.sort(np.random.default_rng(seed).permutation(len(points))[:SAMPLES])]
    points = np.unique(_sampled(limits, np.random.default_rng(seed)), axis=0)
    return points[grid.admissible(points)]


def neighbours(points: Ints, limits: Ints, grid: Grid) -> Ints:
    """Moves of 1, 2, 4, 8 steps along each axis from the points, inside the boxes and admissible. Shape: (N', d)."""
    moved = [points]
    for axis_, size in enumerate(grid.shape):
        for step in (*_MOVES, *(-s for s in _MOVES)):
            shifted = points.copy()
            shifted[:, axis_] = np.clip(shifted[:, axis_] + step, 0, size - 1)
            moved.append(shifted)
    found = np.unique(np.concatenate(moved), axis=0)
    found = found[inside(found, limits)]
    return found[grid.admissible(found)]


def is_safe(belief: Belief, mean: Floats, sd: Floats) -> Bools:
    """S: which points stay below every bound with kappa beta standard deviations; all where safety is not asked for.
    Shape: (N,)."""
    if not belief.study.safe:
        return np.ones(mean.shape[1], dtype=bool)
    return np.asarray(np.all(mean + belief.kappa * belief.beta * sd <= 0, axis=0))


def _sampled(limits: Ints, rng: np.random.Generator) -> Ints:
    """Uniform samples of the boxes, half of them of the first (cheapest) one, and single-axis moves of each."""
    parts = []
    for i, box in enumerate(limits[:8]):
        count = SAMPLES // 2 if i == 0 else SAMPLES // (2 * min(max(len(limits) - 1, 1), 7))
        parts.append(rng.integers(box[:, 0], box[:, 1] + 1, size=(count, len(box))))
    return np.concatenate(parts)
