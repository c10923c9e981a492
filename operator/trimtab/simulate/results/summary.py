"""The result in numbers: savings against the true optimum, safety, the recommendation."""

from __future__ import annotations

from typing import Literal

from trimtab.domain.state import ExperimentPhase
from trimtab.simulate.results.base import Absent, Flag, Number, Part, Real
from trimtab.simulate.results.trial import TrueSli, Value


class Budget(Part):
    """What the experiments did to one error budget."""

    name: str
    """Name of the budget."""
    spent_bad: Real
    """Bad events that canaries spent."""
    spent_percent: Real
    """The same in percent of the whole budget."""
    cap_percent: Real
    """experimentSharePercent: what they may spend of it."""
    remaining_percent: Number
    """What the service has left of it at the end."""


class FrontValue(Part):
    """One objective at a point of the front."""

    name: str
    """Name of the objective."""
    expected: Real
    """What the operator's model expects, in the objective's unit."""
    sd: Real
    """Its standard deviation."""
    true: Number
    """In the model without noise, at the median load that trials had."""


class FrontPoint(Part):
    """An assignment that could be recommended and that none other beats in both objectives."""

    assignment: tuple[Value, ...]
    """Its values."""
    truly_feasible: bool
    """It keeps every bound at peak load in the model without noise."""
    objectives: tuple[FrontValue, ...]
    """Both objectives there."""


class ObjectiveResult(Part):
    """One objective in the model without noise, at the median load that trials had."""

    name: str
    """Name of the objective."""
    goal: str
    """Minimize or Maximize."""
    unit: str
    """$/h, ratio, s, ms, the unit of a value, or 1 for a weighted sum."""
    load: Real
    """That load, requests per second per pod."""
    baseline: Number
    """With today's values."""
    recommended: Number
    """With the recommended values; absent without any."""
    change_percent: Number
    """Their difference in percent of the first."""
    optimum: Number
    """The best of this objective alone among the assignments of the grid that keep every bound at peak load."""


class Recommendation(Part):
    """The Experiment's answer."""

    assignment: tuple[Value, ...]
    """The recommended values."""
    keep_baseline: bool
    """The answer is to change nothing."""
    verified: bool
    """Fresh trials confirmed it."""
    digest: str
    """Names exactly this recommendation."""
    message: str
    """The operator's words."""
    true_slis: tuple[TrueSli, ...]
    """Its SLIs without noise; the load seen is the highest of the trials."""
    front: tuple[FrontPoint, ...] = ()
    """Of two objectives, the best of the first one first; else empty."""


class Summary(Part):
    """The simulation in numbers. Costs are $ per hour of the requests of the whole target."""

    phase: ExperimentPhase
    """How the Experiment ended; a phase that is not final when the horizon ended first."""
    reason: str
    """CamelCase reason of the end."""
    message: str
    """The operator's last words."""
    virtual_seconds: Real
    """Duration of the Experiment in virtual time."""
    trials: int
    """Trials that ended."""
    succeeded: int
    """Measured and judged."""
    infeasible: int
    """Broke a bound, or the canary broke."""
    inconclusive: int
    """No data, or too little."""
    aborted: int
    """Ended by people, budgets or the environment."""
    stale: int
    """The target changed meanwhile."""
    infra_failed: int
    """The cluster could not run the arms."""
    search_trials: int
    """Trials of purpose Search: new values."""
    suggested_by_model: int
    """How many of those the model chose."""
    replicates: int
    """Trials of purpose Replicate: the incumbent measured again."""
    baseline_cost: Real
    """Of the target as it was."""
    best_cost: Number
    """Under the recommendation; absent without one."""
    optimum_cost: Number
    """Of the cheapest assignment of the grid that keeps every bound at peak load, in the model without noise."""
    saving_percent: Number
    """What the recommendation saves of the baseline's cost; below 0 where the baseline broke a bound and was
    repaired."""
    optimum_saving_percent: Number
    """What the optimum would save."""
    saving_of_optimum_percent: Number
    """The first as a percentage of the second."""
    optimum: tuple[Value, ...]
    """The optimum's values; empty when there is none."""
    peak_load: Real
    """Requests per second at the peak of the horizon, without noise and arms."""
    load_of: Literal["Pod", "Service"] = "Pod"
    """Whose requests are counted in `peakLoad` and in the trials' `loadSeen`: those of one pod, or of the whole service
    where an autoscaler or the assignment decides how many pods share them."""
    truly_feasible: Flag
    """The recommendation keeps every bound at peak load in the model without noise; absent without one."""
    truly_feasible_at_load_seen: Flag
    """The same at the highest load that a trial had."""
    unsafe_trials: int
    """Trials that were truly unsafe at the load they saw."""
    gross_trials: int
    """Trials that were gross."""
    seconds_exposed: Real
    """How long canaries served requests."""
    unsafe_seconds_exposed: Real
    """How long those of truly unsafe trials did."""
    canary_requests: Real
    """Requests that canaries served."""
    bad_requests: Real
    """How many of them were bad."""
    extra_bad_requests: Real
    """The same less what today's values would have done to these requests: the price of the experiment."""
    budget_spent_percent: Number
    """The largest of `budgets[].spentPercent`; absent without error budgets."""
    budgets: tuple[Budget, ...]
    """Every error budget."""
    rollbacks: int
    """Canaries withdrawn."""
    rollback_seconds_max: Number
    """The slowest withdrawal."""
    recommendation: Recommendation | Absent
    """The answer."""
    objectives: tuple[ObjectiveResult, ...] = ()
    """Every objective; empty where the cost alone is minimized."""
