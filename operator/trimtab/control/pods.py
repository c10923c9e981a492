"""How many pods arms had where an autoscaler decides that, against how many the cost expects. Pure.

Notation: an arm gets the fraction s of the service's load; it had p pods on average (Load.pods), lambda requests a
second each, and were driven as hard as h = u / c(x) says (`driving.py`).
  q(x) = p / s                pods of the whole service as they were counted, or by their use, where both arms have it:
       = [p h / s]            within the bounds of the autoscaler
  r(x) = q(x) / pods(x)       pods of those that `CostModel.pods` expects; the cost of x is hourly(x) r(x)
r moves with the load, of which both arms of a trial see the same: the model learns the canary's r over its control's.

By counting, a number of pods tells of the load only so well: they are whole ones, and as many are kept within a
tolerance. So p has a standard error of sqrt(1 / 12 + (0.03 p)^2) at least, however still it stood. Measured: ratios of
arms of 5 to 15 pods are 0.065 off those of their fleets, which is what two such errors make.

By use, p u is all that an arm used, whatever the number of its pods, so p h is as many of them as would use c(x)
each: what the autoscaler aims at, unrounded. What that rests on:
- A fleet keeps kappa p h pods. kappa comes of tolerance and stabilization, and is the same for both arms while they are
  not tuned, so it cancels in r. Where they are, `CostModel.bounds` is None and pods are counted.
- An arm's bounds are those of the fleet times s, rounded up to whole pods. At them it has more pods than its load asks
  for, driven less hard, and p h does not move. So only the fleet's own bounds, hardly ever rounded, limit q: at its
  minimum q has a kink. Where the load crosses that within a window, the mean of [N] is above [the mean of N], by 0.4
  standard deviations of N at most: a swing of 5 % is 2 %.
- What a pod uses without any load makes p h wrong by that part of c(x) of the pods that rounding added or left out: of
  0.05 / 2 of 5 % of half a pod, which is next to nothing. Memory is nearly all of that kind, so pods are counted there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from trimtab.control.driving import by_use, driven
from trimtab.domain.cost import CostModel
from trimtab.domain.measurement import Arm, Sample
from trimtab.domain.space import Assignment
from trimtab.domain.trial import Load, Trial

ROUNDED_UP = 1.05
WHOLE = 12**-0.5  # pods: what is left of a load by rounding, uniform
KEPT = 0.03  # of the pods: by what an autoscaler tolerates, on average over trials
USED = 0.01  # of the use: nodes differ, and a counter is read at its scrapes


def load_of(trial: Trial, arm: Arm) -> Load | None:
    """What one arm was asked, None where that is not on record."""
    return next((load for load in trial.load if load.arm is arm), None)


def load_context(cost: CostModel, own: Assignment, load: Load) -> float | None:
    """What makes an arm slow for reasons outside its assignment, by requests: those a second of one pod.

    Where the assignment decides how many pods share the load, times their number, which is the load of the whole
    service. Where an autoscaler does, times the number that it aims at: that is how hard a pod is driven against what
    the autoscaler means it to be (at its target whatever the assignment, R lambda), as it takes swings of the load out.
    None where pods were not counted.
    """
    if cost.share is not None and load.pods is None:
        return None
    return load.rps_per_pod if cost.fixed else load.rps_per_pod * cost.pods(own)


def hardest(controls: Sequence[float], seen: Sequence[float], tolerance: float) -> float | None:
    """How hard pods are driven at most, by requests, from what arms saw: an autoscaler stands still up to
    (1 + tolerance) of its target, and the controls, which run at it on average, are at most by a twentieth below it for
    want of whole pods."""
    usual = median(controls) if controls else None
    found = [*seen, *([] if usual is None else [ROUNDED_UP * (1 + tolerance) * usual])]
    return max(found, default=None)


def pods_ratio(cost: CostModel, own: Assignment, trial: Trial, arm: Arm) -> Sample | None:
    """r of one arm of one trial; None where its pods were not counted."""
    load = load_of(trial, arm)
    if cost.share is None or load is None or load.pods is None or not load.pods > 0:
        return None
    expected, hard = cost.pods(own) * cost.share, driven(cost, own, load)
    if cost.bounds is not None and hard is not None and load.use and by_use(trial):
        ratio = cost.bounds.within(load.pods * hard / cost.share, own) / cost.pods(own)
        return Sample(ratio, ratio * math.hypot(USED, (load.use_error or 0.0) / load.use), 1.0)
    error = max(load.pods_error or 0.0, math.hypot(WHOLE, KEPT * load.pods))
    return Sample(load.pods / expected, error / expected, 1.0)


def cost_of(cost: CostModel, own: Assignment, trials: tuple[Trial, ...], arm: Arm) -> tuple[float, float] | None:
    """(cost, standard error) of an arm, $ per hour of the whole service: as it is known, else r pooled by inverse
    variance over these trials. None where one of them did not count its pods."""
    hourly = cost.hourly(own)
    if cost.known:
        return hourly, 0.0
    counted = [pods_ratio(cost, own, trial, arm) for trial in trials]
    found = [sample for sample in counted if sample is not None]
    if not found or len(found) < len(counted):
        return None
    weights = [1 / s.standard_error**2 for s in found]
    ratio = sum(w * s.value for w, s in zip(weights, found, strict=True)) / sum(weights)
    return hourly * ratio, hourly * math.sqrt(1 / sum(weights))


def against_control(cost: CostModel, own: Assignment, baseline: Assignment, trial: Trial) -> Sample | None:
    """r of the canary over that of its control, which saw the same load; standard errors add as those of logarithms."""
    canary, control = pods_ratio(cost, own, trial, Arm.CANARY), pods_ratio(cost, baseline, trial, Arm.CONTROL)
    if canary is None or control is None:
        return None
    ratio = canary.value / control.value
    relative = (s.standard_error / s.value for s in (canary, control))
    return Sample(ratio, ratio * math.hypot(*relative), 1.0)


__all__ = [
    "against_control",
    "cost_of",
    "hardest",
    "load_context",
    "load_of",
    "pods_ratio",
]
