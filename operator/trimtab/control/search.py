"""No trial is live: may one start, which one, or is the search over? Beside live ones: `beside`."""

from __future__ import annotations

from itertools import takewhile

from trimtab.control import asking, expense, gates, pauses
from trimtab.control.actions import Decision
from trimtab.control.company import spoilt
from trimtab.control.context import BLOCKED, RETRY, Context, Held, hold, stopped
from trimtab.control.crowds import in_crowd
from trimtab.control.finish import finish
from trimtab.control.proposal import proposed, screened
from trimtab.control.snapshot import AskAlerts, AskBudgets
from trimtab.control.start import start_trial
from trimtab.control.study import LOST
from trimtab.domain.backoff import doubling
from trimtab.domain.quantity import format_moment
from trimtab.domain.spec import Mode
from trimtab.domain.study import Hold, HoldReason, NoAnswer
from trimtab.domain.trial import Purpose, Trial, TrialPhase

MAX_BACKOFF = 300.0
FIRST_BACKOFF = 5.0
LAST_REASONS = 2  # of attempts in vain, told to people


def search(context: Context) -> Decision:
    """Caps and stopping rules, then gates, then the Designer. Gates hold trials back, never the end."""
    readings = context.seen.budgets()
    named = context.spec.safety.pause_on_alerts and context.spec.mode is not Mode.OBSERVE
    if readings is None or (named and context.seen.alerts() is None):
        return context.ask(AskBudgets(), *([AskAlerts()] if named else []))
    context, closed = gates.evaluate_gate(context, readings)
    if context.spec.mode is Mode.OBSERVE:
        context = pauses.awake(context)
        seen = f"waiting: {closed}" if closed else f"observing {context.spec.target.name}: {gates.describe(context)}"
        return context.say(seen).wait(RETRY if closed else BLOCKED)
    ended = _caps(context)
    if ended is not None:
        return ended
    reason = "verifying" if context.state.candidate is not None else enough(context)
    context, held = held_back(context, closed, verification=bool(reason))
    if held is None:
        crowd = in_crowd(context)
        if isinstance(crowd, Decision):
            return crowd
        held = crowd
    if reason:
        return finish(context, reason, held)
    return hold(context, held) if held is not None else _propose(context)


def held_back(context: Context, closed: str, *, verification: bool) -> tuple[Context, Held | None]:
    """What holds the next trial back, what lasts longest first: the schedule, alerts, budgets (`closed`), a pause."""
    context, alerted = pauses.alerted(context)
    held = pauses.scheduled(context, verification=verification) or alerted
    if held is None or not held.reason:
        context = pauses.awake(context)
    return context, held or (Held(f"waiting: {closed}", RETRY) if closed else _resting(context))


def _resting(context: Context) -> Held | None:
    """The pause after trials that failed for reasons outside the assignment: 5 s, doubling up to 5 min.

    Trials that people had aborted neither cause a pause nor end one.
    """
    ended = (t for t in reversed(context.seen.trials) if t.phase.terminal and not t.asked_for)
    failed = [*takewhile(_in_vain, ended)]
    if not failed:
        return None
    last = failed[0]
    finished = last.times.finished if last.times.finished is not None else last.times.created
    pause = doubling(FIRST_BACKOFF, len(failed), MAX_BACKOFF)
    until = finished + pause
    if finished > context.now:  # it was written by a clock that was ahead: the pause begins when that is noticed
        begun = context.state.retry_at
        until = begun if begun is not None and begun <= context.now + pause else context.now + pause
    if until <= context.now:
        return None
    why = f"trial {last.index} was {last.phase}" + (f" ({last.outcome.reason})" if last.outcome is not None else "")
    return Held(f"next trial not before {format_moment(until)}: {why}", until - context.now, until)


def _in_vain(trial: Trial) -> bool:
    return trial.wasted or trial.phase is TrialPhase.STALE


def _caps(context: Context) -> Decision | None:
    """Too many trials that went wrong: stop with a condition, recommend nothing."""
    stopping, trials = context.spec.stopping, context.seen.trials
    infeasible = sum(1 for t in trials if t.phase is TrialPhase.INFEASIBLE and not _no_fault(context, t))
    if infeasible >= stopping.max_infeasible:
        return stopped(context, "MaxInfeasible", f"{infeasible} trials were withdrawn or broke a bound")
    wasted = [t for t in trials if t.wasted]
    if len(wasted) >= stopping.max_inconclusive:
        last = wasted[-1].outcome
        words = f"; last: {last.reason}: {last.message}" if last is not None else ""
        what = f"{len(wasted)} trials were inconclusive, failed to deploy or had to be aborted"
        return stopped(context, "MaxInconclusive", f"{what}{words}")
    return None


def _no_fault(context: Context, trial: Trial) -> bool:
    """It is the baseline that broke a bound, in an Experiment that repairs it; or others had disturbed it."""
    foreseen = context.spec.search.repair and trial.purpose is Purpose.BASELINE
    return foreseen or spoilt(trial, context.seen.trials, context.state.spoilt_before)


def enough(context: Context) -> str:
    stopping = context.spec.stopping
    if context.state.trials_counted >= stopping.max_trials:
        return f"all {stopping.max_trials} trials were used"
    if context.state.started is not None and context.now - context.state.started >= stopping.max_duration:
        return "maxDuration has passed"
    return expense.reached(context)


def _propose(context: Context) -> Decision:
    pause = asking.resting(context)
    if pause is not None:
        return pause
    proposal = proposed(context)
    if isinstance(proposal, Decision):
        return proposal
    match proposal.answer:
        case NoAnswer(why):
            return asking.in_vain(context, why)
        case Hold(HoldReason.NUMERICAL, message):
            return asking.in_vain(context, message, for_good=True)
    context = asking.answered(context).update(diagnostics=proposal.diagnostics, retry_at=None)
    match proposal.answer:
        case Hold(HoldReason.BASELINE_INFEASIBLE, message):
            return stopped(context, "BaselineInfeasible", message)
        case Hold(HoldReason.BASELINE_UNREADABLE, message):
            return stopped(context, "BaselineUnreadable", _unreadable(context, message))
        case Hold(reason, message):
            return finish(context, f"{reason}: {message}")
        case suggestion:
            refused = expense.refused(context, suggestion.assignment, context.spec.verification.replicates)
            return finish(context, refused) if refused else start_trial(context, screened(context.spec, suggestion))


def _unreadable(context: Context, message: str) -> str:
    """What the last attempts at the baseline said, the newest first and each once, and what to do."""
    said = (t.outcome for t in reversed(context.seen.trials) if t.purpose is Purpose.BASELINE and t.phase not in LOST)
    reasons = dict.fromkeys(f"{o.reason}: {o.message[:300]}" for o in said if o is not None)
    last = "; ".join([*reasons][:LAST_REASONS])
    remedy = "repair what they name (telemetry, traffic, the share of load), then create this Experiment anew"
    return f"{message}; last: {last}; {remedy}" if last else f"{message}; {remedy}"
