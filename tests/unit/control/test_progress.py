"""A live trial, one step at a time."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.control.builders import (
    NOW,
    arm,
    both_arms,
    decided,
    experiment,
    kinds,
    measured,
    outcome,
    snapshot,
    spec,
    trial,
    written,
)

from trimtab.control.snapshot import (
    AskMeasurements,
    TrialReadings,
)
from trimtab.domain.measurement import Arm
from trimtab.domain.spec import TrialTiming
from trimtab.domain.trial import PhaseTimes, Purpose, TrialPhase


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
