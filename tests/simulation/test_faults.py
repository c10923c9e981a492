"""A few hundred bad days: drawn plans on small worlds, every promise checked after every change."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from tests.simulation.world import told

from trimtab.simulate.campaign import ASKED, ASKS_EVERY, Tally, plan_of_seed, play, play_seed, scenario_of, tell
from trimtab.simulate.campaign_replay import replay_of
from trimtab.simulate.campaign_tables import as_json, explained, shortfalls, tables, unhit
from trimtab.simulate.faults.catalogue import CELLS
from trimtab.simulate.faults.kinds import BESIDE, Asks, FaultKind, Moment
from trimtab.simulate.faults.plan import FaultPlan, Scenario, plan_of
from trimtab.simulate.replay import from_replay
from trimtab.simulate.run import run

pytestmark = pytest.mark.thorough

REGRESSIONS = sorted((Path(__file__).parent / "regressions").glob("*.json"))
CHUNKS = 8
SEEDS = 5  # of each chunk
STEP = 13  # over the table of faults and moments


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_promise_is_kept_whatever_goes_wrong(chunk: int) -> None:
    tally = Tally()
    for number in range(SEEDS):
        result = play_seed(STEP * (chunk * SEEDS + number))
        assert not result.broken, explained(result)
        tally.add(result)
    assert tally.seeds == SEEDS
    assert tally.strikes


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda p: p.stem)
def test_what_broke_a_promise_once_breaks_it_no_more(path: Path) -> None:
    result = play(plan_of(json.loads(path.read_text(encoding="utf-8")), path.name))
    assert not result.broken, explained(result)


def test_a_baseline_that_is_never_read_stops_the_experiment() -> None:
    path = Path(__file__).parent / "regressions" / "baselines-never-read.json"
    result = play(plan_of(json.loads(path.read_text(encoding="utf-8")), path.name))
    assert (result.phase, result.terminal, result.recommended) == ("Stopped", 5, False)


@pytest.mark.parametrize("asks", sorted(set(ASKED)))
def test_whatever_is_asked_for_ends_when_nothing_goes_wrong(asks: Asks) -> None:
    designer = "GaussianProcess" if asks == "Repair" else "Sobol"
    result = play(FaultPlan(seed=3, scenario=Scenario(asks=asks, designer=designer)))
    assert not result.broken, explained(result)
    assert (result.phase, result.recommended) == ("Completed", True)
    assert result.terminal >= 4


@pytest.mark.parametrize(
    ("asks", "kind", "parameters", "reasons"),
    [
        *(("Route", "RouteEdited", {"how": how}, {"RouteEdited"}) for how in ("field", "weights", "backends", "apply")),
        ("Route", "RouteDeleted", {}, {"RouteNotFound"}),
        ("Route", "BackendEmptied", {"of": "canary"}, {"ArmEdited"}),
        ("Route", "BackendEmptied", {"of": "control"}, {"ArmEdited"}),
        ("Scaled", "AutoscalerEdited", {"how": "bounds"}, {"TargetChanged"}),
        ("Scaled", "AutoscalerEdited", {"how": "target"}, {"AutoscalerChanged"}),
        ("Scaled", "AutoscalerEdited", {"how": "deleted"}, {"TargetChanged"}),
        ("Scaled", "MetricsAPIAbsent", {}, set()),
        *(
            ("Route", "RouteRightsLost", {"what": what}, {"DeadlinePassed"}) for what in ("routes", "all")
        ),  # it is blind
        ("Route", "RouteRightsLost", {"what": "writes"}, set()),
        *(("Namespaces", "NamespaceLost", {"how": how}, set()) for how in ("role", "deleted")),
        ("Namespaces", "ArmCopied", {"of": "arms"}, set()),
        ("Plain", "OperatorUpgraded", {"fields": "missing"}, set()),
    ],
)
def test_what_becomes_of_a_trial_in_whose_middle_something_is_not_what_it_was(
    asks: Asks, kind: str, parameters: dict[str, str], reasons: set[str]
) -> None:
    when = {"moment": "Measuring", "trial": 1, "after": "2s"}
    faults = [{"kind": kind, "when": when, "parameters": parameters}]
    plan = plan_of({"seed": 5, "scenario": {"asks": asks, "trials": 3}, "faults": faults}, kind)
    result = play(plan)
    assert not result.broken, explained(result)
    assert result.phase == "Completed"
    made, again = from_replay(json.loads(replay_of(result)), "replay")
    trials = run(made, plan=again).result.trials
    assert {t.reason for t in trials} - {"Measured"} == reasons


def test_a_canary_is_withdrawn_whose_burn_nobody_would_notice() -> None:
    faults = [{"kind": "LongWindowsFail", "when": {"moment": "Pending", "trial": 1}, "duration": "400s"}]
    result = play(plan_of({"seed": 5, "scenario": {"asks": "Scaled", "trials": 3}, "faults": faults}, "long"))
    assert not result.broken, explained(result)
    assert result.phase == "Completed"
    made, again = from_replay(json.loads(replay_of(result)), "replay")
    assert "TelemetryBlind" in {t.reason for t in run(made, plan=again).result.trials}


def test_a_copy_of_an_arm_is_taken_away_and_its_trial_goes_on() -> None:
    faults = [{"kind": "ArmCopied", "when": {"moment": "Measuring", "trial": 1}, "parameters": {"of": "canary"}}]
    plan = plan_of({"seed": 5, "scenario": {"asks": "Namespaces", "trials": 2}, "faults": faults}, "copy")
    changes = (c for c in told(tell(plan)).record.changes if c.kind == "deployments")
    assert [c.type for c in changes if c.object["metadata"]["namespace"] == BESIDE] == ["ADDED", "DELETED"]


def test_seeds_ask_for_everything() -> None:
    assert {scenario_of(ASKS_EVERY * n).asks for n in range(len(ASKED))} == set(ASKED)


def test_a_seed_tells_the_same_story_twice() -> None:
    first, second = play_seed(31), play_seed(31)
    assert first == second


def test_a_printed_plan_tells_the_same_story() -> None:
    plan = plan_of_seed(57)
    again = plan_of(json.loads(json.dumps(plan.wire())), "again")
    assert play(again) == play(plan)


def test_a_story_of_the_campaign_is_told_again_by_simulate() -> None:
    """The same world, strike by strike, and not only the same plan."""
    result = play_seed(42)
    made, plan = from_replay(json.loads(replay_of(result)), "replay")
    again = run(made, plan=plan).result
    assert plan == result.plan
    assert [(FaultKind(f.kind), Moment(f.moment)) for f in again.faults] == list(result.strikes)
    assert len(again.trials) == result.terminal
    assert again.promises.broken == ()


def test_what_a_full_campaign_must_show() -> None:
    tally = Tally(seeds=1000, three=799, recommended=199, gaussian=199)
    assert [words.split()[0] for words in shortfalls(tally)] == ["199", "79.9", "19.9", str(len(CELLS))]
    whole = Tally(seeds=1000, three=800, recommended=200, gaussian=200, strikes=Counter(CELLS))
    assert shortfalls(whole) == []


def test_results_add_up() -> None:
    tally = Tally()
    tally.add(play_seed(3))
    both = Tally()
    both.merge(tally)
    both.merge(tally)
    report = as_json(both)
    assert report["seeds"] == 2
    assert report["faultsInjected"] == 2 * sum(tally.strikes.values())
    assert len(unhit(both)) == report["cells"] - len(tally.strikes)
    assert f"| seeds | {both.seeds:,} " in tables(both)
