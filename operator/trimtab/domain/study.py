"""What the Designer is asked and what it answers: the optimizer's whole world, picklable, without a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from trimtab.domain.cost import Cost, Filling
from trimtab.domain.measurement import Sample
from trimtab.domain.space import Assignment, Resource, SearchSpace
from trimtab.domain.spec import Objective, SearchSettings, SliKind
from trimtab.domain.trial import Prediction, Purpose, Suggestion


@dataclass(frozen=True)
class ConstraintTarget:
    """A bound that the model learns: g = ln(SLI / bound) <= 0 is safe (for `minimum`: g = ln(bound / SLI)).

    A bound relative to the control has a `relative_margin` m, g = ln(canary / control) - ln(1 + m), or a
    `relative_increase` a in the SLI's unit, g = ln(canary / (control + a)); its `bound` is unused. `guard_only` bounds
    are not part of the safe set.
    """

    name: str
    kind: SliKind
    bound: float
    upper: bool = True
    relative_margin: float | None = None
    guard_only: bool = False
    relative_increase: float | None = None

    @property
    def relative(self) -> bool:
        """Does it compare the canary with its control?"""
        return self.relative_margin is not None or self.relative_increase is not None


@dataclass(frozen=True)
class ConstraintReading:
    """What one arm measured for one constraint. Ratios carry counts (`bad`, `total` inside the sample)."""

    constraint: str
    sample: Sample


def measured_name(sli: str) -> str:
    """The name under which a study has the readings of an SLI that an objective counts. Its target, of that name, has
    as `bound` a reference that the optimizer sets itself: the baseline's level."""
    return f"objective/{sli}"


PODS = "scaling/pods"
"""The name of the measured target that corrects the cost where an autoscaler decides how many pods there are: pods of
those that the cost expects (`CostModel.pods`), over the same of the control. Only a canary has it."""


@dataclass(frozen=True)
class ArmOutcome:
    """One arm of one trial. `load` is requests per second per pod, or where the assignment or an autoscaler decides how
    many pods there are, times their number (`control.pods.load_context`); None when it was not measured."""

    assignment: Assignment
    load: float | None
    readings: tuple[ConstraintReading, ...]


class FailureKind(StrEnum):
    OOM = "OOMKilled"
    CRASH = "CrashLoop"
    UNREADY = "ReadinessLost"
    STRAINED = "Strained"  # by a resource guard


@dataclass(frozen=True)
class HardFailure:
    """The canary broke in a way that no SLI shows: learned as g = ln 3, se 0.5, on that resource."""

    kind: FailureKind
    resource: Resource | None


@dataclass(frozen=True)
class TrialOutcome:
    """One completed trial, in the order of the ledger.

    `truncated` marks a trial withdrawn before its window was complete: its readings are a lower bound on g where they
    are above 0. `finished` is in unix seconds. `learnable` is False for outcomes that teach nothing; they are listed
    so that the same point is not asked for ever. `lost` marks those among them that ended before there was anything to
    read: not deployed, aborted, or of a target that has changed. `early` marks one that ended as soon as it was clearly
    good: its window was chosen for what it showed, so it alone verifies nothing.
    """

    index: int
    purpose: Purpose
    finished: float
    canary: ArmOutcome
    control: ArmOutcome | None
    failure: HardFailure | None = None
    truncated: bool = False
    learnable: bool = True
    lost: bool = False
    early: bool = field(default=False, repr=False)  # in the digest only where a trial ended early


@dataclass(frozen=True)
class Study:
    """Everything a suggestion depends on. The same study gives the same answer, in any process.

    `probability` is the least probability of safety (0.95). `peak_load` is the load (requests per second per pod) for
    which the recommendation must hold, None when load is unknown. `expected_load` is an upper limit of the load while
    the next trial runs, for which that trial must be safe; None: it may be the peak. `usual_peak` is the highest load
    of the days before, where it is known: the recommendation must hold there whether a trial saw it or not. Where pods
    were `driven` by an autoscaler and their use was measured, every load is their use over the scale point. `floors`
    are white-box lower bounds per parameter (base units). `now` is unix seconds. `pending` are the assignments of
    trials that are live and `waiting`, in the same order, what these are for: how they end is not known.
    """

    space: SearchSpace
    baseline: Assignment
    cost: Cost
    constraints: tuple[ConstraintTarget, ...]
    outcomes: tuple[TrialOutcome, ...]
    pending: tuple[Assignment, ...]
    search: SearchSettings
    probability: float
    index: int
    now: float
    peak_load: float | None = None
    floors: tuple[tuple[str, float], ...] = ()
    min_improvement: float = 0.01
    max_trials: int = 40
    patience: int = 10
    max_fit_evaluations: int = 400
    excluded: tuple[Assignment, ...] = ()  # failed a verification: never recommended again
    inherited: tuple[TrialOutcome, ...] = ()  # measured under other circumstances: they teach, but show nothing safe
    hints: tuple[TrialOutcome, ...] = ()  # of another Experiment: they say what to try first, nothing else
    wanted: tuple[Assignment, ...] = ()  # to be tried early, each once it is safe
    safe: bool = True  # False: whatever is not known to be infeasible may be tried (benchmarks, models of a service)
    # Left out of the repr: `digest` of the designer adds them where they are given.
    objectives: tuple[Objective, ...] = field(default=(), repr=False)  # one or two; (): the cost alone is minimized
    measured: tuple[ConstraintTarget, ...] = field(default=(), repr=False)  # the SLIs that they count, and PODS
    cost_limit: float | None = field(default=None, repr=False)  # nothing that costs more is tried
    expected_load: float | None = field(default=None, repr=False)
    usual_peak: float | None = field(default=None, repr=False)
    driven: Filling | None = field(default=None, repr=False)  # loads are how hard pods are driven: use over scale point
    waiting: tuple[Purpose, ...] = field(default=(), repr=False)


class HoldReason(StrEnum):
    CONVERGED = "Converged"
    NO_SAFE_POINT = "NoSafePoint"
    SPACE_EXHAUSTED = "SpaceExhausted"
    BASELINE_INFEASIBLE = "BaselineInfeasible"
    BASELINE_UNREADABLE = "BaselineUnreadable"
    NUMERICAL = "Numerical"


@dataclass(frozen=True)
class Hold:
    """Nothing to propose: the search is over (or cannot go on), and why, in one line with numbers."""

    reason: HoldReason
    message: str


@dataclass(frozen=True)
class NoAnswer:
    """The Designer cannot answer now, and why. Nothing about the search follows from it: ask again later."""

    message: str


class SymptomKind(StrEnum):
    MISCALIBRATED = "Miscalibrated"
    SCALE_AT_BOUND = "ScaleAtBound"
    OUTLIER = "Outlier"
    NOISY = "Noisy"
    DRIFT = "Drift"
    DIMENSIONALITY = "Dimensionality"


@dataclass(frozen=True)
class Symptom:
    """Something is wrong with the model of one bound, or of all ("" as `constraint`): what was seen, in words with
    numbers."""

    kind: SymptomKind
    constraint: str
    message: str


@dataclass(frozen=True)
class Diagnostics:
    """Health of the model at one suggestion.

    `coverage` is the leave-one-out coverage of 95 % intervals in [0, 1], None below 5 outcomes; `lengthscales` are
    (constraint, parameter, lengthscale in the unit cube); `safe_points` the size of the safe set. `diversity` is the
    mean distance between the assignments that were searched, over the unit cube's diagonal, in [0, 1], None below two.
    `effective_dimension` is how many parameters the bounds depend on, in [1, d], None without a model. `fallbacks`
    counts search trials of the ledger that the model did not propose.
    """

    outcomes: int
    verified_points: int
    safe_points: int
    kappa: float
    coverage: float | None
    lengthscales: tuple[tuple[str, str, float], ...] = ()
    fallback: str = ""
    diversity: float | None = None
    effective_dimension: float | None = None
    fallbacks: int = 0
    symptoms: tuple[Symptom, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """The Designer's answer: a suggestion, a hold or that it cannot tell, and the model's health."""

    answer: Suggestion | Hold | NoAnswer
    diagnostics: Diagnostics


@dataclass(frozen=True)
class ObjectiveValue:
    """One objective at one assignment, in its own unit and direction, at the load that trials usually see.

    `sd` is 0 where it is known. `baseline` is the same objective at the baseline. `improvement` is by how much it is
    better, as a fraction of the baseline's amount, with its 95 % interval from `low` to `high`; negative is worse.
    """

    name: str
    value: float
    sd: float
    baseline: float
    improvement: float
    low: float
    high: float


@dataclass(frozen=True)
class FrontMember:
    """An assignment that no other one beats in every objective."""

    assignment: Assignment
    values: tuple[ObjectiveValue, ...]


@dataclass(frozen=True)
class Recommended:
    """The best evaluated assignment that the model holds feasible at peak with a margin, but for changes of no worth,
    which are undone.

    `keep_baseline` is a first-class answer: then `assignment` is the baseline. `saving` is a fraction of the baseline's
    amount of the objective, by default its cost. `objectives` is empty where the cost alone is the objective. `front`
    has, for two objectives, every evaluated assignment that could be recommended and is not beaten in both, the best of
    the first objective first.
    """

    assignment: Assignment
    keep_baseline: bool
    saving: float
    predictions: tuple[Prediction, ...]
    message: str
    objectives: tuple[ObjectiveValue, ...] = ()
    front: tuple[FrontMember, ...] = ()
