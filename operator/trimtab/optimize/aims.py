"""The objectives as functions of assignments: known, or modelled like a bound, at the load that trials usually see.

Notation: K objectives in the units people wrote, signed so that less is better; n places, N points, S draws.
  o_k(x) = sum_i w_ki v_i(x), v_i the cost or an SLI r_i exp(+-f_i(x)), f_i(x) ~ N(m_i, s_i^2) of its surrogate
           mean and variance of exp(f) are those of a lognormal; the surrogates are independent of each other
Where an autoscaler decides how many pods there are, the cost is a known part times such an r exp(f) of the pods (PODS).
Both arms of a trial share its effect in the model (surrogate.py), so what made a trial slow as a whole cancels where
an assignment is compared with the baseline. An SLI's value is the one at the usual load (the trials' median), of which
the data are: at the peak, which safety is asked for, it would be mostly the prior's slope.
Joint draws: f at the places is drawn from their joint posterior, f at a point from what is left given the places'
(Letham et al. 2019, section 3.2), with the same standard normals for every point. These are a Latin hypercube in the
middle of its cells (McKay, Beckman and Conover 1979), so each of them alone is integrated as by the midpoint rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import ndtri

from trimtab.domain.space import Assignment
from trimtab.domain.study import PODS, ObjectiveValue, Study, Symptom
from trimtab.optimize.data import LoadScale, build_rows, has_counts, hinted_rows
from trimtab.optimize.encoding import Encoder
from trimtab.optimize.health import checked, fitter
from trimtab.optimize.kernel import Inputs
from trimtab.optimize.objective import loadless, teaching, weights
from trimtab.optimize.surrogate import JITTERS, Posterior, cholesky, prior_for

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DRAWS = 256
DOUBT = 0.05  # one-sided
_EXPONENT = 12.0


@dataclass(frozen=True)
class Aims:
    """What the study wants less of. `models` are those of `study.measured`, in its order."""

    study: Study
    encoder: Encoder
    loads: LoadScale
    models: tuple[Posterior, ...] = ()

    @property
    def known(self) -> bool:
        """The cost alone is minimized: nothing has to be modelled."""
        return not self.study.objectives

    @cached_property
    def scales(self) -> Floats:
        """The amount of each objective at the baseline, sum_i |w_i| v_i: what fractions are of. Shape: (K,)."""
        study = self.study
        levels = {t.name: t.bound for t in study.measured}
        cost = study.cost.hourly(study.baseline) * levels.get(PODS, 1.0)
        if self.known:
            return np.asarray([cost])
        amounts = [sum(abs(w) * (cost if n is None else levels[n]) for n, w in weights(o)) for o in study.objectives]
        return np.asarray([max(amount, 1e-300) for amount in amounts])

    @property
    def scale(self) -> float:
        """That of the first objective."""
        return float(self.scales[0])

    def value(self, assignment: Assignment) -> float:
        """Mean of the first objective, less is better."""
        return self.study.cost.hourly(assignment) if self.known else float(self.means([assignment])[0, 0])

    def saving(self, assignment: Assignment) -> float:
        """Expected improvement of the first objective on the baseline, as a fraction of the baseline's amount."""
        return (self.value(self.study.baseline) - self.value(assignment)) / self.scale

    def ranked(self, assignments: Sequence[Assignment]) -> list[Assignment]:
        """By the first objective, best first; the given order decides nothing."""
        means = self.means(assignments)[0].tolist() if assignments else []
        return [x for _, x in sorted(zip(means, assignments, strict=True), key=lambda pair: (pair[0], pair[1].items_))]

    def means(self, assignments: Sequence[Assignment]) -> Floats:
        """Mean of every objective. Shape: (K, N)."""
        return self.moments(assignments)[0]

    def moments(self, assignments: Sequence[Assignment]) -> tuple[Floats, Floats]:
        """Mean and sd of every objective. Shapes: (K, N), (K, N)."""
        cost = np.asarray([self.study.cost.hourly(x) for x in assignments], dtype=np.float64)
        u = self.encoder.encode(assignments)
        pairs = [model.predict(self.inputs(u)) for model in self.models]
        expected: dict[str | None, Floats] = {None: cost}
        spread: dict[str | None, Floats] = {None: np.zeros(len(cost))}
        for target, (m, s) in zip(self.study.measured, pairs, strict=True):
            mean = target.bound * np.exp(np.clip((m if target.upper else -m) + s**2 / 2, -_EXPONENT, _EXPONENT))
            expected[target.name], spread[target.name] = mean, mean**2 * np.expm1(np.minimum(s**2, _EXPONENT))
        if PODS in expected:
            expected[None], spread[None] = cost * expected[PODS], cost**2 * spread[PODS]
        if self.known:
            return cost[None, :], spread[None][None, :]
        totals = [sum(w * expected[n] for n, w in weights(o)) for o in self.study.objectives]
        variances = [sum(w**2 * spread[n] for n, w in weights(o)) for o in self.study.objectives]
        return np.stack(totals), np.sqrt(np.stack(variances))

    def inputs(self, u: Floats) -> Inputs:
        """Points (N, D) at the usual load, now."""
        return Inputs(u, np.full(len(u), self.loads.usual), np.full(len(u), self.study.now))

    def beyond_doubt(self, assignments: Sequence[Assignment]) -> Bools:
        """Which improve an objective on the baseline by `min_improvement`, and surely: the lower end of the one-sided
        95 % interval of the improvement, arms paired, is above 0. What is known has no interval. Shape: (K, N)."""
        least = self.study.min_improvement
        if self.known:
            return np.asarray([[self.saving(x) >= least for x in assignments]], dtype=bool).reshape(1, len(assignments))
        if not assignments:
            return np.zeros((len(self.study.objectives), 0), dtype=bool)
        draws = self.improvements(assignments)
        low = np.quantile(draws, DOUBT, axis=1)
        return np.asarray((draws.mean(axis=1) >= least) & (low > 0))

    def improvements(self, assignments: Sequence[Assignment]) -> Floats:
        """Draws of each objective's improvement on the baseline, as fractions. Shape: (K, S, N)."""
        draws = Draws(self, [self.study.baseline], self.study.search.seed)
        return (draws.at_places - draws.of(assignments)) / self.scales[:, None, None]

    def values(self, assignment: Assignment) -> tuple[ObjectiveValue, ...]:
        """Every objective at one assignment, in its own unit and direction; none where the cost alone counts."""
        if self.known:
            return ()
        mean, sd = self.moments([assignment, self.study.baseline])
        draws = self.improvements([assignment])[:, :, 0]
        low, high = np.quantile(draws, [0.025, 0.975], axis=1)
        found = []
        for k, objective in enumerate(self.study.objectives):
            sign = -1.0 if objective.maximize else 1.0
            numbers = (sign * mean[k, 0], sd[k, 0], sign * mean[k, 1], draws[k].mean(), low[k], high[k])
            found.append(ObjectiveValue(objective.name, *(round(float(v), 9) for v in numbers)))
        return tuple(found)

    def expecting(self) -> Aims:
        """With what another Experiment hints at, and as if every pending trial came out as is most likely. For scoring
        only."""
        study, models = self.study, list(self.models)
        waiting = [x for x in study.pending if x != study.baseline]
        for j, target in enumerate(study.measured):
            if study.hints:
                told = hinted_rows(teaching(study), target, self.encoder, self.loads, models[j].prior.tau)
                models[j] = models[j].expecting(told.at, told.y, told.v)
            if waiting:
                at = self.inputs(self.encoder.encode(waiting))
                mean, _ = models[j].predict(at)
                models[j] = models[j].expecting(at, mean, models[j].reading_variance(mean))
        return replace(self, models=tuple(models)) if study.hints or waiting else self


class Draws:
    """Joint draws of every objective at some places and, given them, at any point. Deterministic by its seed."""

    def __init__(self, aims: Aims, places: Sequence[Assignment], seed: int) -> None:
        self.aims, self.places = aims, places
        self._at = aims.inputs(aims.encoder.encode(places))
        normals = hypercube(DRAWS, len(aims.models) * (len(places) + 1), seed)
        self._joint = normals.reshape(DRAWS, len(aims.models), len(places) + 1)
        covariances = [model.covariance(self._at, self._at) for model in aims.models]
        nothing = np.full(len(places), JITTERS[1])
        self._factors = [cholesky(covariance, nothing)[0] for covariance in covariances]
        self.at_places = self._objectives(
            [
                model.predict(self._at)[0] + self._joint[:, j, :-1] @ factor.T
                for j, (model, factor) in enumerate(zip(aims.models, self._factors, strict=True))
            ],
            np.asarray([aims.study.cost.hourly(x) for x in places]),
        )

    def of(self, assignments: Sequence[Assignment]) -> Floats:
        """Draws at assignments. Shape: (K, S, N)."""
        cost = np.asarray([self.aims.study.cost.hourly(x) for x in assignments], dtype=np.float64)
        return self.at(self.aims.encoder.encode(assignments), cost)

    def at(self, u: Floats, cost: Floats) -> Floats:
        """Draws at encoded points (N, D) of such a cost (N,). Shape: (K, S, N)."""
        at, latent = self.aims.inputs(u), []
        for j, (model, factor) in enumerate(zip(self.aims.models, self._factors, strict=True)):
            mean, sd = model.predict(at)
            tied = solve_triangular(factor, model.covariance(self._at, at), lower=True)
            left = np.sqrt(np.maximum(sd**2 - np.sum(tied**2, axis=0), 0.0))
            latent.append(mean + self._joint[:, j, :-1] @ tied + self._joint[:, j, -1:] * left)
        return self._objectives(latent, cost)

    def _objectives(self, latent: list[Floats], cost: Floats) -> Floats:
        """From draws of f of every SLI, each (S, N), to draws of every objective. Shape: (K, S, N)."""
        study = self.aims.study
        amounts: dict[str | None, Floats] = {None: np.broadcast_to(cost, (DRAWS, len(cost)))}
        for target, f in zip(study.measured, latent, strict=True):
            amounts[target.name] = target.bound * np.exp(np.clip(f if target.upper else -f, -_EXPONENT, _EXPONENT))
        if PODS in amounts:
            amounts[None] = amounts[None] * amounts[PODS]
        if self.aims.known:
            return np.asarray(amounts[None][None])
        return np.stack([sum(w * amounts[n] for n, w in weights(o)) for o in study.objectives])


def hypercube(draws: int, dimensions: int, seed: int) -> Floats:
    """A Latin hypercube of standard normals: each column has the quantiles (i + 1/2) / draws once. Shape: (draws,
    dimensions)."""
    quantiles = ndtri((np.arange(draws) + 0.5) / draws)
    rng = np.random.default_rng(seed)
    return np.asarray([quantiles[rng.permutation(draws)] for _ in range(dimensions)]).reshape(dimensions, draws).T


@dataclass(frozen=True)
class Learned:
    """The aims, what is wrong with their models, and the numbers of the outcomes that are to be measured once more."""

    aims: Aims
    symptoms: tuple[Symptom, ...] = ()
    doubtful: tuple[int, ...] = ()


def learn(study: Study, encoder: Encoder, loads: LoadScale) -> Learned:
    """Fit one surrogate per measured SLI.

    Raises:
        NumericalFailure: a surrogate cannot even be conditioned in prior mode.
    """
    if not study.measured:
        return Learned(Aims(study, encoder, loads))
    told = teaching(study)
    everything = (*study.inherited, *study.outcomes)
    models: list[Posterior] = []
    symptoms: list[Symptom] = []
    doubtful: list[int] = []
    for target in study.measured:
        pods = target.name == PODS
        signs = np.zeros_like(encoder.signs) if pods else encoder.signs  # the trend is the cost's
        prior = prior_for(target.kind, has_counts(told, target), signs, len(study.space.parameters))
        data = loadless(told) if pods else told
        rows = build_rows(data, target, encoder, loads, (), math.exp(2 * prior.tau[0]))
        fitted = fitter(encoder.groups, prior, study.max_fit_evaluations)
        found = checked(target.name, rows, fitted, [t.index for t in everything])
        models.append(found.model)
        symptoms += found.symptoms
        if found.doubtful is not None:
            doubtful.append(int(rows.trial[found.doubtful]))
    return Learned(Aims(study, encoder, loads, tuple(models)), tuple(symptoms), tuple(doubtful))


__all__ = ["DRAWS", "Aims", "Draws", "Learned", "hypercube", "learn"]
