"""SCBO (Eriksson and Poloczek, Scalable constrained Bayesian optimization, AISTATS 2021) on BoTorch's primitives.

A trust region of side L about the best point (the cheapest feasible, or the least total violation while nothing is),
stretched by the objective's lengthscales at constant volume; candidates perturb the centre in min(1, 20 / d) of the
coordinates; one joint draw of objective and constraints (pathwise: Wilson et al. 2021) ranks them: the cheapest of
those drawn feasible, else the least total drawn violation. L doubles after 3 successes, halves after max(4, d)
failures, and starts anew (with a new Sobol sample) below 2^-7. The objective is mapped to normal scores (Gaussian
copula); the constraints are taken as they come. `known`: the cost is not modelled, the true one ranks the candidates.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from botorch.models import SingleTaskGP
from botorch.sampling.pathwise import draw_matheron_paths
from scipy.special import ndtri
from scipy.stats import rankdata

from benchmarks.optimizer.contract import Point, Result, Task
from benchmarks.optimizer.cube import Space
from benchmarks.optimizer.peer import Box, History
from benchmarks.optimizer.peers.models import Floats, fitted, sobol, tensor

START, LEAST, MOST = 0.8, 0.5**7, 1.6
SUCCESSES = 3


class Scbo:
    """One run; `known` when the cost is a function that need not be modelled."""

    def __init__(self, task: Task, seed: int, known: bool = False) -> None:
        self.history = History(Space(task.axes), task.limits, task.cost)
        self._seed, self._known = seed, known
        self._d = len(task.axes)
        self._starts, self._length = 0, START
        self._good = self._bad = 0
        self._best: tuple[float, float] | None = None  # (total violation, cost) of the centre, in this trust region
        self._first = 0  # the first trial that this trust region knows
        self._pending: list[Floats] = list(self._sobol())

    def _sobol(self) -> Floats:
        self._starts += 1
        return sobol(self._d, 2 * (self._d + 1), self._seed * 101 + self._starts)

    def ask(self, box: Box | None) -> dict[str, float]:
        space = self.history.space
        low, high = box.unit(space) if box else (np.zeros(space.d), np.ones(space.d))
        if self._pending:
            return space.point(low + (high - low) * self._pending[0])
        return space.point(self._propose(low, high))

    def tell(self, point: Point, result: Result) -> None:
        if not self.history.add(point, result):
            return
        now = self._rank(len(self.history) - 1)
        better = self._best is None or now < self._best
        if better:
            self._best = now
        if self._pending:
            self._pending.pop(0)
            return
        self._good, self._bad = (self._good + 1, 0) if better else (0, self._bad + 1)
        if self._good == SUCCESSES:
            self._length, self._good = min(2 * self._length, MOST), 0
        elif self._bad == max(4, self._d):
            self._length, self._bad = self._length / 2, 0
        if self._length < LEAST:
            self._length, self._good, self._bad, self._best = START, 0, 0, None
            self._first, self._pending = len(self.history), list(self._sobol())

    def _rank(self, i: int) -> tuple[float, float]:
        """Feasible before infeasible, then cheaper, or less violation."""
        violation = float(np.sum(np.maximum(self.history.c[i], 0.0)))
        return (0.0, self.history.costs[i]) if violation == 0 else (violation, 0.0)

    def _propose(self, low: Floats, high: Floats) -> Floats:
        h, first = self.history, self._first
        torch.manual_seed(self._seed * 1000 + len(h))
        rng = np.random.default_rng((self._seed, len(h)))
        u, costs = h.u[first:], np.asarray(h.costs[first:])
        centre = u[min(range(len(u)), key=lambda i: self._rank(first + i))]
        limits = fitted(u, h.c[first:], h.se[first:])
        objective = None if self._known else fitted(u, _copula(costs)[:, None], np.zeros((len(u), 1)))
        stretch = _stretch(limits if objective is None else objective)
        bottom = np.clip(centre - self._length / 2 * stretch, low, high)
        top = np.clip(centre + self._length / 2 * stretch, low, high)
        candidates = self._candidates(centre, bottom, top, rng)
        drawn = _draw(limits, candidates)
        if objective is not None:
            cost: Floats = _draw(objective, candidates)[:, 0]
        else:
            cost = np.asarray([h.cost(h.space.point(c)) for c in candidates])
        violation = np.sum(np.maximum(drawn, 0.0), axis=1)
        good = np.flatnonzero(violation == 0)
        best = good[np.argmin(cost[good])] if len(good) else np.argmin(violation)
        return np.asarray(candidates[int(best)])

    def _candidates(self, centre: Floats, low: Floats, high: Floats, rng: np.random.Generator) -> Floats:
        count = min(5000, max(2000, 200 * self._d))
        spread = low + (high - low) * sobol(self._d, count, int(rng.integers(2**31)))
        moved = rng.random((count, self._d)) <= min(1.0, 20.0 / self._d)
        none = np.flatnonzero(~moved.any(axis=1))
        moved[none, rng.integers(0, self._d, len(none))] = True
        return np.where(moved, spread, centre)


def scbo_known_cost(task: Task, seed: int) -> Scbo:
    """With the cost as a function."""
    return Scbo(task, seed, known=True)


def _copula(y: Floats) -> Floats:
    """Normal scores of the ranks."""
    return np.asarray(ndtri((rankdata(y) - 0.5) / len(y)))


def _stretch(model: SingleTaskGP) -> Floats:
    """Sides by lengthscale (the geometric mean over the outcomes), of geometric mean 1. Shape: (d,)."""
    kernel = getattr(model.covar_module, "base_kernel", model.covar_module)
    logs = np.log(kernel.lengthscale.detach().numpy())
    logs = logs.reshape(-1, logs.shape[-1]).mean(axis=0)
    return np.asarray(np.exp(logs - np.mean(logs)))


def _draw(model: SingleTaskGP, u: Floats) -> Floats:
    """One function drawn from the posterior of each outcome, at u (N, d). Shape: (N, k)."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = draw_matheron_paths(model, torch.Size([1]))(tensor(u))
    k = model.num_outputs
    values = drawn.reshape(k, len(u)).numpy().T
    return np.asarray(values, dtype=np.float64)


__all__ = ["Scbo", "scbo_known_cost"]
