"""A sequential test of the canary's errors against the control's, valid at every look.

Notation, per safety tick t
    S_c, n_c   errors and requests of the canary since the last tick; S_b, n_b of the control
    delta      tolerated ratio of the two error ratios
    theta_t(rho) = rho n_c / (rho n_c + n_b): probability that an error falls into the canary at a true ratio rho
    phi        overdispersion of error counts, >= 1

    E = sum_k w_k exp{ (1 / phi) sum_t [ S_c ln(theta_t(delta r_k) / theta_t(delta))
                                       + S_b ln((1 - theta_t(delta r_k)) / (1 - theta_t(delta))) ] }

over ratios r_k above the tolerance, equally weighted. With phi = 1 each term is a likelihood ratio of binomials given
the errors, so E is a non-negative martingale at the tolerance and P(ever E >= 1 / alpha) <= alpha (Ville's inequality;
Ramdas et al. 2023, "Game-theoretic statistics and safe anytime-valid inference"). Products per tick stay valid when
the split of traffic moves. Tempering by 1 / phi is a quasi-likelihood, no theorem: its false alarms are simulated in
the tests. phi is an upper bound from the target's pods over six hours (`estimate.overdispersion_between`), or 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

RATIOS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
DEFAULT_RATIO = 1.2
DEFAULT_OVERDISPERSION = 3.0
HISTORY_SECONDS, HISTORY_STEP, LEAST_INTERVALS = 6 * 3600.0, 60.0, 60
ALPHA = 0.01


@dataclass(frozen=True)
class EProcess:
    """Running evidence for one SLI of one trial. `logs`, shape (K,), holds ln of each mixture component before it is
    tempered, as phi may become known later."""

    delta: float = DEFAULT_RATIO
    phi: float = DEFAULT_OVERDISPERSION
    logs: tuple[float, ...] = (0.0,) * len(RATIOS)
    canary_bad: float = 0.0
    canary_total: float = 0.0
    control_bad: float = 0.0
    control_total: float = 0.0

    def add(self, canary_bad: float, canary_total: float, control_bad: float, control_total: float) -> EProcess:
        """One tick. A tick without requests on either arm adds nothing."""
        if canary_total <= 0 or control_total <= 0:
            return self
        base = self._theta(self.delta, canary_total, control_total)
        logs = []
        for value, ratio in zip(self.logs, RATIOS, strict=True):
            theta = self._theta(self.delta * ratio, canary_total, control_total)
            gain = canary_bad * math.log(theta / base) + control_bad * math.log((1 - theta) / (1 - base))
            logs.append(value + gain)
        return replace(
            self,
            logs=tuple(logs),
            canary_bad=self.canary_bad + canary_bad,
            canary_total=self.canary_total + canary_total,
            control_bad=self.control_bad + control_bad,
            control_total=self.control_total + control_total,
        )

    @property
    def value(self) -> float:
        """E, with equal weights; capped where the exponential would overflow."""
        return sum(math.exp(min(log / self.phi, 700.0)) for log in self.logs) / len(self.logs)

    def rejects(self, alpha: float) -> bool:
        """The canary's error ratio exceeds delta times the control's."""
        return self.value >= 1 / alpha

    @staticmethod
    def _theta(rho: float, canary: float, control: float) -> float:
        return rho * canary / (rho * canary + control)


def overdispersion_bound(estimate: float, intervals: int) -> float:
    """Upper bound of phi from `intervals` of the service's past: max(1, phi (1 + 1.28 sqrt(2/(H-1)))); 3 where they are
    too few."""
    if intervals < LEAST_INTERVALS:
        return DEFAULT_OVERDISPERSION
    return max(1.0, estimate * (1 + 1.28 * math.sqrt(2 / (intervals - 1))))
