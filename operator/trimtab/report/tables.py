"""A result in a terminal: rich tables, the same words as the page."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trimtab.report import words
from trimtab.report.facts import Tone, answer, facts
from trimtab.simulate.results import Absent, Bound, Number, Peer, Run, Simulation, SimulationSet, Spread, TrialResult

PHASES = {
    "Succeeded": "green",
    "Infeasible": "bold red",
    "Aborted": "yellow",
    "Inconclusive": "magenta",
    "InfraFailed": "magenta",
    "Stale": "magenta",
}
TONES = {Tone.PLAIN: "", Tone.GOOD: "green", Tone.WARN: "yellow", Tone.BAD: "bold red"}
TRUTHS = {"safe": "green", "unsafe at peak": "yellow", "UNSAFE": "bold red", "GROSS": "bold white on red"}


def simulation_view(simulation: Simulation) -> RenderableType:
    """Trials, summary and comparison."""
    parts: list[RenderableType] = [
        trials_table(simulation.trials, simulation.constraints),
        Text(""),
        summary_table(simulation),
    ]
    if simulation.comparison:
        parts += [Text(""), comparison_table(simulation.comparison, simulation.inputs.days)]
    return Group(*parts)


def trials_table(trials: Iterable[TrialResult], constraints: tuple[Bound, ...]) -> Table:
    """One row per Trial."""
    bound = constraints[0]
    table = Table(header_style="bold", expand=False)
    table.add_column("#", justify="right")
    table.add_column("purpose")
    table.add_column("assignment", overflow="fold")
    table.add_column(f"{bound.sli}: canary / control", justify="right")
    table.add_column("true", justify="right")
    table.add_column("verdict")
    table.add_column("truly")
    table.add_column("$/h", justify="right")
    for trial in trials:
        table.add_row(*_cells(trial, bound))
    return table


def _cells(trial: TrialResult, bound: Bound) -> tuple[Text, ...]:
    pair = f"{words.measured(trial, bound)} / {words.measured(trial, bound, 'control')}"
    truly = words.truth_of(trial)
    purpose = trial.purpose.value + (" *" if trial.by_model else "")
    cells = (
        (str(trial.index), ""),
        (purpose, ""),
        (words.assignment(trial.assignment), ""),
        ("" if not trial.measured else pair, ""),
        (words.amount(words.true_at_load(trial, bound), bound.unit), ""),
        (words.verdict(trial), PHASES.get(trial.phase.value, "cyan")),
        (truly, TRUTHS.get(truly, "dim")),
        (words.money(trial.cost_per_hour), ""),
    )
    return tuple(Text(text, style=style) for text, style in cells)


def _facts(title: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    return table


def summary_table(simulation: Simulation) -> Table:
    """The result in a dozen lines."""
    table = _facts("")
    for fact in facts(simulation):
        table.add_row(fact.label, Text(fact.text, style=TONES[fact.tone]))
    return table


def comparison_table(peers: Iterable[Peer], days: float) -> Table:
    """Rules side by side."""
    table = Table(title=f"The same load for {words.days(days)}", title_justify="left", header_style="bold")
    for name, side in (
        ("rule", "left"),
        ("$/h at the end", "right"),
        ("$/h on average", "right"),
        ("SLO-violation minutes", "right"),
        ("unsafe canary minutes", "right"),
        ("pods at the end", "left"),
    ):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for peer in peers:
        broken = Text(f"{peer.violation_minutes:,}", style="bold red" if peer.violation_minutes else "green")
        costs = (words.money(peer.final_cost_per_hour), words.money(peer.mean_cost_per_hour))
        table.add_row(Text(peer.name), *costs, broken, f"{peer.unsafe_canary_minutes:,.0f}", Text(peer.setting))
    return table


def set_view(result: SimulationSet) -> RenderableType:
    """Several seeds: one row each, then the spread."""
    table = Table(header_style="bold")
    for name in (
        "seed",
        "ended",
        "recommendation",
        "saving",
        "of optimum",
        "holds at peak",
        "trials",
        "unsafe",
        "gross",
        "withdrawn",
    ):
        table.add_column(name, justify="left" if name in {"ended", "recommendation"} else "right")
    for run in result.runs:
        table.add_row(*_run_cells(run))
    parts: list[RenderableType] = [table, Text(""), _spreads(result)]
    if result.comparison:
        parts += [Text(""), _peer_spreads(result)]
    return Group(*parts)


def _run_cells(run: Run) -> tuple[Text, ...]:
    s = run.summary
    cells = (
        (str(run.seed), ""),
        (s.phase.value, ""),
        (answer(s), ""),
        (words.percent(s.saving_percent), ""),
        (words.percent(s.saving_of_optimum_percent, 0), ""),
        (words.yes(s.truly_feasible), "bold red" if s.truly_feasible is False else ""),
        (str(s.trials), ""),
        (str(s.unsafe_trials), "yellow" if s.unsafe_trials else ""),
        (str(s.gross_trials), "bold red" if s.gross_trials else ""),
        (str(s.rollbacks), ""),
    )
    return tuple(Text(text, style=style) for text, style in cells)


def _spreads(result: SimulationSet) -> Table:
    table = _facts("")
    n = result.seeds
    table.add_row("recommended a saving", f"{result.recommended} of {n} seeds")
    table.add_row("holds every bound at peak", f"{result.truly_feasible} of {n}")
    table.add_row("no trial truly unsafe", f"{result.without_unsafe_trials} of {n}")
    table.add_row("saving", spread(result.saving_percent, "%"))
    table.add_row("of the optimum's saving", spread(result.saving_of_optimum_percent, "%"))
    table.add_row("trials", spread(result.trials))
    table.add_row("truly unsafe trials", spread(result.unsafe_trials))
    table.add_row("canaries withdrawn", spread(result.rollbacks))
    return table


def spread(value: Spread, unit: str = "") -> str:
    """`median 58.2 (54.0 to 60.3)`."""
    if isinstance(value.median, Absent):
        return f"none: {value.median.absent}"
    shown = words.percent if unit == "%" else _plain
    low, middle, high = (shown(number) for number in (value.min, value.median, value.max))
    missing = f"; {value.absent} without" if value.absent else ""
    return f"median {middle} ({low} to {high}){missing}"


def _plain(number: Number) -> str:
    whole = isinstance(number, Absent) or number == int(number)
    return words.count(number) if whole else f"{number:.1f}"


def _peer_spreads(result: SimulationSet) -> Table:
    table = Table(
        title=f"The same load for {words.days(result.inputs.days)}, median over seeds",
        title_justify="left",
        header_style="bold",
    )
    for name in ("rule", "$/h at the end", "$/h on average", "SLO-violation minutes", "unsafe canary minutes"):
        table.add_column(name, justify="left" if name == "rule" else "right")
    for peer in result.comparison:
        costs = (words.money(peer.final_cost_per_hour.median), words.money(peer.mean_cost_per_hour.median))
        table.add_row(
            Text(peer.name),
            *costs,
            words.count(peer.violation_minutes.median),
            words.count(peer.unsafe_canary_minutes.median),
        )
    return table


def next_steps(simulation: Simulation, files: words.Files) -> Text:
    """What to type next; printed with `soft_wrap`, a line can be copied however narrow the terminal is."""
    lines = [Text("\nNext:")]
    for command, purpose in words.next_commands(simulation, files):
        lines += [Text(f"  # {purpose}", style="dim"), Text(f"  {command}")]
    return Text("\n").join(lines)
