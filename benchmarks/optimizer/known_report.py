"""Tables, JSON and plots of `known`: regret of the best evaluated truly feasible point, by trials."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.optimizer.functions import Function, grid_best
from benchmarks.optimizer.runs import Run

Floats = NDArray[np.float64]
CHECKPOINTS = (20, 40, 60)
RESAMPLES = 2000
LEVEL = 0.95
SAME = 1.05  # medians that differ by less are called even
_COLOURS = (
    "#111111",
    "#c0392b",
    "#e67e22",
    "#2471a3",
    "#85c1e9",
    "#1e8449",
    "#82e0aa",
    "#7d3c98",
    "#888888",
    "#c39bd3",
)


def regrets(run: Run, function: Function, trials: int) -> Floats:
    """Regret after each of the trials, inf before the first truly feasible one. Shape: (trials,)."""
    found, best = np.full(trials, math.inf), math.inf
    for number in range(trials):
        if number < len(run.tried) and run.tried[number].feasible:
            best = min(best, run.tried[number].value - function.optimum)
        found[number] = max(best, 0.0)
    return found


def median_interval(values: Floats, seed: int = 0) -> tuple[float, float, float]:
    """(median, lower, upper): the percentile bootstrap over seeds, 95 %. Infinite values count as the largest."""
    rng = np.random.default_rng(seed)
    drawn = values[rng.integers(0, len(values), size=(RESAMPLES, len(values)))]
    medians = np.sort([_median(row) for row in drawn])
    low, high = (medians[min(int(q * RESAMPLES), RESAMPLES - 1)] for q in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return _median(values), float(low), float(high)


def _median(values: Floats) -> float:
    """The lower middle value, so that it is never between a number and infinity."""
    return float(np.sort(values)[(len(values) - 1) // 2])


def checkpoints(trials: int) -> tuple[int, ...]:
    """Where tables look: 20, 40, 60 and the last trial."""
    return tuple(sorted({n for n in CHECKPOINTS if n < trials} | {trials}))


def summary(runs: Sequence[Run], function: Function, trials: int) -> dict[str, dict[str, object]]:
    """Figures by method for one function."""
    found: dict[str, dict[str, object]] = {}
    for method in dict.fromkeys(r.method for r in runs if r.function == function.name):
        own = [r for r in runs if r.function == function.name and r.method == method]
        curves = np.stack([regrets(r, function, trials) for r in own])
        seconds = [t.seconds for r in own for t in r.tried]
        answers = [r.recommended for r in own]
        good = [a[0] - function.optimum for a in answers if a is not None and a[1]]
        found[method] = {
            "runs": len(own),
            "regret": {str(n): median_interval(curves[:, n - 1]) for n in checkpoints(trials)},
            "without a feasible point": int(np.isinf(curves[:, -1]).sum()),
            "infeasible trials": float(np.mean([sum(not t.feasible for t in r.tried) for r in own])),
            "trials": float(np.mean([len(r.tried) for r in own])),
            "infeasible recommendations": sum(a is not None and not a[1] for a in answers),
            "no recommendation": sum(a is None for a in answers),
            "recommended regret": _median(np.asarray(good)) if good else None,
            "seconds a trial": float(np.median(seconds)) if seconds else None,
        }
    return found


def table(function: Function, figures: Mapping[str, Mapping[str, object]], trials: int) -> str:
    """One function's Markdown table."""
    points = checkpoints(trials)
    floor = grid_best(function, 8 if len(function.axes) <= 4 else 3)[0] - function.optimum
    head = [
        f"### {function.name} (d = {len(function.axes)}, {len(function.inequalities)} bounds)",
        "",
        f"Optimum {function.optimum:g} ({function.source}); on the grid, near it: regret {_show(max(floor, 0.0))}.",
        "",
        "| method | runs | "
        + " | ".join(f"regret after {n}" for n in points)
        + " | infeasible trials | recommendations: "
        "infeasible / none / median regret | s a trial |",
        "|---|" + "---|" * (len(points) + 4),
    ]
    rows = []
    for method, own in figures.items():
        regret = own["regret"]
        assert isinstance(regret, dict)
        many = int(str(own["runs"])) > 1
        cells = [_interval(regret[str(n)]) if many else _show(regret[str(n)][0]) for n in points]
        answer = own["recommended regret"]
        recommended = "-" if answer is None else _show(float(str(answer)))
        counts = f"{own['infeasible recommendations']} / {own['no recommendation']} / {recommended}"
        infeasible = f"{own['infeasible trials']:.1f} of {own['trials']:.0f}"
        row = [method, f"{own['runs']}", *cells, infeasible, counts, f"{own['seconds a trial']:.2f}"]
        rows.append(f"| {' | '.join(row)} |")
    return "\n".join([*head, *rows])


def verdicts(by_function: Mapping[str, Mapping[str, Mapping[str, object]]], trials: int, ours: str = "trimtab") -> str:
    """Against each peer: on how many functions our median regret is lower, even (within 5 %), higher; and where."""
    peers = [m for m in dict.fromkeys(m for f in by_function.values() for m in f) if m != ours]
    lines = []
    for n in checkpoints(trials):
        lines += [
            f"After {n} trials:",
            "",
            "| against | lower | even | higher | where higher |",
            "|---|---|---|---|---|",
        ]
        for peer in peers:
            lower: list[str] = []
            even: list[str] = []
            higher: list[str] = []
            for name, figures in by_function.items():
                if ours not in figures or peer not in figures:
                    continue
                one, other = (_at(figures[m], n) for m in (ours, peer))
                bag = even if one == other or (one <= SAME * other and other <= SAME * one) else lower
                (higher if bag is lower and one > other else bag).append(name)
            lines.append(f"| {peer} | {len(lower)} | {len(even)} | {len(higher)} | {', '.join(higher)} |")
        lines.append("")
    return "\n".join(lines)


def write(runs: Sequence[Run], used: Sequence[Function], trials: int, versions: Mapping[str, str], out: Path) -> str:
    """Write `known.json`, `known.md` and one plot per function; the text of `known.md` is returned."""
    out.mkdir(parents=True, exist_ok=True)
    figures = {f.name: summary(runs, f, trials) for f in used}
    seeds = sorted({r.seed for r in runs})
    whole = {"trials": trials, "seeds": seeds, "versions": dict(versions), "functions": figures}
    (out / "known.json").write_text(json.dumps(whole, indent=1, default=str) + "\n")
    for function in used:
        (out / f"{function.name}.svg").write_text(plot(runs, function, trials))
    named = ", ".join(f"{name} {number}" for name, number in versions.items())
    parts = [
        f"{len(seeds)} seeds, {trials} trials; medians with 95 % bootstrap intervals over seeds. {named}.",
        verdicts(figures, trials),
        *(table(f, figures[f.name], trials) for f in used),
    ]
    text = "\n\n".join(parts) + "\n"
    (out / "known.md").write_text(text)
    return text


def plot(runs: Sequence[Run], function: Function, trials: int) -> str:
    """Median regret by trials on a logarithmic scale, as an SVG picture."""
    methods = list(dict.fromkeys(r.method for r in runs if r.function == function.name))
    curves = {
        m: np.sort([regrets(r, function, trials) for r in runs if (r.function, r.method) == (function.name, m)], axis=0)
        for m in methods
    }
    medians = {m: c[(len(c) - 1) // 2] for m, c in curves.items()}
    known = np.concatenate([v[np.isfinite(v) & (v > 0)] for v in medians.values()] or [np.ones(1)])
    known = known if len(known) else np.ones(1)
    low, high = 10 ** math.floor(math.log10(known.min())), 10 ** math.ceil(math.log10(known.max()) + 1e-9)
    width, height, left, right = 760, 360, 60, 180

    def x(n: int) -> float:
        return left + n / trials * (width - left - right)

    def y(v: float) -> float:
        share = (math.log10(max(v, low)) - math.log10(low)) / max(math.log10(high / low), 1e-9)
        return height - 40 - share * (height - 70)

    marks = [f'<text x="{left}" y="20">{function.name}: median regret by trials</text>']
    for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
        at = y(10.0**power)
        marks.append(f'<line x1="{left}" x2="{width - right}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        marks.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">1e{power}</text>')
    steps = range(0, trials + 1, 10)
    marks += [f'<text x="{x(n):.1f}" y="{height - 20}" text-anchor="middle">{n}</text>' for n in steps]
    for i, (method, values) in enumerate(medians.items()):
        colour = _COLOURS[i % len(_COLOURS)]
        places = " ".join(f"{x(n + 1):.1f},{y(v):.1f}" for n, v in enumerate(values) if math.isfinite(v))
        marks.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>')
        marks.append(f'<text x="{width - right + 10}" y="{40 + 18 * i}" fill="{colour}">{method}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(marks)}</svg>\n'
    )


def _at(figures: Mapping[str, object], trials: int) -> float:
    regret = figures["regret"]
    assert isinstance(regret, dict)
    return float(regret[str(trials)][0])


def _interval(given: tuple[float, float, float]) -> str:
    return f"{_show(given[0])} ({_show(given[1])} to {_show(given[2])})"


def _show(value: float) -> str:
    return "none feasible" if math.isinf(value) else f"{value:.3g}"


__all__ = ["median_interval", "regrets", "write"]
