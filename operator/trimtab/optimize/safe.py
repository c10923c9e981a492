"""What is believed about the bounds, and the sets that follow: verified V, reachable C, safe S.

Notation: m bounds of the safe set, delta = 1 - probability, beta = Phi^-1(1 - delta / m) (union bound over the bounds),
kappa in [1, 2] widens the intervals when the model was surprised. All predictions are at `study.now`; those of V at the
peak's load, those of S at the highest load that is expected while the trial runs (the peak's, when nobody knows).
  V = baseline and every evaluated x with mu_j + 1.64 sd_j <= 0 for all j that its own trials do not contradict
      (nor a failed verification); not what only a screen measured, nor the baseline while that breaks a bound and is
      to be repaired
  C = grid points whose every parameter is within the step limit of ONE member of V, minus white-box violations
  S = {x in C: mu_j + kappa beta sd_j <= 0 for all j}
No guarantee in the sense of SafeOpt is claimed (Fiedler et al. 2024); calibration is measured instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from trimtab.domain.space import Assignment, Numeric
from trimtab.domain.study import ConstraintTarget, Study, Symptom
from trimtab.domain.trial import Prediction
from trimtab.optimize.aims import Aims, learn
from trimtab.optimize.data import LoadScale, build_rows, has_counts, load_scale
from trimtab.optimize.encoding import Encoder, Grid
from trimtab.optimize.health import DISTRUSTED, Checked, checked, fitter
from trimtab.optimize.kernel import Inputs
from trimtab.optimize.readings import ONE_SIDED_95, Evidence, exact
from trimtab.optimize.schedule import repairing
from trimtab.optimize.steps import nearest, reach
from trimtab.optimize.surrogate import Posterior, prior_for

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

KAPPA_START, KAPPA_LOW, KAPPA_HIGH, KAPPA_STEP = 1.25, 1.0, 2.0, 0.25
KAPPA_DISTRUSTED = 1.5  # at least, while a model of a bound had to be replaced by its prior mode
ENUMERATE = 8192
SAMPLES = 1600
DECIMALS = 9
_MOVES = (1, 2, 4, 8)
FACTORS = np.geomspace(1 / 16, 4, 250)  # of the baseline, in steps of 1.7 %
DRAWN = 40_000
EXACT = 1e-3  # least standard error of g where every trial repeats itself
_TAU = (math.log(5e-3), 2.0)  # prior of the sd between such trials: there may be none


@dataclass(frozen=True)
class Belief:
    """Fitted surrogates of the bounds of the safe set, the objectives, and everything derived from the study alone."""

    study: Study
    encoder: Encoder
    grid: Grid
    loads: LoadScale
    targets: tuple[ConstraintTarget, ...]
    models: tuple[Posterior, ...]
    evidence: dict[Assignment, Evidence]
    aims: Aims
    beta: float
    kappa: float
    symptoms: tuple[Symptom, ...] = ()
    repairing: bool = False  # the baseline breaks a bound: it is no member of V
    held: tuple[str, ...] = ()  # parameters that stay where the incumbent has them
    doubtful: tuple[Assignment, ...] = ()  # far from what all others say, not measured again yet, safe if a fluke

    @property
    def trusted(self) -> bool:
        """Whether steps may be whole: no model of a bound had to be replaced by its prior mode."""
        bounds = {target.name for target in self.targets}
        return not any(s.kind in DISTRUSTED and s.constraint in bounds for s in self.symptoms)

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

    def ahead(self, u: Floats) -> tuple[Floats, Floats]:
        """Mean and sd of every bound at the load of the next trial. Shapes: (m, N), (m, N)."""
        return self.predict(u, self.loads.ahead)

    def predictions(self, assignment: Assignment) -> tuple[Prediction, ...]:
        """The same for one assignment, as the ledger stores it."""
        mean, sd = self.predict(self.encoder.encode([assignment]))
        return tuple(
            Prediction(t.name, round(float(mean[j, 0]), DECIMALS), round(float(sd[j, 0]), DECIMALS))
            for j, t in enumerate(self.targets)
        )


def believe(study: Study, evidence: dict[Assignment, Evidence]) -> Belief:
    """Fit one surrogate per bound of the safe set and per SLI of an objective. `evidence` is `readings.gather(study)`.

    Raises:
        NumericalFailure: a surrogate cannot even be conditioned in prior mode.
    """
    encoder = Encoder(study.space, study.baseline)
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
        fitted = fitter(encoder.groups, prior, study.max_fit_evaluations)
        # Nothing is odd about a function's values, and a bound that ignores a parameter has no end of a lengthscale.
        indices = [t.index for t in everything]
        found = Checked(fitted(rows, False)) if exactly else checked(target.name, rows, fitted, indices)
        models.append(found.model)
        symptoms += found.symptoms
        if found.doubtful is not None and found.if_fluke is not None:
            assignment = everything[int(rows.trial[found.doubtful])].canary.assignment
            doubtful[assignment] = len(models) - 1, found.if_fluke
    delta, beta = _delta(study), _widths(study, len(targets))
    kappa = adaptive_kappa(tuple(models), beta, delta)
    learned = learn(study, encoder, loads)
    grid, seen = Grid(study, encoder), (*symptoms, *learned.symptoms)
    repair = repairing(study, evidence)
    belief = Belief(
        study, encoder, grid, loads, targets, tuple(models), evidence, learned.aims, beta, kappa, seen, repair
    )
    belief = belief if belief.trusted else replace(belief, kappa=max(kappa, KAPPA_DISTRUSTED))
    again = tuple(x for x, (j, model) in doubtful.items() if _safe_if(belief, x, j, model))
    again += tuple(x for n in learned.doubtful if _is_safe_at(belief, x := everything[n].canary.assignment))
    return replace(belief, doubtful=again)


def _safe_if(belief: Belief, assignment: Assignment, bound: int, model: Posterior) -> bool:
    """Whether an assignment would be in S with another model of one bound."""
    models = (*belief.models[:bound], model, *belief.models[bound + 1 :])
    return _is_safe_at(replace(belief, models=models), assignment)


def _is_safe_at(belief: Belief, assignment: Assignment) -> bool:
    """Whether an assignment is in S."""
    return bool(is_safe(belief, *belief.ahead(belief.encoder.encode([assignment])))[0])


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
    """V, the best by the first objective (by default the cheapest) first; the baseline is always a member, unless it is
    to be repaired."""
    study = belief.study
    tried = [
        x
        for x, own in belief.evidence.items()
        if x != study.baseline and x not in study.excluded and own.full and not own.contradicts(study.constraints)
    ]
    limits = upper_limits(belief, tried, ONE_SIDED_95)
    members = [x for x, limit in zip(tried, limits, strict=True) if limit <= 0]
    members += [] if belief.repairing else [study.baseline]
    return belief.aims.ranked(members)


def boxes(study: Study, members: list[Assignment], *, half: bool = False) -> Ints:
    """Index intervals that the step limits allow from each member of V. Shape: (|V|, d, 2), ends included.

    `half` steps are at least one grid step; categories have none.
    """
    known = [
        {value: reach(p, value, study.baseline[p.name]) for value in {v[p.name] for v in members}}
        for p in study.space.parameters
    ]
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
    """The boxes from which one trial may be chosen: of half steps where the model is not trusted, and of one value for
    what is held."""
    limits = boxes(belief.study, members, half=not belief.trusted)
    for i, parameter in enumerate(belief.study.space.parameters):
        if parameter.name in belief.held:
            limits[:, i, :] = nearest(parameter, members[0][parameter.name])
    return limits


def inside(points: Ints, limits: Ints, rest: Ints) -> Bools:
    """Which points (N, d) lie within at least one box (|V|, d, 2); what is at `rest` (d,) may be anywhere.
    Shape: (N,)."""
    ok = np.ones((len(limits), len(points)), dtype=bool)
    for i, column in enumerate(np.ascontiguousarray(points.T)):
        within = (column >= limits[:, i, 0, None]) & (column <= limits[:, i, 1, None])
        ok &= within if rest[i] < 0 else within | (column == rest[i])
    return np.asarray(ok.any(axis=0))


def reachable(grid: Grid, limits: Ints, seed: int) -> Ints:
    """C: all of it when the grid is small, else moves of 1, 2, 4, 8 steps and samples. Shape: (N, d)."""
    if grid.size <= ENUMERATE:
        points = grid.all_points()
        points = points[inside(points, limits, grid.rest)]
        points = points[grid.admissible(points)]
        if len(points) <= SAMPLES:
            return points
        # Refinement around the best of a fixed random half finds what this leaves out.
        return points[np.sort(np.random.default_rng(seed).permutation(len(points))[:SAMPLES])]
    points = grid.distinct(_sampled(limits, np.random.default_rng(seed)))
    return points[grid.admissible(points)]


def along_groups(grid: Grid, limits: Ints, start: Ints, seed: int) -> Ints:
    """Grid points where each group of parameters has a common factor of the baseline; what stands alone moves within
    the boxes, or is as at `start` (d,). Shape: (N, d)."""
    rng, lines = np.random.default_rng(seed), grid.lines(FACTORS)
    if not lines:
        return np.zeros((0, len(start)), dtype=np.int64)
    alone = sorted(set(range(len(start))) - {int(i) for members, _ in lines for i in members})
    every = np.indices([len(rows) for _, rows in lines]).reshape(len(lines), -1).T
    chosen = every if not alone else every[rng.integers(len(every), size=DRAWN)]
    points = np.tile(start, (len(chosen), 1))
    for (members, rows), at in zip(lines, chosen.T, strict=True):
        points[:, members] = rows[at]
    if alone:
        box = limits[rng.integers(len(limits), size=DRAWN)]
        points[:, alone] = rng.integers(box[:, alone, 0], box[:, alone, 1] + 1)
    fixed = np.all(limits == limits[0, :, :1], axis=(0, 2))
    points[:, fixed] = limits[0, fixed, 0]
    points = grid.distinct(points)
    points = points[inside(points, limits, grid.rest)]
    points = points[grid.admissible(points)]
    return points if len(points) <= SAMPLES else points[np.sort(rng.permutation(len(points))[:SAMPLES])]


def neighbours(points: Ints, limits: Ints, grid: Grid) -> Ints:
    """Moves of 1, 2, 4, 8 steps along each axis from the points, inside the boxes and admissible. Shape: (N', d)."""
    moved = [points]
    for axis_, size in enumerate(grid.shape):
        for step in (*_MOVES, *(-s for s in _MOVES)):
            shifted = points.copy()
            shifted[:, axis_] = np.clip(shifted[:, axis_] + step, 0, size - 1)
            moved.append(shifted)
    found = grid.distinct(np.concatenate(moved))
    found = found[inside(found, limits, grid.rest)]
    return found[grid.admissible(found)]


def is_safe(belief: Belief, mean: Floats, sd: Floats) -> Bools:
    """S: which points stay below every bound with kappa beta standard deviations; all where safety is not asked for.
    Shape: (N,).

    Beside n trials that are pending, which were chosen by the same evidence and may be wrong for the same reason, delta
    is divided among all n + 1 (union bound): that any of them is unsafe is no likelier than it is of one alone.
    """
    if not belief.study.safe:
        return np.ones(mean.shape[1], dtype=bool)
    at_once = 1 + sum(x != belief.study.baseline for x in belief.study.pending)
    beta = belief.beta if at_once == 1 else _widths(belief.study, len(belief.targets) * at_once)
    return np.asarray(np.all(mean + belief.kappa * beta * sd <= 0, axis=0))


def _widths(study: Study, events: int) -> float:
    """beta, so that the chance of any of so many events is delta at most."""
    return float(ndtri(1.0 - _delta(study) / max(events, 1)))


def _delta(study: Study) -> float:
    return min(max(1.0 - study.probability, 1e-6), 0.5)


def _sampled(limits: Ints, rng: np.random.Generator) -> Ints:
    """Uniform samples of the boxes, half of them of the first (best) one, and single-axis moves of each."""
    parts = []
    for i, box in enumerate(limits[:8]):
        count = SAMPLES // 2 if i == 0 else SAMPLES // (2 * min(max(len(limits) - 1, 1), 7))
        parts.append(rng.integers(box[:, 0], box[:, 1] + 1, size=(count, len(box))))
    return np.concatenate(parts)
