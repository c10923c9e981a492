"""Arms as found in the cluster, whole or in leftovers, and the digest that tells whether somebody edited one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from trimtab.api.kube_autoscaler import autoscaler_from, scaler_digest
from trimtab.api.kube_read import Raw, conditions_of, digest, experiment_uid_of, resources_from, unix
from trimtab.api.kube_target import TEMPLATE_HASH, pod_from
from trimtab.domain.autoscaler import ArmScaler
from trimtab.domain.kube import ArmView, Manifest, Resources
from trimtab.domain.measurement import Arm
from trimtab.domain.names import (
    ANNOTATION_DEADLINE,
    ANNOTATION_DIGEST,
    GROUP,
    LABEL_ARM,
    LABEL_EXPERIMENT,
    LABEL_TRIAL,
)

ANNOTATION_LIVE = f"{GROUP}/live-digest"
ANNOTATION_SCALED_BY = f"{GROUP}/scaled-by"
ANNOTATION_TRIAL_NAME = f"{GROUP}/trial-name"
ARM_POD = re.compile(r"tt-[0-9a-f]{8}-\d+-[cb]-[a-z0-9]+-[a-z0-9]+")
"""Names of arms' pods, see `domain.names.arm_name`."""


def trial_uid_of(manifest: Manifest) -> str:
    """The uid of the Trial that an arm's object belongs to, "" when it carries none."""
    return str((manifest["metadata"].get("labels") or {}).get(LABEL_TRIAL, ""))


def ready_endpoint_names(slices: Iterable[Manifest]) -> frozenset[str]:
    """Names of pods that some EndpointSlice shows ready and not terminating: those that get traffic."""
    names: set[str] = set()
    for item in slices:
        for endpoint in item.get("endpoints") or ():
            conditions, reference = endpoint.get("conditions") or {}, endpoint.get("targetRef") or {}
            serving = conditions.get("ready") is not False and not conditions.get("terminating")
            if serving and reference.get("kind", "Pod") == "Pod" and "name" in reference:
                names.add(reference["name"])
    return frozenset(names)


def arm_views(
    deployments: Sequence[Manifest],
    replica_sets: Sequence[Manifest],
    pods: Sequence[Manifest],
    endpoint_slices: Sequence[Manifest],
    autoscalers: Sequence[Manifest] = (),
) -> tuple[ArmView, ...]:
    """Every arm, also one of which only leftovers (ReplicaSets, pods) remain."""
    ready, scalers = ready_endpoint_names(endpoint_slices), arm_scalers(autoscalers)
    found = arm_parts(deployments, replica_sets, pods)
    return tuple(arm_view(key[1], parts, ready, scalers.get(key)) for key, parts in found)


def arm_scalers(autoscalers: Iterable[Manifest]) -> dict[tuple[str, Arm], Manifest]:
    """The autoscalers of arms, by the Trial's uid and the arm."""
    found = {}
    for manifest in autoscalers:
        arm = (manifest["metadata"].get("labels") or {}).get(LABEL_ARM)
        if arm in {Arm.CANARY.value, Arm.CONTROL.value}:
            found[trial_uid_of(manifest), Arm(arm)] = manifest
    return found


def scales(deployment: Manifest) -> bool:
    """Whether an arm was made with an autoscaler."""
    return ANNOTATION_SCALED_BY in ((deployment.get("metadata") or {}).get("annotations") or {})


def arm_parts(
    deployments: Sequence[Manifest], replica_sets: Sequence[Manifest], pods: Sequence[Manifest]
) -> list[tuple[tuple[str, Arm], ArmParts]]:
    """What there is of each arm, by the Trial's uid and the arm, in this order."""
    found: dict[tuple[str, Arm], ArmParts] = {}
    for index, members in enumerate((deployments, replica_sets, pods)):
        for manifest in members:
            labels = manifest["metadata"].get("labels") or {}
            if labels.get(LABEL_ARM) in {Arm.CANARY.value, Arm.CONTROL.value}:
                key = (trial_uid_of(manifest), Arm(labels[LABEL_ARM]))
                found.setdefault(key, ([], [], []))[index].append(manifest)
    return sorted(found.items(), key=lambda item: item[0])


ArmParts = tuple[list[Manifest], list[Manifest], list[Manifest]]
"""Deployments, ReplicaSets and pods of one arm."""


def arm_view(arm: Arm, parts: ArmParts, ready: frozenset[str], scaler: Manifest | None = None) -> ArmView:
    """One arm; `ready` are the names of `ready_endpoint_names`, `scaler` is its autoscaler if it has one. Where the
    Deployment is gone, the arm's name, the Trial's and the deadline are known from what it left."""
    deployments, replica_sets, raw_pods = parts
    pods = tuple(pod_from(p) for p in raw_pods)
    objects = (*deployments, *replica_sets, *raw_pods)
    metadata, labels = objects[0]["metadata"], objects[0]["metadata"]["labels"]
    deployment = deployments[0] if deployments else None
    carried = [m["metadata"].get("annotations") or {} for m in objects]
    annotations: Raw = carried[0] if deployment else next((a for a in carried if ANNOTATION_DEADLINE in a), {})
    return ArmView(
        arm=arm,
        name=metadata["name"] if deployment else next((_workload_of(m) for m in objects), ""),
        namespace=metadata["namespace"],
        experiment_uid=experiment_uid_of(objects[0]),
        experiment_name=labels.get(LABEL_EXPERIMENT, ""),
        trial_uid=trial_uid_of(objects[0]),
        trial_name=annotations.get(ANNOTATION_TRIAL_NAME, ""),
        uid=metadata["uid"] if deployment else None,
        spec_digest=annotations.get(ANNOTATION_DIGEST, "") if deployment else "",
        observed_digest=live_digest(deployment) if deployment else "",
        deadline=unix(annotations.get(ANNOTATION_DEADLINE)),
        deleting=bool(deployment and metadata.get("deletionTimestamp")),
        replicas=deployment["spec"].get("replicas", 1) if deployment else 0,
        failure=_failure(deployment) if deployment else "",
        pods=pods,
        ready_endpoints=sum(p.name in ready for p in pods),
        scaled_by=annotations.get(ANNOTATION_SCALED_BY, "") if deployment else "",
        scaler=_scaler(scaler) if scaler is not None else None,
    )


def _scaler(manifest: Manifest) -> ArmScaler:
    metadata, view, now = manifest["metadata"], autoscaler_from(manifest), scaler_digest(manifest)
    made = plan_digest(manifest)
    as_made = (metadata.get("annotations") or {}).get(ANNOTATION_LIVE) == now
    return ArmScaler(
        name=metadata["name"],
        uid=metadata["uid"],
        spec_digest=made,
        observed_digest=made if as_made else f"edited-{now}",
        deleting=bool(metadata.get("deletionTimestamp")),
        minimum=view.minimum,
        maximum=view.maximum,
    )


def _workload_of(manifest: Manifest) -> str:
    """The Deployment's name, from the name of its ReplicaSet or pod: `<name>-<hash>` or `<name>-<hash>-<suffix>`."""
    metadata = manifest["metadata"]
    template_hash = (metadata.get("labels") or {}).get(TEMPLATE_HASH, "")
    head, found, _ = str(metadata["name"]).partition(f"-{template_hash}")
    return head if template_hash and found else ""


def _failure(deployment: Manifest) -> str:
    """The server's words when it cannot create the arm's pods."""
    failure = conditions_of(deployment).get("ReplicaFailure", {})
    if failure.get("status") != "True":
        return ""
    return str(failure.get("message") or failure.get("reason") or "ReplicaFailure")


def shape_digest(deployment: Manifest) -> str:
    """A digest of the parts that a plan decides, in base units.

    The server's defaulting and its rewriting of quantities do not change it; a hand edit does.
    """
    spec = deployment["spec"]
    template = spec["template"]
    labels = (template.get("metadata") or {}).get("labels") or {}
    containers = [_shape(c) for c in template["spec"]["containers"]]
    pods = None if scales(deployment) else spec.get("replicas", 1)  # an autoscaler's
    return digest([pods, spec["selector"].get("matchLabels"), labels, containers])


def _shape(container: Raw) -> dict[str, Any]:
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "command": [container.get("command") or [], container.get("args") or []],
        "env": [(e.get("name"), e.get("value") or "") for e in container.get("env") or ()],
        "resources": [None if a is None else format(a.normalize(), "f") for a in _amounts(resources_from(container))],
    }


def _amounts(resources: Resources) -> tuple[Decimal | None, ...]:
    return (resources.cpu_request, resources.cpu_limit, resources.memory_request, resources.memory_limit)


def plan_digest(manifest: Manifest) -> str:
    """The digest of the plan that an arm's object was made by, "" when it carries none."""
    return str((manifest["metadata"].get("annotations") or {}).get(ANNOTATION_DIGEST, ""))


def live_digest(deployment: Manifest) -> str:
    """The plan's digest while the arm's spec is as it was created, something else after any edit.

    Arms are never patched, so the server counted one generation, and one more for a deletion. That notices every edit
    of the spec; the digest also notices an arm that was deleted and made anew by hand. Of an arm that scales each
    scaling is a generation, too, so there it is the owners of fields that tell.
    """
    metadata = deployment["metadata"]
    annotations = metadata.get("annotations") or {}
    now = shape_digest(deployment)
    generation = metadata.get("generation", 1) - (1 if metadata.get("deletionTimestamp") else 0)
    changed = _rewritten(metadata) if scales(deployment) else generation > 1
    if changed or annotations.get(ANNOTATION_LIVE) != now:
        return f"edited-{now}-{generation}"
    return plan_digest(deployment)


def _rewritten(metadata: Raw) -> bool:
    """Whether anybody wrote the spec itself after its creation: an autoscaler writes by the subresource `scale`."""
    entries = metadata.get("managedFields") or ()
    writers = [e for e in entries if not e.get("subresource") and "f:spec" in (e.get("fieldsV1") or {})]
    made = unix(metadata.get("creationTimestamp"))
    times = (unix(e.get("time")) for e in writers)
    return len(writers) > 1 or any(made is not None and at is not None and at > made for at in times)
