"""What is true of what the ways recommend, and by how much one way is cheaper than another.

A recommendation that breaks a bound at the peak is worth nothing: it has to be taken back, so it is scored as what runs
today costs. Differences are paired by seed: both ways met the same load and the same noise. Costs are in shares of
today's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from benchmarks.joint.principle import Reached, reference, truth_of
from benchmarks.joint.services import Service
from benchmarks.joint.ways import WAYS, Tuned, tune

DRAWS: Final = 10_000


@dataclass(frozen=True)
class Outcome:
    """A study and the truth about it. `today` is $ per hour of the service as it is; `unsafe` counts the trials whose
    values break a bound at the peak."""

    tuned: Tuned
    reached: Reached
    today: float
    unsafe: int

    @property
    def score(self) -> float:
        """Of today's cost: 1 where the recommendation does not hold."""
        return self.reached.cost / self.today if self.reached.holds else 1.0


@dataclass(frozen=True)
class Difference:
    """By how much the other way costs more than the joint one, in shares of today's cost: mean, 95 % intervals by
    bootstrap and by Student's t, and in how many of the seeds which is cheaper."""

    mean: float
    low: float
    high: float
    t_low: float
    t_high: float
    joint_cheaper: int
    other_cheaper: int
    equal: int

    @property
    def sign_p(self) -> float:
        """Two-sided exact sign test; seeds without a difference say nothing."""
        decided = self.joint_cheaper + self.other_cheaper
        return float(stats.binomtest(self.joint_cheaper, decided).pvalue) if decided else 1.0


def measured(service: Service, seed: int, trials: int) -> list[Outcome]:
    """One study of each way."""
    made = reference(service)
    today = truth_of(made, service.today).cost
    found = []
    for way in WAYS:
        tuned = tune(service, way, seed, trials)
        unsafe = sum(not made.truth.holds(x.assignment, made.peak_rps) for x in tuned.tried)
        found.append(Outcome(tuned, truth_of(made, tuned.final), today, unsafe))
    return found


def difference(joint: Sequence[Outcome], other: Sequence[Outcome]) -> Difference:
    """Of the same seeds in the same order."""
    assert [a.tuned.seed for a in joint] == [b.tuned.seed for b in other]
    each = np.array([b.score - a.score for a, b in zip(joint, other, strict=True)])
    rng = np.random.default_rng(0)
    means = each[rng.integers(0, len(each), (DRAWS, len(each)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    half = float(stats.t.ppf(0.975, len(each) - 1) * stats.sem(each)) if len(each) > 1 else float("inf")
    mean = float(each.mean())
    cheaper, dearer = int((each > 0).sum()), int((each < 0).sum())
    equal = len(each) - cheaper - dearer
    return Difference(mean, float(low), float(high), mean - half, mean + half, cheaper, dearer, equal)


__all__ = ["Difference", "Outcome", "difference", "measured"]
