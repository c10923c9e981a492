"""What one pass saw: a frozen value, so that the same snapshot always gives the same decision.

Some facts are expensive (Prometheus, the optimizer) and needed only in some passes. `decide` asks for them as an
`Inquiry`; the shell answers, and the next round of the same pass sees the answer under the very inquiry that asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from trimtab.domain.kube import ArmView, Surroundings, Target, TargetMissing
from trimtab.domain.measurement import AlertSeen, Arm, Measurement, Reading, TelemetryError, Window
from trimtab.domain.route import RouteMissing, RouteView
from trimtab.domain.space import Resource
from trimtab.domain.study import NoAnswer, Proposal, Recommended, Study
from trimtab.domain.trial import BrokenTrial, Load, StrayTrial, Trial
from trimtab.ports import ExperimentRecord, SliProbe


@dataclass(frozen=True)
class AskProbes:
    """Preflight every SLI on the target's pods."""


@dataclass(frozen=True)
class AskUsage:
    """Read what these containers of the target have used lately."""

    containers: tuple[str, ...]


@dataclass(frozen=True)
class AskUse:
    """Read what a pod of the target uses of a resource, in one container or with "" in all: what its autoscaler goes
    by."""

    resource: Resource
    container: str


@dataclass(frozen=True)
class Usage:
    """Part of the answer to `AskUsage`: the highest working set in bytes."""

    container: str
    reading: Reading


@dataclass(frozen=True)
class AskBudgets:
    """Read every error budget's windows for the target, and whether telemetry answers at all."""


@dataclass(frozen=True)
class AskAlerts:
    """Which of the alerts that the Experiment names fire, or fired not long ago."""


@dataclass(frozen=True)
class AskMeasurements:
    """Read every SLI of both arms over the trial's complete window, with the load."""

    trial: str
    window: Window
    extended: bool


@dataclass(frozen=True)
class AskShown:
    """Ask the safety loop until when a live trial's windows show it to be good, beyond doubt."""

    trial_uid: str


@dataclass(frozen=True)
class Shown:
    """The answer to `AskShown`: unix seconds, None while it is not shown."""

    until: float | None = None


@dataclass(frozen=True)
class AskSpent:
    """Count once more what the canary of a trial was asked and failed, from its first request until now (unix s)."""

    trial: str
    until: float


@dataclass(frozen=True)
class SpentReadings:
    """What a canary was asked and failed.

    `readings` are (SLI, event sums); `at_most` are (SLI, seconds for which requests can have gone unseen at most) where
    that is known.
    """

    readings: tuple[tuple[str, Reading], ...]
    at_most: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class AskProposal:
    """Ask the Designer for the next suggestion."""

    study: Study


@dataclass(frozen=True)
class AskRecommendation:
    """Ask the Designer for the recommendation."""

    study: Study


@dataclass(frozen=True)
class AskEarlier:
    """Read what the Trials that a warm start names have taught."""


@dataclass(frozen=True)
class EarlierTrials:
    """The answer to `AskEarlier`: the Trials, or what a person has to put right."""

    trials: tuple[Trial, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class AskLoads:
    """Read how much load the target had lately, at this time of the days before, and at most on each of them."""


@dataclass(frozen=True)
class AskPresent:
    """Read how much load the target has at this moment."""


@dataclass(frozen=True)
class PresentLoad:
    """The answer to `AskPresent`: requests per second of the target in the last minute, and so many at least beyond
    doubt; None where that is unknown."""

    rate: float | None = None
    least: float | None = None


@dataclass(frozen=True)
class LoadHistory:
    """The answer to `AskLoads`: requests per second of the target.

    `now` is lately, None where that is unknown, `present` of this moment. `days` has for each day before that is known
    (at the same time, at most while a trial that began then would have run, extended or not), both above 0. `highest`
    has for each day that is known the highest load of any ten minutes of it.
    """

    now: float | None = None
    days: tuple[tuple[float, float], ...] = ()
    highest: tuple[float, ...] = ()
    present: PresentLoad = PresentLoad()


Inquiry = (
    AskProbes
    | AskUsage
    | AskUse
    | AskBudgets
    | AskAlerts
    | AskMeasurements
    | AskShown
    | AskSpent
    | AskProposal
    | AskRecommendation
    | AskEarlier
    | AskLoads
    | AskPresent
)


@dataclass(frozen=True)
class TrialReadings:
    """The answer to `AskMeasurements`."""

    measurements: tuple[Measurement, ...]
    load: tuple[Load, ...]


@dataclass(frozen=True)
class BudgetWindow:
    """Event sums of one SLI on the target over the last `seconds`."""

    budget: str
    seconds: float
    reading: Reading


@dataclass(frozen=True)
class BudgetReadings:
    """The answer to `AskBudgets`: the windows that the budgets' rules need, and what experiments spent so far.

    `probe` is one SLI of the target over the last scrapes: the sums of windows may be some minutes old.
    """

    windows: tuple[BudgetWindow, ...]
    spent: tuple[tuple[str, float], ...]  # sli -> bad events seen by canaries on this target within the window
    probe: Reading | None = None


@dataclass(frozen=True)
class LockView:
    """The target lock. `mine` after it was acquired; `holder` names another Experiment that has it."""

    mine: bool
    holder: str = ""


@dataclass(frozen=True)
class Snapshot:
    """All that `decide` may know. `answers` holds what was asked in earlier rounds of the same pass."""

    now: float
    experiment: ExperimentRecord
    trials: tuple[Trial, ...]
    target: Target | TargetMissing | None
    surroundings: Surroundings | None
    arms: tuple[ArmView, ...]
    lock: LockView
    leader: str  # this operator, and the transitions of its Lease
    namespace_paused: str = ""  # the value of the kill switch on the Namespace, "" when absent
    operator_paused: str = ""  # ... on the operator's own Deployment
    namespace_leaving: bool = False  # the Namespace is being deleted
    withdrawing: frozenset[str] = frozenset()  # Trials whose arms the safety loop is taking away right now
    broken: tuple[BrokenTrial, ...] = ()  # Trials that cannot be read
    strays: tuple[StrayTrial, ...] = ()  # of an earlier Experiment of this name: undone before this is decided
    partial: bool = False  # target and surroundings were not read: only undo and what people asked for can be decided
    route: RouteView | RouteMissing | None = None  # None: the Experiment names none, or it was not read
    answers: Mapping[Inquiry, Any] = field(default_factory=lambda: MappingProxyType({}))

    def probes(self) -> tuple[SliProbe, ...] | None:
        answer: tuple[SliProbe, ...] | None = self.answers.get(AskProbes())
        return answer

    def usage(self, ask: AskUsage) -> tuple[Usage, ...] | None:
        answer: tuple[Usage, ...] | None = self.answers.get(ask)
        return answer

    def use(self, ask: AskUse) -> Reading | None:
        answer: Reading | None = self.answers.get(ask)
        return answer

    def budgets(self) -> BudgetReadings | None:
        answer: BudgetReadings | None = self.answers.get(AskBudgets())
        return answer

    def alerts(self) -> tuple[AlertSeen, ...] | TelemetryError | None:
        answer: tuple[AlertSeen, ...] | TelemetryError | None = self.answers.get(AskAlerts())
        return answer

    def readings(self, ask: AskMeasurements) -> TrialReadings | None:
        answer: TrialReadings | None = self.answers.get(ask)
        return answer

    def shown(self, ask: AskShown) -> Shown | None:
        answer: Shown | None = self.answers.get(ask)
        return answer

    def spent(self, ask: AskSpent) -> SpentReadings | None:
        answer: SpentReadings | None = self.answers.get(ask)
        return answer

    def earlier(self) -> EarlierTrials | None:
        answer: EarlierTrials | None = self.answers.get(AskEarlier())
        return answer

    def loads(self) -> LoadHistory | None:
        answer: LoadHistory | None = self.answers.get(AskLoads())
        return answer

    def present(self) -> PresentLoad | None:
        answer: PresentLoad | None = self.answers.get(AskPresent())
        return answer

    def proposal(self, study: Study) -> Proposal | None:
        answer: Proposal | None = self.answers.get(AskProposal(study))
        return answer

    def recommended(self, study: Study) -> Recommended | NoAnswer | None:
        answer: Recommended | NoAnswer | None = self.answers.get(AskRecommendation(study))
        return answer

    def arm(self, trial: Trial, arm: Arm) -> ArmView | None:
        return next((a for a in self.arms if a.trial_uid == trial.uid and a.arm is arm), None)

    def arms_of(self, trial: Trial) -> tuple[ArmView, ...]:
        return tuple(a for a in self.arms if a.trial_uid == trial.uid)

    @property
    def live(self) -> tuple[Trial, ...]:
        return tuple(t for t in self.trials if t.live)
