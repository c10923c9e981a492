"""The search in numbers, against sums that can be done by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.control.builders import (
    BASELINE,
    CHEAPER,
    NOW,
    decided,
    experiment,
    measured,
    running,
    snapshot,
    spec,
    trial,
)
from tests.unit.control.builders import target as the_target

from trimtab.control.arms import cost_model
from trimtab.control.figures import convergence_seconds, figures
from trimtab.domain.measurement import Arm, Measurement, Sample, Window
from trimtab.domain.spec import CanarySpec, Objective, ObjectiveTerm, TrialTiming
from trimtab.domain.state import BudgetState, RecommendationState
from trimtab.domain.study import Diagnostics
from trimtab.domain.trial import SCREENED, Load, Outcome, PhaseTimes, Purpose, Trial, TrialPhase

# Two cores and 2 GiB at $ 0.03 and $ 0.004, times 20 replicas; half of it for the cheaper one.
POD, HALF = 2 * 0.03 + 2 * 0.004, 0.03 + 0.004
COST = cost_model(spec(), the_target())


def done(index: int, begun: float, ended: float, phase: TrialPhase = TrialPhase.SUCCEEDED) -> Trial:
    times = PhaseTimes(NOW + begun, deploying=NOW + begun, finished=NOW + ended)
    made = trial(phase, index, times=times, finalized=False)
    return replace(made, measurements=measured(made, 5))


def arms(of: Trial, canary: float, control: float) -> Trial:
    """Bad events of 10,000 in each arm."""
    window = Window(NOW, NOW + 60)
    counts = ((Arm.CANARY, canary), (Arm.CONTROL, control))
    read = tuple(Measurement("errors", arm, window, Sample(bad / 1e4, 1e-3, 1e4, bad)) for arm, bad in counts)
    return replace(of, measurements=read)


def test_what_the_arms_cost_is_their_requests_times_their_life() -> None:
    found = figures(spec(), COST, BASELINE, None, (done(0, 0, 3600), done(1, 3600, 5400)))
    assert found.experiment_cost == pytest.approx(1.5 * (POD + HALF))
    assert (found.best_objective, found.return_ratio, found.cost_per_improvement) == (None, None, None)


def test_only_what_has_ended_counts() -> None:
    live = trial(TrialPhase.MEASURING, 1)
    assert figures(spec(), COST, BASELINE, None, (done(0, 0, 3600), live)) == figures(
        spec(), COST, BASELINE, None, (done(0, 0, 3600),)
    )


def test_a_trial_without_arms_cost_nothing() -> None:
    never = trial(TrialPhase.ABORTED, times=PhaseTimes(NOW, finished=NOW + 10))
    assert figures(spec(), COST, BASELINE, None, (never,)).experiment_cost == 0.0


def test_more_replicas_of_both_arms() -> None:
    own = replace(spec(), canary=CanarySpec(3, 0.1))
    assert figures(own, COST, BASELINE, None, (done(0, 0, 3600),)).experiment_cost == pytest.approx(3 * (HALF + POD))


def test_what_was_found_against_what_it_cost() -> None:
    found = figures(spec(), COST, BASELINE, CHEAPER, (done(0, 0, 3600), done(1, 3600, 7200)))
    spent, saved = 2 * (POD + HALF), 20 * (POD - HALF)
    assert found.best_objective == pytest.approx(20 * HALF)
    assert found.improvement_per_trial == pytest.approx(0.5 / 2)
    assert found.cost_per_improvement == pytest.approx(spent / 50)
    assert found.monthly_saving == pytest.approx(730 * saved)
    assert found.return_ratio == pytest.approx(730 * saved / spent)


def test_no_improvement_has_no_price() -> None:
    found = figures(spec(), COST, BASELINE, BASELINE, (done(0, 0, 3600),))
    assert (found.improvement_per_trial, found.cost_per_improvement, found.return_ratio) == (0.0, None, 0.0)


def test_the_cost_is_told_before_and_after() -> None:
    nothing = figures(spec(), COST, BASELINE, None, (done(0, 0, 3600),))
    assert (nothing.baseline_cost, nothing.found_cost) == (pytest.approx(20 * POD), None)
    found = figures(spec(), COST, BASELINE, CHEAPER, (done(0, 0, 3600),))
    assert (found.baseline_cost, found.found_cost) == (pytest.approx(20 * POD), pytest.approx(20 * HALF))


class TestAnotherObjective:
    """The ratio of errors is to become less, whatever that costs."""

    ABOUT = replace(spec(), objectives=(Objective("errors", False, (ObjectiveTerm(1.0, "errors"),)),))

    def test_what_was_found_is_what_canaries_measured(self) -> None:
        better = arms(done(0, 0, 3600), canary=30, control=60)
        found = figures(self.ABOUT, COST, BASELINE, CHEAPER, (better,))
        assert found.best_objective == pytest.approx(0.003)
        assert found.improvement_per_trial == pytest.approx(0.5)
        assert found.cost_per_improvement == pytest.approx((POD + HALF) / 50)
        assert found.found_cost == pytest.approx(20 * HALF)

    def test_a_cheaper_assignment_that_is_no_better_has_no_improvement(self) -> None:
        worse = arms(done(0, 0, 3600), canary=90, control=60)
        found = figures(self.ABOUT, COST, BASELINE, CHEAPER, (worse,))
        assert found.improvement_per_trial == pytest.approx(-0.5)
        assert found.cost_per_improvement is None
        assert found.monthly_saving == pytest.approx(730 * 20 * (POD - HALF))  # dollars are told all the same

    def test_what_was_not_measured_is_not_told(self) -> None:
        unread = replace(done(0, 0, 3600), measurements=())
        found = figures(self.ABOUT, COST, BASELINE, CHEAPER, (unread,))
        assert (found.best_objective, found.improvement_per_trial, found.cost_per_improvement) == (None, None, None)


class TestConvergence:
    def test_counts_to_the_first_trial_that_measured_the_answer_in_full(self) -> None:
        failed = done(1, 60, 120, TrialPhase.ABORTED)
        screen = replace(done(2, 120, 150), outcome=Outcome(TrialPhase.SUCCEEDED, SCREENED, "kept"))
        trials = (failed, screen, done(3, 180, 300), done(4, 300, 420))
        assert convergence_seconds(NOW - 10, CHEAPER, trials) == 310.0
        assert convergence_seconds(NOW - 10, CHEAPER, trials[:2]) is None
        assert convergence_seconds(None, CHEAPER, trials) is None

    def test_another_pod_template_is_another_answer(self) -> None:
        old = done(0, 0, 100)
        old = replace(old, environment=replace(old.environment, template_hash="old"))
        assert convergence_seconds(NOW, CHEAPER, (old, done(1, 100, 200))) == 200.0
        assert convergence_seconds(NOW, CHEAPER, (old,)) == 100.0

    @pytest.mark.parametrize(("keep", "seconds"), [(False, 300.0), (True, None)])
    def test_a_search_that_keeps_the_baseline_has_found_nothing(self, keep: bool, seconds: float | None) -> None:
        answer = RecommendationState("d", CHEAPER, keep, 0.5, None, None, 1.0, 0.5, True, "c", "h", "m")
        state = running(trials_created=1, recommendation=answer, started=NOW - 10)
        found = decided(snapshot(experiment(state), (done(0, 0, 290),))).state.figures
        assert found is not None
        assert found.convergence_seconds == seconds


@pytest.mark.parametrize(("parallel", "efficiency"), [(1, 0.8), (2, 0.4)])
def test_time_between_trials_is_lost(parallel: int, efficiency: float) -> None:
    timing = replace(spec(), trial=TrialTiming(10.0, 60.0, 600.0, parallel=parallel))
    found = figures(timing, COST, BASELINE, None, (done(0, 0, 40), done(1, 60, 100)))
    assert found.parallel_efficiency == pytest.approx(efficiency)


def test_the_share_of_requests_that_a_canary_got() -> None:
    loads = (Load(Arm.CANARY, 90.0), Load(Arm.CONTROL, 110.0), Load(Arm.TARGET, 100.0))
    old = replace(done(0, 0, 60), load=loads)
    newer = replace(done(1, 60, 120), load=loads[:2])  # the target's load is unknown: an older trial tells
    found = figures(spec(), COST, BASELINE, None, (old, newer))
    assert found.traffic_share == pytest.approx(90 / (90 + 110 + 20 * 100))
    assert figures(spec(), COST, BASELINE, None, (newer,)).traffic_share is None


def test_a_saving_does_not_change_when_the_target_is_scaled() -> None:
    """Each Trial stores the cost at the replicas of its own time."""
    baseline = done(0, 0, 60)
    baseline = replace(
        baseline, suggestion=replace(baseline.suggestion, assignment=BASELINE, purpose=Purpose.BASELINE), cost=20 * POD
    )
    scaled = replace(done(1, 60, 120), cost=40 * HALF)
    state = running(trials_created=2)
    found = decided(snapshot(experiment(state), (baseline, scaled), target=the_target(replicas=40))).state
    assert found.incumbent == CHEAPER
    assert found.saving == pytest.approx(0.5)
    assert found.figures is not None
    assert found.figures.best_objective == pytest.approx(40 * HALF)


def test_the_model_s_health_counts_the_searches_that_it_did_not_propose() -> None:
    def proposed(index: int, purpose: Purpose, by_model: bool) -> Trial:
        made = done(index, 60 * index, 60 * index + 60)
        return replace(made, suggestion=replace(made.suggestion, purpose=purpose, by_model=by_model))

    trials = (
        proposed(0, Purpose.BASELINE, False),
        proposed(1, Purpose.INITIAL, False),
        proposed(2, Purpose.SEARCH, True),
        proposed(3, Purpose.SEARCH, False),
        proposed(4, Purpose.VERIFICATION, False),
    )
    state = running(trials_created=5, diagnostics=Diagnostics(4, 2, 9, 1.1, None))
    found = decided(snapshot(experiment(state), trials)).state.diagnostics
    assert found is not None
    assert found.fallbacks == 1


def budget(remaining: float | None) -> tuple[BudgetState, ...]:
    return (BudgetState("availability", remaining, None, 0.0, 0.0),)


@pytest.mark.parametrize(
    ("budgets", "before", "trials", "held"),
    [
        ((), None, 0, None),
        (budget(None), None, 0, None),
        (budget(0.4), None, 0, True),
        (budget(0.0), None, 0, False),
        (budget(0.4), False, 0, True),  # used up before the first trial, and recovered since
        (budget(0.4), False, 3, False),  # used up while trials ran: that does not go away
        (budget(None), True, 3, True),
        (budget(-0.1), True, 3, False),
    ],
)
def test_held_means_that_no_error_budget_was_used_up_since_the_first_trial(
    budgets: tuple[BudgetState, ...], before: bool | None, trials: int, held: bool | None
) -> None:
    ended = tuple(done(i, 60 * i, 60 * i + 60) for i in range(trials))
    # Paused, so that no gate is evaluated anew.
    record = experiment(
        running(budgets=budgets, slo_held=before, trials_created=trials), annotations=(("trimtab.dev/pause", ""),)
    )
    assert decided(snapshot(record, ended)).state.slo_held is held
