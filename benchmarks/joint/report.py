"""Tables and JSON of the joint benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean, median
from typing import Any

from benchmarks.joint.measure import Outcome, difference
from benchmarks.joint.principle import Reached
from benchmarks.joint.ways import WAYS

Principle = Mapping[str, Mapping[str, Reached]]
"""By service and order."""
JOINT = "joint"


def principle(found: Principle) -> str:
    """What each order could reach without noise."""
    lines = ["| service | tuned | runs with | $ per hour | saved | slow at peak |", "|---|---|---|--:|--:|--:|"]
    for service, orders in found.items():
        today = orders["today"].cost
        for order, r in orders.items():
            saved = f"{1 - r.cost / today:.1%}"
            slow = f"{r.slow:.2%}" + ("" if r.holds else " BROKEN")
            lines.append(f"| {service} | {order} | {r.deployed.words} | {r.cost:.2f} | {saved} | {slow} |")
    return "\n".join(lines)


def ways(outcomes: Sequence[Outcome], found: Principle) -> str:
    """What each way saved."""
    lines = [
        "| service | way | saved, mean | saved, median | of the optimum's saving | breaks a bound at peak "
        "| keeps today's | trials | unsafe trials |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for service, of in _by_service(outcomes).items():
        orders = found[service]
        most = 1 - orders["together"].cost / orders["today"].cost
        for way, each in of.items():
            saved = [1 - o.score for o in each]
            broken = sum(not o.reached.holds for o in each)
            kept = sum(o.reached.deployed == orders["today"].deployed for o in each)
            trials = fmean(o.tuned.trials for o in each)
            unsafe = f"{sum(o.unsafe for o in each)} of {sum(len(o.tuned.tried) for o in each)}"
            lines.append(
                f"| {service} | {way} | {fmean(saved):.1%} | {median(saved):.1%} | {fmean(saved) / most:.0%} "
                f"| {broken} of {len(each)} | {kept} | {trials:.1f} | {unsafe} |"
            )
    return "\n".join(lines)


def differences(outcomes: Sequence[Outcome]) -> str:
    """By how much the joint way is cheaper."""
    lines = [
        "| service | joint against | cheaper by (of today's cost) | 95 %, bootstrap | 95 %, t "
        "| seeds cheaper, dearer, equal | sign test p |",
        "|---|---|--:|---|---|---|--:|",
    ]
    for service, of in _by_service(outcomes).items():
        for way, each in of.items():
            if way == JOINT:
                continue
            d = difference(of[JOINT], each)
            lines.append(
                f"| {service} | {way} | {d.mean:.1%} | {d.low:.1%} to {d.high:.1%} | {d.t_low:.1%} to {d.t_high:.1%} "
                f"| {d.joint_cheaper}, {d.other_cheaper}, {d.equal} | {d.sign_p:.2g} |"
            )
    return "\n".join(lines)


def document(outcomes: Sequence[Outcome], found: Principle) -> dict[str, Any]:
    """Everything, as JSON."""
    return {
        "principle": {s: {order: asdict(r) for order, r in orders.items()} for s, orders in found.items()},
        "studies": [asdict(o) | {"score": o.score} for o in outcomes],
        "differences": [
            {"service": service, "way": way, **asdict(d), "sign_p": d.sign_p}
            for service, of in _by_service(outcomes).items()
            for way, each in of.items()
            if way != JOINT
            for d in [difference(of[JOINT], each)]
        ],
    }


def _by_service(outcomes: Sequence[Outcome]) -> dict[str, dict[str, list[Outcome]]]:
    """By service and way, seeds ascending."""
    found: dict[str, dict[str, list[Outcome]]] = {}
    for outcome in sorted(outcomes, key=lambda o: o.tuned.seed):
        found.setdefault(outcome.tuned.service, {way: [] for way in WAYS})[outcome.tuned.way].append(outcome)
    return found


__all__ = ["differences", "document", "principle", "ways"]
