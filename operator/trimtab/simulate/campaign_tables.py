"""What a campaign came to, as JSON and as the tables of a results page."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from trimtab.simulate.campaign import Result, Tally
from trimtab.simulate.faults.catalogue import CATALOGUE, CELLS
from trimtab.simulate.faults.kinds import FaultKind, Moment
from trimtab.simulate.invariants import INVARIANTS

LEAST_GAUSSIAN = 200
LEAST_THREE, LEAST_RECOMMENDED = 0.8, 0.2  # shares of the seeds


def unhit(tally: Tally) -> list[tuple[FaultKind, Moment]]:
    """Cells of the table at which no fault struck."""
    return [cell for cell in CELLS if not tally.strikes[cell]]


def as_json(tally: Tally) -> dict[str, Any]:
    """Everything that was counted, and every plan that broke a promise."""
    return {
        "seeds": tally.seeds,
        "withGaussianProcess": tally.gaussian,
        "virtualHours": round(tally.virtual / 3600, 1),
        "faultsInjected": sum(tally.strikes.values()),
        "faultsByKind": {kind.value: count for kind, count in sorted(by_kind(tally).items())},
        "faultsByMoment": {f"{kind}/{moment}": n for (kind, moment), n in sorted(tally.strikes.items())},
        "cells": len(CELLS),
        "cellsNotHit": [f"{kind}/{moment}" for kind, moment in unhit(tally)],
        "neverStruck": tally.missed,
        "invariants": [i.__name__ for i in INVARIANTS],
        "threeTerminalTrials": tally.three,
        "recommendation": tally.recommended,
        "endedAs": dict(sorted(tally.phases.items())),
        "broken": [failure(result) for result in tally.broken],
    }


def failure(result: Result) -> dict[str, Any]:
    """A plan that broke a promise: all that is needed to see it again."""
    return {"plan": result.plan.wire(), "breaches": [str(b) for b in result.breaches]}


def shortfalls(tally: Tally) -> list[str]:
    """What a campaign at its full length must have shown beside kept promises, and did not."""
    missing, seeds = unhit(tally), max(tally.seeds, 1)
    found = []
    if tally.gaussian < LEAST_GAUSSIAN:
        found.append(f"{tally.gaussian} seeds with the Gaussian process, at least {LEAST_GAUSSIAN} are due")
    for count, least, what in (
        (tally.three, LEAST_THREE, "reached three terminal Trials"),
        (tally.recommended, LEAST_RECOMMENDED, "reached a recommendation"),
    ):
        if count < least * seeds:
            found.append(f"{100 * count / seeds:.1f} % of the seeds {what}, at least {100 * least:g} % are due")
    if missing:
        names = ", ".join(f"{kind} at {moment}" for kind, moment in missing[:10])
        found.append(f"{len(missing)} of {len(CELLS)} cells were not hit: {names}")
    return found


def by_kind(tally: Tally) -> Counter[FaultKind]:
    """Strikes of each kind."""
    found: Counter[FaultKind] = Counter()
    for (kind, _), count in tally.strikes.items():
        found[kind] += count
    return found


def tables(tally: Tally) -> str:
    """The campaign's part of the results page."""
    share = f"{100 * tally.three / max(tally.seeds, 1):.1f} %"
    recommended = f"{100 * tally.recommended / max(tally.seeds, 1):.1f} %"
    rows = [
        ("seeds", f"{tally.seeds:,} ({tally.gaussian:,} with the Gaussian process)"),
        ("virtual time", f"{tally.virtual / 3600:,.0f} hours"),
        ("faults injected", f"{sum(tally.strikes.values()):,} of {len(CATALOGUE)} kinds"),
        ("fault x moment cells hit", f"{len(CELLS) - len(unhit(tally))} of {len(CELLS)}"),
        ("invariants checked after every change", str(len(INVARIANTS))),
        ("broken invariants", str(sum(len(r.breaches) for r in tally.broken))),
        ("at least three terminal Trials", share),
        ("a recommendation", recommended),
    ]
    lines = ["| what | figure |", "|---|---|", *(f"| {what} | {figure} |" for what, figure in rows), ""]
    return "\n".join([*lines, *_cells(tally)]) + "\n"


def _cells(tally: Tally) -> list[str]:
    moments = list(Moment)
    head = ["| fault | " + " | ".join(moments) + " |", "|---|" + "---:|" * len(moments)]
    return head + [f"| {kind} | " + " | ".join(_cell(tally, kind, m) for m in moments) + " |" for kind in CATALOGUE]


def _cell(tally: Tally, kind: FaultKind, moment: Moment) -> str:
    count = tally.strikes[kind, moment]
    return str(count) if count or moment in CATALOGUE[kind].moments else "-"


def explained(result: Result) -> str:
    """What a person needs to see a failure again."""
    lines = [f"seed {result.plan.seed} broke {len(result.breaches)} promises:"]
    lines += [f"  {breach}" for breach in result.breaches[:10]]
    lines += [f"  plan: {json.dumps(result.plan.wire())}"]
    return "\n".join(lines)


__all__ = ["as_json", "by_kind", "explained", "failure", "shortfalls", "tables", "unhit"]
