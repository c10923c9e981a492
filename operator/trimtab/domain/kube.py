"""What the control core sees of Kubernetes objects: read once by `api/kube.py`, typed from there on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from trimtab.domain.autoscaler import ArmScaler, AutoscalerPlan, AutoscalerView
from trimtab.domain.measurement import Arm
from trimtab.domain.space import LimitsRule, Resource

Manifest = Mapping[str, Any]  # a raw object, only carried, never looked into, outside api/ and adapters/
Labels = tuple[tuple[str, str], ...]  # sorted by key, hashable


@dataclass(frozen=True)
class Resources:
    """Requests and limits of a container in base units (cores, bytes); None where the manifest sets none."""

    cpu_request: Decimal | None = None
    cpu_limit: Decimal | None = None
    memory_request: Decimal | None = None
    memory_limit: Decimal | None = None

    def request(self, resource: Resource) -> Decimal | None:
        return self.cpu_request if resource is Resource.CPU else self.memory_request

    def limit(self, resource: Resource) -> Decimal | None:
        return self.cpu_limit if resource is Resource.CPU else self.memory_limit


@dataclass(frozen=True)
class ContainerView:
    """`sidecar` is an init container that keeps running beside the others."""

    name: str
    image: str
    resources: Resources
    sidecar: bool = False
    env: tuple[tuple[str, str | None], ...] = field(default=(), repr=False)  # None: the value comes from elsewhere


@dataclass(frozen=True)
class Requirement:
    """One `matchExpressions` entry of a label selector."""

    key: str
    operator: str  # In | NotIn | Exists | DoesNotExist
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Do these labels meet it? An operator of the future is taken to match: that errs towards a refusal."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "DoesNotExist":
                return self.key not in labels
            case "Exists":
                return self.key in labels
            case _:
                return True


@dataclass(frozen=True)
class SelectorOwner:
    """Something that selects pods by label: a PodDisruptionBudget, for instance. An empty selector selects all."""

    kind: str
    name: str
    selector: Labels
    expressions: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Does it select a pod with these labels?"""
        return all(labels.get(k) == v for k, v in self.selector) and all(e.holds(labels) for e in self.expressions)


@dataclass(frozen=True)
class Target:
    """The Deployment under tuning. `manifest` is the raw object, from which arms are cloned."""

    name: str
    namespace: str
    uid: str
    generation: int
    replicas: int
    ready_replicas: int
    template_hash: str  # of spec.template without what Trimtab never looks at; changes when pods would roll
    rollout_behind: str  # what its rollout still lacks, "" when it is complete
    paused: bool
    strategy: str
    selector: Labels
    has_match_expressions: bool
    pod_labels: Labels
    containers: tuple[ContainerView, ...]
    owner_kinds: tuple[str, ...]
    annotations: Labels
    hazards: tuple[str, ...]  # refused features found in the template, each as a sentence with its remedy
    termination_grace_seconds: int
    manifest: Manifest = field(repr=False, compare=False)
    side_effects: tuple[str, ...] = ()  # what an arm would do once more; accepted by the side-effects-ok annotation
    init_containers: tuple[ContainerView, ...] = ()
    anti_affinity: tuple[SelectorOwner, ...] = ()  # required terms that may apply to pods of this namespace
    extra_demand: tuple[tuple[str, Decimal], ...] = ()  # per pod: quota name -> amount, beside cpu and memory
    node_selector: Labels = ()
    managed_by: str = ""  # the GitOps tool or Helm release that owns the manifest, "" when none is seen
    rollout_stuck: bool = False  # it has passed its progress deadline

    def container(self, name: str) -> ContainerView | None:
        return next((c for c in self.containers if c.name == name), None)


@dataclass(frozen=True)
class TargetMissing:
    """The target is not there; `found_kind` names another kind of that name (a StatefulSet) if one is."""

    name: str
    found_kind: str | None = None


@dataclass(frozen=True)
class ServiceView:
    name: str
    selector: Labels


@dataclass(frozen=True)
class VpaView:
    name: str
    target_name: str
    mode: str


@dataclass(frozen=True)
class QuotaView:
    """What a ResourceQuota leaves: (resource name such as `requests.cpu`, hard minus used) in base units."""

    name: str
    free: tuple[tuple[str, Decimal], ...]


LimitRule = tuple[Resource, Decimal | None, Decimal | None, Decimal | None]


@dataclass(frozen=True)
class LimitRangeView:
    """Bounds of a LimitRange: (resource, min, max, max limit/request ratio), base units, None if unset.

    `rules` bind each container, `pod_rules` the sums of a pod; `defaults` are (resource, request, limit) that a
    container gets where it sets none.
    """

    name: str
    rules: tuple[LimitRule, ...]
    pod_rules: tuple[LimitRule, ...] = ()
    defaults: tuple[tuple[Resource, Decimal | None, Decimal | None], ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """Everything beside the target that preflight has to know.

    `services` select the target's pods and `disruption_budgets`, `network_policies` too; `network_peers` are policies
    of the namespace that let in or out pods like the target's. `ready_service_endpoints` are the ready pods, arms left
    out, behind the smallest of the Services. `autoscalers` scale the target.
    """

    services: tuple[ServiceView, ...] = ()
    autoscalers: tuple[AutoscalerView, ...] = ()
    disruption_budgets: tuple[SelectorOwner, ...] = ()
    vpas: tuple[VpaView, ...] = ()
    quotas: tuple[QuotaView, ...] = ()
    limit_ranges: tuple[LimitRangeView, ...] = ()
    network_policies: tuple[SelectorOwner, ...] = ()
    kubernetes_version: str = ""
    ready_service_endpoints: int = 0
    network_peers: tuple[SelectorOwner, ...] = ()
    other_autoscalers: tuple[AutoscalerView, ...] = ()  # of the namespace, which scale something else
    scaled_elsewhere: tuple[SelectorOwner, ...] = ()  # the pods that those count, where it is known


@dataclass(frozen=True)
class ContainerStatus:
    name: str
    ready: bool
    restarts: int
    waiting_reason: str = ""
    last_terminated_reason: str = ""
    message: str = ""
    last_words: str = ""  # its termination message when it last ended, "" when it left none


@dataclass(frozen=True)
class PodView:
    name: str
    uid: str
    phase: str
    reason: str  # pod status.reason, e.g. Evicted, Preempting, NodeLost
    ready: bool
    ready_since: float | None
    node: str
    deleting: bool
    unschedulable: str  # the scheduler's message, "" when scheduled
    containers: tuple[ContainerStatus, ...]  # side-cars are among them
    resources: tuple[tuple[str, Resources], ...]  # as admitted, per container
    template_hash: str = ""
    created: float | None = None
    init_containers: tuple[ContainerStatus, ...] = ()  # those that end before the others begin


@dataclass(frozen=True)
class ArmView:
    """One arm as found in the cluster: the Deployment if it is there, and its pods and ready endpoints in any case."""

    arm: Arm
    name: str
    namespace: str
    experiment_uid: str
    experiment_name: str
    trial_uid: str
    trial_name: str
    uid: str | None  # of the Deployment; None when only leftovers (ReplicaSets, pods) remain
    spec_digest: str
    observed_digest: str  # digest of the live spec's parts that the plan sets; differs after a hand edit
    deadline: float | None
    deleting: bool
    replicas: int
    failure: str  # ReplicaFailure / FailedCreate message, "" when none
    pods: tuple[PodView, ...]
    ready_endpoints: int
    scaled_by: str = ""  # the autoscaler that it was made with, "" for a fixed number of pods
    scaler: ArmScaler | None = None  # the autoscaler as found

    @property
    def ready_pods(self) -> int:
        return sum(1 for p in self.pods if p.ready and not p.deleting)


@dataclass(frozen=True)
class ResourceSetting:
    """What one container of an arm gets for one resource; limit None removes or keeps it, by `rule`."""

    container: str
    resource: Resource
    request: Decimal | None
    limit: Decimal | None
    rule: LimitsRule


@dataclass(frozen=True)
class EnvSetting:
    """What one environment variable of a container gets."""

    container: str
    name: str
    value: str


@dataclass(frozen=True)
class PodChanges:
    """What an assignment changes of each of the target's pods."""

    resources: tuple[ResourceSetting, ...]
    env: tuple[EnvSetting, ...] = ()
    node_selector: Labels = ()


@dataclass(frozen=True)
class ArmPlan:
    """An arm to create: everything that the clone of the target's template needs. Deterministic per Trial.

    `label_overrides` are the pod labels that get another value (so that the target's own selector does not match);
    `selector` is the arm's own immutable selector. `spec_digest` identifies the plan.
    """

    name: str
    namespace: str
    arm: Arm
    replicas: int
    experiment_name: str
    experiment_uid: str
    trial_name: str
    trial_uid: str
    trial_index: int
    deadline: float
    settings: tuple[ResourceSetting, ...]
    label_overrides: Labels
    selector: Labels
    otel: bool
    template_hash: str
    spec_digest: str
    progress_deadline: int = 600  # seconds after which the Deployment says that it does not progress
    env: tuple[EnvSetting, ...] = field(default=(), repr=False)  # in the digest only where there are some
    node_selector: Labels = field(default=(), repr=False)
    backend: str = field(default="", repr=False)  # the Service of which the arm gets a copy; "": it has none
    autoscaler: AutoscalerPlan | None = field(default=None, repr=False)  # None: a fixed number of pods
    apart: bool = field(default=False, repr=False)  # its pods are to keep off the nodes of other trials' arms
