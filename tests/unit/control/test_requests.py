"""The on-call requests: obeyed before anything else, answered once, whatever else is true."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.control.builders import (
    CHEAPER,
    LIVE,
    NOW,
    both_arms,
    decided,
    ended,
    events,
    experiment,
    kinds,
    outcome,
    running,
    snapshot,
    study,
    trial,
    verified,
)

from trimtab.api.convert_status import read_state, write_state
from trimtab.control.actions import EmitEvent
from trimtab.control.snapshot import (
    AskRecommendation,
)
from trimtab.domain.names import ANNOTATION_APPROVE, ANNOTATION_PAUSE, ANNOTATION_ROLLBACK, ANNOTATION_SKIP
from trimtab.domain.state import ConditionType, ExperimentPhase, ExperimentState
from trimtab.domain.study import Recommended
from trimtab.domain.trial import TrialPhase
from trimtab.ports import ExperimentRecord


@pytest.mark.parametrize("phase", LIVE)
def test_pause_withdraws_a_live_trial_effect_before_record(phase: TrialPhase) -> None:
    paused = experiment(annotations=((ANNOTATION_PAUSE, "me: looking"),))
    decision = decided(snapshot(paused, (trial(phase),)))
    assert kinds(decision)[:2] == ["DeleteArms", "WriteTrial"]
    assert outcome(decision).reason == "OnCallPause"
    assert decision.state.phase is ExperimentPhase.PAUSED
    assert decision.state.is_true(ConditionType.PAUSED)
    assert decision.state.handled[-1].annotation == ANNOTATION_PAUSE


def test_an_empty_pause_annotation_pauses_too() -> None:
    decision = decided(snapshot(experiment(annotations=((ANNOTATION_PAUSE, ""),)), (trial(TrialPhase.MEASURING),)))
    assert kinds(decision)[0] == "DeleteArms"


def test_rollback_beats_pause_and_says_that_nothing_was_promoted() -> None:
    both = experiment(annotations=((ANNOTATION_PAUSE, "a"), (ANNOTATION_ROLLBACK, "b")))
    decision = decided(snapshot(both, (trial(TrialPhase.MEASURING),)))
    assert outcome(decision).reason == "OnCallRollback"
    assert decision.state.is_true(ConditionType.ROLLED_BACK)


@pytest.mark.parametrize("switch", ["namespace_paused", "operator_paused"])
def test_kill_switches_stop_everything(switch: str) -> None:
    decision = decided(snapshot(None, (trial(TrialPhase.MEASURING),), **{switch: "incident 7"}))
    assert kinds(decision)[0] == "DeleteArms"
    assert decision.state.phase is ExperimentPhase.PAUSED


def test_pause_needs_neither_target_nor_valid_spec() -> None:
    record = experiment(spec=None, problem="x", annotations=((ANNOTATION_PAUSE, "me"),))
    decision = decided(snapshot(record, (trial(TrialPhase.MEASURING),), target=None, surroundings=None))
    assert kinds(decision)[0] == "DeleteArms"


def test_removing_the_annotation_resumes() -> None:
    paused = running(phase=ExperimentPhase.PAUSED).with_condition(
        ConditionType.PAUSED, True, "OnCallPause", "", NOW - 5, 1
    )
    decision = decided(snapshot(experiment(paused)))
    assert not decision.state.is_true(ConditionType.PAUSED)


def told(record: ExperimentRecord, passes: int = 4) -> tuple[ExperimentState, list[str]]:
    """The state and the Events' words after so many passes, over the status as the API server keeps it."""
    words: list[str] = []
    for _ in range(passes):
        decision = decided(snapshot(record))
        words += [a.message for a in decision.actions if isinstance(a, EmitEvent)]
        assert record.spec is not None
        kept = read_state(write_state(decision.state, record.spec), record.spec.space)
        record = replace(record, state=kept)
    assert record.state is not None
    return record.state, words


def noted(state: ExperimentState) -> list[tuple[str, str]]:
    return [(h.annotation, h.value) for h in state.handled]


def test_many_unknown_annotations_are_one_event_and_crowd_out_no_request() -> None:
    notes = tuple((f"trimtab.dev/note-{number:02}", "x" * 2000) for number in range(40))
    state, words = told(experiment(annotations=(*notes, (ANNOTATION_APPROVE, "0123"), (ANNOTATION_SKIP, "9"))), 6)
    unknown = [each for each in words if "unknown" in each]
    assert len(unknown) == 1
    assert unknown[0].startswith("unknown annotation trimtab.dev/note-00; did you mean trimtab.dev/")
    assert unknown[0].endswith("And 35 more.")
    assert len(words) == 3
    assert {(ANNOTATION_APPROVE, "0123"), (ANNOTATION_SKIP, "9")} <= set(noted(state))
    assert len(state.handled) == 3


def test_an_unknown_annotation_that_joins_others_is_told() -> None:
    state, _ = told(experiment(annotations=(("trimtab.dev/a", ""),)))
    both = experiment(state, annotations=(("trimtab.dev/a", ""), ("trimtab.dev/puase", "me")))
    _, words = told(both)
    (word,) = words
    assert "unknown annotation trimtab.dev/puase; did you mean trimtab.dev/pause?" in word


def test_a_request_of_many_words_is_answered_once() -> None:
    state, words = told(experiment(annotations=((ANNOTATION_SKIP, "9, " + "because " * 200),)))
    assert len(words) == 1
    assert len(state.handled) == 1


def test_no_number_of_requests_makes_one_that_stands_new() -> None:
    record = experiment(annotations=((ANNOTATION_APPROVE, "0123"), (ANNOTATION_SKIP, "0")))
    for number in range(50):
        state, _ = told(replace(record, annotations=((ANNOTATION_APPROVE, "0123"), (ANNOTATION_SKIP, str(number)))), 2)
        record = replace(record, state=state)
    assert noted(state) == [(ANNOTATION_APPROVE, "0123"), (ANNOTATION_SKIP, "49")]


def test_skip_ends_one_live_trial_and_answers_for_others() -> None:
    live = trial(TrialPhase.MEASURING, 3)
    decision = decided(snapshot(experiment(annotations=((ANNOTATION_SKIP, "3"),)), (live,), both_arms(live)))
    assert outcome(decision).reason == "Skipped"
    refused = decided(snapshot(experiment(annotations=((ANNOTATION_SKIP, "9"),)), (live,), both_arms(live)))
    assert events(refused) == ["SkipRefused"]


def test_a_skip_that_the_safety_loop_obeyed_first_is_acknowledged_and_not_refused() -> None:
    done = ended(TrialPhase.ABORTED, 3, "Skipped")
    decision = decided(snapshot(experiment(annotations=((ANNOTATION_SKIP, "3"),)), (done,)))
    assert decision.state.handled[-1].answer == "trial 3 withdrawn"
    assert events(decision) == []


def test_only_the_recommendations_own_digest_is_approved() -> None:
    trials = verified(10)
    state = running(candidate=CHEAPER, phase=ExperimentPhase.VERIFYING, trials_created=2)
    chosen = Recommended(CHEAPER, False, 0.4, (), "best")
    answers = {AskRecommendation(study(trials)): chosen}
    done = decided(snapshot(experiment(state), trials, answers=answers)).state
    assert done.recommendation is not None
    right = experiment(done, annotations=((ANNOTATION_APPROVE, done.recommendation.digest),))
    assert decided(snapshot(right, trials)).state.recommendation.approved
    wrong = experiment(done, annotations=((ANNOTATION_APPROVE, "deadbeef"),))
    refused = decided(snapshot(wrong, trials))
    assert not refused.state.recommendation.approved
    assert events(refused) == ["ApproveRefused"]


def test_a_misspelt_annotation_is_answered_with_the_nearest_spelling() -> None:
    record = experiment(annotations=(("trimtab.dev/puase", "me"),))
    decision = decided(snapshot(record))
    messages = [a.message for a in decision.actions if isinstance(a, EmitEvent)]
    assert any("did you mean trimtab.dev/pause" in m for m in messages)
