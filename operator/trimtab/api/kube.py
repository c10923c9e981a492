"""Kubernetes objects, read once into domain types; nothing above looks into a raw object again."""

from __future__ import annotations

from trimtab.api.kube_arms import (
    ANNOTATION_LIVE,
    ANNOTATION_TRIAL_NAME,
    ArmParts,
    arm_parts,
    arm_scalers,
    arm_view,
    arm_views,
    live_digest,
    ready_endpoint_names,
    scales,
    shape_digest,
    trial_uid_of,
)
from trimtab.api.kube_read import resources_from
from trimtab.api.kube_surroundings import autoscalers_around, scaled_workloads, surroundings_from
from trimtab.api.kube_target import pod_from, target_from

__all__ = [
    "ANNOTATION_LIVE",
    "ANNOTATION_TRIAL_NAME",
    "ArmParts",
    "arm_parts",
    "arm_scalers",
    "arm_view",
    "arm_views",
    "autoscalers_around",
    "live_digest",
    "pod_from",
    "ready_endpoint_names",
    "resources_from",
    "scaled_workloads",
    "scales",
    "shape_digest",
    "surroundings_from",
    "target_from",
    "trial_uid_of",
]
