"""Error budgets: arithmetic, both windows of a pair, hysteresis, ignorance, and a cap that holds in the worst case."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trimtab.domain.measurement import NoData, Reading, Sample, TelemetryError
from trimtab.domain.spec import BurnPair, ErrorBudget, PauseOnBurn
from trimtab.domain.state import BudgetState
from trimtab.slo.budget import (
    CLEAR_SECONDS,
    SURGE,
    Cap,
    GateVerdict,
    burn_rate,
    evaluate,
    history_of,
    history_short,
    needed_windows,
    soonest_pause,
    time_to_exhaustion,
    total_events,
)

MONTH, DAY, HOUR = 720 * 3600.0, 86400.0, 3600.0
FAST, SLOW = BurnPair(300.0, HOUR, 14.4), BurnPair(1800.0, 6 * HOUR, 6.0)
BUDGET = ErrorBudget("availability", "errors", 0.999, MONTH, 0.05, 0.4, PauseOnBurn(0.5, 6 * HOUR), (FAST, SLOW))
NOW = 1_790_000_000.0


def sample(bad: float, total: float) -> Sample:
    return Sample(bad / total, 0.001, total, bad)


def readings(**ratios: float) -> dict[float, Reading]:
    """A service with 100 requests/s; ratios of bad events by window: w5m, w30m, w1h, w6h, w30d."""
    windows = {"w5m": 300.0, "w30m": 1800.0, "w1h": HOUR, "w6h": 6 * HOUR, "w30d": MONTH}
    return {s: sample(ratios.get(name, 0.0002) * 100 * s, 100 * s) for name, s in windows.items()}


def judged(found: dict[float, Reading], old: BudgetState | None = None, now: float = NOW) -> GateVerdict:
    return evaluate(BUDGET, found, 0.0, old, now)


def test_windows_that_the_rules_need() -> None:
    assert needed_windows(BUDGET) == (300.0, 1800.0, HOUR, 6 * HOUR, MONTH)


def test_remaining_is_event_sums_and_canaries_come_on_top() -> None:
    allowed = 0.001 * 100 * MONTH
    verdict = evaluate(BUDGET, readings(), 0.1 * allowed, None, NOW)
    assert verdict.closed == ""
    assert verdict.state.remaining == pytest.approx(1 - 0.2 - 0.1)
    assert verdict.state.spent_share == pytest.approx(0.1)


def test_what_the_budget_allows_is_remembered_while_nobody_can_read_it() -> None:
    allowed = 0.001 * 100 * MONTH
    read = judged(readings())
    assert read.state.allowed_bad == pytest.approx(allowed)
    lost = evaluate(BUDGET, {s: TelemetryError("down") for s in readings()}, 0.1 * allowed, read.state, NOW)
    assert lost.reason == "BudgetUnknown"
    assert lost.state.allowed_bad == pytest.approx(allowed)
    assert lost.state.spent_share == pytest.approx(0.1)


def test_burn_rates() -> None:
    assert burn_rate(BUDGET, sample(144, 10_000)) == pytest.approx(14.4)
    assert burn_rate(BUDGET, NoData("no traffic")) == 0.0
    assert burn_rate(BUDGET, TelemetryError("down")) is None
    assert burn_rate(BUDGET, None) is None


def test_both_windows_of_a_pair_must_exceed() -> None:
    assert judged(readings(w5m=0.02)).closed == ""
    assert judged(readings(w1h=0.02)).closed == ""
    both = judged(readings(w5m=0.02, w1h=0.015))
    assert both.reason == "BudgetBurning"
    assert "20.0 over 5m and 15.0 over 1h > 14.4" in both.closed
    assert judged(readings(w5m=0.02, w1h=0.0144)).closed == ""  # exactly the factor is not above it
    assert judged(readings(w30m=0.007, w6h=0.0061)).reason == "BudgetBurning"


def test_half_of_the_budget_within_its_window_pauses() -> None:
    # 6 h are 1/120 of 30 days: half of the budget goes at a burn rate above 60.
    assert judged(readings(w6h=0.059, w30d=0.0005)).reason == ""
    verdict = judged(readings(w6h=0.06001, w30d=0.0005))
    assert verdict.reason == "BudgetBurning"
    assert "50.0 % of the budget went within 6h" in verdict.closed


def test_how_soon_half_of_the_budget_can_be_gone() -> None:
    whole = sample(0.0, 100 * MONTH)
    half = 0.5 * 0.001 * 100 * MONTH

    def soonest(bad: float, seconds: float = 6 * HOUR) -> float | None:
        return soonest_pause(BUDGET, seconds, sample(bad, 100 * seconds), whole)

    assert soonest(0.0) == pytest.approx(half / (SURGE * 100))
    assert soonest(half - 400.0) == pytest.approx(1.0)
    assert soonest(half + 1.0) is None, "it fires already"
    assert soonest(0.0, HOUR) is None, "not its window"
    assert soonest_pause(BUDGET, 6 * HOUR, sample(0.0, 100.0), None) is None
    assert soonest_pause(BUDGET, 6 * HOUR, NoData("no traffic"), whole) is None
    assert soonest_pause(replace(BUDGET, pause_on_burn=None), 6 * HOUR, sample(0.0, 100.0), whole) is None


def test_a_low_budget_starts_nothing() -> None:
    verdict = judged(readings(w30d=0.0007))
    assert verdict.reason == "BudgetLow"
    assert "30 % left, trials start above 40 %" in verdict.closed


def test_a_rule_clears_after_a_quarter_of_an_hour_clearly_below() -> None:
    fired = judged(readings(w5m=0.02, w1h=0.02)).state
    assert fired.clear_since is None
    low = readings(w5m=0.001, w1h=0.02)
    first = judged(low, fired, NOW + 60)
    assert first.reason == "BudgetBurning"
    assert first.state.clear_since == NOW + 60
    assert "15m" in first.closed
    soon = judged(low, first.state, NOW + 60 + CLEAR_SECONDS - 1)
    assert soon.reason == "BudgetBurning"
    assert judged(low, soon.state, NOW + 60 + CLEAR_SECONDS).closed == ""


def test_a_relapse_starts_the_quarter_of_an_hour_anew() -> None:
    fired = judged(readings(w5m=0.02, w1h=0.02)).state
    clearing = judged(readings(w5m=0.001), fired, NOW + 60).state
    between = judged(readings(w5m=0.012), clearing, NOW + 600)  # 12 is under 14.4 but not under 0.8 x 14.4
    assert between.reason == "BudgetBurning"
    assert between.state.clear_since is None
    again = judged(readings(w5m=0.001), between.state, NOW + 700).state
    assert again.clear_since == NOW + 700


def test_a_clock_that_was_set_back_does_not_hold_the_gate() -> None:
    fired = judged(readings(w5m=0.02, w1h=0.02), None, NOW + 7200).state
    clearing = judged(readings(w5m=0.001), fired, NOW + 7200).state
    assert clearing.clear_since == NOW + 7200
    back = judged(readings(w5m=0.001), clearing, NOW).state
    assert back.clear_since == NOW
    assert judged(readings(w5m=0.001), back, NOW + 900).closed == ""


def test_a_long_window_below_does_not_clear_a_short_one_above() -> None:
    fired = judged(readings(w5m=0.02, w1h=0.02)).state
    assert judged(readings(w5m=0.02, w1h=0.001), fired, NOW + 60).state.clear_since is None


def test_another_rules_short_window_does_not_hold_this_one() -> None:
    fired = judged(readings(w5m=0.02, w1h=0.02)).state
    clearing = judged(readings(w5m=0.001, w30m=0.0055), fired, NOW + 60)
    assert clearing.state.clear_since == NOW + 60


def test_blindness_neither_fires_nor_clears_and_starts_nothing() -> None:
    blind = {s: TelemetryError("no answer within 2 s") for s in needed_windows(BUDGET)}
    verdict = judged(blind)
    assert verdict.reason == "BudgetUnknown"
    assert verdict.state.firing == ""
    assert "no answer" in verdict.closed
    fired = judged(readings(w5m=0.02, w1h=0.02)).state
    clearing = judged(readings(w5m=0.001), fired, NOW + 60).state
    held = judged(blind, clearing, NOW + 60 + 2 * CLEAR_SECONDS)
    assert held.reason == "BudgetBurning"
    assert held.state.clear_since is None
    partly = readings() | {300.0: TelemetryError("503")}
    assert judged(partly).reason == "BudgetUnknown"


def test_a_service_without_traffic_has_no_budget_to_spend() -> None:
    for nothing in (NoData("no traffic"), Sample(0.0, 0.0, 0.0, 0.0)):
        verdict = judged(dict.fromkeys(needed_windows(BUDGET), nothing))
        assert verdict.reason == "NoTraffic"
        assert "no request was counted within" in verdict.closed
        assert "send traffic to the target" in verdict.closed


def test_a_short_history_is_scaled_to_the_window() -> None:
    day = readings() | {MONTH: sample(0.0002 * 100 * DAY, 100 * DAY)}
    assert not history_short(BUDGET, None)
    assert not history_short(BUDGET, 0.95 * MONTH)
    assert total_events(BUDGET, day, DAY) == pytest.approx(100 * MONTH)
    young = BudgetState("availability", None, None, 0.0, 0.0, metrics_since=NOW - DAY)
    verdict = evaluate(BUDGET, day, 0.0, young, NOW)
    assert verdict.state.history_short
    assert verdict.state.metrics_since == NOW - DAY
    assert verdict.state.remaining == pytest.approx(1 - 0.2 / 30)
    assert verdict.closed == ""


def test_a_history_grows_until_it_is_long_enough() -> None:
    young = BudgetState("availability", None, None, 0.0, 0.0, metrics_since=NOW - 60)
    assert history_of(None, NOW) is None
    assert history_of(young, NOW + 60) == 120
    assert evaluate(BUDGET, readings(), 0.0, young, NOW + 0.89 * MONTH).state.history_short
    assert not evaluate(BUDGET, readings(), 0.0, young, NOW + 0.91 * MONTH).state.history_short


def test_time_to_exhaustion() -> None:
    state = judged(readings(w6h=0.0002, w1h=0.004, w30d=0.0005)).state
    assert state.burn_rate == pytest.approx(4.0)
    assert state.exhaustion_seconds == pytest.approx(0.5 * MONTH / 4)
    assert time_to_exhaustion(BUDGET, 0.5, 4.0) == pytest.approx(0.5 * MONTH / 4)
    assert time_to_exhaustion(BUDGET, 0.5, 0.51) == pytest.approx(0.5 / 0.51 * MONTH)
    assert time_to_exhaustion(BUDGET, -0.1, 4.0) == time_to_exhaustion(BUDGET, 0.0, 0.0) == 0.0


@pytest.mark.parametrize("burn", [0.5, 0.49, 0.0])
def test_a_budget_that_lasts_for_its_window_lasts(burn: float) -> None:
    """Half is left, so half was spent within the window: at half of the sustainable rate that leaves it in time."""
    assert time_to_exhaustion(BUDGET, 0.5, burn) is None


def test_of_what_is_not_known_nobody_knows_the_end() -> None:
    assert time_to_exhaustion(BUDGET, None, 4.0) is None
    assert time_to_exhaustion(BUDGET, 0.5, None) is None
    found = readings(w6h=0.0002, w1h=0.004, w30d=0.0005)
    assert judged({**found, MONTH: TelemetryError("down")}).state.exhaustion_seconds is None


def cap(**changes: float) -> Cap:
    made = Cap(limit=50_000, spent=10_000, rate=100, blind=75, replicas=1, objective=0.999, requests=60_000)
    return replace(made, **changes)


def test_the_reserve_is_a_blind_canary_that_fails_everything() -> None:
    assert cap().reserve == pytest.approx(100 * 75 + 10 * 0.001 * 60_000)
    assert cap(rate=0.0, requests=0.0).reserve == 10.0
    assert cap().start_refused() == ""
    refused = cap(spent=42_000).start_refused()
    assert "8,100" in refused
    assert "8,000" in refused


def test_a_live_trial_ends_before_what_is_unseen_could_exceed() -> None:
    assert cap().exceeded(32_499) == ""
    assert "7,500 unseen" in cap().exceeded(32_500)
    assert "9,000 unseen" in cap(reaction=10.0).exceeded(32_499, unseen_for=80.0)


@pytest.mark.parametrize("scrape", [15.0, *(pytest.param(s, marks=pytest.mark.thorough) for s in (1.0, 60.0))])
@pytest.mark.parametrize("store_stops", [False, True])
def test_the_cap_holds_for_a_canary_that_fails_everything_from_any_moment_on(scrape: float, store_stops: bool) -> None:
    """2,000 Experiments: the canary turns all bad; telemetry lags by scrapes, and may stop at the same moment."""
    rng = np.random.default_rng(17)
    stale_after, tick, margin = max(60.0, 2 * scrape), 5.0, 5.0
    blind = max(2 * scrape, stale_after) + tick + margin
    for _ in range(2000):
        rate = float(rng.uniform(1, 500))
        share = Cap(float(rng.uniform(1.2, 5) * rate * blind), 0.0, rate, blind, 1, 0.999, 0.0)
        if share.start_refused():
            continue
        onset = float(rng.uniform(0, 300))
        stopped = onset + float(rng.uniform(0, 30)) if store_stops else np.inf
        phase = float(rng.uniform(0, scrape))
        now = float(rng.uniform(0, tick))
        while True:
            newest = np.floor((min(now, stopped) - phase) / scrape) * scrape + phase
            visible = rate * max(newest - onset, 0.0)
            if share.exceeded(visible) or now - newest > stale_after:
                break
            now += tick
        withdrawn = now + margin
        assert rate * max(withdrawn - onset, 0.0) <= share.limit + rate * tick
