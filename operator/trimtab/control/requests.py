"""The on-call's requests: pause, rollback, skip, approve, and the kill switches. They work without Prometheus."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

from trimtab.control.actions import Action, Decision, EmitEvent, Severity
from trimtab.control.context import RETRY, SOON, Context, withdraw, withdraw_all
from trimtab.control.pauses import waiting
from trimtab.domain.names import (
    ANNOTATION_APPROVE,
    ANNOTATION_PAUSE,
    ANNOTATION_ROLLBACK,
    ANNOTATION_SIDE_EFFECTS_OK,
    ANNOTATION_SKIP,
    REQUEST_ANNOTATIONS,
)
from trimtab.domain.state import ConditionType, ExperimentPhase, HandledRequest
from trimtab.domain.trial import Outcome, TrialPhase
from trimtab.ports import ExperimentRecord

KEEP_HANDLED = 10


def _annotations(context: Context) -> dict[str, str]:
    return dict(context.seen.experiment.annotations)


def _acknowledge(context: Context, annotation: str, value: str, answer: str) -> Context:
    """Note a request once; the same annotation with the same value is not noted again."""
    handled = context.state.handled
    if any(h.annotation == annotation and h.value == value for h in handled):
        return context
    manager = dict(context.seen.experiment.annotation_managers).get(annotation, "unknown")
    new = HandledRequest(annotation, value, manager, context.now, answer)
    return context.update(handled=(*handled, new)[-KEEP_HANDLED:])


def _is_new(context: Context, annotation: str, value: str) -> bool:
    return not any(h.annotation == annotation and h.value == value for h in context.state.handled)


def forget_removed(context: Context) -> Context:
    """A request whose annotation is gone may be made again with the same words."""
    present = _annotations(context)
    kept = tuple(h for h in context.state.handled if h.annotation in present or h.annotation == ANNOTATION_APPROVE)
    return context if kept == context.state.handled else context.update(handled=kept)


def unknown_annotations(context: Context) -> tuple[Context, tuple[Action, ...]]:
    """A misspelt annotation would be a pause that does not pause: a Warning names the nearest spelling."""
    known = (*REQUEST_ANNOTATIONS, ANNOTATION_SIDE_EFFECTS_OK)
    actions: list[Action] = []
    for key, value in _annotations(context).items():
        if key in known or not _is_new(context, key, value):
            continue
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
        answer = f"unknown annotation {key}; did you mean {near[0]}?"
        context = _acknowledge(context, key, value, answer)
        actions.append(EmitEvent(Severity.WARNING, "UnknownAnnotation", answer))
    return context, tuple(actions)


@dataclass(frozen=True)
class StopAsked:
    """The strongest request to stop. `annotation` is "" for kill switches and `spec.paused`."""

    reason: str
    words: str
    annotation: str = ""
    value: str = ""


def stop_request(experiment: ExperimentRecord, namespace_paused: str, operator_paused: str) -> StopAsked | None:
    """Who wants this Experiment to stand still, or None. An annotation's presence counts, whatever its value."""
    annotations = dict(experiment.annotations)
    for key, reason, words in (
        (ANNOTATION_ROLLBACK, "OnCallRollback", "rollback asked for"),
        (ANNOTATION_PAUSE, "OnCallPause", "paused on call"),
    ):
        if key in annotations:
            value = annotations[key]
            return StopAsked(reason, f"{words}: {value or 'no words given'}", key, value)
    if namespace_paused:
        return StopAsked("NamespacePaused", f"the Namespace carries {ANNOTATION_PAUSE}: {namespace_paused}")
    if operator_paused:
        return StopAsked("OperatorPaused", f"the operator carries {ANNOTATION_PAUSE}: {operator_paused}")
    if experiment.spec is not None and experiment.spec.paused:
        return StopAsked("SpecPaused", "spec.paused is true")
    return None


def stop(context: Context) -> Decision | None:
    """Pause or roll back: the live trial is withdrawn first, whatever else is true."""
    seen = context.seen
    request = stop_request(seen.experiment, seen.namespace_paused, seen.operator_paused)
    if request is None:
        return None
    reason, words, annotation, value = request.reason, request.words, request.annotation, request.value
    actions: list[Action] = list(withdraw_all(context, TrialPhase.ABORTED, reason, words))
    withdrew = bool(actions)
    if annotation and _is_new(context, annotation, value):
        context = _acknowledge(context, annotation, value, words)
        actions.append(EmitEvent(Severity.NORMAL, reason, words))
    if context.state.phase.terminal:
        return context.do(*actions, after=None)
    context = context.enter(ExperimentPhase.PAUSED, words).set(ConditionType.PAUSED, True, reason, words)
    if reason == "OnCallRollback":
        context = context.set(ConditionType.ROLLED_BACK, True, reason, "no canary is left; nothing had been promoted")
    return context.do(*actions, after=SOON if withdrew else RETRY)


def resume(context: Context) -> Context:
    """No request to stop any more: the condition says so, and the trial loop goes on. What the spec itself makes wait
    is not people's request."""
    if not context.state.is_true(ConditionType.PAUSED) or waiting(context.state):
        return context
    context = context.set(ConditionType.PAUSED, False, "Resumed", "no request to stop is present")
    if context.state.is_true(ConditionType.ROLLED_BACK):
        context = context.set(ConditionType.ROLLED_BACK, False, "Cleared", "the rollback annotation was removed")
    return context


def skip(context: Context) -> Decision | None:
    """End one live trial as Aborted; naming a trial that is not live is answered, not obeyed."""
    value = _annotations(context).get(ANNOTATION_SKIP)
    if value is None or not _is_new(context, ANNOTATION_SKIP, value):
        return None
    wanted = value.split(",")[0].strip()
    for trial in (t for t in context.seen.trials if wanted in {t.name, str(t.index)}):
        acknowledged = _acknowledge(context, ANNOTATION_SKIP, value, f"trial {trial.index} withdrawn")
        if trial.live and trial.phase is not TrialPhase.DRAINING:
            outcome = Outcome(TrialPhase.ABORTED, "Skipped", f"skipped on call: {value}")
            return acknowledged.do(*withdraw(trial, context.now, outcome))
        if trial.outcome is not None and trial.outcome.reason == "Skipped":  # the safety loop was faster
            return acknowledged.do()
    answer = f"{wanted!r} is no live trial of this Experiment"
    context = _acknowledge(context, ANNOTATION_SKIP, value, answer)
    return context.do(EmitEvent(Severity.WARNING, "SkipRefused", answer))


def approve(context: Context) -> Decision | None:
    """Approve exactly the recommendation whose digest is given; another digest is refused with an Event."""
    value = _annotations(context).get(ANNOTATION_APPROVE)
    recommendation = context.state.recommendation
    if value is None or not _is_new(context, ANNOTATION_APPROVE, value):
        return None
    if recommendation is None:
        answer = "nothing to approve yet: no recommendation"
    elif recommendation.digest != value.strip():
        answer = f"refused: the recommendation's digest is {recommendation.digest}"
    else:
        approved = context.update(recommendation=replace(recommendation, approved=True))
        done = _acknowledge(approved, ANNOTATION_APPROVE, value, f"recommendation {value} approved")
        return done.do(EmitEvent(Severity.NORMAL, "RecommendationApproved", f"digest {value}"))
    context = _acknowledge(context, ANNOTATION_APPROVE, value, answer)
    return context.do(EmitEvent(Severity.WARNING, "ApproveRefused", answer))
