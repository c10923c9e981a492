"""The start of a Trial, for the search and for verification alike: everything is on record before anything exists."""

from __future__ import annotations

from dataclasses import replace

from trimtab.control.actions import Action, CreateTrial, Decision, EmitEvent, HoldExperiment, Severity
from trimtab.control.arms import cost_model
from trimtab.control.context import Context
from trimtab.domain.kube import Target
from trimtab.domain.trial import Environment, Suggestion
from trimtab.ports import NewTrial


def start_trial(context: Context, suggestion: Suggestion) -> Decision:
    """Write-ahead: first the finalizer that says there will be something to undo, then the Trial."""
    target, record, spec = context.seen.target, context.state.target, context.spec
    assert isinstance(target, Target)
    assert record is not None
    index = max((t.index + 1 for t in context.seen.trials), default=0)
    index = max(index, context.state.trials_created)
    suggestion = replace(suggestion, beside=tuple(t.index for t in context.seen.live))
    surroundings = context.seen.surroundings
    environment = Environment(
        template_hash=record.template_hash,
        target_uid=target.uid,
        image=", ".join(c.image for c in target.containers)[:200],
        target_replicas=target.ready_replicas,
        kubernetes_version=surroundings.kubernetes_version if surroundings else "",
    )
    cost = cost_model(spec, target, context.state.target).hourly(suggestion.assignment)
    new = NewTrial(index, suggestion, environment, spec.digest, cost)
    text = spec.space.describe(suggestion.assignment)
    actions: list[Action] = [] if context.seen.experiment.finalized else [HoldExperiment()]
    actions += [
        CreateTrial(new),
        EmitEvent(Severity.NORMAL, "TrialCreated", f"trial {index} ({suggestion.purpose}): {text}"),
    ]
    started = replace(context.state, trials_created=max(context.state.trials_created, index + 1))
    return replace(context, state=started).say(f"trial {index} ({suggestion.purpose}): {text}").do(*actions)
