"""May this Experiment run at all? Each refusal names what a person must do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.control import scaled
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
    suggestion,
    surroundings,
    target,
    trial,
)

from trimtab.control.actions import AcquireLock, Decision, ReleaseLock
from trimtab.control.scaling import context_hash
from trimtab.control.snapshot import (
    AskProbes,
    AskUsage,
    LockView,
)
from trimtab.domain.autoscaler import AutoscalerView
from trimtab.domain.kube import TargetMissing
from trimtab.domain.spec import ExperimentSpec, RatioQuery
from trimtab.domain.state import ConditionType, ExperimentPhase, ExperimentState, TargetRecord
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


def test_the_lock_of_a_target_that_was_made_anew_is_given_back() -> None:
    state = running()
    assert state.target is not None
    anew, free = replace(target(), uid="made-anew"), LockView(mine=False)
    decision = decided(snapshot(experiment(state), target=anew, lock=free))
    assert decision.actions[0] == ReleaseLock(state.target.uid)
    assert decision.state.target is None
    following = decided(snapshot(experiment(decision.state), target=anew, lock=free))
    assert AcquireLock("made-anew") in following.actions


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


class TestAnAutoscalerThatArmsHaveACopyOf:
    SCALER = replace(scaled.SCALER, tolerance=0.12)  # the arms' share must not move it

    def seen(self, view: AutoscalerView, spec: ExperimentSpec) -> Decision:
        """A live trial in an Experiment that began with `SCALER`."""
        surroundings, running_on = scaled.around(self.SCALER), scaled.target()
        record = TargetRecord("target-uid", context_hash(spec, running_on, surroundings), scaled.assigned(target=70))
        live = trial(TrialPhase.MEASURING, suggestion=suggestion(assignment=scaled.assigned(target=80)))
        state = running(target=record, spec_digest=spec.digest)
        held = experiment(state, spec=spec)
        return decided(snapshot(held, (live,), both_arms(live), target=running_on, surroundings=scaled.around(view)))

    @pytest.mark.parametrize(
        ("change", "reason", "words"),
        [
            ({"rest": "other policies"}, "TargetChanged", "the target's template or autoscaler changed to"),
            ({"metrics": (replace(scaled.CPU, utilization=60),)}, "AutoscalerChanged", "from 70 to 60"),
            ({"given_by": "KEDA's ScaledObject web"}, "AutoscalerChanged", "which puts back"),
        ],
    )
    def test_a_change_of_it_makes_a_live_trial_stale(self, change: dict[str, Any], reason: str, words: str) -> None:
        decision = self.seen(replace(self.SCALER, **change), scaled.spec(scaled.UTILIZATION, budgets=()))
        ended = outcome(decision)
        assert (ended.phase, ended.reason) == (TrialPhase.STALE, reason)
        assert words in ended.message
        assert decision.state.target is None

    def test_what_it_decides_does_not(self) -> None:
        decision = self.seen(replace(self.SCALER, current=140), scaled.spec(scaled.UTILIZATION, budgets=()))
        assert kinds(decision) == []
        assert decision.state.target is not None


def test_what_passes_by_itself_does_not_hide_what_a_person_must_mend() -> None:
    unserved, begun = surroundings(services=()), experiment(replace(running(), spec_digest=""))
    answers = {AskProbes(): (), AskUsage(("web",)): ()}
    for record in (begun, experiment()):
        lagging = target(rollout_behind="19 of 20")
        refused = decided(snapshot(record, answers=answers, target=lagging, surroundings=unserved))
        assert condition(refused, ConditionType.STALLED).reason == "NoService"
        assert ("(and 1 more)" in refused.state.message) is (record is begun)
    waits = decided(snapshot(begun, answers=answers, target=target(rollout_behind="19 of 20")))
    assert not waits.state.is_true(ConditionType.STALLED)
    assert waits.state.message.startswith("waiting: Deployment web: its rollout is not complete: 19 of 20")
