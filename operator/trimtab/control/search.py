"""No trial is live: may one start, which one, or is the search over?"""

from __future__ import annotations

from trimtab.control import gates
from trimtab.control.actions import Decision, EmitEvent, Severity
from trimtab.control.context import RETRY, Context
from trimtab.control.finish import finish
from trimtab.control.snapshot import AskBudgets, AskProposal
from trimtab.control.start import start_trial
from trimtab.control.study import build_study
from trimtab.domain.kube import Target
from trimtab.domain.spec import Mode
from trimtab.domain.state import ConditionType, ExperimentPhase
from trimtab.domain.study import Hold, HoldReason
from trimtab.domain.trial import TrialPhase

NOTHING_LEARNED = frozenset({TrialPhase.INFRA_FAILED, TrialPhase.STALE, TrialPhase.INCONCLUSIVE})
MAX_BACKOFF = 300.0
FIRST_BACKOFF = 5.0


def search(context: Context) -> Decision:
    """Gates, then stopping rules, then the Designer."""
    readings = context.seen.budgets()
    if readings is None:
        return context.ask(AskBudgets())
    context, closed = gates.evaluate_gate(context, readings)
    if closed:
        return context.say(f"waiting: {closed}").wait(RETRY)
    if context.spec.mode is Mode.OBSERVE:
        return context.say(f"observing {context.spec.target.name}: {gates.describe(context)}").wait(RETRY)
    wait = _backoff(context)
    if wait > 0:
        last = context.seen.trials[-1]
        why = f"trial {last.index} was {last.phase}: {last.outcome.reason if last.outcome else ''}"
        return context.say(f"retrying in {wait:.0f} s; {why}").wait(wait)
    ended = _caps(context)
    if ended is not None:
        return ended
    if context.state.candidate is not None:
        return finish(context, "verifying")
    reason = _enough(context)
    return finish(context, reason) if reason else _propose(context)


def _backoff(context: Context) -> float:
    """Seconds to wait after trials that failed for reasons outside the assignment: 5 s doubling up to 5 min."""
    failures = 0
    for trial in reversed(context.seen.trials):
        if trial.phase not in NOTHING_LEARNED:
            break
        failures += 1
    if not failures:
        return 0.0
    finished = context.seen.trials[-1].times.finished or context.now
    pause = min(FIRST_BACKOFF * 2.0 ** (failures - 1), MAX_BACKOFF)
    return max(0.0, finished + pause - context.now)


def _caps(context: Context) -> Decision | None:
    """Too many trials that went wrong: stop with a condition, recommend nothing."""
    stopping, trials = context.spec.stopping, context.seen.trials
    infeasible = sum(1 for t in trials if t.phase is TrialPhase.INFEASIBLE)
    useless = sum(1 for t in trials if t.phase in {TrialPhase.INCONCLUSIVE, TrialPhase.INFRA_FAILED})
    if infeasible >= stopping.max_infeasible:
        return stopped(context, "MaxInfeasible", f"{infeasible} trials were withdrawn or broke a bound")
    if useless >= stopping.max_inconclusive:
        last = next(t for t in reversed(trials) if t.phase in {TrialPhase.INCONCLUSIVE, TrialPhase.INFRA_FAILED})
        words = f"; last: {last.outcome.reason}: {last.outcome.message}" if last.outcome else ""
        return stopped(context, "MaxInconclusive", f"{useless} trials were inconclusive or failed to deploy{words}")
    return None


def stopped(context: Context, reason: str, message: str) -> Decision:
    """The Experiment ends without a recommendation; a person has to look."""
    context = context.enter(ExperimentPhase.STOPPED, f"stopped: {message}")
    context = context.set(ConditionType.STALLED, True, reason, message)
    context = context.set(ConditionType.READY, False, reason, message)
    context = context.set(ConditionType.RECOMMENDATION_READY, False, reason, message)
    context = context.update(finished=context.now)
    return context.do(EmitEvent(Severity.WARNING, "ExperimentStopped", f"{reason}: {message}"))


def _enough(context: Context) -> str:
    stopping = context.spec.stopping
    if context.state.trials_counted >= stopping.max_trials:
        return f"all {stopping.max_trials} trials were used"
    if context.state.started is not None and context.now - context.state.started >= stopping.max_duration:
        return "maxDuration has passed"
    return ""


def _propose(context: Context) -> Decision:
    target, record = context.seen.target, context.state.target
    assert isinstance(target, Target)
    assert record is not None
    state = context.state
    study = build_study(context.spec, target, record, context.seen.trials, state.started or 0.0, state.floors)
    proposal = context.seen.proposal(study)
    if proposal is None:
        return context.say(f"trial {study.index}: choosing an assignment").ask(AskProposal(study))
    context = context.update(diagnostics=proposal.diagnostics)
    answer = proposal.answer
    if isinstance(answer, Hold):
        if answer.reason is HoldReason.BASELINE_INFEASIBLE:
            return stopped(context, "BaselineInfeasible", answer.message)
        return finish(context, f"{answer.reason}: {answer.message}")
    return start_trial(context, answer)
