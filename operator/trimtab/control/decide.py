"""`decide`: what to do next, as a pure function of what was seen.

The rules stand in one table, in the order in which they are asked; the first that answers decides. What must be undone
comes first, then what has run out of time, then what people asked for, then whether the Experiment may run at all, and
progress comes last. The live safety rules (SLIs, budgets, hard signals) run in their own loop beside this one, see
`slo/safety.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from trimtab.control import lifecycle, pauses, progress, requests, standing
from trimtab.control.actions import Decision, EmitEvent, ReleaseExperiment
from trimtab.control.beside import beside, crowded
from trimtab.control.context import Context
from trimtab.control.gates import keep_current
from trimtab.control.search import search
from trimtab.control.snapshot import Snapshot
from trimtab.control.summary import with_summary
from trimtab.control.telling import told
from trimtab.domain.state import ExperimentState
from trimtab.slo.budget import OBSERVED_SECONDS
from trimtab.slo.safety import RULES as SAFETY_RULES

Rule = Callable[[Context], Decision | None]

UNDO: tuple[Rule, ...] = (
    lifecycle.namespace_leaving,
    lifecycle.draining,
    lifecycle.leftovers,
    lifecycle.trial_deleted,
    lifecycle.revived_trials,
    lifecycle.broken_trials,
    lifecycle.deletion,
    lifecycle.corrupted,
)
DEADLINES: tuple[Rule, ...] = (lifecycle.overdue_trials, pauses.outside_schedule, lifecycle.out_of_time)
ON_CALL: tuple[Rule, ...] = (requests.stop, requests.skip, requests.approve)
STANDING: tuple[Rule, ...] = (
    lifecycle.finished,
    standing.readable_ledger,
    standing.valid_spec,
    standing.target_present,
    standing.locked,
    standing.preflight,
)
RULES: tuple[Rule, ...] = (*UNDO, *DEADLINES, *ON_CALL, *STANDING)


def decide(state: ExperimentState, snapshot: Snapshot) -> Decision:
    """Decide one round. Pure: no clock, no I/O, no randomness; the same arguments give the same decision.

    Raises:
        IllegalTransition: a defect in the rules; the transition table lacks the move.
    """
    context = with_summary(Context(state, snapshot))
    context = lifecycle.missing_trials(requests.forget_removed(context))
    context, warnings = requests.unknown_annotations(context)
    decision = _let_go(context, _first_answer(context))
    decision = replace(decision, state=pauses.ended(replace(context, state=decision.state)).state)
    decision = replace(decision, state=_steady(state, decision.state), actions=(*decision.actions, *warnings))
    return told(state, snapshot, decision)


def _steady(old: ExperimentState, new: ExperimentState) -> ExperimentState:
    """A condition whose status is what it was has not changed, whatever the rules made of it on their way: else its
    time would move on every pass, each write would wake the next pass, and so on."""
    before = {c.type: c for c in old.conditions}
    kept = (
        replace(c, changed=before[c.type].changed) if c.type in before and before[c.type].status == c.status else c
        for c in new.conditions
    )
    return replace(new, conditions=tuple(kept))


def _let_go(context: Context, decision: Decision) -> Decision:
    """Nothing is live and nothing is being done: there is nothing to undo, so a deletion of the Experiment or of its
    Namespace needs no operator."""
    seen = context.seen
    busy = any(not isinstance(a, EmitEvent) for a in decision.actions) or decision.inquiries
    if busy or seen.live or not seen.experiment.finalized:
        return decision
    return replace(decision, actions=(*decision.actions, ReleaseExperiment()))


def render_rules() -> str:
    """The order of the rules as Markdown, for the reference documentation."""
    groups = (("Undo", UNDO), ("Deadlines", DEADLINES), ("On call", ON_CALL), ("Standing", STANDING))
    rows = [
        f"| {name} | {rule.__name__} | {(rule.__doc__ or '').strip().splitlines()[0]} |"
        for name, rules in groups
        for rule in rules
    ]
    rows += [
        f"| Safety loop | {name} | {(rule.__doc__ or '').strip().splitlines()[0]} |" for name, rule in SAFETY_RULES
    ]
    return (
        "## Rules, in the order in which they are asked\n\n| group | rule | what it does |\n|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def _first_answer(context: Context) -> Decision:
    for rule in UNDO + DEADLINES + ON_CALL:
        decision = rule(context)
        if decision is not None:
            return decision
    if context.seen.partial:
        return context.wait(None)
    context = requests.resume(context)
    for rule in STANDING:
        decision = rule(context)
        if decision is not None:
            return decision
    current = keep_current(standing.healthy(context))
    if isinstance(current, Decision):
        return current
    decision = pauses.before_arms(current) or crowded(current) or progress.advance(current)
    if decision is None:
        return search(current)
    idle = not decision.actions and not decision.inquiries
    return (beside(current) if idle else None) or _soon_enough(current, decision)


def _soon_enough(context: Context, decision: Decision) -> Decision:
    """A trial that waits long must not keep its budgets from being judged, nor outlast its schedule."""
    if decision.requeue_after is None:
        return decision
    after = min(decision.requeue_after, OBSERVED_SECONDS) if context.spec.budgets else decision.requeue_after
    return replace(decision, requeue_after=pauses.next_edge(context, after))
