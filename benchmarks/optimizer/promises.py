"""The figures that Trimtab promises on the safety scenarios at d = 4, beside what was measured; misses are said too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.optimizer import measure
from benchmarks.optimizer.safety import Run

OURS, D = "trimtab", 4
SAFE = frozenset({"trimtab", "hold", "greedy", "safeopt"})


@dataclass(frozen=True)
class Promise:
    """`value` must be at most `most`, or at least `least`; nan when nothing was played that shows it."""

    name: str
    value: float
    most: float | None = None
    least: float | None = None

    @property
    def verdict(self) -> str:
        if math.isnan(self.value):
            return "not shown"
        over = self.most is not None and self.value > self.most
        under = self.least is not None and self.value < self.least
        return "MISSED" if over or under else "kept"

    @property
    def bound(self) -> str:
        """The promise in words."""
        parts = [f">= {self.least:g}"] if self.least is not None else []
        return " and ".join([*parts, *([f"<= {self.most:g}"] if self.most is not None else [])])


def promises(runs: Sequence[Run]) -> list[Promise]:
    """What can be told from these runs."""
    of_d = [r for r in runs if r.dimensions == D and r.scenario != "infeasible-start"]
    ours = [r for r in of_d if r.method == OURS]
    calm = [r for r in ours if r.scenario == "stationary"]
    others = {r.method: [o for o in of_d if o.method == r.method] for r in of_d if r.method != OURS}
    bold = [_mean(measure.unsafe, own) for name, own in others.items() if name not in SAFE]
    share = measure.coverage(ours)[0.95][0] if ours else math.nan
    found = [
        Promise("truly unsafe trials of 40, stationary", _mean(measure.unsafe, calm), most=0.4),
        Promise("truly unsafe trials of 40, feasible starts", _mean(measure.unsafe, ours), most=0.6),
        Promise("runs without a gross trial, %", 100 * _mean(lambda r: measure.gross(r) == 0, ours), least=99),
        Promise("unsafe trials / least of a method that is not safety-aware", _ratio(ours, bold), most=0.1),
        Promise("recommendation truly feasible at the peak, %", 100 * _mean(lambda r: r.feasible, ours), least=98),
        Promise("cost / optimum, stationary, median", _median(lambda r: r.recommended, calm), most=1.02),
        Promise("cost / optimum, feasible starts, median", _median(lambda r: r.recommended, ours), most=1.04),
        Promise("trials until within 5 %, stationary, median", _median(measure.trials_until_near, calm), most=10),
        Promise("trials until within 5 %, feasible starts, median", _median(measure.trials_until_near, ours), most=15),
        Promise("95 % intervals cover outcomes, %", 100 * share, least=92, most=98),
    ]
    for name in ("safeopt", "greedy"):
        own = others.get(name, [])
        fewer = _mean(measure.unsafe, ours) - _mean(measure.unsafe, own)
        dearer = _median(lambda r: r.recommended, ours) - _median(lambda r: r.recommended, own)
        found.append(Promise(f"unsafe trials more than {name}", fewer, most=-0.001))
        found.append(Promise(f"median cost / optimum more than {name}", dearer, most=0.0))
    if "random" in others:
        least = _median(measure.trials_until_near, others["random"]) / _median(measure.trials_until_near, ours)
        found.append(Promise("trials until within 5 %: random / trimtab", least, least=3))
    return found


def table(found: Sequence[Promise]) -> str:
    """For the terminal and RESULTS.md."""
    lines = [f"### What is promised at d = {D}", "", "| figure | measured | promised | |", "|---|--:|--:|---|"]
    for p in found:
        shown = "-" if math.isnan(p.value) else "never" if math.isinf(p.value) else f"{p.value:.3g}"
        lines.append(f"| {p.name} | {shown} | {p.bound} | {p.verdict} |")
    return "\n".join(lines)


def _mean(of: Callable[[Run], float], runs: Sequence[Run]) -> float:
    return measure.mean([float(of(r)) for r in runs]).value


def _median(of: Callable[[Run], float], runs: Sequence[Run]) -> float:
    return measure.median([of(r) for r in runs]).value


def _ratio(ours: Sequence[Run], bold: Sequence[float]) -> float:
    return _mean(measure.unsafe, ours) / min(bold) if bold and min(bold) > 0 else math.nan
