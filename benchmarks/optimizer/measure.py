"""Figures from runs, with bootstrap intervals over runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from benchmarks.optimizer.safety import LEVELS, Run

Floats = NDArray[np.float64]
RESAMPLES = 2000
NEAR = 1.05
AT_TRIALS = (5, 10, 15, 20, 30, 40)


@dataclass(frozen=True)
class Estimate:
    """A statistic over runs with its 95 % bootstrap interval (percentiles); nan where there is nothing to show."""

    value: float
    low: float
    high: float


def bootstrap(values: Sequence[float], statistic: Callable[[Floats], Floats], seed: int = 0) -> Estimate:
    """`statistic` maps (resamples, n) to (resamples,). Efron 1979, the percentile interval."""
    if not values:
        return Estimate(math.nan, math.nan, math.nan)
    data = np.asarray(values, dtype=float)
    drawn = data[np.random.default_rng(seed).integers(0, len(data), (RESAMPLES, len(data)))]
    found = statistic(drawn)
    with np.errstate(invalid="ignore"):
        low, high = (_quantile(found, q) for q in (0.025, 0.975))
    return Estimate(float(statistic(data[None, :])[0]), low, high)


def mean(values: Sequence[float]) -> Estimate:
    return bootstrap(values, lambda drawn: np.mean(drawn, axis=1))


def median(values: Sequence[float]) -> Estimate:
    """Infinite values (never reached) count as the greatest."""
    return bootstrap(values, lambda drawn: np.median(drawn, axis=1))


def deviation(values: Sequence[float]) -> Estimate:
    return bootstrap(values, lambda drawn: np.std(drawn, axis=1, ddof=1 if drawn.shape[1] > 1 else 0))


def unsafe(run: Run) -> int:
    return sum(row.unsafe for row in run.rows)


def gross(run: Run) -> int:
    return sum(row.gross for row in run.rows)


def severity(run: Run) -> float:
    """ln(value / bound) of the worst trial, 0 when none was unsafe."""
    return max([0.0, *(row.severity for row in run.rows if row.unsafe)])


def trials_until_near(run: Run) -> float:
    """Trials until a point was tried that truly holds at the peak and costs at most 5 % more than the optimum; a
    baseline that does counts as the first trial."""
    return next((row.index + 1.0 for row in run.rows if row.feasible and row.cost <= NEAR), math.inf)


def regret(run: Run, trials: int) -> float:
    """Cost of the best truly feasible point tried so far, over the optimum's, less 1; nan before there was one."""
    return min([row.cost for row in run.rows[:trials] if row.feasible], default=math.nan) - 1.0


def regret_at_budget(run: Run, budget: float) -> float:
    """The same by the time `budget` bad requests of the canary were burned."""
    spent, best = 0.0, math.nan
    for row in run.rows:
        spent += row.burned
        if spent > budget:
            break
        if row.feasible:
            best = row.cost if math.isnan(best) else min(best, row.cost)
    return best - 1.0


def burned(run: Run) -> float:
    return sum(row.burned for row in run.rows)


def coverage(runs: Iterable[Run], *, of_truth: bool = False) -> dict[float, tuple[float, int]]:
    """(fraction of residuals inside the central interval, how many) by level."""
    found = np.abs([z for run in runs for row in run.rows for z in (row.truths if of_truth else row.outcomes)])
    return {
        level: (float(np.mean(found <= NormalDist().inv_cdf(0.5 + level / 2))) if len(found) else math.nan, len(found))
        for level in LEVELS
    }


def suggestion_seconds(runs: Iterable[Run], share: float) -> float:
    """Quantile of the CPU time of `ask`."""
    found = [row.seconds for run in runs for row in run.rows]
    return _quantile(np.asarray(found), share) if found else math.nan


def _quantile(values: Floats, share: float) -> float:
    """By rank, so that infinite values do no harm."""
    ordered = np.sort(values)
    return float(ordered[min(int(share * len(ordered)), len(ordered) - 1)])
