"""Every move of a Trial and of an Experiment becomes an Event, so that none is made in silence. Pure.

A rule that has more to say about its move tells it itself; here the rest is told, from what the decision writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from trimtab.control.actions import Decision, EmitEvent, Severity, WriteTrial
from trimtab.control.snapshot import Snapshot
from trimtab.domain.quantity import format_moment
from trimtab.domain.state import ExperimentPhase, ExperimentState
from trimtab.domain.trial import Trial, TrialPhase

# What tells a phase of the Experiment already: reasons of Events that come with it.
TOLD_BY = {
    ExperimentPhase.RUNNING: frozenset({"PreflightPassed"}),
    ExperimentPhase.PAUSED: frozenset({"OnCallPause", "OnCallRollback"}),
    ExperimentPhase.COMPLETED: frozenset({"RecommendationReady"}),
    ExperimentPhase.STOPPED: frozenset({"ExperimentStopped"}),
}


def told(before: ExperimentState, seen: Snapshot, decision: Decision) -> Decision:
    """The decision with an Event for every move that it makes and does not tell itself."""
    events = (
        *_of_trials(seen, decision),
        *_of_experiment(before, seen, decision),
        *_of_model(before, seen, decision.state),
    )
    return replace(decision, actions=(*decision.actions, *events)) if events else decision


def _of_trials(seen: Snapshot, decision: Decision) -> Iterator[EmitEvent]:
    known = {t.uid: t for t in seen.trials}
    about = {a.trial.uid for a in decision.actions if isinstance(a, EmitEvent) and a.trial is not None}
    for action in decision.actions:
        if not isinstance(action, WriteTrial) or action.trial.uid in about:
            continue
        old, new = known.get(action.trial.uid), action.trial
        if old is None or (old.phase, old.window) == (new.phase, new.window):
            continue
        yield EmitEvent(Severity.NORMAL, _reason(old, new), _note(decision.state.message, new), new)


def _reason(old: Trial, new: Trial) -> str:
    if old.phase is new.phase:
        return "TrialExtended"
    return "TrialJudged" if new.phase is TrialPhase.DRAINING else f"Trial{new.phase.value}"


def _note(message: str, trial: Trial) -> str:
    """What the status says of this trial, with the times that were fixed now."""
    if trial.phase is TrialPhase.DRAINING and trial.outcome is not None:
        return f"trial {trial.index}: {trial.outcome.reason}: {trial.outcome.message}"
    mine = message if message.startswith(f"trial {trial.index}: ") else f"trial {trial.index}: {trial.phase.value}"
    if trial.phase is TrialPhase.DEPLOYING and trial.deadline is not None:
        return f"{mine}; it ends at {format_moment(trial.deadline)} at the latest"
    if trial.phase is TrialPhase.MEASURING and trial.window is not None:
        return f"{mine}; window {format_moment(trial.window.start)} to {format_moment(trial.window.end)}"
    return mine


def _of_experiment(before: ExperimentState, seen: Snapshot, decision: Decision) -> Iterator[EmitEvent]:
    """A status that cannot be read is not written either: it would make the same move in each pass."""
    phase = decision.state.phase
    if phase is before.phase or seen.experiment.state_problem:
        return
    events = [a for a in decision.actions if isinstance(a, EmitEvent) and a.trial is None]
    stalled = phase is ExperimentPhase.PENDING and any(e.severity is Severity.WARNING for e in events)
    if stalled or {e.reason for e in events} & TOLD_BY.get(phase, frozenset()):
        return
    yield EmitEvent(Severity.NORMAL, f"Experiment{phase.value}", decision.state.message or f"now {phase.value}")


def _of_model(before: ExperimentState, seen: Snapshot, after: ExperimentState) -> Iterator[EmitEvent]:
    """What is newly wrong with a model; nothing where that would be said in each pass."""
    if seen.experiment.state_problem:
        return
    known = {(s.kind, s.constraint) for s in before.diagnostics.symptoms} if before.diagnostics is not None else set()
    for symptom in after.diagnostics.symptoms if after.diagnostics is not None else ():
        if (symptom.kind, symptom.constraint) not in known:
            which = f"model of {symptom.constraint}" if symptom.constraint else "model"
            words = f"{which}: {symptom.message}"
            yield EmitEvent(Severity.WARNING, f"Model{symptom.kind.value}", words, None)


__all__ = ["told"]
