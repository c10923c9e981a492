"""A trial under a limit of queries, and one that is measured in another store, through the whole loop."""

from __future__ import annotations

from tests.simulation.world import NAME, NAMESPACE, SOBOL, made, told

from trimtab.simulate.life import LifeOptions
from trimtab.simulate.world import World

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
