"""Errors of a pass as people see them: reason, the server's words, remedy."""

from __future__ import annotations

import inspect

import pytest
from tests.unit.control.builders import NOW, decided, experiment, running, snapshot

from trimtab.control import faults
from trimtab.control.asking import REASONS as ASKING
from trimtab.control.snapshot import LockView
from trimtab.domain import errors
from trimtab.domain.errors import (
    AlreadyExists,
    Conflict,
    CorruptLedger,
    Forbidden,
    IllegalTransition,
    InvalidSpec,
    NotFound,
    Rejected,
    RetryLater,
    Throttled,
    TrimtabError,
    Unavailable,
)
from trimtab.domain.state import ConditionType, ExperimentPhase

EXAMPLES: tuple[tuple[Exception, str], ...] = (
    (Forbidden(403, "deployments is forbidden: cannot create"), "RBACDenied"),
    (Rejected(422, "denied by policy 'no-trimtab'"), "Rejected"),
    (AlreadyExists(409, "Trial shop/web-0 exists with another content"), "NameTaken"),
    (CorruptLedger("ConfigMap x: spending.json cannot be read"), "LedgerCorrupted"),
    (RetryLater(1.0, "endpoints of a withdrawn trial are still ready after 30 s"), "Retrying"),
    (Unavailable(500, "failed calling webhook"), "ApiUnavailable"),
    (Throttled("too many requests", 3.0), "ApiThrottled"),
    (Conflict(409, "the object has been modified"), "WriteConflict"),
    (NotFound(404, "deployments web not found"), "ObjectMissing"),
    (InvalidSpec("Deployment web", "cpu 1.x cannot be read", "write 1500m"), "Unusable"),
    (IllegalTransition("Draining without an outcome"), "Defect"),
    (ValueError("a defect"), "Defect"),
)


@pytest.mark.parametrize(
    ("error", "reason"), EXAMPLES, ids=lambda x: type(x).__name__ if isinstance(x, Exception) else ""
)
def test_an_error_that_lasts_is_a_condition_with_the_servers_words_and_a_remedy(error: Exception, reason: str) -> None:
    fault = faults.fault_of(error)
    state = faults.told(running(), error, fault.tries, NOW, 1)
    found = state.condition(ConditionType.STALLED)
    assert found is not None
    assert (found.status, found.reason) == (True, reason)
    assert str(error) in found.message
    assert found.message.endswith(fault.remedy)
    assert state.message == f"{reason}: {found.message}"


@pytest.mark.parametrize(
    ("error", "reason"), EXAMPLES, ids=lambda x: type(x).__name__ if isinstance(x, Exception) else ""
)
def test_what_may_pass_is_not_told_the_first_time(error: Exception, reason: str) -> None:
    passing = reason in {"Retrying", "ApiUnavailable", "ApiThrottled", "WriteConflict", "ObjectMissing"}
    assert (faults.told(running(), error, 1, NOW, 1) == running()) is passing


def test_every_error_of_the_project_has_a_row_of_its_own_or_is_a_defect() -> None:
    """LeadershipLost never comes here; NotYetSupported and TargetLost are no errors of a pass."""
    known = {kind for kind, _ in faults.TABLE}
    abstract = {"TrimtabError", "ApiError", "LeadershipLost", "NotYetSupported", "TargetLost", "IllegalTransition"}
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, TrimtabError) and name not in abstract:
            assert kind in known, name


def test_a_pass_that_succeeds_clears_what_was_told() -> None:
    told = faults.told(running(), Forbidden(403, "no"), 1, NOW, 1)
    state = faults.recovered(told, NOW + 5, 1)
    found = state.condition(ConditionType.STALLED)
    assert found is not None
    assert (found.status, found.reason) == (False, "Recovered")
    assert "RBACDenied" not in state.message


def test_it_does_not_clear_what_the_rules_have_to_say() -> None:
    blocked = decided(snapshot(lock=LockView(False, "shop/other"))).state
    assert faults.recovered(blocked, NOW, 1) == blocked


def test_the_rules_do_not_clear_it_half_way() -> None:
    """Else a pass that fails would write the status twice, and wake itself."""
    told = faults.told(running(), Rejected(422, "no"), 1, NOW, 1)
    assert decided(snapshot(experiment(told))).state.is_true(ConditionType.STALLED)


def test_reasons_belong_to_one_rule() -> None:
    assert not faults.REASONS & ASKING


def test_the_answer_of_a_finished_experiment_is_not_overwritten() -> None:
    done = running(phase=ExperimentPhase.COMPLETED, message="cpu=1 saves 40 %")
    told = faults.told(done, Forbidden(403, "no"), 1, NOW, 1)
    assert told.message == "cpu=1 saves 40 %"
    assert told.is_true(ConditionType.STALLED)


def test_how_long_to_wait_at_least() -> None:
    assert faults.least_pause(Throttled("busy", 7.0)) == 7.0
    assert faults.least_pause(RetryLater(1.0, "later")) == 1.0
    assert faults.least_pause(Forbidden(403, "no")) == 5.0
    assert faults.least_pause(Conflict(409, "changed")) == 0.0
