"""A live trial, one step at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.unit.control import scaled
from tests.unit.control.builders import (
    NOW,
    arm,
    both_arms,
    decided,
    experiment,
    kinds,
    measured,
    outcome,
    pod,
    running,
    snapshot,
    spec,
    suggestion,
    trial,
    written,
)

from trimtab.control.actions import Decision
from trimtab.control.scaling import context_hash
from trimtab.control.snapshot import (
    AskMeasurements,
    TrialReadings,
)
from trimtab.domain.autoscaler import ArmScaler
from trimtab.domain.kube import ArmView
from trimtab.domain.measurement import Arm
from trimtab.domain.spec import TrialTiming
from trimtab.domain.state import TargetRecord
from trimtab.domain.trial import Environment, PhaseTimes, Purpose, Trial, TrialPhase


def test_deploying_is_on_record_before_any_arm_exists() -> None:
    decision = decided(snapshot(None, (trial(TrialPhase.PENDING),)))
    assert kinds(decision) == ["WriteTrial"]
    started = written(decision, TrialPhase.DEPLOYING)
    assert (started.leader, started.deadline) == ("leader-1", NOW + 600)


def test_both_arms_are_created_together() -> None:
    decision = decided(snapshot(None, (trial(TrialPhase.DEPLOYING),)))
    assert kinds(decision) == ["CreateArms"]
    assert len(decision.actions[0].plans) == 2


def test_warm_up_begins_when_both_arms_serve() -> None:
    live = trial(TrialPhase.DEPLOYING)
    decision = decided(snapshot(None, (live,), both_arms(live)))
    assert written(decision, TrialPhase.WARMING_UP)
    waiting = decided(snapshot(None, (live,), (arm(live, Arm.CANARY, ready_endpoints=0), arm(live, Arm.CONTROL))))
    assert kinds(waiting) == []


def test_an_arm_edited_by_hand_aborts_the_trial() -> None:
    live = trial(TrialPhase.MEASURING)
    edited = (arm(live, Arm.CANARY, observed_digest="other"), arm(live, Arm.CONTROL))
    assert outcome(decided(snapshot(None, (live,), edited))).reason == "ArmEdited"


def test_an_arm_deleted_by_hand_aborts_the_trial() -> None:
    live = trial(TrialPhase.MEASURING)
    decision = decided(snapshot(None, (live,), (arm(live, Arm.CONTROL),)))
    assert outcome(decision).reason == "ArmDeleted"


def test_quota_is_the_clusters_fault_not_the_assignments() -> None:
    live = trial(TrialPhase.DEPLOYING)
    refused = (arm(live, Arm.CANARY, failure="exceeded quota: compute"), arm(live, Arm.CONTROL))
    why = outcome(decided(snapshot(None, (live,), refused)))
    assert (why.phase, why.reason) == (TrialPhase.INFRA_FAILED, "FailedCreate")
    assert "exceeded quota" in why.message


def test_the_window_is_absolute_and_starts_after_the_warm_up() -> None:
    live = trial(TrialPhase.WARMING_UP, times=PhaseTimes(NOW - 50, NOW - 40, NOW - 11), window=None)
    decision = decided(snapshot(None, (live,), both_arms(live)))
    window = written(decision, TrialPhase.MEASURING).window
    assert (window.start, window.end) == (NOW, NOW + 60)


def test_timing_of_verification_is_its_own() -> None:
    suggestion = replace(trial().suggestion, purpose=Purpose.VERIFICATION)
    times = PhaseTimes(NOW - 50, NOW - 40, NOW - 11)
    live = trial(TrialPhase.WARMING_UP, suggestion=suggestion, times=times, window=None)
    record = experiment(spec=spec(trial=TrialTiming(10.0, 30.0, 600.0)))
    window = written(decided(snapshot(record, (live,), both_arms(live))), TrialPhase.MEASURING).window
    assert window.seconds == 60.0


def test_a_complete_window_is_read_then_judged() -> None:
    live = trial(TrialPhase.MEASURING)
    asking = decided(snapshot(None, (live,), both_arms(live)))
    assert live.window is not None
    ask = AskMeasurements(live.name, live.window, False)
    assert asking.inquiries == (ask,)
    readings = TrialReadings(measured(live, 5), ())
    decision = decided(snapshot(None, (live,), both_arms(live), {ask: readings}))
    done = written(decision, TrialPhase.DRAINING)
    assert done.outcome.phase is TrialPhase.SUCCEEDED
    assert done.measurements == readings.measurements


def test_arms_that_the_safety_loop_takes_away_are_nobody_elses_fault() -> None:
    live = trial(TrialPhase.MEASURING)
    decision = decided(snapshot(None, (live,), (), withdrawing=frozenset({live.uid})))
    assert kinds(decision) == []
    assert "safety monitor" in decision.state.message


class TestArmsThatScale:
    LIVE = trial(
        TrialPhase.DEPLOYING,
        suggestion=suggestion(assignment=scaled.assigned(target=80)),
        environment=Environment("hash-1", "target-uid", "web:1", 100),
    )
    SCALER = ArmScaler("a", "hpa-uid", "plan", "plan", False, 2, 10)

    def decided(self, pods: int, of: Trial = LIVE, **changes: Any) -> Decision:
        """Of 5 pods that each arm begins with, so many are there and ready, in both arms."""

        def one(which: Arm) -> ArmView:
            names = tuple(pod(f"{which}-{i}") for i in range(pods))
            usual = {"replicas": pods, "ready_endpoints": pods, "scaled_by": "a", "scaler": self.SCALER}
            return arm(of, which, pods=names, **{**usual, **changes})

        spec = scaled.spec(scaled.UTILIZATION, budgets=())
        around, target = scaled.around(replace(scaled.SCALER, tolerance=0.15)), scaled.target()
        record = TargetRecord("target-uid", context_hash(spec, target, around), scaled.assigned(target=70))
        held = experiment(running(target=record, spec_digest=spec.digest), spec=spec)
        arms = (one(Arm.CANARY), one(Arm.CONTROL))
        return decided(snapshot(held, (of,), arms, target=target, surroundings=around))

    def test_they_serve_when_the_pods_that_they_begin_with_are_ready(self) -> None:
        assert written(self.decided(5), TrialPhase.WARMING_UP)
        assert kinds(self.decided(5, ready_endpoints=4)) == []

    def test_no_more_than_that_is_waited_for(self) -> None:
        assert written(self.decided(5, replicas=9), TrialPhase.WARMING_UP)

    def test_nor_more_than_the_autoscaler_left(self) -> None:
        assert written(self.decided(2), TrialPhase.WARMING_UP)

    def test_without_its_autoscaler_an_arm_is_not_ready(self) -> None:
        assert kinds(self.decided(5, scaler=None)) == []

    def test_an_autoscaler_deleted_by_hand_aborts_the_trial(self) -> None:
        live = replace(self.LIVE, phase=TrialPhase.MEASURING)
        assert outcome(self.decided(7, live, scaler=None)).reason == "ArmDeleted"
        edited = replace(self.SCALER, observed_digest="other")
        assert outcome(self.decided(7, live, scaler=edited)).reason == "ArmEdited"
