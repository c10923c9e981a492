"""What makes an Experiment wait by its own spec: its schedule, and the alerts that it names. Pure.

While it waits and no trial is live its phase is Paused, with the reason in the condition; people who pause it come
first. What is asked for here is undone here: `requests.resume` leaves these reasons alone.
"""

from __future__ import annotations

from trimtab.control.actions import Action, Decision
from trimtab.control.context import DEFAULT_SCRAPE, RETRY, SOON, Context, Held, withdraw
from trimtab.control.snapshot import AskAlerts
from trimtab.domain.measurement import TelemetryError
from trimtab.domain.schedule import FROZEN, OUTSIDE, Closure, Course
from trimtab.domain.state import ConditionType, ExperimentPhase, ExperimentState
from trimtab.domain.timetable import PREPARING, course_of
from trimtab.domain.trial import Outcome, Trial, TrialPhase
from trimtab.slo.alerts import ALERT_FIRING, alarm
from trimtab.slo.verdict import absence_reason

REASONS = frozenset({OUTSIDE, FROZEN, ALERT_FIRING})
ARMLESS = frozenset({TrialPhase.PENDING, TrialPhase.DEPLOYING})
LAST_TRIALS = 5
LONGEST_WAIT = 86400.0  # seconds; the clock on the wall may be set meanwhile


def outside_schedule(context: Context) -> Decision | None:
    """Outside its schedule: a trial without arms never gets any; a live one goes where onClose says Withdraw."""
    spec = context.seen.experiment.spec
    if spec is None or spec.schedule is None or context.state.phase.terminal:
        return None
    closure = spec.schedule.closure(context.now)
    if closure is None:
        return None
    leaving = [t for t in context.seen.live if spec.schedule.withdraw or t.phase is TrialPhase.PENDING]
    outcome = Outcome(TrialPhase.ABORTED, closure.reason, closure.words)
    actions = tuple(a for t in leaving for a in withdraw(t, context.now, outcome))
    return context.say(closure.words).do(*actions) if actions else None


def next_edge(context: Context, after: float) -> float:
    """Seconds until a live trial may have to go, at most `after`."""
    schedule = context.spec.schedule
    if schedule is None or not schedule.withdraw or not context.seen.live or schedule.closure(context.now) is not None:
        return after
    return schedule.closes(context.now, after) - context.now


def scheduled(context: Context, *, verification: bool) -> Held | None:
    """Until when no trial may start by the schedule; None when one may now."""
    schedule, now = context.spec.schedule, context.now
    if schedule is None:
        return None
    closure = schedule.closure(now)
    if closure is None:
        closure = schedule.too_late(now, _course(context, verification, _preparing(context)))
    if closure is not None and closure.until is None:  # arms that took long once must not end the search for ever
        closure = schedule.closure(now) or schedule.too_late(now, _course(context, verification, PREPARING))
    return None if closure is None else _held(closure, now)


def _course(context: Context, verification: bool, preparing: float) -> Course:
    scrape = context.state.scrape_interval or DEFAULT_SCRAPE
    return course_of(context.spec, verification=verification, preparing=preparing, scrape=scrape)


def _held(closure: Closure, now: float) -> Held:
    seconds = LONGEST_WAIT if closure.until is None else min(closure.until - now, LONGEST_WAIT)
    return Held(closure.words, seconds, closure.until, closure.reason)


def _preparing(context: Context) -> float:
    """Seconds from a Trial's record until its arms serve: the longest that the last ones took here."""
    took = [t.times.warming_up - t.times.created for t in context.seen.trials if t.times.warming_up is not None]
    return max(took[-LAST_TRIALS:], default=PREPARING)


def alerted(context: Context) -> tuple[Context, Held | None]:
    """The context with what is known of telemetry, and whether an alert holds trials back. Alerts that cannot be read
    are no all-clear."""
    if not context.spec.safety.pause_on_alerts:
        return context, None
    seen = context.seen.alerts()
    assert seen is not None
    if isinstance(seen, TelemetryError):
        words = f"the alerts of spec.safety.pauseOnAlerts cannot be read: {seen.detail}"
        remedy = "no trial starts until they can: repair Prometheus"
        context = context.set(ConditionType.TELEMETRY_HEALTHY, False, absence_reason(seen), f"{words}; {remedy}")
        return context, Held(f"waiting: {words}", RETRY, None, ALERT_FIRING if _paused_for(context.state) else "")
    found = alarm(seen, context.now)
    if found is None:
        return context, None
    seconds = RETRY if found.until is None else found.until - context.now
    return context, Held(found.words, seconds, found.until, ALERT_FIRING)


def before_arms(context: Context) -> Decision | None:
    """A trial whose arms do not serve yet is not under watch: an alert ends it here, and none gets arms while alerts
    cannot be read."""
    trial = next((t for t in context.seen.live if t.phase in ARMLESS), None)
    if trial is None or not context.spec.safety.pause_on_alerts or trial.uid in context.seen.withdrawing:
        return None
    seen = context.seen.alerts()
    if seen is None:
        return context.ask(AskAlerts())
    if isinstance(seen, TelemetryError):
        return _unread(context, trial, seen)
    found = alarm(seen, context.now)
    if found is None:
        return None
    actions: tuple[Action, ...] = withdraw(trial, context.now, Outcome(TrialPhase.ABORTED, ALERT_FIRING, found.words))
    return context.say(found.words).do(*actions, after=SOON)


def _unread(context: Context, trial: Trial, seen: TelemetryError) -> Decision | None:
    if trial.phase is not TrialPhase.PENDING:
        return None  # its deadline bounds it, and once it serves staleAfter does
    return context.say(f"trial {trial.index}: waiting: alerts cannot be read: {seen.detail}").wait(RETRY)


def awake(context: Context) -> Context:
    """Nothing of this makes it wait any more."""
    if not waiting(context.state):
        return context
    context = context.set(ConditionType.PAUSED, False, "Resumed", "within its schedule, and no alert fires")
    return context.enter(ExperimentPhase.RUNNING, "running")


def waiting(state: ExperimentState) -> bool:
    """It is paused for a reason of this module."""
    found = state.condition(ConditionType.PAUSED)
    return found is not None and found.status is True and found.reason in REASONS


def ended(context: Context) -> Context:
    """An Experiment that is over waits for nothing."""
    if not (context.state.phase.terminal and waiting(context.state)):
        return context
    return context.set(ConditionType.PAUSED, False, "Ended", "the Experiment has ended")


def _paused_for(state: ExperimentState) -> bool:
    found = state.condition(ConditionType.PAUSED)
    return waiting(state) and found is not None and found.reason == ALERT_FIRING


__all__ = [
    "REASONS", "alerted", "awake", "before_arms", "ended", "next_edge", "outside_schedule", "scheduled", "waiting",
]  # fmt: skip
