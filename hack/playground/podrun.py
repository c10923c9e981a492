"""One pod that this program plays: its object, its container's life, its resources and its counters."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from trimtab.workload import UNLIMITED, Conditions, PodBehaviour, Resources, WorkloadSpec, noise
from trimtab.workload.units import GIB, parse_kubernetes_bytes, parse_kubernetes_cores

from .counters import PodCounters
from .kube import Key, Obj, key_of
from .lifecycle import ContainerLife, Phase, Termination, born

NODE_MEMORY = 64 * GIB
_LEAST_CORES = 0.01


@dataclass(slots=True)
class PodRun:
    """A pod bound to a node. `workload` is None for a pod of no workload: it runs and serves nothing."""

    pod: Obj
    life: ContainerLife
    workload: WorkloadSpec | None
    main: str
    resources: Resources
    speed: float
    """Factor on CPU time by the node and the pod."""
    rng: np.random.Generator
    counters: PodCounters
    load_rps: float = 0.0
    conditions: Conditions = field(default_factory=Conditions)
    behaviour: PodBehaviour | None = None
    terminate_at: float | None = None
    written: ContainerLife | None = None
    """The life that the API server's status shows; None: not written yet."""
    busy: bool = False
    """A request about this pod is under way."""
    retry_at: float = 0.0

    @property
    def key(self) -> Key:
        """(namespace, name)"""
        return key_of(self.pod)

    @property
    def uid(self) -> str:
        """uid of the pod."""
        return str(self.pod["metadata"]["uid"])

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the pod."""
        return self.pod["metadata"].get("labels") or {}

    @property
    def running(self) -> bool:
        """Whether the main container runs."""
        return self.life.phase is Phase.RUNNING

    def refresh(self, pod: Obj) -> None:
        """Take a newer version of the object: its resources may have been resized."""
        self.pod = pod
        self.resources = resources_of(pod, self.main)


def resources_of(pod: Obj, container: str) -> Resources:
    """REAL resources of a container; a missing limit means none, a missing request what the API server assumes."""
    spec = next(c for c in pod["spec"]["containers"] if c["name"] == container)
    requests = spec.get("resources", {}).get("requests") or {}
    limits = spec.get("resources", {}).get("limits") or {}
    cpu_limit = parse_kubernetes_cores(limits["cpu"]) if "cpu" in limits else UNLIMITED
    memory_limit = parse_kubernetes_bytes(limits["memory"]) if "memory" in limits else NODE_MEMORY
    cpu_request = parse_kubernetes_cores(requests["cpu"]) if "cpu" in requests else 0.0
    if "cpu" not in requests and math.isfinite(cpu_limit):
        cpu_request = cpu_limit
    memory_request = parse_kubernetes_bytes(requests["memory"]) if "memory" in requests else 0.0
    return Resources(max(cpu_request, _LEAST_CORES), cpu_limit, memory_request, memory_limit)


def workload_of(pod: Obj, workloads: tuple[WorkloadSpec, ...]) -> WorkloadSpec | None:
    """The workload whose selector matches the pod's labels and whose container the pod has."""
    labels = pod["metadata"].get("labels") or {}
    names = {c["name"] for c in pod["spec"]["containers"]}
    for workload in workloads:
        target = workload.target
        if target.container in names and all(labels.get(k) == v for k, v in target.selector.items()):
            return workload
    return None


def adopt(pod: Obj, workloads: tuple[WorkloadSpec, ...], ip: str, now: float, create_s: float, seed: int) -> PodRun:
    """Start to play a pod: from its beginning, or from where its status says that it is."""
    workload = workload_of(pod, workloads)
    main = workload.target.container if workload is not None else str(pod["spec"]["containers"][0]["name"])
    uid, node = str(pod["metadata"]["uid"]), str(pod["spec"]["nodeName"])
    speed = 1.0
    if workload is not None:
        speed = noise.factor(seed, f"node {node}", workload.noise.node_percent)
        speed *= noise.factor(seed, f"pod {pod['metadata']['name']}", workload.noise.pod_percent)
    bits = int(noise.uniform(seed, f"draws {uid}", 0)[0] * 2**53)
    return PodRun(
        pod=pod,
        life=_life(pod, ip, now, create_s),
        workload=workload,
        main=main,
        resources=resources_of(pod, main),
        speed=speed,
        rng=np.random.default_rng(bits),
        counters=PodCounters.empty(len(workload.buckets) if workload is not None else 1),
    )


def _life(pod: Obj, ip: str, now: float, create_s: float) -> ContainerLife:
    status = pod.get("status", {})
    if status.get("phase") != "Running" or not status.get("podIP"):
        return born(now, ip, create_s)
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))
    main = max(status.get("containerStatuses") or [{}], key=lambda c: c.get("restartCount", 0))
    ended = (main.get("lastState") or {}).get("terminated")
    return ContainerLife(
        adopted=now,
        ip=str(status["podIP"]),
        phase=Phase.RUNNING,
        running_since=now,
        ready=ready,
        ready_since=now,
        restarts=int(main.get("restartCount", 0)),
        crashes=1 if ended else 0,
        last=Termination(str(ended["reason"]), int(ended["exitCode"]), now, now) if ended else None,
    )
