"""May this Experiment run at all? Each refusal names what a person must do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.control.builders import (
    NOW,
    both_arms,
    condition,
    decided,
    experiment,
    kinds,
    outcome,
    running,
    snapshot,
    spec,
    target,
    trial,
)

from trimtab.control.snapshot import (
    AskProbes,
    LockView,
)
from trimtab.domain.kube import TargetMissing
from trimtab.domain.spec import RatioQuery
from trimtab.domain.state import ConditionType, ExperimentPhase, ExperimentState
from trimtab.domain.trial import TrialPhase


def test_a_missing_target_names_the_remedy() -> None:
    decision = decided(snapshot(target=TargetMissing("web"), surroundings=None))
    found = condition(decision, ConditionType.STALLED)
    assert found.reason == "TargetNotFound"
    assert "create it or correct the name" in found.message


def test_a_stateful_set_of_that_name_is_named() -> None:
    decision = decided(snapshot(target=TargetMissing("web", "StatefulSet"), surroundings=None))
    assert condition(decision, ConditionType.STALLED).reason == "UnsupportedKind"


def test_a_second_experiment_is_blocked_and_names_the_first() -> None:
    fresh = running(phase=ExperimentPhase.PENDING, conditions=())
    decision = decided(snapshot(experiment(fresh), lock=LockView(False, "shop/first")))
    found = condition(decision, ConditionType.STALLED)
    assert found.reason == "Blocked"
    assert "shop/first" in found.message


def test_the_lock_is_taken_before_preflight() -> None:
    fresh = ExperimentState()
    decision = decided(snapshot(experiment(fresh), lock=LockView(False)))
    assert kinds(decision) == ["AcquireLock"]


def test_preflight_asks_for_probes_first() -> None:
    fresh = ExperimentState().with_condition(ConditionType.TARGET_LOCKED, True, "Acquired", "", NOW, 1)
    decision = decided(snapshot(experiment(fresh)))
    assert decision.inquiries[0] == AskProbes()
    assert decision.state.phase is ExperimentPhase.PREFLIGHT


def test_a_template_that_changed_under_a_live_trial_makes_it_stale() -> None:
    live = trial(TrialPhase.MEASURING)
    decision = decided(snapshot(None, (live,), both_arms(live), target=target(template_hash="hash-2")))
    assert outcome(decision).phase is TrialPhase.STALE
    assert decision.state.target is None


def test_a_bad_spec_is_refused_by_its_field() -> None:
    record = experiment(spec=None, problem_reason="NotYetSupported", problem="spec.warmStart: not supported")
    decision = decided(snapshot(record, target=None, surroundings=None))
    assert condition(decision, ConditionType.STALLED).reason == "NotYetSupported"
    assert "spec.warmStart" in decision.state.message


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("http_requests_total", "no $selector"),
        ("rate(http_requests_total{$selector}[5m])", "only a vector selector"),
        ("http_requests_total{$selector} offset 5m", "offset"),
        ("http_requests_total{$selector", "not PromQL"),
    ],
)
def test_a_query_that_cannot_be_bounded_is_never_sent(query: str, words: str) -> None:
    sli = replace(spec().slis[0], query=RatioQuery((query,), ("http_requests_total{$selector}",)))
    fresh = ExperimentState().with_condition(ConditionType.TARGET_LOCKED, True, "Acquired", "", NOW, 1)
    decision = decided(snapshot(experiment(fresh, spec=spec(slis=(sli,)))))
    found = condition(decision, ConditionType.STALLED)
    assert decision.inquiries == ()
    assert found.reason == "InvalidQuery"
    assert words in found.message
    assert "spec.slis[errors].ratio.bad" in found.message
