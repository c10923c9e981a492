"""The on-call's requests: pause, rollback, skip, approve, and the kill switches. They work without Prometheus."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
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
from trimtab.domain.state import ConditionType, ExperimentPhase, ExperimentState, HandledRequest
from trimtab.domain.trial import Outcome, Trial, TrialPhase
from trimtab.ports import ExperimentRecord

KEEP_APPROVALS = 10  # after their annotation is gone
MOST_TOLD = 5  # of unknown annotations
LONGEST = 1000  # characters on record of a value or an answer, so that it is read back as it was written
KNOWN = (*REQUEST_ANNOTATIONS, ANNOTATION_SIDE_EFFECTS_OK)


def _annotations(context: Context) -> dict[str, str]:
    return dict(context.seen.experiment.annotations)


def _acknowledge(context: Context, annotation: str, value: str, answer: str) -> Context:
    """Note a request once; the same annotation with the same value is not noted again."""
    if not _is_new(context, annotation, value):
        return context
    return context.update(handled=(*context.state.handled, _note(context, annotation, value, answer)))


def _note(context: Context, annotation: str, value: str, answer: str) -> HandledRequest:
    manager = dict(context.seen.experiment.annotation_managers).get(annotation, "unknown")
    return HandledRequest(annotation, value[:LONGEST], manager, context.now, answer[:LONGEST])


def _is_new(context: Context, annotation: str, value: str) -> bool:
    return not _answered(context.state, annotation, value)


def _answered(state: ExperimentState | None, annotation: str, value: str) -> bool:
    noted = (annotation, value[:LONGEST])
    return state is not None and any((h.annotation, h.value) == noted for h in state.handled)


def forget_removed(context: Context) -> Context:
    """A request that is gone, or has other words now, may be made again with the same words. What is still there is
    never forgotten, as it would be answered again; of approvals that are gone the newest stay, as history."""
    present, handled = _annotations(context), context.state.handled
    gone = [h for h in handled if not _is_there(h, present)]
    kept = [h for h in gone if h.annotation == ANNOTATION_APPROVE][-KEEP_APPROVALS:]
    forgotten = [h for h in gone if h not in kept]
    return context.update(handled=tuple(h for h in handled if h not in forgotten)) if forgotten else context


def _is_there(request: HandledRequest, present: Mapping[str, str]) -> bool:
    value = present.get(request.annotation)
    return value is not None and (request.annotation not in KNOWN or value[:LONGEST] == request.value)


def unknown_annotations(context: Context) -> tuple[Context, tuple[Action, ...]]:
    """A misspelt annotation would be a pause that does not pause: a Warning names the nearest spelling. All of them are
    one Event and one note, which takes the place of the last one: they crowd out no request."""
    annotations = _annotations(context)
    unknown = sorted(annotations.keys() - set(KNOWN))
    if not unknown:
        return context, ()
    first, answer = unknown[0], " ".join(map(_nearest, unknown[:MOST_TOLD]))
    if len(unknown) > MOST_TOLD:
        answer = f"{answer} And {len(unknown) - MOST_TOLD} more."
    note = _note(context, first, annotations[first], answer)
    if any((h.annotation, h.answer) == (note.annotation, note.answer) for h in context.state.handled):
        return context, ()
    requests = (h for h in context.state.handled if h.annotation in KNOWN)
    return context.update(handled=(*requests, note)), (EmitEvent(Severity.WARNING, "UnknownAnnotation", answer),)


def _nearest(key: str) -> str:
    (near,) = difflib.get_close_matches(key, KNOWN, n=1, cutoff=0.0)
    return f"unknown annotation {key}; did you mean {near}?"


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


@dataclass(frozen=True)
class SkipAsked:
    """A request to end one live trial, in the words of the annotation."""

    value: str

    @property
    def wanted(self) -> str:
        """The trial's name or index."""
        return self.value.split(",")[0].strip()

    @property
    def words(self) -> str:
        return f"skipped on call: {self.value}"

    def names(self, trial: Trial) -> bool:
        return self.wanted in {trial.name, str(trial.index)}


def skip_request(experiment: ExperimentRecord, state: ExperimentState | None) -> SkipAsked | None:
    """The request that was not answered yet, or None. What was once refused is not obeyed later, when another trial
    has come to bear that name."""
    value = dict(experiment.annotations).get(ANNOTATION_SKIP)
    return None if value is None or _answered(state, ANNOTATION_SKIP, value) else SkipAsked(value)


def skip(context: Context) -> Decision | None:
    """End one live trial as Aborted; naming a trial that is not live is answered, not obeyed."""
    asked = skip_request(context.seen.experiment, context.state)
    if asked is None:
        return None
    for trial in filter(asked.names, context.seen.trials):
        acknowledged = _acknowledge(context, ANNOTATION_SKIP, asked.value, f"trial {trial.index} withdrawn")
        if trial.live and trial.phase is not TrialPhase.DRAINING:
            outcome = Outcome(TrialPhase.ABORTED, "Skipped", asked.words)
            return acknowledged.do(*withdraw(trial, context.now, outcome))
        if trial.outcome is not None and trial.outcome.reason == "Skipped":  # the safety loop was faster
            return acknowledged.do()
    answer = f"{asked.wanted!r} is no live trial of this Experiment"
    context = _acknowledge(context, ANNOTATION_SKIP, asked.value, answer)
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
