"""What the Designer is asked for the next trial, and its answer. Pure."""

from __future__ import annotations

from dataclasses import replace

from trimtab.control.actions import Decision
from trimtab.control.arms import cost_model
from trimtab.control.context import BLOCKED, Context, Held, hold
from trimtab.control.forecast import expected_load, usual_peak
from trimtab.control.snapshot import AskEarlier, AskLoads, AskProposal, EarlierTrials
from trimtab.control.study import build_study
from trimtab.domain.kube import Target
from trimtab.domain.spec import ExperimentSpec, WarmStart
from trimtab.domain.study import Proposal
from trimtab.domain.trial import Purpose, Suggestion

MODEL = "GaussianProcess"  # the designer that has use for the load to come


def proposed(context: Context) -> Proposal | Decision:
    """The Designer's answer, or what has to be asked or waited for first."""
    target, record = context.seen.target, context.state.target
    assert isinstance(target, Target)
    assert record is not None
    state, earlier = context.state, EarlierTrials()
    if _refers(context.spec.warm_start):
        read = context.seen.earlier()
        if read is None:
            return context.say("reading what earlier trials taught").ask(AskEarlier())
        if read.problem:
            return hold(context, Held(f"waiting: spec.warmStart: {read.problem}", BLOCKED))
        earlier = read
    started = state.started or 0.0
    study = build_study(
        context.spec,
        target,
        record,
        context.seen.trials,
        started,
        state.floors,
        earlier=earlier.trials,
        spoilt_before=state.spoilt_before,
    )
    # An autoscaler takes swings of the load out: its pods are driven as hard at night.
    if study.peak_load is not None and context.spec.search.designer == MODEL and record.scaled is None:
        loads = context.seen.loads()
        if loads is None:
            return context.ask(AskLoads())
        pods = target.ready_replicas if cost_model(context.spec, target, record).fixed else 1
        study = replace(study, expected_load=expected_load(loads, pods), usual_peak=usual_peak(loads, pods))
    proposal = context.seen.proposal(study)
    if proposal is None:
        return context.say(f"trial {study.index}: choosing an assignment").ask(AskProposal(study))
    return proposal


def screened(spec: ExperimentSpec, suggestion: Suggestion) -> Suggestion:
    """A search trial measures for a short window first, where the Experiment has one; only that asks what it is for."""
    if spec.trial.screen is None or suggestion.purpose is not Purpose.SEARCH:
        return replace(suggestion, explores=False)
    return replace(suggestion, purpose=Purpose.SCREEN)


def _refers(warm: WarmStart | None) -> bool:
    """Whether there is something to be read; given assignments are in the spec itself."""
    return warm is not None and bool(warm.experiment or warm.history)


__all__ = ["proposed", "screened"]
