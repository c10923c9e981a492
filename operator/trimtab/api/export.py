"""The recommendation for a pipeline: patches, values, a JSON document, and how to apply them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import yaml

from trimtab.api import assignment
from trimtab.api.export_scaling import (
    autoscaler_json_patch,
    autoscaler_patch,
    changes_autoscaler,
    helm_scaling,
    scale_document,
)
from trimtab.domain.autoscaler import ScaleChanges
from trimtab.domain.kinds import HORIZONTAL_POD_AUTOSCALERS
from trimtab.domain.kube import PodChanges
from trimtab.domain.quantity import format_cpu, format_memory
from trimtab.domain.space import LimitsRule, Resource
from trimtab.domain.state import RecommendationState, SliOutlook
from trimtab.ports import ExperimentRecord

AUTOSCALER_PATCH = "autoscaler-patch.yaml"


def recommendation_data(
    experiment: ExperimentRecord,
    recommendation: RecommendationState,
    target: str,
    changes: PodChanges,
    scale: ScaleChanges,
) -> tuple[tuple[str, str], ...]:
    """The ConfigMap's data: `patch.yaml` (strategic merge), `kustomization.yaml`, `values.yaml` (Helm) where its layout
    has what is recommended, `recommendation.json`; for an autoscaler `autoscaler-patch.yaml` and `.json`."""
    document = _document(experiment, recommendation) | scale_document(scale)
    patches = [{"path": "patch.yaml", "target": {"kind": "Deployment", "name": target}}]
    data = {
        "patch.yaml": kustomize_patch(target, experiment.namespace, changes, scale.replicas),
        "recommendation.json": json.dumps(document, indent=2) + "\n",
    }
    if scale.autoscaler is not None and changes_autoscaler(scale):
        kind = HORIZONTAL_POD_AUTOSCALERS.name
        patches.append({"path": AUTOSCALER_PATCH, "target": {"kind": kind, "name": scale.autoscaler.name}})
        data[AUTOSCALER_PATCH] = _yaml(autoscaler_patch(scale, experiment.namespace))
        data["autoscaler-patch.json"] = json.dumps(autoscaler_json_patch(scale), indent=2) + "\n"
    values = _helm_values(changes) | helm_scaling(scale)
    if values:
        data["values.yaml"] = _yaml(values)
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "patches": patches}
    return tuple(sorted((data | {"kustomization.yaml": _yaml(kustomization)}).items()))


def _document(experiment: ExperimentRecord, recommendation: RecommendationState) -> dict[str, Any]:
    space = experiment.spec.space if experiment.spec is not None else None
    return {
        "experiment": experiment.name,
        "digest": recommendation.digest,
        "assignment": {v.name: v.value for v in assignment.write(recommendation.assignment, space)},
        "keepBaseline": recommendation.keep_baseline,
        "verified": recommendation.verified,
        "costPerHourBefore": round(recommendation.cost_before, 6),
        "costPerHourAfter": round(recommendation.cost_after, 6),
        "savingPercent": round(100 * recommendation.saving, 2),
        "slis": [_outlook(o) for o in recommendation.slis],
        "objectives": [asdict(o) for o in recommendation.objectives],
        "front": [
            {
                "assignment": {v.name: v.value for v in assignment.write(point.assignment, space)},
                "objectives": [asdict(v) for v in point.objectives],
            }
            for point in recommendation.front
        ],
        "templateHash": recommendation.template_hash,
        "message": recommendation.message,
    }


def _outlook(sli: SliOutlook) -> dict[str, Any]:
    known = {"predicted": sli.predicted, "verified": sli.verified, "control": sli.control}
    return {"sli": sli.sli} | {name: asdict(found) for name, found in known.items() if found is not None}


def _resources(changes: PodChanges) -> dict[str, dict[str, Any]]:
    """What containers get, by name; None where a merge removes a limit."""
    containers: dict[str, dict[str, Any]] = {}
    for setting in changes.resources:
        resources = containers.setdefault(setting.container, {})
        write = format_cpu if setting.resource is Resource.CPU else format_memory
        if setting.request is not None:
            resources.setdefault("requests", {})[setting.resource.value] = write(setting.request)
        if setting.limit is not None:
            resources.setdefault("limits", {})[setting.resource.value] = write(setting.limit)
        elif setting.rule is LimitsRule.NONE:
            resources.setdefault("limits", {})[setting.resource.value] = None
    return containers


def _helm_values(changes: PodChanges) -> dict[str, Any]:
    """Values in the layout of `helm create`, which has resources of one container, and no variables."""
    resources = _resources(changes)
    values: dict[str, Any] = {"resources": next(iter(resources.values()))} if len(resources) == 1 else {}
    return values | ({"nodeSelector": dict(changes.node_selector)} if changes.node_selector else {})


def _yaml(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False)


def kustomize_patch(target: str, namespace: str, changes: PodChanges, replicas: int | None = None) -> str:
    """A strategic-merge patch of the target's Deployment with what is recommended: containers and their variables are
    merged by name."""
    containers: dict[str, dict[str, Any]] = {name: {"resources": r} for name, r in _resources(changes).items()}
    for variable in changes.env:
        listed = containers.setdefault(variable.container, {}).setdefault("env", [])
        listed.append({"name": variable.name, "value": variable.value})
    pod: dict[str, Any] = {"nodeSelector": dict(changes.node_selector)} if changes.node_selector else {}
    pod |= {"containers": [{"name": name, **content} for name, content in containers.items()]} if containers else {}
    body: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": target, "namespace": namespace},
        "spec": ({} if replicas is None else {"replicas": replicas}) | ({"template": {"spec": pod}} if pod else {}),
    }
    return _yaml(body)
