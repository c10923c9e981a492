"""What an error of a pass means to people: a reason, the server's words and a remedy, in one table. Pure.

A pass that fails is tried again by itself, later and later. What may pass is told once it has failed some times in a
row; what needs a person is told at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from trimtab.domain.errors import (
    AlreadyExists,
    Conflict,
    CorruptLedger,
    Forbidden,
    InvalidSpec,
    NotFound,
    Rejected,
    RetryLater,
    Throttled,
    Unauthorized,
    Unavailable,
)
from trimtab.domain.state import ConditionType, ExperimentState


@dataclass(frozen=True)
class Fault:
    """`tries`: failures in a row until it is told. `pause`: seconds at least until the next try."""

    reason: str
    remedy: str
    tries: int = 1
    pause: float = 0.0


TABLE: tuple[tuple[type[Exception], Fault], ...] = (
    (Forbidden, Fault("RBACDenied", "grant the right in the chart's Role and wait, or correct the install", pause=5.0)),
    (
        Unauthorized,
        Fault("CredentialsRefused", "renew the operator's token or kubeconfig, read again by itself", tries=3),
    ),
    (CorruptLedger, Fault("LedgerCorrupted", "restore the object or delete this Experiment", pause=5.0)),
    (Rejected, Fault("Rejected", "change the policy, quota or object that refuses it, or this Experiment", pause=5.0)),
    (AlreadyExists, Fault("NameTaken", "delete or rename the object of that name", pause=5.0)),
    (InvalidSpec, Fault("Unusable", "correct what it names", pause=5.0)),
    (NotFound, Fault("ObjectMissing", "it was deleted meanwhile; see who does that", tries=5)),
    (Conflict, Fault("WriteConflict", "something else keeps writing the same object; see its managedFields", tries=5)),
    (Throttled, Fault("ApiThrottled", "the API server is busy; it passes, or raise its flow limits", tries=5)),
    (Unavailable, Fault("ApiUnavailable", "look at the API server and its admission webhooks", tries=3)),
    (RetryLater, Fault("Retrying", "if that lasts, look at the objects that it is about", tries=2)),
    (Exception, Fault("Defect", "keep the operator's log and this object's YAML, and report it", pause=5.0)),
)
REASONS = frozenset(fault.reason for _, fault in TABLE)
RECOVERED = "the operator goes on with it"


def fault_of(error: Exception) -> Fault:
    """The first row of the table that fits."""
    return next(fault for kind, fault in TABLE if isinstance(error, kind))


def least_pause(error: Exception) -> float:
    """Seconds that must pass before the same is tried again: the server's, or the table's."""
    return error.after if isinstance(error, RetryLater | Throttled) else fault_of(error).pause


def told(state: ExperimentState, error: Exception, failures: int, now: float, generation: int) -> ExperimentState:
    """The state that says why nothing moves, after so many failures in a row (this one included)."""
    fault = fault_of(error)
    if failures < fault.tries:
        return state
    words = str(error) or type(error).__name__
    message = f"{type(error).__name__}: {words}" if fault.reason == "Defect" else words
    message = f"{message}; {fault.remedy}"
    state = state.with_condition(ConditionType.STALLED, True, fault.reason, message, now, generation)
    return state if state.phase.terminal else replace(state, message=_line(fault.reason, message))


def recovered(state: ExperimentState, now: float, generation: int) -> ExperimentState:
    """The state after a pass that succeeded: what was told of errors is over."""
    found = state.condition(ConditionType.STALLED)
    if found is None or found.status is not True or found.reason not in REASONS:
        return state
    if state.message == _line(found.reason, found.message):
        state = replace(state, message=RECOVERED)
    return state.with_condition(ConditionType.STALLED, False, "Recovered", RECOVERED, now, generation)


def _line(reason: str, message: str) -> str:
    return f"{reason}: {message}"


__all__ = ["REASONS", "TABLE", "Fault", "fault_of", "least_pause", "recovered", "told"]
