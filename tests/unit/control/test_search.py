"""No trial is live: may one start, which one, or is the search over?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.control.builders import (
    NOW,
    budgets,
    condition,
    created,
    decided,
    ended,
    events,
    experiment,
    kinds,
    proposal,
    running,
    snapshot,
    spec,
    study,
    suggestion,
)

from trimtab.control.actions import Decision
from trimtab.control.snapshot import (
    AskBudgets,
    AskEarlier,
    AskLoads,
    AskPresent,
    AskProposal,
    AskRecommendation,
    EarlierTrials,
    LoadHistory,
    LockView,
    PresentLoad,
    Snapshot,
)
from trimtab.domain.kube import TargetMissing
from trimtab.domain.measurement import Arm
from trimtab.domain.spec import Mode, WarmStart
from trimtab.domain.state import BudgetState, ConditionType, ExperimentPhase, ExperimentState
from trimtab.domain.study import Hold, HoldReason, NoAnswer
from trimtab.domain.trial import ASKED_FOR, Load, Purpose, TrialPhase


def test_budgets_are_read_before_a_trial_may_start() -> None:
    seen = snapshot()
    without = replace(seen, answers={})
    assert decided(without).inquiries == (AskBudgets(),)


def test_then_the_designer_is_asked() -> None:
    decision = decided(snapshot())
    assert decision.inquiries == (AskProposal(study()),)


def test_a_suggestion_is_written_ahead_of_any_effect() -> None:
    told = proposal(suggestion())
    answers = {AskProposal(study()): told}
    decision = decided(snapshot(experiment(finalized=False), answers=answers))
    assert kinds(decision) == ["HoldExperiment", "CreateTrial"]
    new = created(decision)
    assert new.index == 0
    assert decision.state.trials_created == 1


def test_the_index_never_repeats_even_when_trials_were_deleted() -> None:
    state = running(trials_created=4)
    told = proposal(suggestion())
    decision = decided(snapshot(experiment(state), answers={AskProposal(study()): told}))
    new = created(decision)
    assert new.index == 4
    assert condition(decision, ConditionType.READY).reason == "TrialsMissing"


def test_observe_mode_never_starts_a_trial() -> None:
    decision = decided(snapshot(experiment(spec=spec(mode=Mode.OBSERVE), finalized=False)))
    assert kinds(decision) == []
    assert decision.inquiries == ()


def test_a_converged_search_asks_for_the_recommendation() -> None:
    told = proposal(Hold(HoldReason.CONVERGED, "nothing left"))
    decision = decided(snapshot(answers={AskProposal(study()): told}))
    assert isinstance(decision.inquiries[0], AskRecommendation)


def test_too_many_infeasible_trials_stop_the_experiment() -> None:
    bad = tuple(ended(TrialPhase.INFEASIBLE, i, "AbortRule") for i in range(8))
    decision = decided(snapshot(experiment(running(trials_created=8)), bad))
    assert decision.state.phase is ExperimentPhase.STOPPED
    assert condition(decision, ConditionType.STALLED).reason == "MaxInfeasible"


UNASKED = ("ControlFailed", "ControlFailedToo", "ArmEdited", "ArmDeleted", "ArmNameTaken", "ExperimentCapReached")
IN_VAIN = (
    (TrialPhase.INFRA_FAILED, "FailedCreate"),
    (TrialPhase.INCONCLUSIVE, "NoData"),
    *((TrialPhase.ABORTED, reason) for reason in (*UNASKED, "BudgetBurning")),
)


@pytest.mark.parametrize(("phase", "reason"), [*IN_VAIN, (TrialPhase.STALE, "TargetChanged")])
def test_after_a_trial_in_vain_comes_a_pause(phase: TrialPhase, reason: str) -> None:
    """Without it a controller that edits Deployments would have arms made and deleted every few seconds."""
    failed = ended(phase, 0, reason)
    decision = decided(snapshot(experiment(running(trials_created=1)), (failed,)))
    assert decision.requeue_after == pytest.approx(4.0)
    assert decision.state.retry_at == NOW + 4
    assert f"trial 0 was {phase} ({reason})" in decision.state.message


def test_the_pause_doubles_and_has_an_end() -> None:
    for number, pause in ((1, 5.0), (2, 10.0), (4, 40.0), (7, 300.0)):
        failed = tuple(ended(TrialPhase.ABORTED, i, "ArmEdited") for i in range(number))
        assert decided(snapshot(None, failed)).requeue_after == pytest.approx(pause - 1)


def test_a_clock_that_was_set_back_does_not_stretch_the_pause() -> None:
    failed = ended(TrialPhase.INFRA_FAILED, 0, "FailedCreate")
    ahead = replace(failed, times=replace(failed.times, finished=NOW + 7200))
    decision = decided(snapshot(None, (ahead,)))
    assert decision.requeue_after == pytest.approx(5.0)
    state = replace(decision.state, budgets=())
    assert decided(snapshot(experiment(state), (ahead,), now=NOW + 2)).requeue_after == pytest.approx(3.0)
    assert isinstance(decided(snapshot(experiment(state), (ahead,), now=NOW + 5)).inquiries[0], AskProposal)


@pytest.mark.parametrize("reason", sorted(ASKED_FOR))
def test_what_people_asked_for_neither_pauses_nor_counts(reason: str) -> None:
    asked = tuple(ended(TrialPhase.ABORTED, i, reason) for i in range(20))
    assert isinstance(decided(snapshot(None, asked)).inquiries[0], AskProposal)
    failed = ended(TrialPhase.INFRA_FAILED, 0, "FailedCreate")
    skipped = ended(TrialPhase.ABORTED, 1, reason)
    assert "trial 0 was InfraFailed" in decided(snapshot(None, (failed, skipped))).state.message


@pytest.mark.parametrize(("phase", "reason"), IN_VAIN)
def test_trials_in_vain_are_capped(phase: TrialPhase, reason: str) -> None:
    failed = tuple(ended(phase, i, reason) for i in range(8))
    decision = decided(snapshot(experiment(running(trials_created=8)), failed))
    assert decision.state.phase is ExperimentPhase.STOPPED
    assert condition(decision, ConditionType.STALLED).reason == "MaxInconclusive"
    assert f"last: {reason}: as told" in decision.state.message


def test_a_baseline_that_cannot_be_read_ends_the_experiment_and_recommends_nothing() -> None:
    """Asked for ever, the same question has the same answer: nothing that a person could correct would change it."""
    baseline = suggestion(purpose=Purpose.BASELINE)
    blind = ended(TrialPhase.INCONCLUSIVE, 0, "TelemetryBlind", suggestion=baseline)
    unread = ended(TrialPhase.INCONCLUSIVE, 1, "NoData", suggestion=baseline)
    lost = ended(TrialPhase.INFRA_FAILED, 2, "FailedCreate", suggestion=baseline)
    trials = tuple(replace(t, times=replace(t.times, finished=NOW - 900)) for t in (blind, unread, lost))
    hold = Hold(HoldReason.BASELINE_UNREADABLE, "5 baseline trials ended without a usable reading of every bound")
    decision = decided(
        snapshot(experiment(running(trials_created=3)), trials, answers={AskProposal(study(trials)): proposal(hold)})
    )
    assert decision.state.phase is ExperimentPhase.STOPPED
    assert decision.state.recommendation is None
    found = condition(decision, ConditionType.STALLED)
    assert found.reason == "BaselineUnreadable"
    assert "last: NoData: as told; TelemetryBlind: as told; repair" in found.message
    assert "FailedCreate" not in found.message
    assert events(decision) == ["ExperimentStopped"]


CLOSED = {AskBudgets(): budgets(bad=9900.0)}


def test_a_closed_gate_holds_trials_and_not_the_end() -> None:
    bad = tuple(ended(TrialPhase.INFEASIBLE, i, "AbortRule") for i in range(8))
    assert decided(snapshot(None, bad, answers=CLOSED)).state.phase is ExperimentPhase.STOPPED
    waiting = decided(snapshot(answers=CLOSED))
    assert waiting.inquiries == ()
    assert waiting.state.message.startswith("waiting: availability")


def test_after_max_duration_the_search_is_over_though_the_gate_is_closed() -> None:
    state = running(started=NOW - 1001)
    record = experiment(state, spec=spec(stopping=replace(spec().stopping, max_duration=1000.0)))
    assert isinstance(decided(snapshot(record, answers=CLOSED)).inquiries[0], AskRecommendation)


def waiting_worlds() -> dict[str, Snapshot]:
    burning = budgets(bad=1000.0)
    recovering = BudgetState("availability", 0.5, 0.1, 0.0, 0.0, firing="budget burned within 6h", clear_since=NOW - 60)
    return {
        "closed gate": snapshot(answers=CLOSED),
        "gate that clears": snapshot(experiment(running(budgets=(recovering,))), answers={AskBudgets(): burning}),
        "backoff": snapshot(None, (ended(TrialPhase.INFRA_FAILED, 0, "FailedCreate"),)),
        "observing": snapshot(experiment(spec=spec(mode=Mode.OBSERVE))),
        "blocked": snapshot(lock=LockView(False, "shop/other")),
        "no target": snapshot(target=TargetMissing("web"), surroundings=None),
        "paused": snapshot(namespace_paused="a drill"),
        "optimizer in trouble": snapshot(
            experiment(decided(snapshot(answers={AskProposal(study()): proposal(NoAnswer("died"))})).state)
        ),
    }


@pytest.mark.parametrize("name", list(waiting_worlds()))
def test_while_nothing_happens_nothing_is_written(name: str) -> None:
    """The passing of time alone changes no status: each write wakes a pass, and that would go on for ever."""
    seen = waiting_worlds()[name]

    def after(state: ExperimentState, seconds: float) -> Decision:
        return decided(replace(seen, now=NOW + seconds, experiment=replace(seen.experiment, state=state)))

    settled = after(decided(seen).state, 0.0)
    for later in (1.0, 2.0):
        again = after(settled.state, later)
        assert again.state == settled.state
        assert again.requeue_after is None or again.requeue_after > 0


def warm(**changes: str) -> Snapshot:
    """An Experiment with a warm start, and the answers that it has so far."""
    given = WarmStart("old", "", 1e9)
    return snapshot(experiment(spec=spec(warm_start=replace(given, **changes))))  # type: ignore[arg-type]


def test_what_earlier_trials_taught_is_read_before_the_designer_is_asked() -> None:
    seen = warm()
    first = decided(seen)
    assert first.inquiries == (AskEarlier(),)
    assert first.state.message == "reading what earlier trials taught"
    taught = (ended(TrialPhase.SUCCEEDED, 3), ended(TrialPhase.ABORTED, 4))
    (ask,) = decided(replace(seen, answers={**seen.answers, AskEarlier(): EarlierTrials(taught)})).inquiries
    assert isinstance(ask, AskProposal)
    assert [o.index for o in ask.study.hints] == [3]
    assert ask.study.outcomes == ()


def test_a_warm_start_that_cannot_be_read_waits_and_says_what_to_do() -> None:
    seen = warm()
    problem = "ConfigMap shop/old not found; create it, or remove spec.warmStart"
    decision = decided(replace(seen, answers={**seen.answers, AskEarlier(): EarlierTrials(problem=problem)}))
    assert decision.inquiries == ()
    assert decision.state.message == f"waiting: spec.warmStart: {problem}"
    assert kinds(decision) == ["ReleaseExperiment"]  # there is nothing to undo while it waits


def test_given_assignments_alone_need_nothing_to_be_read() -> None:
    (ask,) = decided(warm(experiment="")).inquiries
    assert isinstance(ask, AskProposal)


def with_loads(**changes: object) -> Snapshot:
    """One baseline trial is over that saw 50 requests per second and pod."""
    done = replace(ended(TrialPhase.SUCCEEDED, 0), load=(Load(Arm.CANARY, 50.0), Load(Arm.CONTROL, 50.0)))
    return snapshot(experiment(running(trials_created=1), spec=spec(**changes)), (done,))


def test_what_load_is_to_come_is_asked_once_a_trial_told_one() -> None:
    seen = with_loads()
    assert decided(seen).inquiries == (AskLoads(),)
    history = LoadHistory(1000.0, ((1000.0, 1100.0), (1000.0, 1040.0)))
    (ask,) = decided(replace(seen, answers={**seen.answers, AskLoads(): history})).inquiries
    assert isinstance(ask, AskProposal)
    assert ask.study.expected_load == 55.0  # of each of 20 pods
    (blind,) = decided(replace(seen, answers={**seen.answers, AskLoads(): LoadHistory()})).inquiries
    assert isinstance(blind, AskProposal)
    assert blind.study.expected_load is None


def test_the_peak_of_the_days_before_is_what_a_recommendation_must_hold_at() -> None:
    seen = with_loads()
    history = LoadHistory(1000.0, highest=(1500.0, 1600.0, 1000.0))
    (ask,) = decided(replace(seen, answers={**seen.answers, AskLoads(): history})).inquiries
    assert isinstance(ask, AskProposal)
    assert ask.study.usual_peak == 75.0  # of each of 20 pods


@pytest.mark.parametrize(("least", "waits"), [(1260.0, True), (1240.0, False), (None, False)])
def test_no_trial_starts_into_a_crowd(least: float | None, waits: bool) -> None:
    done = with_loads().trials[0]
    done = replace(done, suggestion=replace(done.suggestion, usual_peak=50.0))
    seen = snapshot(experiment(running(trials_created=1)), (done,))
    assert decided(seen).inquiries == (AskPresent(),)
    decision = decided(replace(seen, answers={**seen.answers, AskPresent(): PresentLoad(least, least)}))
    assert (decision.inquiries == ()) is waits
    if waits:
        assert (
            decision.state.message
            == "waiting: the load is over 1.25 times the peak of the days before, 1,000 requests/s"
        )


def test_a_designer_without_a_model_has_no_use_for_it() -> None:
    (ask,) = decided(with_loads(search=replace(spec().search, designer="Sobol"))).inquiries
    assert isinstance(ask, AskProposal)
