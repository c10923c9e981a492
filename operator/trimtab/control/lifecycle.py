"""Rules that come before everything else: unreadable state, leftovers, deletion, draining."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from trimtab.control import machine
from trimtab.control.actions import (
    Action,
    Decision,
    DeleteArms,
    EmitEvent,
    RecordSpending,
    ReleaseExperiment,
    ReleaseLock,
    ReleaseTrial,
    Severity,
    WriteTrial,
)
from trimtab.control.arms import baseline_assignment
from trimtab.control.context import POLL, RETRY, SOON, Context, stopped, withdraw, withdraw_all
from trimtab.control.finish import MAX_CANDIDATES
from trimtab.control.routing import left_weights
from trimtab.control.settle import settle, still_ending
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.kube import ArmView, Target
from trimtab.domain.quantity import format_duration
from trimtab.domain.spec import Mode
from trimtab.domain.state import ConditionType, ExperimentPhase
from trimtab.domain.trial import BrokenTrial, Outcome, Trial, TrialPhase
from trimtab.slo.deadline import overdue


def namespace_leaving(context: Context) -> Decision | None:
    """The Namespace is being deleted, and all that is in it: arms, and in a namespaced install our rights, too.

    That undoes whatever a finalizer waits for, so each is let go at once, before anything else is tried. The namespace
    controller begins five seconds after the deletion was asked for (namespaceDeletionGracePeriod in its source); a
    finalizer that is still there when the Role is gone would hold the Namespace for ever.
    """
    if not context.seen.namespace_leaving:
        return None
    rows: tuple[Trial | BrokenTrial, ...] = (*context.seen.trials, *context.seen.broken)
    actions: list[Action] = [ReleaseTrial(t) for t in rows if t.finalized]
    if context.seen.experiment.finalized:
        actions.append(ReleaseExperiment())
    after = SOON if actions else POLL
    arms = sorted({a.trial_uid for a in context.seen.arms if not _vanishing(a)})
    actions += [DeleteArms(uid, verify=False) for uid in arms]
    return context.say("the Namespace is being deleted").do(*actions, after=after if actions else None)


def leftovers(context: Context) -> Decision | None:
    """An arm whose Trial is absent or terminal is deleted: by hand deleted Trials, crashes between two writes.

    Weights of such a Trial are taken out of the route.
    """
    alive = {t.uid for t in context.seen.live}
    orphans = sorted(
        {a.trial_uid for a in context.seen.arms if a.trial_uid not in alive and not _vanishing(a)}
        | {*left_weights(context)}
    )
    if not orphans:
        return None
    actions: list[Action] = [DeleteArms(uid, verify=True) for uid in orphans]
    actions.append(EmitEvent(Severity.WARNING, "LeftoverArmDeleted", f"{len(orphans)} arm(s) without a live Trial"))
    return context.do(*actions)


def _vanishing(arm: ArmView) -> bool:
    """Only terminating pods are left, and none serves: the kubelet's business."""
    return arm.uid is None and bool(arm.pods) and all(p.deleting for p in arm.pods) and not arm.ready_endpoints


def draining(context: Context) -> Decision | None:
    """Finish a Trial whose outcome is on record: verify that nothing is left, then write the terminal phase.

    One that only waits for its pods to end keeps no other trial from being looked after.
    """
    waiting: list[Decision] = []
    for trial in context.seen.trials:
        if trial.phase is TrialPhase.DRAINING:
            found = drain(context, trial)
            if found.actions or found.inquiries:
                return found
            waiting.append(found)
        elif trial.phase.terminal and trial.finalized:
            return context.do(ReleaseTrial(trial))
    return waiting[0] if waiting and all(t.phase is TrialPhase.DRAINING for t in context.seen.live) else None


def drain(context: Context, trial: Trial) -> Decision:
    """Delete what is left, let its pods end, count what the canary cost; then the trial is over."""
    arms = context.seen.arms_of(trial)
    if not all(_vanishing(a) for a in arms):
        return context.do(DeleteArms(trial.uid, verify=False))  # verified once they are gone, before the trial ends
    if still_ending(context, trial, arms):
        return context.say(f"trial {trial.index}: its pods are ending").wait(POLL)
    spent = settle(context, trial)
    return spent if isinstance(spent, Decision) else context.do(*_finish(context, replace(trial, spent=spent)))


def _finish(context: Context, trial: Trial) -> tuple[Action, ...]:
    done = machine.drained(trial, context.now)
    assert done.outcome is not None
    actions: list[Action] = [DeleteArms(trial.uid, verify=True)]
    spec = context.seen.experiment.spec
    if trial.spent:
        window = max((b.window for b in spec.budgets), default=720 * 3600.0) if spec else 720 * 3600.0
        required = not context.seen.experiment.deleting
        actions.append(
            RecordSpending(trial.environment.target_uid, trial.uid, context.now, trial.spent, window, required)
        )
    good = done.phase is TrialPhase.SUCCEEDED
    severity = Severity.NORMAL if good else Severity.WARNING
    actions += [
        WriteTrial(done),
        ReleaseTrial(done),
        EmitEvent(severity, f"Trial{done.phase.value}", f"{done.outcome.reason}: {done.outcome.message}", done),
    ]
    return tuple(actions)


def broken_trials(context: Context) -> Decision | None:
    """A Trial that cannot be read: its arms go, and once they are gone nothing is left to undo."""
    for trial in context.seen.broken:
        if trial.finalized:
            return context.do(DeleteArms(trial.uid, verify=True), ReleaseTrial(trial))
    return None


def deletion(context: Context) -> Decision | None:
    """The Experiment is being deleted: withdraw, unlock, let go. Never hangs a delete."""
    if not context.seen.experiment.deleting:
        return None
    actions = withdraw_all(context, TrialPhase.ABORTED, "ExperimentDeleted", "the Experiment was deleted")
    if actions:
        return context.say("deleting: withdrawing the live trial").do(*actions)
    done: list[Action] = []
    if context.seen.experiment.finalized:
        done.append(ReleaseExperiment())
    record = context.state.target
    if record is not None and context.seen.lock.mine:  # last: a lock without its Experiment is free anyway
        done.append(ReleaseLock(record.uid))
    return context.say("deleted").do(*done, after=None)


def trial_deleted(context: Context) -> Decision | None:
    """A live Trial deleted by hand: withdrawn and Aborted; its finalizer lets it go afterwards."""
    outcome = Outcome(TrialPhase.ABORTED, "TrialDeleted", "the Trial was deleted while it ran")
    return _withdraw_first(context, outcome, lambda trial: trial.deleting)


def revived_trials(context: Context) -> Decision | None:
    """A live Trial without its finalizer had been let go, and a hand put its status back: ended, not taken up again."""
    words = "it had been let go when its status was put back, so nothing of it runs any more"
    return _withdraw_first(context, Outcome(TrialPhase.ABORTED, "LetGo", words), lambda trial: not trial.finalized)


def _withdraw_first(context: Context, outcome: Outcome, which: Callable[[Trial], bool]) -> Decision | None:
    """Withdraw the first live trial of this kind; one that drains was answered by the rule before."""
    trial = next(filter(which, context.seen.live), None)
    return None if trial is None else context.do(*withdraw(trial, context.now, outcome))


def overdue_trials(context: Context) -> Decision | None:
    """A trial past its deadline is withdrawn, whatever keeps the Experiment from going on."""
    longest = context.seen.experiment.spec.trial.deadline if context.seen.experiment.spec is not None else None
    for trial in context.seen.live:
        if trial.uid in context.seen.withdrawing:
            continue
        why = overdue(trial, context.now, context.seen.arms_of(trial), longest)
        if why is not None:
            return context.do(*withdraw(trial, context.now, why))
    return None


def out_of_time(context: Context) -> Decision | None:
    """maxDuration is over, and so is the time within the schedule that verification may take on top: whatever it waited
    for, it ends."""
    spec, started = context.seen.experiment.spec, context.state.started
    if spec is None or started is None or context.state.phase.terminal or context.seen.live:
        return None
    extra = spec.trial.deadline * (1 + MAX_CANDIDATES * spec.verification.replicates)
    end = started + spec.stopping.max_duration
    if spec.mode is Mode.OBSERVE or context.now < end + extra:
        return None
    if spec.schedule is not None and context.now < spec.schedule.end_of_time(end, extra):
        return None
    waited = context.state.message
    words = f"maxDuration passed, and {format_duration(extra)} more for its end" + (
        f"; last: {waited}" if waited else ""
    )
    return stopped(context, "MaxDuration", words)


def missing_trials(context: Context) -> Context:
    """A Trial at or below `trialsCreated` that is not there was deleted: reported, never silently ignored."""
    present = {t.index for t in context.seen.trials}
    missing = [i for i in range(context.state.trials_created) if i not in present]
    newest = max((t.index + 1 for t in context.seen.trials), default=0)
    if newest > context.state.trials_created:
        context = context.update(trials_created=newest)
    if missing and context.state.is_true(ConditionType.READY) and not context.state.phase.terminal:
        names = ", ".join(str(i) for i in missing[:5])
        return context.set(
            ConditionType.READY, True, "TrialsMissing", f"trials {names} were deleted; the model forgets them"
        )
    return context


def finished(context: Context) -> Decision | None:
    """A completed Experiment only releases what it holds and notices when the recommendation was applied."""
    if not context.state.phase.terminal or context.state.phase is ExperimentPhase.FAILED:
        return None
    actions: list[Action] = list(
        withdraw_all(context, TrialPhase.ABORTED, "ExperimentFinished", "the Experiment has ended")
    )
    if not actions:
        if context.seen.experiment.finalized:
            actions.append(ReleaseExperiment())
        if context.seen.lock.mine and context.state.target is not None:
            actions.append(ReleaseLock(context.state.target.uid))
    return _seen_promoted(context).do(*actions, after=None if not actions else 0.0)


def _seen_promoted(context: Context) -> Context:
    recommendation, target, spec = context.state.recommendation, context.seen.target, context.seen.experiment.spec
    if recommendation is None or spec is None or not isinstance(target, Target) or recommendation.keep_baseline:
        return context
    if context.state.is_true(ConditionType.PROMOTED) or context.seen.surroundings is None:
        return context
    try:
        current = baseline_assignment(spec, target, context.seen.surroundings)
    except InvalidSpec:
        return context
    if current != recommendation.assignment or target.rollout_behind:
        return context
    return context.set(
        ConditionType.PROMOTED, True, "SeenOnTarget", "the target runs the recommended values, whoever put them there"
    )


def corrupted(context: Context) -> Decision | None:
    """A status that cannot be read pauses everything: live trials are withdrawn, nothing is guessed."""
    problem = context.seen.experiment.state_problem
    if not problem:
        return None
    actions = withdraw_all(context, TrialPhase.ABORTED, "StatusCorrupted", problem)
    words = f"{problem}; restore the status or delete this Experiment"  # the status itself is not touched, so an Event
    paused = context.set(ConditionType.STALLED, True, "StatusCorrupted", words).say(f"paused: {words}")
    return paused.do(*actions, EmitEvent(Severity.WARNING, "StatusCorrupted", words), after=RETRY)
