"""What an HPA sees of pods: which of them count, what they use and what they ask for; and what its spec says of it.

Pure. Amounts are whole thousandths of cores and bytes, as the controller's are. What follows is `workload/hpa.py`'s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from trimtab.api.times import parse_time
from trimtab.domain.kube import Manifest
from trimtab.domain.quantity import parse_quantity
from trimtab.workload.hpa import DOWN, UP, Hpa, Policy, Rules, Seen, Select

INITIALIZATION: Final = 300.0
"""Seconds from a pod's start in which its CPU counts only while it is ready, and once a whole window shows it so."""
FIRST_READY: Final = 30.0
"""Seconds from its start within which a pod that is not ready counts as never ready."""


class MetricError(Exception):
    """A metric that says nothing now; `reason` is that of the condition ScalingActive."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class PodUsage:
    """What the metrics API says of a pod, by container: thousandths of cores and of bytes, over `window` seconds up to
    `at` (unix seconds)."""

    at: float
    window: float
    cpu: Mapping[str, int]
    memory: Mapping[str, int]

    def of(self, resource: str, container: str) -> int | None:
        """Of one container, or of the whole pod where none is named."""
        amounts = self.cpu if resource == "cpu" else self.memory
        return sum(amounts.values()) if not container else amounts.get(container)


@dataclass(frozen=True)
class Metric:
    """A metric of the spec that is simulated. `container` is empty for the whole pod; `goal` is in percent."""

    source: str
    resource: str
    container: str
    goal: int

    @property
    def failed(self) -> str:
        """The condition's reason when it cannot be had."""
        return f"FailedGet{self.source}Metric"


def metric_of(spec: Manifest) -> Metric:
    """A metric of the HPA's spec.

    Raises:
        MetricError: of another kind than resources by utilization.
    """
    source = str(spec["type"])
    body = spec.get("resource") or spec.get("containerResource") or {}
    goal = (body.get("target") or {}).get("averageUtilization")
    if source not in ("Resource", "ContainerResource") or body.get("name") not in ("cpu", "memory") or goal is None:
        raise MetricError("InvalidMetricSourceType", f"{source} metrics other than utilization are not simulated")
    return Metric(source, str(body["name"]), str(body.get("container", "")), int(goal))


def seen_of(metric: Metric, pods: Sequence[Manifest], usage: Mapping[str, PodUsage] | None, now: float) -> Seen:
    """What one metric shows.

    Args:
        pods: all that the target's selector matches.
        usage: by name of pod; None while the metrics API is absent.
        now: unix seconds.

    Raises:
        MetricError: nothing can be said.
    """
    if not usage:
        why = "the API is not served" if usage is None else "it returns none"
        raise MetricError(metric.failed, f"no metrics for resource {metric.resource} from the metrics API: {why}")
    if not pods:
        raise MetricError(metric.failed, "the selector matches no pod")
    used: dict[str, int] = {}
    unready, missing = [], []
    for pod in pods:
        name, status = pod["metadata"]["name"], pod.get("status") or {}
        if "deletionTimestamp" in pod["metadata"] or status.get("phase") == "Failed":
            continue
        known = usage.get(name)
        amount = known.of(metric.resource, metric.container) if known is not None else None
        if status.get("phase") == "Pending":
            unready.append(name)
        elif known is None or amount is None:
            missing.append(name)
        elif metric.resource == "cpu" and _unready(status, known, now):
            unready.append(name)
        else:
            used[name] = amount
    asked = {p["metadata"]["name"]: _request(metric, p) for p in pods}
    total = sum(asked[name] for name in used)
    if not total:
        raise MetricError(metric.failed, f"no metrics for {metric.resource} of ready pods that request any")
    unknown, waiting = (tuple(float(asked[n]) for n in names) for names in (missing, unready))
    return Seen(metric.goal / 100, sum(used.values()), total, len(used), unknown, waiting)


def hpa_of(spec: Manifest) -> Hpa:
    """Bounds and behavior of an HPA's spec, as the server completed it."""
    behavior = spec.get("behavior")
    least, most = int(spec.get("minReplicas", 1)), int(spec["maxReplicas"])
    if behavior is None:
        return Hpa(least, most, plain=True)
    return Hpa(least, most, _rules(behavior["scaleUp"], UP), _rules(behavior["scaleDown"], DOWN))


def _rules(rules: Manifest, usual: Rules) -> Rules:
    window, tolerance = rules.get("stabilizationWindowSeconds"), rules.get("tolerance")
    return Rules(
        usual.window if window is None else float(window),
        tuple(Policy(p["type"] == "Percent", int(p["value"]), float(p["periodSeconds"])) for p in rules["policies"]),
        Select(rules["selectPolicy"]),
        usual.tolerance if tolerance is None else float(parse_quantity(str(tolerance))),
    )


def _unready(status: Manifest, known: PodUsage, now: float) -> bool:
    """Its CPU is that of a start, or of a pod that never was ready."""
    condition: Mapping[str, Any] | None
    condition = next((c for c in status.get("conditions") or () if c["type"] == "Ready"), None)
    if condition is None or not status.get("startTime"):
        return True
    started, changed = parse_time(status["startTime"]), parse_time(condition["lastTransitionTime"])
    not_ready = condition["status"] == "False"
    if started + INITIALIZATION > now:
        return not_ready or known.at < changed + known.window
    return not_ready and started + FIRST_READY > changed


def _request(metric: Metric, pod: Manifest) -> int:
    """Thousandths that the pod, or the named container, requests."""
    total = 0
    for container in pod["spec"]["containers"]:
        if metric.container in ("", container["name"]):
            text = ((container.get("resources") or {}).get("requests") or {}).get(metric.resource)
            if text is None:
                words = f"missing request for {metric.resource} in container {container['name']}"
                raise MetricError(metric.failed, f"{words} of Pod {pod['metadata']['name']}")
            total += math.ceil(parse_quantity(str(text)) * 1000)
    return total


__all__ = ["Metric", "MetricError", "PodUsage", "hpa_of", "metric_of", "seen_of"]
