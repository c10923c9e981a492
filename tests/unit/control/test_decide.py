"""`decide` is pure, so each of these is a few lines: a snapshot in, a decision out."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from tests.unit.control.builders import (
    BASELINE,
    CHEAPER,
    GIB,
    NOW,
    arm,
    both_arms,
    budgets,
    decided,
    experiment,
    kinds,
    measured,
    running,
    snapshot,
    spec,
    target,
    trial,
)

from trimtab.control.actions import CreateTrial, DeleteArms, EmitEvent, WriteTrial
from trimtab.control.decide import decide
from trimtab.control.snapshot import (
    AskBudgets,
    AskMeasurements,
    AskProbes,
    AskProposal,
    AskRecommendation,
    AskSpent,
    Inquiry,
    LockView,
    TrialReadings,
)
from trimtab.control.study import build_study
from trimtab.domain.kube import TargetMissing
from trimtab.domain.measurement import Arm, Sample, Window
from trimtab.domain.names import ANNOTATION_APPROVE, ANNOTATION_PAUSE, ANNOTATION_ROLLBACK, ANNOTATION_SKIP
from trimtab.domain.spec import Mode, RatioQuery, TrialTiming
from trimtab.domain.state import ConditionType, ExperimentPhase, ExperimentState
from trimtab.domain.study import Diagnostics, Hold, HoldReason, Proposal, Recommended
from trimtab.domain.trial import Load, Outcome, PhaseTimes, Purpose, Suggestion, Trial, TrialPhase


def counted_again(*draining: Trial) -> dict[Inquiry, Any]:
    """What telemetry says of canaries that are gone."""
    return {AskSpent(t.name, NOW): (("errors", Sample(0.0, 0.001, 5000.0, 0.0, newest=NOW)),) for t in draining}


LIVE = [TrialPhase.PENDING, TrialPhase.DEPLOYING, TrialPhase.WARMING_UP, TrialPhase.MEASURING]


def written(decision, phase):  # type: ignore[no-untyped-def]
    return next(a.trial for a in decision.actions if isinstance(a, WriteTrial) and a.trial.phase is phase)


class TestUndo:
    @pytest.mark.parametrize("phase", LIVE)
    def test_pause_withdraws_a_live_trial_effect_before_record(self, phase: TrialPhase) -> None:
        paused = experiment(annotations=((ANNOTATION_PAUSE, "me: looking"),))
        decision = decided(snapshot(paused, (trial(phase),)))
        assert kinds(decision)[:2] == ["DeleteArms", "WriteTrial"]
        assert written(decision, TrialPhase.DRAINING).outcome.reason == "OnCallPause"
        assert decision.state.phase is ExperimentPhase.PAUSED
        assert decision.state.is_true(ConditionType.PAUSED)
        assert decision.state.handled[-1].annotation == ANNOTATION_PAUSE

    def test_an_empty_pause_annotation_pauses_too(self) -> None:
        decision = decided(snapshot(experiment(annotations=((ANNOTATION_PAUSE, ""),)), (trial(TrialPhase.MEASURING),)))
        assert kinds(decision)[0] == "DeleteArms"

    def test_rollback_beats_pause_and_says_that_nothing_was_promoted(self) -> None:
        both = experiment(annotations=((ANNOTATION_PAUSE, "a"), (ANNOTATION_ROLLBACK, "b")))
        decision = decided(snapshot(both, (trial(TrialPhase.MEASURING),)))
        assert written(decision, TrialPhase.DRAINING).outcome.reason == "OnCallRollback"
        assert decision.state.is_true(ConditionType.ROLLED_BACK)

    @pytest.mark.parametrize("switch", ["namespace_paused", "operator_paused"])
    def test_kill_switches_stop_everything(self, switch: str) -> None:
        decision = decided(snapshot(None, (trial(TrialPhase.MEASURING),), **{switch: "incident 7"}))
        assert kinds(decision)[0] == "DeleteArms"
        assert decision.state.phase is ExperimentPhase.PAUSED

    def test_pause_needs_neither_target_nor_valid_spec(self) -> None:
        record = experiment(spec=None, problem="x", annotations=((ANNOTATION_PAUSE, "me"),))
        decision = decided(snapshot(record, (trial(TrialPhase.MEASURING),), target=None, surroundings=None))
        assert kinds(decision)[0] == "DeleteArms"

    def test_removing_the_annotation_resumes(self) -> None:
        paused = running(phase=ExperimentPhase.PAUSED).with_condition(
            ConditionType.PAUSED, True, "OnCallPause", "", NOW - 5, 1
        )
        decision = decided(snapshot(experiment(paused)))
        assert not decision.state.is_true(ConditionType.PAUSED)

    def test_skip_ends_one_live_trial_and_answers_for_others(self) -> None:
        live = trial(TrialPhase.MEASURING, 3)
        decision = decided(snapshot(experiment(annotations=((ANNOTATION_SKIP, "3"),)), (live,), both_arms(live)))
        assert written(decision, TrialPhase.DRAINING).outcome.reason == "Skipped"
        refused = decided(snapshot(experiment(annotations=((ANNOTATION_SKIP, "9"),)), (live,), both_arms(live)))
        assert [a.reason for a in refused.actions if isinstance(a, EmitEvent)] == ["SkipRefused"]

    def test_an_experiment_that_is_deleted_withdraws_then_lets_go(self) -> None:
        live = trial(TrialPhase.MEASURING)
        first = decided(snapshot(experiment(deleting=True), (live,), both_arms(live)))
        assert kinds(first) == ["DeleteArms", "WriteTrial"]
        ended = trial(TrialPhase.ABORTED, finalized=False, outcome=Outcome(TrialPhase.ABORTED, "X", "y"))
        second = decided(snapshot(experiment(deleting=True), (ended,)))
        assert kinds(second) == ["ReleaseLock", "ReleaseExperiment"]

    def test_draining_verifies_records_spending_and_releases_in_this_order(self) -> None:
        draining = trial(TrialPhase.DRAINING, outcome=Outcome(TrialPhase.SUCCEEDED, "Measured", "fine"))
        decision = decided(snapshot(None, (draining,), answers=counted_again(draining)))
        assert kinds(decision) == ["DeleteArms", "RecordSpending", "WriteTrial", "ReleaseTrial"]
        assert [a.verify for a in decision.actions if isinstance(a, DeleteArms)] == [True]

    def test_draining_comes_before_a_pause_or_it_would_never_end(self) -> None:
        draining = trial(TrialPhase.DRAINING, outcome=Outcome(TrialPhase.ABORTED, "OnCallPause", "me"))
        paused = experiment(annotations=((ANNOTATION_PAUSE, "me"),))
        decision = decided(snapshot(paused, (draining,), answers=counted_again(draining)))
        assert kinds(decision)[0] == "DeleteArms"
        assert written(decision, TrialPhase.ABORTED)

    def test_an_arm_without_a_live_trial_is_deleted(self) -> None:
        gone = trial(TrialPhase.SUCCEEDED, finalized=False, outcome=Outcome(TrialPhase.SUCCEEDED, "M", "m"))
        decision = decided(snapshot(None, (gone,), (arm(gone, Arm.CANARY),)))
        assert [a.trial_uid for a in decision.actions if isinstance(a, DeleteArms)] == [gone.uid]

    def test_a_trial_deleted_by_hand_is_aborted(self) -> None:
        live = trial(TrialPhase.MEASURING, deleting=True)
        decision = decided(snapshot(None, (live,), both_arms(live)))
        assert written(decision, TrialPhase.DRAINING).outcome.reason == "TrialDeleted"

    @pytest.mark.parametrize("phase", [*LIVE, TrialPhase.DRAINING])
    def test_a_namespace_that_is_deleted_is_let_go_at_once(self, phase: TrialPhase) -> None:
        live = trial(phase, outcome=Outcome(TrialPhase.ABORTED, "X", "y"))
        decision = decided(snapshot(None, (live,), both_arms(live), namespace_leaving=True))
        assert kinds(decision) == ["ReleaseTrial", "ReleaseExperiment", "DeleteArms"]
        assert [a.verify for a in decision.actions if isinstance(a, DeleteArms)] == [False]
        released = trial(phase, finalized=False, outcome=Outcome(TrialPhase.ABORTED, "X", "y"))
        assert kinds(decided(snapshot(experiment(finalized=False), (released,), namespace_leaving=True))) == []

    def test_nothing_starts_in_a_namespace_that_is_deleted(self) -> None:
        decision = decided(snapshot(experiment(finalized=False), namespace_leaving=True))
        assert decision.inquiries == ()
        assert decision.actions == ()

    def test_while_it_only_waits_a_deletion_needs_no_operator(self) -> None:
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

    def test_a_status_that_cannot_be_read_pauses_and_guesses_nothing(self) -> None:
        record = replace(experiment(), state=None, state_problem="status.phase: 'Dancing' is unknown")
        decision = decide(ExperimentState(), snapshot(record, (trial(TrialPhase.MEASURING),)))
        assert kinds(decision)[0] == "DeleteArms"
        assert decision.state.is_true(ConditionType.STALLED)


class TestStanding:
    def test_a_missing_target_names_the_remedy(self) -> None:
        decision = decided(snapshot(target=TargetMissing("web"), surroundings=None))
        condition = decision.state.condition(ConditionType.STALLED)
        assert condition.reason == "TargetNotFound"
        assert "create it or correct the name" in condition.message

    def test_a_stateful_set_of_that_name_is_named(self) -> None:
        decision = decided(snapshot(target=TargetMissing("web", "StatefulSet"), surroundings=None))
        assert decision.state.condition(ConditionType.STALLED).reason == "UnsupportedKind"

    def test_a_second_experiment_is_blocked_and_names_the_first(self) -> None:
        fresh = running(phase=ExperimentPhase.PENDING, conditions=())
        decision = decided(snapshot(experiment(fresh), lock=LockView(False, "shop/first")))
        condition = decision.state.condition(ConditionType.STALLED)
        assert condition.reason == "Blocked"
        assert "shop/first" in condition.message

    def test_the_lock_is_taken_before_preflight(self) -> None:
        fresh = ExperimentState()
        decision = decided(snapshot(experiment(fresh), lock=LockView(False)))
        assert kinds(decision) == ["AcquireLock"]

    def test_preflight_asks_for_probes_first(self) -> None:
        fresh = ExperimentState().with_condition(ConditionType.TARGET_LOCKED, True, "Acquired", "", NOW, 1)
        decision = decided(snapshot(experiment(fresh)))
        assert decision.inquiries[0] == AskProbes()
        assert decision.state.phase is ExperimentPhase.PREFLIGHT

    def test_a_template_that_changed_under_a_live_trial_makes_it_stale(self) -> None:
        live = trial(TrialPhase.MEASURING)
        decision = decided(snapshot(None, (live,), both_arms(live), target=target(template_hash="hash-2")))
        assert written(decision, TrialPhase.DRAINING).outcome.phase is TrialPhase.STALE
        assert decision.state.target is None

    def test_a_bad_spec_is_refused_by_its_field(self) -> None:
        record = experiment(spec=None, problem_reason="NotYetSupported", problem="spec.warmStart: not supported")
        decision = decided(snapshot(record, target=None, surroundings=None))
        assert decision.state.condition(ConditionType.STALLED).reason == "NotYetSupported"
        assert "spec.warmStart" in decision.state.message


class TestProgress:
    def test_deploying_is_on_record_before_any_arm_exists(self) -> None:
        decision = decided(snapshot(None, (trial(TrialPhase.PENDING),)))
        assert kinds(decision) == ["WriteTrial"]
        started = written(decision, TrialPhase.DEPLOYING)
        assert (started.leader, started.deadline) == ("leader-1", NOW + 600)

    def test_both_arms_are_created_together(self) -> None:
        decision = decided(snapshot(None, (trial(TrialPhase.DEPLOYING),)))
        assert kinds(decision) == ["CreateArms"]
        assert len(decision.actions[0].plans) == 2

    def test_warm_up_begins_when_both_arms_serve(self) -> None:
        live = trial(TrialPhase.DEPLOYING)
        decision = decided(snapshot(None, (live,), both_arms(live)))
        assert written(decision, TrialPhase.WARMING_UP)
        waiting = decided(snapshot(None, (live,), (arm(live, Arm.CANARY, ready_endpoints=0), arm(live, Arm.CONTROL))))
        assert kinds(waiting) == []

    def test_an_arm_edited_by_hand_aborts_the_trial(self) -> None:
        live = trial(TrialPhase.MEASURING)
        edited = (arm(live, Arm.CANARY, observed_digest="other"), arm(live, Arm.CONTROL))
        assert written(decided(snapshot(None, (live,), edited)), TrialPhase.DRAINING).outcome.reason == "ArmEdited"

    def test_an_arm_deleted_by_hand_aborts_the_trial(self) -> None:
        live = trial(TrialPhase.MEASURING)
        decision = decided(snapshot(None, (live,), (arm(live, Arm.CONTROL),)))
        assert written(decision, TrialPhase.DRAINING).outcome.reason == "ArmDeleted"

    def test_quota_is_the_clusters_fault_not_the_assignments(self) -> None:
        live = trial(TrialPhase.DEPLOYING)
        refused = (arm(live, Arm.CANARY, failure="exceeded quota: compute"), arm(live, Arm.CONTROL))
        outcome = written(decided(snapshot(None, (live,), refused)), TrialPhase.DRAINING).outcome
        assert (outcome.phase, outcome.reason) == (TrialPhase.INFRA_FAILED, "FailedCreate")
        assert "exceeded quota" in outcome.message

    def test_the_window_is_absolute_and_starts_after_the_warm_up(self) -> None:
        live = trial(TrialPhase.WARMING_UP, times=PhaseTimes(NOW - 50, NOW - 40, NOW - 11), window=None)
        decision = decided(snapshot(None, (live,), both_arms(live)))
        window = written(decision, TrialPhase.MEASURING).window
        assert (window.start, window.end) == (NOW, NOW + 60)

    def test_a_complete_window_is_read_then_judged(self) -> None:
        live = trial(TrialPhase.MEASURING)
        asking = decided(snapshot(None, (live,), both_arms(live)))
        assert live.window is not None
        ask = AskMeasurements(live.name, live.window, False)
        assert asking.inquiries == (ask,)
        readings = TrialReadings(measured(live, 5), ())
        decision = decided(snapshot(None, (live,), both_arms(live), {ask: readings}))
        done = written(decision, TrialPhase.DRAINING)
        assert done.outcome.phase is TrialPhase.SUCCEEDED
        assert done.measurements == readings.measurements


class TestSearch:
    def suggestion(self) -> Suggestion:
        return Suggestion(CHEAPER, Purpose.SEARCH, 1, True, 0.99, 0.1, (), "digest", 0.01, 0.01)

    def study(self, trials=()):  # type: ignore[no-untyped-def]
        state = running()
        assert state.target is not None
        return build_study(spec(), target(), state.target, trials, state.started or 0.0)

    def test_budgets_are_read_before_a_trial_may_start(self) -> None:
        seen = snapshot()
        without = replace(seen, answers={})
        assert decided(without).inquiries == (AskBudgets(),)

    def test_then_the_designer_is_asked(self) -> None:
        decision = decided(snapshot())
        assert decision.inquiries == (AskProposal(self.study()),)

    def test_a_suggestion_is_written_ahead_of_any_effect(self) -> None:
        proposal = Proposal(self.suggestion(), Diagnostics(0, 1, 10, 1.1, None))
        answers = {AskProposal(self.study()): proposal}
        decision = decided(snapshot(experiment(finalized=False), answers=answers))
        assert kinds(decision) == ["HoldExperiment", "CreateTrial"]
        created = next(a for a in decision.actions if isinstance(a, CreateTrial))
        assert created.new.index == 0
        assert decision.state.trials_created == 1

    def test_the_index_never_repeats_even_when_trials_were_deleted(self) -> None:
        state = running(trials_created=4)
        proposal = Proposal(self.suggestion(), Diagnostics(0, 1, 10, 1.1, None))
        decision = decided(snapshot(experiment(state), answers={AskProposal(self.study()): proposal}))
        created = next(a for a in decision.actions if isinstance(a, CreateTrial))
        assert created.new.index == 4
        assert decision.state.condition(ConditionType.READY).reason == "TrialsMissing"

    def test_observe_mode_never_starts_a_trial(self) -> None:
        decision = decided(snapshot(experiment(spec=spec(mode=Mode.OBSERVE), finalized=False)))
        assert kinds(decision) == []
        assert decision.inquiries == ()

    def test_a_converged_search_asks_for_the_recommendation(self) -> None:
        proposal = Proposal(Hold(HoldReason.CONVERGED, "nothing left"), Diagnostics(5, 3, 0, 1.1, None))
        decision = decided(snapshot(answers={AskProposal(self.study()): proposal}))
        assert isinstance(decision.inquiries[0], AskRecommendation)

    def test_a_recommendation_is_verified_by_fresh_trials(self) -> None:
        proposal = Proposal(Hold(HoldReason.CONVERGED, "nothing left"), Diagnostics(5, 3, 0, 1.1, None))
        chosen = Recommended(CHEAPER, False, 0.4, (), "best")
        answers = {AskProposal(self.study()): proposal, AskRecommendation(self.study()): chosen}
        decision = decided(snapshot(answers=answers))
        created = next(a for a in decision.actions if isinstance(a, CreateTrial))
        assert created.new.suggestion.purpose is Purpose.VERIFICATION
        assert decision.state.phase is ExperimentPhase.VERIFYING
        assert decision.state.candidate == CHEAPER

    def verified(self, bad: float):  # type: ignore[no-untyped-def]
        suggestion = replace(self.suggestion(), purpose=Purpose.VERIFICATION)
        fresh = []
        for index in (0, 1):
            done = trial(TrialPhase.SUCCEEDED, index, suggestion=suggestion, finalized=False)
            outcome = Outcome(TrialPhase.SUCCEEDED, "Measured", "fine")
            fresh.append(replace(done, measurements=measured(done, bad), outcome=outcome))
        return tuple(fresh)

    def test_verified_evidence_completes_the_experiment(self) -> None:
        trials = self.verified(10)
        state = running(candidate=CHEAPER, phase=ExperimentPhase.VERIFYING, trials_created=2)
        chosen = Recommended(CHEAPER, False, 0.4, (), "best")
        decision = decided(snapshot(experiment(state), trials, answers={AskRecommendation(self.study(trials)): chosen}))
        assert decision.state.phase is ExperimentPhase.COMPLETED
        assert decision.state.recommendation.verified
        assert decision.state.message == "cpu=1 memory=1Gi saves 50.0 % ($1.360 -> $0.680 per hour); best"
        (sli,) = decision.state.recommendation.slis
        assert (sli.sli, sli.verified.value, sli.predicted) == ("errors", pytest.approx(0.002), None)
        assert decision.state.is_true(ConditionType.RECOMMENDATION_READY)
        assert kinds(decision) == ["PublishRecommendation"]
        published = decision.actions[0]
        assert published.recommendation == decision.state.recommendation
        assert (published.target, [s.request for s in published.settings]) == ("web", [Decimal(1), GIB])

    def test_a_candidate_whose_fresh_evidence_does_not_clear_the_bound_is_excluded(self) -> None:
        trials = self.verified(48)  # 0.96 % against a bound of 1 %: not clear
        state = running(candidate=CHEAPER, phase=ExperimentPhase.VERIFYING, trials_created=2)
        decision = decided(snapshot(experiment(state), trials))
        ask = decision.inquiries[0]
        assert isinstance(ask, AskRecommendation)
        assert ask.study.excluded == (CHEAPER,)

    def test_keep_the_baseline_is_an_answer(self) -> None:
        proposal = Proposal(Hold(HoldReason.NO_SAFE_POINT, "none"), Diagnostics(5, 1, 0, 1.1, None))
        keep = Recommended(BASELINE, True, 0.0, (), "keep the baseline: nothing cheaper is safe")
        answers = {AskProposal(self.study()): proposal, AskRecommendation(self.study()): keep}
        decision = decided(snapshot(answers=answers))
        assert decision.state.recommendation.keep_baseline
        assert decision.state.message == "keep the baseline: nothing cheaper is safe ($1.360 per hour)"
        assert decision.state.condition(ConditionType.RECOMMENDATION_READY).reason == "KeepBaseline"

    def test_too_many_infeasible_trials_stop_the_experiment(self) -> None:
        outcome = Outcome(TrialPhase.INFEASIBLE, "AbortRule", "slow")
        bad = tuple(trial(TrialPhase.INFEASIBLE, i, finalized=False, outcome=outcome) for i in range(8))
        decision = decided(snapshot(experiment(running(trials_created=8)), bad))
        assert decision.state.phase is ExperimentPhase.STOPPED
        assert decision.state.condition(ConditionType.STALLED).reason == "MaxInfeasible"

    def test_infrastructure_failures_back_off(self) -> None:
        outcome = Outcome(TrialPhase.INFRA_FAILED, "FailedCreate", "quota")
        times = PhaseTimes(NOW - 50, finished=NOW - 1)
        failed = trial(TrialPhase.INFRA_FAILED, 0, finalized=False, outcome=outcome, times=times)
        decision = decided(snapshot(experiment(running(trials_created=1)), (failed,)))
        assert decision.requeue_after == pytest.approx(4.0)
        assert "retrying" in decision.state.message


class TestApproval:
    def test_only_the_recommendations_own_digest_is_approved(self) -> None:
        completed = TestSearch()
        trials = completed.verified(10)
        state = running(candidate=CHEAPER, phase=ExperimentPhase.VERIFYING, trials_created=2)
        chosen = Recommended(CHEAPER, False, 0.4, (), "best")
        answers = {AskRecommendation(completed.study(trials)): chosen}
        done = decided(snapshot(experiment(state), trials, answers=answers)).state
        assert done.recommendation is not None
        right = experiment(done, annotations=((ANNOTATION_APPROVE, done.recommendation.digest),))
        assert decided(snapshot(right, trials)).state.recommendation.approved
        wrong = experiment(done, annotations=((ANNOTATION_APPROVE, "deadbeef"),))
        refused = decided(snapshot(wrong, trials))
        assert not refused.state.recommendation.approved
        assert [a.reason for a in refused.actions if isinstance(a, EmitEvent)] == ["ApproveRefused"]


def test_a_misspelt_annotation_is_answered_with_the_nearest_spelling() -> None:
    record = experiment(annotations=(("trimtab.dev/puase", "me"),))
    decision = decided(snapshot(record))
    messages = [a.message for a in decision.actions if isinstance(a, EmitEvent)]
    assert any("did you mean trimtab.dev/pause" in m for m in messages)


def test_decide_is_pure() -> None:
    seen = snapshot(None, (trial(TrialPhase.PENDING),))
    assert decided(seen) == decided(seen)


def test_timing_of_verification_is_its_own() -> None:
    suggestion = replace(trial().suggestion, purpose=Purpose.VERIFICATION)
    times = PhaseTimes(NOW - 50, NOW - 40, NOW - 11)
    live = trial(TrialPhase.WARMING_UP, suggestion=suggestion, times=times, window=None)
    record = experiment(spec=spec(trial=TrialTiming(10.0, 30.0, 600.0)))
    window = written(decided(snapshot(record, (live,), both_arms(live))), TrialPhase.MEASURING).window
    assert window.seconds == 60.0
    assert Decimal(1)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("http_requests_total", "no $selector"),
        ("rate(http_requests_total{$selector}[5m])", "only a vector selector"),
        ("http_requests_total{$selector} offset 5m", "offset"),
        ("http_requests_total{$selector", "not PromQL"),
    ],
)
def test_a_query_that_cannot_be_bounded_is_never_sent(query: str, words: str) -> None:
    sli = replace(spec().slis[0], query=RatioQuery((query,), ("http_requests_total{$selector}",)))
    fresh = ExperimentState().with_condition(ConditionType.TARGET_LOCKED, True, "Acquired", "", NOW, 1)
    decision = decided(snapshot(experiment(fresh, spec=spec(slis=(sli,)))))
    condition = decision.state.condition(ConditionType.STALLED)
    assert decision.inquiries == ()
    assert condition.reason == "InvalidQuery"
    assert words in condition.message
    assert "spec.slis[errors].ratio.bad" in condition.message


def test_safety_is_asked_for_the_load_that_pods_get_once_the_arms_are_gone() -> None:
    done = trial(TrialPhase.SUCCEEDED, finalized=False, load=(Load(Arm.CANARY, 100.0), Load(Arm.CONTROL, 110.0)))
    done = replace(done, measurements=measured(done, 5))
    state = running()
    assert state.target is not None
    study = build_study(spec(), target(), state.target, (done,), NOW)
    assert study.peak_load == pytest.approx(110.0 * 22 / 20)


def test_arms_that_the_safety_loop_takes_away_are_nobody_elses_fault() -> None:
    live = trial(TrialPhase.MEASURING)
    decision = decided(snapshot(None, (live,), (), withdrawing=frozenset({live.uid})))
    assert kinds(decision) == []
    assert "safety monitor" in decision.state.message
