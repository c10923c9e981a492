"""Sequential tests of the canary's errors, against the control's and against a limit, valid at every look.

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
`benchmarks/safety`. phi is an upper bound from the target's pods over six hours (`estimate.overdispersion_between`),
or 3. Against a limit q on the canary's own bad ratio p the terms are those of Bernoulli trials,

    L_T = sum_k w_k exp{ (1 / phi) sum_t [ S_c ln(p_k / q) + (n_c - S_c) ln((1 - p_k) / (1 - q)) ] }

with odds(p_k) = r_k odds(q). With ratios above 1 either speaks against a canary that is at its tolerance or better,
with their inverses against one that is at it or worse: what is rejected then is that it does harm (ADR 16).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

RATIOS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
INVERSES = tuple(1 / r for r in RATIOS)  # alternatives that are better than the tolerance, not worse
DEFAULT_RATIO = 1.2
DEFAULT_OVERDISPERSION = 3.0
HISTORY_SECONDS, HISTORY_STEP, LEAST_INTERVALS = 6 * 3600.0, 60.0, 60
ALPHA = 0.01


@dataclass(frozen=True)
class EProcess:
    """Running evidence for one SLI of one trial that the ratio of canary to control is not delta but, by `ratios`, more
    (or less). `logs`, shape (K,), holds ln of each mixture component before it is tempered, as phi may become known
    later."""

    delta: float = DEFAULT_RATIO
    phi: float = DEFAULT_OVERDISPERSION
    logs: tuple[float, ...] = (0.0,) * len(RATIOS)
    ratios: tuple[float, ...] = RATIOS
    canary_bad: float = 0.0
    canary_total: float = 0.0
    control_bad: float = 0.0
    control_total: float = 0.0

    def add(self, canary_bad: float, canary_total: float, control_bad: float, control_total: float) -> EProcess:
        """One tick. A tick without requests on either arm adds nothing.

        ln(theta(delta r) / theta(delta)) = ln r - d and ln((1 - theta(delta r)) / (1 - theta(delta))) = -d with
        d = ln((delta r n_c + n_b) / (delta n_c + n_b)).
        """
        if canary_total <= 0 or control_total <= 0:
            return self
        scaled, bad = self.delta * canary_total, canary_bad + control_bad
        base = scaled + control_total
        logs = tuple(
            value + canary_bad * math.log(ratio) - bad * math.log((ratio * scaled + control_total) / base)
            for value, ratio in zip(self.logs, self.ratios, strict=True)
        )
        return EProcess(
            self.delta,
            self.phi,
            logs,
            self.ratios,
            self.canary_bad + canary_bad,
            self.canary_total + canary_total,
            self.control_bad + control_bad,
            self.control_total + control_total,
        )

    @property
    def value(self) -> float:
        """E."""
        return _mixed(self.logs, self.phi)

    def rejects(self, alpha: float) -> bool:
        """The canary's error ratio is beyond delta times the control's."""
        return self.value >= 1 / alpha


@dataclass(frozen=True)
class LimitProcess:
    """Running evidence for one SLI of one trial that the canary's bad ratio is not `limit` but, by `ratios`, more (or
    less). `logs` as in `EProcess`; the limit lies in (0, 1)."""

    limit: float
    phi: float = DEFAULT_OVERDISPERSION
    logs: tuple[float, ...] = (0.0,) * len(RATIOS)
    ratios: tuple[float, ...] = RATIOS

    def add(self, bad: float, total: float) -> LimitProcess:
        """One tick."""
        if total <= 0:
            return self
        logs = []
        for value, ratio in zip(self.logs, self.ratios, strict=True):
            scale = 1 - self.limit + ratio * self.limit
            logs.append(value + bad * math.log(ratio / scale) - (total - bad) * math.log(scale))
        return replace(self, logs=tuple(logs))

    @property
    def value(self) -> float:
        """L."""
        return _mixed(self.logs, self.phi)

    def rejects(self, alpha: float) -> bool:
        """The canary's bad ratio is beyond the limit."""
        return self.value >= 1 / alpha


def _mixed(logs: tuple[float, ...], phi: float) -> float:
    """The mixture with equal weights; capped where the exponential would overflow."""
    return sum(math.exp(min(log / phi, 700.0)) for log in logs) / len(logs)


def overdispersion_bound(estimate: float, intervals: int) -> float:
    """Upper bound of phi from `intervals` of the service's past: max(1, phi (1 + 1.28 sqrt(2/(H-1)))); 3 where they are
    too few."""
    if intervals < LEAST_INTERVALS:
        return DEFAULT_OVERDISPERSION
    return max(1.0, estimate * (1 + 1.28 * math.sqrt(2 / (intervals - 1))))
