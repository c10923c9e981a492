"""Trials: the ledger's rows. The optimizer's data is rebuilt from them alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from trimtab.domain.measurement import Arm, Measurement, Window
from trimtab.domain.space import Assignment


class TrialPhase(StrEnum):
    PENDING = "Pending"
    DEPLOYING = "Deploying"
    WARMING_UP = "WarmingUp"
    MEASURING = "Measuring"
    DRAINING = "Draining"
    SUCCEEDED = "Succeeded"
    INFEASIBLE = "Infeasible"
    INCONCLUSIVE = "Inconclusive"
    ABORTED = "Aborted"
    STALE = "Stale"
    INFRA_FAILED = "InfraFailed"

    @cached_property
    def terminal(self) -> bool:
        return self in TERMINAL_PHASES


TERMINAL_PHASES = frozenset({
    TrialPhase.SUCCEEDED, TrialPhase.INFEASIBLE, TrialPhase.INCONCLUSIVE,
    TrialPhase.ABORTED, TrialPhase.STALE, TrialPhase.INFRA_FAILED,
})  # fmt: skip


WASTED_PHASES = frozenset({TrialPhase.INCONCLUSIVE, TrialPhase.INFRA_FAILED, TrialPhase.ABORTED})


class Purpose(StrEnum):
    BASELINE = "Baseline"
    INITIAL = "Initial"
    SEARCH = "Search"
    REPLICATE = "Replicate"
    VERIFICATION = "Verification"
    SCREEN = "Screen"


SEARCHES = frozenset({Purpose.SEARCH, Purpose.SCREEN})  # new values; a Screen measures for a short window first

# Reasons of Screens that ended after their short window: every bound kept and nothing to gain, or a bound broken.
SCREENED, SCREENED_OUT = "Screened", "ScreenedOut"
ENDED_EARLY = "EndedEarly"  # reason of a trial that was shown to be good before its window was over


@dataclass(frozen=True)
class Prediction:
    """What the model expected of one constraint: g = ln(SLI / bound) (<= 0 is safe), and its standard deviation."""

    constraint: str
    mean: float
    sd: float


@dataclass(frozen=True)
class Suggestion:
    """What the Designer proposes, and why.

    `by_model` is False when a space-filling fallback proposed it. `model_digest` identifies data, hyperparameters and
    code version; the same digest and seed give the same suggestion. `explores` marks one that is to be measured for
    what it tells of cheaper assignments, not to be recommended itself. `expected_load` (requests per second per pod) is
    what the trial must be safe at; None: at the peak's. `usual_peak` is that of the days before, where it was known.
    `beside` are the indices of the trials that were live when it was proposed: it was chosen without what these
    measured.
    """

    assignment: Assignment
    purpose: Purpose
    seed: int
    by_model: bool
    safety_probability: float | None
    acquisition: float | None
    predictions: tuple[Prediction, ...]
    model_digest: str
    fit_seconds: float
    search_seconds: float
    reason: str = ""
    explores: bool = False
    expected_load: float | None = None
    beside: tuple[int, ...] = ()
    usual_peak: float | None = None


@dataclass(frozen=True)
class Outcome:
    """A trial's end: its terminal phase, a CamelCase reason, and one line with numbers. `subject` names the constraint
    or the error budget that decided, "" when none did."""

    phase: TrialPhase
    reason: str
    message: str
    subject: str = ""


# Reasons for which people had a trial aborted. Whatever else aborts one may happen again to the next.
ASKED_FOR = frozenset({
    "OnCallPause", "OnCallRollback", "NamespacePaused", "OperatorPaused", "SpecPaused", "Skipped",
    "ExperimentDeleted", "NamespaceDeleted", "ExperimentFinished", "TrialDeleted", "OutsideSchedule", "Frozen",
})  # fmt: skip


@dataclass(frozen=True)
class Load:
    """Requests per second per pod of one arm over the measurement window. The standard error is known only to the pass
    that measured; it is not stored and not compared. `pods` is how many there were on average, with its standard error,
    where an autoscaler decides that, and `use` what one of them used on average of what it goes by (cores or bytes).
    """

    arm: Arm
    rps_per_pod: float
    standard_error: float | None = field(default=None, compare=False)
    pods: float | None = None
    pods_error: float | None = None
    use: float | None = None
    use_error: float | None = None


def pods_behind(load: Load | None, fixed: float) -> float:
    """Of how many pods a load is the mean: as they were counted, else as many as there are in any case."""
    return fixed if load is None or load.pods is None else load.pods


@dataclass(frozen=True)
class Spent:
    """What this trial's canary costs the error budgets of one SLI; only grows.

    `bad` and `total` events were counted up to `until` (unix seconds; None: nothing is known to have been served).
    `unseen` requests were served and never counted: they count as bad. `rate` is requests per second, as last seen.
    """

    sli: str
    bad: float
    total: float
    unseen: float = 0.0
    rate: float | None = None
    until: float | None = None

    @property
    def cost(self) -> float:
        """Bad events, the unseen ones among them."""
        return self.bad + self.unseen


@dataclass(frozen=True)
class Environment:
    """What the trial ran on."""

    template_hash: str
    target_uid: str
    image: str
    target_replicas: int
    kubernetes_version: str = ""


@dataclass(frozen=True)
class NodeTypes:
    """Instance types of the nodes that the pods of one arm ran on, sorted."""

    arm: Arm
    types: tuple[str, ...]


@dataclass(frozen=True)
class EventDigest:
    """Warnings that the cluster reported about the arms for one reason: how many, and the words of the newest."""

    reason: str
    count: int
    note: str


@dataclass(frozen=True)
class PhaseTimes:
    """Unix seconds at which each phase was entered; None while it has not been."""

    created: float
    deploying: float | None = None
    warming_up: float | None = None
    measuring: float | None = None
    draining: float | None = None
    finished: float | None = None


@dataclass(frozen=True)
class Trial:
    """One row of the ledger, as read from the API server."""

    name: str
    namespace: str
    uid: str
    resource_version: str
    experiment_uid: str
    experiment_name: str
    index: int
    suggestion: Suggestion
    spec_digest: str
    environment: Environment
    phase: TrialPhase
    times: PhaseTimes
    deadline: float | None = None
    window: Window | None = None
    outcome: Outcome | None = None  # decided while Draining, final when terminal
    measurements: tuple[Measurement, ...] = ()
    load: tuple[Load, ...] = ()
    spent: tuple[Spent, ...] = ()
    cost: float | None = None  # $ per hour of the target under this assignment
    extended: bool = False
    evidence: tuple[str, ...] = ()
    withdraw_seconds: float | None = None
    node_types: tuple[NodeTypes, ...] = ()  # empty where nodes cannot be read
    events: tuple[EventDigest, ...] = ()  # Events expire after an hour; a Trial does not
    finalized: bool = False  # our finalizer is present
    deleting: bool = False
    leader: str = ""

    @property
    def assignment(self) -> Assignment:
        return self.suggestion.assignment

    @property
    def purpose(self) -> Purpose:
        return self.suggestion.purpose

    @property
    def live(self) -> bool:
        """An effect of this trial may exist in the cluster."""
        return not self.phase.terminal

    @property
    def asked_for(self) -> bool:
        """People had it aborted."""
        return self.phase is TrialPhase.ABORTED and self.outcome is not None and self.outcome.reason in ASKED_FOR

    @property
    def wasted(self) -> bool:
        """It ended for a reason outside its assignment that nobody had asked for: it taught nothing and cost time."""
        return self.phase in WASTED_PHASES and not self.asked_for

    def measurement(self, sli: str, arm: Arm) -> Measurement | None:
        return next((m for m in self.measurements if m.sli == sli and m.arm is arm), None)


@dataclass(frozen=True)
class BrokenTrial:
    """A row of the ledger that cannot be read: what its metadata says, and the problem in words. It is nobody's guess
    what it did, so its arms go; it can only be let go of."""

    name: str
    namespace: str
    uid: str
    resource_version: str
    problem: str
    finalized: bool
    deleting: bool


@dataclass(frozen=True)
class StrayTrial:
    """A Trial that our finalizer holds although its Experiment is gone: a leader that had stood still made it late, or
    a hand took the Experiment's finalizer. Whatever it did is undone, and it is let go."""

    name: str
    namespace: str
    uid: str
    resource_version: str
    experiment_uid: str


@dataclass(frozen=True)
class TrialRows:
    """The ledger of one Experiment: its Trials by index, those that cannot be read by name, and those of an earlier
    Experiment of its name that is gone."""

    readable: tuple[Trial, ...]
    broken: tuple[BrokenTrial, ...] = ()
    strays: tuple[StrayTrial, ...] = ()
