"""Trials side by side, played through: they really overlap, each promise is kept, and the history replays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from benchmarks.operator.live import REPLICAS
from benchmarks.simulation.crashes import judge, story_of
from benchmarks.simulation.stories import BESIDE, NAME, NAMESPACE, TARGET, Story, begun, completed
from tests.simulation.world import told

from trimtab.api.convert import experiment_record
from trimtab.api.convert_trial import trial_record
from trimtab.api.kube import target_from
from trimtab.api.times import parse_time
from trimtab.control.company import alone, spoilt
from trimtab.control.replaying import replay
from trimtab.domain import kinds
from trimtab.domain.kube import Target
from trimtab.domain.measurement import Arm, Sample
from trimtab.domain.names import LABEL_ARM
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.state import ConditionType, ExperimentState
from trimtab.domain.study import NoAnswer, Proposal, Recommended, Study
from trimtab.domain.trial import Purpose, Trial, TrialPhase
from trimtab.optimize import sobol
from trimtab.ports import Designer
from trimtab.simulate.world import World
from trimtab.workload.faults import Fault, FaultKind

SECONDS = 900.0


class Overheard:
    """A Designer, and the studies that it was asked about."""

    def __init__(self, designer: Designer) -> None:
        self._designer = designer
        self.studies: list[Study] = []

    async def suggest(self, study: Study) -> Proposal:
        self.studies.append(study)
        return await self._designer.suggest(study)

    async def recommend(self, study: Study) -> Recommended | NoAnswer:
        return await self._designer.recommend(study)


async def lived(story: Story) -> World:
    world = await begun(story)
    world.designer = Overheard(world.designer)
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


@dataclass(frozen=True)
class Ledger:
    """What is stored of an Experiment, as the operator reads it."""

    spec: ExperimentSpec
    state: ExperimentState
    target: Target
    trials: tuple[Trial, ...]

    def replayed(self) -> list[str]:
        """What the replay says of each Trial."""
        found = replay(self.spec, self.state, self.target, self.trials, sobol.suggest, sobol.suggest)
        return [r.message for r in found]


def ledger(world: World) -> Ledger:
    record = experiment_record(world.experiment(NAME) or {})
    deployment = world.admin.find(kinds.DEPLOYMENTS, NAMESPACE, TARGET)
    assert record.spec is not None
    assert record.state is not None
    assert deployment is not None
    trials = tuple(trial_record(t, record.spec.space) for t in world.trials(NAME))
    return Ledger(record.spec, record.state, target_from(deployment), trials)


def test_its_history_replays() -> None:
    stored = ledger(told(lived(story_of("beside"))))
    assert stored.replayed() == ["identical"] * len(stored.trials)


def test_a_rollback_takes_all_of_them() -> None:
    world = told(lived(story_of("beside-rollback")))
    asked = [t for t in world.trials(NAME) if t["status"]["outcome"]["reason"] == "OnCallRollback"]
    assert len(asked) == 2
    assert {t["status"]["phase"] for t in asked} == {"Aborted"}


CLIENTS = 24  # pods that would keep the dependency busy for good


def shared_dependency(world: World) -> None:
    """What all pods wait for gets slower with each pod that serves, whatever that asks of it, as with connections that
    are kept and polled: the mean time of an M/M/1 queue, which each of CLIENTS takes up by its part."""
    share, faults = world.traffic.shares[NAMESPACE, TARGET], world.traffic.faults
    known = len(share.endpoints)

    def wait(clients: int) -> float:
        return 1.0 / (1.0 - clients / CLIENTS)

    def changed(_: object) -> None:
        nonlocal known
        if len(share.endpoints) == known:
            return
        known = len(share.endpoints)
        faults.remove("busy")
        if known != REPLICAS:
            slower = wait(known) / wait(REPLICAS)
            faults.set(Fault(name="busy", kind=FaultKind.SLOW_DEPENDENCY, factor=slower), world.clock.now())

    world.cluster.subscribe(changed)


WORN_OUT = Story(
    "worn-out",
    {
        **BESIDE,
        "trial": {"parallel": 2, "duration": "40s", "deadline": "4m"},
        "stopping": {"maxTrials": 7},
    },
    ((lambda _: True, shared_dependency),),
    check=completed,
)


@pytest.mark.thorough
def test_trials_that_wear_out_what_all_pods_share_run_one_at_a_time() -> None:
    """Each keeps every bound, and canaries are as good as their controls: it shows in the controls alone."""
    world = told(lived(WORN_OUT))
    stored = ledger(world)
    trials, before = stored.trials, stored.state.spoilt_before
    assert before is not None
    found_out = next(t for t in trials if t.outcome is not None and t.outcome.reason == "ControlsWorse")
    assert found_out.phase is TrialPhase.INCONCLUSIVE
    spoilt_ones = [t for t in trials if spoilt(t, trials, before)]
    assert [t.index for t in spoilt_ones] == [2, 3]
    alone_at_first = [slow(t, Arm.CONTROL) for t in trials if t.purpose is Purpose.BASELINE]
    for trial in spoilt_ones:
        assert max(alone_at_first) * 1.15 < slow(trial, Arm.CONTROL) < 0.05
        assert 0.8 < slow(trial, Arm.CANARY) / slow(trial, Arm.CONTROL) < 1.25

    told_of = stored.state.condition(ConditionType.PARALLEL)
    assert told_of is not None
    assert (told_of.status, told_of.reason) == (False, "ControlsWorse")
    assert "times as bad as alone" in told_of.message
    assert told_of.message.endswith("trials run one at a time from now on")
    (event,) = (e for e in world.admin.list(kinds.EVENTS, NAMESPACE) if e["reason"] == "ControlsWorse")
    assert event["type"] == "Warning"
    assert told_of.message in event["note"]

    later = [t for t in trials if t.index >= before]
    assert len(later) == 2
    assert all(alone(t, trials) and slow(t, Arm.CONTROL) < max(alone_at_first) * 1.15 for t in later)
    assert stored.state.incumbent_trial not in {t.name for t in spoilt_ones}
    assert stored.replayed() == ["identical"] * len(trials)
    assert isinstance(world.designer, Overheard)
    last = world.designer.studies[-1]
    assert [o.index for o in last.outcomes if not o.learnable] == [2, 3]
    assert {o.index for o in last.outcomes} >= set(range(4))


def slow(trial: Trial, arm: Arm) -> float:
    """The fraction of its requests that were slow."""
    measured = trial.measurement("slow", arm)
    assert measured is not None
    assert isinstance(measured.reading, Sample)
    return measured.reading.value
