"""The last of the trials that verify a recommendation runs at the peak."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from tests.unit.control.builders import (
    BASELINE,
    CHEAPER,
    NOW,
    created,
    decided,
    ended,
    experiment,
    kinds,
    running,
    snapshot,
    study,
    suggestion,
    verified,
)

from trimtab.control.actions import Decision
from trimtab.control.context import Context
from trimtab.control.peaking import LONGEST, LOOK_AGAIN, at_peak
from trimtab.control.snapshot import AskPresent, AskRecommendation, Inquiry, PresentLoad
from trimtab.domain.measurement import Arm
from trimtab.domain.state import ExperimentPhase, ScaledBy
from trimtab.domain.study import Recommended
from trimtab.domain.trial import Load, PhaseTimes, Purpose, Trial, TrialPhase

PODS, ARMS = 20, 2
PEAK = 50.0 * PODS  # requests/s of the whole service


def tried(*fresh_loads: float, peak: float | None = PEAK) -> tuple[Trial, ...]:
    """A search trial that knew the peak of the days before, and passed verifications that saw these loads."""
    usual = None if peak is None else peak / PODS
    searched = ended(TrialPhase.SUCCEEDED, 0, suggestion=suggestion(purpose=Purpose.SEARCH, usual_peak=usual))
    searched = replace(searched, environment=replace(searched.environment, target_replicas=PODS))
    fresh = (
        earlier(replace(each, index=n, uid=f"trial-{n}", name=f"web-{n}", load=loads(whole)), 3600.0 * (2 - n))
        for n, (each, whole) in enumerate(zip(verified(5), fresh_loads, strict=False), 1)
    )
    return (earlier(searched, 7200.0), *fresh)


def earlier(trial: Trial, by: float) -> Trial:
    """It ran so many seconds before: nothing ran beside it."""
    assert trial.window is not None
    times = {k: None if v is None else v - by for k, v in asdict(trial.times).items()}
    window = replace(trial.window, start=trial.window.start - by, end=trial.window.end - by)
    return replace(trial, times=replace(PhaseTimes(**times), draining=times["finished"]), window=window)


def loads(whole: float) -> tuple[Load, ...]:
    """What each pod gets of a load while two arms stand beside those of the target."""
    return tuple(Load(arm, whole / (PODS + ARMS)) for arm in (Arm.CANARY, Arm.CONTROL))


def asked(trials: tuple[Trial, ...], now: float | None, at: float = NOW) -> Decision:
    """What is decided when the whole service has `now` requests/s; None: nobody has looked."""
    state = running(candidate=CHEAPER, phase=ExperimentPhase.VERIFYING, trials_created=len(trials))
    chosen = Recommended(CHEAPER, False, 0.4, (), "best")
    answers: dict[Inquiry, object] = {AskRecommendation(study(trials)): chosen}
    answers |= {} if now is None else {AskPresent(): PresentLoad(now, now)}
    return decided(snapshot(experiment(state), trials, answers=answers, now=at))


def test_the_last_verification_waits_for_the_peak() -> None:
    decision = asked(tried(0.4 * PEAK), 440.0)
    assert kinds(decision) == ["ReleaseExperiment"]
    assert decision.state.phase is ExperimentPhase.VERIFYING
    said = "waiting for the peak to verify at: 440 of 1,000 requests/s now; 25 h longer at most"
    assert decision.state.message == said
    assert decision.requeue_after == LOOK_AGAIN


def test_it_asks_how_much_load_there_is() -> None:
    assert asked(tried(0.4 * PEAK), None).inquiries == (AskPresent(),)


@pytest.mark.parametrize(
    ("trials", "now"),
    [
        (tried(0.4 * PEAK), 0.9 * PEAK),  # it is near
        (tried(0.95 * PEAK), 440.0),  # the one before saw it
        (tried(), 440.0),  # another one comes after this
        (tried(0.4 * PEAK, peak=None), 440.0),  # nobody knows a peak
    ],
)
def test_otherwise_it_starts(trials: tuple[Trial, ...], now: float) -> None:
    assert created(asked(trials, now)).suggestion.purpose is Purpose.VERIFICATION


def test_nor_does_it_wait_where_nobody_wants_that() -> None:
    trials = tried(0.4 * PEAK)
    context = Context(running(), snapshot(experiment(running()), trials))
    assert context.seen.experiment.spec is not None
    verification = replace(context.seen.experiment.spec.verification, at_peak=False)
    record = replace(experiment(running()), spec=replace(context.seen.experiment.spec, verification=verification))
    assert at_peak(Context(running(), snapshot(record, trials)), trials[1:], 2) is None


def test_a_peak_that_does_not_come_holds_no_answer_back() -> None:
    trials = tried(0.4 * PEAK)
    over = max(t.times.finished or 0.0 for t in trials) + LONGEST
    assert asked(trials, 440.0, over - 1.0).requeue_after == 1.0
    assert created(asked(trials, 440.0, over)).suggestion.purpose is Purpose.VERIFICATION


def test_an_autoscaler_drives_pods_alike_at_all_hours() -> None:
    trials = tried(0.4 * PEAK)
    context = Context(running(), snapshot(experiment(running()), trials))
    assert at_peak(context, trials[1:], 2) == context.ask(AskPresent())
    assert context.state.target is not None
    context = context.update(target=replace(context.state.target, scaled=ScaledBy("web", PODS)))
    assert at_peak(context, trials[1:], 2) is None


@pytest.mark.parametrize(("seen", "share"), [((0.4, 0.97), 0.97), ((0.4, 0.5), 0.5)])
def test_the_answer_says_how_much_of_the_peak_was_seen(seen: tuple[float, float], share: float) -> None:
    decision = asked(tried(*(each * PEAK for each in seen)), PEAK)
    found = decision.state.recommendation
    assert decision.state.phase is ExperimentPhase.COMPLETED
    assert found.seen_of_peak == pytest.approx(share)
    assert f"; verified at {100 * share:.3g} % of the usual peak load" in found.message


def test_where_no_peak_is_known_nothing_is_said_of_it() -> None:
    decision = asked(tried(400.0, 900.0, peak=None), PEAK)
    assert decision.state.recommendation.seen_of_peak is None
    assert "peak" not in decision.state.recommendation.message
    assert decision.state.recommendation.assignment != BASELINE
