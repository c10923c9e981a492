"""What must be undone comes first, and ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.control.builders import (
    LIVE,
    NOW,
    arm,
    both_arms,
    budgets,
    counted_again,
    decided,
    experiment,
    kinds,
    outcome,
    snapshot,
    target,
    trial,
    written,
)

from trimtab.control.actions import DeleteArms
from trimtab.control.decide import decide
from trimtab.control.snapshot import AskBudgets
from trimtab.domain.kube import TargetMissing
from trimtab.domain.measurement import Arm, Window
from trimtab.domain.names import ANNOTATION_PAUSE
from trimtab.domain.state import ConditionType, ExperimentState
from trimtab.domain.trial import Outcome, TrialPhase


def test_an_experiment_that_is_deleted_withdraws_then_lets_go() -> None:
    live = trial(TrialPhase.MEASURING)
    first = decided(snapshot(experiment(deleting=True), (live,), both_arms(live)))
    assert kinds(first) == ["DeleteArms", "WriteTrial"]
    ended = trial(TrialPhase.ABORTED, finalized=False, outcome=Outcome(TrialPhase.ABORTED, "X", "y"))
    second = decided(snapshot(experiment(deleting=True), (ended,)))
    assert kinds(second) == ["ReleaseLock", "ReleaseExperiment"]


def test_draining_verifies_records_spending_and_releases_in_this_order() -> None:
    draining = trial(TrialPhase.DRAINING, outcome=Outcome(TrialPhase.SUCCEEDED, "Measured", "fine"))
    decision = decided(snapshot(None, (draining,), answers=counted_again(draining)))
    assert kinds(decision) == ["DeleteArms", "RecordSpending", "WriteTrial", "ReleaseTrial"]
    assert [a.verify for a in decision.actions if isinstance(a, DeleteArms)] == [True]


def test_draining_comes_before_a_pause_or_it_would_never_end() -> None:
    draining = trial(TrialPhase.DRAINING, outcome=Outcome(TrialPhase.ABORTED, "OnCallPause", "me"))
    paused = experiment(annotations=((ANNOTATION_PAUSE, "me"),))
    decision = decided(snapshot(paused, (draining,), answers=counted_again(draining)))
    assert kinds(decision)[0] == "DeleteArms"
    assert written(decision, TrialPhase.ABORTED)


def test_an_arm_without_a_live_trial_is_deleted() -> None:
    gone = trial(TrialPhase.SUCCEEDED, finalized=False, outcome=Outcome(TrialPhase.SUCCEEDED, "M", "m"))
    decision = decided(snapshot(None, (gone,), (arm(gone, Arm.CANARY),)))
    assert [a.trial_uid for a in decision.actions if isinstance(a, DeleteArms)] == [gone.uid]


def test_a_trial_deleted_by_hand_is_aborted() -> None:
    live = trial(TrialPhase.MEASURING, deleting=True)
    decision = decided(snapshot(None, (live,), both_arms(live)))
    assert outcome(decision).reason == "TrialDeleted"


@pytest.mark.parametrize("phase", [*LIVE, TrialPhase.DRAINING])
def test_a_namespace_that_is_deleted_is_let_go_at_once(phase: TrialPhase) -> None:
    live = trial(phase, outcome=Outcome(TrialPhase.ABORTED, "X", "y"))
    decision = decided(snapshot(None, (live,), both_arms(live), namespace_leaving=True))
    assert kinds(decision) == ["ReleaseTrial", "ReleaseExperiment", "DeleteArms"]
    assert [a.verify for a in decision.actions if isinstance(a, DeleteArms)] == [False]
    released = trial(phase, finalized=False, outcome=Outcome(TrialPhase.ABORTED, "X", "y"))
    assert kinds(decided(snapshot(experiment(finalized=False), (released,), namespace_leaving=True))) == []


def test_nothing_starts_in_a_namespace_that_is_deleted() -> None:
    decision = decided(snapshot(experiment(finalized=False), namespace_leaving=True))
    assert decision.inquiries == ()
    assert decision.actions == ()


def test_while_it_only_waits_a_deletion_needs_no_operator() -> None:
    """A closed gate, a rollout, a missing target, a pause: no trial is live, so nothing is to be undone."""
    shut = {AskBudgets(): budgets(spent=1e6)}
    waiting = (
        snapshot(answers=shut),
        snapshot(target=target(ready_replicas=0)),
        snapshot(target=TargetMissing("web"), surroundings=None),
        snapshot(experiment(annotations=((ANNOTATION_PAUSE, "me"),))),
        snapshot(namespace_paused="incident 7"),
    )
    assert [kinds(decided(seen)) for seen in waiting] == [["ReleaseExperiment"]] * len(waiting)
    assert kinds(decided(snapshot(experiment(finalized=False), answers=shut))) == []
    live = trial(TrialPhase.MEASURING, window=Window(NOW - 5, NOW + 55))
    assert kinds(decided(snapshot(None, (live,), both_arms(live)))) == []


def test_a_status_that_cannot_be_read_pauses_and_guesses_nothing() -> None:
    record = replace(experiment(), state=None, state_problem="status.phase: 'Dancing' is unknown")
    decision = decide(ExperimentState(), snapshot(record, (trial(TrialPhase.MEASURING),)))
    assert kinds(decision)[0] == "DeleteArms"
    assert decision.state.is_true(ConditionType.STALLED)
