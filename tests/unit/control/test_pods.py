"""Where an autoscaler decides how many pods there are: counted pods become cost, load context and a saving."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from tests.unit.control.builders import (
    BASELINE,
    CHEAPER,
    NOW,
    ROUTE,
    condition,
    decided,
    experiment,
    measured,
    proposal,
    running,
    snapshot,
    spec,
    target,
    trial,
    verified,
)
from tests.unit.control.scaled import count

from trimtab.control.arms import cost_model
from trimtab.control.pods import cost_of, pods_ratio
from trimtab.control.saving import saving_of
from trimtab.control.snapshot import AskProposal, AskRecommendation
from trimtab.control.study import build_study
from trimtab.control.summary import incumbent
from trimtab.domain.cost import CostModel
from trimtab.domain.measurement import Arm, Sample
from trimtab.domain.space import AutoscalerField, Numeric, Parameter, Resource, Scale, SearchSpace
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.state import ConditionType, ExperimentPhase, ScaledBy, TargetRecord
from trimtab.domain.study import PODS, Hold, HoldReason, Recommended
from trimtab.domain.trial import Load, Trial, TrialPhase

BY = ScaledBy("web", 20, Resource.CPU, "", 0.6)
RECORD = TargetRecord("target-uid", "hash-1", BASELINE, BY)
SPEC = spec(route=ROUTE)
COST = cost_model(SPEC, target(), RECORD)
PRICE = COST.pod_hourly(BASELINE)


def seen(canary: float | None, control: float | None = 1.0, index: int = 0, error: float = 0.02) -> Trial:
    """A trial of half the CPU and memory, whose arms had so many pods on average; 5 % of 400 requests a second each."""
    made = trial(TrialPhase.SUCCEEDED, index, finalized=False)
    made = replace(made, suggestion=replace(made.suggestion, assignment=CHEAPER), measurements=measured(made, 5))
    loads = tuple(
        Load(arm, 20.0 / pods, None, pods, error) if pods is not None else Load(arm, 20.0)
        for arm, pods in ((Arm.CANARY, canary), (Arm.CONTROL, control))
    )
    return replace(made, load=loads)


def least(pods: float) -> float:
    """The standard error of so many pods that stood still: whole ones, and kept within a tolerance."""
    return float((1 / 12 + (0.03 * pods) ** 2) ** 0.5)


def test_half_of_the_request_with_the_same_target_is_twice_as_many_pods() -> None:
    assert (COST.pods(BASELINE), COST.pods(CHEAPER)) == (pytest.approx(20.0), pytest.approx(40.0))
    assert COST.hourly(CHEAPER) == pytest.approx(40 * COST.pod_hourly(CHEAPER))


def test_a_target_that_is_tuned_moves_the_scale_point() -> None:
    tuned = Parameter(
        "busy", AutoscalerField("CPUUtilization"), Numeric(Decimal(30), Decimal(90), Decimal(5), Scale.LOGIT)
    )
    space = SearchSpace((*SPEC.space.parameters, tuned))
    at_sixty = BASELINE.of({**BASELINE, "busy": Decimal(60)})
    cost = cost_model(replace(SPEC, space=space), target(), replace(RECORD, baseline=at_sixty))
    assert cost.pods(at_sixty.replace("busy", Decimal(80))) == pytest.approx(15.0)


def test_what_it_goes_by_may_be_unknown() -> None:
    cost = cost_model(SPEC, target(), replace(RECORD, scaled=ScaledBy("web", 20)))
    assert cost.pods(CHEAPER) == 20.0
    assert not cost.known


def test_counted_pods_are_scaled_to_the_whole_service() -> None:
    found = pods_ratio(COST, BASELINE, seen(2.0, 1.1), Arm.CONTROL)
    assert found == Sample(pytest.approx(1.1), pytest.approx(least(1.1)), 1.0)
    assert pods_ratio(COST, BASELINE, seen(2.0, None), Arm.CONTROL) is None


def test_the_cost_of_an_arm_is_what_was_counted() -> None:
    value, error = cost_of(COST, BASELINE, (seen(2.0, 1.2),), Arm.CONTROL) or (0.0, 0.0)
    assert value == pytest.approx(1.2 * 20 * PRICE)
    assert error == pytest.approx(least(1.2) * 20 * PRICE)


def test_trials_are_pooled_and_none_may_lack_its_pods() -> None:
    both = (seen(2.0, 1.0, error=0.5), seen(2.0, 1.2, 1, error=0.5))
    value, error = cost_of(COST, BASELINE, both, Arm.CONTROL) or (0.0, 0.0)
    assert value == pytest.approx(1.1 * 20 * PRICE)
    assert error == pytest.approx(0.5 / 2**0.5 * 20 * PRICE)
    assert cost_of(COST, BASELINE, (seen(2.0, 1.0), seen(2.0, None, 1)), Arm.CONTROL) is None
    assert cost_of(COST, BASELINE, (), Arm.CONTROL) is None


def test_pods_that_never_moved_are_still_whole_ones() -> None:
    still, moved = (cost_of(COST, BASELINE, (seen(20.0, 10.0, error=e),), Arm.CONTROL) for e in (0.0, 0.8))
    assert still is not None
    assert moved is not None
    assert still[1] == pytest.approx(0.0416 * still[0], rel=0.01)
    assert moved[1] == pytest.approx(0.08 * moved[0])


def test_a_saving_is_that_of_canary_and_control_with_an_interval() -> None:
    """Half of everything: as many dollars if twice the pods came, half of them if the pods stayed as they were."""
    same = saving_of(COST, BASELINE, CHEAPER, (seen(2.0),))
    assert same.fraction == pytest.approx(0.0)
    saved = saving_of(COST, BASELINE, CHEAPER, (seen(1.0),))
    assert saved.fraction == pytest.approx(0.5)
    assert saved.low < 0.5 < saved.high
    assert saved.high - saved.low == pytest.approx(2 * 1.96 * 0.5 * 2**0.5 * least(1.0), rel=0.01)
    assert (saved.before, saved.after) == (pytest.approx(20 * PRICE), pytest.approx(10 * PRICE))


def test_what_was_not_counted_is_what_the_autoscaler_aims_at() -> None:
    found = saving_of(COST, BASELINE, CHEAPER, ())
    assert (found.fraction, found.low, found.high) == (pytest.approx(0.0),) * 3


def test_a_known_cost_has_no_interval_whatever_was_counted() -> None:
    known = cost_model(SPEC, target())
    found = saving_of(known, BASELINE, CHEAPER, (seen(2.0),))
    assert (found.fraction, found.low, found.high) == (0.5, 0.5, 0.5)


def test_an_autoscaler_stands_still_up_to_its_tolerance() -> None:
    study = build_study(SPEC, target(), RECORD, (seen(2.0), seen(2.0, 1.0, 1)), NOW)
    assert study.peak_load == pytest.approx(1.05 * 1.1 * 400.0)


def test_the_study_learns_pods_and_how_hard_they_are_driven() -> None:
    study = build_study(SPEC, target(), RECORD, (seen(1.5),), NOW)
    canary, control = study.outcomes[0].canary, study.outcomes[0].control
    assert control is not None
    assert (canary.load, control.load) == (
        pytest.approx(400.0 / 0.75),
        pytest.approx(400.0),
    )  # fewer pods, driven harder
    assert study.peak_load == pytest.approx(400.0 * (1 + 1 / 0.75) / 2)  # more than 1.05 x 1.1 x the control's
    assert [r.sample.value for r in canary.readings if r.constraint == PODS] == [pytest.approx(0.75)]
    assert [r for r in control.readings if r.constraint == PODS] == []
    assert [t.name for t in study.measured] == [PODS]
    assert study.objectives == SPEC.objectives


def test_a_fixed_number_of_pods_is_studied_as_ever() -> None:
    study = build_study(SPEC, target(), replace(RECORD, scaled=None), (seen(1.5),), NOW)
    assert (study.measured, study.objectives) == ((), ())
    assert study.outcomes[0].canary.load == pytest.approx(20.0 / 1.5)


def test_replicas_that_are_tuned_share_the_load_of_the_whole_service() -> None:
    space = SearchSpace((*SPEC.space.parameters, count()))
    baseline = BASELINE.of({**BASELINE, "replicas": Decimal(20)})
    ten = seen(None).suggestion.assignment.of({**CHEAPER, "replicas": Decimal(10)})
    made = seen(None, None)
    made = replace(
        made,
        suggestion=replace(made.suggestion, assignment=ten),
        load=(Load(Arm.CANARY, 40.0), Load(Arm.CONTROL, 20.0)),
    )
    record = TargetRecord("target-uid", "hash-1", baseline)
    study = build_study(replace(SPEC, space=space), target(), record, (made,), NOW)
    assert study.outcomes[0].control is not None
    assert (study.outcomes[0].canary.load, study.outcomes[0].control.load) == (400.0, 400.0)
    assert (study.peak_load, study.measured) == (400.0, ())
    assert study.cost.hourly(ten) == pytest.approx(study.cost.hourly(baseline) / 4)


def best(spec_: ExperimentSpec, cost: CostModel, *trials: Trial) -> str:
    found = incumbent(spec_, cost, trials, "hash-1", BASELINE)
    return "" if found is None else found.name


def test_the_incumbent_is_what_saved_most_by_its_own_control() -> None:
    dear, cheap = seen(1.9, 1.0, 0), seen(1.4, 1.0, 1)
    assert best(SPEC, COST, dear, cheap) == cheap.name
    assert best(SPEC, COST, cheap, dear) == cheap.name


@pytest.mark.parametrize(("pods", "recommended"), [(1.0, True), (1.99, False)])
def test_fresh_trials_must_show_the_saving(pods: float, recommended: bool) -> None:
    """Bounds that hold are not enough where it is not known that anything is saved."""
    fresh = tuple(replace(t, load=seen(pods).load) for t in verified(10))
    state = running(candidate=CHEAPER, phase=ExperimentPhase.VERIFYING, trials_created=2, target=RECORD)
    record = experiment(state, spec=SPEC)
    study = build_study(SPEC, target(), RECORD, fresh, state.started or 0.0)
    held = build_study(SPEC, target(), RECORD, fresh, state.started or 0.0, excluded=(CHEAPER,))
    keep = Recommended(BASELINE, True, 0.0, (), "keep the baseline: nothing saves")
    answers = {AskProposal(each): proposal(Hold(HoldReason.CONVERGED, "nothing left")) for each in (study, held)} | {
        AskRecommendation(study): Recommended(CHEAPER, False, 0.4, (), "best"),
        AskRecommendation(held): keep,
    }
    decision = decided(snapshot(record, fresh, answers=answers))
    answer = decision.state.recommendation
    assert answer is not None
    assert answer.keep_baseline is not recommended
    assert condition(decision, ConditionType.RECOMMENDATION_READY).reason == (
        "Verified" if recommended else "KeepBaseline"
    )
    if recommended:
        assert answer.saving_low < answer.saving < answer.saving_high
