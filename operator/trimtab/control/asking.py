"""When the Designer cannot answer: ask again with growing pauses, tell people soon, and conclude nothing from it."""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.control.actions import Decision, EmitEvent, Severity
from trimtab.control.context import Context
from trimtab.domain.backoff import doubling
from trimtab.domain.quantity import format_moment
from trimtab.domain.state import ConditionType

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 300.0
PATIENCE = 3  # questions in vain until a person is told


@dataclass(frozen=True)
class _Trouble:
    reason: str
    remedy: str


_LOST = _Trouble(
    "OptimizerUnavailable",
    "it is asked again by itself; if that lasts, look at the operator's log and its memory limit",
)
_STUCK = _Trouble("OptimizerFailed", "correct what it names, or delete this Experiment and create another one")
REASONS = frozenset({_LOST.reason, _STUCK.reason})


def resting(context: Context) -> Decision | None:
    """The pause after a question in vain; the status stays as it is meanwhile. An end further off than any pause was
    set by a clock that was ahead."""
    until = context.state.retry_at
    if not context.state.designer_failures or until is None or not 0 < until - context.now <= LONGEST_PAUSE:
        return None
    return context.wait(until - context.now)


def in_vain(context: Context, why: str, *, for_good: bool = False) -> Decision:
    """The Designer could not answer. `for_good`: the same question will get the same answer, so people are told at
    once; what they change makes another question of it."""
    failures = context.state.designer_failures + 1
    pause = doubling(FIRST_PAUSE, failures, LONGEST_PAUSE)
    until = context.now + pause
    words = f"the optimizer cannot answer: {why}"
    context = context.update(designer_failures=failures, retry_at=until)
    context = context.say(f"{words}; asked again not before {format_moment(until)}")
    if failures < PATIENCE and not for_good:
        return context.wait(pause)
    trouble = _STUCK if for_good else _LOST
    message = f"{words}; {trouble.remedy}"
    old = context.state.condition(ConditionType.STALLED)
    known = old is not None and old.status is True and old.reason == trouble.reason
    context = context.set(ConditionType.STALLED, True, trouble.reason, message)
    context = context.set(ConditionType.READY, False, trouble.reason, message)
    events = () if known else (EmitEvent(Severity.WARNING, trouble.reason, message),)
    return context.do(*events, after=pause)


def answered(context: Context) -> Context:
    """The Designer answered: an old trouble is over."""
    if not context.state.designer_failures:
        return context
    context = context.update(designer_failures=0, retry_at=None)
    stalled = context.state.condition(ConditionType.STALLED)
    if stalled is None or stalled.status is not True or stalled.reason not in REASONS:
        return context
    context = context.set(ConditionType.STALLED, False, "Answered", "the optimizer answers again")
    return context.set(ConditionType.READY, True, "Accepted", "accepted and running")


__all__ = ["REASONS", "answered", "in_vain", "resting"]
