"""No move is made in silence: each becomes one Event, unless a rule tells it with better words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.control.builders import (
    NOW,
    both_arms,
    decided,
    experiment,
    measured,
    running,
    snapshot,
    spec,
    trial,
)

from trimtab.control import machine
from trimtab.control.actions import Action, Decision, EmitEvent, Severity, WriteTrial
from trimtab.control.snapshot import AskMeasurements, TrialReadings
from trimtab.control.telling import told
from trimtab.domain.names import ANNOTATION_PAUSE
from trimtab.domain.spec import TrialTiming
from trimtab.domain.state import ExperimentPhase, ExperimentState
from trimtab.domain.study import Diagnostics, Symptom, SymptomKind
from trimtab.domain.trial import Outcome, PhaseTimes, TrialPhase


def events(decision: Decision) -> list[tuple[str, str]]:
    return [(a.reason, a.message) for a in decision.actions if isinstance(a, EmitEvent)]


def test_the_start_of_a_trial_names_its_values_and_its_end() -> None:
    ((reason, note),) = events(decided(snapshot(None, (trial(TrialPhase.PENDING),))))
    assert reason == "TrialDeploying"
    assert note.startswith("trial 0: deploying cpu=1 memory=1Gi; it ends at 2026-")
    assert note.endswith(" UTC at the latest")


def test_arms_that_serve() -> None:
    live = trial(TrialPhase.DEPLOYING, window=None)
    assert events(decided(snapshot(None, (live,), both_arms(live)))) == [
        ("TrialWarmingUp", "trial 0: warming up cpu=1 memory=1Gi")
    ]


def test_the_window_is_named_when_it_begins() -> None:
    times = PhaseTimes(NOW - 50, NOW - 40, NOW - 11)
    live = trial(TrialPhase.WARMING_UP, times=times, window=None)
    ((reason, note),) = events(decided(snapshot(None, (live,), both_arms(live))))
    assert reason == "TrialMeasuring"
    assert note.startswith("trial 0: measuring cpu=1 memory=1Gi; window 2026-")


def test_a_verdict_is_told_with_its_numbers() -> None:
    live = trial(TrialPhase.MEASURING)
    assert live.window is not None
    ask = AskMeasurements(live.name, live.window, live.extended)
    readings = TrialReadings(measured(live, 5), ())
    decision = decided(snapshot(None, (live,), both_arms(live), answers={ask: readings}))
    ((reason, note),) = events(decision)
    assert reason == "TrialJudged"
    assert note.startswith("trial 0: Measured: ")


def test_a_window_that_is_doubled() -> None:
    live = trial(TrialPhase.MEASURING)
    assert live.window is not None
    ask = AskMeasurements(live.name, live.window, live.extended)
    few = TrialReadings(measured(live, 0, 50), ())
    record = experiment(spec=spec(trial=TrialTiming(10.0, 60.0, 6000.0)))
    decision = decided(snapshot(record, (replace(live, deadline=NOW + 6000),), both_arms(live), answers={ask: few}))
    ((reason, note),) = events(decision)
    assert reason == "TrialExtended"
    assert "extended once" in note


def test_a_withdrawal_is_told_once_and_as_a_warning() -> None:
    paused = experiment(annotations=((ANNOTATION_PAUSE, "me"),))
    decision = decided(snapshot(paused, (trial(TrialPhase.MEASURING),)))
    found = [(a.severity, a.reason) for a in decision.actions if isinstance(a, EmitEvent)]
    assert found == [(Severity.WARNING, "TrialWithdrawn"), (Severity.NORMAL, "OnCallPause")]


def test_a_pause_that_no_annotation_of_the_experiment_asked_for() -> None:
    decision = decided(snapshot(namespace_paused="release freeze"))
    ((reason, note),) = events(decision)
    assert reason == "ExperimentPaused"
    assert "release freeze" in note


def moved(before: ExperimentPhase, after: ExperimentPhase, *actions: Action, problem: str = "") -> list[str]:
    old, new = running(phase=before), running(phase=after, message="why")
    record = experiment(old, state_problem=problem)
    return [reason for reason, _ in events(told(old, snapshot(record), Decision(new, actions)))]


@pytest.mark.parametrize("after", list(ExperimentPhase))
def test_every_phase_of_an_experiment_is_told(after: ExperimentPhase) -> None:
    before = ExperimentPhase.RUNNING if after is not ExperimentPhase.RUNNING else ExperimentPhase.PAUSED
    assert moved(before, after) == [f"Experiment{after.value}"]
    assert moved(after, after) == []


@pytest.mark.parametrize(
    ("after", "severity", "reason"),
    [
        (ExperimentPhase.RUNNING, Severity.NORMAL, "PreflightPassed"),
        (ExperimentPhase.PAUSED, Severity.NORMAL, "OnCallPause"),
        (ExperimentPhase.COMPLETED, Severity.NORMAL, "RecommendationReady"),
        (ExperimentPhase.STOPPED, Severity.WARNING, "ExperimentStopped"),
        (ExperimentPhase.PENDING, Severity.WARNING, "TargetNotFound"),
    ],
)
def test_what_a_rule_tells_is_not_told_twice(after: ExperimentPhase, severity: Severity, reason: str) -> None:
    assert moved(ExperimentPhase.VERIFYING, after, EmitEvent(severity, reason, "words")) == [reason]


def test_a_move_that_is_never_written_is_not_told_in_each_pass() -> None:
    assert moved(ExperimentPhase.PENDING, ExperimentPhase.PAUSED, problem="status.phase: unknown") == []


@pytest.mark.parametrize("phase", [p for p in TrialPhase if p.terminal])
def test_the_end_of_a_trial_is_told_once(phase: TrialPhase) -> None:
    outcome = Outcome(phase, "Because", "of numbers")
    draining = trial(TrialPhase.DRAINING, outcome=outcome, times=PhaseTimes(NOW - 50, draining=NOW - 5))
    ended = machine.drained(draining, NOW)
    by_rule = EmitEvent(Severity.WARNING, f"Trial{phase.value}", "Because: of numbers", ended)
    for actions in ((WriteTrial(ended),), (WriteTrial(ended), by_rule)):
        decision = told(ExperimentState(), snapshot(None, (draining,)), Decision(ExperimentState(), actions))
        assert [reason for reason, _ in events(decision)] == [f"Trial{phase.value}"]


def test_what_is_newly_wrong_with_a_model_is_told_once() -> None:
    first = Symptom(SymptomKind.OUTLIER, "slow", "trial 4 lies +5.1 sd off and is measured once more")
    second = Symptom(SymptomKind.NOISY, "slow", "trials differ by 0.90 by themselves")
    health = Diagnostics(9, 3, 40, 1.5, 0.95)
    before, after = running(diagnostics=replace(health, symptoms=(first,))), replace(health, symptoms=(first, second))
    decision = Decision(replace(before, diagnostics=after), ())
    (event,) = [a for a in told(before, snapshot(experiment(before)), decision).actions if isinstance(a, EmitEvent)]
    assert (event.severity, event.reason) == (Severity.WARNING, "ModelNoisy")
    assert event.message == "model of slow: trials differ by 0.90 by themselves"
    assert events(told(ExperimentState(), snapshot(experiment(before)), Decision(before, ())))[-1] == (
        "ModelOutlier",
        "model of slow: trial 4 lies +5.1 sd off and is measured once more",
    )
