"""A live trial, step by step: Pending, Deploying, WarmingUp, Measuring. Draining is in `lifecycle`."""

from __future__ import annotations

from dataclasses import replace

from trimtab.control import machine, routing
from trimtab.control.actions import Action, CreateArms, Decision, EmitEvent, SetRoute, Severity, WriteTrial
from trimtab.control.arms import admitted_mismatch, cost_model, plan_arms
from trimtab.control.context import DEFAULT_SCRAPE, LOOK, POLL, SOON, Context, withdraw
from trimtab.control.disturbed import on_one_node, with_company
from trimtab.control.lifecycle import drain
from trimtab.control.pauses import next_edge
from trimtab.control.snapshot import AskMeasurements, AskShown, TrialReadings
from trimtab.domain.kube import ArmPlan, ArmView, Target
from trimtab.domain.measurement import Arm, Sample, Stale, TelemetryError, Window
from trimtab.domain.quantity import percent
from trimtab.domain.spec import ExperimentSpec, RouteSpec
from trimtab.domain.trial import SEARCHES, Outcome, Purpose, Trial, TrialPhase
from trimtab.slo.arm_scaling import unscaled
from trimtab.slo.edited import edited
from trimtab.slo.verdict import NeedsExtension, Verdict, judge_early, judge_screen, judge_trial
from trimtab.slo.words import show

EARLIEST = 0.5  # of a trial's duration: what only shows after a while must have had the time
EARLY_PURPOSES = SEARCHES | {Purpose.INITIAL}


def advance(context: Context) -> Decision | None:
    """Move one live trial one step, or wait for the first that has to be moved; None when there is none.

    Whoever is further on comes first. What a trial that serves has to be moved by is a write that moves it, so it asks
    for no more than some of these, and nobody waits for ever behind one whose arms cannot be made.
    """
    live = sorted(context.seen.live, key=lambda t: (-ORDER.index(t.phase), t.index))
    found = []
    for trial in live:
        decision = _step(context, trial)
        if decision.actions or decision.inquiries:
            return decision
        found.append(decision)
    return _all_wait(context, found) if found else None


def _step(context: Context, trial: Trial) -> Decision:
    if trial.uid in context.seen.withdrawing:
        return context.say(f"trial {trial.index}: being withdrawn by the safety monitor").wait(LOOK)
    return STEPS[trial.phase](context, trial)


def _all_wait(context: Context, found: list[Decision]) -> Decision:
    """The soonest of these waits, with what there is to say of each."""
    if len(found) == 1:
        return found[0]
    new = dict.fromkeys(d.state.message for d in found if d.state.message != context.state.message)
    soonest = min(d.requeue_after for d in found if d.requeue_after is not None)
    return (context.say("; ".join(new)) if new else context).wait(soonest)


def _begin(context: Context, trial: Trial) -> Decision:
    """Fence first: Deploying is on record, with leader and deadline, before any arm exists."""
    started = machine.start(trial, context.now, context.now + context.spec.trial.deadline, context.seen.leader)
    message = f"trial {trial.index}: deploying {context.spec.space.describe(trial.assignment)}"
    return context.say(message).do(WriteTrial(started))


def _deploy(context: Context, trial: Trial) -> Decision:
    target, surroundings = context.seen.target, context.seen.surroundings
    assert isinstance(target, Target)
    assert surroundings is not None
    plans = plan_arms(context.spec, target, surroundings, trial)
    views = tuple(context.seen.arm(trial, plan.arm) for plan in plans)
    missing = tuple(plan for plan, view in zip(plans, views, strict=True) if view is None or view.uid is None)
    if missing and not any(v is not None and v.deleting for v in views):
        return context.do(CreateArms(machine.claimed(trial, context.seen.leader), missing), after=POLL)
    found = tuple(v for v in views if v is not None)
    fault = edited(found) or _infrastructure(plans, found)
    if fault is not None:
        return context.do(*withdraw(trial, context.now, fault))
    if len(found) == len(plans) and all(_serving(v, plans) for v in found):
        crowd = on_one_node(context, trial)
        if crowd is not None:
            return crowd
        message = f"trial {trial.index}: warming up {context.spec.space.describe(trial.assignment)}"
        return context.say(message).do(WriteTrial(machine.arms_ready(trial, context.now)))
    serving, wanted = sum(v.ready_endpoints for v in found), sum(p.replicas for p in plans)
    context = context.say(f"trial {trial.index}: {serving} of {wanted} arm pods ready")
    # Pods are watched, endpoints are not: they follow within a moment.
    return context.wait(POLL if sum(v.ready_pods for v in found) > serving else LOOK)


def _serving(view: ArmView, plans: tuple[ArmPlan, ...]) -> bool:
    """All pods that it was planned with, or that its autoscaler has left of them by now."""
    if view.scaled_by and view.scaler is None:
        return False
    wanted = min((p.replicas for p in plans if view.scaled_by and p.arm is view.arm), default=view.replicas)
    wanted = min(wanted, view.replicas)
    return view.ready_endpoints >= wanted and view.ready_pods >= wanted


def _infrastructure(plans: tuple[ArmPlan, ...], views: tuple[ArmView, ...]) -> Outcome | None:
    for view in views:
        if view.failure:
            return Outcome(TrialPhase.INFRA_FAILED, "FailedCreate", view.failure[:300])
    mismatch = next((m for m in (admitted_mismatch(p, v) for p in plans for v in views) if m), "")
    return Outcome(TrialPhase.INFRA_FAILED, "ResourcesMutated", mismatch) if mismatch else None


def _arms_lost(context: Context, trial: Trial) -> Outcome | None:
    """Both Deployments must stay, unedited, while the trial measures, and a route's weights as they were written."""
    views = context.seen.arms_of(trial)
    changed = edited(views) or unscaled(views)
    if changed is not None:
        return changed
    for arm in (Arm.CANARY, Arm.CONTROL):
        view = context.seen.arm(trial, arm)
        if view is None or view.uid is None or view.deleting:
            return Outcome(TrialPhase.ABORTED, "ArmDeleted", f"the {arm} arm was deleted by somebody else")
    return routing.lost(context, trial)


def _warm_up(context: Context, trial: Trial) -> Decision:
    lost = _arms_lost(context, trial)
    if lost is not None:
        return context.do(*withdraw(trial, context.now, lost))
    since = trial.times.warming_up if trial.times.warming_up is not None else context.now
    scrape = context.state.scrape_interval or DEFAULT_SCRAPE
    ends = since + max(context.spec.trial.warm_up, 2 * scrape)
    if context.spec.route is not None:
        ramp = _ramp(context, trial, context.spec.route, context.now - since)
        if isinstance(ramp, Decision):
            return ramp
        ends = max(ends, ramp)
    if context.now < ends:
        return context.wait(min(_look(context), ends - context.now))
    window = Window(context.now, context.now + duration_of(context.spec, trial.purpose))
    message = f"trial {trial.index}: measuring {context.spec.space.describe(trial.assignment)}"
    return context.say(message).do(WriteTrial(machine.warmed_up(trial, context.now, window)))


def _ramp(context: Context, trial: Trial, route: RouteSpec, elapsed: float) -> Decision | float:
    """The next step of the arms' weights, or the wait for it; until when they still warm up once they have all."""
    claim, part = routing.claim_of(context, trial), routing.wanted_part(context.spec, elapsed)
    assert context.state.target is not None
    arms = (trial.assignment, context.state.target.baseline)
    canary, control = (part * context.spec.route_share(assignment) for assignment in arms)
    if claim is None or claim.shares[0] < canary:
        plan = routing.plan_weights(route, trial, (canary, control))
        message = f"trial {trial.index}: its canary gets {percent(canary)} of the traffic of rule {route.rule}"
        return context.say(message).do(SetRoute(machine.claimed(trial, context.seen.leader), plan), after=POLL)
    until = routing.next_step(context.spec, elapsed)
    return context.wait(min(_look(context), until)) if until else routing.settled(context.spec, claim)


def _look(context: Context) -> float:
    """How often a trial that serves is looked at while the watch tells of no change."""
    return LOOK if context.spec.route is None else routing.LOOK


def duration_of(spec: ExperimentSpec, purpose: Purpose) -> float:
    """Seconds of measurement; of a Screen, until it is decided whether it goes on."""
    if purpose is Purpose.SCREEN and spec.trial.screen is not None:
        return spec.trial.screen
    return spec.verification.duration if purpose is Purpose.VERIFICATION else spec.trial.duration


def _measure(context: Context, trial: Trial) -> Decision:
    lost = _arms_lost(context, trial)
    if lost is not None:
        return context.do(*withdraw(trial, context.now, lost))
    assert trial.window is not None
    scrape = context.state.scrape_interval or DEFAULT_SCRAPE
    ready_at = trial.window.end + 1.5 * scrape
    if context.now < ready_at:
        early = _end_early(context, trial)
        return early if early is not None else context.wait(min(_look(context), ready_at - context.now))
    ask = AskMeasurements(trial.name, trial.window, trial.extended)
    readings = context.seen.readings(ask)
    if readings is None:
        return context.ask(ask)
    if _unreadable(readings) and context.now < trial.window.end + context.spec.safety.stale_after:
        return context.say(f"trial {trial.index}: waiting for telemetry of its window").wait(POLL)
    measured = _with_readings(trial, readings)
    verdict = _screened(context, measured)
    if isinstance(verdict, NeedsExtension):
        whole = machine.in_full(measured, _full_window(context.spec, trial.window))
        return context.say(f"trial {trial.index}: {verdict.message}").do(WriteTrial(whole))
    verdict = verdict or judge_trial(context.spec, measured)
    if isinstance(verdict, NeedsExtension) and not _extension_fits(context, measured):
        verdict = judge_trial(context.spec, replace(measured, extended=True))
    if isinstance(verdict, NeedsExtension):
        longer = Window(trial.window.start, trial.window.start + machine.EXTENSION * trial.window.seconds)
        grown = machine.extended(measured, longer)
        return context.say(f"trial {trial.index}: extended once: {verdict.message}").do(WriteTrial(grown))
    context = context.say(f"trial {trial.index}: {_numbers(context.spec, measured) or verdict.message}")
    context, verdict, told = with_company(context, measured, verdict)
    done = machine.judged(measured, context.now, verdict)
    actions: list[Action] = [WriteTrial(done), *told]
    if verdict.phase is TrialPhase.INFEASIBLE:
        actions.append(EmitEvent(Severity.WARNING, verdict.reason, verdict.message, done))
    return context.do(*actions, after=SOON)


def _end_early(context: Context, trial: Trial) -> Decision | None:
    """Judge a trial that the safety loop's tests show to be good, over the window that they have seen; None while it is
    to be measured on. Nothing is on record before the outcome is: whoever comes after a crash asks again, or goes on.
    """
    spec, window = context.spec, trial.window
    assert window is not None
    half = window.start + EARLIEST * spec.trial.duration
    if not _may_end_early(spec, trial) or context.now < half:
        return None
    ask_shown = AskShown(trial.uid)
    shown = context.seen.shown(ask_shown)
    if shown is None:
        return context.ask(ask_shown)
    if shown.until is None or not half <= shown.until < window.end:
        return None
    short = Window(window.start, shown.until)
    ask = AskMeasurements(trial.name, short, trial.extended)
    readings = context.seen.readings(ask)
    if readings is None:
        return context.ask(ask)
    measured = replace(_with_readings(trial, readings), window=short)
    outcome = judge_early(spec, measured)
    if outcome is None:
        return None
    context = context.say(f"trial {trial.index}: {outcome.message}")
    context, outcome, told = with_company(context, measured, outcome)
    return context.do(WriteTrial(machine.judged(measured, context.now, outcome)), *told, after=SOON)


def _may_end_early(spec: ExperimentSpec, trial: Trial) -> bool:
    """Only the whole window of a new assignment: what is measured to be sure is measured in full."""
    whole = trial.window is not None and trial.window.seconds >= spec.trial.duration
    return spec.trial.early_success and trial.purpose in EARLY_PURPOSES and whole and not trial.extended


def _screened(context: Context, trial: Trial) -> Verdict | None:
    """The verdict at the end of a Screen's short window; None for all other windows, and when no time is left for a
    full one."""
    spec = context.spec
    if trial.purpose is not Purpose.SCREEN or trial.window is None or trial.window.seconds >= spec.trial.duration:
        return None
    if trial.extended or not _fits(context, trial, spec.trial.duration):
        return None
    target = context.seen.target
    assert isinstance(target, Target)
    cost, best = cost_model(spec, target, context.state.target), context.state.incumbent
    cheaper = best is None or cost.hourly(trial.assignment) < cost.hourly(best)
    return judge_screen(spec, trial, promising=cheaper or not trial.suggestion.explores)


def _full_window(spec: ExperimentSpec, window: Window) -> Window:
    return Window(window.start, window.start + spec.trial.duration)


def _unreadable(readings: TrialReadings) -> bool:
    """Absent for a reason that may pass: the same absolute window can be asked again."""
    return any(isinstance(m.reading, TelemetryError | Stale) for m in readings.measurements)


def _extension_fits(context: Context, trial: Trial) -> bool:
    """An extended window must end, and be read, before the trial's deadline, and before it would be withdrawn."""
    assert trial.window is not None
    return _fits(context, trial, machine.EXTENSION * trial.window.seconds)


def _fits(context: Context, trial: Trial, seconds: float) -> bool:
    assert trial.window is not None
    ends = trial.window.start + seconds + 2 * (context.state.scrape_interval or DEFAULT_SCRAPE)
    left = max(ends - context.now, 0.0)
    return (trial.deadline is None or ends < trial.deadline) and next_edge(context, left) > left - 0.5


def _with_readings(trial: Trial, readings: TrialReadings) -> Trial:
    return replace(trial, measurements=readings.measurements, load=readings.load)


def _numbers(spec: ExperimentSpec, trial: Trial) -> str:
    """`slow 3.1 % against control 2.9 %, n=9,120` for the first constraint that was measured."""
    for constraint in spec.constraints:
        canary, control = (trial.measurement(constraint.sli, arm) for arm in (Arm.CANARY, Arm.CONTROL))
        if canary is None or not isinstance(canary.reading, Sample):
            continue
        sli = spec.sli(constraint.sli)
        text = f"{constraint.sli} {show(sli, canary.reading.value)}"
        if control is not None and isinstance(control.reading, Sample):
            text += f" against control {show(sli, control.reading.value)}"
        return f"{text}, n={canary.reading.total:,.0f}"
    return ""


STEPS = {
    TrialPhase.PENDING: _begin,
    TrialPhase.DEPLOYING: _deploy,
    TrialPhase.WARMING_UP: _warm_up,
    TrialPhase.MEASURING: _measure,
    TrialPhase.DRAINING: drain,
}
ORDER = tuple(STEPS)
