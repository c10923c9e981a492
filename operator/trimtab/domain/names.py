"""Names that appear in the cluster: one place for every label, annotation, finalizer and object name.

Arm names stay at most 40 characters, or the pod-name pattern that tells arms apart in Prometheus is lost.
"""

from __future__ import annotations

import re
from functools import lru_cache

from trimtab.domain.measurement import Arm

GROUP = "trimtab.dev"
VERSION = "v1alpha1"

LABEL_EXPERIMENT = f"{GROUP}/experiment"
LABEL_EXPERIMENT_UID = f"{GROUP}/experiment-uid"
LABEL_ARM = f"{GROUP}/arm"
LABEL_TRIAL = f"{GROUP}/trial"
LABEL_TARGET = f"{GROUP}/target"
LABEL_HISTORY_SOURCE = f"{GROUP}/history-source"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY = "trimtab"

ANNOTATION_DEADLINE = f"{GROUP}/deadline"
ANNOTATION_DIGEST = f"{GROUP}/spec-digest"
ANNOTATION_PAUSE = f"{GROUP}/pause"
ANNOTATION_ROLLBACK = f"{GROUP}/rollback"
ANNOTATION_APPROVE = f"{GROUP}/approve"
ANNOTATION_SKIP = f"{GROUP}/skip"
ANNOTATION_SIDE_EFFECTS_OK = f"{GROUP}/side-effects-ok"
ANNOTATION_OWNER = f"{GROUP}/owner"
ANNOTATION_ROUTE = f"{GROUP}/route"
ANNOTATION_WEIGHTS_OK = f"{GROUP}/weights-ok"
REQUEST_ANNOTATIONS = (ANNOTATION_PAUSE, ANNOTATION_ROLLBACK, ANNOTATION_APPROVE, ANNOTATION_SKIP)

FINALIZER = f"{GROUP}/undo"


ARM_RESOURCES = "hpa,deployments,replicasets,pods,services"  # as kubectl names what an arm consists of


def arm_name(experiment_uid: str, index: int, arm: Arm) -> str:
    """`tt-<first 8 hex digits of the Experiment's uid>-<index>-c|b`: deterministic, so a second create collides."""
    return f"{arm_prefix(experiment_uid)}{index}-{'c' if arm is Arm.CANARY else 'b'}"


def arm_prefix(experiment_uid: str) -> str:
    """How the names of all arms of an Experiment begin."""
    return f"tt-{experiment_uid.replace('-', '')[:8]}-"


def trial_name(experiment_name: str, experiment_uid: str, index: int) -> str:
    """`<experiment, at most 40>-<uid 6>-<index 4>`."""
    return f"{experiment_name[:40].rstrip('-.')}-{experiment_uid.replace('-', '')[:6]}-{index:04d}"


def recommendation_name(experiment_name: str) -> str:
    """The ConfigMap with the recommendation."""
    return f"{experiment_name[:200]}-recommendation"


@lru_cache(maxsize=1024)
def pod_pattern(workloads: tuple[str, ...]) -> str:
    """An anchored, RE2-escaped regular expression for the pods of these Deployments (Prometheus anchors by itself)."""
    suffix = "[a-z0-9]+-[a-z0-9]+"
    names = [re.sub(r"[^a-zA-Z0-9-]", lambda m: "\\" + m.group(), name) for name in workloads]
    return f"{names[0]}-{suffix}" if len(names) == 1 else f"({'|'.join(names)})-{suffix}"
