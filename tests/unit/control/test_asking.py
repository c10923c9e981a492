"""A Designer that cannot answer: asked again, told to people, and never taken for an answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.control.builders import (
    CHEAPER,
    NOW,
    condition,
    decided,
    events,
    experiment,
    kinds,
    proposal,
    running,
    snapshot,
    study,
    suggestion,
    verified,
)

from trimtab.control.actions import Decision
from trimtab.control.asking import PATIENCE
from trimtab.control.snapshot import AskProposal, AskRecommendation, Inquiry
from trimtab.domain.state import ConditionType, ExperimentPhase, ExperimentState
from trimtab.domain.study import Hold, HoldReason, NoAnswer

LOST = NoAnswer("the fitting worker died during suggest (EOFError)")


def asked(state: ExperimentState, answer: object, ask: Inquiry | None = None, now: float = NOW) -> Decision:
    """One pass in which the Designer gives this answer."""
    told = {ask or AskProposal(study()): answer}
    return decided(snapshot(experiment(state), answers=told, now=now))


def in_vain(times: int) -> Decision:
    """So many questions in vain, each asked as soon as it may be."""
    decision = asked(running(), proposal(LOST))
    for _ in range(times - 1):
        at = decision.state.retry_at
        assert at is not None
        decision = asked(decision.state, proposal(LOST), now=at)
    return decision


def test_it_is_asked_again_after_a_pause_that_grows() -> None:
    for number, pause in ((1, 5.0), (2, 10.0), (3, 20.0), (9, 300.0)):
        decision = in_vain(number)
        assert decision.requeue_after == pause
        assert decision.state.designer_failures == number
        assert not decision.state.phase.terminal


@pytest.mark.parametrize("before", [1024, 10**6])
def test_a_trouble_of_weeks_is_still_the_same_trouble(before: int) -> None:
    decision = asked(replace(running(), designer_failures=before), proposal(LOST))
    assert decision.requeue_after == 300.0
    assert condition(decision, ConditionType.STALLED).reason == "OptimizerUnavailable"


def test_nobody_asks_during_the_pause() -> None:
    state = in_vain(1).state
    decision = decided(snapshot(experiment(state), now=NOW + 1))
    assert decision.inquiries == ()
    assert decision.requeue_after == pytest.approx(4.0)


def test_a_pause_of_a_clock_that_was_ahead_is_over() -> None:
    state = in_vain(1).state
    decision = decided(snapshot(experiment(state), now=NOW - 5000))
    assert isinstance(decision.inquiries[0], AskProposal)


def test_people_are_told_when_it_lasts_and_once() -> None:
    assert not in_vain(PATIENCE - 1).state.is_true(ConditionType.STALLED)
    told = in_vain(PATIENCE)
    found = condition(told, ConditionType.STALLED)
    assert (found.status, found.reason) == (True, "OptimizerUnavailable")
    assert "died during suggest" in found.message
    assert "memory limit" in found.message
    assert not told.state.is_true(ConditionType.READY)
    assert events(told) == ["OptimizerUnavailable"]
    assert events(in_vain(PATIENCE + 1)) == []


def test_an_answer_ends_the_trouble() -> None:
    state = in_vain(PATIENCE).state
    assert state.retry_at is not None
    decision = asked(state, proposal(suggestion()), now=state.retry_at)
    assert kinds(decision) == ["CreateTrial"]
    assert decision.state.designer_failures == 0
    assert decision.state.retry_at is None
    assert not decision.state.is_true(ConditionType.STALLED)
    assert decision.state.is_true(ConditionType.READY)


def test_a_computation_that_fails_for_good_is_told_at_once_and_ends_nothing() -> None:
    """As long as nobody changes anything, the same question has the same answer."""
    hold = Hold(HoldReason.NUMERICAL, "the bound of errors must be positive and finite")
    decision = asked(running(), proposal(hold))
    assert decision.state.phase is ExperimentPhase.RUNNING
    found = condition(decision, ConditionType.STALLED)
    assert (found.status, found.reason) == (True, "OptimizerFailed")
    assert "the bound of errors" in found.message
    assert decision.requeue_after == 5.0


def test_a_week_of_trials_is_not_thrown_away_because_a_worker_died() -> None:
    trials = verified(10)
    state = running(candidate=CHEAPER, phase=ExperimentPhase.VERIFYING, trials_created=2)
    decision = decided(snapshot(experiment(state), trials, answers={AskRecommendation(study(trials)): LOST}))
    assert decision.state.phase is ExperimentPhase.VERIFYING
    assert decision.state.recommendation is None
    assert "died" in decision.state.message
    assert decision.requeue_after == 5.0


def test_a_hold_of_the_search_is_not_published_without_a_recommendation() -> None:
    answers = {
        AskProposal(study()): proposal(Hold(HoldReason.CONVERGED, "nothing left")),
        AskRecommendation(study()): LOST,
    }
    decision = decided(snapshot(answers=answers))
    assert not decision.state.phase.terminal
    assert decision.state.recommendation is None
