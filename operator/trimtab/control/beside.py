"""Trials beside trials: may one more start while others measure, and do those that run still fit? Pure.

Only trials that look for something run side by side. What all others are compared with and what the answer rests on,
the baseline and the verification, is measured alone, and so is the first trial of a category, of which no model says
that it is safe. A further trial starts when all that are live measure, so that no two change the load at once and what
is withdrawn early is seen before the next one comes; and none starts while something would hold back a first one.
"""

from __future__ import annotations

from dataclasses import replace

from trimtab.control import expense, gates
from trimtab.control.actions import Decision
from trimtab.control.context import Context, withdraw
from trimtab.control.crowds import in_crowd
from trimtab.control.preflight_capacity import quotas_allow
from trimtab.control.proposal import proposed, screened
from trimtab.control.search import enough, held_back
from trimtab.control.sharing import at_once, serving_pods
from trimtab.control.snapshot import AskAlerts, AskBudgets, Inquiry
from trimtab.control.start import start_trial
from trimtab.control.study import counts
from trimtab.domain.kube import Target
from trimtab.domain.space import Assignment, Categorical
from trimtab.domain.spec import Mode
from trimtab.domain.state import ConditionType
from trimtab.domain.study import Proposal
from trimtab.domain.trial import SEARCHES, Outcome, Purpose, Suggestion, Trial, TrialPhase

SOCIABLE = SEARCHES | {Purpose.INITIAL, Purpose.REPLICATE}


def crowded(context: Context) -> Decision | None:
    """Fewer trials fit than run, as the target has fewer pods now: the youngest of them goes."""
    live = [t for t in context.seen.live if t.phase is not TrialPhase.DRAINING]
    target, surroundings = context.seen.target, context.seen.surroundings
    if len(live) < 2 or not isinstance(target, Target) or surroundings is None:
        return None
    unready = max(0, target.replicas - target.ready_replicas)  # for a moment only, see `preflight.recheck`
    most = at_once(context.spec, surroundings, serving_pods(target, surroundings) + unready)
    youngest = live[-1]
    if len(live) <= most or youngest.uid in context.seen.withdrawing:
        return None
    words = f"{len(live)} trials ran side by side, by spec.canary.maxSharePercent and the target's pods {most} may"
    return context.say(words).do(*withdraw(youngest, context.now, Outcome(TrialPhase.STALE, "ShareTooLarge", words)))


def beside(context: Context) -> Decision | None:
    """Start one more trial beside those that are live, or ask what has to be known for that; None while none may
    start. Nothing of it shows in the status but the trial."""
    if not _may(context):
        return None
    asks: tuple[Inquiry, ...] = (AskBudgets(), *([AskAlerts()] if context.spec.safety.pause_on_alerts else []))
    missing = tuple(ask for ask in asks if ask not in context.seen.answers)
    if missing:
        return context.ask(*missing)
    if _held(context):
        return None
    crowd = in_crowd(context)
    if crowd is not None:
        return replace(crowd, state=context.state) if isinstance(crowd, Decision) else None
    answer = proposed(context)
    if isinstance(answer, Decision):
        return replace(answer, state=context.state) if answer.inquiries else None
    if not isinstance(answer.answer, Suggestion) or not _suits(context, answer.answer):
        return None
    return _start(context, answer, answer.answer)


def _start(context: Context, proposal: Proposal, suggestion: Suggestion) -> Decision:
    context = context.update(diagnostics=proposal.diagnostics)
    return start_trial(context, screened(context.spec, suggestion))


def _may(context: Context) -> bool:
    """By what costs nothing to know."""
    spec, live = context.spec, context.seen.live
    if not 1 <= len(live) < spec.trial.parallel or spec.route is not None or spec.mode is Mode.OBSERVE:
        return False
    if context.state.is_false(ConditionType.PARALLEL) or context.state.candidate is not None:
        return False
    if not all(_joins(context, trial) for trial in live):
        return False
    target, surroundings = context.seen.target, context.seen.surroundings
    assert isinstance(target, Target)
    assert surroundings is not None
    if len(live) >= at_once(spec, surroundings, serving_pods(target, surroundings)):
        return False
    return not (_used_up(context) or quotas_allow(spec, target, surroundings))


def _joins(context: Context, trial: Trial) -> bool:
    """It bears another one beside it, and has come through its warm-up."""
    settled = trial.phase is TrialPhase.MEASURING and trial.uid not in context.seen.withdrawing
    return settled and trial.purpose in SOCIABLE and not _of_a_new_category(context, trial.index, trial.assignment)


def _used_up(context: Context) -> bool:
    """No further trial is left to be made, if all that are live end as badly as they may."""
    spec, trials, live = context.spec, context.seen.trials, context.seen.live
    if enough(context) or context.state.trials_counted + len(live) >= spec.stopping.max_trials:
        return True
    infeasible = sum(t.phase is TrialPhase.INFEASIBLE for t in trials) + len(live)
    wasted = sum(t.wasted for t in trials) + len(live)
    return infeasible >= spec.stopping.max_infeasible or wasted >= spec.stopping.max_inconclusive


def _held(context: Context) -> bool:
    """What would hold a first trial back holds it back, the budgets with what live trials may still cost."""
    readings = context.seen.budgets()
    assert readings is not None
    closed = gates.one_more(context, readings)
    return held_back(context, closed, verification=False)[1] is not None


def _suits(context: Context, suggestion: Suggestion) -> bool:
    """It may run beside others, none of which tries about the same, and fits into maxCost with its verification."""
    if suggestion.purpose not in SOCIABLE or _of_a_new_category(context, -1, suggestion.assignment):
        return False
    if any(context.spec.space.alike(suggestion.assignment, t.assignment) for t in context.seen.live):
        return False
    return not expense.refused(context, suggestion.assignment, context.spec.verification.replicates)


def _of_a_new_category(context: Context, index: int, assignment: Assignment) -> bool:
    """It has a value of a category that no other trial measured, nor the baseline has."""
    record = context.state.target
    assert record is not None
    tried = [record.baseline, *(t.assignment for t in context.seen.trials if t.index != index and counts(t))]
    named = (p.name for p in context.spec.space.parameters if isinstance(p.domain, Categorical))
    return any(all(assignment[name] != each[name] for each in tried) for name in named)


__all__ = ["beside", "crowded"]
