"""Trials and truth put together: the rows, the summary, and what is said where something is not known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.simulate.stories import START, result, story, web_truth

from trimtab.domain.state import ConditionType, ExperimentPhase, ExperimentState
from trimtab.domain.trial import PhaseTimes, TrialPhase
from trimtab.simulate.collect import Finished, simulation, summarize, trial_result
from trimtab.simulate.exposure import NOT_EXPOSED, counted_slis, exposure_of
from trimtab.simulate.results import Absent, Recommendation, Sample
from trimtab.workload import OfferedLoad


def test_rows_hold_what_was_measured_beside_the_truth() -> None:
    row = result().trials[7]
    assert [(v.name, v.value) for v in row.assignment] == [("cpu", "800m"), ("memory", "768Mi")]
    canary = next(m for m in row.measured if m.sli == "slow" and m.arm == "canary").reading
    true = next(t for t in row.true_slis if t.sli == "slow")
    assert isinstance(canary, Sample)
    assert isinstance(true.at_load_seen, float)
    assert isinstance(true.at_peak, float)
    assert canary.value == pytest.approx(true.at_load_seen, rel=0.1)
    assert true.at_load_seen < true.at_peak < 0.05
    assert (row.truly_unsafe, row.truly_unsafe_at_peak, row.gross) == (False, False, False)
    (expected,) = row.predicted
    assert expected.low < expected.median < expected.high


def test_a_withdrawn_trial_is_short_unsafe_and_counted() -> None:
    row = result().trials[6]
    assert (row.phase, row.reason, row.truly_unsafe) == (TrialPhase.INFEASIBLE, "AbortRule", True)
    assert row.withdraw_seconds == 3.25
    assert row.seconds_exposed == pytest.approx(168.25)
    assert row.canary_requests == pytest.approx(row.seconds_exposed * float(str(row.load_seen)))
    assert 0 < row.extra_bad_requests < row.bad_requests
    assert sum(b.bad for b in row.bad_requests_by_sli) == pytest.approx(row.bad_requests)


def test_absence_is_a_typed_object() -> None:
    row = result().trials[3]
    errors = next(m for m in row.measured if m.sli == "errors" and m.arm == "control").reading
    assert errors == Absent(absent="NoData", detail="no series")
    assert row.withdraw_seconds == Absent(absent="NotWithdrawn")


def test_a_trial_that_never_served_has_no_load_and_no_verdict_at_it() -> None:
    truth, finished = story()
    trial = replace(finished.trials[4], times=PhaseTimes(START), measurements=(), outcome=None)
    exposure = exposure_of(truth, OfferedLoad.of(truth.workload), trial)
    assert exposure == NOT_EXPOSED
    row = trial_result(truth, trial, exposure, finished.peak_rps)
    assert {type(row.load_seen), type(row.truly_unsafe), type(row.gross)} == {Absent}
    assert row.truly_unsafe_at_peak is False
    assert (row.seconds_exposed, row.bad_requests, row.reason, row.finished) == (0.0, 0.0, "", row.finished)


def test_the_summary_is_against_the_true_optimum() -> None:
    s = result().summary
    assert (s.trials, s.succeeded, s.infeasible) == (10, 9, 1)
    assert (s.search_trials, s.suggested_by_model, s.replicates) == (4, 4, 1)
    assert s.baseline_cost == pytest.approx(1.43392)
    assert s.optimum_cost == pytest.approx(0.53242375)
    assert s.saving_percent == pytest.approx(60.2955, abs=1e-3)
    assert s.saving_of_optimum_percent == pytest.approx(95.9, abs=0.1)
    assert [(v.name, v.value) for v in s.optimum] == [("cpu", "750m"), ("memory", "704Mi")]
    assert (s.truly_feasible, s.truly_feasible_at_load_seen) == (True, True)
    assert (s.unsafe_trials, s.gross_trials, s.rollbacks, s.rollback_seconds_max) == (1, 0, 1, 3.25)
    assert s.budget_spent_percent == pytest.approx(0.03)
    assert isinstance(s.recommendation, Recommendation)
    assert s.recommendation.verified
    assert s.reason == "Verified"


def test_without_a_recommendation_nothing_is_claimed_of_it() -> None:
    truth, finished = story()
    state = replace(finished.state, recommendation=None, phase=ExperimentPhase.STOPPED, message="stopped: 8 infeasible")
    state = state.with_condition(ConditionType.STALLED, True, "MaxInfeasible", "8", START, 1)
    s = summarize(truth, replace(finished, state=state), ())
    none = Absent(absent="NoRecommendation", detail="stopped: 8 infeasible")
    assert {s.best_cost, s.saving_percent, s.saving_of_optimum_percent} == {none}
    assert {s.truly_feasible, s.truly_feasible_at_load_seen, s.recommendation} == {none}
    assert s.reason == "MaxInfeasible"


def test_a_recommendation_that_breaks_a_bound_at_peak_is_called_so() -> None:
    truth, finished = story()
    recommendation = finished.state.recommendation
    assert recommendation is not None
    cheap = replace(recommendation, assignment=finished.trials[6].assignment)
    s = summarize(truth, replace(finished, state=replace(finished.state, recommendation=cheap)), ())
    assert s.truly_feasible is False


def test_an_experiment_that_never_began() -> None:
    truth, finished = story()
    nothing = Finished(ExperimentState(message="waiting"), (), (), finished.peak_rps, START + 60)
    found = simulation(truth, result().inputs, nothing)
    assert found.trials == ()
    assert (found.summary.trials, found.summary.virtual_seconds, found.summary.reason) == (0, 0.0, "HorizonEnded")
    assert found.summary.budget_spent_percent == Absent(absent="NoErrorBudget")


def test_a_peak_that_nothing_serves_has_no_optimum_in_the_summary() -> None:
    truth, finished = story()
    s = summarize(truth, replace(finished, peak_rps=20_000.0), ())
    assert isinstance(s.optimum_cost, Absent)
    assert s.optimum_cost.absent == "Infeasible"
    assert s.optimum == ()


def test_bad_requests_are_counted_for_bounded_slis_that_count() -> None:
    assert counted_slis(web_truth()) == ("slow", "errors")
