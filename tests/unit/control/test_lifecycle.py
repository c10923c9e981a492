"""What must be undone comes first, and ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.control.builders import (
    LIVE,
    NOW,
    arm,
    both_arms,
    budgets,
    condition,
    counted_again,
    decided,
    ended,
    events,
    experiment,
    kinds,
    outcome,
    pod,
    running,
    snapshot,
    spec,
    target,
    trial,
    written,
)

from trimtab.control.actions import DeleteArms, RecordSpending, ReleaseTrial
from trimtab.control.decide import decide
from trimtab.control.snapshot import AskBudgets, LockView
from trimtab.domain.kube import TargetMissing
from trimtab.domain.measurement import Arm, Window
from trimtab.domain.names import ANNOTATION_PAUSE
from trimtab.domain.spec import ExperimentSpec, Mode
from trimtab.domain.state import ConditionType, ExperimentPhase, ExperimentState
from trimtab.domain.trial import BrokenTrial, Outcome, PhaseTimes, Spent, TrialPhase


def test_an_experiment_that_is_deleted_withdraws_then_lets_go() -> None:
    live = trial(TrialPhase.MEASURING)
    first = decided(snapshot(experiment(deleting=True), (live,), both_arms(live)))
    assert kinds(first) == ["DeleteArms", "WriteTrial"]
    second = decided(snapshot(experiment(deleting=True), (ended(TrialPhase.ABORTED),)))
    assert kinds(second) == ["ReleaseExperiment", "ReleaseLock"]


def test_draining_sends_deletions_until_the_arms_vanish_and_leaves_the_proof_to_the_end() -> None:
    draining = trial(TrialPhase.DRAINING, outcome=Outcome(TrialPhase.SUCCEEDED, "Measured", "fine"))
    decision = decided(snapshot(None, (draining,), both_arms(draining)))
    assert kinds(decision) == ["DeleteArms"]
    assert [a.verify for a in decision.actions if isinstance(a, DeleteArms)] == [False]


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


@pytest.mark.parametrize("phase", LIVE)
def test_a_trial_that_was_let_go_is_ended_when_a_hand_puts_its_status_back(phase: TrialPhase) -> None:
    revived = trial(phase, finalized=False)
    decision = decided(snapshot(None, (revived,)))
    assert kinds(decision) == ["DeleteArms", "WriteTrial"]
    assert outcome(decision).reason == "LetGo"
    assert outcome(decision).phase is TrialPhase.ABORTED


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


PAST = {"deadline": NOW - 1, "spent": ()}


@pytest.mark.parametrize("phase", LIVE)
def test_no_trial_outlives_its_deadline_arms_or_not(phase: TrialPhase) -> None:
    late = trial(phase, **PAST)
    for arms in ((), both_arms(late)):
        why = outcome(decided(snapshot(None, (late,), arms)))
        begun = phase in {TrialPhase.WARMING_UP, TrialPhase.MEASURING}
        assert why.phase is (TrialPhase.INCONCLUSIVE if begun else TrialPhase.INFRA_FAILED)
        assert why.reason == ("DeadlinePassed" if begun else "DeployTimeout")


def test_a_trial_that_never_began_has_a_deadline_too() -> None:
    times = PhaseTimes(created=NOW - 601)
    waiting = trial(TrialPhase.PENDING, deadline=None, times=times)
    assert outcome(decided(snapshot(None, (waiting,)))).reason == "DeployTimeout"


@pytest.mark.parametrize(
    "trouble",
    [
        {"target": TargetMissing("web"), "surroundings": None},
        {"lock": LockView(False, "shop/other")},
        {"partial": True, "target": None, "surroundings": None},
    ],
    ids=["no target", "no lock", "no right to look"],
)
def test_whatever_keeps_the_experiment_from_going_on_a_late_trial_goes(trouble: dict[str, Any]) -> None:
    late = trial(TrialPhase.DEPLOYING, **PAST)
    assert outcome(decided(snapshot(None, (late,), **trouble))).reason == "DeployTimeout"


def test_the_deadline_says_what_the_scheduler_said() -> None:
    late = trial(TrialPhase.DEPLOYING, **PAST)
    stuck = arm(late, Arm.CANARY, pods=(pod("p", ready=False, unschedulable="0/3 nodes: no cpu"),))
    assert "pod p cannot be scheduled: 0/3 nodes: no cpu" in outcome(decided(snapshot(None, (late,), (stuck,)))).message


def test_a_late_trial_that_the_safety_loop_takes_away_is_left_to_it() -> None:
    late = trial(TrialPhase.MEASURING, **PAST)
    assert kinds(decided(snapshot(None, (late,), withdrawing=frozenset({late.uid})))) == []


YEAR = 365 * 86400.0


def long_ago(phase: ExperimentPhase, **changes: Any) -> ExperimentState:
    return running(phase=phase, started=NOW - YEAR, message="waiting: availability", **changes)


def limited() -> ExperimentSpec:
    return spec(stopping=replace(spec().stopping, max_duration=168 * 3600.0))


WAITS: dict[str, dict[str, Any]] = {
    "a closed gate": {"answers": {AskBudgets(): budgets(bad=9900.0)}},
    "another experiment": {"lock": LockView(False, "shop/other")},
    "a missing target": {"target": TargetMissing("web"), "surroundings": None},
    "a namespace that is paused": {"namespace_paused": "for ever"},
    "no right to look": {"partial": True, "target": None, "surroundings": None},
}


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("phase", ["Pending", "Preflight", "Running", "Paused", "Verifying"])
def test_no_experiment_waits_for_ever(wait: str, phase: str) -> None:
    decision = decided(snapshot(experiment(long_ago(ExperimentPhase(phase)), spec=limited()), **WAITS[wait]))
    assert decision.state.phase is ExperimentPhase.STOPPED
    assert condition(decision, ConditionType.STALLED).reason == "MaxDuration"
    assert "waiting: availability" in decision.state.message
    assert events(decision) == ["ExperimentStopped"]


def test_a_live_trial_is_let_finish_before_the_time_is_up() -> None:
    live = trial(TrialPhase.MEASURING)
    record = experiment(long_ago(ExperimentPhase.RUNNING), spec=limited())
    assert not decided(snapshot(record, (live,), both_arms(live))).state.phase.terminal


def test_observing_never_ends() -> None:
    record = experiment(long_ago(ExperimentPhase.RUNNING), spec=replace(limited(), mode=Mode.OBSERVE))
    assert decided(snapshot(record)).state.phase is ExperimentPhase.RUNNING


def test_missing_trials_are_told_only_while_all_is_well() -> None:
    """Told by a condition that another rule sets the other way, it would be written for ever."""
    state = running(trials_created=3)
    told = decided(snapshot(experiment(state)))
    assert condition(told, ConditionType.READY).reason == "TrialsMissing"
    blocked = decided(snapshot(experiment(state), lock=LockView(False, "shop/other")))
    again = decided(snapshot(experiment(blocked.state), lock=LockView(False, "shop/other"), now=NOW + 30))
    assert again.state == blocked.state


def test_a_status_that_cannot_be_read_hangs_neither_a_drain_nor_a_delete() -> None:
    corrupt = replace(experiment(), state=None, state_problem="status.phase: 'Dancing' is unknown")
    draining = trial(TrialPhase.DRAINING, outcome=Outcome(TrialPhase.ABORTED, "StatusCorrupted", "x"))
    drained = decided(snapshot(corrupt, (draining,), answers=counted_again(draining)))
    assert kinds(drained) == ["DeleteArms", "RecordSpending", "WriteTrial", "ReleaseTrial"]
    going = replace(corrupt, deleting=True)
    live = trial(TrialPhase.MEASURING)
    assert outcome(decided(snapshot(going, (live,), both_arms(live)))).reason == "ExperimentDeleted"
    assert "ReleaseExperiment" in kinds(decided(snapshot(going, partial=True, target=None, surroundings=None)))


def test_what_a_trial_spent_holds_up_no_delete() -> None:
    draining = trial(TrialPhase.DRAINING, outcome=Outcome(TrialPhase.ABORTED, "X", "y"), spent=(Spent("errors", 1, 2),))
    for deleting in (False, True):
        record = experiment(deleting=deleting)
        decision = decided(snapshot(record, (draining,), answers=counted_again(draining)))
        assert [a.required for a in decision.actions if isinstance(a, RecordSpending)] == [not deleting]


BROKEN = BrokenTrial("web-0", "shop", "trial-0", "3", "Trial shop/web-0 cannot be read: status.phase", True, False)


def test_a_trial_that_cannot_be_read_stops_everything_and_its_arms_go() -> None:
    decision = decided(snapshot(None, (), both_arms(trial()), broken=(BROKEN,)))
    assert [a.trial_uid for a in decision.actions if isinstance(a, DeleteArms)] == [BROKEN.uid]
    stalled = decided(snapshot(None, (), broken=(replace(BROKEN, finalized=False),)))
    found = condition(stalled, ConditionType.STALLED)
    assert found.reason == "TrialUnreadable"
    assert "restore it or delete this Experiment" in found.message


@pytest.mark.parametrize("changes", [{}, {"deleting": True}], ids=["here to stay", "deleted"])
def test_a_trial_that_cannot_be_read_hangs_no_delete(changes: dict[str, Any]) -> None:
    """Once its arms are gone nothing is left to undo, so it is let go at once, whoever is deleted later."""
    for broken in (BROKEN, replace(BROKEN, deleting=True)):
        decision = decided(snapshot(experiment(**changes), broken=(broken,)))
        assert kinds(decision) == ["DeleteArms", "ReleaseTrial"]
        assert [a.trial for a in decision.actions if isinstance(a, ReleaseTrial)] == [broken]
    free = replace(BROKEN, finalized=False)
    assert kinds(decided(snapshot(experiment(deleting=True), broken=(free,))))[0] == "ReleaseExperiment"
