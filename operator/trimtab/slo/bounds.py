"""One bound against one pair of measurements: surely kept, surely broken, or not decided."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from trimtab.domain.measurement import Reading, Sample
from trimtab.domain.spec import OutcomeConstraint, RelativeBound, Sli
from trimtab.slo.estimate import errors, interval
from trimtab.slo.words import show, show_sample


class Standing(StrEnum):
    KEPT = "kept"  # the interval lies within the bound
    OPEN = "open"  # it straddles the bound
    BROKEN = "broken"  # it lies beyond the bound


@dataclass(frozen=True)
class BoundCheck:
    """`words` are one line with numbers."""

    standing: Standing
    words: str


def check(sli: Sli, constraint: OutcomeConstraint, canary: Sample, control: Reading | None) -> BoundCheck:
    """Judge every part of a constraint; the worst part decides."""
    checks = [BoundCheck(Standing.KEPT, f"{constraint.sli} {show_sample(sli, canary, constraint.confidence)}")]
    low, high = interval(canary, constraint.confidence)
    shown = show_sample(sli, canary, constraint.confidence)
    if constraint.maximum is not None:
        standing = _above(low, high, constraint.maximum)
        checks.append(BoundCheck(standing, f"{sli.name} {shown} {_sign(standing)} {show(sli, constraint.maximum)}"))
    if constraint.minimum is not None:
        standing = _above(-high, -low, -constraint.minimum)
        words = f"{sli.name} {shown} {'<' if standing is Standing.BROKEN else '>='} {show(sli, constraint.minimum)}"
        checks.append(BoundCheck(standing, words))
    if constraint.relative is not None and isinstance(control, Sample):
        checks.append(_relative(sli, constraint.relative, canary, control, constraint.confidence))
    order = (Standing.BROKEN, Standing.OPEN, Standing.KEPT)
    worst = min(checks, key=lambda c: order.index(c.standing))
    return worst if worst.standing is not Standing.KEPT or len(checks) == 1 else checks[1]


def beyond(constraint: OutcomeConstraint, canary: Sample, control: Reading | None) -> bool:
    """Whether the values themselves lie beyond any part of the constraint: without that `check` never says BROKEN, and
    this is a hundredth of its work."""
    if constraint.maximum is not None and canary.value > constraint.maximum:
        return True
    if constraint.minimum is not None and canary.value < constraint.minimum:
        return True
    if constraint.relative is None or not isinstance(control, Sample):
        return False
    return canary.value > _allowed(constraint.relative, control)


def no_worse(sli: Sli, constraint: OutcomeConstraint, canary: Sample, control: Reading | None) -> bool:
    """Whether a canary that breaks the constraint is not surely worse than its control, and keeps the part of the
    constraint that is relative to it: what it breaks, the present settings break as well. Without a control: no."""
    if not isinstance(control, Sample):
        return False
    if constraint.relative is not None:
        found = _relative(sli, constraint.relative, canary, control, constraint.confidence)
        if found.standing is Standing.BROKEN:
            return False
    mine, other = errors(canary, constraint.confidence), errors(control, constraint.confidence)
    if constraint.maximum is not None and canary.value > constraint.maximum:
        return canary.value - control.value <= math.hypot(mine[0], other[1])
    return constraint.minimum is not None and control.value - canary.value <= math.hypot(mine[1], other[0])


def _sign(standing: Standing) -> str:
    return ">" if standing is Standing.BROKEN else "against a bound of"


def _above(low: float, high: float, bound: float) -> Standing:
    if low > bound:
        return Standing.BROKEN
    return Standing.KEPT if high <= bound else Standing.OPEN


def _relative(sli: Sli, rule: RelativeBound, canary: Sample, control: Sample, confidence: float) -> BoundCheck:
    """Difference to what the control allows, with both standard errors."""
    factor, allowed = _factor(rule), _allowed(rule, control)
    mine, other = errors(canary, confidence), errors(control, confidence)
    down, up = math.hypot(mine[0], factor * other[1]), math.hypot(mine[1], factor * other[0])
    difference = canary.value - allowed
    standing = _above(difference - down, difference + up, 0.0)
    sign = ">" if standing is Standing.BROKEN else "against"
    words = (
        f"{sli.name} {show_sample(sli, canary, confidence)} {sign} {show(sli, allowed)}, "
        f"which the control's {show(sli, control.value)} allows"
    )
    return BoundCheck(standing, words)


def _factor(rule: RelativeBound) -> float:
    return 1 + rule.max_increase_ratio if rule.max_increase_ratio is not None else 1.0


def _allowed(rule: RelativeBound, control: Sample) -> float:
    return control.value * _factor(rule) + (rule.max_increase or 0.0)
