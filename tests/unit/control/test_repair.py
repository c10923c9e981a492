"""An Experiment whose baseline breaks a bound, and that is to repair it: its end, its caps, its words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.control.builders import (
    BASELINE,
    CHEAPER,
    condition,
    decided,
    ended,
    experiment,
    kinds,
    measured,
    proposal,
    running,
    snapshot,
    spec,
    study,
    suggestion,
)

from trimtab.control.actions import Decision
from trimtab.control.snapshot import AskProposal, AskRecommendation
from trimtab.domain.space import Assignment
from trimtab.domain.spec import ExperimentSpec, Verification
from trimtab.domain.state import ConditionType, ExperimentPhase, TargetRecord
from trimtab.domain.study import Hold, HoldReason, Recommended
from trimtab.domain.trial import Purpose, Trial, TrialPhase

SMALL, LARGE = CHEAPER, BASELINE  # here the target runs the smaller one


def repairing() -> ExperimentSpec:
    return spec(search=replace(spec().search, repair=True), verification=Verification(60.0, 0))


def pair(canary: float, control: float) -> Trial:
    """So many bad events of 5,000 in each arm; the bound is 1 %."""
    made = ended(TrialPhase.SUCCEEDED, suggestion=suggestion(assignment=LARGE))
    return replace(made, measurements=(measured(made, canary)[0], measured(made, control)[1]))


def finished(done: Trial, answer: Recommended, about: ExperimentSpec) -> Decision:
    """What follows when the search is over and this is recommended."""
    state = running(target=TargetRecord("target-uid", "hash-1", SMALL), trials_created=1)
    seen = snapshot(experiment(state, spec=about), (done,))
    (ask,) = decided(seen).inquiries
    assert isinstance(ask, AskProposal)
    answers = {ask: proposal(Hold(HoldReason.CONVERGED, "nothing left")), AskRecommendation(ask.study): answer}
    return decided(replace(seen, answers={**seen.answers, **answers}))


def keep(assignment: Assignment) -> Recommended:
    return Recommended(assignment, True, 0.0, (), "keep the baseline: none of 2 holds every bound")


def test_what_costs_more_and_keeps_the_bound_says_so() -> None:
    decision = finished(pair(10, 150), Recommended(LARGE, False, -1.0, (), "best"), repairing())
    assert decision.state.phase is ExperimentPhase.COMPLETED
    assert decision.state.recommendation is not None
    assert decision.state.recommendation.saving == pytest.approx(-1.0)
    assert decision.state.message == (
        "cpu=2 memory=2Gi costs 100.0 % more, and keeps errors, which the baseline breaks ($0.680 -> $1.360 per hour), "
        "NOT verified; best"
    )


def test_a_baseline_that_breaks_a_bound_is_never_the_answer() -> None:
    decision = finished(pair(150, 150), keep(SMALL), repairing())
    assert decision.state.phase is ExperimentPhase.STOPPED
    assert decision.state.recommendation is None
    assert "PublishRecommendation" not in kinds(decision)
    found = condition(decision, ConditionType.STALLED)
    assert (found.reason, found.message) == (
        "BaselineInfeasible",
        "the baseline breaks errors; none of 2 holds every bound; raise the max of parameters, widen the bound, or "
        "repair the service",
    )


def test_a_baseline_that_holds_is_kept_as_ever() -> None:
    for done, about in ((pair(10, 12), repairing()), (pair(10, 150), spec())):
        decision = finished(done, keep(SMALL), about)
        assert decision.state.recommendation is not None
        assert decision.state.recommendation.keep_baseline


def test_the_baselines_own_breaches_are_foreseen() -> None:
    baseline = suggestion(purpose=Purpose.BASELINE, assignment=SMALL)
    tried = tuple(ended(TrialPhase.INFEASIBLE, i, "BoundBroken") for i in range(6))
    first = tuple(ended(TrialPhase.INFEASIBLE, 6 + i, "BoundBroken", suggestion=baseline) for i in range(2))
    trials = (*tried, *first)
    state = running(trials_created=8)
    assert decided(snapshot(experiment(state), trials)).state.phase is ExperimentPhase.STOPPED
    assert decided(snapshot(experiment(state, spec=repairing()), trials)).state.phase is ExperimentPhase.RUNNING


def test_the_optimizer_is_told() -> None:
    (ask,) = decided(snapshot(experiment(spec=repairing()))).inquiries
    assert ask == AskProposal(study(search=replace(spec().search, repair=True)))
