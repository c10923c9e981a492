"""No trial is live: may one start, which one, or is the search over?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.control.builders import (
    condition,
    created,
    decided,
    ended,
    experiment,
    kinds,
    proposal,
    running,
    snapshot,
    spec,
    study,
    suggestion,
)

from trimtab.control.snapshot import (
    AskBudgets,
    AskProposal,
    AskRecommendation,
)
from trimtab.domain.spec import Mode
from trimtab.domain.state import ConditionType, ExperimentPhase
from trimtab.domain.study import Hold, HoldReason
from trimtab.domain.trial import TrialPhase


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


def test_infrastructure_failures_back_off() -> None:
    failed = ended(TrialPhase.INFRA_FAILED, 0, "FailedCreate")
    decision = decided(snapshot(experiment(running(trials_created=1)), (failed,)))
    assert decision.requeue_after == pytest.approx(4.0)
    assert "retrying" in decision.state.message
