"""A HorizontalPodAutoscaler as the core sees it, and what becomes of it in an arm or in a recommendation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from trimtab.domain.space import Resource

TOLERANCE_SINCE = (1, 35)  # the Kubernetes version from which servers keep a tolerance without being told to
MOST_STABILIZATION = 3600  # seconds, the API's own bound


@dataclass(frozen=True)
class MetricView:
    """One metric. `utilization` is a percentage of the request; None where the target is another kind of value."""

    kind: str  # Resource | ContainerResource | Pods | Object | External
    name: str  # cpu, memory, or the series' name
    container: str = ""
    utilization: int | None = None

    @property
    def words(self) -> str:
        """`cpu of container web`, `External requests_queued`."""
        if self.kind == "ContainerResource":
            return f"{self.name} of container {self.container}"
        return self.name if self.kind == "Resource" else f"{self.kind} {self.name}"

    @property
    def shared(self) -> bool:
        """It tells of the whole service, not of the pods that are scaled: an arm would scale by all of the load."""
        return self.kind in {"Object", "External"}


@dataclass(frozen=True)
class AutoscalerView:
    """Kubernetes' defaults where the object leaves something open. `tolerance` is the one of scaling down, as arms take
    load off the target; tolerances are fractions, times in seconds.

    `given_by` is who would write its own values over others: KEDA's ScaledObject, "" for nobody. `rest` is a digest of
    what else its spec says. `inactive` is why it does not scale at present (its condition ScalingActive), "" when it
    does or has not said.
    """

    name: str
    target_kind: str
    target_name: str
    tolerance: float = 0.1
    tolerance_up: float = 0.1
    uid: str = ""
    minimum: int = 1
    maximum: int = 1
    current: int = field(default=0, repr=False)  # replicas at present; not in a plan's digest
    metrics: tuple[MetricView, ...] = ()
    stabilization_down: int = 300
    stabilization_up: int = 0
    given_by: str = ""
    managed_by: str = ""  # the GitOps tool or Helm release that owns the manifest, "" when none is seen
    rest: str = ""
    inactive: str = field(default="", repr=False)  # not in a plan's digest
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class UtilizationTarget:
    """Percent of the request of a resource at which pods are added; `container` "" means all containers of a pod."""

    resource: Resource
    container: str
    percent: int


@dataclass(frozen=True)
class AutoscalerChanges:
    """What an assignment changes of the target's autoscaler; None and no targets: left as it is."""

    minimum: int | None = None
    maximum: int | None = None
    targets: tuple[UtilizationTarget, ...] = ()
    stabilization_down: int | None = None  # seconds
    stabilization_up: int | None = None
    tolerance_down: Decimal | None = None  # fraction
    tolerance_up: Decimal | None = None


@dataclass(frozen=True)
class AutoscalerPlan:
    """The autoscaler of an arm: `source`, the target's own, with an assignment's changes and bounds of its size."""

    source: AutoscalerView
    minimum: int
    maximum: int
    changes: AutoscalerChanges


@dataclass(frozen=True)
class ArmScaler:
    """An arm's autoscaler as found in the cluster."""

    name: str
    uid: str
    spec_digest: str
    observed_digest: str  # differs from spec_digest after a hand edit
    deleting: bool
    minimum: int
    maximum: int


@dataclass(frozen=True)
class UtilizationPoint:
    """The use per pod (cores or bytes) at which the autoscaler adds pods: a utilization target times a request."""

    resource: Resource
    container: str  # "" means all containers of a pod
    percent: int
    request: Decimal

    @property
    def value(self) -> Decimal:
        return self.request * self.percent / 100


@dataclass(frozen=True)
class ScaleChanges:
    """What a recommendation changes of how many pods the target has: `replicas` of a fixed size, or its autoscaler.

    `before` and `after` are where that adds pods, which a request changes, too.
    """

    replicas: int | None = None
    autoscaler: AutoscalerView | None = None
    changes: AutoscalerChanges = AutoscalerChanges()
    before: tuple[UtilizationPoint, ...] = ()
    after: tuple[UtilizationPoint, ...] = ()


__all__ = [
    "MOST_STABILIZATION",
    "TOLERANCE_SINCE",
    "ArmScaler",
    "AutoscalerChanges",
    "AutoscalerPlan",
    "AutoscalerView",
    "MetricView",
    "ScaleChanges",
    "UtilizationPoint",
    "UtilizationTarget",
]
