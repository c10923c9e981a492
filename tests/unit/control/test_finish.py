"""The end of an Experiment: verified by fresh trials, or the baseline is kept."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from tests.unit.control import builders, scaled
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

from trimtab.control.actions import Decision, PublishRecommendation
from trimtab.control.scaling import context_hash, scaled_by
from trimtab.control.snapshot import (
    AskProposal,
    AskRecommendation,
)
from trimtab.domain.autoscaler import AutoscalerView
from trimtab.domain.spec import Verification
from trimtab.domain.state import ConditionType, ExperimentPhase, ExperimentState, TargetRecord
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


class TestAutoscaler:
    """A utilization target and a request are recommended: where pods are added, and when it is seen on the target."""

    SPEC = scaled.spec(
        scaled.UTILIZATION,
        scaled.cores(),
        budgets=(),
        verification=Verification(900.0, 0),
        stopping=replace(builders.spec().stopping, max_trials=0),
    )
    TODAY, CHOSEN = scaled.assigned(target=70, cpu=2), scaled.assigned(target=85, cpu=1)

    def decided(self, state: ExperimentState, view: AutoscalerView = scaled.SCALER, **changes: Any) -> Decision:
        """What is decided, with the model's answer if it is asked."""
        around, target = scaled.around(view), scaled.target(**changes)
        context = context_hash(self.SPEC, scaled.target(), scaled.around())
        record = TargetRecord("target-uid", context, self.TODAY, scaled_by(self.SPEC, scaled.target(), scaled.around()))
        held = experiment(replace(state, target=record, spec_digest=self.SPEC.digest), spec=self.SPEC)
        asked = decided(snapshot(held, target=target, surroundings=around))
        asks = [ask for ask in asked.inquiries if isinstance(ask, AskRecommendation)]
        answers = {ask: Recommended(self.CHOSEN, False, 0.4, (), "best") for ask in asks}
        return decided(snapshot(held, target=target, surroundings=around, answers=answers)) if asks else asked

    def test_it_says_where_pods_are_added_and_carries_the_change(self) -> None:
        decision = self.decided(running())
        assert decision.state.recommendation is not None
        words = "pods are added above 1.4 cores a pod (70 % of 2) -> 0.85 cores a pod (85 % of 1)"
        assert words in decision.state.recommendation.message
        published = decision.actions[0]
        assert isinstance(published, PublishRecommendation)
        assert [t.percent for t in published.scale.changes.targets] == [85]
        assert published.scale.autoscaler == scaled.SCALER

    def test_it_is_promoted_when_deployment_and_autoscaler_have_it(self) -> None:
        answer = self.decided(running()).state.recommendation
        done = running(phase=ExperimentPhase.COMPLETED, recommendation=answer, finished=NOW - 10)
        there = scaled.target().containers[0]
        one = replace(there, resources=replace(there.resources, cpu_request=Decimal(1), cpu_limit=Decimal(1)))
        new = replace(scaled.SCALER, metrics=(replace(scaled.CPU, utilization=85),))
        assert self.decided(done, new, containers=(one,)).state.is_true(ConditionType.PROMOTED)
        assert not self.decided(done, containers=(one,)).state.is_true(ConditionType.PROMOTED)
        assert not self.decided(done, new).state.is_true(ConditionType.PROMOTED)
