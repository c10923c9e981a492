"""May this Experiment run at all? A valid spec, a target that is there and settled, the lock, a passed preflight.

What a person must fix is `Stalled=True` with a reason and a remedy; what passes by itself is waited for.
"""

from __future__ import annotations

from dataclasses import replace

from trimtab.control import asking, expense, faults
from trimtab.control.actions import AcquireLock, Decision, EmitEvent, ReleaseLock, Severity
from trimtab.control.arms import baseline_assignment
from trimtab.control.context import BLOCKED, DEFAULT_SCRAPE, RETRY, Context, withdraw_all
from trimtab.control.floors import memory_floors, watched_containers
from trimtab.control.pauses import waiting
from trimtab.control.preflight import examine, recheck
from trimtab.control.preflight_findings import Findings, Problem, problem
from trimtab.control.preflight_queries import query_problems
from trimtab.control.preflight_route import SeenRoute
from trimtab.control.preflight_scaling import use_notes
from trimtab.control.scaling import context_hash, rescaled, scaled_by
from trimtab.control.snapshot import AskProbes, AskUsage, AskUse
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.kube import Target, TargetMissing
from trimtab.domain.spec import Mode
from trimtab.domain.state import BudgetState, ConditionType, ExperimentPhase, TargetRecord
from trimtab.domain.timetable import never
from trimtab.domain.trial import TrialPhase
from trimtab.ports import SliProbe

KEPT = asking.REASONS | faults.REASONS


def stall(context: Context, reason: str, message: str) -> Context:
    """A person must act: Stalled=True with the reason and the remedy, once as an Event."""
    phase = context.state.phase
    if phase in {ExperimentPhase.RUNNING, ExperimentPhase.VERIFYING, ExperimentPhase.PAUSED}:
        context = context.enter(ExperimentPhase.PENDING)
    context = context.set(ConditionType.READY, False, reason, message)
    context = context.set(ConditionType.RECONCILING, False, reason, message)
    return context.set(ConditionType.STALLED, True, reason, message).say(f"{reason}: {message}")


def _stalled(context: Context, reason: str, message: str, after: float) -> Decision:
    """Withdraw what lives, then stall; the Event is emitted when the reason is new."""
    actions = withdraw_all(context, TrialPhase.STALE, reason, message)
    old = context.state.condition(ConditionType.STALLED)
    fresh = old is None or old.status is not True or old.reason != reason or old.message != message
    event = (EmitEvent(Severity.WARNING, reason, message),) if fresh else ()
    return stall(context, reason, message).do(*actions, *event, after=0.0 if actions else after)


def readable_ledger(context: Context) -> Decision | None:
    """A Trial that cannot be read stops everything: what it taught is nobody's guess."""
    if not context.seen.broken:
        return None
    first = context.seen.broken[0]
    return _stalled(context, "TrialUnreadable", f"{first.problem}; restore it or delete this Experiment", BLOCKED)


def valid_spec(context: Context) -> Decision | None:
    """A spec that does not parse, or asks for what this version lacks, names the field."""
    record = context.seen.experiment
    if record.spec is not None:
        return None
    return _stalled(context, record.problem_reason or "InvalidSpec", record.problem, BLOCKED)


def target_present(context: Context) -> Decision | None:
    """The target is there, is a Deployment, and is the one that preflight saw."""
    target = context.seen.target
    if isinstance(target, Target):
        return _same_target(context, target)
    name = target.name if isinstance(target, TargetMissing) else context.spec.target.name
    kind = target.found_kind if isinstance(target, TargetMissing) else None
    if kind is not None:
        message = f"spec.targetRef: {name} is a {kind}; only Deployments can be tuned (stable identity, volumes)"
        return _stalled(context, "UnsupportedKind", message, BLOCKED)
    if context.state.trials_created:
        message = f"spec.targetRef: Deployment {name} was deleted; recreate it or delete this Experiment"
    else:
        message = f"spec.targetRef: Deployment {name} does not exist; create it or correct the name"
    return _stalled(context, "TargetNotFound", message, RETRY)


def _same_target(context: Context, target: Target) -> Decision | None:
    """A template that changed under a live trial makes it Stale; the next preflight starts from the new one."""
    record = context.state.target
    if record is None:
        return None
    reason, message = _changed(context, target, record)
    if not reason:
        return None
    actions = withdraw_all(context, TrialPhase.STALE, reason, message)
    if record.uid != target.uid:  # made anew under its name: the lock that was seen is the new one's
        actions = (*actions, ReleaseLock(record.uid))
    changed = context.update(target=None, spec_digest="", candidate=None)
    changed = changed.set(ConditionType.PREFLIGHT, False, reason, message).say(message)
    return changed.do(*actions, EmitEvent(Severity.NORMAL, reason, message))


def _changed(context: Context, target: Target, record: TargetRecord) -> tuple[str, str]:
    """Reason and words when the target is not what preflight saw, its autoscaler included where arms get a copy of it;
    ("", "") while it is."""
    surroundings, spec = context.seen.surroundings, context.seen.experiment.spec
    if surroundings is None or spec is None:
        return "", ""
    now = context_hash(spec, target, surroundings)
    if (record.uid, record.template_hash) == (target.uid, now):
        return rescaled(spec, target, surroundings, record.baseline)
    what = "template" if now == target.template_hash else "template or autoscaler"
    return "TargetChanged", f"the target's {what} changed to {now[:8]} during the experiment"


def locked(context: Context) -> Decision | None:
    """One Experiment per target: the second one is Blocked and names the first."""
    lock = context.seen.lock
    if lock.mine:
        context_message = "this Experiment holds the target's lock"
        if not context.state.is_true(ConditionType.TARGET_LOCKED):
            return context.set(ConditionType.TARGET_LOCKED, True, "Acquired", context_message).do()
        return None
    if lock.holder:
        message = f"the target is being tuned by Experiment {lock.holder}; wait for it or delete it"
        waiting = context.set(ConditionType.TARGET_LOCKED, False, "Blocked", message)
        return _stalled(waiting, "Blocked", message, RETRY)
    assert isinstance(context.seen.target, Target)
    return context.do(AcquireLock(context.seen.target.uid))


def preflight(context: Context) -> Decision | None:
    """Examine everything once per spec and template; the cheap part again on every pass."""
    spec, target, surroundings = context.spec, context.seen.target, context.seen.surroundings
    assert isinstance(target, Target)
    assert surroundings is not None
    route = SeenRoute(context.seen.route, context.seen.experiment.uid)
    known = context.state.target
    passed = context.state.is_true(ConditionType.PREFLIGHT)
    if passed and known is not None and context.state.spec_digest == spec.digest:
        return _still_standing(context, recheck(spec, target, surroundings, route))
    if context.state.phase not in {ExperimentPhase.PREFLIGHT, ExperimentPhase.PAUSED}:
        context = context.enter(ExperimentPhase.PREFLIGHT, "preflight: examining the target, its surroundings and SLIs")
        context = context.set(ConditionType.RECONCILING, True, "Preflight", "preflight is being decided")
    unsafe = tuple(query_problems(spec))
    if unsafe:
        return _refuse(context, unsafe)
    probes, ask = context.seen.probes(), AskUsage(watched_containers(spec))
    usage = context.seen.usage(ask) if ask.containers else ()
    scaled = scaled_by(spec, target, surroundings)
    by_use = AskUse(scaled.resource, scaled.container) if scaled is not None and scaled.resource is not None else None
    use = context.seen.use(by_use) if by_use is not None else None
    if probes is None or usage is None or (by_use is not None and use is None):
        return context.ask(AskProbes(), *([ask] if ask.containers else []), *([by_use] if by_use is not None else []))
    findings = examine(spec, target, surroundings, probes, route)
    if findings.blocking:
        return _refuse(context, findings.blocking)
    try:
        baseline = baseline_assignment(spec, target, surroundings)
    except InvalidSpec as error:
        return _refuse(context, (Problem("BaselineOutsideSpace", error.field, str(error), error.remedy),))
    dear = expense.too_small(spec, target, surroundings, baseline)
    if dear is not None:
        return _refuse(context, (dear,))
    scrapes = [p.scrape_interval for p in probes if p.scrape_interval is not None]
    idle = never(spec, context.now, max(scrapes, default=DEFAULT_SCRAPE)) if context.state.started is None else None
    if idle is not None:
        return _refuse(context, (problem("ScheduleTooTight", idle.field, idle.problem, idle.remedy),))
    record = TargetRecord(target.uid, context_hash(spec, target, surroundings), baseline, scaled)
    floors, about = memory_floors(spec, baseline, usage)
    context = context.update(floors=floors)
    findings = Findings((*findings.problems, *about, *use_notes(scaled, use)))
    return _accept(context, findings, probes, record)


def _still_standing(context: Context, findings: Findings) -> Decision | None:
    """What changed around a running Experiment: an autoscaler, a VPA, fewer ready pods."""
    first = findings.decisive
    if first is None:
        return None
    context = context.set(ConditionType.PREFLIGHT, False, first.reason, first.message).update(spec_digest="")
    if first.waits:
        actions = withdraw_all(context, TrialPhase.STALE, first.reason, first.message)
        return context.say(f"waiting: {first.message}").do(*actions, after=0.0 if actions else RETRY)
    return _stalled(context, first.reason, first.message, RETRY)


def _refuse(context: Context, problems: tuple[Problem, ...]) -> Decision:
    first = Findings(problems).decisive
    assert first is not None
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    context = context.set(ConditionType.PREFLIGHT, False, first.reason, "; ".join(p.message for p in problems)[:1000])
    if first.waits:
        return context.say(f"waiting: {first.message}{more}").wait(RETRY)
    return _stalled(context, first.reason, first.message + more, RETRY)


def _accept(context: Context, findings: Findings, probes: tuple[SliProbe, ...], record: TargetRecord) -> Decision:
    notes = "; ".join(p.message for p in findings.notes) or "nothing to remark"
    intervals = [p.scrape_interval for p in probes if p.scrape_interval is not None]
    rates = [p.requests_per_second for p in probes if p.requests_per_second is not None]
    known = context.state.target
    context = context.update(
        budgets=_budgets(context, probes),
        target=record,
        spec_digest=context.spec.digest,
        started=context.state.started or context.now,
        scrape_interval=max(intervals, default=None),
        requests_per_second=max(rates, default=None),
    )
    context = context.set(ConditionType.PREFLIGHT, True, "Passed", notes)
    context = context.set(ConditionType.STALLED, False, "Accepted", "preflight passed")
    context = context.set(ConditionType.RECONCILING, False, "Accepted", "preflight passed")
    context = context.set(ConditionType.READY, True, "Accepted", "accepted and running")
    most = context.spec.trial.parallel
    if most > 1 and (known is None or not context.state.is_false(ConditionType.PARALLEL)):
        context = context.set(ConditionType.PARALLEL, True, "Allowed", f"up to {most} trials at a time")
    message = f"observing {context.spec.target.name}" if context.spec.mode is Mode.OBSERVE else "preflight passed"
    if context.state.phase is not ExperimentPhase.PAUSED:
        context = context.enter(ExperimentPhase.RUNNING, message)
    return context.do(EmitEvent(Severity.NORMAL, "PreflightPassed", notes))


def _budgets(context: Context, probes: tuple[SliProbe, ...]) -> tuple[BudgetState, ...]:
    """What is known of the budgets, with where their metrics begin."""
    known = {b.name: b for b in context.state.budgets}
    reach = {p.sli: p.history for p in probes}
    found: list[BudgetState] = []
    for budget in context.spec.budgets:
        state, history = known.get(budget.name, BudgetState(budget.name, None, None, 0.0, 0.0)), reach.get(budget.sli)
        found.append(replace(state, metrics_since=None if history is None else context.now - history))
    return tuple(found)


def healthy(context: Context) -> Context:
    """Reached the running part: an old stall is over, unless its own rule has to say so."""
    stalled, ready = (context.state.condition(kind) for kind in (ConditionType.STALLED, ConditionType.READY))
    if stalled is not None and stalled.status is True and stalled.reason not in KEPT:
        context = context.set(ConditionType.STALLED, False, "Accepted", "the problem is gone")
    asleep = context.state.phase is ExperimentPhase.PAUSED and waiting(context.state)
    stopped = {ExperimentPhase.PAUSED, ExperimentPhase.PENDING, ExperimentPhase.PREFLIGHT}
    if context.state.phase in stopped and not asleep:
        if context.state.phase is ExperimentPhase.PENDING:
            context = context.enter(ExperimentPhase.PREFLIGHT)
        context = context.enter(ExperimentPhase.RUNNING, "running")
    if ready is None or (ready.status is not True and ready.reason not in KEPT):
        context = context.set(ConditionType.READY, True, "Accepted", "accepted and running")
    return context
