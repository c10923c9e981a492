"""Trials that end before their window does, as they are clearly good: 60 s are asked for, half is the least."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.control.builders import (
    NOW,
    both_arms,
    decided,
    ended,
    experiment,
    kinds,
    measured,
    outcome,
    running,
    snapshot,
    spec,
    suggestion,
    target,
    trial,
    written,
)

from trimtab.control.actions import Decision
from trimtab.control.snapshot import AskMeasurements, AskShown, Shown, TrialReadings
from trimtab.control.study import build_study
from trimtab.domain.measurement import Arm, Window
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.trial import ENDED_EARLY, Load, Outcome, Purpose, Trial, TrialPhase

BOUND = replace(spec().constraints[0], max_error_ratio=2.0)
EARLY = spec(constraints=(BOUND,), trial=replace(spec().trial, early_success=True))
BEGUN = NOW - 40.0
UNTIL = NOW - 2.0


def live(**changes: Any) -> Trial:
    """40 s into its window of 60 s."""
    made = trial(TrialPhase.MEASURING, window=Window(BEGUN, BEGUN + 60.0))
    return replace(made, **changes)


def told(
    of: Trial, until: float | None = UNTIL, bad: float = 5, about: ExperimentSpec = EARLY, load: tuple[Load, ...] = ()
) -> Decision:
    """What is decided when the safety loop has shown it good until then, and both arms had so many errors of 5,000."""
    ask = AskMeasurements(of.name, Window(BEGUN, until or UNTIL), False)
    answers = {AskShown(of.uid): Shown(until), ask: TrialReadings(measured(of, bad), load)}
    return decided(snapshot(experiment(spec=about), (of,), both_arms(of), answers))


def test_a_trial_that_is_clearly_good_ends() -> None:
    decision = told(live())
    done = written(decision, TrialPhase.DRAINING)
    assert done.window == Window(BEGUN, UNTIL)
    assert (outcome(decision).phase, outcome(decision).reason) == (TrialPhase.SUCCEEDED, ENDED_EARLY)
    assert outcome(decision).message.startswith("clearly good after 38s of 1m; errors 0.1 %")
    assert done.measurements


def test_it_is_asked_for_only_after_half_of_the_time() -> None:
    sooner = live(window=Window(NOW - 29, NOW + 31))
    assert kinds(decided(snapshot(experiment(spec=EARLY), (sooner,), both_arms(sooner)))) == []
    unasked = decided(snapshot(experiment(spec=EARLY), (live(),), both_arms(live())))
    assert unasked.inquiries == (AskShown("trial-0"),)


@pytest.mark.parametrize("until", [None, BEGUN + 29.0, BEGUN + 60.0])
def test_what_was_seen_must_be_half_of_the_window_and_less_than_all_of_it(until: float | None) -> None:
    assert kinds(told(live(), until)) == []


def test_what_was_seen_is_read_before_it_is_judged() -> None:
    seen = snapshot(experiment(spec=EARLY), (live(),), both_arms(live()), {AskShown("trial-0"): Shown(UNTIL)})
    assert decided(seen).inquiries == (AskMeasurements(live().name, Window(BEGUN, UNTIL), False),)


@pytest.mark.parametrize("bad", [48, 100])
def test_a_measurement_that_leaves_a_doubt_goes_on(bad: float) -> None:
    """The tests may have seen good windows; what counts is read once more, as at the end of every trial."""
    assert kinds(told(live(), bad=bad)) == []


def test_too_few_samples_and_a_share_that_was_not_reached_go_on() -> None:
    many = replace(EARLY, slis=(replace(spec().slis[0], min_samples=10_000),))
    assert kinds(told(live(), about=many)) == []
    assert kinds(told(live(), load=(Load(Arm.CANARY, 10.0), Load(Arm.CONTROL, 100.0)))) == []


@pytest.mark.parametrize("purpose", list(Purpose))
def test_what_is_measured_to_be_sure_is_measured_in_full(purpose: Purpose) -> None:
    of = live(suggestion=suggestion(purpose=purpose))
    new = purpose in {Purpose.SEARCH, Purpose.SCREEN, Purpose.INITIAL}
    assert kinds(told(of)) == (["WriteTrial"] if new else [])


def test_a_screens_short_window_an_extended_one_and_a_spec_without_it_stay() -> None:
    short = live(window=Window(BEGUN, BEGUN + 59), suggestion=suggestion(purpose=Purpose.SCREEN))
    assert kinds(told(short)) == []
    assert kinds(told(live(extended=True))) == []
    assert kinds(told(live(), about=replace(EARLY, trial=spec().trial))) == []


def test_without_the_whole_of_a_record_nothing_happened() -> None:
    """The operator dies after the decision and before the write: the next one decides the same, or measures on."""
    assert written(told(live()), TrialPhase.DRAINING) == written(told(live()), TrialPhase.DRAINING)
    assert live().window == Window(BEGUN, BEGUN + 60.0)


def test_its_values_are_learned_as_those_of_a_trial_that_ended_early() -> None:
    state = running()
    assert state.target is not None
    done = ended(TrialPhase.SUCCEEDED, 0, ENDED_EARLY)
    done = replace(done, measurements=measured(done, 5), outcome=Outcome(TrialPhase.SUCCEEDED, ENDED_EARLY, "good"))
    (found,) = build_study(EARLY, target(), state.target, (done,), NOW).outcomes
    assert (found.early, found.truncated, found.learnable) == (True, False, True)
    assert len(found.canary.readings) == 1
