"""What `decide` may ask the shell to do, in order. Every action is idempotent: doing it twice is doing it once.

To START something the record comes before the effect; to UNDO something the effect comes before the record. The order
of a decision's actions is that order, and the Experiment's status is written after all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from trimtab.control.snapshot import Inquiry
from trimtab.domain.autoscaler import ScaleChanges
from trimtab.domain.kube import ArmPlan, PodChanges
from trimtab.domain.route import RoutePlan
from trimtab.domain.state import ExperimentState, RecommendationState
from trimtab.domain.trial import BrokenTrial, Spent, Trial
from trimtab.ports import NewTrial


class Severity(StrEnum):
    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True)
class CreateTrial:
    """Write-ahead of a suggestion."""

    new: NewTrial


@dataclass(frozen=True)
class WriteTrial:
    """PUT a Trial's status with the resourceVersion that was seen."""

    trial: Trial


@dataclass(frozen=True)
class ReleaseTrial:
    """Remove our finalizer from a Trial: nothing of it is left in the cluster."""

    trial: Trial | BrokenTrial


@dataclass(frozen=True)
class CreateArms:
    """POST the arms of a trial whose Deploying was written, the creating leader on record before each of them."""

    trial: Trial
    plans: tuple[ArmPlan, ...]


@dataclass(frozen=True)
class SetRoute:
    """Give the arms of a trial that warms up their weights in a route, the leader on record before it."""

    trial: Trial
    plan: RoutePlan


@dataclass(frozen=True)
class DeleteArms:
    """Withdraw: free the route that leads to the arms of a Trial (by uid; it need not exist any more), delete them.

    It waits until no endpoint of an arm is ready, which is all that matters to traffic; `verify` waits until none was
    for two seconds and nothing is left. Each for 30 s at most: then the pass fails, and the next one goes on.
    """

    trial_uid: str
    verify: bool


@dataclass(frozen=True)
class HoldExperiment:
    """Put our finalizer on the Experiment: from now on there is something to undo."""


@dataclass(frozen=True)
class ReleaseExperiment:
    """Remove our finalizer from the Experiment."""


@dataclass(frozen=True)
class AcquireLock:
    target_uid: str


@dataclass(frozen=True)
class ReleaseLock:
    target_uid: str


@dataclass(frozen=True)
class RecordSpending:
    """Add a trial's spending to the target's account, which outlives the Experiment. Idempotent per Trial.

    `required` False: an account that cannot be written is told, and does not hold up a deletion.
    """

    target_uid: str
    trial_uid: str
    at: float
    spent: tuple[Spent, ...]
    window: float
    required: bool = True


@dataclass(frozen=True)
class PublishRecommendation:
    """Write the ConfigMap that carries the recommendation for a pipeline: the target's pods with `changes`, as many as
    `scale` makes of them."""

    recommendation: RecommendationState
    target: str
    changes: PodChanges
    scale: ScaleChanges


@dataclass(frozen=True)
class EmitEvent:
    """A Kubernetes Event on the Experiment, and on the Trial when one is named."""

    severity: Severity
    reason: str
    message: str
    trial: Trial | None = None


Action = (
    CreateTrial
    | WriteTrial
    | ReleaseTrial
    | CreateArms
    | SetRoute
    | DeleteArms
    | HoldExperiment
    | ReleaseExperiment
    | AcquireLock
    | ReleaseLock
    | RecordSpending
    | PublishRecommendation
    | EmitEvent
)


@dataclass(frozen=True)
class Decision:
    """The outcome of one round: the status to write, what to do first, what to ask, when to look again.

    A round that asks something does nothing but tell: its actions are Events.

    `requeue_after` None means: only when something changes (a resync comes anyway).
    """

    state: ExperimentState
    actions: tuple[Action, ...] = ()
    inquiries: tuple[Inquiry, ...] = ()
    requeue_after: float | None = None
