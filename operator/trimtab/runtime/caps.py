"""The experiments' share of each error budget against a live canary, with whatever is known of it.

What cannot be read now is taken as it was last known, from memory or from the Experiment's status: the rule never
vanishes because a query failed.
"""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.control.gates import cap_of, windows_of
from trimtab.control.snapshot import BudgetReadings
from trimtab.domain.quantity import format_moment
from trimtab.domain.spec import ErrorBudget
from trimtab.domain.state import BudgetState
from trimtab.domain.trial import Spent, Trial
from trimtab.ports import ExperimentRecord
from trimtab.slo.budget import Cap, allowed_bad, history_of
from trimtab.slo.safety import Closed, SafetyView
from trimtab.slo.spending import expected_rate, pace, unseen_seconds


@dataclass(frozen=True)
class CapJudgement:
    """`exceeded` is the share that does not hold any more; `unknown` says which one nobody knows, "" when all are."""

    exceeded: Closed | None = None
    unknown: str = ""


def judge_cap(
    experiment: ExperimentRecord, readings: BudgetReadings, view: SafetyView, others: tuple[Trial, ...] = ()
) -> CapJudgement:
    """Ask the cap of every budget. What `others`, live beside the view's trial, spent counts as its own does: where all
    of them together exceed it, each of them goes."""
    stored = {b.name: b for b in (experiment.state.budgets if experiment.state is not None else ())}
    unknown = ""
    for budget in view.spec.budgets:
        allowed, before = _known(budget, readings, stored.get(budget.name), view.now)
        if allowed is None or before is None:
            unknown = unknown or f"{budget.name}: nobody knows how much experiments may spend of it"
            continue
        (mine, cap), *beside = (
            (spent, cap_of(view.spec, budget, allowed, before, view.scrape_interval, rate))
            for spent, rate in (_account(experiment, budget.sli, trial) for trial in (view.trial, *others))
        )
        besides = sum(spent.cost + each.unseen(unseen_seconds(spent, view.now)) for spent, each in beside)
        words = cap.exceeded(mine.cost, unseen_seconds(mine, view.now), besides)
        if words:
            told = (
                f"{budget.name}: canaries may cause {cap.limit:,.0f} bad events, earlier ones caused {cap.spent:,.0f}",
                *(_spent_words(view.now, *one) for one in ((mine, cap), *beside)),
            )
            return CapJudgement(Closed(budget.name, "ExperimentCapReached", f"{budget.name}: {words}", told))
    return CapJudgement(unknown=unknown)


def _spent_words(now: float, spent: Spent, cap: Cap) -> str:
    """What one live canary cost, and what of it nobody may have seen."""
    unseen = cap.unseen(unseen_seconds(spent, now))
    until = "never" if spent.until is None else f"until {format_moment(spent.until)}"
    return (
        f"{spent.sli}: {spent.bad:,.0f} of {spent.total:,.0f} events bad and {spent.unseen:,.0f} not counted, "
        f"seen {until}; up to {unseen:,.0f} more unseen at {cap.rate:.3g} requests/s"
    )


def _account(experiment: ExperimentRecord, sli: str, trial: Trial) -> tuple[Spent, float]:
    """What the trial's canary spent, and its requests per second."""
    spent = next((s for s in trial.spent if s.sli == sli), Spent(sli, 0.0, 0.0))
    return spent, pace(spent, None, None, expected_load(experiment, trial))


def _known(
    budget: ErrorBudget, readings: BudgetReadings, stored: BudgetState | None, now: float
) -> tuple[float | None, float | None]:
    """(bad events that the whole budget allows, those that experiments spent before this trial)."""
    allowed = allowed_bad(budget, windows_of(readings, budget.name), history_of(stored, now))
    spent = dict(readings.spent).get(budget.sli)
    if stored is not None:
        allowed = stored.allowed_bad if allowed is None else allowed
        spent = stored.spent_bad if spent is None else spent
    return allowed, spent


def expected_load(experiment: ExperimentRecord, trial: Trial) -> float | None:
    """Requests per second that the canary should get, None while the service's load is not known."""
    spec, state = experiment.spec, experiment.state
    if spec is None or state is None:
        return None
    return expected_rate(spec, state.requests_per_second, trial.environment.target_replicas)


__all__ = ["CapJudgement", "expected_load", "judge_cap"]
