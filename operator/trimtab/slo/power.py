"""How many requests a verdict needs, and what would provide them. Pure arithmetic for preflight."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trimtab.domain.quantity import format_duration
from trimtab.domain.spec import ExperimentSpec, OutcomeConstraint, QuantileQuery, SliKind
from trimtab.ports import SliProbe
from trimtab.slo.sequential import DEFAULT_OVERDISPERSION, RATIOS
from trimtab.slo.student import z_of

POWER = 0.8
MOST_RATIO, GRID = 20.0, 200


@dataclass(frozen=True)
class Undecidable:
    """Why a bound cannot be decided, with numbers, and what would decide it."""

    problem: str
    remedy: str


def requests_needed(bound: float, ratio: float, confidence: float, power: float = POWER) -> float:
    """Requests after which a true `ratio` below `bound` is shown to be below it.

    n = ((z_a sqrt(bound (1 - bound)) + z_b sqrt(ratio (1 - ratio))) / (bound - ratio))^2, and at least the
    ln(1 / alpha) / bound of zero events (the "rule of three"; Fleiss, Statistical Methods for Rates and Proportions).
    Infinite when the ratio is not below the bound.
    """
    if ratio >= bound:
        return math.inf
    z_a, z_b = z_of(confidence), z_of(power)
    root = z_a * math.sqrt(bound * (1 - bound)) + z_b * math.sqrt(max(ratio, 0.0) * (1 - ratio))
    return max((root / (bound - ratio)) ** 2, math.log(1 / (1 - confidence)) / bound)


def least_ratio_found(delta: float, alpha: float, ratio: float, requests: float) -> float | None:
    """The least multiple of the control's bad ratio that the sequential test finds in half of the trials, bad events
    clustered threefold; None when not even 20 times as many would be found.

    With k bad events of the control and rho k of the canary the component of the mixture for delta r has the logarithm
    (rho k ln r - (1 + rho) k ln((delta r + 1) / (delta + 1))) / phi: the best of them must reach ln(K / alpha).

    Args:
        delta: the tolerated ratio.
        alpha: level of the finding.
        ratio: bad ratio of the control.
        requests: of either arm in one trial.
    """
    needed = DEFAULT_OVERDISPERSION * math.log(len(RATIOS) / alpha)
    for step in range(1, GRID + 1):
        rho = delta * math.pow(MOST_RATIO / delta, step / GRID)
        bad = requests * ratio, requests * min(rho * ratio, 1.0)
        best = max(bad[1] * math.log(r) - sum(bad) * math.log((delta * r + 1) / (delta + 1)) for r in RATIOS)
        if best >= needed:
            return rho
    return None


def undecidable(spec: ExperimentSpec, constraint: OutcomeConstraint, probe: SliProbe, pods: int) -> Undecidable | None:
    """None when one trial can decide this bound at today's traffic and the baseline's own ratio.

    Args:
        pods: ready pods of the target; the arms share its load with them.
    """
    if spec.sli(constraint.sli).kind is not SliKind.ERRORS or constraint.maximum is None:
        return _too_few(spec, constraint, probe, pods)
    if probe.requests_per_second is None or probe.bad_ratio is None:
        return None
    if probe.bad_ratio >= constraint.maximum:
        return Undecidable(
            f"the baseline itself is at {100 * probe.bad_ratio:.3g} %, the bound is {100 * constraint.maximum:.3g} %",
            "repair the service first, or raise max",
        )
    need = requests_needed(constraint.maximum, probe.bad_ratio, constraint.confidence)
    return _compare(spec, need, probe.requests_per_second, pods)


def _too_few(spec: ExperimentSpec, constraint: OutcomeConstraint, probe: SliProbe, pods: int) -> Undecidable | None:
    sli = spec.sli(constraint.sli)
    if probe.requests_per_second is None or not isinstance(sli.query, QuantileQuery):
        return None
    tail = min(sli.query.quantile, 1 - sli.query.quantile)
    return _compare(spec, max(sli.min_samples, 10 / tail), probe.requests_per_second, pods)


def _compare(spec: ExperimentSpec, need: float, rate: float, pods: int) -> Undecidable | None:
    arm_rate = rate * spec.arm_share(pods)
    got = arm_rate * spec.trial.duration
    if got >= need:
        return None
    if arm_rate <= 0:
        return Undecidable("the target gets no traffic", "send traffic to it, or wait until there is some")
    duration = format_duration(math.ceil(need / arm_rate))
    trial = f"a trial of {format_duration(spec.trial.duration)}"
    return Undecidable(
        f"{trial} sees about {got:,.0f} requests an arm, {need:,.0f} are needed",
        f"set spec.trial.duration to {duration}, raise canary.replicas, or set errors: GuardOnly for rare errors",
    )
