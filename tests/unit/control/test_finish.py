"""The end of an Experiment: verified by fresh trials, or the baseline is kept."""

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
    condition,
    created,
    decided,
    experiment,
    kinds,
    proposal,
    running,
    snapshot,
    study,
    verified,
)

from trimtab.control.snapshot import (
    AskProposal,
    AskRecommendation,
)
from trimtab.domain.state import ConditionType, ExperimentPhase
from trimtab.domain.study import Hold, HoldReason, Recommended
from trimtab.domain.trial import Outcome, PhaseTimes, Purpose, TrialPhase


def test_a_recommendation_is_verified_by_fresh_trials() -> None:
    told = proposal(Hold(HoldReason.CONVERGED, "nothing left"))
    chosen = Recommended(CHEAPER, False, 0.4, (), "best")
    answers = {AskProposal(study()): told, AskRecommendation(study()): chosen}
    decision = decided(snapshot(answers=answers))
    new = created(decision)
    assert new.suggestion.purpose is Purpose.VERIFICATION
    assert decision.state.phase is ExperimentPhase.VERIFYING
    assert decision.state.candidate == CHEAPER


def test_verified_evidence_completes_the_experiment() -> None:
    trials = verified(10)
    state = running(candidate=CHEAPER, phase=ExperimentPhase.VERIFYING, trials_created=2)
    chosen = Recommended(CHEAPER, False, 0.4, (), "best")
    decision = decided(snapshot(experiment(state), trials, answers={AskRecommendation(study(trials)): chosen}))
    assert decision.state.phase is ExperimentPhase.COMPLETED
    assert decision.state.recommendation.verified
    assert decision.state.message == "cpu=1 memory=1Gi saves 50.0 % ($1.360 -> $0.680 per hour); best"
    (sli,) = decision.state.recommendation.slis
    assert (sli.sli, sli.verified.value, sli.predicted) == ("errors", pytest.approx(0.002), None)
    assert decision.state.is_true(ConditionType.RECOMMENDATION_READY)
    assert kinds(decision) == ["PublishRecommendation"]
    published = decision.actions[0]
    assert published.recommendation == decision.state.recommendation
    assert (published.target, [s.request for s in published.changes.resources]) == ("web", [Decimal(1), GIB])


def test_a_candidate_whose_fresh_evidence_does_not_clear_the_bound_is_excluded() -> None:
    trials = verified(48)  # 0.96 % against a bound of 1 %: not clear
    state = running(candidate=CHEAPER, phase=ExperimentPhase.VERIFYING, trials_created=2)
    decision = decided(snapshot(experiment(state), trials))
    ask = decision.inquiries[0]
    assert isinstance(ask, AskRecommendation)
    assert ask.study.excluded == (CHEAPER,)


def test_what_could_not_be_verified_is_not_recommended() -> None:
    times = PhaseTimes(NOW - 900, finished=NOW - 600)
    fresh = verified(10)[0]
    outcome = Outcome(TrialPhase.INCONCLUSIVE, "NoData", "no traffic")
    changes: dict[str, Any] = {"phase": TrialPhase.INCONCLUSIVE, "outcome": outcome, "times": times, "measurements": ()}
    trials = tuple(replace(fresh, index=i, uid=f"trial-{i}", name=f"web-{i}", **changes) for i in range(3))
    state = running(candidate=CHEAPER, phase=ExperimentPhase.VERIFYING, trials_created=3)
    chosen = Recommended(CHEAPER, False, 0.4, (), "best")
    decision = decided(snapshot(experiment(state), trials, answers={AskRecommendation(study(trials)): chosen}))
    assert decision.state.phase is ExperimentPhase.COMPLETED
    assert decision.state.recommendation.keep_baseline
    assert decision.state.recommendation.assignment == BASELINE
    assert "could not be verified, 3 fresh trials were inconclusive" in decision.state.message


def test_keep_the_baseline_is_an_answer() -> None:
    told = proposal(Hold(HoldReason.NO_SAFE_POINT, "none"))
    keep = Recommended(BASELINE, True, 0.0, (), "keep the baseline: nothing cheaper is safe")
    answers = {AskProposal(study()): told, AskRecommendation(study()): keep}
    decision = decided(snapshot(answers=answers))
    assert decision.state.recommendation.keep_baseline
    assert decision.state.message == "keep the baseline: nothing cheaper is safe ($1.360 per hour)"
    assert condition(decision, ConditionType.RECOMMENDATION_READY).reason == "KeepBaseline"
