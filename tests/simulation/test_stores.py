"""A trial under a limit of queries, and one that is measured in another store, through the whole loop."""

from __future__ import annotations

import pytest
import yaml
from tests.simulation.world import NAME, NAMESPACE, SOBOL, made, told

from stack.paths import EXAMPLES
from trimtab.api.convert import parse_experiment, trial_record
from trimtab.simulate.life import LifeOptions
from trimtab.simulate.scenario import START
from trimtab.simulate.traffic import Scraping
from trimtab.simulate.world import Options, Setting, World
from trimtab.workload import load_workload

ARM = "trimtab.dev/arm"


def queries(world: World, loop: str, outcome: str) -> float:
    """How many there were, by the operator's own count."""
    labels = {"store": "default", "loop": loop, "outcome": outcome}
    value = world.life.parts.metrics.registry.get_sample_value("trimtab_telemetry_queries_total", labels)
    return value or 0.0


def test_a_trial_that_may_not_ask_any_more_is_withdrawn_as_blind() -> None:
    """Forty queries a minute are too few to watch a canary each second: it goes, and nothing is learned from it."""

    async def story() -> World:
        world = await made(search=SOBOL, safety={"staleAfter": "5s"}, trial={"duration": "60s", "deadline": "5m"})
        world.start(LifeOptions("operator-0", query_limit=40))
        ended = lambda: any(t.get("status", {}).get("outcome") for t in world.trials(NAME))  # noqa: E731
        assert await world.until(ended, seconds=900)
        await world.close()
        return world

    world = told(story())
    (outcome, *_) = [t["status"]["outcome"] for t in world.trials(NAME) if t["status"].get("outcome")]
    assert outcome["phase"] == "Inconclusive"
    assert "not asked" in outcome["message"] or outcome["reason"] == "QueryLimit", outcome
    assert queries(world, "safety", "refused") > 0
    assert queries(world, "safety", "answered") > 0


def test_an_experiment_of_the_usual_limit_is_never_refused_a_query() -> None:
    async def story() -> World:
        world = await made(search=SOBOL)
        world.start()
        assert await world.until(world.ended(NAME), seconds=900)
        await world.close()
        return world

    world = told(story())
    assert queries(world, "safety", "answered") > 0
    assert queries(world, "reconcile", "answered") > 0
    assert queries(world, "safety", "refused") == queries(world, "reconcile", "refused") == 0


def test_trials_side_by_side_have_the_limit_each() -> None:
    """A look each second asks 450 queries a minute for one trial, 1,290 for three: more than the limit of 1,200."""

    async def story() -> World:
        trial = {"parallel": 3, "warmUp": "1s", "duration": "90s", "deadline": "10m"}
        side_by_side = {"canary": {"maxSharePercent": "80"}, "stopping": {"maxTrials": 5}}
        world = await made(search=SOBOL, trial=trial, safety={"checkInterval": "1s"}, **side_by_side)
        world.start()
        assert await world.until(world.ended(NAME), seconds=1200)
        await world.close()
        return world

    world = told(story())
    outcomes = [trial["status"]["outcome"] for trial in world.trials(NAME)]
    assert len(outcomes) >= 5
    assert {outcome["phase"] for outcome in outcomes} == {"Succeeded"}
    assert queries(world, "safety", "refused") == queries(world, "reconcile", "refused") == 0


@pytest.mark.thorough
def test_what_a_trial_of_the_example_costs_the_store() -> None:
    """The example as it stands, but for the number of trials; `pytest -s` prints the figures."""

    async def story() -> World:
        folder = EXAMPLES / "web-service"
        manifests = tuple(yaml.safe_load_all((folder / "deployment.yaml").read_text()))
        document = yaml.safe_load((folder / "experiment.yaml").read_text())
        document["metadata"]["namespace"] = NAMESPACE
        document["spec"]["stopping"]["maxTrials"] = 3
        document["spec"]["verification"]["replicates"] = 1
        service, scraping = load_workload(folder / "workload.yaml"), Scraping(interval=15.0, past_days=30.0)
        setting = Setting(service, manifests, NAMESPACE)
        world = await World.build(setting, Options(seed=1, epoch=START, scraping=scraping))
        world.admin.apply(document, NAMESPACE)
        world.start()
        assert await world.until(world.ended("web"), days=2)
        await world.close()
        return world

    world = told(story())
    trials = [trial_record(t, parse_experiment(world.experiment("web") or {}).space) for t in world.trials("web")]
    minutes = sum((t.times.finished or 0.0) - t.times.created for t in trials) / 60
    rates = {loop: queries(world, loop, "answered") / minutes for loop in ("safety", "reconcile")}
    print(f"\n{len(trials)} trials, {minutes:.0f} min live, queries a minute: {rates}")
    assert len(trials) >= 3
    assert 20 < sum(rates.values()) < 65
    assert queries(world, "safety", "refused") == queries(world, "reconcile", "refused") == 0


def test_another_store_by_name_is_played_too() -> None:
    """Somebody who tries an Experiment before production has its store's name in it."""

    async def story() -> World:
        world = await made(search=SOBOL, telemetry={"store": "long-term"})
        world.start()
        assert await world.until(world.ended(NAME), seconds=900)
        await world.close()
        return world

    world = told(story())
    found = world.experiment(NAME, NAMESPACE)
    assert found is not None
    assert found["status"]["phase"] == "Completed", found["status"]["message"]
