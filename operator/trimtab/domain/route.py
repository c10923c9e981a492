"""An HTTPRoute as the core sees it, and the arithmetic of its weights. Pure.

Notation: a rule sends to its backend i the fraction w_i / sum(w) of its requests. The arms' backends take theirs from
one backend b alone: with weights F w_i for all i except b, where F w_b becomes F w_b - 2 c, c and c, nobody else's
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
    """Whose weights a route carries, from its annotation. `share` of the backend's traffic is what each arm has,
    `since` and `deadline` in unix seconds."""

    trial_uid: str
    trial_name: str
    experiment_uid: str
    experiment_name: str
    rule: str
    share: float
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
    """What is to be written into a route: weights of two arms in one rule, and whose they are. `share` for each arm."""

    namespace: str
    route: str
    rule: str
    backend: str
    canary: str
    control: str
    share: float
    trial_uid: str
    trial_name: str
    experiment_uid: str
    experiment_name: str
    deadline: float


def split(weights: Sequence[int], at: int, share: float) -> tuple[int, ...]:
    """The rule's weights with both arms at the end: each gets `share` of what the backend at index `at` had.

    What the backend has less is exactly what the arms have, and all others keep their fraction of the whole.

    Args:
        weights: of the rule's backends, each 0 to MOST_WEIGHT; that of `at` above 0.
        share: above 0, at most 0.5.
    """
    factor = fineness(weights)
    whole = factor * weights[at]
    each = min(max(1, round(whole * share)), whole // 2)
    rest = [factor * w for w in weights]
    rest[at] = whole - 2 * each
    return (*rest, each, each)


def fineness(weights: Sequence[int]) -> int:
    """By how much weights can be multiplied to be divided."""
    return max(1, min(FINENESS, MOST_WEIGHT // max(1, *weights)))


def coarseness(weights: Sequence[int], at: int, share: float) -> float:
    """By which fraction of `share` the arms' part is off, as weights are whole numbers."""
    made = split(weights, at, share)
    whole = made[at] + made[-1] + made[-2]
    return abs(made[-1] / whole - share) / share if whole else 1.0


__all__ = [
    "ARM_BACKEND",
    "MOST_BACKENDS",
    "BackendView",
    "Claim",
    "RouteMissing",
    "RoutePlan",
    "RouteView",
    "RuleView",
    "Standing",
    "coarseness",
    "fineness",
    "split",
]
