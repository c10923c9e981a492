"""What a HorizontalPodAutoscaler (autoscaling/v2) decides from what pods use: the arithmetic alone. Pure.

Notation: n pods now; of each metric target T, use u_i and request r_i of pod i; ratio rho = (sum u / sum r) / T, of
which sum u / sum r is cut to whole percent first.
  proposal   n where |rho - 1| is within the direction's tolerance, else ceil(rho x ready pods). A pod without metrics
             is taken to use all of its request, or T of it if that is more, where that would scale down, and nothing
             where it would scale up; one that is not ready counts as using nothing where it would scale up. Of several
             metrics the largest wins
  stabilized within [min of proposals over the up window, max over the down window], as near to n as that allows
  limited    by the policies: so many pods, or per cent of the pods at the period's start, within each period
Without `spec.behavior` older rules hold: the largest proposal of the last five minutes, at most twice as many as there
are, or four.
This is the algorithm that the Kubernetes documentation describes ("Horizontal Pod Autoscaling", algorithm details and
configurable scaling behavior). Times are seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

TOLERANCE: Final = 0.1
SYNC_SECONDS: Final = 15.0
ROUNDING: Final = 1e-9
LEAST_LIMIT: Final = 4  # pods to which any number may grow at once, where there are no policies
LONGEST: Final = 3600.0  # of windows and periods, as the API allows


class Select(StrEnum):
    """Which policy counts where there are several."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


@dataclass(frozen=True)
class Policy:
    """At most `value` pods, or per cent, within `period` seconds."""

    percent: bool
    value: int
    period: float


@dataclass(frozen=True)
class Rules:
    """One direction of `spec.behavior`."""

    window: float
    policies: tuple[Policy, ...]
    select: Select = Select.MAX
    tolerance: float = TOLERANCE


UP: Final = Rules(0.0, (Policy(True, 100, 15.0), Policy(False, 4, 15.0)))
DOWN: Final = Rules(300.0, (Policy(True, 100, 15.0),))


@dataclass(frozen=True)
class Hpa:
    """What it is told: bounds and behavior. `plain`: it has no `spec.behavior` at all."""

    least: int
    most: int
    up: Rules = UP
    down: Rules = DOWN
    plain: bool = False


@dataclass(frozen=True)
class Seen:
    """What one metric shows of the pods that the scale target's selector matches.

    `use` and `request` are sums over the `ready` pods that have metrics, in the same unit; `missing` are the requests
    of pods without metrics, `unready` of those that are not ready.
    """

    target: float
    use: float
    request: float
    ready: int
    missing: tuple[float, ...] = ()
    unready: tuple[float, ...] = ()


@dataclass
class Memory:
    """What the controller remembers of one HPA: when each number was proposed last, and (time, pods) of what it added
    and took away."""

    proposals: dict[int, float] = field(default_factory=dict)
    added: list[tuple[float, int]] = field(default_factory=list)
    removed: list[tuple[float, int]] = field(default_factory=list)


def proposal(hpa: Hpa, seen: Seen, current: int) -> int | None:
    """Pods by one metric; None where it says nothing."""
    if not (seen.request > 0 and seen.ready > 0 and seen.target > 0):
        return None
    ratio = utilization(seen.use, seen.request) / seen.target
    rising = ratio > 1 and bool(seen.unready)
    if not rising and not seen.missing:
        return current if _tolerated(hpa, ratio) else math.ceil(ratio * seen.ready - ROUNDING)
    use, request, counted = seen.use, seen.request, seen.ready
    if seen.missing:
        use += max(1.0, seen.target) * sum(seen.missing) if ratio < 1 else 0.0
        request, counted = request + sum(seen.missing), counted + len(seen.missing)
    if rising:
        request, counted = request + sum(seen.unready), counted + len(seen.unready)
    cautious = utilization(use, request) / seen.target
    if _tolerated(hpa, cautious) or (ratio < 1 < cautious) or (cautious < 1 < ratio):
        return current
    wanted = math.ceil(cautious * counted - ROUNDING)
    turned = (cautious < 1 and wanted > current) or (cautious > 1 and wanted < current)
    return current if turned else wanted


def utilization(use: float, request: float) -> float:
    """Use as a fraction of the request, cut to whole percent as the controller does."""
    return math.floor(100 * use / request + ROUNDING) / 100


def _tolerated(hpa: Hpa, ratio: float) -> bool:
    return 1 - hpa.down.tolerance <= ratio <= 1 + hpa.up.tolerance


def decide(hpa: Hpa, metrics: Sequence[Seen], current: int, memory: Memory, now: float) -> int:
    """Pods from now on; `memory` is brought up to date.

    Where no metric says anything nothing changes; a metric that says nothing keeps others from scaling down.
    """
    if current == 0:
        return 0
    if not hpa.least <= current <= hpa.most:
        return moved(memory, current, min(max(current, hpa.least), hpa.most), now)
    wanted = largest(hpa, metrics, current)
    return current if wanted is None else act(hpa, wanted, current, memory, now)


def largest(hpa: Hpa, metrics: Sequence[Seen], current: int) -> int | None:
    """Pods by all metrics; None where one that says nothing keeps the others from scaling down."""
    found = [proposal(hpa, seen, current) for seen in metrics]
    wanted = max((n for n in found if n is not None), default=current)
    return None if None in found and wanted < current else wanted


def act(hpa: Hpa, wanted: int, current: int, memory: Memory, now: float) -> int:
    """Pods from now on where the metrics want so many and `current` lies within the bounds."""
    return limited(hpa, stabilized(hpa, wanted, current, memory, now), current, memory, now)


def stabilized(hpa: Hpa, wanted: int, current: int, memory: Memory, now: float) -> int:
    """What the windows make of what the metrics want, which is remembered."""
    least = most = wanted
    for n, at in memory.proposals.items():
        least = min(least, n) if now - at < hpa.up.window else least
        most = max(most, n) if now - at < hpa.down.window else most
    memory.proposals = {n: at for n, at in memory.proposals.items() if now - at < LONGEST} | {wanted: now}
    return most if hpa.plain else min(max(current, least), max(most, least))


def limited(hpa: Hpa, wanted: int, current: int, memory: Memory, now: float) -> int:
    """What the policies and the bounds make of it; the change is remembered."""
    return moved(memory, current, _within(hpa, memory, current, wanted, now), now)


def _within(hpa: Hpa, memory: Memory, current: int, wanted: int, now: float) -> int:
    if hpa.plain:
        return min(max(wanted, hpa.least), max(2 * current, LEAST_LIMIT), hpa.most)
    if wanted > current:
        limit = max(_limit(hpa.up, memory, current, now, up=True), current)
        return min(wanted, limit, hpa.most)
    if wanted < current:
        limit = min(_limit(hpa.down, memory, current, now, up=False), current)
        return max(wanted, limit, hpa.least)
    return current


def _limit(rules: Rules, memory: Memory, current: int, now: float, *, up: bool) -> int:
    """Most pods, or fewest, that the policies of a direction allow."""
    if rules.select is Select.DISABLED or not rules.policies:
        return current
    found = []
    for policy in rules.policies:
        added = sum(n for at, n in memory.added if now - at < policy.period)
        removed = sum(n for at, n in memory.removed if now - at < policy.period)
        start = current - added + removed
        sign = 1 if up else -1
        if not policy.percent:
            found.append(start + sign * policy.value)
        elif up:
            found.append(math.ceil(start * (1 + policy.value / 100) - ROUNDING))
        else:
            found.append(int(start * (1 - policy.value / 100) + ROUNDING))
    widest = rules.select is Select.MAX
    return max(found) if up is widest else min(found)


def moved(memory: Memory, current: int, wanted: int, now: float) -> int:
    """Remember the change."""
    if wanted > current:
        memory.added = [(at, n) for at, n in memory.added if now - at < LONGEST] + [(now, wanted - current)]
    elif wanted < current:
        memory.removed = [(at, n) for at, n in memory.removed if now - at < LONGEST] + [(now, current - wanted)]
    return wanted


__all__ = [
    "DOWN",
    "SYNC_SECONDS",
    "TOLERANCE",
    "UP",
    "Hpa",
    "Memory",
    "Policy",
    "Rules",
    "Seen",
    "Select",
    "act",
    "decide",
    "largest",
    "limited",
    "moved",
    "proposal",
    "stabilized",
    "utilization",
]
