"""How well the search works, in numbers: from finished trials alone, so that it moves only when one ends. Pure.

What was found is judged by the first objective: its cost, where that is the cost, else what canaries measured of it
against their controls. Dollars are told beside it in any case.
"""

from __future__ import annotations

from trimtab.control.expense import spent_by
from trimtab.control.objectives import Comparison, compare
from trimtab.control.saving import saving_of
from trimtab.domain.cost import CostModel
from trimtab.domain.measurement import Arm
from trimtab.domain.space import Assignment
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.state import Figures
from trimtab.domain.trial import SCREENED, Trial, TrialPhase, pods_behind

HOURS_OF_A_MONTH = 730.0
PERCENT = 100.0


def figures(
    spec: ExperimentSpec, cost: CostModel, baseline: Assignment, best: Assignment | None, trials: tuple[Trial, ...]
) -> Figures:
    """`best` is the incumbent's assignment, None while nothing has held every bound."""
    done = tuple(t for t in trials if t.phase.terminal)
    spent, efficiency, share = spent_by(spec, cost, baseline, done), _efficiency(spec, done), _share(spec, done)
    if best is None:
        return Figures(spent, baseline_cost=cost.hourly(baseline), parallel_efficiency=efficiency, traffic_share=share)
    saved, seen = saving_of(cost, baseline, best, _in_full(done, best)), _measured(spec, cost, baseline, best, done)
    before, after = saved.before, saved.after
    gain = saved.fraction if spec.objectives[0].is_cost else _improvement(seen)
    monthly = HOURS_OF_A_MONTH * (before - after)
    return Figures(
        experiment_cost=spent,
        best_objective=after if spec.objectives[0].is_cost else _value(seen),
        improvement_per_trial=gain / len(done) if gain is not None and done else None,
        cost_per_improvement=spent / (PERCENT * gain) if gain is not None and gain > 0 else None,
        monthly_saving=monthly,
        return_ratio=monthly / spent if spent > 0 else None,
        parallel_efficiency=efficiency,
        traffic_share=share,
        baseline_cost=before,
        found_cost=after,
    )


def convergence_seconds(started: float | None, answer: Assignment, trials: tuple[Trial, ...]) -> float | None:
    """Seconds from the passed preflight to the end of the trial that first measured the answer in full; None when none
    did."""
    ends = [t.times.finished for t in _in_full(trials, answer) if t.times.finished is not None]
    return min(ends) - started if ends and started is not None else None


def _measured(
    spec: ExperimentSpec, cost: CostModel, baseline: Assignment, best: Assignment, done: tuple[Trial, ...]
) -> Comparison | None:
    """The first objective of what was found, beside the controls of the same trials; None where an SLI is missing."""
    return compare(spec.objectives[0], cost, baseline, best, _in_full(done, best))


def _in_full(trials: tuple[Trial, ...], assignment: Assignment) -> tuple[Trial, ...]:
    """Those that measured these values, not in a short screen alone, and on the pod template of the newest of them."""
    whole = [t for t in trials if t.phase is TrialPhase.SUCCEEDED and t.assignment == assignment and not _screened(t)]
    return tuple(t for t in whole if t.environment.template_hash == whole[-1].environment.template_hash)


def _screened(trial: Trial) -> bool:
    return trial.outcome is not None and trial.outcome.reason == SCREENED


def _improvement(seen: Comparison | None) -> float | None:
    return None if seen is None else seen.improvement


def _value(seen: Comparison | None) -> float | None:
    return None if seen is None else seen.canary


def _efficiency(spec: ExperimentSpec, done: tuple[Trial, ...]) -> float | None:
    """The trials' own time over all the time in which they might have run; the rest is waiting."""
    spans = [(t.times.created, t.times.finished) for t in done if t.times.finished is not None]
    if not spans:
        return None
    elapsed = max(end for _, end in spans) - min(begin for begin, _ in spans)
    busy = sum(end - begin for begin, end in spans)
    return min(busy / elapsed / max(spec.trial.parallel, 1), 1.0) if elapsed > 0 else None


def _share(spec: ExperimentSpec, done: tuple[Trial, ...]) -> float | None:
    """Of the newest trial whose load is known in all three places: what the canary got of it all."""
    for trial in reversed(done):
        usual = dict.fromkeys((Arm.CANARY, Arm.CONTROL), spec.canary.replicas)
        usual[Arm.TARGET] = trial.environment.target_replicas
        rates = {load.arm: load.rps_per_pod * pods_behind(load, usual[load.arm]) for load in trial.load}
        if set(rates) != set(Arm):
            continue
        total = sum(rates.values())
        if total > 0:
            return rates[Arm.CANARY] / total
    return None
