"""The Experiment as the core sees it: the wire manifest, parsed once.

Durations are seconds, percentages are fractions unless a name says `percent`, prices are $.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from trimtab.domain.cost import Prices
from trimtab.domain.placeholder import narrowed
from trimtab.domain.schedule import Schedule
from trimtab.domain.space import Assignment, Numeric, Parameter, ReplicaCount, SearchSpace


class Mode(StrEnum):
    OBSERVE = "Observe"
    RECOMMEND = "Recommend"
    PROMOTE = "Promote"


class SliKind(StrEnum):
    """What a bound on the SLI means for the model: which prior and likelihood apply."""

    ERRORS = "Errors"
    LATENCY = "Latency"
    VALUE = "Value"


class OnMissing(StrEnum):
    INCONCLUSIVE = "Inconclusive"
    FAIL = "Fail"


@dataclass(frozen=True)
class RatioQuery:
    """bad / total of two counters; each text is a PromQL vector selector holding `$selector`.

    Several alternatives (a preset's label names) are probed in order; the first that has series is used. `segment` are
    matchers that narrow both counters.
    """

    bad: tuple[str, ...]
    total: tuple[str, ...]
    segment: str = ""

    @property
    def counters(self) -> tuple[tuple[str, str], ...]:
        """(bad, total) of each alternative, within the segment."""
        pairs = zip(self.bad, self.total, strict=True)
        return tuple((narrowed(bad, self.segment), narrowed(total, self.segment)) for bad, total in pairs)


SECONDS = {"s": 1.0, "ms": 0.001}


@dataclass(frozen=True)
class SlowRatioQuery:
    """Fraction of requests slower than `threshold` (in the histogram's unit) from a classic or native histogram.

    `histogram` is the base name (without `_bucket`), `matchers` and `segment` further label matchers. `scale` times the
    threshold is what a person wrote: 0.001 where they write seconds and the histogram has milliseconds.
    """

    histogram: tuple[str, ...]
    threshold: float
    unit: str = "s"
    matchers: str = ""
    segment: str = ""
    scale: float = 1.0

    @property
    def labels(self) -> str:
        """All its matchers."""
        return _joined(self.matchers, self.segment)

    @property
    def seconds(self) -> float | None:
        """The threshold; None where the unit is no time that is known."""
        return self.threshold * SECONDS[self.unit] if self.unit in SECONDS else None


@dataclass(frozen=True)
class QuantileQuery:
    """A latency quantile in `unit`: `scale` times what the histogram counts in."""

    histogram: tuple[str, ...]
    quantile: float
    unit: str = "s"
    matchers: str = ""
    segment: str = ""
    scale: float = 1.0

    @property
    def labels(self) -> str:
        """All its matchers."""
        return _joined(self.matchers, self.segment)


def _joined(*matchers: str) -> str:
    return ",".join(m for m in matchers if m)


@dataclass(frozen=True)
class ValueQuery:
    """A PromQL expression that yields one value; `samples_query` counts what is behind it."""

    query: str
    unit: str
    samples_query: str | None = None


class Scaling(StrEnum):
    """What is asked of an arm that an autoscaler scales. The first is a number of pods; the others are per hour."""

    MEAN_REPLICAS = "MeanReplicas"
    SCALE_EVENTS = "ScaleEventsPerHour"
    BREACH_SECONDS = "BreachSecondsPerHour"


@dataclass(frozen=True)
class ScalingQuery:
    """How an arm scaled over a whole window, seen in the counters that `counting` names: a pod is there while it has
    one. `above` is the ratio beyond which a moment is in breach, for BREACH_SECONDS alone, which no quantile tells."""

    measure: Scaling
    counting: RatioQuery | SlowRatioQuery | QuantileQuery
    above: float | None = None

    @property
    def unit(self) -> str:
        """As people read it."""
        return {Scaling.MEAN_REPLICAS: "pods", Scaling.SCALE_EVENTS: "per h", Scaling.BREACH_SECONDS: "s/h"}[
            self.measure
        ]


SliQuery = RatioQuery | SlowRatioQuery | QuantileQuery | ValueQuery | ScalingQuery
DEFAULT_STORE = "default"


@dataclass(frozen=True)
class Sli:
    """`store` is the name of the metrics store that answers the query, from the operator's list."""

    name: str
    kind: SliKind
    query: SliQuery
    min_samples: int
    on_missing: OnMissing = OnMissing.INCONCLUSIVE
    store: str = DEFAULT_STORE


@dataclass(frozen=True)
class ObjectiveTerm:
    """weight x (ResourceCost or an SLI)."""

    weight: float
    sli: str | None = None  # None: the builtin ResourceCost


@dataclass(frozen=True)
class Objective:
    name: str
    maximize: bool
    terms: tuple[ObjectiveTerm, ...]

    @property
    def is_cost(self) -> bool:
        """It is the cost, less of it, and nothing else."""
        less = sum(term.weight for term in self.terms) > 0 and not self.maximize
        return less and all(term.sli is None for term in self.terms)


@dataclass(frozen=True)
class RelativeBound:
    """canary <= control x (1 + max_increase_ratio), or canary <= control + max_increase, whichever is given."""

    max_increase_ratio: float | None = None
    max_increase: float | None = None


@dataclass(frozen=True)
class AbortRule:
    """Withdraw when at least `breaches` of the last `out_of` non-overlapping safety windows break the bound."""

    breaches: int
    out_of: int


@dataclass(frozen=True)
class OutcomeConstraint:
    """A bound on an SLI, in the SLI's unit."""

    name: str
    sli: str
    maximum: float | None
    minimum: float | None
    relative: RelativeBound | None
    confidence: float
    abort: AbortRule | None
    guard_only: bool = False
    max_error_ratio: float | None = None  # tolerated ratio (delta) of the sequential test


@dataclass(frozen=True)
class CostLimit:
    """A bound on the cost, $ per hour of the target's requests."""

    name: str
    maximum: float


@dataclass(frozen=True)
class BurnPair:
    """Both the short and the long window must burn faster than `factor`. Windows in seconds."""

    short: float
    long: float
    factor: float


@dataclass(frozen=True)
class PauseOnBurn:
    """Pause everything once `fraction` of the budget is gone within `window` seconds."""

    fraction: float
    window: float


@dataclass(frozen=True)
class ErrorBudget:
    """An SLO `objective` (0.999) on a ratio SLI over `window` seconds, and what experiments may spend of it."""

    name: str
    sli: str
    objective: float
    window: float
    experiment_share: float
    start_above: float
    pause_on_burn: PauseOnBurn | None
    rollback_on_burn: tuple[BurnPair, ...]


@dataclass(frozen=True)
class TrialTiming:
    """Seconds."""

    warm_up: float
    duration: float
    deadline: float
    min_replicates: int = 1
    max_replicates: int = 3
    parallel: int = 1
    screen: float | None = None
    early_success: bool = False


@dataclass(frozen=True)
class CanarySpec:
    replicas: int
    max_share: float  # fraction of the load both arms together may take


@dataclass(frozen=True)
class SafetySpec:
    """`probability` is the least probability of safety of a suggestion; seconds otherwise."""

    probability: float
    check_interval: float
    stale_after: float
    pause_on_alerts: tuple[str, ...] = ()
    resource_guards: bool = True


def initial_trials_for(parameters: int) -> int:
    """Trials before the model suggests, where nobody says: the baseline twice, then one for each parameter (ADR 13)."""
    return max(5, parameters + 2)


@dataclass(frozen=True)
class SearchSettings:
    """`repair`: when the baseline breaks a bound, look for an assignment that holds them all, at first among increases
    alone; without it the Experiment ends there."""

    designer: str  # GaussianProcess | Sobol
    acquisition: str
    seed: int
    initial_trials: int
    repair: bool = field(default=False, repr=False)  # not in the digest of a model that does not repair


@dataclass(frozen=True)
class Stopping:
    max_trials: int
    max_duration: float
    max_infeasible: int
    max_inconclusive: int
    patience: int
    min_improvement: float
    max_cost: float | None = None


@dataclass(frozen=True)
class Verification:
    duration: float
    replicates: int  # 0: no verification
    at_peak: bool = True  # the last one waits for the usual peak of the load


@dataclass(frozen=True)
class WarmStart:
    """Where earlier knowledge comes from: an Experiment or a ConfigMap of the namespace ("" for none), and what to try
    early."""

    experiment: str
    history: str
    max_age: float  # seconds
    assignments: tuple[Assignment, ...] = ()  # of some or all parameters; the others stay at the baseline


@dataclass(frozen=True)
class TargetRef:
    name: str
    kind: str = "Deployment"
    api_version: str = "apps/v1"


@dataclass(frozen=True)
class RouteSpec:
    """The rule of an HTTPRoute by whose weights the arms get traffic.

    Of what the rule sends to the Service `backend` the canary gets `share` (a fraction) and the control as much.
    """

    name: str
    rule: str
    backend: str
    share: float


@dataclass(frozen=True)
class ExperimentSpec:
    mode: Mode
    paused: bool
    target: TargetRef
    space: SearchSpace
    slis: tuple[Sli, ...]
    objectives: tuple[Objective, ...]
    constraints: tuple[OutcomeConstraint, ...]
    budgets: tuple[ErrorBudget, ...]
    trial: TrialTiming
    canary: CanarySpec
    safety: SafetySpec
    search: SearchSettings
    stopping: Stopping
    verification: Verification
    prices: Prices
    owner: str
    share_service_labels_ok: bool
    digest: str  # of the effective spec (defaults filled in), hex
    otel_resource_attributes: bool = False
    warm_start: WarmStart | None = None
    cost_limits: tuple[CostLimit, ...] = ()
    schedule: Schedule | None = None  # None: at any time
    route: RouteSpec | None = None  # None: the arms get traffic from the target's Services

    @property
    def replicas_parameter(self) -> Parameter | None:
        """The parameter that is the number of the target's replicas."""
        return next((p for p in self.space.parameters if isinstance(p.locus, ReplicaCount)), None)

    def route_share(self, assignment: Assignment) -> float:
        """The fraction of the route's traffic for an arm with this assignment. Mode HTTPRoute only.

        Where the number of replicas is tuned, the arm's pods get what they would get among so many.
        """
        assert self.route is not None
        tuned = self.replicas_parameter
        return self.route.share if tuned is None else self.canary.replicas / float(assignment.number(tuned.name))

    def arm_share(self, pods: int) -> float:
        """The fraction of the load that one arm gets at most: a route's weights say so, else as many pods as it has
        beside `pods` of the target and those of the other arm."""
        if self.route is not None:
            domain = self.replicas_parameter.domain if self.replicas_parameter is not None else None
            least = float(domain.minimum) if isinstance(domain, Numeric) else 0.0
            return min(self.canary.replicas / least, 1.0) if least else self.route.share
        return self.canary.replicas / max(pods + 2 * self.canary.replicas, 1)

    @property
    def is_cost(self) -> bool:
        """The cost alone is minimized: nothing of the objective has to be measured."""
        return len(self.objectives) == 1 and self.objectives[0].is_cost

    @property
    def store(self) -> str:
        """The metrics store that this Experiment is measured in."""
        return self.slis[0].store

    def sli(self, name: str) -> Sli:
        return next(s for s in self.slis if s.name == name)
