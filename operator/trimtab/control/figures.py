"""How well the search works, in numbers: from finished trials alone, so that it moves only when one ends. Pure."""

from __future__ import annotations

from trimtab.control.expense import spent_by
from trimtab.domain.cost import CostModel
from trimtab.domain.measurement import Arm
from trimtab.domain.space import Assignment
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.state import Figures
from trimtab.domain.trial import Trial

HOURS_OF_A_MONTH = 730.0
PERCENT = 100.0


def figures(
    spec: ExperimentSpec, cost: CostModel, baseline: Assignment, best: Assignment | None, trials: tuple[Trial, ...]
) -> Figures:
    """`best` is the incumbent's assignment, None while nothing has held every bound."""
    done = tuple(t for t in trials if t.phase.terminal)
    spent = spent_by(spec, cost, baseline, done)
    found = Figures(spent, parallel_efficiency=_efficiency(spec, done), traffic_share=_share(spec, done))
    if best is None:
        return found
    before, after = cost.hourly(baseline), cost.hourly(best)
    saving = 1 - after / before if before else 0.0
    monthly = HOURS_OF_A_MONTH * (before - after)
    return Figures(
        experiment_cost=spent,
        best_objective=after,
        improvement_per_trial=saving / len(done) if done else None,
        cost_per_improvement=spent / (PERCENT * saving) if saving > 0 else None,
        monthly_saving=monthly,
        return_ratio=monthly / spent if spent > 0 else None,
        parallel_efficiency=found.parallel_efficiency,
        traffic_share=found.traffic_share,
    )


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
        rates = {load.arm: load.rps_per_pod for load in trial.load}
        if set(rates) != set(Arm):
            continue
        replicas = dict.fromkeys((Arm.CANARY, Arm.CONTROL), spec.canary.replicas)
        replicas[Arm.TARGET] = trial.environment.target_replicas
        total = sum(rates[arm] * count for arm, count in replicas.items())
        if total > 0:
            return rates[Arm.CANARY] * replicas[Arm.CANARY] / total
    return None
