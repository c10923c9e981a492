"""The operator dies by SIGKILL at a named effect of a live trial, and its successor finishes or undoes the trial.

An eyewitness sees every change in the API server's order, so "never two canaries" is checked at each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from benchmarks.operator.live import CANARY, TERMINAL, Live, live_stack, phase_of
from benchmarks.operator.witness import Witness
from tests.simulation.invariants import check_history

from controlplane import ControlPlane, wait_for
from controlplane.processes import group_members

CONTROLLERS = "kube-controller-manager"


@dataclass(frozen=True)
class Point:
    """Where the operator dies. `alone`: without controllers, so that the garbage collector cannot be faster."""

    name: str
    at: str
    alone: bool = False


POINTS = (
    Point("after create Lease: target locked, no Trial", "after:create:Lease:1"),
    Point("before create Trial: Experiment held, no Trial", "before:create:Trial:1"),
    Point("after create Trial: Trial Pending", "after:create:Trial:1"),
    Point("after status Deploying: no arm", "after:replace:Trial/status:1"),
    Point("after the leader's claim: fenced, no arm", "after:replace:Trial/status:2"),
    Point("after create Deployment: canary without control", "after:create:Deployment:1"),
    Point("after second create Deployment: both arms", "after:create:Deployment:2"),
    Point("before status Measuring", "before:replace:Trial/status:5"),
    Point("after status Measuring", "after:replace:Trial/status:5"),
    Point("before status Draining: judged, not recorded", "before:replace:Trial/status:6"),
    Point("after status Draining: arms still there", "after:replace:Trial/status:6"),
    Point("after delete Deployment: control without canary", "after:delete:Deployment:1"),
    Point("after delete Pod: ReplicaSets gone, a pod left", "after:delete:Pod:1", alone=True),
    Point("before terminal status: arms gone", "before:replace:Trial/status:7"),
    Point("before finalizer release: Trial terminal", "before:replace:Trial:1"),
)


@pytest.fixture(scope="module")
def live(controlplane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One stack for all points."""
    with live_stack(controlplane, tmp_path_factory.mktemp("crash"), "crash") as found:
        yield found


@pytest.fixture(autouse=True)
def _controllers_run(controlplane: ControlPlane) -> Iterator[None]:
    """Whatever fails, the next test finds them at work."""
    yield
    controlplane.component(CONTROLLERS).resume()


@pytest.mark.parametrize("point", POINTS, ids=lambda p: p.name)
def test_trial_survives_the_death_of_its_operator(live: Live, point: Point, tmp_path: Path) -> None:
    name = f"crash-{POINTS.index(point)}"
    before, effects = live.target(), tmp_path / "effects.log"
    processes = len(group_members(live.stack.family.group))
    environment = {"TRIMTAB_FAIL_POINT": point.at, "TRIMTAB_EFFECT_LOG": str(effects)}
    with live.explained(name), Witness(live.stack.plane, live.namespace) as witness:
        doomed = live.operator(environment)
        live.create(name)
        if point.alone:
            _stop_controllers_at_draining(live, name)
        doomed.wait_dead(40.0)
        assert effects.read_text().splitlines()[-1] == point.at.rpartition(":")[0]
        live.stack.plane.component(CONTROLLERS).resume()
        wait_for(lambda: len(group_members(live.stack.family.group)) <= processes, "its worker to end with it")

        live.expire_lease()
        live.operator()
        ended = live.wait_ended(name)
        live.wait_nothing_left()
        assert ended["status"]["phase"] == "Completed"
        assert live.target() == before
        trials = live.trials(name)
        assert [t["spec"]["index"] for t in trials] == list(range(ended["status"]["trialsCreated"]))
        assert [phase_of(t) for t in trials].count("Succeeded") == 1
        witness.caught_up(trials[-1]["metadata"]["resourceVersion"])
        check_history(witness.changes())
    live.kill_operators()
    live.remove(name)


def _stop_controllers_at_draining(live: Live, name: str) -> None:
    live.wait_trial(name, frozenset({"Measuring"}))
    live.stack.plane.component(CONTROLLERS).pause()


def test_a_withdrawal_survives_the_death_of_its_operator(live: Live, tmp_path: Path) -> None:
    """The safety loop has deleted one arm of a slow canary's trial and recorded nothing yet."""
    name, point, effects = "crash-withdrawal", "after:delete:Deployment", tmp_path / "effects.log"
    before = live.target()
    with live.explained(name), Witness(live.stack.plane, live.namespace) as witness:
        doomed = live.operator({"TRIMTAB_FAIL_POINT": f"{point}:1", "TRIMTAB_EFFECT_LOG": str(effects)})
        live.create(name, trial={"warmUp": "1s", "duration": "30s", "deadline": "60s"})
        live.wait_trial(name, frozenset({"Measuring"}))
        live.stack.playground.fault(name=name, kind="SlowDependency", factor=6.0, selector=CANARY)
        doomed.wait_dead(30.0)
        live.stack.playground.clear(name)
        assert effects.read_text().splitlines()[-1] == point
        assert phase_of(live.trials(name)[0]) == "Measuring"

        live.expire_lease()
        live.operator()
        wait_for(lambda: phase_of(live.trials(name)[0]) in TERMINAL, "the trial to end")
        first = live.trials(name)[0]
        outcome = first["status"]["outcome"]
        print(f"\n{outcome['phase']}: {outcome['reason']}: {outcome['message']}")
        assert outcome["phase"] in {"Infeasible", "Aborted"}
        live.remove(name)
        live.wait_nothing_left()
        assert live.target() == before
        witness.caught_up(first["metadata"]["resourceVersion"])
        check_history(witness.changes())
    live.kill_operators()
