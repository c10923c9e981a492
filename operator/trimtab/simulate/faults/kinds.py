"""The words of a fault plan: kinds of faults, the moments of an Experiment's life, and typed parameters."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from trimtab.domain import kinds
from trimtab.domain.kinds import Kind
from trimtab.workload.units import parse_seconds

Value = float | str
"""Of a parameter: seconds or a plain number, or one of a list of words."""

DAY = 86_400.0
LONG_SECONDS = 3600.0
"""What is more than this is a long window of a budget."""

WRITTEN: Mapping[str, tuple[Kind, ...]] = {
    "create": (
        kinds.TRIALS, kinds.DEPLOYMENTS, kinds.SERVICES, kinds.HORIZONTAL_POD_AUTOSCALERS, kinds.CONFIG_MAPS,
        kinds.LEASES, kinds.EVENTS,
    ),
    "replace": (
        kinds.EXPERIMENTS, kinds.TRIALS, kinds.HTTP_ROUTES, kinds.CONFIG_MAPS, kinds.LEASES, kinds.EVENTS,
    ),
    "delete": (
        kinds.DEPLOYMENTS, kinds.REPLICA_SETS, kinds.PODS, kinds.SERVICES, kinds.HORIZONTAL_POD_AUTOSCALERS,
    ),
}  # fmt: skip
"""What an operator ever writes, by verb."""
WITH_STATUS = (kinds.EXPERIMENTS, kinds.TRIALS)
EFFECTS: frozenset[str] = frozenset(
    {f"{verb}:{kind.name}" for verb, of in WRITTEN.items() for kind in of}
    | {f"replace:{kind.name}/status" for kind in WITH_STATUS}
)
"""Its effects, as `create:Trial` and `replace:Trial/status`."""

BESIDE = "annex"
"""The other namespace of an install of several."""

Asks = Literal[
    "Plain", "Screen", "MaxCost", "Repair", "Measured", "Front", "Early", "Route", "Replicas", "Scaled", "Namespaces",
    "Values", "Variables", "WarmStart", "Wide",
]  # fmt: skip
"""What the built-in Experiment asks for beyond the usual."""


class Moment(StrEnum):
    """Where an Experiment stands, by what is on record."""

    PREFLIGHT = "Preflight"
    """No Trial was created yet."""
    PENDING = "Pending"
    DEPLOYING = "Deploying"
    WARMING_UP = "WarmingUp"
    MEASURING = "Measuring"
    DRAINING = "Draining"
    BETWEEN = "Between"
    """Trials have ended and none is live."""
    ENDED = "Ended"
    """The Experiment is in a final phase."""


LIVE_MOMENTS = (Moment.PENDING, Moment.DEPLOYING, Moment.WARMING_UP, Moment.MEASURING, Moment.DRAINING)
"""Those of one Trial; a plan names them with the Trial's index."""


class FaultKind(StrEnum):
    """What goes wrong. The catalogue says what each does."""

    OPERATOR_KILLED = "OperatorKilled"
    OPERATOR_UPGRADED = "OperatorUpgraded"
    STANDBY_STARTED = "StandbyStarted"
    OPERATOR_FROZEN = "OperatorFrozen"
    LEADERSHIP_MOVED = "LeadershipMoved"
    CLOCK_JUMPED = "ClockJumped"
    API_CONFLICT = "APIConflict"
    API_THROTTLED = "APIThrottled"
    API_ERROR = "APIError"
    API_ANSWER_LOST = "APIAnswerLost"
    API_FORBIDDEN = "APIForbidden"
    API_SLOW = "APISlow"
    API_UNREACHABLE = "APIUnreachable"
    WATCH_CLOSED = "WatchClosed"
    WATCH_SILENT = "WatchSilent"
    WATCH_STALE = "WatchStale"
    WATCH_DUPLICATED = "WatchDuplicated"
    WATCH_GONE = "WatchGone"
    PROMETHEUS_DOWN = "PrometheusDown"
    PROMETHEUS_SLOW = "PrometheusSlow"
    PROMETHEUS_ERROR = "PrometheusError"
    PROMETHEUS_MALFORMED = "PrometheusMalformed"
    PROMETHEUS_WARNS = "PrometheusWarns"
    PROMETHEUS_EMPTIED = "PrometheusEmptied"
    PROMETHEUS_CLOCK_OFFSET = "PrometheusClockOffset"
    SAMPLES_NAN = "SamplesNaN"
    SAMPLES_MISSING = "SamplesMissing"
    SAMPLES_STALE = "SamplesStale"
    COUNTER_RESET = "CounterReset"
    SERIES_DUPLICATED = "SeriesDuplicated"
    POD_NOT_SCRAPED = "PodNotScraped"
    TRAFFIC_STOPPED = "TrafficStopped"
    LONG_WINDOWS_FAIL = "LongWindowsFail"
    CRASH_LOOP = "CrashLoop"
    OOM_KILLED = "OOMKilled"
    READINESS_LOST = "ReadinessLost"
    SLOW_PODS = "SlowPods"
    POD_EVICTED = "PodEvicted"
    POD_PREEMPTED = "PodPreempted"
    POD_DELETED = "PodDeleted"
    NODE_DRAINED = "NodeDrained"
    NODE_LOST = "NodeLost"
    IMAGE_PULL_FAILS = "ImagePullFails"
    UNSCHEDULABLE = "Unschedulable"
    QUOTA_EXCEEDED = "QuotaExceeded"
    LIMIT_RANGE_ADDED = "LimitRangeAdded"
    ADMISSION_REFUSED = "AdmissionRefused"
    RESOURCES_MUTATED = "ResourcesMutated"
    TARGET_EDITED = "TargetEdited"
    TARGET_RESTARTED = "TargetRestarted"
    TARGET_SCALED = "TargetScaled"
    AUTOSCALER_ADDED = "AutoscalerAdded"
    VPA_ADDED = "VPAAdded"
    DISRUPTION_BUDGET_ADDED = "DisruptionBudgetAdded"
    TARGET_DELETED = "TargetDeleted"
    NAMESPACE_DELETED = "NamespaceDeleted"
    NAMESPACE_LOST = "NamespaceLost"
    ROUTE_EDITED = "RouteEdited"
    ROUTE_DELETED = "RouteDeleted"
    BACKEND_EMPTIED = "BackendEmptied"
    ROUTE_RIGHTS_LOST = "RouteRightsLost"
    AUTOSCALER_EDITED = "AutoscalerEdited"
    METRICS_API_ABSENT = "MetricsAPIAbsent"
    EXPERIMENT_DELETED = "ExperimentDeleted"
    SPEC_EDITED = "SpecEdited"
    TRIAL_DELETED = "TrialDeleted"
    ARM_DELETED = "ArmDeleted"
    ARM_EDITED = "ArmEdited"
    ARM_NAME_TAKEN = "ArmNameTaken"
    ARM_COPIED = "ArmCopied"
    SECOND_EXPERIMENT = "SecondExperiment"
    STATUS_CORRUPTED = "StatusCorrupted"
    FIT_FAILS = "FitFails"
    FIT_TOO_LONG = "FitTooLong"
    BUDGET_BURNING = "BudgetBurning"
    ALERT_FIRES = "AlertFires"
    PAUSE_ASKED = "PauseAsked"
    ROLLBACK_ASKED = "RollbackAsked"
    SKIP_ASKED = "SkipAsked"
    APPROVE_ASKED = "ApproveAsked"
    NAMESPACE_PAUSED = "NamespacePaused"
    ANNOTATION_MISSPELT = "AnnotationMisspelt"


@dataclass(frozen=True)
class Seconds:
    """A time, written like `90s` or `1.5m`; negative ones, where they are allowed, like `-90s`."""

    name: str
    low: float
    high: float
    default: float

    def read(self, value: object) -> float:
        """The value in seconds.

        Raises:
            ValueError: it is no time, or out of bounds; the text is "problem; remedy".
        """
        sign, text = (-1.0, value[1:]) if isinstance(value, str) and value.startswith("-") else (1.0, value)
        seconds = sign * read_seconds(text)
        if not self.low <= seconds <= self.high:
            raise ValueError(f"is out of bounds; use {write_seconds(self.low)} to {write_seconds(self.high)}")
        return seconds

    def write(self, value: Value) -> str:
        """As a plan shows it."""
        assert isinstance(value, float)
        return write_seconds(value)

    def draw(self, rng: random.Random) -> float:
        """A random one: short ones as likely as long ones."""
        if self.low > 0:
            return round(math.exp(rng.uniform(math.log(self.low), math.log(self.high))), 1)
        return round(rng.uniform(self.low, self.high), 1)


@dataclass(frozen=True)
class Number:
    """A plain number."""

    name: str
    low: float
    high: float
    default: float

    def read(self, value: object) -> float:
        """The value.

        Raises:
            ValueError: it is no number, or out of bounds; the text is "problem; remedy".
        """
        wanted = f"use a number from {self.low:g} to {self.high:g}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"is no number; {wanted}")
        if not self.low <= value <= self.high:
            raise ValueError(f"is out of bounds; {wanted}")
        return float(value)

    def write(self, value: Value) -> float:
        """As a plan shows it."""
        assert isinstance(value, float)
        return value

    def draw(self, rng: random.Random) -> float:
        """A random one."""
        return round(rng.uniform(self.low, self.high), 2)


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    name: str
    words: tuple[str, ...]

    @property
    def default(self) -> str:
        """The first word."""
        return self.words[0]

    def read(self, value: object) -> str:
        """The value.

        Raises:
            ValueError: none of the words; the text is "problem; remedy".
        """
        if not isinstance(value, str) or value not in self.words:
            raise ValueError(f"is none of its words; use one of {', '.join(self.words)}")
        return value

    def write(self, value: Value) -> str:
        """As a plan shows it."""
        return str(value)

    def draw(self, rng: random.Random) -> str:
        """A random one."""
        return rng.choice(self.words)


Parameter = Seconds | Number | Choice


def read_seconds(value: object) -> float:
    """Seconds of a text such as `90s`, to the millisecond.

    Raises:
        ValueError: it is none; the text is "problem; remedy".
    """
    try:
        return round(parse_seconds(value), 3)
    except ValueError:
        raise ValueError("is no time; write for example 500ms, 90s or 2m") from None


def write_seconds(seconds: float) -> str:
    """`90s` or `1.5s`; read back it is the same number."""
    text = format(Decimal(str(round(seconds, 3))).normalize(), "f")
    return f"{text}s"
