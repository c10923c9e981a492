"""Every move of the tables is possible, every other move raises."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.control.builders import NOW, running, trial

from trimtab.control import machine
from trimtab.control.machine import EXPERIMENT_MOVES, TRIAL_MOVES, TrialEvent
from trimtab.domain.errors import IllegalTransition
from trimtab.domain.measurement import Window
from trimtab.domain.state import ExperimentPhase
from trimtab.domain.trial import TERMINAL_PHASES, Outcome, Trial, TrialPhase

WINDOW = Window(NOW, NOW + 10)
OUTCOME = Outcome(TrialPhase.SUCCEEDED, "Measured", "fine")


def perform(event: TrialEvent, subject: Trial) -> Trial:
    match event:
        case TrialEvent.START:
            return machine.start(subject, NOW, NOW + 60, "me")
        case TrialEvent.ARMS_READY:
            return machine.arms_ready(subject, NOW)
        case TrialEvent.WARMED_UP:
            return machine.warmed_up(subject, NOW, WINDOW)
        case TrialEvent.EXTENDED:
            return machine.extended(subject, WINDOW)
        case TrialEvent.IN_FULL:
            return machine.in_full(subject, WINDOW)
        case TrialEvent.JUDGED:
            return machine.judged(subject, NOW, OUTCOME)
        case TrialEvent.WITHDRAWN:
            return machine.withdrawn(subject, NOW, OUTCOME)
        case TrialEvent.DRAINED:
            return machine.drained(replace(subject, outcome=OUTCOME), NOW)


@pytest.mark.parametrize("phase", list(TrialPhase))
@pytest.mark.parametrize("event", list(TrialEvent))
def test_a_trial_moves_only_as_the_table_says(phase: TrialPhase, event: TrialEvent) -> None:
    subject = trial(phase)
    allowed = TRIAL_MOVES.get((phase, event), ())
    if allowed:
        assert perform(event, subject).phase in allowed
    else:
        with pytest.raises(IllegalTransition):
            perform(event, subject)


def test_a_terminal_trial_never_moves_again() -> None:
    assert not [key for key in TRIAL_MOVES if key[0] in TERMINAL_PHASES]


def test_every_phase_of_a_trial_can_be_reached() -> None:
    reached = {p for targets in TRIAL_MOVES.values() for p in targets}
    assert reached == set(TrialPhase) - {TrialPhase.PENDING}


@pytest.mark.parametrize("outcome", sorted(TERMINAL_PHASES))
def test_draining_ends_in_the_phase_that_the_outcome_names(outcome: TrialPhase) -> None:
    subject = trial(TrialPhase.DRAINING, outcome=Outcome(outcome, "Because", "of this"))
    assert machine.drained(subject, NOW).phase is outcome


def test_draining_without_an_outcome_is_a_defect() -> None:
    with pytest.raises(IllegalTransition, match="without an outcome"):
        machine.drained(trial(TrialPhase.DRAINING, outcome=None), NOW)


@pytest.mark.parametrize("start", list(ExperimentPhase))
@pytest.mark.parametrize("end", list(ExperimentPhase))
def test_an_experiment_moves_only_as_the_table_says(start: ExperimentPhase, end: ExperimentPhase) -> None:
    state = running(phase=start)
    if end is start or end in EXPERIMENT_MOVES[start]:
        assert machine.move(state, end).phase is end
    else:
        with pytest.raises(IllegalTransition):
            machine.move(state, end)


def test_the_documentation_renders_every_move() -> None:
    text = machine.render_tables()
    for phase, event in TRIAL_MOVES:
        assert f"| {phase} | {event} |" in text
