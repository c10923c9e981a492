"""Every phase of a Trial and of an Experiment, and every move between them, in two tables.

Only this module assigns phases. A move that a table lacks raises `IllegalTransition`; the documentation renders these
tables, so what is drawn is what runs.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from trimtab.domain.errors import IllegalTransition
from trimtab.domain.measurement import Window
from trimtab.domain.state import ExperimentPhase, ExperimentState
from trimtab.domain.trial import Outcome, PhaseTimes, Trial, TrialPhase

EXTENSION = 2  # times its window that a trial is measured which saw too few samples


class TrialEvent(StrEnum):
    """What can happen to a Trial."""

    START = "start"
    ARMS_READY = "arms ready"
    WARMED_UP = "warm-up over"
    EXTENDED = "too few samples: window extended once"
    IN_FULL = "screen undecided or promising: measured in full"
    JUDGED = "window complete and judged"
    WITHDRAWN = "withdrawn"
    DRAINED = "nothing left in the cluster"


P, E = TrialPhase, TrialEvent

TRIAL_MOVES: dict[tuple[TrialPhase, TrialEvent], tuple[TrialPhase, ...]] = {
    (P.PENDING, E.START): (P.DEPLOYING,),
    (P.DEPLOYING, E.ARMS_READY): (P.WARMING_UP,),
    (P.WARMING_UP, E.WARMED_UP): (P.MEASURING,),
    (P.MEASURING, E.EXTENDED): (P.MEASURING,),
    (P.MEASURING, E.IN_FULL): (P.MEASURING,),
    (P.MEASURING, E.JUDGED): (P.DRAINING,),
    (P.PENDING, E.WITHDRAWN): (P.DRAINING,),
    (P.DEPLOYING, E.WITHDRAWN): (P.DRAINING,),
    (P.WARMING_UP, E.WITHDRAWN): (P.DRAINING,),
    (P.MEASURING, E.WITHDRAWN): (P.DRAINING,),
    (P.DRAINING, E.DRAINED): (
        P.SUCCEEDED,
        P.INFEASIBLE,
        P.INCONCLUSIVE,
        P.ABORTED,
        P.STALE,
        P.INFRA_FAILED,
    ),
}

X = ExperimentPhase

EXPERIMENT_MOVES: dict[ExperimentPhase, tuple[ExperimentPhase, ...]] = {
    X.PENDING: (X.PREFLIGHT, X.PAUSED, X.STOPPED, X.FAILED),
    X.PREFLIGHT: (X.RUNNING, X.PAUSED, X.PENDING, X.STOPPED, X.FAILED),
    X.RUNNING: (X.PREFLIGHT, X.VERIFYING, X.PAUSED, X.PENDING, X.COMPLETED, X.STOPPED, X.FAILED),
    X.VERIFYING: (X.PREFLIGHT, X.RUNNING, X.PAUSED, X.PENDING, X.COMPLETED, X.STOPPED, X.FAILED),
    X.PAUSED: (X.PENDING, X.PREFLIGHT, X.RUNNING, X.VERIFYING, X.COMPLETED, X.STOPPED, X.FAILED),
    X.AWAITING_APPROVAL: (X.PROMOTING, X.COMPLETED, X.PAUSED, X.STOPPED, X.FAILED),
    X.PROMOTING: (X.COMPLETED, X.PAUSED, X.STOPPED, X.FAILED),
    X.COMPLETED: (),
    X.STOPPED: (),
    X.FAILED: (X.PENDING, X.PREFLIGHT),
}


def _enter(trial: Trial, event: TrialEvent, phase: TrialPhase, times: PhaseTimes) -> Trial:
    if phase not in TRIAL_MOVES.get((trial.phase, event), ()):
        raise IllegalTransition(f"{trial.name}: {trial.phase} -[{event}]-> {phase} is not in the table")
    return replace(trial, phase=phase, times=times)


def start(trial: Trial, now: float, deadline: float, leader: str) -> Trial:
    """Pending -> Deploying: written before the first arm is created."""
    moved = _enter(trial, E.START, P.DEPLOYING, replace(trial.times, deploying=now))
    return replace(moved, deadline=deadline, leader=leader)


def claimed(trial: Trial, leader: str) -> Trial:
    """Deploying, with the operator on record that is about to create arms: writing it is what fences them."""
    return replace(trial, leader=leader)


def arms_ready(trial: Trial, now: float) -> Trial:
    """Deploying -> WarmingUp."""
    return _enter(trial, E.ARMS_READY, P.WARMING_UP, replace(trial.times, warming_up=now))


def warmed_up(trial: Trial, now: float, window: Window) -> Trial:
    """WarmingUp -> Measuring, over an absolute window."""
    return replace(_enter(trial, E.WARMED_UP, P.MEASURING, replace(trial.times, measuring=now)), window=window)


def extended(trial: Trial, window: Window) -> Trial:
    """Measuring -> Measuring, once, over a longer window."""
    return replace(_enter(trial, E.EXTENDED, P.MEASURING, trial.times), window=window, extended=True)


def in_full(trial: Trial, window: Window) -> Trial:
    """Measuring -> Measuring: the short window of a Screen becomes that of any trial."""
    return replace(_enter(trial, E.IN_FULL, P.MEASURING, trial.times), window=window)


def judged(trial: Trial, now: float, outcome: Outcome) -> Trial:
    """Measuring -> Draining: the outcome is on record before the arms go."""
    return replace(_enter(trial, E.JUDGED, P.DRAINING, replace(trial.times, draining=now)), outcome=outcome)


def withdrawn(trial: Trial, now: float, outcome: Outcome) -> Trial:
    """Any live phase -> Draining: written after the deletion was sent."""
    return replace(_enter(trial, E.WITHDRAWN, P.DRAINING, replace(trial.times, draining=now)), outcome=outcome)


def drained(trial: Trial, now: float) -> Trial:
    """Draining -> the terminal phase that its outcome names."""
    if trial.outcome is None:
        raise IllegalTransition(f"{trial.name}: Draining without an outcome")
    return _enter(trial, E.DRAINED, trial.outcome.phase, replace(trial.times, finished=now))


def move(state: ExperimentState, phase: ExperimentPhase) -> ExperimentState:
    """Move an Experiment; staying is always allowed.

    Raises:
        IllegalTransition: the table lacks the move.
    """
    if phase is state.phase:
        return state
    if phase not in EXPERIMENT_MOVES[state.phase]:
        raise IllegalTransition(f"Experiment: {state.phase} -> {phase} is not in the table")
    return replace(state, phase=phase)


def render_tables() -> str:
    """Both tables as Markdown with Mermaid diagrams, for the reference documentation."""
    trial_rows = "\n".join(
        f"| {phase} | {event} | {', '.join(targets)} |" for (phase, event), targets in TRIAL_MOVES.items()
    )
    edges = "\n".join(
        f"    {phase} --> {target}: {event}" for (phase, event), targets in TRIAL_MOVES.items() for target in targets
    )
    experiment_rows = "\n".join(f"| {p} | {', '.join(t) or '(final)'} |" for p, t in EXPERIMENT_MOVES.items())
    return (
        "# Phases\n\nGenerated from `control/machine.py`, which alone assigns phases.\n\n"
        "## Trial\n\n| from | event | to |\n|---|---|---|\n" + trial_rows + "\n\n"
        "```mermaid\nstateDiagram-v2\n    [*] --> Pending\n" + edges + "\n```\n\n"
        "## Experiment\n\n| from | may become |\n|---|---|\n" + experiment_rows + "\n"
    )
