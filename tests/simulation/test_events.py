"""What `kubectl get events` tells of a whole Experiment: each of its moves, in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.simulation.world import NAME, NAMESPACE, SOBOL, made, told

from trimtab.domain import kinds
from trimtab.domain.names import LABEL_ARM

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


def test_what_the_cluster_warned_of_the_arms_is_kept_with_a_trial_that_was_withdrawn() -> None:
    """Events expire after an hour; that the arms are gone by then keeps nobody from finding them."""

    async def story() -> tuple[dict[str, Any], ...]:
        world = await made(search=SOBOL)
        life = world.start()
        canaries = lambda: [p for p in world.admin.list(kinds.PODS, NAMESPACE) if _arm(p) == "canary"]  # noqa: E731
        reached = lambda phase: any(t.get("status", {}).get("phase") == phase for t in world.trials(NAME))  # noqa: E731
        assert await world.until(lambda: reached("Measuring"), seconds=300)
        regarding = {"kind": "Pod", "namespace": NAMESPACE, "name": canaries()[0]["metadata"]["name"]}
        told = {"type": "Warning", "reason": "Unhealthy", "note": "Readiness probe failed", "regarding": regarding}
        event = {"apiVersion": kinds.EVENTS.api_version, "kind": kinds.EVENTS.name, "metadata": {"name": "one"}, **told}
        world.admin.apply(event, NAMESPACE)

        def pause(body: dict[str, Any]) -> None:
            body["metadata"].setdefault("annotations", {})["trimtab.dev/pause"] = "me"

        world.admin.edit(kinds.EXPERIMENTS, NAMESPACE, NAME, pause)
        assert await world.until(lambda: reached("Aborted"), seconds=300)
        assert not canaries()
        await life.shut_down()
        await world.close()
        return tuple(t["status"] for t in world.trials(NAME))

    (withdrawn,) = told(story())
    assert withdrawn["outcome"]["reason"] == "OnCallPause"
    assert withdrawn["events"] == [{"reason": "Unhealthy", "count": 1, "note": "Readiness probe failed"}]


def _arm(pod: Mapping[str, Any]) -> str:
    return str(pod["metadata"]["labels"].get(LABEL_ARM))
