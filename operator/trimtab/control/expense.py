"""What trials cost in $, by the requests of their arms, and whether one more fits into `stopping.maxCost`. Pure.

Everything comes from the ledger: when arms were asked for and when they were gone stand in each Trial, prices and
requests in the spec. A trial that is to start counts with the most that it can cost, until its deadline and the end of
its pods, so that the cap holds whatever happens to it; and the search leaves enough for one verification.
"""

from __future__ import annotations

from collections.abc import Iterable

from trimtab.control.arms import cost_model
from trimtab.control.context import Context
from trimtab.control.pods import load_of
from trimtab.control.preflight_findings import Problem, problem
from trimtab.control.scaling import most_pods
from trimtab.control.settle import GRACE_SLACK
from trimtab.domain.cost import CostModel
from trimtab.domain.kube import Surroundings, Target
from trimtab.domain.measurement import Arm
from trimtab.domain.space import Assignment
from trimtab.domain.spec import ExperimentSpec, Mode
from trimtab.domain.trial import Load, Trial, pods_behind

HOUR = 3600.0
FIELD = "spec.stopping.maxCost"


def spent_by(spec: ExperimentSpec, cost: CostModel, baseline: Assignment, trials: Iterable[Trial]) -> float:
    """$ that trials which have ended cost: pods x (canary + control) x hours from asking for arms to their end."""
    return sum((_arms(spec, cost, baseline, t) * _hours(t) for t in trials if t.phase.terminal), 0.0)


def most(
    spec: ExperimentSpec, target: Target, cost: CostModel, baseline: Assignment, assignment: Assignment, pods: int
) -> float:
    """$ that one trial of the assignment can cost: its arms, of at most so many `pods` each, until its deadline, and
    these until they have ended."""
    seconds = spec.trial.deadline + target.termination_grace_seconds + GRACE_SLACK
    return pods * (cost.pod_hourly(assignment) + cost.pod_hourly(baseline)) * seconds / HOUR


def reached(context: Context) -> str:
    """Words with figures when maxCost is spent, "" while it is not or there is none."""
    most_of_all = context.spec.stopping.max_cost
    if most_of_all is None:
        return ""
    paid = _spent(context)
    return f"maxCost: {told(paid, most_of_all)} spent" if paid >= most_of_all else ""


def refused(context: Context, assignment: Assignment, after: int) -> str:
    """Why a trial of the assignment may not start: what is spent, it, and `after` verifications could exceed maxCost;
    "" when it may. Verifications count as those of the dearest assignment that is known."""
    limit = context.spec.stopping.max_cost
    if limit is None:
        return ""
    spec, target, cost, baseline, pods = _known(context)
    paid, own = _spent(context), most(spec, target, cost, baseline, assignment, pods)
    tried = {baseline, assignment, *(t.assignment for t in context.seen.trials)}
    rest = after * max(most(spec, target, cost, baseline, x, pods) for x in tried)
    if paid + own + rest <= limit:
        return ""
    more = f", its verification {dollars(rest)}" if rest else ""
    return f"maxCost: {told(paid, limit)} spent, the next trial could cost up to {dollars(own)}{more}"


def standing(context: Context) -> str:
    """What the trials have cost, for the last message; "" without maxCost."""
    limit = context.spec.stopping.max_cost
    return "" if limit is None else f"; trials cost {told(_spent(context), limit)} (maxCost)"


def too_small(spec: ExperimentSpec, target: Target, surroundings: Surroundings, baseline: Assignment) -> Problem | None:
    """A cap under which not even the first trial and the verification fit: nothing would ever start."""
    limit = spec.stopping.max_cost
    if limit is None or spec.mode is Mode.OBSERVE:
        return None
    pods, count = most_pods(spec, surroundings), 1 + spec.verification.replicates
    one = most(spec, target, cost_model(spec, target), baseline, baseline, pods)
    if count * one <= limit:
        return None
    what = f"{count} trials at the present settings could cost {dollars(count * one)} until their deadlines"
    return problem("MaxCostTooSmall", FIELD, what, "raise it, or shorten spec.trial.deadline")


def told(paid: float, limit: float) -> str:
    """`$0.97 of $2.50`."""
    return f"{dollars(paid)} of {dollars(limit)}"


def dollars(amount: float) -> str:
    """Cents, or three digits of what is less than a dollar."""
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.3g}"


def _arms(spec: ExperimentSpec, cost: CostModel, baseline: Assignment, trial: Trial) -> float:
    """$ per hour of both arms of a trial that has ended."""
    arms = ((Arm.CANARY, trial.assignment), (Arm.CONTROL, baseline))
    return sum(_pods(spec, cost, own, load_of(trial, arm)) * cost.pod_hourly(own) for arm, own in arms)


def _pods(spec: ExperimentSpec, cost: CostModel, own: Assignment, load: Load | None) -> float:
    """How many pods an arm had: where an autoscaler decides that, as they were counted, else as it is expected to."""
    if cost.share is None:
        return spec.canary.replicas
    return pods_behind(load, max(float(spec.canary.replicas), cost.pods(own) * cost.share))


def _hours(trial: Trial) -> float:
    begun, ended = trial.times.deploying, trial.times.finished
    return 0.0 if begun is None or ended is None else max(ended - begun, 0.0) / HOUR


def _spent(context: Context) -> float:
    spec, target, cost, baseline, pods = _known(context)
    live = sum(most(spec, target, cost, baseline, t.assignment, pods) for t in context.seen.live)
    return spent_by(spec, cost, baseline, context.seen.trials) + live


def _known(context: Context) -> tuple[ExperimentSpec, Target, CostModel, Assignment, int]:
    """Spec, target, cost, baseline, and the greatest number of pods of an arm."""
    target, surroundings, record = context.seen.target, context.seen.surroundings, context.state.target
    assert isinstance(target, Target)
    assert surroundings is not None
    assert record is not None
    cost = cost_model(context.spec, target, record)
    return context.spec, target, cost, record.baseline, most_pods(context.spec, surroundings)


__all__ = ["dollars", "most", "reached", "refused", "spent_by", "standing", "too_small"]
