"""The HPA controller: replicas from the utilization that the workload model gives, with tolerance and stabilization."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from trimtab.domain import kinds
from trimtab.domain.kube import Manifest
from trimtab.ports import Clock
from trimtab.simulate.cluster import InMemoryCluster, WatchEvent
from trimtab.simulate.controllers.workloads import is_ready
from trimtab.simulate.selectors import parse_selector
from trimtab.simulate.traffic import Traffic

SYNC_SECONDS = 15.0
TOLERANCE = 0.1
DOWN_SECONDS = 300.0
Key = tuple[str, str]


class Autoscaler:
    """Syncs every HPA each 15 s, while there are any."""

    def __init__(self, cluster: InMemoryCluster, traffic: Traffic, clock: Clock) -> None:
        self._objects, self._traffic, self._clock = cluster.objects, traffic, clock
        self._loop = asyncio.get_running_loop()
        self._running: set[Key] = set()
        self._wanted: dict[Key, list[tuple[float, int]]] = {}

    def changed(self, event: WatchEvent) -> None:
        """An HPA appeared or is gone."""
        if event.kind != kinds.HORIZONTAL_POD_AUTOSCALERS:
            return
        key = (event.object["metadata"]["namespace"], event.object["metadata"]["name"])
        if event.type != "DELETED" and key not in self._running:
            self._running.add(key)
            self._loop.call_later(SYNC_SECONDS, self._sync, key)

    def _sync(self, key: Key) -> None:
        hpa = self._objects.find(kinds.HORIZONTAL_POD_AUTOSCALERS, *key)
        if hpa is None:
            self._running.discard(key)
            self._wanted.pop(key, None)
            return
        self._loop.call_later(SYNC_SECONDS, self._sync, key)
        target = self._objects.find(kinds.DEPLOYMENTS, key[0], hpa["spec"]["scaleTargetRef"]["name"])
        if target is None:
            return
        current = int(target["spec"].get("replicas", 1))
        utilization = self._utilization(target, hpa)
        desired = current if utilization is None else self._desired(key, hpa, current, utilization)
        if desired != current:
            self._scale(target, desired)
        status = {"currentReplicas": current, "desiredReplicas": desired}
        if utilization is not None:
            metric = {"name": "cpu", "current": {"averageUtilization": round(utilization)}}
            status["currentMetrics"] = [{"type": "Resource", "resource": metric}]  # type: ignore[assignment]
        self._objects.set_status(kinds.HORIZONTAL_POD_AUTOSCALERS, *key, {**(hpa.get("status") or {}), **status})

    def _utilization(self, target: Manifest, hpa: Manifest) -> float | None:
        """Mean of used / requested CPU of the pods that the target's selector matches, in percent."""
        del hpa
        labels = target["spec"]["selector"].get("matchLabels") or {}
        text = ",".join(f"{k}={v}" for k, v in sorted(labels.items()))
        namespace, now = target["metadata"]["namespace"], self._clock.now()
        used = asked = 0.0
        for pod in self._objects.select(kinds.PODS, namespace, parse_selector(text)):
            meter = self._traffic.meters.get((namespace, pod["metadata"]["name"]))
            behaviour = meter.behaviour(now) if meter is not None and is_ready(pod) else None
            if meter is not None and behaviour is not None:
                used += behaviour.cpu_usage_cores
                asked += meter.facts.resources.cpu_request
        return 100.0 * used / asked if asked else None

    def _desired(self, key: Key, hpa: Manifest, current: int, utilization: float) -> int:
        spec = hpa["spec"]
        goal = _goal(spec)
        ratio = utilization / goal
        wanted = current if abs(ratio - 1.0) <= TOLERANCE else math.ceil(current * ratio)
        wanted = min(max(wanted, int(spec.get("minReplicas", 1))), int(spec["maxReplicas"]))
        now = self._clock.now()
        past = [(t, n) for t, n in self._wanted.get(key, []) if now - t <= DOWN_SECONDS]
        self._wanted[key] = [*past, (now, wanted)]
        return max(n for _, n in self._wanted[key]) if wanted < current else wanted

    def _scale(self, target: Manifest, replicas: int) -> None:
        metadata = target["metadata"]
        spec = {**target["spec"], "replicas": replicas}
        changed = {**metadata, "generation": metadata.get("generation", 0) + 1}
        self._objects.store(kinds.DEPLOYMENTS, metadata["namespace"], {**target, "metadata": changed, "spec": spec})


def _goal(spec: Any) -> float:
    """The target utilization of CPU, in percent; Kubernetes' default is 80."""
    for metric in spec.get("metrics") or ():
        resource = metric.get("resource") or metric.get("containerResource") or {}
        if resource.get("name") == "cpu":
            return float(resource["target"].get("averageUtilization", 80))
    return 80.0


__all__ = ["Autoscaler"]
