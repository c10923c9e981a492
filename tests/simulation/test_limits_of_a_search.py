"""Whole Experiments: one that may cost only so much, one that repairs its baseline, one that screens its trials."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from benchmarks.operator.live import experiment
from tests.simulation.world import NAME, NAMESPACE, SCRAPE, SOBOL, made, manifests, told, workload

from stack.paths import EXAMPLES
from trimtab.api.times import parse_time
from trimtab.domain.state import ExperimentPhase
from trimtab.simulate.invariants import check_history
from trimtab.simulate.run import run as simulate
from trimtab.simulate.scenario import scenario
from trimtab.simulate.traffic import Scraping
from trimtab.simulate.world import Options, Setting, World

SEARCH = {"designer": "GaussianProcess", "initialTrials": 2}


def status(world: World) -> dict[str, Any]:
    return (world.experiment(NAME) or {}).get("status") or {}


async def ended(world: World, seconds: float = 1800.0) -> dict[str, Any]:
    """The status of the Experiment that has ended; every promise was kept on the way."""
    world.start()
    assert await world.until(world.ended(NAME), seconds=seconds), status(world).get("message")
    check_history(world.history.changes)
    return status(world)


@pytest.mark.thorough
def test_an_experiment_ends_before_its_trials_cost_too_much() -> None:
    """A pod costs $0.0717 an hour, so a trial at most $0.003 within its 75 s, and in truth about a tenth."""
    told(_costly())


async def _costly() -> None:
    world = await made(search=SOBOL, stopping={"maxTrials": 30, "maxCost": "0.0042"})
    found = await ended(world)
    assert found["phase"] == "Completed"
    assert found["message"].endswith(" of $0.0042 (maxCost)")
    assert 0.0011 < found["figures"]["experimentCost"] <= 0.0042
    assert 3 <= len(world.trials(NAME)) < 30
    await world.close()


@pytest.mark.thorough
def test_a_baseline_that_breaks_its_bound_is_repaired() -> None:
    told(_repaired())


async def _repaired() -> None:
    world = await _undersized(infeasibleBaseline="Repair")
    found = await ended(world)
    trials = world.trials(NAME)
    assert [t["spec"]["purpose"] for t in trials[:3]] == ["Baseline", "Baseline", "Search"]
    assert "BoundBroken" in [t["status"]["outcome"]["reason"] for t in trials[:2]]  # a few seconds may leave it open
    assert trials[2]["spec"]["summary"] == "cpu=900m memory=1536Mi"  # half as much again of both
    assert not any(t["status"].get("withdrawSeconds") for t in trials)  # none was worse than its control
    assert (found["phase"], found["recommendation"]["verified"]) == ("Completed", True)
    assert found["recommendation"]["saving"] < 0
    assert " more, and keeps p95-under-100ms, which the baseline breaks ($" in found["message"]
    assert found["display"]["saving"].startswith("-")
    await world.close()


@pytest.mark.thorough
def test_the_example_is_repaired_as_its_page_says() -> None:
    """In the model without noise it holds at peak, and costs less than the first step up did."""
    folder = EXAMPLES / "undersized"
    manifest = yaml.safe_load((folder / "experiment.yaml").read_text())
    text = (folder / "workload.yaml").read_text()
    found = simulate(scenario(manifest, (), text, source="workload.yaml", seed=None, days=1.0)).result.summary
    assert found.phase is ExperimentPhase.COMPLETED
    assert found.truly_feasible is True
    assert (found.rollbacks, found.gross_trials) == (0, 0)
    assert isinstance(found.saving_percent, float)
    assert -50 < found.saving_percent < 0


def test_without_repair_it_ends_there() -> None:
    told(_refused())


async def _refused() -> None:
    world = await _undersized()
    world.start()
    assert await world.until(lambda: "BaselineInfeasible" in status(world).get("message", ""), seconds=120)
    assert not world.trials(NAME)
    await world.close()


async def _undersized(**search: str) -> World:
    deployment, service = manifests()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["resources"] = {side: {"cpu": "600m", "memory": "1Gi"} for side in ("requests", "limits")}
    world = await World.build(
        Setting(workload(), (deployment, service), NAMESPACE), Options(seed=3, scraping=Scraping(interval=SCRAPE))
    )
    sections = {
        "search": SEARCH | search,
        "stopping": {"maxTrials": 8},
        "verification": {"duration": "20s", "replicates": 1},
    }
    world.admin.apply(experiment(NAME, NAMESPACE, **sections), NAMESPACE)
    return world


@pytest.mark.thorough
def test_search_trials_are_screened() -> None:
    told(_screened())


async def _screened() -> None:
    timing = {"warmUp": "1s", "duration": "20s", "deadline": "90s", "fidelity": {"screen": "5s"}}
    world = await made(search=SOBOL, trial=timing, stopping={"maxTrials": 8})
    found = await ended(world)
    assert found["phase"] == "Completed"
    screens = [t for t in world.trials(NAME) if t["spec"]["purpose"] == "Screen"]
    assert screens
    for each in screens:
        short = each["status"]["outcome"]["reason"] in ("Screened", "ScreenedOut")
        assert _seconds(each) == (5.0 if short else 20.0)
    others = [t for t in world.trials(NAME) if t["spec"]["purpose"] != "Screen"]
    assert {_seconds(t) for t in others} == {20.0}
    await world.close()


def _seconds(trial: dict[str, Any]) -> float:
    window = trial["status"]["window"]
    return round(parse_time(window["end"]) - parse_time(window["start"]), 3)
