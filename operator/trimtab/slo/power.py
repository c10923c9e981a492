"""How many requests a verdict needs. Pure arithmetic for preflight."""

from __future__ import annotations

import math

from trimtab.slo.sequential import DEFAULT_OVERDISPERSION, RATIOS
from trimtab.slo.student import z_of

POWER = 0.8
MOST_RATIO, GRID = 20.0, 200


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


__all__ = ["MOST_RATIO", "POWER", "least_ratio_found", "requests_needed"]
