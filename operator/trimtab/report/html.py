"""One page about a simulation: self-contained, without scripts and without anything from the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from trimtab.report import charts, words
from trimtab.report.facts import Tone, answer, facts
from trimtab.report.tables import spread
from trimtab.report.words import Files
from trimtab.simulate.results import Absent, Bound, Simulation, SimulationSet, TrialResult


@dataclass(frozen=True)
class Tile:
    """A headline number."""

    value: str
    label: str
    tone: str = Tone.PLAIN.value


def page(simulation: Simulation, files: Files) -> str:
    """The page of one simulated Experiment."""
    shown = [b for b in simulation.constraints if not isinstance(b.max, Absent)]
    plots = ((b, charts.sli_chart(simulation, b)) for b in shown)
    minutes = simulation.inputs.days * 1440.0
    return (
        _environment()
        .get_template("simulation.html.j2")
        .render(
            simulation=simulation,
            summary=simulation.summary,
            headline=_headline(simulation),
            tiles=list(_tiles(simulation)),
            facts=facts(simulation),
            cost=Markup(charts.cost_chart(simulation)),
            slis=[(bound, Markup(svg)) for bound, svg in plots if svg],
            exposure=Markup(charts.exposure_chart(simulation)),
            first=simulation.constraints[0],
            trials=simulation.trials,
            peers=Markup(charts.peers_chart(simulation.comparison, minutes)) if simulation.comparison else "",
            commands=words.next_commands(simulation, files),
        )
    )


def set_page(result: SimulationSet) -> str:
    """The page of several seeds."""
    return (
        _environment()
        .get_template("set.html.j2")
        .render(
            result=result,
            tiles=list(_set_tiles(result)),
            spread=spread,
            costs=Markup(charts.seeds_chart(result)),
        )
    )


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("trimtab.report", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(words=words, answer=answer, cells=_cells)
    return made


def _headline(simulation: Simulation) -> str:
    s = simulation.summary
    if isinstance(s.recommendation, Absent):
        return f"{s.phase.value}, and nothing is recommended"
    if s.recommendation.keep_baseline:
        return "Keep the baseline"
    first = words.first_objective(s)
    if first is not None:
        return f"{first.name} {words.objective(first)} with {words.assignment(s.recommendation.assignment)}"
    share, word = words.change(s.saving_percent)
    return f"{share} {word} with {words.assignment(s.recommendation.assignment)}"


def _tiles(simulation: Simulation) -> Iterator[Tile]:
    s = simulation.summary
    first = words.first_objective(s)
    share, word = words.change(s.saving_percent)
    if first is not None:
        yield Tile(words.percent(first.change_percent, 0), f"change of {first.name}, without noise", "good")
        yield Tile(words.amount(first.optimum, first.unit), f"{first.name} at best")
    elif word == "cheaper":
        yield Tile(share, "saved of the request cost", "good")
        yield Tile(words.percent(s.saving_of_optimum_percent, 0), "of what the true optimum saves")
    else:
        yield Tile(share, "more request cost, to keep every bound", "warn")
    feasible = {True: "good", False: "bad"}.get(s.truly_feasible is True, "")
    yield Tile(words.yes(s.truly_feasible), "keeps every bound at peak, without noise", feasible)
    yield Tile(f"{s.unsafe_trials} of {s.trials}", "trials truly unsafe", "warn" if s.unsafe_trials else "good")
    yield Tile(str(s.rollbacks), "canaries withdrawn")
    yield Tile(words.percent(s.budget_spent_percent, 2), "of the error budget spent")


def _set_tiles(result: SimulationSet) -> Iterator[Tile]:
    n = result.seeds
    yield Tile(words.percent(result.saving_percent.median, 0), "median saving", "good")
    yield Tile(words.percent(result.saving_of_optimum_percent.median, 0), "median share of the optimum's saving")
    held = "good" if result.truly_feasible == n else "bad"
    yield Tile(f"{result.truly_feasible} of {n}", "keep every bound at peak", held)
    safe = "good" if result.without_unsafe_trials == n else "warn"
    yield Tile(f"{result.without_unsafe_trials} of {n}", "without a truly unsafe trial", safe)


def _cells(trial: TrialResult, bound: Bound) -> dict[str, str]:
    """A row of the table of trials."""
    truth = words.truth_of(trial)
    return {
        "measured": words.measured(trial, bound) if trial.measured else "",
        "control": words.measured(trial, bound, "control") if trial.measured else "",
        "true": words.amount(words.true_at_load(trial, bound), bound.unit),
        "verdict": words.verdict(trial),
        "tone": charts.tone(trial),
        "truth": truth,
        "truth_tone": charts.TRUTHS[truth],
    }
