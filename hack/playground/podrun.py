"""One pod that this program plays: its object, its container's life, its resources and its counters."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from trimtab.workload import Conditions, PodBehaviour, Resources, WorkloadSpec, noise
from trimtab.workload.counters import PodCounters
from trimtab.workload.lifecycle import ContainerLife, Phase, Termination, born
from trimtab.workload.podspec import resources_of, speed_of, workload_of

from .kube import Key, Obj, key_of


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


def adopt(pod: Obj, workloads: tuple[WorkloadSpec, ...], ip: str, now: float, create_s: float, seed: int) -> PodRun:
    """Start to play a pod: from its beginning, or from where its status says that it is."""
    workload = workload_of(pod, workloads)
    main = workload.target.container if workload is not None else str(pod["spec"]["containers"][0]["name"])
    uid, node = str(pod["metadata"]["uid"]), str(pod["spec"]["nodeName"])
    speed = speed_of(workload, node, pod["metadata"]["name"], seed) if workload is not None else 1.0
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
