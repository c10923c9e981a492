"""The Experiment's own state, as its status carries it: the part of the ledger that is not a Trial."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from trimtab.domain.space import Assignment, Resource
from trimtab.domain.study import Diagnostics


class ExperimentPhase(StrEnum):
    PENDING = "Pending"
    PREFLIGHT = "Preflight"
    RUNNING = "Running"
    PAUSED = "Paused"
    VERIFYING = "Verifying"
    AWAITING_APPROVAL = "AwaitingApproval"
    PROMOTING = "Promoting"
    COMPLETED = "Completed"
    STOPPED = "Stopped"
    FAILED = "Failed"

    @property
    def terminal(self) -> bool:
        return self in {ExperimentPhase.COMPLETED, ExperimentPhase.STOPPED, ExperimentPhase.FAILED}


class ConditionType(StrEnum):
    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    PREFLIGHT = "Preflight"
    TARGET_LOCKED = "TargetLocked"
    TELEMETRY_HEALTHY = "TelemetryHealthy"
    BUDGET_AVAILABLE = "BudgetAvailable"
    PAUSED = "Paused"
    ROLLED_BACK = "RolledBack"
    RECOMMENDATION_READY = "RecommendationReady"
    PROMOTED = "Promoted"
    PARALLEL = "Parallel"


@dataclass(frozen=True)
class Condition:
    """A `metav1.Condition`; `changed` (unix seconds) moves only when `status` does. `status` None is Unknown."""

    type: ConditionType
    status: bool | None
    reason: str
    message: str
    changed: float
    generation: int


@dataclass(frozen=True)
class BudgetState:
    """One error budget: `remaining` and `burn` of the service (None: unknown), `spent` bad events by experiments (what
    nobody saw counts as bad)."""

    name: str
    remaining: float | None
    burn_rate: float | None
    spent_bad: float
    spent_share: float  # of the whole budget, 0..1
    history_short: bool = False
    firing: str = ""  # the rule that holds the gate closed, "" when none
    clear_since: float | None = (
        None  # unix seconds since when its short window stayed low; the gate opens after a while
    )
    observed: float | None = None  # unix seconds when it was judged, to half a minute
    allowed_bad: float | None = None  # bad events that the whole budget allows, as last known
    metrics_since: float | None = None  # unix seconds of the store's oldest sample, as preflight found it
    exhaustion_seconds: float | None = None  # until nothing is left; None: at this burn rate some always is, or unknown


@dataclass(frozen=True)
class Floor:
    """The least value of a parameter (base units) that is tried at all, and why, in one line."""

    parameter: str
    value: float
    message: str


@dataclass(frozen=True)
class HandledRequest:
    """An on-call annotation that was acknowledged."""

    annotation: str
    value: str
    manager: str
    at: float
    answer: str


@dataclass(frozen=True)
class Interval:
    """A value with its two-sided 95 % interval, in the unit of what it is about."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SliOutlook:
    """One SLI at the recommended values.

    `predicted` is what the model expects at peak load, None where no absolute bound is modelled. `verified` is what the
    canaries of fresh trials measured, pooled; `control` what their controls measured beside them. None: not measured.
    """

    sli: str
    predicted: Interval | None = None
    verified: Interval | None = None
    control: Interval | None = None


@dataclass(frozen=True)
class ObjectiveOutlook:
    """One objective at the recommended values, in its own unit and direction.

    `baseline` and `predicted` are what the model expects at the load that trials usually see, `change` is the second's
    difference as a fraction of the first. `verified` is what the canaries of fresh trials measured, pooled, `control`
    what their controls measured beside them.
    """

    name: str
    baseline: float
    predicted: Interval
    change: float
    verified: Interval | None = None
    control: Interval | None = None


@dataclass(frozen=True)
class FrontValue:
    """One objective at a point of the front: the model's mean, in the objective's unit, and standard deviation."""

    name: str
    value: float
    sd: float


@dataclass(frozen=True)
class FrontPoint:
    """An assignment that could be recommended and that none other beats in both objectives."""

    assignment: Assignment
    objectives: tuple[FrontValue, ...]


@dataclass(frozen=True)
class Figures:
    """How well the search works, from finished trials alone, so that it moves only when one ends.

    Costs are in $. What was found is the incumbent, in the end the recommendation: `best_objective` is the first
    objective of it in its own unit ($ per hour of the target where that is the cost, else what canaries measured),
    `monthly_saving` what it saves in 730 hours. `experiment_cost` is what all arms have cost, `cost_per_improvement`
    that per percent by which the first objective improved, `return_ratio` a month's saving over it.
    `parallel_efficiency` is the trials' time over the elapsed time and parallelism, in [0, 1]; `traffic_share` the
    share of requests that the last measured canary got. `baseline_cost` and `found_cost` are $ per hour of the target.
    `convergence_seconds` goes from the passed preflight to the end of the trial that first measured what is
    recommended. None: nothing to compute it from yet.
    """

    experiment_cost: float
    best_objective: float | None = None
    improvement_per_trial: float | None = None
    cost_per_improvement: float | None = None
    monthly_saving: float | None = None
    return_ratio: float | None = None
    parallel_efficiency: float | None = None
    traffic_share: float | None = None
    baseline_cost: float | None = None
    found_cost: float | None = None
    convergence_seconds: float | None = None


@dataclass(frozen=True)
class RecommendationState:
    """The answer of the Experiment. `digest` names exactly this recommendation for approval.

    `saving_low` and `saving_high` are the saving itself: what is saved is known exactly (ADR 7).
    """

    digest: str
    assignment: Assignment
    keep_baseline: bool
    saving: float  # fraction of the baseline's cost
    saving_low: float | None
    saving_high: float | None
    cost_before: float  # $ per hour
    cost_after: float
    verified: bool
    config_map: str
    template_hash: str
    message: str
    approved: bool = False
    slis: tuple[SliOutlook, ...] = ()
    objectives: tuple[ObjectiveOutlook, ...] = ()  # empty where the cost alone is the objective
    front: tuple[FrontPoint, ...] = ()  # of two objectives, the best of the first one first
    seen_of_peak: float | None = None  # the highest load of its verification over that of the days before


@dataclass(frozen=True)
class ScaledBy:
    """The autoscaler of the target, which its arms have clones of, and what it goes by.

    `resource` is None where it goes by nothing whose request is known. `container` is "" for the whole pod;
    `utilization` is the fraction of the request that it aims at, `tolerance` how far above that it stands still;
    `replicas` were there when it was looked at. From `minimum` to `maximum` of them it keeps as many as the use of CPU
    asks for; both are None where that is not all that it goes by, or not on record.
    """

    name: str
    replicas: int
    resource: Resource | None = None
    container: str = ""
    utilization: float = 1.0
    tolerance: float = 0.1
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True)
class TargetRecord:
    """What the target was before the first trial."""

    uid: str
    template_hash: str
    baseline: Assignment
    scaled: ScaledBy | None = None  # None: the number of its pods is fixed while trials run


@dataclass(frozen=True)
class ExperimentState:
    """Status of an Experiment. Rebuilt from the API server on every pass; never kept in memory between passes."""

    phase: ExperimentPhase = ExperimentPhase.PENDING
    message: str = ""
    observed_generation: int = 0
    spec_digest: str = ""
    started: float | None = None
    finished: float | None = None
    trials_created: int = 0  # Trials below this index must exist
    trials_counted: int = 0  # of maxTrials: search trials that reached a verdict
    conditions: tuple[Condition, ...] = ()
    target: TargetRecord | None = None
    active: tuple[str, ...] = ()
    counts: tuple[tuple[str, int], ...] = ()  # terminal phase -> number
    incumbent: Assignment | None = None
    incumbent_trial: str = ""
    saving: float | None = None
    improvement: float | None = None  # of the first objective, as a fraction; None where that is the cost alone
    slo_held: bool | None = None
    candidate: Assignment | None = None  # under verification
    recommendation: RecommendationState | None = None
    budgets: tuple[BudgetState, ...] = ()
    floors: tuple[Floor, ...] = ()
    handled: tuple[HandledRequest, ...] = ()
    diagnostics: Diagnostics | None = None
    figures: Figures | None = None
    retry_at: float | None = None  # unix seconds: nothing is tried before (a trial, or a question to the Designer)
    designer_failures: int = 0  # questions in a row that the Designer could not answer
    spoilt_before: int | None = None  # trials of a lower index that had company are no evidence, see `disturbed`
    rollbacks: int = 0  # live trials withdrawn, whatever the reason
    scrape_interval: float | None = None  # seconds, as preflight found it
    requests_per_second: float | None = None  # of the whole target, as preflight found it

    def condition(self, kind: ConditionType) -> Condition | None:
        return next((c for c in self.conditions if c.type is kind), None)

    def is_true(self, kind: ConditionType) -> bool:
        found = self.condition(kind)
        return found is not None and found.status is True

    def is_false(self, kind: ConditionType) -> bool:
        found = self.condition(kind)
        return found is not None and found.status is False

    def with_condition(
        self, kind: ConditionType, status: bool | None, reason: str, message: str, now: float, generation: int
    ) -> ExperimentState:
        """Set one condition; its time moves only when its status changes."""
        old = self.condition(kind)
        changed = old.changed if old is not None and old.status == status else now
        new = Condition(kind, status, reason, message, changed, generation)
        if old is None:
            return replace(self, conditions=(*self.conditions, new))
        return replace(self, conditions=tuple(new if c.type is kind else c for c in self.conditions))

    def without(self, kind: ConditionType) -> ExperimentState:
        return replace(self, conditions=tuple(c for c in self.conditions if c.type is not kind))
