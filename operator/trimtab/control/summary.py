"""What the ledger adds up to: counts, the incumbent, savings, pooled evidence. Derived on every pass, never stored
state that could drift."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Set
from dataclasses import replace

from trimtab.control.arms import cost_model
from trimtab.control.company import spoilt
from trimtab.control.context import Context
from trimtab.control.figures import convergence_seconds, figures
from trimtab.control.measured import difference, limits, pool
from trimtab.control.objectives import Comparison, compare
from trimtab.control.saving import saving_of
from trimtab.control.study import LEARNABLE, counts
from trimtab.domain.cost import CostModel
from trimtab.domain.kube import Target
from trimtab.domain.measurement import Arm, Sample
from trimtab.domain.remembered import Remembered
from trimtab.domain.space import Assignment
from trimtab.domain.spec import ExperimentSpec, Objective, OutcomeConstraint
from trimtab.domain.state import ExperimentState, Figures, TargetRecord
from trimtab.domain.study import Diagnostics
from trimtab.domain.trial import SCREENED, SEARCHES, Purpose, Trial, TrialPhase

SEARCHING = SEARCHES | {Purpose.REPLICATE}
Z95 = 1.6448536269514722  # one-sided 95 %
_FOUND: Remembered[dict[str, object]] = Remembered()
"""Of each Experiment what their last pass found: most passes see the same trials as the one before."""


def keep_only(experiment_uids: Set[str]) -> None:
    """Forget what was found of Experiments that are gone."""
    _FOUND.keep_only(experiment_uids)


def with_summary(context: Context) -> Context:
    """Bring counts, active trials and the incumbent up to date."""
    trials = context.seen.trials
    ended = Counter(t.phase.value for t in trials if t.phase.terminal)
    state = replace(
        context.state,
        counts=tuple(sorted(ended.items())),
        active=tuple(t.name for t in trials if t.live),
        trials_counted=sum(counts(t) for t in trials),
        observed_generation=context.generation,
        rollbacks=sum(1 for t in trials if t.withdraw_seconds is not None),
        slo_held=_slo_held(context.state),
        diagnostics=_with_fallbacks(context.state.diagnostics, trials),
    )
    return _with_incumbent(replace(context, state=state))


def _with_incumbent(context: Context) -> Context:
    """The best assignment so far, and what it is worth at the target's present replicas; in the end, what the
    recommendation is worth."""
    target, record = context.seen.target, context.state.target
    if context.seen.experiment.spec is None or record is None or not isinstance(target, Target):
        return context
    uid, parts = context.seen.experiment.uid, (target, record, *_behind(context))
    return context.update(**_FOUND.known((uid,), parts, lambda _: _found(context, target, record)))


def _behind(context: Context) -> tuple[object, ...]:
    """All else that `_found` looks at: of live trials only that there are some, or when they had company."""
    state, trials = context.state, context.seen.trials
    told = trials if state.spoilt_before is not None else tuple(t for t in trials if t.phase.terminal)
    improvement = state.improvement if state.recommendation is not None else None
    return context.spec, state.recommendation, improvement, state.started, state.spoilt_before, bool(trials), told


def _found(context: Context, target: Target, record: TargetRecord) -> dict[str, object]:
    """The fields of the status that follow from the trials which have ended."""
    trials, answer = context.seen.trials, context.state.recommendation
    cost = cost_model(context.spec, target, record)
    sound = tuple(t for t in trials if not spoilt(t, trials, context.state.spoilt_before))
    best = incumbent(context.spec, cost, sound, record.template_hash, record.baseline)
    assignment = best.assignment if best is not None else None
    worth = answer.assignment if answer is not None else assignment
    return {
        "incumbent": assignment,
        "incumbent_trial": best.name if best is not None else "",
        "saving": _saving(context, cost, record.baseline, worth),
        "improvement": _improvement(context, cost, best),
        "figures": _figures(context, cost, record.baseline, worth),
    }


def _saving(context: Context, cost: CostModel, baseline: Assignment, worth: Assignment | None) -> float | None:
    if worth is None:
        return None
    whole = tuple(t for t in context.seen.trials if t.phase is TrialPhase.SUCCEEDED and t.assignment == worth)
    return saving_of(cost, baseline, worth, whole).fraction


def _figures(context: Context, cost: CostModel, baseline: Assignment, worth: Assignment | None) -> Figures | None:
    """None before the first trial. A search that ends with the baseline has converged to nothing."""
    trials, answer = context.seen.trials, context.state.recommendation
    if not trials:
        return None
    found = figures(context.spec, cost, baseline, worth, trials)
    if answer is None or answer.keep_baseline:
        return found
    return replace(found, convergence_seconds=convergence_seconds(context.state.started, answer.assignment, trials))


def _with_fallbacks(diagnostics: Diagnostics | None, trials: tuple[Trial, ...]) -> Diagnostics | None:
    """The model's health, with how often it was not the model that proposed a search trial."""
    if diagnostics is None:
        return None
    fallbacks = sum(t.purpose in SEARCHING and not t.suggestion.by_model for t in trials)
    return diagnostics if diagnostics.fallbacks == fallbacks else replace(diagnostics, fallbacks=fallbacks)


def _slo_held(state: ExperimentState) -> bool | None:
    """Has every error budget of the service had something left whenever it was looked at? Once a trial has run, a
    budget that was used up stays told; None without budgets, and before all of them were read."""
    budgets, before = state.budgets, state.slo_held
    if before is False and state.trials_created:
        return False
    if not budgets or any(b.remaining is None for b in budgets):
        return before if budgets else None
    return all(b.remaining is not None and b.remaining > 0 for b in budgets)


def _improvement(context: Context, cost: CostModel, best: Trial | None) -> float | None:
    """Of a first objective other than the cost: what the incumbent's trial measured, in the end what is recommended."""
    objective, record, answer = context.spec.objectives[0], context.state.target, context.state.recommendation
    if objective.is_cost or record is None:
        return None
    if answer is not None:
        return context.state.improvement
    found = _compared(objective, cost, record.baseline, best) if best is not None else None
    return found.improvement if found is not None else None


def _compared(objective: Objective, cost: CostModel, baseline: Assignment, trial: Trial) -> Comparison | None:
    return compare(objective, cost, baseline, trial.assignment, (trial,))


def incumbent(
    spec: ExperimentSpec, cost: CostModel, trials: tuple[Trial, ...], template_hash: str, baseline: Assignment
) -> Trial | None:
    """The successful trial that is the best of those whose measured values keep every bound; later ones win ties.

    The best is the cheapest, or improved the first objective most on its own control.
    """
    whole = [
        t
        for t in trials
        if t.phase is TrialPhase.SUCCEEDED
        and t.environment.template_hash == template_hash
        and (t.outcome is None or t.outcome.reason != SCREENED)
    ]
    objective = spec.objectives[0]
    if objective.is_cost and cost.known:
        by_cost = sorted(whole, key=lambda t: (cost.hourly(t.assignment), -t.index))
        return next((t for t in by_cost if holds(spec, t)), None)
    held = (t for t in whole if holds(spec, t))
    known = [(t, found) for t in held if (found := _compared(objective, cost, baseline, t)) is not None]
    return max(known, key=lambda pair: (pair[1].improvement, pair[0].index), default=(None, None))[0]


def holds(spec: ExperimentSpec, trial: Trial) -> bool:
    """Every bound is kept by the measured value of the canary."""
    return all(margin(c, (trial,), 0.0) for c in spec.constraints)


def margin(constraint: OutcomeConstraint, trials: tuple[Trial, ...], z: float) -> bool:
    """Is the pooled canary value of these trials within the bound, up to its limit (`limits`) at the normal quantile
    `z`? A missing measurement is not within."""
    pooled = pool(trials, constraint.sli, Arm.CANARY)
    if pooled is None:
        return False
    lower, upper = limits(pooled, z)
    if constraint.maximum is not None and upper > constraint.maximum:
        return False
    if constraint.minimum is not None and lower < constraint.minimum:
        return False
    return constraint.relative is None or _relative(constraint, trials, pooled, z)


def _relative(constraint: OutcomeConstraint, trials: tuple[Trial, ...], canary: Sample, z: float) -> bool:
    """Of a ratio's difference to what is allowed the limit lies as far off as the canary's own and the control's
    together: sqrt((u_c - c)^2 + (b - l_b)^2) (Zou and Donner 2008)."""
    assert constraint.relative is not None
    times, more = 1 + (constraint.relative.max_increase_ratio or 0.0), constraint.relative.max_increase or 0.0
    control, apart = pool(trials, constraint.sli, Arm.CONTROL), difference(trials, constraint.sli, times)
    if control is None or apart is None:
        return False
    if canary.bad is None or control.bad is None:
        return limits(apart, z)[1] <= more
    above, below = limits(canary, z)[1] - canary.value, control.value - limits(control, z)[0]
    return apart.value + math.hypot(above, times * below) <= more


def to_repair(context: Context) -> tuple[str, ...]:
    """The bounds that the present settings break, by what all control arms measured together, in an Experiment that
    repairs them; none in any other."""
    record = context.state.target
    if record is None or not context.spec.search.repair:
        return ()
    here = [t for t in context.seen.trials if t.environment.template_hash == record.template_hash]
    return tuple(c.name for c in context.spec.constraints if not c.guard_only and _breaks(c, here))


def _breaks(constraint: OutcomeConstraint, trials: list[Trial]) -> bool:
    """Is the pooled value of the controls beyond the constraint's own bounds?"""
    read = [t for t in trials if t.phase in LEARNABLE and pool((t,), constraint.sli, Arm.CONTROL) is not None]
    pooled = pool(tuple(read), constraint.sli, Arm.CONTROL)
    if pooled is None:
        return False
    above = constraint.maximum is not None and pooled.value > constraint.maximum
    return above or (constraint.minimum is not None and pooled.value < constraint.minimum)
