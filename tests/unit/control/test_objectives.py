"""Objectives other than the cost: what trials measured of them, and what is published. Figures are by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.control import builders
from tests.unit.control.builders import BASELINE, CHEAPER, decided, ended, running, snapshot, suggestion

from trimtab.control.arms import cost_model
from trimtab.control.objectives import changes, compare, improves
from trimtab.control.preflight import examine
from trimtab.control.snapshot import AskRecommendation
from trimtab.control.study import build_study
from trimtab.control.summary import incumbent
from trimtab.domain.measurement import Arm, Measurement, Sample
from trimtab.domain.spec import CostLimit, ExperimentSpec, Objective, ObjectiveTerm, QuantileQuery, Sli, SliKind
from trimtab.domain.state import ExperimentPhase, Interval, ObjectiveOutlook
from trimtab.domain.study import FrontMember, ObjectiveValue, Recommended, Study, measured_name
from trimtab.domain.trial import Purpose, Trial, TrialPhase

P95 = Sli("p95", SliKind.LATENCY, QuantileQuery(("http_request_duration_seconds",), 0.95, "s"), 100)
LATENCY = Objective("p95", False, (ObjectiveTerm(1.0, "p95"),))
COST = Objective("cost", False, (ObjectiveTerm(1.0),))
SUM = Objective("both", False, (ObjectiveTerm(1.0), ObjectiveTerm(10.0, "p95")))


def spec(*objectives: Objective, **changes: Any) -> ExperimentSpec:
    return builders.spec(objectives=objectives, slis=(*builders.spec().slis, P95), **changes)


def trial(index: int, canary: float, control: float, error: float = 0.004, **changes: Any) -> Trial:
    """A complete trial of CHEAPER; the p95 of both arms in seconds, with its standard error."""
    done = ended(TrialPhase.SUCCEEDED, index, suggestion=suggestion(), **changes)
    assert done.window is not None
    arms = ((Arm.CANARY, canary), (Arm.CONTROL, control))
    read = (Measurement("p95", arm, done.window, Sample(value, error, 5000.0)) for arm, value in arms)
    return replace(done, measurements=(*builders.measured(done, 5), *read))


def cost_of(wanted: ExperimentSpec) -> Any:
    return cost_model(wanted, builders.target())


def test_a_weighted_sum_of_both_arms_by_hand() -> None:
    """$ 1.36 and 0.68 per hour; 10 x 0.3 s and 10 x 0.28 s; standard errors of 10 x 0.004 s."""
    found = compare(SUM, cost_of(spec(SUM)), BASELINE, CHEAPER, (trial(0, 0.30, 0.28),))
    assert found is not None
    assert (found.canary, found.control) == (pytest.approx(3.68), pytest.approx(4.16))
    assert (found.canary_error, found.control_error) == (pytest.approx(0.04), pytest.approx(0.04))
    assert found.improvement == pytest.approx(0.48 / 4.16)
    assert found.sure  # 0.48 > 1.645 x 0.0566


@pytest.mark.parametrize(("canary", "sure"), [(0.29, True), (0.291, False), (0.31, False)])
def test_better_is_what_is_so_beyond_doubt(canary: float, sure: bool) -> None:
    """1.645 sqrt(2) 0.004 s = 0.0093 s: 10 ms better is sure, 9 ms is not."""
    wanted = spec(LATENCY)
    assert improves(wanted, cost_of(wanted), BASELINE, CHEAPER, (trial(0, canary, 0.30),)) is sure


def test_what_moves_both_arms_from_trial_to_trial_is_no_doubt() -> None:
    """Ten milliseconds better each time, while the hour moves both arms by a hundred."""
    wanted = spec(LATENCY)
    alike = trial(0, 0.29, 0.30), trial(1, 0.39, 0.40)
    assert improves(wanted, cost_of(wanted), BASELINE, CHEAPER, alike)
    apart = trial(0, 0.29, 0.40), trial(1, 0.39, 0.30)
    assert not improves(wanted, cost_of(wanted), BASELINE, CHEAPER, apart)
    assert not improves(wanted, cost_of(wanted), BASELINE, CHEAPER, (trial(0, 0.29, 0.299), trial(1, 0.391, 0.39)))


def test_two_trials_are_pooled_and_a_missing_reading_is_no_improvement() -> None:
    """Two trials halve the variance: 9 ms are sure at 1.645 x 0.004 s."""
    wanted, two = spec(LATENCY), (trial(0, 0.291, 0.30), trial(1, 0.291, 0.30))
    assert improves(wanted, cost_of(wanted), BASELINE, CHEAPER, two)
    blind = replace(two[1], measurements=builders.measured(two[1], 5))
    assert not improves(wanted, cost_of(wanted), BASELINE, CHEAPER, (two[0], blind))
    assert improves(spec(COST, LATENCY), cost_of(wanted), BASELINE, CHEAPER, (blind,))  # the cost is known


def test_more_is_better_where_it_is_maximized() -> None:
    most = replace(LATENCY, maximize=True)
    found = compare(most, cost_of(spec(most)), BASELINE, CHEAPER, (trial(0, 0.33, 0.30),))
    assert found is not None
    assert found.improvement == pytest.approx(0.1)


def test_the_incumbent_improved_most_on_its_own_control() -> None:
    """Trial 1 read the least, but its control did, too."""
    trials = (trial(0, 0.25, 0.30), trial(1, 0.20, 0.21), trial(2, 0.28, 0.30))
    hash_ = trials[0].environment.template_hash
    best = incumbent(spec(LATENCY), cost_of(spec(LATENCY)), trials, hash_, BASELINE)
    assert best is not None
    assert best.index == 0


# The question


def study(wanted: ExperimentSpec, trials: tuple[Trial, ...] = (), **changes: Any) -> Study:
    state = running()
    assert state.target is not None
    return replace(build_study(wanted, builders.target(), state.target, trials, state.started or 0.0), **changes)


def test_the_study_has_what_objectives_count_once_and_in_their_direction() -> None:
    wanted = spec(COST, SUM, cost_limits=(CostLimit("spend", 2.0), CostLimit("less", 1.5)))
    found = study(wanted, (trial(0, 0.30, 0.28),))
    assert found.objectives == (COST, SUM)
    assert [(t.name, t.kind, t.upper) for t in found.measured] == [("objective/p95", SliKind.LATENCY, True)]
    assert found.cost_limit == 1.5
    (outcome,) = found.outcomes
    read = [r.sample.value for r in outcome.canary.readings if r.constraint == measured_name("p95")]
    assert read == [0.30]
    assert outcome.control is not None
    assert [r.sample.value for r in outcome.control.readings if r.constraint == measured_name("p95")] == [0.28]
    less = ObjectiveTerm(-1.0, "p95")
    (target,) = study(spec(Objective("x", False, (less, ObjectiveTerm(1.0))))).measured
    assert not target.upper
    (target,) = study(spec(Objective("x", True, (less, ObjectiveTerm(-1.0))))).measured
    assert target.upper


def test_the_cost_alone_asks_as_ever() -> None:
    found = study(builders.spec(), (trial(0, 0.30, 0.28),))
    assert (found.objectives, found.measured, found.cost_limit) == ((), (), None)
    assert {r.constraint for r in found.outcomes[0].canary.readings} == {"errors"}
    assert study(spec(replace(COST, terms=(ObjectiveTerm(2.0), ObjectiveTerm(1.0))))).objectives == ()


# The answer


def verifying(wanted: ExperimentSpec, trials: tuple[Trial, ...], answer: Recommended | None = None) -> Any:
    state = running(candidate=CHEAPER, phase=ExperimentPhase.VERIFYING, trials_created=2)
    answers = {} if answer is None else {AskRecommendation(study(wanted, trials)): answer}
    return decided(snapshot(builders.experiment(state, spec=wanted), trials, answers=answers))


def fresh(canary: float, control: float, **changes: Any) -> tuple[Trial, ...]:
    verification = {"suggestion": suggestion(purpose=Purpose.VERIFICATION)}
    return tuple(replace(trial(i, canary, control, **changes), **verification) for i in (0, 1))


VALUE = ObjectiveValue("p95", 0.25, 0.005, 0.3, 0.16, 0.1, 0.2)


def test_a_verified_improvement_is_published_with_its_figures() -> None:
    trials = fresh(0.24, 0.281)
    chosen = Recommended(CHEAPER, False, 0.16, (), "best", (VALUE,))
    state = verifying(spec(LATENCY), trials, chosen).state
    assert state.phase is ExperimentPhase.COMPLETED
    assert state.message == "cpu=1 memory=1Gi: p95 281 ms -> 240 ms (-15 %); cost $1.360 -> $0.680 per hour; best"
    assert state.improvement == pytest.approx(0.041 / 0.281)
    assert state.saving == pytest.approx(0.5)
    (objective,) = state.recommendation.objectives
    half = 1.959963984540054 * 0.004 / math.sqrt(2)
    assert objective.verified == Interval(pytest.approx(0.24), pytest.approx(0.24 - half), pytest.approx(0.24 + half))
    assert objective.change == pytest.approx(-1 / 6)
    assert objective.predicted.value == 0.25


def test_an_improvement_that_fresh_trials_do_not_show_is_excluded() -> None:
    decision = verifying(spec(LATENCY), fresh(0.279, 0.281))
    ask = decision.inquiries[0]
    assert isinstance(ask, AskRecommendation)
    assert ask.study.excluded == (CHEAPER,)


def test_a_front_is_published() -> None:
    cost = ObjectiveValue("cost", 0.68, 0.0, 1.36, 0.5, 0.5, 0.5)
    members = (FrontMember(CHEAPER, (cost, VALUE)),)
    chosen = Recommended(CHEAPER, False, 0.5, (), "the best in cost of a front of 1", (cost, VALUE), members)
    state = verifying(spec(COST, LATENCY), fresh(0.31, 0.30), chosen).state
    assert state.message == (
        "cpu=1 memory=1Gi: cost $1.360 -> $0.680 (-50 %), p95 300 ms -> 310 ms (+3 %); the best in cost of a front of 1"
    )
    (point,) = state.recommendation.front
    assert [(v.name, v.value, v.sd) for v in point.objectives] == [("cost", 0.68, 0.0), ("p95", 0.25, 0.005)]
    assert state.improvement is None


def test_changes_of_a_sum_have_no_unit() -> None:
    outlook = ObjectiveOutlook("both", 4.16, Interval(3.68, 3.6, 3.8), -0.115)
    assert changes(spec(SUM), (outlook,)) == "both 4.16 -> 3.68 (-12 %)"


# Preflight


def test_a_baseline_above_a_bound_on_the_cost_is_refused() -> None:
    wanted = builders.spec(cost_limits=(CostLimit("spend", 1.2),))
    (problem,) = examine(wanted, builders.target(), builders.surroundings(), ()).blocking
    assert problem.reason == "CostAboveLimit"
    assert problem.message == (
        "spec.constraints[spend].max: the present settings cost $1.360 per hour, spend allows $1.200; "
        "raise max, or lower the target's requests or replicas"
    )
    enough = builders.spec(cost_limits=(CostLimit("spend", 1.36),))
    assert examine(enough, builders.target(), builders.surroundings(), ()).blocking == ()
