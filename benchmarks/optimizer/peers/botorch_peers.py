"""BoTorch: constrained noisy expected improvement, and the same idea for a known cost.

LogNei: `qLogNoisyExpectedImprovement` with a SingleTaskGP for the objective and one per constraint, optimized by
`optimize_acqf` in the continuous box and rounded to the grid: 128 quasi-random samples, 4 restarts from 128 raw samples
(the documentation's closed loop has 256, 10 and 512, which took three to four times as long), after 2 (d + 1) Sobol
points.

KnownCost: the objective is a function that is not modelled, so the expected improvement is
  (best - cost(x)) P(c(x) <= 0), P = prod_j Phi(-mu_j / sd_j)
(Schonlau 1997; Gardner et al. 2014), over grid points: a Sobol sample and steps about the best of it. While nothing
measured is feasible, P alone.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.objective import GenericMCObjective
from botorch.optim import optimize_acqf
from botorch.sampling.normal import SobolQMCNormalSampler
from scipy.special import log_ndtr

from benchmarks.optimizer.contract import Point, Result, Task
from benchmarks.optimizer.cube import Space
from benchmarks.optimizer.peer import Box, History
from benchmarks.optimizer.peers.models import Floats, fitted, predict, sobol, tensor

MC_SAMPLES, RESTARTS, RAW_SAMPLES = 128, 4, 128
POOL, ROUNDS, KEPT = 4096, 6, 8


class BotorchPeer(ABC):
    """What both share: 2 (d + 1) scrambled Sobol points, then what the subclass proposes."""

    def __init__(self, task: Task, seed: int) -> None:
        self.history = History(Space(task.axes), task.limits, task.cost)
        self._seed = seed
        self._start = sobol(len(task.axes), 2 * (len(task.axes) + 1), seed)

    def ask(self, box: Box | None) -> dict[str, float]:
        space, n = self.history.space, len(self.history)
        low, high = box.unit(space) if box else (np.zeros(space.d), np.ones(space.d))
        if n < len(self._start):
            return space.point(low + (high - low) * self._start[n])
        return space.point(self._propose(low, high))

    def tell(self, point: Point, result: Result) -> None:
        self.history.add(point, result)

    @abstractmethod
    def _propose(self, low: Floats, high: Floats) -> Floats:
        """The next point in the unit cube, between the corners. Shapes: (d,), (d,) -> (d,)."""


class LogNei(BotorchPeer):
    """Constrained qLogNEI; the objective is a black box."""

    def _propose(self, low: Floats, high: Floats) -> Floats:
        h = self.history
        torch.manual_seed(self._seed * 1000 + len(h))
        y = np.column_stack([h.costs, h.c])
        model = fitted(h.u, y, np.column_stack([np.zeros(len(h)), h.se]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            acquisition = qLogNoisyExpectedImprovement(
                model,
                X_baseline=tensor(h.u),
                sampler=SobolQMCNormalSampler(torch.Size([MC_SAMPLES]), seed=self._seed),
                objective=GenericMCObjective(_minus_cost),
                constraints=[_constraint(j + 1) for j in range(h.c.shape[1])],
                prune_baseline=True,
            )
            found, _ = optimize_acqf(
                acquisition,
                bounds=tensor(np.stack([low, high])),
                q=1,
                num_restarts=RESTARTS,
                raw_samples=RAW_SAMPLES,
                options={"batch_limit": 5, "maxiter": 200},
            )
        return np.asarray(found[0].detach().numpy(), dtype=np.float64)


class KnownCost(BotorchPeer):
    """Feasibility-weighted improvement of the known cost."""

    def _propose(self, low: Floats, high: Floats) -> Floats:
        h, space = self.history, self.history.space
        model = fitted(h.u, h.c, h.se)
        best, tried = h.best(), {tuple(p.values()) for p in h.points}
        least = None if best is None else h.costs[best]

        def value(u: Floats) -> Floats:
            mean, sd = predict(model, u)
            logs = np.sum(log_ndtr(-mean / sd), axis=1)
            points = [space.point(row) for row in u]
            if least is not None:
                gain = least - np.asarray([h.cost(p) for p in points])
                logs = np.where(gain > 0, logs + np.log(np.maximum(gain, 1e-300)), -np.inf)
            return np.where([tuple(p.values()) in tried for p in points], -np.inf, logs)

        rng = np.random.default_rng((self._seed, len(h)))
        return climb(value, low, high, None if best is None else h.u[best], rng)


def climb(
    value: Callable[[Floats], Floats], low: Floats, high: Floats, around: Floats | None, rng: np.random.Generator
) -> Floats:
    """The best of a random sample of the box, half of it about a point, then of ever smaller steps about the best."""
    d = len(low)
    pool = low + (high - low) * rng.random((POOL, d))
    if around is not None:
        near = around + 0.1 * (high - low) * rng.standard_normal((POOL // 2, d)) * (rng.random((POOL // 2, d)) < 0.5)
        pool = np.concatenate([pool[: POOL // 2], np.clip(near, low, high)])
    scores = value(pool)
    for r in range(ROUNDS):
        top = pool[np.argsort(-scores, kind="stable")[:KEPT]]
        width = 0.1 * 0.4**r * (high - low)
        moves = np.repeat(top, 64, axis=0)
        moves = np.clip(moves + width * rng.standard_normal(moves.shape), low, high)
        pool = np.concatenate([top, moves])
        scores = value(pool)
    return np.asarray(pool[int(np.argmax(scores))])


def _minus_cost(z: torch.Tensor, X: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG001
    return -z[..., 0]


def _constraint(j: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda z: z[..., j]


__all__ = ["KnownCost", "LogNei"]
