"""Gates before a trial: budgets of services with a short past, the experiments' cap, and telemetry without budgets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.control.builders import NOW, budgets, decided, experiment, running, snapshot, spec

from trimtab.control.actions import Decision
from trimtab.control.gates import cap_of, longest_trial
from trimtab.control.snapshot import AskBudgets, AskProbes, AskProposal, AskUsage, BudgetReadings, BudgetWindow
from trimtab.domain.measurement import Absence, NoData, Reading, Sample, Stale, TelemetryError
from trimtab.domain.state import BudgetState, Condition, ConditionType, ExperimentState
from trimtab.ports import SliProbe

MONTH = 720 * 3600.0
PER_SECOND = 1000.0


def young(age: float, bad: float = 0.0) -> BudgetReadings:
    """A service of 1,000 requests per second that is `age` seconds old; `bad` of them fail."""
    windows = []
    for seconds in (MONTH, 21600.0):
        total = PER_SECOND * min(age, seconds)
        windows.append(BudgetWindow("availability", seconds, Sample(bad, 0.001, total, bad * total)))
    return BudgetReadings(tuple(windows), (("errors", 0.0),))


def since(age: float | None, **changes: object) -> ExperimentState:
    """Running, and preflight has found metrics that are `age` seconds old."""
    began = None if age is None else NOW - age
    state = BudgetState("availability", None, None, 0.0, 0.0, metrics_since=began)
    return running(budgets=(state,), requests_per_second=PER_SECOND, **changes)


def after(state: ExperimentState, readings: BudgetReadings, **changes: object) -> Decision:
    record = experiment(state, **changes)
    return decided(snapshot(record, answers={AskBudgets(): readings}))


def available(decision: Decision) -> Condition:
    found = decision.state.condition(ConditionType.BUDGET_AVAILABLE)
    assert found is not None
    return found


def proposes(decision: Decision) -> bool:
    return any(isinstance(i, AskProposal) for i in decision.inquiries)


class TestShortHistory:
    def test_a_service_that_is_a_minute_old_has_the_budget_of_its_rate(self) -> None:
        decision = after(since(60.0), young(60.0))
        assert proposes(decision)
        assert available(decision).status is True
        assert available(decision).reason == "HistoryShort"
        assert "observed rate times the window" in available(decision).message
        (state,) = decision.state.budgets
        assert state.history_short
        assert state.metrics_since == NOW - 60

    def test_preflight_remembers_where_the_metrics_begin(self) -> None:
        fresh = ExperimentState().with_condition(ConditionType.TARGET_LOCKED, True, "Acquired", "", NOW, 1)
        probe = SliProbe("errors", scrape_interval=1.0, requests_per_second=4000.0, bad_ratio=0.001, history=60.0)
        answers = {AskProbes(): (probe,), AskUsage(("web",)): ()}
        decision = decided(snapshot(experiment(fresh), answers=answers))
        assert decision.state.is_true(ConditionType.PREFLIGHT)
        assert [(b.name, b.metrics_since) for b in decision.state.budgets] == [("availability", NOW - 60)]

    def test_whose_age_is_not_known_waits_at_the_cap(self) -> None:
        decision = after(since(None), young(60.0))
        assert not proposes(decision)
        assert available(decision).reason == "ExperimentShareSpent"

    def test_the_words_stay_the_same_from_pass_to_pass(self) -> None:
        first = after(since(60.0), young(60.0))
        later = replace(snapshot(experiment(first.state), answers={AskBudgets(): young(90.0)}), now=NOW + 30)
        assert available(decided(later)) == available(first)

    def test_a_budget_must_still_be_left_to_start(self) -> None:
        assert proposes(after(since(60.0), young(60.0, bad=0.009)))
        two_thirds_of_the_window = after(since(MONTH * 2 / 3), young(MONTH * 2 / 3, bad=0.0095))
        assert not proposes(two_thirds_of_the_window)
        assert available(two_thirds_of_the_window).reason == "BudgetLow"

    def test_a_long_history_needs_no_words(self) -> None:
        decision = after(since(MONTH), young(MONTH))
        assert available(decision).reason == "Available"
        assert not decision.state.budgets[0].history_short


class TestCap:
    def test_the_reserve_counts_what_the_longest_trial_may_cost(self) -> None:
        about = spec()
        (budget,) = about.budgets
        cap = cap_of(about, budget, 1e6 * 0.01, 0.0, 1.0, 50.0)
        assert longest_trial(about) == 10 + 60
        assert cap.requests == 50.0 * 70
        assert cap.reserve == pytest.approx(50 * (60 + 5 + 5) + 10 * 0.01 * 50 * 70)

    def test_verification_may_be_longer_and_may_be_off(self) -> None:
        longer = replace(spec().verification, duration=1800.0)
        assert longest_trial(spec(verification=longer)) == 10 + 1800
        assert longest_trial(spec(verification=replace(longer, replicates=0))) == 10 + 60

    def test_a_trial_whose_own_requests_may_cost_too_much_does_not_start(self) -> None:
        """A day long, it may cost far more than what goes unseen in a minute."""
        short, long_ = spec(), spec(trial=replace(spec().trial, duration=86400.0, deadline=90000.0))
        state = running(requests_per_second=PER_SECOND)
        readings = budgets(total=PER_SECOND * MONTH / 10, bad=0.0)
        assert proposes(after(state, readings, spec=short))
        refused = after(state, readings, spec=long_)
        assert available(refused).reason == "ExperimentShareSpent"


class TestTelemetryWithoutBudgets:
    def looked(self, probe: Reading | None) -> Decision:
        return after(running(), BudgetReadings((), (), probe), spec=spec(budgets=()))

    def test_an_answer_lets_trials_start(self) -> None:
        decision = self.looked(Sample(0.01, 0.001, 1000.0, 10.0))
        assert proposes(decision)
        assert decision.state.is_true(ConditionType.TELEMETRY_HEALTHY)

    @pytest.mark.parametrize(
        ("probe", "reason"),
        [
            (TelemetryError("no answer within 10 s"), "TelemetryError"),
            (NoData("no series of these pods"), "NoData"),
            (Stale("pod web-1 was not scraped", 99.0), "StaleTelemetry"),
        ],
    )
    def test_while_it_is_down_none_starts_and_the_condition_says_so(self, probe: Absence, reason: str) -> None:
        decision = self.looked(probe)
        assert not proposes(decision)
        assert probe.detail in decision.state.message
        found = decision.state.condition(ConditionType.TELEMETRY_HEALTHY)
        assert found is not None
        assert (found.status, found.reason) == (False, reason)
        assert found.message.startswith(f"{probe.detail}; no trial starts until it answers: repair Prometheus")
        assert decision.requeue_after == pytest.approx(10.0)
