"""The safety rules of a live trial, judged at every tick. Pure: a view in, `Continue` or `Withdraw` out.

The order in which the rules are asked is the table `RULES`; the first that answers decides. What people asked for and
hard signals need no telemetry; a canary that cannot be watched is withdrawn like one that fails, but is not blamed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trimtab.domain.kube import ArmView, PodView
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.trial import Outcome, Trial, TrialPhase
from trimtab.slo.aborting import aborts
from trimtab.slo.alerts import ALERT_FIRING, Alarm
from trimtab.slo.arm_scaling import unplaced, unready, unscaled
from trimtab.slo.deadline import overdue
from trimtab.slo.edited import edited, unreached
from trimtab.slo.evidence import level, worse_words
from trimtab.slo.guards import guard_readings, strained
from trimtab.slo.traces import traces
from trimtab.slo.watching import SafetyWindow, WatchState

SERVING = frozenset({TrialPhase.WARMING_UP, TrialPhase.MEASURING})
IMAGE_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError"})
DISRUPTIONS = frozenset({
    "Evicted", "Preempting", "Terminated", "NodeLost", "NodeShutdown", "PreemptionByScheduler",
    "DeletionByTaintManager", "EvictionByEvictionAPI", "DeletionByPodGC", "TerminationByKubelet",
})  # fmt: skip

CLOCK_SLACK = 60.0  # seconds by which the clocks of two operators may differ


@dataclass(frozen=True)
class StopRequest:
    """Somebody asked for this trial to end: the on-call, a kill switch, a deletion."""

    reason: str
    message: str


@dataclass(frozen=True)
class Closed:
    """A rule of an error budget that fires: which budget, the CamelCase reason, and a sentence with numbers. `readings`
    are what it was told by, a line each."""

    budget: str
    reason: str
    words: str
    readings: tuple[str, ...] = ()


@dataclass(frozen=True)
class SafetyView:
    """All that one judgement may know. `gate` and `cap` are there when a rule of an error budget fires."""

    now: float
    spec: ExperimentSpec
    trial: Trial
    canary: ArmView | None
    control: ArmView | None
    watch: WatchState
    request: StopRequest | None = None
    gate: Closed | None = None
    alert: Alarm | None = None  # alerts that the Experiment names and that fire
    cap: Closed | None = None
    blind_since: float | None = None  # start of the time for which nothing could be read, None when readable
    absent: str = ""  # what could not be read
    scrape_interval: float = 15.0


@dataclass(frozen=True)
class Continue:
    """Nothing speaks against the canary."""


@dataclass(frozen=True)
class Withdraw:
    """Take the canary away now. `rule` names the row of `RULES`; `evidence` is bounded, see `traces`."""

    outcome: Outcome
    rule: str
    evidence: tuple[str, ...]


Judgement = Continue | Withdraw


def judge_tick(view: SafetyView) -> Judgement:
    """Ask every rule in order."""
    for name, rule in RULES:
        outcome = rule(view)
        if outcome is not None:
            return Withdraw(outcome, name, _evidence(view, outcome))
    return Continue()


def _request(view: SafetyView) -> Outcome | None:
    """Somebody asked for the end: on-call annotations, kill switches, a deletion."""
    if view.request is None:
        return None
    return Outcome(TrialPhase.ABORTED, view.request.reason, view.request.message)


def _deadline(view: SafetyView) -> Outcome | None:
    """Every live trial has an end."""
    return overdue(view.trial, view.now, (view.canary, view.control))


def _clock(view: SafetyView) -> Outcome | None:
    """The clock is behind what is on record, its own or the API server's: no deadline would bound the canary any more.

    No window would become due either, and what is asked for as the newest would be old.
    """
    times, watch = view.trial.times, view.watch
    known = (times.created, times.deploying, times.warming_up, times.measuring, watch.judged_until, watch.last_good)
    made = [pod.created for arm in (view.canary, view.control) for pod in _pods(arm)]
    ahead = max((t for t in (*known, *made) if t is not None), default=view.now) - view.now
    if ahead <= CLOCK_SLACK:
        return None
    message = f"the clock is {ahead:.0f} s behind what is on record: it was set back, or it is slow"
    return Outcome(TrialPhase.INCONCLUSIVE, "ClockSetBack", message)


def _edited(view: SafetyView) -> Outcome | None:
    """An arm that somebody changed: before what the cluster makes of that, which would look like a disruption."""
    arms = (view.canary, view.control)
    found = edited(arms)
    if found is None and view.trial.phase in SERVING:
        found = unscaled(arms)
        if found is None and view.spec.route is not None:
            found = unreached(arms, view.now)
    return found


def _pods(arm: ArmView | None) -> tuple[PodView, ...]:
    return arm.pods if arm is not None else ()


def _infrastructure(view: SafetyView) -> Outcome | None:
    """What the cluster did to an arm teaches nothing about the assignment."""
    for arm in (view.canary, view.control):
        for pod in _pods(arm):
            if pod.reason in DISRUPTIONS:
                return Outcome(TrialPhase.INFRA_FAILED, "Disrupted", f"pod {pod.name}: {pod.reason}")
            for container in (*pod.init_containers, *pod.containers):
                if container.waiting_reason in IMAGE_REASONS:
                    message = f"pod {pod.name}: {container.waiting_reason} {container.message}".strip()
                    return Outcome(TrialPhase.INFRA_FAILED, container.waiting_reason, message[:300])
            found = _init_failure(pod)
            if found:
                return Outcome(TrialPhase.INFRA_FAILED, "InitContainerFailed", found)
        outcome = None if arm is None else _coming_and_going(view, arm)
        if outcome is not None:
            return outcome
    return None


def _coming_and_going(view: SafetyView, arm: ArmView) -> Outcome | None:
    """Pods that leave, are gone or came in place of others, where no autoscaler decides about that."""
    if arm.scaled_by and arm.pods:
        words = unplaced(arm, view.trial.times, view.now) if view.trial.phase in SERVING else ""
        return Outcome(TrialPhase.INFRA_FAILED, "Unschedulable", words[:300]) if words else None
    leaving = next((p for p in arm.pods if p.deleting), None)
    if leaving is not None and arm.uid is not None and not arm.deleting:
        message = f"pod {leaving.name} is being deleted while its arm stays (a drain, an eviction, or by hand)"
        return Outcome(TrialPhase.INFRA_FAILED, "Disrupted", message)
    lost = _lost_pod(view, arm)
    return Outcome(TrialPhase.INFRA_FAILED, "Disrupted", lost) if lost else None


def _lost_pod(view: SafetyView, arm: ArmView) -> str:
    """Words when a pod of an arm that served is gone, "" when all are there: a tick may come after its end."""
    ready_at = view.trial.times.warming_up
    if view.trial.phase not in SERVING or arm.uid is None or arm.deleting:
        return ""
    new = next((p for p in arm.pods if ready_at is not None and p.created is not None and p.created > ready_at), None)
    if new is not None:
        return f"pod {new.name} took the place of one that is gone (a drain, an eviction, or by hand)"
    if len(arm.pods) < arm.replicas:
        return f"{arm.name} has {len(arm.pods)} of {arm.replicas} pods (a drain, an eviction, or by hand)"
    return ""


def _init_failure(pod: PodView) -> str:
    """An init container that does not get to its end. It is never tuned, so it says nothing about the assignment; one
    that failed once and then succeeded is nothing new."""
    for container in pod.init_containers:
        oom = "OOMKilled" if container.last_terminated_reason == "OOMKilled" and not container.ready else ""
        why = oom or ("crashes again and again" if container.waiting_reason == "CrashLoopBackOff" else "")
        if why:
            return f"init container {container.name} of pod {pod.name}: {why} {container.message}".strip()[:300]
    return ""


def _hard_signals(view: SafetyView) -> Outcome | None:
    """OOMKilled, CrashLoop, restarts, lost readiness of the canary, unless the control did the same."""
    found = _hard_signal(view, view.canary)
    if found is None:
        return _control_signal(view)
    reason, message = found
    same = _hard_signal(view, view.control)
    if same is not None:
        return Outcome(TrialPhase.ABORTED, "ControlFailedToo", f"{message}; the control failed too: {same[1]}")
    return Outcome(TrialPhase.INFEASIBLE, reason, message)


def _control_signal(view: SafetyView) -> Outcome | None:
    found = _hard_signal(view, view.control)
    if found is None:
        return None
    return Outcome(TrialPhase.ABORTED, "ControlFailed", f"the control arm failed: {found[1]}")


def _hard_signal(view: SafetyView, arm: ArmView | None) -> tuple[str, str] | None:
    for pod in _pods(arm):
        if pod.deleting:
            continue
        for container in pod.containers:
            if container.last_terminated_reason == "OOMKilled":
                return "OOMKilled", f"container {container.name} of pod {pod.name} was OOMKilled"
            if container.waiting_reason == "CrashLoopBackOff":
                return "CrashLoop", f"container {container.name} of pod {pod.name} crashes again and again"
            if container.restarts > 0:
                why = container.last_terminated_reason or "unknown reason"
                return "CrashLoop", f"container {container.name} of pod {pod.name} restarted ({why})"
    return _readiness(view, arm)


def _readiness(view: SafetyView, arm: ArmView | None) -> tuple[str, str] | None:
    """An arm that once served no longer does. While deploying, nothing has been lost yet."""
    if arm is None or view.trial.phase not in SERVING:
        return None
    if arm.scaled_by:
        words = unready(arm, view.trial.times, view.now)
        return ("ReadinessLost", words) if words else None
    for pod in arm.pods:
        if not pod.ready and not pod.deleting:
            return "ReadinessLost", f"pod {pod.name} was ready and is not any more"
    return None


def _budget_gate(view: SafetyView) -> Outcome | None:
    """The service burns its error budget, whoever is to blame."""
    return _of_budget(view.gate)


def _budget_cap(view: SafetyView) -> Outcome | None:
    """The experiments' own share of an error budget is used up, unseen requests included."""
    return _of_budget(view.cap)


def _alert(view: SafetyView) -> Outcome | None:
    """An alert that the Experiment names fires, whoever is to blame."""
    return None if view.alert is None else Outcome(TrialPhase.ABORTED, ALERT_FIRING, view.alert.words)


def _of_budget(closed: Closed | None) -> Outcome | None:
    return None if closed is None else Outcome(TrialPhase.ABORTED, closed.reason, closed.words, closed.budget)


def _sequential(view: SafetyView) -> Outcome | None:
    """The canary's errors against the control's and against their limit: alpha is split over what is tested, never over
    looks."""
    if not view.watch.tests:
        return None
    alpha = level(view.spec)
    for name, test in view.watch.tests:
        if test.harmful(alpha):
            return Outcome(TrialPhase.INFEASIBLE, "WorseThanControl", worse_words(view.spec.sli(name), test, alpha))
    return None


def _resource_guards(view: SafetyView) -> Outcome | None:
    """A canary that is short of CPU or memory while its control is not."""
    if not view.spec.safety.resource_guards or view.trial.phase is TrialPhase.WARMING_UP:
        return None
    return strained(_measured(view), view.canary, view.control)


def _measured(view: SafetyView) -> list[SafetyWindow]:
    """The windows after the warm-up."""
    return [w for w in view.watch.windows if w.mostly_since(view.trial.times.measuring)]


def _abort_rules(view: SafetyView) -> Outcome | None:
    """Bounds broken in several of the last windows, each judged by its lower confidence bound, and by all of them
    together; in an Experiment that repairs, only what is worse than the control, too."""
    if view.trial.phase is TrialPhase.WARMING_UP:
        return None
    found = (aborts(view.spec, c, view.watch, view.trial.times.measuring) for c in view.spec.constraints)
    return next((outcome for outcome in found if outcome is not None), None)


def _blind(view: SafetyView) -> Outcome | None:
    """Nothing readable for longer than staleAfter: withdrawn, and nobody is blamed."""
    if view.blind_since is None or view.now - view.blind_since <= view.spec.safety.stale_after:
        return None
    seconds = view.now - view.blind_since
    message = f"no telemetry of the canary for {seconds:.0f} s, staleAfter is {view.spec.safety.stale_after:.0f} s"
    why = f": {view.absent}" if view.absent else ""
    return Outcome(TrialPhase.INCONCLUSIVE, "TelemetryBlind", message + why)


def _evidence(view: SafetyView, outcome: Outcome) -> tuple[str, ...]:
    closed = [each for each in (view.cap, view.gate, view.alert) if each is not None]
    readings = [*guard_readings(outcome.reason, _measured(view), view.canary, view.control)]
    readings += [line for each in closed for line in each.readings]
    return traces(view.spec, view.watch, (view.canary, view.control), outcome.subject, readings)


RULES: tuple[tuple[str, Callable[[SafetyView], Outcome | None]], ...] = (
    ("request", _request),
    ("edited", _edited),
    ("infrastructure", _infrastructure),
    ("hardSignal", _hard_signals),
    ("resourceGuard", _resource_guards),
    ("abortRule", _abort_rules),
    ("sequentialTest", _sequential),
    ("budgetCap", _budget_cap),
    ("budgetGate", _budget_gate),
    ("alert", _alert),
    ("blind", _blind),
    ("clock", _clock),
    ("deadline", _deadline),
)


__all__ = [
    "RULES",
    "SERVING",
    "Closed",
    "Continue",
    "Judgement",
    "SafetyView",
    "SafetyWindow",
    "StopRequest",
    "WatchState",
    "Withdraw",
    "judge_tick",
]
