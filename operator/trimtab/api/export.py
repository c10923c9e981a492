"""The recommendation for a pipeline: a kustomize patch, a JSON document, and how to apply them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import yaml

from trimtab.api import assignment
from trimtab.domain.kube import PodChanges
from trimtab.domain.quantity import format_cpu, format_memory
from trimtab.domain.space import LimitsRule, Resource
from trimtab.domain.state import RecommendationState, SliOutlook
from trimtab.ports import ExperimentRecord


def recommendation_data(
    experiment: ExperimentRecord,
    recommendation: RecommendationState,
    target: str,
    changes: PodChanges,
) -> tuple[tuple[str, str], ...]:
    """The ConfigMap's data: `patch.yaml` (strategic merge), `kustomization.yaml`, `recommendation.json`."""
    space = experiment.spec.space if experiment.spec is not None else None
    patch = kustomize_patch(target, experiment.namespace, changes)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "patches": [{"path": "patch.yaml", "target": {"kind": "Deployment", "name": target}}],
    }
    document = {
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
    return (
        ("kustomization.yaml", yaml.safe_dump(kustomization, sort_keys=False)),
        ("patch.yaml", patch),
        ("recommendation.json", json.dumps(document, indent=2) + "\n"),
    )


def _outlook(sli: SliOutlook) -> dict[str, Any]:
    known = {"predicted": sli.predicted, "verified": sli.verified, "control": sli.control}
    return {"sli": sli.sli} | {name: asdict(found) for name, found in known.items() if found is not None}


def kustomize_patch(target: str, namespace: str, changes: PodChanges) -> str:
    """A strategic-merge patch of the target's Deployment with what is recommended: containers and their variables are
    merged by name."""
    containers: dict[str, dict[str, Any]] = {}
    for setting in changes.resources:
        resources = containers.setdefault(setting.container, {}).setdefault("resources", {})
        write = format_cpu if setting.resource is Resource.CPU else format_memory
        if setting.request is not None:
            resources.setdefault("requests", {})[setting.resource.value] = write(setting.request)
        if setting.limit is not None:
            resources.setdefault("limits", {})[setting.resource.value] = write(setting.limit)
        elif setting.rule is LimitsRule.NONE:
            resources.setdefault("limits", {})[setting.resource.value] = None  # a merge patch removes it
    for variable in changes.env:
        listed = containers.setdefault(variable.container, {}).setdefault("env", [])
        listed.append({"name": variable.name, "value": variable.value})
    pod: dict[str, Any] = {"nodeSelector": dict(changes.node_selector)} if changes.node_selector else {}
    pod |= {"containers": [{"name": name, **content} for name, content in containers.items()]} if containers else {}
    body: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": target, "namespace": namespace},
        "spec": {"template": {"spec": pod}},
    }
    return yaml.safe_dump(body, sort_keys=False)
