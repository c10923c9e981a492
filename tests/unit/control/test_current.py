"""Error budgets while a trial lives: kept current in the status, and a burn that withdrew a trial is not forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.control.builders import (
    NOW,
    both_arms,
    budgets,
    decided,
    experiment,
    running,
    snapshot,
    spec,
    trial,
)

from trimtab.control.actions import Decision
from trimtab.control.snapshot import AskBudgets, BudgetReadings, BudgetWindow
from trimtab.domain.measurement import Sample, TelemetryError, Window
from trimtab.domain.spec import BurnPair
from trimtab.domain.state import BudgetState, ConditionType, ExperimentState
from trimtab.domain.trial import Outcome, PhaseTimes, Spent, Trial, TrialPhase
from trimtab.slo.budget import CLEAR_SECONDS, OBSERVED_SECONDS

MONTH, PAUSE = 720 * 3600.0, 21600.0
PAIR = BurnPair(300.0, 3600.0, 14.4)
BUDGET = replace(spec().budgets[0], rollback_on_burn=(PAIR,))
ABOUT = spec(budgets=(BUDGET,))
LIVE = trial(TrialPhase.MEASURING, spent=(Spent("errors", 40.0, 9000.0),), window=Window(NOW - 5, NOW + 55))


def seen(ago: float | None) -> ExperimentState:
    """A status whose budget was judged so many seconds ago."""
    observed = None if ago is None else NOW - ago
    return running(budgets=(BudgetState("availability", 0.9, 0.1, 0.0, 0.0, observed=observed),))


def while_live(state: ExperimentState, readings: BudgetReadings | None = None) -> Decision:
    answers = {} if readings is None else {AskBudgets(): readings}
    return decided(replace(snapshot(experiment(state), (LIVE,), both_arms(LIVE)), answers=answers))


class TestCurrent:
    @pytest.mark.parametrize("ago", [None, OBSERVED_SECONDS, 3000.0])
    def test_they_are_asked_for_twice_a_minute(self, ago: float | None) -> None:
        assert while_live(seen(ago)).inquiries == (AskBudgets(),)

    def test_and_not_with_every_pass(self) -> None:
        decision = while_live(seen(OBSERVED_SECONDS - 1))
        assert decision.inquiries == ()
        assert decision.state.budgets == seen(OBSERVED_SECONDS - 1).budgets

    def test_an_answer_serves_the_whole_pass_and_the_trial_goes_on(self) -> None:
        decision = while_live(seen(3000.0), budgets())
        (state,) = decision.state.budgets
        assert state.observed == NOW
        assert state.remaining == pytest.approx(1 - (1000 + 40) / 10_000)
        assert decision.inquiries == ()
        assert decision.requeue_after is not None
        assert decision.requeue_after <= OBSERVED_SECONDS
        again = while_live(replace(seen(0.0), budgets=(state,)), budgets())
        assert again.state.budgets == (state,)

    def test_what_the_live_canary_costs_is_shown(self) -> None:
        decision = while_live(seen(3000.0), budgets(spent=300.0))
        assert decision.state.budgets[0].spent_bad == 340.0

    def test_a_store_that_is_down_shows(self) -> None:
        lost = BudgetReadings((BudgetWindow("availability", MONTH, TelemetryError("down")),), (("errors", 0.0),))
        decision = while_live(seen(3000.0), lost)
        assert decision.state.budgets[0].remaining is None
        assert not decision.state.is_true(ConditionType.TELEMETRY_HEALTHY)
        assert decision.actions == ()  # what follows is the safety loop's business

    def test_without_budgets_nothing_is_asked(self) -> None:
        record = experiment(seen(None), spec=spec(budgets=()))
        assert decided(replace(snapshot(record, (LIVE,), both_arms(LIVE)), answers={})).inquiries == ()


def readings(level: float) -> BudgetReadings:
    """Burn rates of so many times the pair's limit, over every window but the month."""
    ratio = level * PAIR.factor * (1 - BUDGET.objective)
    windows = [BudgetWindow("availability", MONTH, Sample(0.001, 0.0, 1e9, 1e6))]
    windows += [BudgetWindow("availability", w, Sample(ratio, 0.0, 1e3, ratio * 1e3)) for w in (300.0, 3600.0)]
    windows.append(BudgetWindow("availability", PAUSE, Sample(0.001, 0.0, 1e4, 10.0)))
    return BudgetReadings(tuple(windows), (("errors", 0.0),))


def burned(ago: float, subject: str = "availability") -> Trial:
    """A trial that the safety loop withdrew for a burn so many seconds ago."""
    times = PhaseTimes(created=NOW - ago - 100, deploying=NOW - ago - 90, draining=NOW - ago, finished=NOW - ago + 3)
    outcome = Outcome(TrialPhase.ABORTED, "BudgetBurning", "availability: burn rate 20 over 5m", subject)
    return trial(TrialPhase.ABORTED, times=times, outcome=outcome, finalized=False)


def after(ended: Trial, level: float, state: BudgetState | None = None) -> Decision:
    stored = running(budgets=() if state is None else (state,))
    return decided(snapshot(experiment(stored, spec=ABOUT), (ended,), answers={AskBudgets(): readings(level)}))


def held(decision: Decision) -> bool:
    found = decision.state.condition(ConditionType.BUDGET_AVAILABLE)
    assert found is not None
    return found.reason == "BudgetBurning"


class TestBurnThatWithdrewATrial:
    def test_it_holds_the_gate_although_it_is_over(self) -> None:
        """The safety loop saw it; by the next pass the burn has fallen."""
        decision = after(burned(10.0), level=0.1)
        assert held(decision)
        assert decision.inquiries == ()  # nobody asks for an assignment
        assert decision.state.budgets[0].firing == "the burn that withdrew trial 0"
        assert decision.state.budgets[0].clear_since == NOW
        assert "trials may start once it has stayed so for 15m" in decision.state.message

    def test_it_clears_after_a_quarter_of_an_hour_well_below_the_limit(self) -> None:
        first = after(burned(10.0), level=0.1).state.budgets[0]
        clearing = replace(first, clear_since=NOW - CLEAR_SECONDS + 1)
        assert held(after(burned(CLEAR_SECONDS), 0.1, clearing))
        over = replace(first, clear_since=NOW - CLEAR_SECONDS)
        assert not held(after(burned(CLEAR_SECONDS + 10), 0.1, over))

    def test_a_burn_that_goes_on_just_below_the_limit_keeps_it(self) -> None:
        first = after(burned(10.0), level=0.1).state.budgets[0]
        late = after(burned(3 * CLEAR_SECONDS), 0.9, replace(first, clear_since=NOW - 5))
        assert held(late)
        assert late.state.budgets[0].clear_since is None

    def test_what_has_cleared_does_not_come_back(self) -> None:
        calm = BudgetState("availability", 0.9, 0.1, 0.0, 0.0)
        assert not held(after(burned(CLEAR_SECONDS + 1), 0.9, calm))

    def test_one_that_still_fires_is_named(self) -> None:
        decision = after(burned(10.0), level=1.5)
        assert decision.state.budgets[0].firing == "burn rate over 5m and 1h"

    def test_another_budgets_burn_is_not_this_ones(self) -> None:
        assert not held(after(burned(10.0, subject="latency"), level=0.1))
