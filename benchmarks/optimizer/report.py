"""What the runs say: tables (losses too), JSON, and plots as SVG with the page's own charts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.optimizer import measure
from benchmarks.optimizer.measure import AT_TRIALS, NEAR, Estimate
from benchmarks.optimizer.promises import OURS, D, promises
from benchmarks.optimizer.promises import table as promised
from benchmarks.optimizer.safety import LEVELS, Run
from trimtab.report.svg import BOTTOM, LEFT, RIGHT, TOP, WIDTH, Chart, Scale

Groups = dict[tuple[str, str, int], list[Run]]
COLOURS = ("#0b6e4f", "#888888", "#c1666b", "#4357ad", "#d4a017", "#7d4e9e", "#2a9d8f", "#e07a5f", "#333333", "#b5838d")
STYLE = (
    "<style>text{font:12px sans-serif;fill:#333}.grid{stroke:#ddd}.tick{font-size:11px;fill:#666}"
    ".steps{fill:none;stroke-width:2}</style>"
)
HEAD = (
    "| method | track | runs | trials | unsafe | at peak | gross runs | severity | recommendation feasible "
    "| kept baseline | cost / optimum | its sd | trials to 5 %, reached | burned / hold | ask p50, p99 |"
)


def grouped(runs: Iterable[Run]) -> Groups:
    """By (method, scenario, d)."""
    found: Groups = {}
    for run in runs:
        found.setdefault((run.method, run.scenario, run.dimensions), []).append(run)
    return found


def tables(runs: Sequence[Run]) -> str:
    """One table per scenario and d, and one per d over all scenarios with a feasible start; then coverage."""
    methods = list(dict.fromkeys(run.method for run in runs))
    scenarios = list(dict.fromkeys(run.scenario for run in runs))
    parts = [promised(promises(runs))] if any(run.method == OURS and run.dimensions == D for run in runs) else []
    for d in sorted({run.dimensions for run in runs}):
        of_d = [run for run in runs if run.dimensions == d]
        feasible = [run for run in of_d if run.scenario != "infeasible-start"]
        if feasible:
            parts.append(_table(f"All scenarios with a feasible start, d = {d}", feasible, methods, of_d))
        for scenario in scenarios:
            chosen = [run for run in of_d if run.scenario == scenario]
            if chosen:
                parts.append(_table(f"{scenario}, d = {d}", chosen, methods, of_d))
        parts.append(_regrets(f"Regret, scenarios with a feasible start, d = {d}", feasible, methods))
    parts.append(coverages(runs))
    return "\n\n".join(parts) + "\n"


def _table(title: str, runs: Sequence[Run], methods: Sequence[str], around: Sequence[Run]) -> str:
    hold = {(r.scenario, r.seed): measure.burned(r) for r in around if r.method == "hold"}
    lines = [f"### {title}", "", HEAD, "|---|---|" + "--:|" * (HEAD.count("|") - 3)]
    for method in methods:
        own = [run for run in runs if run.method == method]
        if own:
            lines.append(_line(method, own, hold))
    return "\n".join(lines)


def _line(method: str, own: Sequence[Run], hold: dict[tuple[str, int], float]) -> str:
    f = figures(own, hold)
    cells = (
        method,
        own[0].track,
        str(len(own)),
        f"{f['trials'].value:.0f}",
        _shown(f["unsafe"]),
        f"{f['atPeak'].value:.2f}",
        f"{f['grossRuns'].value:.0%}",
        _shown(f["severity"]),
        f"{f['feasible'].value:.0%} ({f['feasible'].low:.0%}-{f['feasible'].high:.0%})",
        f"{f['kept'].value:.0%}",
        _shown(f["cost"], 3),
        f"{f['costDeviation'].value:.3f}",
        f"{_shown(f['near'], 0)}, {f['nearReached'].value:.0%}",
        f"{f['burned'].value:.2f}",
        f"{1e3 * f['askP50']:.0f}, {1e3 * f['askP99']:.0f} ms",
    )
    return f"| {' | '.join(cells)} |"


def figures(own: Sequence[Run], hold: dict[tuple[str, int], float]) -> dict[str, Any]:
    """Every figure of one method on some runs. `burned` is the median of what canaries burned over what the baseline
    burns in as many trials."""
    shares = []
    for run in own:
        whole = hold.get((run.scenario, run.seed))
        if whole and run.rows:
            shares.append(measure.burned(run) / (whole * len(run.rows) / 40.0))
    return {
        "unsafe": measure.mean([measure.unsafe(r) for r in own]),
        "unsafeDeviation": measure.deviation([measure.unsafe(r) for r in own]),
        "atPeak": measure.mean([sum(row.unsafe_at_peak for row in r.rows) for r in own]),
        "gross": measure.mean([measure.gross(r) for r in own]),
        "grossRuns": measure.mean([float(measure.gross(r) > 0) for r in own]),
        "severity": measure.mean([measure.severity(r) for r in own]),
        "feasible": measure.mean([float(r.feasible) for r in own]),
        "kept": measure.mean([float(r.kept) for r in own]),
        "cost": measure.median([r.recommended for r in own]),
        "baseline": measure.median([r.baseline for r in own]),
        "costDeviation": measure.deviation([r.recommended for r in own]),
        "near": measure.median([measure.trials_until_near(r) for r in own]),
        "nearReached": measure.mean([float(math.isfinite(measure.trials_until_near(r))) for r in own]),
        "trials": measure.mean([float(len(r.rows)) for r in own]),
        "burned": measure.median(shares),
        "askP50": measure.suggestion_seconds(own, 0.50),
        "askP99": measure.suggestion_seconds(own, 0.99),
    }


def _regrets(title: str, runs: Sequence[Run], methods: Sequence[str]) -> str:
    budgets = (5, 10, 20, 40)
    hold = {(r.scenario, r.seed): measure.burned(r) / 40 for r in runs if r.method == "hold"}
    lines = [
        f"### {title}",
        "",
        "Median of the best truly feasible point tried so far: cost over optimum, less 1; by trials, and by bad "
        "requests of the canary, counted in those of one trial of the baseline.",
        "",
        f"| method | {' | '.join(f'{n} trials' for n in AT_TRIALS)} | {' | '.join(f'{n} burned' for n in budgets)} |",
        "|---|" + "--:|" * (len(AT_TRIALS) + len(budgets)),
    ]
    for method in methods:
        own = [run for run in runs if run.method == method]
        by_trials = [measure.median(_known([measure.regret(r, n) for r in own])).value for n in AT_TRIALS]
        by_budget = [
            measure.median(
                _known(
                    [
                        measure.regret_at_budget(r, n * hold[r.scenario, r.seed])
                        for r in own
                        if (r.scenario, r.seed) in hold
                    ]
                )
            ).value
            for n in budgets
        ]
        lines.append(f"| {method} | {' | '.join(_number(v, 3) for v in (*by_trials, *by_budget))} |")
    return "\n".join(lines)


def _known(values: Sequence[float]) -> list[float]:
    """Before anything feasible was tried the regret is unbounded."""
    return [math.inf if math.isnan(v) else v for v in values]


def coverages(runs: Sequence[Run]) -> str:
    """Coverage of Trimtab's intervals, by scenario."""
    own = [run for run in runs if any(row.outcomes or row.truths for row in run.rows)]
    lines = [
        "### Coverage of intervals, predicted before the trial",
        "",
        "| scenario | d | outcomes | " + " | ".join(f"{level:.0%}" for level in LEVELS) + " | truth, 95 % |",
        "|---|--:|--:|" + "--:|" * (len(LEVELS) + 1),
    ]
    groups: dict[tuple[str, int], list[Run]] = {}
    for run in own:
        groups.setdefault((run.scenario, run.dimensions), []).append(run)
        groups.setdefault(("all", run.dimensions), []).append(run)
    for (scenario, d), chosen in groups.items():
        seen, true = measure.coverage(chosen), measure.coverage(chosen, of_truth=True)
        shares = " | ".join(f"{100 * seen[level][0]:.1f}" for level in LEVELS)
        lines.append(f"| {scenario} | {d} | {seen[0.5][1]} | {shares} | {100 * true[0.95][0]:.1f} |")
    return "\n".join(lines)


def memory(used: dict[str, float]) -> str:
    """Greatest resident memory of a process that plays one run; that of `hold` is the model's own."""
    lines = ["### Memory of one process that plays one run, the workload model included", "", "| method | MiB |"]
    return "\n".join([*lines, "|---|--:|", *(f"| {name} | {mib:.0f} |" for name, mib in used.items())])


def as_json(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One object per (method, scenario, d) with all figures and their intervals."""
    hold = {(r.scenario, r.dimensions, r.seed): measure.burned(r) for r in runs if r.method == "hold"}
    found = []
    for (method, scenario, d), own in grouped(runs).items():
        beside = {(s, seed): v for (s, dimensions, seed), v in hold.items() if dimensions == d}
        plain = {k: _plain(v) for k, v in figures(own, beside).items()}
        shares = {f"{level:g}": v[0] for level, v in measure.coverage(own).items() if v[1]}
        regrets = {
            str(n): _finite(measure.median(_known([measure.regret(r, n) for r in own])).value) for n in AT_TRIALS
        }
        found.append(
            {"method": method, "track": own[0].track, "scenario": scenario, "dimensions": d, "runs": len(own)}
            | plain
            | {"coverage": shares, "medianRegretAtTrials": regrets, "near": plain["near"], "nearFactor": NEAR}
        )
    return found


def plots(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Median regret against trials, one plot per d."""
    written = []
    for d in sorted({run.dimensions for run in runs}):
        chosen = [r for r in runs if r.dimensions == d and r.scenario != "infeasible-start"]
        if chosen:
            path = folder / f"regret-d{d}.svg"
            path.write_text(_plot(chosen, f"Median regret against trials, d = {d}"), encoding="utf-8")
            written.append(path)
    return written


def _plot(runs: Sequence[Run], title: str) -> str:
    methods = list(dict.fromkeys(run.method for run in runs))
    height = 360.0
    chart = Chart(height, Scale(0.005, 2.0, height - BOTTOM, TOP, log=True), title)
    chart.axis(lambda v: f"{100 * v:g} %")
    wide = WIDTH - LEFT - RIGHT
    for number, method in enumerate(methods):
        own = [run for run in runs if run.method == method]
        points = []
        for trial in range(1, 41):
            value = measure.median(_known([measure.regret(r, trial) for r in own])).value
            points.append((LEFT + wide * trial / 40.0, chart.y(min(max(value, 0.005), 2.0))))
        chart.steps(points, f"m{number}")
        chart.text(WIDTH - RIGHT + 8, TOP + 16.0 * (number + 1), method, f"l{number}")
    for trial in (1, 10, 20, 30, 40):
        chart.text(LEFT + wide * trial / 40.0, height - BOTTOM + 18, str(trial), "tick", "middle")
    chart.text(LEFT + wide / 2, height - 4, "trials", "tick", "middle")
    colours = "".join(
        f".m{n}{{stroke:{COLOURS[n % len(COLOURS)]}}}text.l{n}{{fill:{COLOURS[n % len(COLOURS)]}}}"
        for n in range(len(methods))
    )
    svg = chart.svg().replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return svg.replace(">", f">{STYLE}<style>{colours}</style>", 1)


def _shown(found: Estimate, digits: int = 2) -> str:
    return f"{_number(found.value, digits)} ({_number(found.low, digits)}-{_number(found.high, digits)})"


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else "never" if math.isinf(value) else f"{value:.{digits}f}"


def _plain(value: Estimate | float) -> Any:
    if isinstance(value, Estimate):
        return {"value": _finite(value.value), "low": _finite(value.low), "high": _finite(value.high)}
    return _finite(value)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
