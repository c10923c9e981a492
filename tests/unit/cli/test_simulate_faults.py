"""`trimtab simulate --faults` and `--replay`: what struck, what was kept, and the same story told again."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.cli.test_simulate import SHORT, files, refused, run, write

from trimtab.cli import simulating
from trimtab.simulate.faults.plan import plan_of
from trimtab.simulate.replay import FORMAT, from_replay, to_replay
from trimtab.simulate.results import Breach, Promises, Simulation, from_json
from trimtab.simulate.run import Ran
from trimtab.simulate.run import run as simulated
from trimtab.simulate.scenario import Scenario, scenario

__all__ = ["files"]  # the fixture

PLAN = {
    "seed": 7,
    "faults": [
        {
            "kind": "OOMKilled",
            "when": {"moment": "Measuring", "trial": 1, "after": "1s"},
            "parameters": {"of": "canary"},
        },
        {"kind": "OperatorKilled", "when": {"effect": "after:create:Deployment", "nth": 2}},
        {"kind": "PrometheusDown", "when": {"moment": "Measuring", "trial": 77}, "duration": "5s"},
    ],
}


@cache
def with_faults() -> str:
    write("f.yaml", PLAN)
    result = run("-f", "e.yaml", "--workload", "w.yaml", *SHORT, "--faults", "f.yaml", "-o", "json")
    assert result.exit_code == 0, result.output
    return result.stdout


def made() -> Scenario:
    """As the command line makes it."""
    document = yaml.safe_load(Path("e.yaml").read_text())
    return scenario(document, (), Path("w.yaml").read_text(), seed=None, days=0.2, scrape=1.0)


@pytest.mark.thorough
def test_what_struck_and_what_was_kept_is_in_the_result() -> None:
    found = from_json(with_faults())
    assert isinstance(found, Simulation)
    assert sorted((f.kind, f.moment) for f in found.faults) == [
        ("OOMKilled", "Measuring"),
        ("OperatorKilled", "Deploying"),
    ]
    assert all(f.until for f in found.faults)
    assert found.faults_missed == 1
    assert found.promises.checked > 10
    assert found.promises.broken == ()
    assert (found.trials[1].phase, found.trials[1].reason) == ("Infeasible", "OOMKilled")
    assert found.inputs.faults != ""


@pytest.mark.thorough
def test_a_fault_is_not_held_against_the_assignment() -> None:
    found = from_json(with_faults())
    assert isinstance(found, Simulation)
    assert found.trials[1].truly_unsafe is False


@pytest.mark.thorough
def test_the_table_says_it_too() -> None:
    write("f.yaml", PLAN)
    text = run("-f", "e.yaml", "--workload", "w.yaml", *SHORT, "--faults", "f.yaml").stdout
    assert "OOMKilled (Measuring)" in text
    assert "1 never came" in text
    assert "checked after every change, all kept" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {"faults": [{"kind": "OOMKiled", "at": "5s"}]},
            "faults[0].kind: 'OOMKiled' is no kind of fault; did you mean",
        ),
        ({"faults": [{"kind": "OOMKilled"}]}, "needs exactly one of at and when; remove or add one"),
        ({"faults": [{"kind": "OOMKilled", "at": 5}]}, "faults[0].at: is no time; write for example 500ms"),
        (["x"], "is no fault plan; start with `faults:`"),
    ],
)
def test_an_error_in_the_faults_is_one_line_with_field_and_remedy(content: object, words: str) -> None:
    write("f.yaml", content)
    text = refused("-f", "e.yaml", "--workload", "w.yaml", *SHORT, "--faults", "f.yaml")
    assert text.startswith("trimtab: f.yaml: ")
    assert words in text


@pytest.mark.thorough
def test_a_replay_is_the_same_simulation() -> None:
    plan = plan_of(PLAN, "plan")
    Path("again.json").write_text(to_replay(made(), plan))
    result = run("--replay", "again.json", "-o", "json")
    assert result.exit_code == 0, result.output
    assert result.stdout == with_faults()


def test_a_replay_without_faults_is_one_too() -> None:
    again, plan = from_replay(json.loads(to_replay(made(), None)), "again.json")
    assert plan is None
    assert again == made()


def test_seeds_that_were_given_stay_in_a_replay() -> None:
    other = replace(made().with_seed(11), past_days=2.0)
    again, _ = from_replay(json.loads(to_replay(other, None)), "again.json")
    assert again == other
    assert (again.seed, again.workload.seed, again.spec.search.seed, again.past_days) == (11, 11, 11, 2.0)


@pytest.mark.thorough
def test_a_broken_promise_fails_and_says_how_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The breach is made up: there is no known way to break one."""

    def broken(*arguments: Any) -> Ran:
        ran = simulated(*arguments)
        breach = Breach(promise="OneCanary", at="2026-03-02T09:01:00.000Z", detail="two canaries")
        promises = Promises(checked=21, broken=(breach,))
        return replace(ran, result=ran.result.model_copy(update={"promises": promises}))

    monkeypatch.setattr(simulating, "run", broken)
    write("f.yaml", PLAN)
    result = run("-f", "e.yaml", "--workload", "w.yaml", *SHORT, "--faults", "f.yaml")
    assert result.exit_code == 1
    assert "promises                    1 BROKEN; OneCanary: two canaries" in result.stdout
    assert "promise broken: OneCanary at 2026-03-02T09:01:00.000Z: two canaries" in result.stderr
    assert "kind: OOMKilled" in result.stderr
    assert "trimtab simulate --replay replay-web-3.json" in result.stderr
    again, plan = from_replay(json.loads(Path("replay-web-3.json").read_text()), "replay-web-3.json")
    assert again == made()
    assert plan == plan_of(PLAN, "plan")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"format": "other"}, f"is no replay of the form {FORMAT}; use a file that a simulation wrote"),
        (["x"], "is no replay of the form"),
        ({"format": FORMAT}, "experiment is missing"),
    ],
)
def test_what_is_no_replay_is_refused(content: object, words: str) -> None:
    write("r.yaml", content)
    assert words in refused("--replay", "r.yaml")


def test_numbers_of_a_replay_are_numbers() -> None:
    document = json.loads(to_replay(made(), None)) | {"days": "seven"}
    write("r.yaml", document)
    assert "r.yaml: days is missing or no number" in refused("--replay", "r.yaml")


def test_a_replay_needs_nothing_else() -> None:
    Path("again.json").write_text(to_replay(made(), None))
    assert "leave out --file, --workload and --faults" in refused("--replay", "again.json", "-f", "e.yaml")
    assert "leave out --seeds" in refused("--replay", "again.json", "--seeds", "2")
    assert "nope.json: No such file" in refused("--replay", "nope.json")
