"""An HTTPRoute as the core sees it, and the arithmetic of its weights. Pure.

Notation: a rule sends to its backend i the fraction w_i / sum(w) of its requests. The arms' backends take theirs from
one backend b alone: with weights F w_i for all i except b, where F w_b becomes F w_b - c - d, c and d, nobody else's
fraction changes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

FINENESS = 1000  # times a weight, where the largest weight of the rule allows it
MOST_WEIGHT = 1_000_000  # of the Gateway API
MOST_BACKENDS = 16  # of a rule, of the Gateway API
Shares = tuple[float, float]
"""Fractions of a backend's traffic: of the canary, of the control."""
ARM_BACKEND = re.compile(r"tt-[0-9a-f]{8}-\d+-[cb]")
"""Names of arms' Services, see `domain.names.arm_name`."""


@dataclass(frozen=True)
class BackendView:
    """A backend of a rule. `plain`: it is a Service of the route's own namespace."""

    name: str
    weight: int
    port: int | None = None
    plain: bool = True


@dataclass(frozen=True)
class RuleView:
    """`filters` are the types of the rule's and its backends'."""

    name: str
    backends: tuple[BackendView, ...]
    filters: tuple[str, ...] = ()

    def of(self, service: str) -> tuple[BackendView, ...]:
        """The backends that are this Service."""
        return tuple(b for b in self.backends if b.plain and b.name == service)


class Standing(StrEnum):
    """What has become of a rule that weights were written into."""

    WRITTEN = "written"
    """It is as it was written."""
    EDITED = "edited"
    """Somebody else wrote it since; the arms' backends are still in it."""
    FREE = "free"
    """The arms' backends are not in it, or it is gone."""


@dataclass(frozen=True)
class Claim:
    """Whose weights a route carries, from its annotation. `shares` of the backend's traffic are what canary and control
    have, `since` and `deadline` in unix seconds."""

    trial_uid: str
    trial_name: str
    experiment_uid: str
    experiment_name: str
    rule: str
    shares: Shares
    since: float
    deadline: float
    standing: Standing


@dataclass(frozen=True)
class RouteView:
    """`claim_problem` says why its annotation cannot be read, "" when it can or there is none. `accepted`: a Gateway
    serves it. `managed_by` names the tool that writes it from elsewhere, `weights_ok` that it leaves weights alone."""

    name: str
    namespace: str
    rules: tuple[RuleView, ...]
    accepted: bool = True
    claim: Claim | None = None
    claim_problem: str = ""
    managed_by: str = ""
    weights_ok: bool = False

    def rule(self, name: str) -> RuleView | None:
        return next((r for r in self.rules if r.name == name), None)


@dataclass(frozen=True)
class RouteMissing:
    """There is no such route; `detail` is the server's answer."""

    name: str
    detail: str = ""


@dataclass(frozen=True)
class RoutePlan:
    """What is to be written into a route: weights of two arms in one rule, and whose they are."""

    namespace: str
    route: str
    rule: str
    backend: str
    canary: str
    control: str
    shares: Shares
    trial_uid: str
    trial_name: str
    experiment_uid: str
    experiment_name: str
    deadline: float


def split(weights: Sequence[int], at: int, shares: Shares) -> tuple[int, ...]:
    """The rule's weights with both arms at the end: each gets its share of what the backend at index `at` had.

    What the backend has less is exactly what the arms have, and all others keep their fraction of the whole.

    Args:
        weights: of the rule's backends, each 0 to MOST_WEIGHT; that of `at` above 0.
        shares: of the canary and of the control, each above 0, together at most 1.
    """
    factor = fineness(weights)
    whole = factor * weights[at]
    canary, control = (min(max(1, round(whole * share)), whole // 2) for share in shares)
    rest = [factor * w for w in weights]
    rest[at] = whole - canary - control
    return (*rest, canary, control)


def fineness(weights: Sequence[int]) -> int:
    """By how much weights can be multiplied to be divided."""
    return max(1, min(FINENESS, MOST_WEIGHT // max(1, *weights)))


def coarseness(weights: Sequence[int], at: int, shares: Shares) -> float:
    """By which fraction of its share an arm's part is off at most, as weights are whole numbers."""
    made = split(weights, at, shares)
    whole = fineness(weights) * weights[at]
    return max(abs(part / whole - share) / share for part, share in zip(made[-2:], shares, strict=True))


__all__ = [
    "ARM_BACKEND",
    "MOST_BACKENDS",
    "BackendView",
    "Claim",
    "RouteMissing",
    "RoutePlan",
    "RouteView",
    "RuleView",
    "Shares",
    "Standing",
    "coarseness",
    "fineness",
    "split",
]
