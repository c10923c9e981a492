"""Small readers of raw Kubernetes objects. Optional fields may be missing; what is unknown stays unknown."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from trimtab.domain.kube import Labels, Manifest, Requirement, Resources, SelectorOwner
from trimtab.domain.names import LABEL_EXPERIMENT_UID
from trimtab.domain.quantity import parse_quantity

Raw = Mapping[str, Any]


def labels_of(mapping: Raw | None) -> Labels:
    """A map of strings as sorted pairs."""
    return tuple(sorted((mapping or {}).items()))


def experiment_uid_of(manifest: Manifest) -> str:
    """The uid of the Experiment that a Trial or an arm's object belongs to, "" when it carries none."""
    return str((manifest["metadata"].get("labels") or {}).get(LABEL_EXPERIMENT_UID, ""))


def conditions_of(manifest: Manifest) -> dict[str, Raw]:
    """The conditions of an object's status, by type."""
    return {c.get("type", ""): c for c in (manifest.get("status") or {}).get("conditions") or ()}


def digest(value: object) -> str:
    """A short stable digest of JSON-like data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def quantities(side: Raw | None, field: str) -> dict[str, Decimal]:
    """A resource list in base units.

    Raises:
        InvalidSpec: not a quantity.
    """
    return {name: parse_quantity(str(text), f"{field}.{name}") for name, text in (side or {}).items()}


def resources_from(container: Raw) -> Resources:
    """A container's requests and limits; a missing request is the limit, as the API server fills it in for pods."""
    found = container.get("resources") or {}
    requests = quantities(found.get("requests"), "requests")
    limits = quantities(found.get("limits"), "limits")
    return Resources(
        cpu_request=requests.get("cpu", limits.get("cpu")),
        cpu_limit=limits.get("cpu"),
        memory_request=requests.get("memory", limits.get("memory")),
        memory_limit=limits.get("memory"),
    )


def selector_owner(kind: str, name: str, selector: Raw) -> SelectorOwner:
    """A LabelSelector with the name of who uses it."""
    expressions = tuple(
        Requirement(e["key"], e["operator"], tuple(e.get("values") or ()))
        for e in selector.get("matchExpressions") or ()
    )
    return SelectorOwner(kind, name, labels_of(selector.get("matchLabels")), expressions)


def managed_by(metadata: Raw) -> str:
    """Who writes this manifest, as its tracking labels and annotations say."""
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    tracked = annotations.get("argocd.argoproj.io/tracking-id", "").partition(":")[0]
    tracked = tracked or labels.get("argocd.argoproj.io/instance", "")
    if tracked:
        return f"Argo CD application {tracked}"
    for key, kind in (("kustomize", "Kustomization"), ("helm", "HelmRelease")):
        name = labels.get(f"{key}.toolkit.fluxcd.io/name")
        if name:
            return f"Flux {kind} {name}"
    release = annotations.get("meta.helm.sh/release-name")
    return f"Helm release {release}" if release else ""


def unix(text: str | None) -> float | None:
    """RFC 3339 to unix seconds; None for nothing and for what a hand edit made unreadable."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None
