"""Nodes and the scheduler: a pod goes where its requests fit, or waits with the words that a real one has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trimtab.domain import kinds
from trimtab.domain.kube import Manifest, Requirement
from trimtab.simulate.cluster import InMemoryCluster, WatchEvent
from trimtab.simulate.controllers.queue import Reactions
from trimtab.simulate.objects import FINISHED
from trimtab.workload.units import GIB, parse_kubernetes_bytes, parse_kubernetes_cores

REACTION_SECONDS = 0.01
MOST_PODS = 250
INSTANCE_TYPE = "simulated.4xlarge"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
Key = tuple[str, str]


@dataclass
class Node:
    """A machine; `up` is False from the moment when it is lost. `used` is (cores, bytes) by pod uid."""

    name: str
    cores: float
    memory: float
    up: bool = True
    used: dict[str, tuple[float, float]] = field(default_factory=dict)

    def fits(self, cores: float, memory: float) -> str:
        """What is missing for such a pod: "" when it fits."""
        free_cores = self.cores - sum(c for c, _ in self.used.values())
        free_memory = self.memory - sum(m for _, m in self.used.values())
        if len(self.used) >= MOST_PODS:
            return "Too many pods"
        return "Insufficient cpu" if cores > free_cores else "Insufficient memory" if memory > free_memory else ""


def make_nodes(count: int, cores: float = 32.0, memory_gib: float = 128.0) -> list[Node]:
    """Equal nodes."""
    return [Node(f"node-{i}", cores, memory_gib * GIB) for i in range(count)]


def node_object(node: Node) -> dict[str, Any]:
    """The Node as the API server shows it."""
    labels = {
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": INSTANCE_TYPE,
    }
    return {"metadata": {"name": node.name, "labels": labels}, "status": node_status(node)}


def node_status(node: Node) -> dict[str, Any]:
    """Its size, and whether it is heard of."""
    size = {"cpu": f"{node.cores:g}", "memory": f"{node.memory / GIB:g}Gi", "pods": str(MOST_PODS)}
    ready = {"type": "Ready", "status": "True" if node.up else "Unknown"}
    return {"capacity": size, "allocatable": size, "conditions": [ready]}


class Scheduler:
    """Binds pods to nodes."""

    watches = (kinds.PODS,)

    def __init__(self, cluster: InMemoryCluster, nodes: Iterable[Node]) -> None:
        self._objects = cluster.objects
        self.nodes = {node.name: node for node in nodes}
        self._reactions: Reactions[Key] = Reactions(REACTION_SECONDS, self._sync)
        self._waiting: dict[Key, None] = {}
        self._where: dict[str, str] = {}  # pod's uid -> node
        for node in self.nodes.values():
            cluster.make(kinds.NODES, None, node_object(node))

    def changed(self, event: WatchEvent) -> None:
        """A pod appeared, changed or is gone."""
        pod = event.object
        metadata = pod["metadata"]
        key, uid = (metadata["namespace"], metadata["name"]), metadata["uid"]
        done = (pod.get("status") or {}).get("phase") in FINISHED
        if event.type == "DELETED" or done:
            self._waiting.pop(key, None)
            node = self._where.pop(uid, None)
            if node is not None and self.nodes[node].used.pop(uid, None) is not None:
                self.retry()
        elif not pod["spec"].get("nodeName") and "deletionTimestamp" not in metadata and key not in self._waiting:
            self._reactions.add(key)

    def report(self, node: Node) -> None:
        """Write down whether the node is heard of."""
        self._objects.set_status(kinds.NODES, "", node.name, node_status(node))

    def retry(self) -> None:
        """Something became free: look at everybody who waits."""
        for key in self._waiting:
            self._reactions.add(key)

    def _sync(self, key: Key) -> None:
        pod = self._objects.find(kinds.PODS, *key)
        if pod is None or pod["spec"].get("nodeName") or "deletionTimestamp" in pod["metadata"]:
            self._waiting.pop(key, None)
            return
        cores, memory = demand(pod)
        reasons: dict[str, int] = {}
        best: Node | None = None
        unwanted = self._unwanted(pod)
        for node in self.nodes.values():
            why = node.fits(cores, memory) if node.up else "node(s) had untolerated taint"
            if why:
                reasons[why] = reasons.get(why, 0) + 1
            elif best is None or _rank(node, unwanted) < _rank(best, unwanted):
                best = node
        if best is None:
            self._wait(key, pod, reasons)
        else:
            self._bind(key, pod, best, (cores, memory))

    def _unwanted(self, pod: Manifest) -> Mapping[str, int]:
        """Pods by node that this one would rather not meet there (preferred anti-affinity by expressions alone)."""
        against = ((pod["spec"].get("affinity") or {}).get("podAntiAffinity") or {}).get(PREFERRED) or ()
        terms = [term["podAffinityTerm"]["labelSelector"].get("matchExpressions") or () for term in against]
        if not terms:
            return {}
        met = self._objects.names(kinds.PODS, pod["metadata"]["namespace"]).values()
        placed = ((p["spec"].get("nodeName"), p) for p in met)
        return Counter(node for node, other in placed for term in terms if node and _meets(other, term))

    def _wait(self, key: Key, pod: Manifest, reasons: Mapping[str, int]) -> None:
        self._waiting[key] = None
        words = ", ".join(f"{count} {why}" for why, count in sorted(reasons.items()))
        message = f"0/{len(self.nodes)} nodes are available: {words}."
        self._condition(key, pod, {"status": "False", "reason": "Unschedulable", "message": message})

    def _bind(self, key: Key, pod: Manifest, node: Node, used: tuple[float, float]) -> None:
        self._waiting.pop(key, None)
        uid = pod["metadata"]["uid"]
        node.used[uid] = used
        self._where[uid] = node.name
        bound = {**pod, "spec": {**pod["spec"], "nodeName": node.name}}
        self._condition(key, bound, {"status": "True"})

    def _condition(self, key: Key, pod: Manifest, state: Mapping[str, str]) -> None:
        """Write the pod with this PodScheduled condition."""
        status: dict[str, Any] = dict(pod.get("status") or {})
        old: Manifest = next((c for c in status.get("conditions") or () if c["type"] == "PodScheduled"), {})
        if {k: v for k, v in old.items() if k not in ("type", "lastTransitionTime")} == dict(state):
            return
        condition = {"type": "PodScheduled", **state, "lastTransitionTime": self._objects.timestamp(0)}
        others = [c for c in status.get("conditions") or () if c["type"] != "PodScheduled"]
        self._objects.store(kinds.PODS, key[0], {**pod, "status": {**status, "conditions": [*others, condition]}})


def _rank(node: Node, unwanted: Mapping[str, int]) -> tuple[int, int]:
    return unwanted.get(node.name, 0), len(node.used)


def _meets(pod: Manifest, expressions: Iterable[Mapping[str, Any]]) -> bool:
    labels = pod["metadata"].get("labels") or {}
    asked = (Requirement(e["key"], e["operator"], tuple(e.get("values") or ())) for e in expressions)
    return all(each.holds(labels) for each in asked)


def demand(pod: Manifest) -> tuple[float, float]:
    """What its containers request together: cores and bytes."""
    cores = memory = 0.0
    for container in pod["spec"]["containers"]:
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        cores += parse_kubernetes_cores(requests.get("cpu", limits.get("cpu", "0")))
        memory += parse_kubernetes_bytes(requests.get("memory", limits.get("memory", "0")))
    return cores, memory


__all__ = ["Node", "Scheduler", "demand", "make_nodes"]
