"""An arm's Deployment: the target's pod template, cloned, with the plan's changes.

Nothing by which another tool tracks the target comes along: with the labels and annotations of Argo CD, Flux or Helm
they would prune the arm or adopt it. The other labels do, as a cluster's policies may ask for them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from trimtab.api.kube_arms import (
    ANNOTATION_LIVE,
    ANNOTATION_SCALED_BY,
    ANNOTATION_TRIAL_NAME,
    live_digest,
    shape_digest,
)
from trimtab.api.kube_target import TEMPLATE_HASH
from trimtab.domain.kinds import DEPLOYMENTS, TRIALS
from trimtab.domain.kube import ArmPlan, EnvSetting, Manifest, ResourceSetting
from trimtab.domain.measurement import Arm
from trimtab.domain.names import (
    ANNOTATION_DEADLINE,
    ANNOTATION_DIGEST,
    LABEL_ARM,
    LABEL_EXPERIMENT,
    LABEL_EXPERIMENT_UID,
    LABEL_MANAGED_BY,
    LABEL_TRIAL,
    MANAGED_BY,
)
from trimtab.domain.quantity import format_cpu, format_memory
from trimtab.domain.space import LimitsRule, Resource

TRACKING = (
    "argocd.argoproj.io/",
    "deployment.kubernetes.io/",
    "helm.sh/",
    "helm.toolkit.fluxcd.io/",
    "kubectl.kubernetes.io/last-applied-configuration",
    "kustomize.toolkit.fluxcd.io/",
    "meta.helm.sh/",
)
# The usual tracking label of older Argo CD; a pod may need it for its Service, a Deployment does not.
TRACKING_LABEL = "app.kubernetes.io/instance"
OTEL = "OTEL_RESOURCE_ATTRIBUTES"
MAX_LABEL = 63
HOSTNAME, PREFERRED, MOST_WEIGHT = "kubernetes.io/hostname", "preferredDuringSchedulingIgnoredDuringExecution", 100


def arm_manifest(target: Manifest, plan: ArmPlan) -> dict[str, Any]:
    """The Deployment to POST for this plan.

    Its strategy is Recreate, so that not even an edit could ever make more pods than planned.
    """
    template = copy.deepcopy(dict(target["spec"]["template"]))
    _relabel(template, plan)
    for setting in plan.settings:
        _resize(_container(template, setting.container), setting)
    for variable in plan.env:
        _set(_container(template, variable.container), variable)
    if plan.node_selector:
        template["spec"]["nodeSelector"] = {**(template["spec"].get("nodeSelector") or {}), **dict(plan.node_selector)}
    if plan.apart:
        _keep_apart(template["spec"], plan)
    if plan.otel:
        _trace(template, plan)
    body: dict[str, Any] = {
        "apiVersion": DEPLOYMENTS.api_version,
        "kind": DEPLOYMENTS.name,
        "metadata": arm_metadata(plan, kept_labels(target)),
        "spec": {
            "replicas": plan.replicas,
            "revisionHistoryLimit": 0,
            "progressDeadlineSeconds": plan.progress_deadline,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": dict(plan.selector)},
            "template": template,
        },
    }
    if plan.autoscaler is not None:
        body["metadata"]["annotations"][ANNOTATION_SCALED_BY] = plan.name
    body["metadata"]["annotations"][ANNOTATION_LIVE] = shape_digest(body)
    return body


def arm_metadata(plan: ArmPlan, labels: Mapping[str, str]) -> dict[str, Any]:
    """Of each object of an arm: name, labels beside these, the plan's digest, the Trial as its owner."""
    owner = {
        **TRIALS.reference(plan.trial_name, plan.trial_uid),
        "controller": True,
        "blockOwnerDeletion": False,  # True would need a right on the Trial's finalizers for no use
    }
    return {
        "name": plan.name,
        "namespace": plan.namespace,
        "labels": {**labels, **_pod_labels(plan), LABEL_MANAGED_BY: MANAGED_BY},
        "annotations": _pod_annotations(plan) | {ANNOTATION_DIGEST: plan.spec_digest},
        "ownerReferences": [owner],
    }


def kept_labels(original: Manifest) -> dict[str, str]:
    """The labels of what an arm's object is a copy of, without those by which another tool tracks it."""
    theirs = original["metadata"].get("labels") or {}
    return {k: v for k, v in theirs.items() if k not in {TRACKING_LABEL, TEMPLATE_HASH} and not _tracks(k)}


def _tracks(key: str) -> bool:
    return key.startswith(TRACKING)


def _pod_labels(plan: ArmPlan) -> dict[str, str]:
    return {
        LABEL_EXPERIMENT: plan.experiment_name[:MAX_LABEL].rstrip("-."),
        LABEL_EXPERIMENT_UID: plan.experiment_uid,
        LABEL_ARM: plan.arm.value,
        LABEL_TRIAL: plan.trial_uid,
    }


def _pod_annotations(plan: ArmPlan) -> dict[str, str]:
    """On the pods too: they may outlive their Deployment, and then say by themselves until when."""
    deadline = datetime.fromtimestamp(math.ceil(plan.deadline), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {ANNOTATION_DEADLINE: deadline, ANNOTATION_TRIAL_NAME: plan.trial_name}


def _relabel(template: dict[str, Any], plan: ArmPlan) -> None:
    old = template.get("metadata") or {}
    labels = {k: v for k, v in (old.get("labels") or {}).items() if k != TEMPLATE_HASH}
    annotations = {k: v for k, v in (old.get("annotations") or {}).items() if not _tracks(k)}
    template["metadata"] = {
        "labels": labels | dict(plan.label_overrides) | _pod_labels(plan),
        "annotations": annotations | _pod_annotations(plan),
    }
    swap = {key: (labels.get(key), value) for key, value in plan.label_overrides}
    for name in ("topologySpreadConstraints", "affinity"):
        if template["spec"].get(name):
            template["spec"][name] = _swapped(template["spec"][name], swap)


def _swapped(value: Any, swap: Mapping[Any, tuple[Any, str]]) -> Any:
    """Selectors that name the replaced label name its new value: arms spread among arms, not among the target's."""
    if isinstance(value, list):
        return [_swapped(item, swap) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {key: _swapped(item, swap) for key, item in value.items()}
    match = changed.get("matchLabels")
    if isinstance(match, dict):
        changed["matchLabels"] = {k: swap[k][1] if k in swap and swap[k][0] == v else v for k, v in match.items()}
    key = changed.get("key")
    if key in swap and changed.get("operator") in {"In", "NotIn"}:
        changed["values"] = [swap[key][1] if v == swap[key][0] else v for v in changed.get("values") or ()]
    return changed


def _keep_apart(pod: dict[str, Any], plan: ArmPlan) -> None:
    """Rather not on a node with arms of other trials, least of all with a canary; both arms alike, so that they stay
    comparable."""
    others: list[dict[str, Any]] = [
        {"key": LABEL_EXPERIMENT_UID, "operator": "In", "values": [plan.experiment_uid]},
        {"key": LABEL_TRIAL, "operator": "NotIn", "values": [plan.trial_uid]},
    ]
    canaries = [*others, {"key": LABEL_ARM, "operator": "In", "values": [Arm.CANARY.value]}]
    terms = [{"labelSelector": {"matchExpressions": found}, "topologyKey": HOSTNAME} for found in (canaries, others)]
    affinity = pod["affinity"] = dict(pod.get("affinity") or {})
    against = affinity["podAntiAffinity"] = dict(affinity.get("podAntiAffinity") or {})
    mine = [{"weight": MOST_WEIGHT, "podAffinityTerm": term} for term in terms]
    against[PREFERRED] = [*(against.get(PREFERRED) or ()), *mine]


def _container(template: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in template["spec"]["containers"] if c["name"] == name)
    return found


def _resize(container: dict[str, Any], setting: ResourceSetting) -> None:
    resources = container["resources"] = dict(container.get("resources") or {})
    write = format_cpu if setting.resource is Resource.CPU else format_memory
    key = setting.resource.value
    if setting.request is not None:
        resources["requests"] = {**(resources.get("requests") or {}), key: write(setting.request)}
    if setting.limit is not None:
        resources["limits"] = {**(resources.get("limits") or {}), key: write(setting.limit)}
    elif setting.rule is LimitsRule.NONE:
        resources["limits"] = {k: v for k, v in (resources.get("limits") or {}).items() if k != key}


def _set(container: dict[str, Any], variable: EnvSetting) -> None:
    """In its place, as later variables may refer to it."""
    known = [e for e in container.get("env") or [] if e.get("name") == variable.name]
    mine = {"name": variable.name, "value": variable.value}
    if known:
        container["env"] = [mine if e.get("name") == variable.name else e for e in container["env"]]
    else:  # the target lost it after the plan was made: the arm is compared with the plan
        container["env"] = [*(container.get("env") or []), mine]


def _trace(template: Mapping[str, Any], plan: ArmPlan) -> None:
    """Put experiment, trial and arm into the service's own traces.

    A variable that comes from elsewhere (valueFrom, or perhaps envFrom) is left alone: it may name the service.
    """
    mine = f"trimtab.experiment={plan.experiment_name},trimtab.trial={plan.trial_name},trimtab.arm={plan.arm.value}"
    for container in template["spec"]["containers"]:
        env = container.get("env") or []
        known = next((e for e in env if e.get("name") == OTEL), None)
        if known is None and not container.get("envFrom"):
            container["env"] = [*env, {"name": OTEL, "value": mine}]
        elif known is not None and "valueFrom" not in known:
            known["value"] = f"{known['value']},{mine}" if known.get("value") else mine


__all__ = ["arm_manifest", "arm_metadata", "kept_labels", "live_digest"]
