"""What an assignment saves: exactly where its cost is known, else as its trials counted pods. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trimtab.control.objectives import TWO_SIDED_95, compare
from trimtab.domain.cost import CostModel
from trimtab.domain.space import Assignment
from trimtab.domain.spec import Objective, ObjectiveTerm
from trimtab.domain.trial import Trial

COST = Objective("cost", maximize=False, terms=(ObjectiveTerm(1.0),))


@dataclass(frozen=True)
class Saving:
    """$ per hour before and after, and what that saves as a fraction, with its two-sided 95 % interval."""

    before: float
    after: float
    fraction: float
    low: float
    high: float


def saving_of(cost: CostModel, baseline: Assignment, chosen: Assignment, trials: tuple[Trial, ...]) -> Saving:
    """What `chosen` saves. A cost that is known has no interval (ADR 7); else it is what canary and control of these
    trials of it cost, and what the autoscaler aims at where their pods were not counted."""
    seen = None if cost.known or chosen == baseline else compare(COST, cost, baseline, chosen, trials)
    if seen is None:
        before, after = cost.hourly(baseline), cost.hourly(chosen)
        fraction = 1 - after / before if before else 0.0
        return Saving(before, after, fraction, fraction, fraction)
    fraction = seen.improvement
    off = TWO_SIDED_95 * math.hypot(seen.canary_error, (1 - fraction) * seen.control_error) / seen.scale
    return Saving(seen.control, seen.canary, fraction, fraction - off, fraction + off)


__all__ = ["Saving", "saving_of"]
