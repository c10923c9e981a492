"""How many pods arms had where an autoscaler decides that, against how many the cost expects. Pure.

Notation: an arm gets the fraction s of the service's load; it had p pods on average (Load.pods) at q = rps_per_pod x p
requests a second. Scaled to the whole service these are p / s pods at q / s requests a second.
  r(x) = (p / s) / pods(x)    pods of those that `CostModel.pods` expects; the cost of x is hourly(x) r(x)
Both arms of a trial see the same load, so r of the canary is compared with r of its own control.
"""

from __future__ import annotations

import math

from trimtab.domain.cost import CostModel
from trimtab.domain.measurement import Arm, Sample
from trimtab.domain.space import Assignment
from trimtab.domain.trial import Load, Trial

LEAST_ERROR = 0.01  # of a mean that never moved: a scrape more or less is not seen


def load_of(trial: Trial, arm: Arm) -> Load | None:
    """What one arm was asked, None where that is not on record."""
    return next((load for load in trial.load if load.arm is arm), None)


def load_context(cost: CostModel, own: Assignment, load: Load) -> float | None:
    """What makes an arm slow for reasons outside its assignment: requests a second of one pod, but of the whole service
    where the assignment, or an autoscaler, decides how many pods share them. None where pods were not counted."""
    if cost.fixed:
        return load.rps_per_pod
    if cost.share is None:  # pods of the arm see what each of so many replicas would
        return load.rps_per_pod * cost.pods(own)
    return None if load.pods is None else load.rps_per_pod * load.pods / cost.share


def pods_ratio(cost: CostModel, own: Assignment, trial: Trial, arm: Arm) -> Sample | None:
    """r of one arm of one trial; None where its pods were not counted."""
    load = load_of(trial, arm)
    if cost.share is None or load is None or load.pods is None or not load.pods > 0:
        return None
    expected = cost.pods(own) * cost.share
    return Sample(load.pods / expected, (load.pods_error or 0.0) / expected, 1.0)


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
    weights = [1 / max(s.standard_error, LEAST_ERROR * s.value) ** 2 for s in found]
    ratio = sum(w * s.value for w, s in zip(weights, found, strict=True)) / sum(weights)
    return hourly * ratio, hourly * math.sqrt(1 / sum(weights))


__all__ = ["cost_of", "load_context", "load_of", "pods_ratio"]
