"""What a safe point is worth: acquisition functions over one and the same safe set.

Notation: N safe points; s (N,) improvement on what would be recommended now, as a fraction of the baseline's amount:
by default the saving of a known cost, else what is expected over joint draws (`improvement.py`). For each bound j its
latent g_j at the peak is N(mu_j, sd_j^2), and what a trial would read of it, raised by the room that a recommendation
needs (`room.room`), is N(m_j, v_j). Readings of a bound relative to the control need none.
  ConstrainedEI  log s + sum_j log P(g_j <= 0) + sum_j log P(reading_j <= 0)
                 for a known cost the expected improvement is s x the chance to be feasible (Schonlau 1997; Gardner et
                 al. 2014); in logs, since products of tails underflow (Ament et al. 2023)
  PI             the same without log s: any improvement counts alike (Kushner 1964)
  UCB            log s where m_j - beta sqrt(v_j) <= 0 for all j: optimism (Srinivas et al. 2010)
  Thompson       log s where one joint draw of all readings is <= 0 (Thompson 1933; with bounds: Eriksson and Poloczek
                 2021)
UCB and Thompson rank what is not feasible by its worst violation, below all that is.
  NoisyEI, HypervolumeEI  log feasibility and room as in ConstrainedEI, with the log of the expected improvement of a
                 measured objective, or of the hypervolume of two, in place of log s. ConstrainedEI means the same where
                 the objective is one of these
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky
from scipy.special import log_ndtr

from trimtab.optimize.data import hinted_rows
from trimtab.optimize.room import room
from trimtab.optimize.safe import Belief

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DECIMALS = 9  # what is below is noise of the linear algebra; ties go to the first point in grid order
DRAWN = 256  # points of one joint draw: its cost grows with their cube
INFEASIBLE = -10.0  # below log s of any saving that is worth a trial
_JITTER = 1e-9


@dataclass(frozen=True)
class Odds:
    """What is believed of N points. Shapes: u (N, D) encoded, saving (N,), mean and sd (m, N) at the peak. `seed` is
    for what is drawn. `log_saving` (N,) is the log of an improvement that is expected, not known."""

    belief: Belief
    u: Floats
    saving: Floats
    mean: Floats
    sd: Floats
    seed: int = 0
    log_saving: Floats | None = None


Score = Callable[[Odds], Floats]
"""Value of each point, (N,)."""


def log_feasibility(mean: Floats, sd: Floats) -> Floats:
    """sum_j log Phi(-mu_j / sd_j), finite in both tails. Shapes: (m, N), (m, N) -> (N,)."""
    return np.asarray(np.sum(log_ndtr(-mean / np.maximum(sd, 1e-9)), axis=0))


def readings(belief: Belief, u: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of what a trial at the encoded points (N, D) would read of each bound, raised by the room that
    a recommendation needs. Shapes: (m, N), (m, N)."""
    at, driven = belief.inputs(u, belief.loads.usual), belief.study.driven
    pods = None if driven is None else belief.grid.pods(driven, u)
    means, variances = np.zeros((len(belief.models), len(u))), np.zeros((len(belief.models), len(u)))
    for j, (target, model) in enumerate(zip(belief.targets, belief.models, strict=True)):
        seen, sd = model.predict(at)
        means[j] = seen + room(belief, target, pods)
        variances[j] = sd**2 + model.reading_variance(seen)
    return means, variances


def expecting(belief: Belief) -> Belief:
    """What would be believed with the hints of another Experiment, and if every pending trial came out at mu + sd:
    where its bounds are then surer, another trial teaches less. For scoring only: S and V are those of what was
    measured."""
    study, models = belief.study, list(belief.models)
    for j, (target, model) in enumerate(zip(belief.targets, belief.models, strict=True)):
        if study.hints:
            told = hinted_rows(study, target, belief.encoder, belief.loads, model.prior.tau)
            models[j] = model.expecting(told.at, told.y, told.v)
    belief = replace(belief, models=tuple(models)) if study.hints else belief
    waiting = [x for x in study.pending if x != study.baseline]
    if not waiting:
        return belief
    at = belief.inputs(belief.encoder.encode(waiting), belief.loads.usual)
    for j, model in enumerate(belief.models):
        mean, sd = model.predict(at)
        models[j] = model.expecting(at, mean + sd, model.reading_variance(mean))
    return replace(belief, models=tuple(models))


def log_room(belief: Belief, u: Floats) -> Floats:
    """Log of the chance that one trial measures the encoded points (N, D) with room. Shape: (N,)."""
    mean, variance = readings(belief, u)
    return log_feasibility(mean, np.sqrt(variance))


def constrained_ei(odds: Odds) -> Floats:
    """log s + log feasibility + log room; -inf where nothing is saved."""
    logs = _log_saving(odds.saving) if odds.log_saving is None else odds.log_saving
    return _rounded(logs + _rounded(_log_chance(odds)))


def probability(odds: Odds) -> Floats:
    """PI: log feasibility + log room; -inf where nothing is saved."""
    return _rounded(np.where(odds.saving > 0, _log_chance(odds), -np.inf))


def _log_chance(odds: Odds) -> Floats:
    return log_feasibility(odds.mean, odds.sd) + log_room(odds.belief, odds.u)


def optimistic(odds: Odds) -> Floats:
    """UCB: log s where the readings may be within every bound at beta standard deviations."""
    mean, variance = readings(odds.belief, odds.u)
    return _ranked(odds.saving, np.max(mean - odds.belief.beta * np.sqrt(variance), axis=0, initial=-np.inf))


def thompson(odds: Odds) -> Floats:
    """log s where one joint draw of the readings is within every bound; only `DRAWN` points take part."""
    value = np.full(len(odds.saving), -np.inf)
    rng = np.random.default_rng(odds.seed)
    some = np.sort(rng.permutation(len(odds.saving))[:DRAWN])
    if not len(some):
        return value
    mean, variance = readings(odds.belief, odds.u[some])
    at = odds.belief.inputs(odds.u[some], odds.belief.loads.usual)
    worst = np.full(len(some), -np.inf)
    for j, model in enumerate(odds.belief.models):
        worst = np.maximum(worst, mean[j] + _draw(model.covariance(at, at), variance[j], rng))
    value[some] = _ranked(odds.saving[some], worst)
    return value


def _draw(covariance: Floats, variance: Floats, rng: np.random.Generator) -> Floats:
    """One draw of N(0, covariance), with a trial's own noise on the diagonal. Shape: (N,)."""
    whole = covariance.copy()
    whole[np.diag_indices(len(whole))] = variance + _JITTER
    return np.asarray(cholesky(whole, lower=True) @ rng.standard_normal(len(whole)))


def _log_saving(saving: Floats) -> Floats:
    positive = saving > 0
    return np.where(positive, np.log(np.where(positive, saving, 1.0)), -np.inf)


def _ranked(saving: Floats, worst: Floats) -> Floats:
    """log s where the worst bound holds, else how far it is broken, below every saving; -inf where nothing is saved."""
    return _rounded(np.where((worst <= 0) | (saving <= 0), _log_saving(saving), INFEASIBLE - np.maximum(worst, 0.0)))


def _rounded(value: Floats) -> Floats:
    return np.asarray(np.round(value, DECIMALS))


SCORES: MappingProxyType[str, Score] = MappingProxyType(
    {
        "ConstrainedEI": constrained_ei,
        "NoisyEI": constrained_ei,
        "HypervolumeEI": constrained_ei,
        "PI": probability,
        "UCB": optimistic,
        "Thompson": thompson,
    }
)
JOINT = frozenset({"Thompson"})
"""Scores that mean something within one call only: one draw, one ranking."""
