"""What a terminal shows while simulations run, and that nobody else sees it."""

from __future__ import annotations

import io

import yaml
from rich.console import Console
from tests.unit.simulate.stories import WEB, result

from trimtab.cli.watching import Watching
from trimtab.simulate.run import Ran
from trimtab.simulate.scenario import Scenario, scenario


def made() -> Scenario:
    experiment = yaml.safe_load((WEB / "experiment.yaml").read_text())
    return scenario(experiment, (), (WEB / "workload.yaml").read_text(), seed=1, days=1.0)


def ran() -> Ran:
    return Ran(result(), (), made(), None)


def terminal() -> tuple[Console, io.StringIO]:
    screen = io.StringIO()
    return Console(file=screen, force_terminal=True, width=140, highlight=False), screen


def test_trials_appear_as_they_end() -> None:
    console, screen = terminal()
    with Watching(console, made()) as watching:
        assert watching.progress is not None
        watching.progress.status(1_772_442_000.0, "Running", "trial 6: measuring cpu=700m")
        assert "2026-03-02T09:00:00Z  Running: trial 6: measuring cpu=700m" in screen.getvalue()
        watching.progress.trial(result().trials[6])
        assert "Infeasible AbortRule" in screen.getvalue()


def test_seeds_are_counted() -> None:
    console, screen = terminal()
    with Watching(console, made()) as watching:
        assert watching.seed(ran()) == ran()
    assert "1 done; seed 1: Completed, saving 60.3 %" in screen.getvalue()


def test_without_a_terminal_nothing_is_shown_and_nothing_is_asked_for() -> None:
    with Watching(None, made()) as watching:
        assert watching.progress is None
        assert watching.seed(ran()) == ran()
