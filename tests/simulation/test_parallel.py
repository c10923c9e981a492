"""Trials side by side, played through: they really overlap, each promise is kept, and the history replays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.simulation.crashes import judge, story_of
from benchmarks.simulation.stories import NAME, NAMESPACE, TARGET, Story, begun
from tests.simulation.world import told

from trimtab.api.convert import experiment_record
from trimtab.api.convert_trial import trial_record
from trimtab.api.kube import target_from
from trimtab.api.times import parse_time
from trimtab.control.replaying import replay
from trimtab.domain import kinds
from trimtab.domain.names import LABEL_ARM
from trimtab.optimize import sobol
from trimtab.simulate.world import World

SECONDS = 900.0


async def lived(story: Story) -> World:
    world = await begun(story)
    world.start()
    ended = await world.until(lambda: story.ended(world), seconds=SECONDS)
    await world.close()
    judge(story.name, story, world, ended)
    return world


def side_by_side(world: World) -> list[tuple[int, ...]]:
    """The trials, by index, beside which each was proposed."""
    return [tuple(t["spec"]["suggestion"].get("beside") or ()) for t in world.trials(NAME)]


def canaries_at_once(world: World) -> Iterator[int]:
    """How many canaries existed, after each change of one."""
    here: set[str] = set()
    for change in world.history.changes:
        if change.kind == kinds.DEPLOYMENTS.plural and _arm(change.object) == "canary":
            here = here - {change.name} if change.type == "DELETED" else here | {change.name}
            yield len(here)


def nodes_of_canaries(world: World) -> Iterator[list[str]]:
    """The nodes of the canaries' pods that exist, after each change of one."""
    here: dict[str, str] = {}
    for change in world.history.changes:
        if change.kind == kinds.PODS.plural and _arm(change.object) == "canary":
            gone = change.type == "DELETED" or "deletionTimestamp" in change.object["metadata"]
            here.pop(change.name, None)
            node = change.object["spec"].get("nodeName")
            if node and not gone:
                here[change.name] = node
            yield [*here.values()]


def _arm(manifest: Mapping[str, Any]) -> str:
    return str((manifest["metadata"].get("labels") or {}).get(LABEL_ARM, ""))


def test_three_at_a_time_after_the_baselines() -> None:
    world = told(lived(story_of("beside")))
    assert side_by_side(world)[:3] == [(), (), ()]
    assert max(len(beside) for beside in side_by_side(world)) == 2
    assert max(canaries_at_once(world)) == 3
    assert all(_came_through_its_warm_up(world, trial) for trial in world.trials(NAME))
    assert all(len(nodes) == len(set(nodes)) for nodes in nodes_of_canaries(world))
    (told_of,) = (c for c in (world.experiment(NAME) or {})["status"]["conditions"] if c["type"] == "Parallel")
    assert (told_of["status"], told_of["reason"]) == ("True", "Allowed")


def _came_through_its_warm_up(world: World, trial: Mapping[str, Any]) -> bool:
    """Each trial beside which this one was made measured by then; a creation is known to the second."""
    others = set(trial["spec"]["suggestion"].get("beside") or ())
    measuring = [t["status"]["times"]["measuring"] for t in world.trials(NAME) if t["spec"]["index"] in others]
    return all(parse_time(at) <= parse_time(trial["metadata"]["creationTimestamp"]) + 1.0 for at in measuring)


def test_its_history_replays() -> None:
    world = told(lived(story_of("beside")))
    record = experiment_record(world.experiment(NAME) or {})
    deployment = world.admin.find(kinds.DEPLOYMENTS, NAMESPACE, TARGET)
    assert record.spec is not None
    assert record.state is not None
    assert deployment is not None
    trials = tuple(trial_record(t, record.spec.space) for t in world.trials(NAME))
    target = target_from(deployment)
    found = [*replay(record.spec, record.state, target, trials, sobol.suggest, sobol.suggest)]
    assert [r.message for r in found] == ["identical"] * len(trials)


def test_a_rollback_takes_all_of_them() -> None:
    world = told(lived(story_of("beside-rollback")))
    asked = [t for t in world.trials(NAME) if t["status"]["outcome"]["reason"] == "OnCallRollback"]
    assert len(asked) == 2
    assert {t["status"]["phase"] for t in asked} == {"Aborted"}
