"""A stored history told again: would the Designer suggest today what each Trial says it suggested then? Pure.

The study of a suggestion is rebuilt from the Trials before it alone, so the same versions must give the same
suggestion, digest included, in any process and on any machine. Which of these were live then it says itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from trimtab.control.study import build_study
from trimtab.domain.kube import Target
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.state import ExperimentState
from trimtab.domain.study import Proposal, Study
from trimtab.domain.trial import Purpose, Suggestion, Trial, TrialPhase

Suggest = Callable[[Study], Proposal]
_COMPARED = (
    "assignment", "purpose", "seed", "by_model", "safety_probability", "acquisition", "predictions", "model_digest",
)  # fmt: skip


@dataclass(frozen=True)
class Replayed:
    """One Trial: `identical` is None where it cannot be told, and `message` says why, or what differs."""

    trial: Trial
    identical: bool | None
    message: str


def replay(
    spec: ExperimentSpec,
    state: ExperimentState,
    target: Target,
    trials: tuple[Trial, ...],
    suggest: Suggest,
    fallback: Suggest,
    earlier: tuple[Trial, ...] = (),
) -> Iterator[Replayed]:
    """Every Trial that a Designer suggested, by index. `earlier` are the Trials of its warm start, `fallback` is the
    Designer that answers when the model does not."""
    for trial in sorted(trials, key=lambda t: t.index):
        if trial.purpose is Purpose.VERIFICATION:
            continue
        unknown = _unknown(spec, state, trial)
        if unknown:
            yield Replayed(trial, None, unknown)
            continue
        study = _study(spec, state, target, trials, trial, earlier)
        stored, found = trial.suggestion, suggest(study).answer
        words = _differences(stored, found)
        if words and not stored.by_model and not _differences(stored, fallback(study).answer):
            yield Replayed(trial, True, "identical; the fallback had answered, as the model was too late")
        else:
            yield Replayed(trial, not words, words or "identical")


def _unknown(spec: ExperimentSpec, state: ExperimentState, trial: Trial) -> str:
    if state.target is None or trial.environment.template_hash != state.target.template_hash:
        return "ran on another template of the target, whose Deployment is gone"
    if trial.spec_digest != spec.digest:
        return "was suggested under another spec of the Experiment"
    return ""


def _study(
    spec: ExperimentSpec,
    state: ExperimentState,
    target: Target,
    trials: tuple[Trial, ...],
    trial: Trial,
    earlier: tuple[Trial, ...],
) -> Study:
    assert state.target is not None
    live = set(trial.suggestion.beside)
    before = tuple(
        replace(t, phase=TrialPhase.MEASURING) if t.index in live else t for t in trials if t.index < trial.index
    )
    pods = trial.environment.target_replicas
    then = replace(target, replicas=pods, ready_replicas=pods)
    known = state.spoilt_before if state.spoilt_before is not None and trial.index >= state.spoilt_before else None
    started, floors = state.started or 0.0, state.floors
    study = build_study(spec, then, state.target, before, started, floors, earlier=earlier, spoilt_before=known)
    return replace(study, expected_load=trial.suggestion.expected_load, usual_peak=trial.suggestion.usual_peak)


def _differences(stored: Suggestion, found: object) -> str:
    if not isinstance(found, Suggestion):
        return f"no suggestion now: {getattr(found, 'message', found)}"
    pairs = ((name, getattr(stored, name), getattr(found, name)) for name in _COMPARED)
    return "; ".join(f"{n}: {_shown(then)} then, {_shown(now)} now" for n, then, now in pairs if then != now)


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


__all__ = ["Replayed", "replay"]
