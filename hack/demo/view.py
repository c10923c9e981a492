"""What the terminal shows while the demo runs: one row per trial, and a line on what is happening now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

STYLES = {
    "Succeeded": "green",
    "Infeasible": "bold red",
    "Aborted": "yellow",
    "Inconclusive": "magenta",
    "InfraFailed": "magenta",
    "Stale": "magenta",
}
LATENCY_SLI = "slow"


@dataclass(frozen=True)
class Row:
    """One trial for people."""

    index: int
    purpose: str
    assignment: str
    latency: str
    phase: str
    reason: str
    cost: str
    by_model: bool


def row_of(trial: dict[str, Any]) -> Row:
    """A Trial object as a row."""
    spec, status = trial["spec"], trial.get("status") or {}
    phase = status.get("phase", "Pending")
    return Row(
        index=int(spec["index"]),
        purpose=spec["purpose"],
        assignment=" ".join(f"{a['name']}={a['value']}" for a in spec["assignment"]),
        latency=_latency(status.get("measurements") or []),
        phase=phase,
        reason="" if phase == "Succeeded" else (status.get("outcome") or {}).get("reason", ""),
        cost=f"${float(spec['cost']):.3f}",
        by_model=bool((spec.get("suggestion") or {}).get("byModel")),
    )


def _latency(measurements: list[dict[str, Any]]) -> str:
    values = {m["arm"]: float(m["sample"]["value"]) for m in measurements if m["sli"] == LATENCY_SLI and "sample" in m}
    if "canary" not in values:
        return ""
    control = f" / {100 * values['control']:.2f}" if "control" in values else ""
    return f"{100 * values['canary']:.2f}{control} %"


def render(experiment: dict[str, Any], trials: list[dict[str, Any]], note: str, elapsed: float) -> RenderableType:
    """The live view."""
    table = Table(expand=False, title_justify="left", header_style="bold")
    for name in ("#", "purpose", "assignment", "over 100 ms canary / control", "verdict", "$/h", "by"):
        table.add_column(name, justify="right" if name in {"#", "$/h"} else "left")
    for trial in sorted(trials, key=lambda t: int(t["spec"]["index"])):
        row = row_of(trial)
        verdict = Text(f"{row.phase} {row.reason}".strip(), style=STYLES.get(row.phase, "cyan"))
        by = "model" if row.by_model else ""
        table.add_row(str(row.index), row.purpose, row.assignment, row.latency, verdict, row.cost, by)
    status = experiment.get("status") or {}
    line = f"{elapsed:5.0f} s  {status.get('phase', 'Pending')}: {status.get('message', '')}"
    budgets = status.get("budgets") or []
    left = ", ".join(f"{b['name']} budget left {_percent(b)}" for b in budgets)
    parts: list[RenderableType] = [table, Text(line)]
    if left:
        parts.append(Text(f"         {left}", style="dim"))
    if note:
        parts.append(Text(f"         {note}", style="bold yellow"))
    return Group(*parts)


def _percent(budget: dict[str, Any]) -> str:
    value = budget.get("remaining")
    return "unknown" if value is None else f"{100 * float(value):.1f} %"
