"""What the rules of `decide` share: the snapshot with the parsed spec at hand, and the small moves they all make."""

from __future__ import annotations

from dataclasses import dataclass, replace

from trimtab.control import machine
from trimtab.control.actions import Action, Decision, DeleteArms, EmitEvent, Severity, WriteTrial
from trimtab.control.snapshot import Inquiry, Snapshot
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.state import ConditionType, ExperimentPhase, ExperimentState
from trimtab.domain.trial import Outcome, Trial, TrialPhase

SOON = 0.0
POLL = 1.0
LOOK = 20.0  # how often a live trial is looked at while the watch tells of no change
RETRY = 10.0
BLOCKED = 30.0
DEFAULT_SCRAPE = 15.0  # seconds between scrapes, until preflight has measured them


@dataclass(frozen=True)
class Context:
    """One round: the state as stored, and what was seen."""

    state: ExperimentState
    seen: Snapshot

    @property
    def now(self) -> float:
        return self.seen.now

    @property
    def spec(self) -> ExperimentSpec:
        spec = self.seen.experiment.spec
        if spec is None:
            raise ValueError("rules below `standing` run only with a valid spec")
        return spec

    @property
    def generation(self) -> int:
        return self.seen.experiment.generation

    def set(self, kind: ConditionType, status: bool | None, reason: str, message: str) -> Context:
        state = self.state.with_condition(kind, status, reason, message, self.now, self.generation)
        return replace(self, state=state)

    def enter(self, phase: ExperimentPhase, message: str | None = None) -> Context:
        state = machine.move(self.state, phase)
        return replace(self, state=state if message is None else replace(state, message=message))

    def say(self, message: str) -> Context:
        return replace(self, state=replace(self.state, message=message))

    def update(self, **changes: object) -> Context:
        return replace(self, state=replace(self.state, **changes))  # type: ignore[arg-type]

    def ask(self, *inquiries: Inquiry) -> Decision:
        return Decision(self.state, inquiries=inquiries)

    def do(self, *actions: Action, after: float | None = SOON) -> Decision:
        return Decision(self.state, actions, requeue_after=after)

    def wait(self, seconds: float | None) -> Decision:
        return Decision(self.state, requeue_after=seconds)


@dataclass(frozen=True)
class Held:
    """Why no trial may start now, and in how many seconds to look again. `until` (unix seconds) where that is known.
    `reason` is that of the condition Paused, "" where trials are held back without a pause."""

    why: str
    seconds: float
    until: float | None = None
    reason: str = ""


def hold(context: Context, held: Held) -> Decision:
    """Wait until a trial may start; where the reason is one of its own spec the Experiment is Paused meanwhile."""
    if not held.reason:
        return context.say(held.why).update(retry_at=held.until).wait(held.seconds)
    context = context.enter(ExperimentPhase.PAUSED, held.why).update(retry_at=None)
    return context.set(ConditionType.PAUSED, True, held.reason, held.why).wait(max(held.seconds, SOON))


def stopped(context: Context, reason: str, message: str) -> Decision:
    """The Experiment ends without a recommendation; a person has to look."""
    context = context.enter(ExperimentPhase.STOPPED, f"stopped: {message}")
    context = context.set(ConditionType.STALLED, True, reason, message)
    context = context.set(ConditionType.READY, False, reason, message)
    context = context.set(ConditionType.RECOMMENDATION_READY, False, reason, message)
    context = context.update(finished=context.now, retry_at=None)
    return context.do(EmitEvent(Severity.WARNING, "ExperimentStopped", f"{reason}: {message}"))


def withdraw(trial: Trial, now: float, outcome: Outcome) -> tuple[Action, ...]:
    """Undo a live trial: the deletion is sent first, then the outcome is recorded; draining verifies it."""
    if trial.phase is TrialPhase.DRAINING:
        return ()
    return (
        DeleteArms(trial.uid, verify=False),
        WriteTrial(machine.withdrawn(trial, now, outcome)),
        EmitEvent(Severity.WARNING, "TrialWithdrawn", f"{outcome.reason}: {outcome.message}", trial),
    )


def withdraw_all(context: Context, phase: TrialPhase, reason: str, message: str) -> tuple[Action, ...]:
    """Withdraw every live trial of the Experiment for one reason."""
    outcome = Outcome(phase, reason, message)
    return tuple(a for t in context.seen.live for a in withdraw(t, context.now, outcome))
