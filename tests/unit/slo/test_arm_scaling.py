"""Arms that scale: what an autoscaler does to an arm's pods is no failure of the canary; what hides behind it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.control.builders import NOW, arm, pod, spec, trial

from trimtab.domain.autoscaler import ArmScaler
from trimtab.domain.kube import ArmView, ContainerStatus, PodView
from trimtab.domain.measurement import Arm
from trimtab.domain.trial import PhaseTimes, TrialPhase
from trimtab.slo.arm_scaling import grace
from trimtab.slo.safety import Continue, Judgement, SafetyView, Withdraw, judge_tick
from trimtab.slo.watching import WatchState

TIMES = PhaseTimes(created=NOW - 350, deploying=NOW - 340, warming_up=NOW - 300, measuring=NOW - 200)
LIVE = replace(trial(TrialPhase.MEASURING), times=TIMES)
SCALER = ArmScaler("tt-c", "hpa-uid", "plan", "plan", False, 1, 10)
OLD, NEW = NOW - 320, NOW - 30


def old(name: str = "old", **changes: Any) -> PodView:
    return pod(name, **{"created": OLD, **changes})


def new(name: str = "new", **changes: Any) -> PodView:
    return pod(name, **{"created": NEW, **changes})


def scaling(which: Arm, *pods: PodView, **changes: Any) -> ArmView:
    usual = {"scaled_by": "tt-c", "scaler": SCALER, "replicas": max(1, len(pods))}
    return arm(LIVE, which, pods=pods or (old(),), **{**usual, **changes})


def judged(canary: ArmView, control: ArmView | None = None, phase: TrialPhase = TrialPhase.MEASURING) -> Judgement:
    live = replace(LIVE, phase=phase)
    return judge_tick(SafetyView(NOW, spec(), live, canary, control or scaling(Arm.CONTROL), WatchState()))


def outcome(canary: ArmView, control: ArmView | None = None) -> tuple[TrialPhase, str, str]:
    found = judged(canary, control)
    assert isinstance(found, Withdraw)
    return found.outcome.phase, found.outcome.reason, found.outcome.message


@pytest.mark.parametrize(
    "canary",
    [
        scaling(Arm.CANARY, old(), new()),
        scaling(Arm.CANARY, old(), new(ready=False)),
        scaling(Arm.CANARY, old(), replicas=5),
        scaling(Arm.CANARY, old(), old("leaving", deleting=True), replicas=1),
        scaling(Arm.CANARY, old(), old("leaving", deleting=True, ready=False), replicas=1),
        scaling(Arm.CANARY, new(), replicas=1),
        scaling(Arm.CANARY, old(), new(ready=False, unschedulable="0/3 nodes are available")),
    ],
    ids=["more", "not ready yet", "not made yet", "fewer", "fewer, not ready", "all new", "not placed yet"],
)
def test_what_an_autoscaler_does_is_no_failure(canary: ArmView) -> None:
    assert judged(canary) == Continue()


def test_the_same_of_a_fixed_arm_is_one() -> None:
    assert isinstance(judged(scaling(Arm.CANARY, old(), new(), scaled_by="", scaler=None)), Withdraw)


def test_a_canary_none_of_whose_pods_is_ready() -> None:
    found = outcome(scaling(Arm.CANARY, new(ready=False), new("other", ready=False)))
    assert found[:2] == (TrialPhase.INFEASIBLE, "ReadinessLost")
    assert "none of the 2 pods" in found[2]


def test_an_old_pod_that_is_not_ready_any_more() -> None:
    found = outcome(scaling(Arm.CANARY, old(), old("lost", ready=False)))
    assert found[:2] == (TrialPhase.INFEASIBLE, "ReadinessLost")
    assert "pod lost was ready" in found[2]


def test_a_new_pod_that_does_not_get_ready() -> None:
    late = new(ready=False, created=NOW - 90)
    found = outcome(scaling(Arm.CANARY, old(), late))
    assert found[:2] == (TrialPhase.INFEASIBLE, "ReadinessLost")
    assert "is not ready after 90 s" in found[2]
    assert outcome(scaling(Arm.CANARY, old(), late), scaling(Arm.CONTROL, old(), late))[1] == "ControlFailedToo"


def test_how_long_a_new_pod_may_take() -> None:
    assert grace(TIMES) == 80.0
    assert grace(replace(TIMES, warming_up=NOW - 335)) == 60.0
    assert grace(replace(TIMES, deploying=None)) == 60.0


def test_no_room_for_a_new_pod_teaches_nothing() -> None:
    waiting = new(ready=False, created=NOW - 90, unschedulable="0/3 nodes are available")
    found = outcome(scaling(Arm.CANARY, old(), waiting))
    assert found[:2] == (TrialPhase.INFRA_FAILED, "Unschedulable")
    assert "0/3 nodes" in found[2]


def test_a_crash_counts_for_any_pod() -> None:
    crashed = new(containers=(ContainerStatus("web", False, 1, last_terminated_reason="OOMKilled"),))
    assert outcome(scaling(Arm.CANARY, old(), crashed))[:2] == (TrialPhase.INFEASIBLE, "OOMKilled")


def test_an_eviction_is_still_the_clusters() -> None:
    assert outcome(scaling(Arm.CANARY, old(), old("gone", reason="Evicted")))[:2] == (
        TrialPhase.INFRA_FAILED,
        "Disrupted",
    )


def test_no_pods_at_all_are_no_scaling() -> None:
    empty = arm(LIVE, Arm.CANARY, pods=(), scaled_by="tt-c", scaler=SCALER, replicas=2)
    assert outcome(empty)[:2] == (TrialPhase.INFRA_FAILED, "Disrupted")


@pytest.mark.parametrize(
    ("scaler", "reason", "words"),
    [
        (None, "ArmDeleted", "HorizontalPodAutoscaler tt-c of an arm was deleted"),
        (replace(SCALER, deleting=True), "ArmDeleted", "was deleted by somebody else"),
        (replace(SCALER, observed_digest="edited-1"), "ArmEdited", "HorizontalPodAutoscaler tt-c was changed"),
    ],
)
def test_an_autoscaler_that_somebody_touched(scaler: ArmScaler | None, reason: str, words: str) -> None:
    found = outcome(scaling(Arm.CANARY, scaler=scaler))
    assert found[:2] == (TrialPhase.ABORTED, reason)
    assert words in found[2]


def test_while_deploying_it_may_not_be_there_yet() -> None:
    assert judged(scaling(Arm.CANARY, scaler=None), phase=TrialPhase.DEPLOYING) == Continue()
