"""What the terminal shows while the demo runs: one row per trial, and a line on what is happening now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from demo.latency import P95
from demo.script import TERMINAL

STYLES = {
    "Succeeded": "green",
    "Infeasible": "bold red",
    "Aborted": "yellow",
    "Inconclusive": "magenta",
    "InfraFailed": "magenta",
    "Stale": "magenta",
}
WIDE = 100  # columns from which on there is room for who proposed a trial
RIGHT = {"#", "p95 ms", "$/h", "budget"}


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
    budget: str
    by_model: bool

    @property
    def verdict(self) -> str:
        return f"{self.phase} {self.reason}".strip()


@dataclass
class Board:
    """Everything that was seen so far: the error budget is noted for each trial when its end is seen first."""

    budget_left: dict[str, str] = field(default_factory=dict)

    def rows(
        self, experiment: dict[str, Any], trials: Iterable[dict[str, Any]], latencies: Mapping[str, P95]
    ) -> list[Row]:
        """One row per trial, by index."""
        left = least_left(experiment)
        rows = []
        for trial in sorted(trials, key=lambda t: int(t["spec"]["index"])):
            name = trial["metadata"]["name"]
            if (trial.get("status") or {}).get("phase") in TERMINAL:
                self.budget_left.setdefault(name, left)
            rows.append(row_of(trial, latencies.get(name), self.budget_left.get(name, "")))
        return rows


def row_of(trial: dict[str, Any], latency: P95 | None, budget: str) -> Row:
    """A Trial object as a row."""
    spec, status = trial["spec"], trial.get("status") or {}
    phase = status.get("phase", "Pending")
    return Row(
        index=int(spec["index"]),
        purpose=spec["purpose"],
        assignment=" ".join(str(a["value"]) for a in spec["assignment"]),
        latency="" if latency is None else f"{1000 * latency[0]:.0f} / {1000 * latency[1]:.0f}",
        phase=phase,
        reason="" if phase == "Succeeded" else (status.get("outcome") or {}).get("reason", ""),
        cost=f"{float(spec['cost']):.3f}",
        budget=budget,
        by_model=bool((spec.get("suggestion") or {}).get("byModel")),
    )


def least_left(experiment: dict[str, Any]) -> str:
    """The least error budget that the service has left, in percent; "" while none is known."""
    budgets = (experiment.get("status") or {}).get("budgets") or []
    known = [float(b["remaining"]) for b in budgets if b.get("remaining") is not None]
    return f"{100 * min(known):.1f}%" if known else ""


def render(experiment: dict[str, Any], rows: list[Row], note: str, elapsed: float, width: int) -> RenderableType:
    """The live view, within `width` columns."""
    wide = width >= WIDE
    table = Table(expand=False, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    names = " ".join(p["name"] for p in experiment["spec"]["parameters"])
    columns = ["#", "purpose", names, "p95 ms", "verdict", "$/h", "budget", *(["proposed by"] if wide else [])]
    for name in columns:
        flexible = name == "verdict"
        table.add_column(name, justify="right" if name in RIGHT else "left", no_wrap=not flexible, overflow="ellipsis")
    for row in rows:
        verdict = Text(row.verdict, style=STYLES.get(row.phase, "cyan"))
        cells: list[str | Text] = [
            str(row.index),
            row.purpose,
            row.assignment,
            row.latency,
            verdict,
            row.cost,
            row.budget,
        ]
        table.add_row(*cells, *(["the model" if row.by_model else ""] if wide else []))
    status = experiment.get("status") or {}
    line = f"{elapsed:4.0f} s  {status.get('phase', 'Pending')}: {status.get('message', '')}"
    legend = "p95: canary / control, in ms; $/h: the target with these values; budget: what the service has left of it"
    parts: list[RenderableType] = [table, Text(legend, style="dim"), Text(line)]
    if note:
        parts.append(Text(f"        {note}", style="bold yellow"))
    return Group(*parts)
