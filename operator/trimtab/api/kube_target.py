"""The Deployment under tuning, and pods, read into domain types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from trimtab.api.kube_hazards import hazards_of, side_effects_of
from trimtab.api.kube_read import (
    Raw,
    conditions_of,
    digest,
    labels_of,
    managed_by,
    quantities,
    resources_from,
    selector_owner,
    unix,
)
from trimtab.domain.kube import (
    ContainerStatus,
    ContainerView,
    Manifest,
    PodView,
    SelectorOwner,
    Target,
)

TEMPLATE_HASH = "pod-template-hash"
TUNED = ("cpu", "memory")


def target_from(deployment: Manifest) -> Target:
    """The Deployment under tuning.

    Raises:
        InvalidSpec: a quantity in it cannot be read.
    """
    metadata, spec, status = deployment["metadata"], deployment["spec"], deployment.get("status") or {}
    template = spec["template"]
    pod = template["spec"]
    labels = labels_of((template.get("metadata") or {}).get("labels"))
    return Target(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        replicas=spec.get("replicas", 1),
        ready_replicas=status.get("readyReplicas", 0),
        template_hash=digest(template),
        rollout_behind=_behind(deployment),
        rollout_stuck=_stuck(deployment),
        paused=bool(spec.get("paused")),
        strategy=(spec.get("strategy") or {}).get("type", "RollingUpdate"),
        selector=labels_of(spec["selector"].get("matchLabels")),
        has_match_expressions=bool(spec["selector"].get("matchExpressions")),
        pod_labels=labels,
        containers=tuple(_container(c) for c in pod["containers"]),
        owner_kinds=tuple(o.get("kind", "") for o in metadata.get("ownerReferences") or ()),
        annotations=labels_of(metadata.get("annotations")),
        hazards=hazards_of(deployment),
        termination_grace_seconds=int(pod.get("terminationGracePeriodSeconds", 30)),
        manifest=deployment,
        side_effects=side_effects_of(deployment),
        init_containers=tuple(_container(c) for c in pod.get("initContainers") or ()),
        anti_affinity=tuple(_anti_affinity(pod, metadata["namespace"], dict(labels))),
        extra_demand=_extra_demand(pod),
        node_selector=labels_of(pod.get("nodeSelector")),
        managed_by=managed_by(metadata),
    )


def _behind(deployment: Manifest) -> str:
    """What its rollout still lacks, "" when every wanted pod is of the present template and available, and no older one
    is left."""
    spec, status = deployment["spec"], deployment.get("status") or {}
    wanted, generation = spec.get("replicas", 1), deployment["metadata"].get("generation", 0)
    updated, there, available = (status.get(f"{what}eplicas", 0) for what in ("updatedR", "r", "availableR"))
    if status.get("observedGeneration", 0) < generation:
        return f"its controller has not seen generation {generation} yet"
    if updated != wanted:
        return f"{updated} of {wanted} pods have the present template"
    if there != wanted:
        return f"{there} pods are there where {wanted} are wanted"
    if available != wanted:
        settled = spec.get("minReadySeconds", 0)
        return f"{available} of {wanted} pods are available" + (
            f", after {settled} s of being ready" if settled else ""
        )
    return ""


def _stuck(deployment: Manifest) -> bool:
    """The Deployment's controller has given up waiting for progress."""
    return conditions_of(deployment).get("Progressing", {}).get("reason") == "ProgressDeadlineExceeded"


def _container(container: Raw) -> ContainerView:
    return ContainerView(
        name=container["name"],
        image=container.get("image", ""),
        resources=resources_from(container),
        sidecar=container.get("restartPolicy") == "Always",
        env=tuple((e["name"], None if "valueFrom" in e else e.get("value") or "") for e in container.get("env") or ()),
    )


def _anti_affinity(pod: Raw, namespace: str, labels: Mapping[str, str]) -> Iterator[SelectorOwner]:
    """The required terms that pods of this namespace can fall under, as the scheduler would evaluate them."""
    rules = ((pod.get("affinity") or {}).get("podAntiAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    for term in rules or ():
        elsewhere = term.get("namespaces") and namespace not in term["namespaces"]
        if elsewhere and term.get("namespaceSelector") is None:
            continue
        per_revision = TEMPLATE_HASH in (term.get("matchLabelKeys") or ())
        if term.get("labelSelector") is None or per_revision:  # the arm's pods are of another ReplicaSet
            continue
        extra = [_equal(key, "In", labels) for key in term.get("matchLabelKeys") or () if key in labels]
        extra += [_equal(key, "NotIn", labels) for key in term.get("mismatchLabelKeys") or () if key in labels]
        selector = term["labelSelector"]
        merged = {**selector, "matchExpressions": [*(selector.get("matchExpressions") or ()), *extra]}
        yield selector_owner("podAntiAffinity", term.get("topologyKey", ""), merged)


def _equal(key: str, operator: str, labels: Mapping[str, str]) -> Raw:
    return {"key": key, "operator": operator, "values": [labels[key]]}


def _extra_demand(pod: Raw) -> tuple[tuple[str, Decimal], ...]:
    """What a pod's containers ask for beside cpu and memory, by the names that quotas use."""
    total: dict[str, Decimal] = {}
    for container in pod["containers"]:
        for side in ("requests", "limits"):
            for name, amount in quantities((container.get("resources") or {}).get(side), side).items():
                if name not in TUNED:
                    total[f"{side}.{name}"] = total.get(f"{side}.{name}", Decimal(0)) + amount
    return tuple(sorted(total.items()))


def pod_from(pod: Manifest) -> PodView:
    """A pod with what safety and progress need of it."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    conditions = conditions_of(pod)
    ready, scheduled = conditions.get("Ready", {}), conditions.get("PodScheduled", {})
    is_ready = ready.get("status") == "True"
    begun = _statuses(status.get("initContainerStatuses"))
    sidecars = {c["name"] for c in pod["spec"].get("initContainers") or () if c.get("restartPolicy") == "Always"}
    return PodView(
        name=metadata["name"],
        uid=metadata["uid"],
        phase=status.get("phase", "Pending"),
        reason=status.get("reason", "") or _disruption(conditions),
        ready=is_ready,
        ready_since=unix(ready.get("lastTransitionTime")) if is_ready else None,
        node=pod["spec"].get("nodeName", ""),
        deleting=bool(metadata.get("deletionTimestamp")),
        unschedulable=scheduled.get("message", "") if scheduled.get("reason") == "Unschedulable" else "",
        containers=(*_statuses(status.get("containerStatuses")), *(c for c in begun if c.name in sidecars)),
        resources=tuple((c["name"], resources_from(c)) for c in pod["spec"]["containers"]),
        template_hash=(metadata.get("labels") or {}).get(TEMPLATE_HASH, ""),
        created=unix(metadata.get("creationTimestamp")),
        init_containers=tuple(c for c in begun if c.name not in sidecars),
    )


def _disruption(conditions: Mapping[str, Raw]) -> str:
    found = conditions.get("DisruptionTarget", {})
    return str(found.get("reason", "")) if found.get("status") == "True" else ""


def _statuses(raw: Sequence[Raw] | None) -> tuple[ContainerStatus, ...]:
    return tuple(_container_status(c) for c in raw or ())


def _container_status(status: Raw) -> ContainerStatus:
    state, last = status.get("state") or {}, status.get("lastState") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or last.get("terminated") or {}
    return ContainerStatus(
        name=status["name"],
        ready=bool(status.get("ready")),
        restarts=int(status.get("restartCount", 0)),
        waiting_reason=waiting.get("reason", ""),
        last_terminated_reason=ended.get("reason", ""),
        message=waiting.get("message") or ended.get("message") or "",
        last_words=ended.get("message") or "",
    )
