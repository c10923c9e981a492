"""The HPA controller: reads pods and their use, decides by the arithmetic of `workload/hpa.py`; its status says why."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping
from typing import Any

from trimtab.api.times import parse_time
from trimtab.domain import kinds
from trimtab.domain.kube import Manifest
from trimtab.ports import Clock
from trimtab.simulate.cluster import InMemoryCluster, WatchEvent
from trimtab.simulate.controllers.podmetrics import Metric, MetricError, PodUsage, hpa_of, metric_of, seen_of
from trimtab.simulate.meter import PodMeter
from trimtab.simulate.selectors import Selector, parse_selector
from trimtab.simulate.traffic import Traffic
from trimtab.workload.hpa import SYNC_SECONDS, Hpa, Memory, Seen, limited, moved, proposal, stabilized, utilization

WINDOW = 15.0  # seconds over which the metrics API reports, and how often it looks
Key = tuple[str, str]
Told = tuple[str, str]
"""Reason and message of a condition."""
READY: Told = ("ReadyForNewScale", "the recommended size is applied")
STABLE_UP: Told = ("ScaleUpStabilized", "the lowest recent recommendation is applied")
STABLE_DOWN: Told = ("ScaleDownStabilized", "the highest recent recommendation is applied")
TOO_MANY: Told = ("TooManyReplicas", "the desired count is more than the maximum")
TOO_FEW: Told = ("TooFewReplicas", "the desired count is less than the minimum")
TOO_FAST_UP: Told = ("ScaleUpLimit", "the desired count grows faster than is allowed")
TOO_FAST_DOWN: Told = ("ScaleDownLimit", "the desired count shrinks faster than is allowed")
IN_RANGE: Told = ("DesiredWithinRange", "the desired count is within the acceptable range")


class Autoscaler:
    """Syncs every HPA each 15 s, while there are any. `absent`: the metrics API is not served."""

    watches = (kinds.HORIZONTAL_POD_AUTOSCALERS,)

    def __init__(self, cluster: InMemoryCluster, traffic: Traffic, clock: Clock) -> None:
        self._objects, self._traffic, self._clock = cluster.objects, traffic, clock
        self._loop = asyncio.get_running_loop()
        self._running: set[Key] = set()
        self._memory: dict[Key, Memory] = {}
        self._selectors: dict[Key, Selector] = {}
        self.absent = False

    def changed(self, event: WatchEvent) -> None:
        """An HPA appeared or is gone."""
        key = (event.object["metadata"]["namespace"], event.object["metadata"]["name"])
        if event.type == "DELETED":
            self._memory.pop(key, None)
            self._selectors.pop(key, None)
        elif key not in self._running:
            self._running.add(key)
            self._loop.call_later(SYNC_SECONDS, self._sync, key)

    def _sync(self, key: Key) -> None:
        hpa = self._objects.find(kinds.HORIZONTAL_POD_AUTOSCALERS, *key)
        if hpa is None:
            self._running.discard(key)
            return
        self._loop.call_later(SYNC_SECONDS, self._sync, key)
        reference = hpa["spec"]["scaleTargetRef"]
        target = self._objects.find(kinds.DEPLOYMENTS, key[0], reference["name"])
        if target is None or reference.get("kind") != kinds.DEPLOYMENTS.name:
            self._write(key, hpa, [("AbleToScale", False, ("FailedGetScale", "the scale target was not found"))])
            return
        self._look(key, hpa, target)

    def _look(self, key: Key, hpa: Manifest, target: Manifest) -> None:
        rules, current, now = hpa_of(hpa["spec"]), int(target["spec"].get("replicas", 1)), self._clock.now()
        memory = self._memory.setdefault(key, Memory({current: now}))  # what is there counts as recommended
        got = ("AbleToScale", True, ("SucceededGetScale", "the current scale is known"))
        if current == 0 and rules.least > 0:
            told = ("ScalingDisabled", "the replica count of the target is zero")
            self._write(key, hpa, [got, ("ScalingActive", False, told)], current, 0)
            return
        if not rules.least <= current <= rules.most:
            told = TOO_MANY if current > rules.most else TOO_FEW
            bound = moved(memory, current, min(max(current, rules.least), rules.most), now)
            self._apply(key, hpa, target, bound, [got, ("ScalingLimited", True, told)])
            return
        try:
            wanted, metrics = self._wanted(key, hpa, target, current)
        except MetricError as error:
            before = int((hpa.get("status") or {}).get("desiredReplicas", 0))
            self._write(key, hpa, [got, ("ScalingActive", False, (error.reason, str(error)))], current, before)
            return
        settled = stabilized(rules, wanted, current, memory, now)
        replicas = limited(rules, settled, current, memory, now)
        limit = _limit(rules, settled, replicas)
        conditions = [
            ("AbleToScale", True, READY if settled == wanted else STABLE_UP if wanted >= current else STABLE_DOWN),
            ("ScalingActive", True, ("ValidMetricFound", "a replica count was calculated from the metrics")),
            ("ScalingLimited", limit != IN_RANGE, limit),
        ]
        self._apply(key, hpa, target, replicas, conditions, metrics)

    def _wanted(self, key: Key, hpa: Manifest, target: Manifest, current: int) -> tuple[int, list[dict[str, Any]]]:
        """(the most replicas that any metric asks for, the metrics as the status shows them).

        Raises:
            MetricError: two HPAs at once, no metric that says anything, or some that say nothing and none that would
                not scale down.
        """
        selector = self._selectors[key] = parse_selector(_selector(target["spec"]["selector"]))
        pods = list(self._objects.select(kinds.PODS, key[0], selector))
        self._check_alone(key[0], pods)
        usage, now, rules = self._usage(key[0], pods), self._clock.now(), hpa_of(hpa["spec"])
        found: list[tuple[Metric, Seen]] = []
        errors: list[MetricError] = []
        for each in hpa["spec"]["metrics"]:
            try:
                metric = metric_of(each)
                found.append((metric, seen_of(metric, pods, usage, now)))
            except MetricError as error:
                errors.append(error)
        wanted = max((n for _, seen in found if (n := proposal(rules, seen, current)) is not None), default=0)
        if errors and (not found or wanted < current):
            raise errors[0]
        return wanted, [_metric_status(*each) for each in found]

    def _check_alone(self, namespace: str, pods: Iterable[Manifest]) -> None:
        mine = {where: s for where, s in self._selectors.items() if where[0] == namespace}
        names = {
            name
            for pod in pods
            for (_, name), selector in mine.items()
            if selector.matches(pod["metadata"].get("labels") or {})
        }
        if len(names) > 1:
            raise MetricError("AmbiguousSelector", f"pods are controlled by several HPAs: {', '.join(sorted(names))}")

    def _usage(self, namespace: str, pods: Iterable[Manifest]) -> dict[str, PodUsage] | None:
        """What the metrics API would say; a container that has not run for a window is not known to it."""
        if self.absent:
            return None
        found, now = {}, self._clock.now()
        at = now // WINDOW * WINDOW
        for pod in pods:
            if _started(pod) <= at - WINDOW:
                name = pod["metadata"]["name"]
                found[name] = self._usage_of(pod, self._traffic.meters.get((namespace, name)), now)
        return found

    def _usage_of(self, pod: Manifest, meter: PodMeter | None, now: float) -> PodUsage:
        """All of it is the main container's; a pod of no workload does nothing."""
        cpu = {c["name"]: 0 for c in pod["spec"]["containers"]}
        memory, at = dict(cpu), now // WINDOW * WINDOW
        behaviour = meter.behaviour(now) if meter is not None else None
        if meter is not None and behaviour is not None:
            cpu[meter.facts.container] = math.ceil(behaviour.cpu_usage_cores * 1000)
            used = min(behaviour.working_set_bytes, meter.facts.resources.memory_limit)
            memory[meter.facts.container] = math.ceil(used) * 1000
        return PodUsage(at, WINDOW, cpu, memory)

    def _apply(
        self,
        key: Key,
        hpa: Manifest,
        target: Manifest,
        replicas: int,
        conditions: list[tuple[str, bool, Told]],
        metrics: list[dict[str, Any]] | None = None,
    ) -> None:
        current = int(target["spec"].get("replicas", 1))
        scaled = replicas != current
        if scaled:
            metadata = target["metadata"]
            changed = {**metadata, "generation": metadata.get("generation", 0) + 1}
            new = {**target, "metadata": changed, "spec": {**target["spec"], "replicas": replicas}}
            self._objects.store(kinds.DEPLOYMENTS, key[0], new)
            conditions = [c for c in conditions if c[0] != "AbleToScale"]
            conditions.append(("AbleToScale", True, ("SucceededRescale", f"the target was scaled to {replicas}")))
        self._write(key, hpa, conditions, current, replicas, metrics, scaled=scaled)

    def _write(
        self,
        key: Key,
        hpa: Manifest,
        conditions: list[tuple[str, bool, Told]],
        current: int | None = None,
        desired: int | None = None,
        metrics: list[dict[str, Any]] | None = None,
        *,
        scaled: bool = False,
    ) -> None:
        status, now = dict(hpa.get("status") or {}), self._objects.timestamp(0)
        known = {c["type"]: c for c in status.get("conditions") or ()}
        for kind, holds, (reason, message) in conditions:
            truth = "True" if holds else "False"
            since = known[kind]["lastTransitionTime"] if known.get(kind, {}).get("status") == truth else now
            known[kind] = {
                "type": kind, "status": truth, "reason": reason, "message": message, "lastTransitionTime": since,
            }  # fmt: skip
        status["conditions"] = list(known.values())
        if current is not None:
            status |= {"currentReplicas": current, "desiredReplicas": desired}
        if metrics is not None:
            status["currentMetrics"] = metrics
        if scaled:
            status["lastScaleTime"] = now
        self._objects.set_status(kinds.HORIZONTAL_POD_AUTOSCALERS, *key, status)


def _started(pod: Manifest) -> float:
    """When the last of its containers started; never, while one does not run."""
    states = [(s.get("state") or {}).get("running") for s in (pod.get("status") or {}).get("containerStatuses") or ()]
    return max((math.inf if s is None else parse_time(s["startedAt"]) for s in states), default=math.inf)


def _selector(selector: Mapping[str, Any]) -> str:
    """A LabelSelector in text form."""
    terms = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for each in selector.get("matchExpressions") or ():
        key, values = each["key"], ",".join(each.get("values") or ())
        forms = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        terms.append(forms.get(each["operator"], f"!{key}"))
    return ",".join(terms)


def _limit(rules: Hpa, settled: int, replicas: int) -> Told:
    """What kept it from the replicas that it had settled on."""
    if replicas < settled:
        return TOO_MANY if replicas == rules.most else TOO_FAST_UP
    if replicas > settled:
        return TOO_FEW if replicas == rules.least else TOO_FAST_DOWN
    return IN_RANGE


def _metric_status(metric: Metric, seen: Seen) -> dict[str, Any]:
    average = int(seen.use) // seen.ready
    amount = f"{average}m" if metric.resource == "cpu" else str(average // 1000)
    current = {"averageUtilization": round(100 * utilization(seen.use, seen.request)), "averageValue": amount}
    if metric.source == "Resource":
        return {"type": metric.source, "resource": {"name": metric.resource, "current": current}}
    body = {"name": metric.resource, "container": metric.container, "current": current}
    return {"type": metric.source, "containerResource": body}


__all__ = ["Autoscaler"]
