"""Tables for people, and the same figures for programs."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from benchmarks.safety.caps import MAX_TRIALS, Plan, Spending
from benchmarks.safety.early import Shown
from benchmarks.safety.intervals import Covered
from benchmarks.safety.measure import Found, Median, Rate, Way

Capped = tuple[Plan, Sequence[Spending]]


def versions() -> str:
    """What the figures were made with."""
    return f"{platform.machine()}, Python {platform.python_version()}, numpy {version('numpy')}"


def withdrawals(found: Iterable[Found]) -> str:
    """Few, where nothing is wrong."""
    rows = [
        (f.position, f.noise, shown(f.ways[0].withdrawn), f"{100 * f.most:g}", f.verdict, _by(f))
        for f in found
        if f.most is not None
    ]
    return table(("canary", "noise", "withdrawn, %", "promised, %", "", "by"), rows)


def soon(found: Iterable[Found]) -> str:
    """Many and soon, where much is wrong."""
    rows = [
        (f.position, f.noise, seconds(f.ways[0].median), _limit(f.median_s), f.verdict, shown(f.ways[0].withdrawn))
        for f in found
        if f.most is None
    ]
    return table(("canary", "noise", "median, s", "promised, s", "", "withdrawn in 10 min, %"), rows)


def _limit(median_s: float | None) -> str:
    return "" if median_s is None else f"{median_s:g}"


def beside(found: Sequence[Found], positions: Sequence[str], *, late: bool) -> str:
    """Each way of judging beside Trimtab's, a column per noise: median seconds (`late`), or percent withdrawn."""
    parts = []
    for position in positions:
        cells = [f for f in found if f.position == position and len(f.ways) > 1]
        if not cells:
            continue
        rows = [(way.name, *(_cell(f.ways[i], late) for f in cells)) for i, way in enumerate(cells[0].ways)]
        unit = "median seconds" if late else "withdrawn, %"
        parts.append(f"{position}: {unit}\n\n" + table(("", *(f.noise for f in cells)), rows))
    return "\n\n".join(parts)


def early(found: Iterable[Shown]) -> str:
    """Trials that are shown to be good."""
    rows = [
        (
            s.position,
            s.noise,
            shown(s.shown),
            "" if s.most is None else f"{100 * s.most:g}",
            s.verdict,
            seconds(s.median),
        )
        for s in found
    ]
    return table(("canary", "noise", "shown to be good, %", "at most, %", "", "median, s"), rows)


def coverage(found: Iterable[Covered]) -> str:
    """Nominal 95 %."""
    rows = [(c.name, shown(c.inside), c.promised, c.verdict, f"{100 * c.width:.0f}") for c in found]
    return table(("SLI", "intervals that hold the truth, %", "promised, %", "", "width, % of the truth"), rows)


def caps(found: Iterable[Capped]) -> str:
    """What canaries spent of the experiments' share."""
    rows = []
    for plan, runs in found:
        most, over = max(r.bad / r.limit for r in runs), max(r.over for r in runs)
        trials = sum(r.trials for r in runs) / len(runs)
        whole = sum(r.whole == MAX_TRIALS for r in runs)
        rows.append((plan.name, f"{len(runs):,}", f"{100 * most:.1f}", f"{over:.2f}", f"{trials:.1f}", f"{whole:,}"))
    head = ("canaries", "Experiments", "most spent, % of the cap", "over it, ticks", "trials, mean", "ran all trials")
    return table(head, rows)


def document(
    found: Sequence[Found], shown_good: Sequence[Shown], covered: Sequence[Covered], capped: Sequence[Capped]
) -> dict[str, Any]:
    """Every figure."""
    return {
        "versions": versions(),
        "cells": [asdict(f) | {"verdict": f.verdict} for f in found],
        "early": [asdict(s) | {"verdict": s.verdict} for s in shown_good],
        "coverage": [asdict(c) | {"verdict": c.verdict} for c in covered],
        "caps": [
            {
                "plan": asdict(plan),
                "experiments": len(runs),
                "mostSpent": max(r.bad / r.limit for r in runs),
                "ticksOver": max(r.over for r in runs),
                "trials": sum(r.trials for r in runs),
            }
            for plan, runs in capped
        ],
    }


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, *rows]
    ruled = "|" + "|".join("---" for _ in head) + "|"
    text = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([text[0], ruled, *text[1:]])


def shown(rate: Rate) -> str:
    """Percent with its interval."""
    low, high = rate.interval
    return f"{100 * rate.value:.2f} [{100 * low:.2f}, {100 * high:.2f}]"


def seconds(median: Median) -> str:
    """A median with its interval."""
    low, value, high = ("never" if x is None else f"{x:.0f}" for x in (median.low, median.value, median.high))
    return value if low == high else f"{value} [{low}, {high}]"


def _cell(way: Way, late: bool) -> str:
    return seconds(way.median) if late else f"{100 * way.withdrawn.value:.1f}"


def _by(found: Found) -> str:
    return ", ".join(f"{rule.split()[-1]} {count}" for rule, count in found.by)
