"""HorizontalPodAutoscalers: read into domain types, and written with an assignment's changes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from trimtab.api.kube_read import Raw, conditions_of, digest, managed_by
from trimtab.domain.autoscaler import AutoscalerChanges, AutoscalerView, MetricView
from trimtab.domain.kube import Manifest
from trimtab.domain.quantity import parse_quantity
from trimtab.domain.texts import printable

KEDA_LABEL = "scaledobject.keda.sh/name"
SOURCES = {  # kind of metric -> where its spec is
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}
DEFAULT_METRICS: tuple[Raw, ...] = (
    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}},
)
INACTIVE_WORDS = 200
DEFAULT_UTILIZATION = 80  # percent, where no metric is named


def autoscaler_from(manifest: Manifest) -> AutoscalerView:
    """An autoscaler, with Kubernetes' defaults where it leaves something open.

    Raises:
        InvalidSpec: a tolerance cannot be read.
    """
    metadata, spec, status = manifest["metadata"], manifest["spec"], manifest.get("status") or {}
    reference = spec["scaleTargetRef"]
    down, up = _rules(spec, "scaleDown"), _rules(spec, "scaleUp")
    usual = AutoscalerView
    return AutoscalerView(
        name=metadata["name"],
        target_kind=reference["kind"],
        target_name=reference["name"],
        tolerance=_tolerance(down, "scaleDown", usual.tolerance),
        tolerance_up=_tolerance(up, "scaleUp", usual.tolerance_up),
        uid=metadata.get("uid", ""),
        minimum=_or(spec.get("minReplicas"), usual.minimum),
        maximum=_or(spec.get("maxReplicas"), usual.maximum),
        current=_or(status.get("currentReplicas"), usual.current),
        metrics=tuple(_metrics(spec)),
        stabilization_down=_or(down.get("stabilizationWindowSeconds"), usual.stabilization_down),
        stabilization_up=_or(up.get("stabilizationWindowSeconds"), usual.stabilization_up),
        given_by=_given_by(metadata),
        managed_by=managed_by(metadata),
        rest=digest(_rest(spec)),
        inactive=_inactive(manifest),
        manifest=manifest,
    )


def _inactive(manifest: Manifest) -> str:
    """Why it does not scale, in Kubernetes' words: `FailedGetResourceMetric: unable to get metrics`."""
    active = conditions_of(manifest).get("ScalingActive", {})
    if active.get("status") != "False":
        return ""
    words = (active.get("reason", ""), printable(active.get("message", ""), INACTIVE_WORDS))
    return ": ".join(word for word in words if word) or "ScalingActive is False"


def _rest(spec: Raw) -> Raw:
    """What the fields of a view do not say: policies, and targets that are no utilization."""
    sides = {side: dict(_rules(spec, side)) for side in ("scaleDown", "scaleUp")}
    for rules in sides.values():
        for field in ("stabilizationWindowSeconds", "tolerance"):
            rules.pop(field, None)
    targets = [_target(metric) for metric in spec.get("metrics") or DEFAULT_METRICS]
    known = {"scaleTargetRef", "minReplicas", "maxReplicas", "metrics", "behavior"}
    return {"behavior": sides, "targets": targets} | {k: v for k, v in spec.items() if k not in known}


def _or(found: int | None, usual: int) -> int:
    return usual if found is None else int(found)


def _rules(spec: Raw, side: str) -> Raw:
    found: Raw = (spec.get("behavior") or {}).get(side) or {}
    return found


def _tolerance(rules: Raw, side: str, usual: float) -> float:
    given = rules.get("tolerance")
    return usual if given is None else float(parse_quantity(str(given), f"behavior.{side}.tolerance"))


def _metrics(spec: Raw) -> Iterator[MetricView]:
    for metric in spec.get("metrics") or DEFAULT_METRICS:
        source = _source(metric)
        target, named = source.get("target") or {}, source.get("metric") or source
        utilization = target.get("averageUtilization") if target.get("type") == "Utilization" else None
        if not spec.get("metrics"):
            utilization = DEFAULT_UTILIZATION
        yield MetricView(metric["type"], named.get("name", ""), source.get("container", ""), utilization)


def _source(metric: Raw) -> Raw:
    found: Raw = metric.get(SOURCES.get(metric["type"], "")) or {}
    return found


def _given_by(metadata: Raw) -> str:
    """KEDA makes autoscalers of its own ScaledObjects and puts back whatever is changed in them."""
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("kind") == "ScaledObject":
            return f"KEDA's ScaledObject {owner.get('name', '')}".strip()
    name = (metadata.get("labels") or {}).get(KEDA_LABEL)
    return f"KEDA's ScaledObject {name}" if name else ""


# Writing


def changed_spec(spec: Raw, changes: AutoscalerChanges) -> dict[str, Any]:
    """An autoscaler's spec with these changes. What is not changed stays as it stands."""
    made: dict[str, Any] = copy.deepcopy(dict(spec))
    if changes.minimum is not None:
        made["minReplicas"] = changes.minimum
    if changes.maximum is not None:
        made["maxReplicas"] = changes.maximum
    if changes.targets:
        made["metrics"] = copy.deepcopy(list(made.get("metrics") or DEFAULT_METRICS))
    for target in changes.targets:
        kind = "ContainerResource" if target.container else "Resource"
        for metric in made["metrics"]:
            source = _source(metric)
            fits = (metric["type"], source.get("name")) == (kind, target.resource.value)
            if fits and source.get("container", "") == target.container:
                metric[SOURCES[kind]]["target"] = {"type": "Utilization", "averageUtilization": target.percent}
    for side, window, tolerance in (
        ("scaleDown", changes.stabilization_down, changes.tolerance_down),
        ("scaleUp", changes.stabilization_up, changes.tolerance_up),
    ):
        rules: dict[str, Any] = {} if window is None else {"stabilizationWindowSeconds": window}
        rules |= {} if tolerance is None else {"tolerance": format(tolerance.normalize(), "f")}
        if rules:
            behavior = dict(made.get("behavior") or {})
            made["behavior"] = behavior | {side: dict(behavior.get(side) or {}) | rules}
    return made


def scaler_digest(manifest: Manifest) -> str:
    """A digest of what a plan decides of an autoscaler. The server's defaults, and its way to write a quantity, do not
    change it; a hand edit does."""
    spec = manifest["spec"]
    view = autoscaler_from(manifest)
    reference = spec["scaleTargetRef"]
    bounds = (view.minimum, view.maximum, view.stabilization_down, view.stabilization_up)
    metrics = [[m.kind, m.name, m.container, m.utilization] for m in view.metrics]
    targets = [_target(metric) for metric in spec.get("metrics") or DEFAULT_METRICS]
    tolerances = (view.tolerance, view.tolerance_up)
    return digest([reference["kind"], reference["name"], bounds, tolerances, metrics, targets])


def _target(metric: Raw) -> dict[str, str]:
    """The values, other than a utilization, that a metric may have for its target, in base units."""
    found = _source(metric).get("target") or {}
    return {k: _plain(found[k]) for k in ("value", "averageValue") if found.get(k) is not None}


def _plain(text: object) -> str:
    value: Decimal = parse_quantity(str(text), "target")
    return format(value.normalize(), "f")


__all__ = ["autoscaler_from", "changed_spec", "scaler_digest"]
