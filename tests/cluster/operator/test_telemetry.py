"""Prometheus is lost in the middle of a trial: the canary goes, nobody is blamed, and trials go on afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cluster.operator.support import BUDGET, NAME, experiment

from controlplane import wait_for
from stack import Place, Stack

STALE_AFTER = 6.0


@pytest.fixture(params=["stopped", "hanging", "stopped, no budgets"])
def lost(request: pytest.FixtureRequest, stack: Stack) -> Iterator[str]:
    """How it is lost; it is back after the test. Without error budgets nothing but a probe asks it between trials."""
    yield request.param
    stack.prometheus.resume()
    stack.prometheus.restart()


def test_a_trial_that_cannot_be_watched_is_withdrawn(stack: Stack, place: Place, lost: str) -> None:
    lost, _, unbudgeted = lost.partition(",")
    place.create(experiment(safety={"staleAfter": "6s"}, errorBudgets=[] if unbudgeted else [BUDGET]))
    trial = place.wait_live(NAME, {"Measuring"})
    if not unbudgeted:
        message = place.wait_condition(NAME, "BudgetAvailable", reason="HistoryShort")
        assert "the observed rate times the window" in message
    if lost == "stopped":
        stack.prometheus.kill()
    else:
        stack.prometheus.pause()
    outcome = place.wait_outcome(trial, seconds=STALE_AFTER + 40)
    assert (outcome["phase"], outcome["reason"]) == ("Inconclusive", "TelemetryBlind"), outcome
    assert "staleAfter is 6 s" in outcome["message"]
    place.wait_no_arms()
    message = place.wait_condition(NAME, "TelemetryHealthy", "False", "TelemetryError", seconds=90)
    # One that hangs is asked seldom after a while, which is then the answer.
    told = ("not reachable",) if lost == "stopped" else ("no answer within", "does not answer")
    assert any(words in message for words in told), message
    assert "no trial starts until it answers: repair Prometheus" in message
    assert [t["spec"]["index"] for t in place.trials(NAME)] == [0]
    stack.prometheus.resume()
    if lost == "stopped":
        stack.prometheus.restart()
    place.wait_condition(NAME, "TelemetryHealthy", "True", seconds=90)
    place.wait_live(NAME, after=0, seconds=90)
    place.delete(NAME)
    place.wait_deleted(NAME)


def test_a_prometheus_that_comes_back_empty_in_the_middle_of_a_trial(stack: Stack, place: Place) -> None:
    """Its volume was lost: what was measured before is unknown again, and nobody is blamed for it."""
    trial = {"warmUp": "1s", "duration": "15s", "deadline": "90s"}
    place.create(experiment(trial=trial, safety={"staleAfter": "6s"}, errorBudgets=[BUDGET]))
    first = place.wait_live(NAME, {"Measuring"})
    served = f'min(count_over_time(http_requests_total{{namespace="{place.namespace}",pod=~"tt-.*",code="200"}}[1m]))'
    wait_for(lambda: (stack.prometheus.value(served) or 0.0) >= 6, "both arms to have served for five seconds")
    stack.prometheus.restart(empty=True)
    outcome = place.wait_outcome(first, seconds=90)
    print(f"\n{outcome['phase']}: {outcome['reason']}: {outcome['message']}")
    assert outcome["phase"] != "Infeasible", outcome
    place.wait_live(NAME, after=0, seconds=90)
    place.delete(NAME)
    place.wait_deleted(NAME)


def test_an_experiment_made_while_prometheus_is_away_waits_for_it(stack: Stack, place: Place) -> None:
    stack.prometheus.kill()
    try:
        place.create(experiment(safety={"staleAfter": "6s"}, errorBudgets=[BUDGET]))
        wait_for(lambda: place.condition(NAME, "Preflight").get("status") == "False", "preflight to be decided")
        found = place.condition(NAME, "Preflight")
        assert found["reason"] == "TelemetryUnavailable", found
        assert "Prometheus: not reachable" in found["message"], found
        assert "it is asked again by itself" in found["message"], found
        assert place.condition(NAME, "Stalled").get("status") != "True"
        assert place.status(NAME)["message"].startswith("waiting: ")
        assert place.trials(NAME) == []
        assert place.arms() == []
    finally:
        stack.prometheus.restart()
    place.wait_condition(NAME, "Preflight", "True", seconds=90)
    place.wait_live(NAME)
    place.delete(NAME)
    place.wait_deleted(NAME)
