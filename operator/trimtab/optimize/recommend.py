"""The recommendation: the cheapest EVALUATED assignment that is feasible at peak with a margin, or the baseline.

Margin: mu_j + 1.88 sd_j <= -0.015 for every bound (one-sided 97 %; measured in ADR 3 between 1.64 sd with 1 %, which
saves a little more but broke a bound once in 120 runs, and 2.13 sd with 2 %, which loses savings when the frontier just
misses it). Its own trials must not contradict it, and scikit-learn must agree on mu and sd (crosscheck.py).
"""

from __future__ import annotations

from trimtab.domain.space import Assignment
from trimtab.domain.study import Recommended, Study
from trimtab.optimize.safe import Belief, upper_limits

WIDTHS = 1.88
MARGIN = 0.015


def keep_baseline(study: Study, why: str) -> Recommended:
    """The baseline as the answer."""
    return Recommended(study.baseline, True, 0.0, (), why)


def saving(study: Study, assignment: Assignment) -> float:
    """Fraction of the baseline's cost that the assignment saves."""
    baseline = study.cost.hourly(study.baseline)
    return (baseline - study.cost.hourly(assignment)) / baseline


def recommendable(belief: Belief) -> list[Assignment]:
    """Evaluated assignments that hold every bound at peak with the margin, cheapest first (the baseline excluded)."""
    study = belief.study
    tried = [
        x
        for x, own in belief.evidence.items()
        if x != study.baseline
        and x not in study.excluded
        and own.clean > 0
        and not own.contradicts(study.constraints)
        and study.space.violated(x) is None
        and saving(study, x) >= study.min_improvement
    ]
    limits = upper_limits(belief, tried, WIDTHS)
    good = [x for x, limit in zip(tried, limits, strict=True) if limit <= -MARGIN]
    return sorted(good, key=lambda x: (study.cost.hourly(x), study.space.format(x)))


def recommend(belief: Belief) -> Recommended:
    """The cheapest of `recommendable`, with what the model expects at peak."""
    study = belief.study
    good = recommendable(belief)
    if not good:
        evaluated = sum(own.clean > 0 for own in belief.evidence.values())
        return keep_baseline(
            study,
            f"keep the baseline: none of {evaluated} evaluated assignments saves {study.min_improvement:.0%} or more "
            f"and holds every bound at peak with a margin",
        )
    best = good[0]
    share = saving(study, best)
    clean = belief.evidence[best].clean
    message = (
        f"{clean} complete trial{'s' if clean != 1 else ''}, every bound holds at peak with a margin of {MARGIN:.1%}"
    )
    return Recommended(best, False, share, belief.predictions(best), message)
