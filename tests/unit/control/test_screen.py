"""Search trials that measure for a short window first: 20 s of 60 s."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.control.builders import (
    BASELINE,
    CHEAPER,
    NOW,
    both_arms,
    created,
    decided,
    ended,
    events,
    experiment,
    measured,
    proposal,
    running,
    snapshot,
    spec,
    study,
    suggestion,
    trial,
    written,
)
from tests.unit.control.builders import target as builders_target

from trimtab.control.actions import Decision
from trimtab.control.snapshot import AskMeasurements, AskProposal, TrialReadings
from trimtab.control.study import build_study
from trimtab.domain.measurement import Window
from trimtab.domain.space import Assignment
from trimtab.domain.spec import TrialTiming
from trimtab.domain.trial import Outcome, PhaseTimes, Purpose, Trial, TrialPhase

TIMING = TrialTiming(10.0, 60.0, 600.0, screen=20.0)
SCREENING = spec(trial=TIMING)
SHORT = Window(NOW - 25, NOW - 5)


def screen(**changes: object) -> Trial:
    """A Screen whose short window is complete, of an assignment that is not to be recommended itself."""
    asked = suggestion(purpose=Purpose.SCREEN, explores=True)
    made = trial(TrialPhase.MEASURING, 1, suggestion=asked, window=SHORT)
    return replace(made, **changes)  # type: ignore[arg-type]


def judged(live: Trial, bad: float, *before: Trial) -> Decision:
    """What is decided when both arms had so many bad events of 5,000."""
    assert live.window is not None
    ask = AskMeasurements(live.name, live.window, live.extended)
    answers = {ask: TrialReadings(measured(live, bad), ())}
    record = experiment(running(trials_created=2), spec=SCREENING)
    return decided(snapshot(record, (*before, live), both_arms(live), answers))


def held(assignment: Assignment) -> Trial:
    """An earlier trial that kept the bound."""
    done = ended(TrialPhase.SUCCEEDED, 0, suggestion=suggestion(assignment=assignment))
    return replace(done, measurements=measured(done, 5))


@pytest.mark.parametrize("purpose", list(Purpose))
def test_only_search_trials_are_screened(purpose: Purpose) -> None:
    answers = {AskProposal(study()): proposal(suggestion(purpose=purpose, explores=True))}
    made = created(decided(snapshot(experiment(spec=SCREENING), answers=answers))).suggestion
    screened = purpose is Purpose.SEARCH
    assert (made.purpose, made.explores) == (Purpose.SCREEN if screened else purpose, screened)
    assert created(decided(snapshot(answers=answers))).suggestion == suggestion(purpose=purpose)


def test_it_measures_for_the_short_window_first() -> None:
    live = screen(phase=TrialPhase.WARMING_UP, window=None, times=PhaseTimes(NOW - 50, NOW - 40, NOW - 11))
    record = experiment(spec=SCREENING)
    assert written(decided(snapshot(record, (live,), both_arms(live))), TrialPhase.MEASURING).window == Window(
        NOW, NOW + 20
    )


def test_one_that_may_become_the_incumbent_is_measured_in_full() -> None:
    decision = judged(screen(), 10, held(BASELINE))
    whole = written(decision, TrialPhase.MEASURING)
    assert whole.window == Window(SHORT.start, SHORT.start + 60)
    assert not whole.extended  # that is for want of samples, and still to be had
    assert decision.state.message.startswith("trial 1: promising after the screen: ")
    assert "TrialExtended" in events(decision)


def test_one_that_is_to_be_recommended_is_measured_in_full() -> None:
    """Cheaper things were measured, but what is measured within a bound may not hold at the day's peak."""
    wanted = screen(suggestion=suggestion(purpose=Purpose.SCREEN))
    assert written(judged(wanted, 10, held(CHEAPER)), TrialPhase.MEASURING).window == Window(NOW - 25, NOW + 35)


def test_one_that_is_no_cheaper_ends_there_with_what_it_measured() -> None:
    done = written(judged(screen(), 10, held(CHEAPER)), TrialPhase.DRAINING)
    assert done.outcome is not None
    assert (done.outcome.phase, done.outcome.reason) == (TrialPhase.SUCCEEDED, "Screened")
    assert done.measurements == measured(done, 10)


def test_the_full_window_is_judged_like_that_of_any_trial() -> None:
    done = written(judged(screen(window=Window(NOW - 70, NOW - 10)), 10, held(CHEAPER)), TrialPhase.DRAINING)
    assert done.outcome is not None
    assert done.outcome.reason == "Measured"


def test_without_time_for_a_full_window_the_short_one_counts() -> None:
    done = written(judged(screen(deadline=NOW + 30), 10, held(BASELINE)), TrialPhase.DRAINING)
    assert done.outcome is not None
    assert done.outcome.reason == "Measured"


@pytest.mark.parametrize(
    ("phase", "reason", "learned", "truncated"),
    [
        (TrialPhase.SUCCEEDED, "Screened", Purpose.SCREEN, False),
        (TrialPhase.INFEASIBLE, "ScreenedOut", Purpose.SCREEN, False),
        (TrialPhase.SUCCEEDED, "Measured", Purpose.SEARCH, False),
        (TrialPhase.INFEASIBLE, "BoundBroken", Purpose.SEARCH, False),
        (TrialPhase.INFEASIBLE, "AbortRule", Purpose.SEARCH, True),
    ],
)
def test_what_it_teaches(phase: TrialPhase, reason: str, learned: Purpose, truncated: bool) -> None:
    """A short window is an observation with its own, larger standard error; a full one is that of a search trial."""
    done = screen(phase=phase, outcome=Outcome(phase, reason, "as told"))
    done = replace(done, measurements=measured(done, 10))
    target = running().target
    assert target is not None
    (found,) = build_study(SCREENING, builders_target(), target, (done,), 0.0).outcomes
    assert (found.purpose, found.learnable, found.truncated) == (learned, True, truncated)
    assert found.canary.readings[0].sample == measured(done, 10)[0].reading


def test_it_is_no_incumbent_before_it_was_measured_in_full() -> None:
    short = held(CHEAPER)
    short = replace(short, index=1, outcome=Outcome(TrialPhase.SUCCEEDED, "Screened", "as told"))
    first = held(BASELINE)
    assert decided(snapshot(None, (first, short))).state.incumbent == BASELINE
