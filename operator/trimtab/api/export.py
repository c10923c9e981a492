"""The recommendation for a pipeline: a kustomize patch, a JSON document, and how to apply them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import yaml

from trimtab.api import assignment
from trimtab.domain.kube import ResourceSetting
from trimtab.domain.quantity import format_cpu, format_memory
from trimtab.domain.space import LimitsRule, Resource
from trimtab.domain.state import RecommendationState, SliOutlook
from trimtab.ports import ExperimentRecord


def recommendation_data(
    experiment: ExperimentRecord,
    recommendation: RecommendationState,
    target: str,
    settings: tuple[ResourceSetting, ...],
) -> tuple[tuple[str, str], ...]:
    """The ConfigMap's data: `patch.yaml` (strategic merge), `kustomization.yaml`, `recommendation.json`."""
    space = experiment.spec.space if experiment.spec is not None else None
    patch = kustomize_patch(target, experiment.namespace, settings)
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


def kustomize_patch(target: str, namespace: str, settings: tuple[ResourceSetting, ...]) -> str:
    """A strategic-merge patch of the target's Deployment with the recommended resources."""
    containers: dict[str, dict[str, dict[str, str | None]]] = {}
    for setting in settings:
        resources = containers.setdefault(setting.container, {})
        write = format_cpu if setting.resource is Resource.CPU else format_memory
        if setting.request is not None:
            resources.setdefault("requests", {})[setting.resource.value] = write(setting.request)
        if setting.limit is not None:
            resources.setdefault("limits", {})[setting.resource.value] = write(setting.limit)
        elif setting.rule is LimitsRule.NONE:
            resources.setdefault("limits", {})[setting.resource.value] = None  # a merge patch removes it
    body: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": target, "namespace": namespace},
        "spec": {
            "template": {"spec": {"containers": [{"name": n, "resources": r} for n, r in containers.items()]}},
        },
    }
    return yaml.safe_dump(body, sort_keys=False)
