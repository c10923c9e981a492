"""What follows when trials that run side by side disturb each other: they run one at a time from then on. Pure.

What had company until then is no evidence any more, neither for an assignment nor against it.
"""

from __future__ import annotations

from trimtab.control.actions import Action, Decision, EmitEvent, Severity
from trimtab.control.company import accompanied
from trimtab.control.context import Context, withdraw
from trimtab.control.interference import CONTROLS_WORSE, NODE_SHARED, controls_worse, shared_node
from trimtab.domain.state import ConditionType
from trimtab.domain.trial import Outcome, Trial, TrialPhase

FROM_NOW_ON = "trials run one at a time from now on"


def on_one_node(context: Context, trial: Trial) -> Decision | None:
    """The trial whose arms have just become ready ends where its canary shares a node with another one."""
    if context.spec.trial.parallel < 2:
        return None
    shared = shared_node(trial, context.seen.live, context.seen.arms)
    if not shared:
        return None
    words = f"trial {trial.index}: {shared}, as there is no room to keep them apart"
    context, told = _one_at_a_time(context, NODE_SHARED, words)
    return context.do(*withdraw(trial, context.now, Outcome(TrialPhase.INFRA_FAILED, NODE_SHARED, words)), *told)


def with_company(context: Context, trial: Trial, verdict: Outcome) -> tuple[Context, Outcome, tuple[Action, ...]]:
    """The verdict on a trial whose window is complete, in view of those that ran beside it, and what to tell.

    Args:
        trial: with its measurements.
    """
    here = tuple(trial if t.uid == trial.uid else t for t in context.seen.trials)
    here = tuple(t for t in here if t.environment.template_hash == trial.environment.template_hash)
    if context.spec.trial.parallel < 2 or not accompanied(trial, here):
        return context, verdict, ()
    known = context.state.condition(ConditionType.PARALLEL)
    if known is not None and known.status is False and known.reason == CONTROLS_WORSE:
        return context, Outcome(TrialPhase.INCONCLUSIVE, CONTROLS_WORSE, known.message), ()
    words = controls_worse(context.spec, here)
    if not words:
        return context, verdict, ()
    context, told = _one_at_a_time(context, CONTROLS_WORSE, words)
    context = context.update(spoilt_before=max(t.index for t in context.seen.trials) + 1)
    return context, Outcome(TrialPhase.INCONCLUSIVE, CONTROLS_WORSE, words), told


def _one_at_a_time(context: Context, reason: str, words: str) -> tuple[Context, tuple[Action, ...]]:
    message = f"{words}; {FROM_NOW_ON}"
    context = context.set(ConditionType.PARALLEL, False, reason, message).say(message)
    return context, (EmitEvent(Severity.WARNING, reason, message),)


__all__ = ["on_one_node", "with_company"]
