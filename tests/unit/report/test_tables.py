"""A result in a terminal."""

from __future__ import annotations

from rich.console import Console, RenderableType
from tests.unit.simulate.stories import result

from trimtab.domain.state import ExperimentPhase
from trimtab.domain.trial import TrialPhase
from trimtab.report.tables import next_steps, set_view, simulation_view, spread
from trimtab.report.words import Files
from trimtab.simulate.results import Absent, Spread
from trimtab.simulate.seeds import gathered


def shown(view: RenderableType, *, width: int = 160, soft_wrap: bool = False) -> str:
    console = Console(width=width, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(view, soft_wrap=soft_wrap)
    return captured.get()


def test_everything_of_a_simulation() -> None:
    text = shown(simulation_view(result(peers=("hold", "krr"))))
    for words in (
        "cpu=800m memory=768Mi", "Infeasible AbortRule", "UNSAFE", "$0.569", "60.3 %", "true optimum",
        "The same load for 1 day", "krr",
    ):  # fmt: skip
        assert words in text, words


def test_what_has_not_ended_says_so() -> None:
    one = result()
    running = one.summary.model_copy(update={"phase": ExperimentPhase.RUNNING, "message": "trial 2: measuring cpu=1"})
    text = shown(simulation_view(one.model_copy(update={"summary": running})))
    assert "not yet; Running after" in text
    assert "trial 2: measuring cpu=1; give it more time with --days" in text


def test_names_from_a_manifest_are_no_markup() -> None:
    one = result()
    evil = one.trials[0].model_copy(update={"reason": "[red]x[/red]", "phase": TrialPhase.INFEASIBLE})
    text = shown(simulation_view(one.model_copy(update={"trials": (evil, *one.trials[1:])})))
    assert "[red]x[/red]" in text


def test_what_to_type_next_can_be_copied_from_a_narrow_terminal() -> None:
    files = Files("a/long/path/to/an/experiment.yaml", "another/long/path/to/a/workload.yaml")
    lines = shown(next_steps(result(), files), width=40, soft_wrap=True).splitlines()
    apply = next(line for line in lines if "kubectl" in line and " apply " in line)
    assert apply.endswith("apply -f a/long/path/to/an/experiment.yaml")
    assert lines[lines.index(apply) - 1] == "  # start it in production"


def test_several_seeds() -> None:
    text = shown(set_view(gathered([result(1, peers=("hold",)), result(2, peers=("hold",))])))
    assert "2 of 2 seeds" in text
    assert "median 60.3 %" in text
    assert "median over seeds" in text


def test_a_spread_that_nobody_has() -> None:
    none = Absent(absent="NoRecommendation")
    assert spread(Spread(median=none, min=none, max=none, absent=3)) == "none: NoRecommendation"
    assert spread(Spread(median=2.0, min=1.0, max=3.5, absent=1)) == "median 2 (1 to 3.5); 1 without"
