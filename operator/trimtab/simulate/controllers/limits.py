"""What bounds a namespace: ResourceQuota and LimitRange at admission, PodDisruptionBudget and quota status after it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from trimtab.domain import kinds
from trimtab.domain.errors import Rejected
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.simulate.cluster import InMemoryCluster, WatchEvent
from trimtab.simulate.controllers.queue import Reactions
from trimtab.simulate.controllers.workloads import is_ready
from trimtab.simulate.objects import FINISHED, Obj
from trimtab.simulate.selectors import parse_selector
from trimtab.workload.units import parse_kubernetes_bytes, parse_kubernetes_cores

REACTION_SECONDS = 0.1


class Limits:
    """Admission of pods, and the status of quotas and disruption budgets."""

    watches = (kinds.PODS, kinds.RESOURCE_QUOTAS, kinds.POD_DISRUPTION_BUDGETS)

    def __init__(self, cluster: InMemoryCluster) -> None:
        self._objects = cluster.objects
        self._quotas: Reactions[str] = Reactions(REACTION_SECONDS, self._sync_quotas)
        self._budgets: Reactions[str] = Reactions(REACTION_SECONDS, self._sync_budgets)

    def changed(self, event: WatchEvent) -> None:
        """A pod, a quota or a disruption budget changed."""
        namespace = event.object["metadata"].get("namespace", "")
        for kind, reactions in ((kinds.RESOURCE_QUOTAS, self._quotas), (kinds.POD_DISRUPTION_BUDGETS, self._budgets)):
            if event.kind in (kinds.PODS, kind) and self._objects.names(kind, namespace):
                reactions.add(namespace)

    def admit(self, kind: Kind, verb: str, new: Obj, old: Manifest | None) -> None:
        """Fill in defaults of LimitRanges and refuse what goes beyond a bound.

        Raises:
            Rejected: in the server's words.
        """
        del old
        if kind != kinds.PODS or verb != "create":
            return
        namespace, name = new["metadata"]["namespace"], new["metadata"]["name"]
        for limit_range in self._objects.names(kinds.LIMIT_RANGES, namespace).values():
            for item in limit_range["spec"].get("limits") or ():
                if item.get("type") == "Container":
                    new["spec"] = _with_defaults(new["spec"], item)
                    _check_container(name, new["spec"], item)
        for quota_name, quota in self._objects.names(kinds.RESOURCE_QUOTAS, namespace).items():
            self._check_quota(namespace, name, quota_name, quota, new)

    def _check_quota(self, namespace: str, name: str, quota_name: str, quota: Manifest, pod: Obj) -> None:
        hard = quota["spec"].get("hard") or {}
        used, asked = self._used(namespace), pod_usage(pod)
        for key in sorted(hard):
            if key in asked and used.get(key, 0.0) + asked[key] > _amount(key, hard[key]) + 1e-9:
                numbers = f"requested: {key}={_text(key, asked[key])}, used: {key}={_text(key, used.get(key, 0.0))}"
                words = f"exceeded quota: {quota_name}, {numbers}, limited: {key}={hard[key]}"
                raise Rejected(403, f'pods "{name}" is forbidden: {words}')

    def _used(self, namespace: str) -> dict[str, float]:
        total: dict[str, float] = {}
        for pod in self._objects.names(kinds.PODS, namespace).values():
            if (pod.get("status") or {}).get("phase") not in FINISHED:
                for key, value in pod_usage(pod).items():
                    total[key] = total.get(key, 0.0) + value
        return total

    def _sync_quotas(self, namespace: str) -> None:
        used = self._used(namespace)
        for name, quota in tuple(self._objects.names(kinds.RESOURCE_QUOTAS, namespace).items()):
            hard = quota["spec"].get("hard") or {}
            status = {"hard": hard, "used": {key: _text(key, used.get(key, 0.0)) for key in sorted(hard)}}
            self._objects.set_status(kinds.RESOURCE_QUOTAS, namespace, name, status)

    def _sync_budgets(self, namespace: str) -> None:
        for name, budget in tuple(self._objects.names(kinds.POD_DISRUPTION_BUDGETS, namespace).items()):
            labels = (budget["spec"].get("selector") or {}).get("matchLabels") or {}
            text = ",".join(f"{k}={v}" for k, v in sorted(labels.items()))
            pods = list(self._objects.select(kinds.PODS, namespace, parse_selector(text)))
            healthy, expected = sum(map(is_ready, pods)), len(pods)
            desired = _desired(budget["spec"], expected)
            status = {
                "currentHealthy": healthy,
                "desiredHealthy": desired,
                "expectedPods": expected,
                "disruptionsAllowed": max(0, healthy - desired),
                "observedGeneration": budget["metadata"].get("generation", 1),
            }
            self._objects.set_status(kinds.POD_DISRUPTION_BUDGETS, namespace, name, status)


def pod_usage(pod: Manifest) -> dict[str, float]:
    """What a quota counts of a pod, in base units."""
    total = {"pods": 1.0, "count/pods": 1.0}
    for container in pod["spec"]["containers"]:
        resources = container.get("resources") or {}
        limits = resources.get("limits") or {}
        requests = {**limits, **(resources.get("requests") or {})}
        for side, amounts in (("requests", requests), ("limits", limits)):
            for resource in ("cpu", "memory"):
                if resource in amounts:
                    key = f"{side}.{resource}"
                    value = _amount(key, amounts[resource])
                    total[key] = total.get(key, 0.0) + value
                    if side == "requests":
                        total[resource] = total.get(resource, 0.0) + value
    return total


def _with_defaults(spec: Mapping[str, Any], item: Manifest) -> dict[str, Any]:
    containers = []
    for container in spec["containers"]:
        resources = container.get("resources") or {}
        limits = {**(item.get("default") or {}), **(resources.get("limits") or {})}
        requests = {**(item.get("defaultRequest") or {}), **(resources.get("requests") or {})}
        for resource in ("cpu", "memory"):
            if resource in limits:
                requests.setdefault(resource, limits[resource])
        merged = {k: v for k, v in (("limits", limits), ("requests", requests)) if v}
        containers.append({**container, "resources": {**resources, **merged}} if merged else container)
    return {**spec, "containers": containers}


def _check_container(name: str, spec: Mapping[str, Any], item: Manifest) -> None:
    for container in spec["containers"]:
        resources = container.get("resources") or {}
        for resource in ("cpu", "memory"):
            request = (resources.get("requests") or {}).get(resource)
            limit = (resources.get("limits") or {}).get(resource)
            _check_bounds(name, resource, request, limit, item)


def _check_bounds(name: str, resource: str, request: str | None, limit: str | None, item: Manifest) -> None:
    least, most = (item.get("min") or {}).get(resource), (item.get("max") or {}).get(resource)
    if least is not None and request is not None and _amount(resource, request) < _amount(resource, least):
        words = f"minimum {resource} usage per Container is {least}, but request is {request}"
        raise Rejected(403, f'pods "{name}" is forbidden: {words}')
    if most is not None and limit is not None and _amount(resource, limit) > _amount(resource, most):
        words = f"maximum {resource} usage per Container is {most}, but limit is {limit}"
        raise Rejected(403, f'pods "{name}" is forbidden: {words}')
    ratio = (item.get("maxLimitRequestRatio") or {}).get(resource)
    if ratio is not None and request is not None and limit is not None:
        found = _amount(resource, limit) / max(_amount(resource, request), 1e-9)
        if found > float(ratio) + 1e-9:
            words = f"{resource} max limit to request ratio per Container is {ratio}, but provided ratio is {found:f}"
            raise Rejected(403, f'pods "{name}" is forbidden: {words}')


def _amount(key: str, value: object) -> float:
    if key.endswith("cpu"):
        return parse_kubernetes_cores(str(value))
    return parse_kubernetes_bytes(str(value)) if key.endswith("memory") else float(str(value))


def _text(key: str, value: float) -> str:
    return f"{round(1000 * value)}m" if key.endswith("cpu") else str(round(value))


def _desired(spec: Mapping[str, Any], expected: int) -> int:
    if "minAvailable" in spec:
        return _part(spec["minAvailable"], expected)
    return max(0, expected - _part(spec.get("maxUnavailable", 1), expected))


def _part(value: object, expected: int) -> int:
    text = str(value)
    return math.ceil(float(text[:-1]) / 100 * expected) if text.endswith("%") else int(text)


__all__ = ["Limits", "pod_usage"]
