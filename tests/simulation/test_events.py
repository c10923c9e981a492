"""What `kubectl get events` tells of a whole Experiment: each of its moves, in order."""

from __future__ import annotations

from tests.simulation.world import NAME, NAMESPACE, SOBOL, made, told

from trimtab.domain import kinds

LIFE = ["TrialCreated", "TrialDeploying", "TrialWarmingUp", "TrialMeasuring", "TrialJudged", "TrialSucceeded"]


async def reasons() -> list[str]:
    world = await made(search=SOBOL, stopping={"maxTrials": 1})
    life = world.start()
    assert await world.until(world.ended(NAME), seconds=600)
    await life.shut_down()
    about = (e for e in world.admin.list(kinds.EVENTS, NAMESPACE) if e["regarding"]["name"] == NAME)
    events = [e for e in about if e["type"] == "Normal"]
    await world.close()
    return [e["reason"] for e in sorted(events, key=lambda e: (e["eventTime"], int(e["metadata"]["resourceVersion"])))]


def test_every_move_of_an_experiment_and_of_its_trial_has_an_event() -> None:
    assert told(reasons()) == ["ExperimentPreflight", "PreflightPassed", *LIFE, "RecommendationReady"]


def test_a_misspelt_annotation_is_told_also_by_a_pass_that_asks_for_something() -> None:
    """The first pass over an Experiment asks for probes before it does anything."""

    async def story() -> list[str]:
        world = await made(search=SOBOL, stopping={"maxTrials": 1})

        def misspell(body: dict) -> None:
            body["metadata"].setdefault("annotations", {})["trimtab.dev/puase"] = "me"

        world.admin.edit(kinds.EXPERIMENTS, NAMESPACE, NAME, misspell)
        life = world.start()
        assert await world.until(world.ended(NAME), seconds=600)
        await life.shut_down()
        await world.close()
        return [e["note"] for e in world.admin.list(kinds.EVENTS, NAMESPACE) if e["reason"] == "UnknownAnnotation"]

    assert told(story()) == ["unknown annotation trimtab.dev/puase; did you mean trimtab.dev/pause? (owner: team-web)"]
