"""The kubelets of all nodes: pods start, become ready, crash, are killed, evicted, and shut down, each at its moment.

Nothing is looked at in between: each pod has one timer for the next moment at which something may change.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from trimtab.domain import kinds
from trimtab.domain.kube import Manifest
from trimtab.ports import Clock
from trimtab.simulate.cluster import InMemoryCluster, WatchEvent
from trimtab.simulate.controllers.scheduler import Node, Scheduler
from trimtab.simulate.meter import PodFacts, PodMeter
from trimtab.simulate.objects import FINISHED
from trimtab.simulate.traffic import Traffic
from trimtab.workload import Resources, WorkloadSpec, noise, startup_seconds
from trimtab.workload.faults import FaultKind
from trimtab.workload.lifecycle import (
    CREATE_SECONDS,
    Acting,
    ContainerLife,
    Phase,
    advance,
    born,
    evicted,
    killed,
)
from trimtab.workload.podspec import resources_of, speed_of, workload_of
from trimtab.workload.podstatus import pod_ip, status_patch

SHUTDOWN_SECONDS = 0.5
NOT_READY_SECONDS = 40.0  # after which a lost node's pods count as not ready
EVICTION_SECONDS = 300.0  # after which they are deleted
LEAST_HAZARD = 1e-12
HAZARD_SECONDS = (60.0, 3600.0)  # how often the chance of an OOM kill is reckoned anew: when there is one, and when not


@dataclass
class Run:
    """A pod on a node."""

    pod: Manifest
    life: ContainerLife
    workload: WorkloadSpec | None
    main: str
    resources: Resources
    speed: float
    meter: PodMeter | None
    patience: float
    """What is left of the random life until the next OOM kill, in units of hazard times seconds."""
    rng: np.random.Generator = field(repr=False)
    timer: asyncio.TimerHandle | None = None
    written: ContainerLife | None = None
    terminate_at: float | None = None
    looked_at: float = 0.0
    hazard: float = 0.0

    @property
    def uid(self) -> str:
        """uid of the pod."""
        return str(self.pod["metadata"]["uid"])

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the pod."""
        return self.pod["metadata"].get("labels") or {}


class Kubelet:
    """Plays the pods of `workloads` and lets all others simply run. `seed` makes lives and counts."""

    watches = (kinds.PODS,)

    def __init__(
        self,
        cluster: InMemoryCluster,
        scheduler: Scheduler,
        traffic: Traffic,
        clock: Clock,
        workloads: Iterable[WorkloadSpec],
        *,
        seed: int,
    ) -> None:
        self._objects, self._scheduler, self._traffic, self._clock = cluster.objects, scheduler, traffic, clock
        self._workloads, self._seed = tuple(workloads), seed
        self._loop = asyncio.get_running_loop()
        self.runs: dict[str, Run] = {}
        self._addresses: set[str] = set()

    def changed(self, event: WatchEvent) -> None:
        """A pod appeared, changed or is gone."""
        pod = event.object
        uid = pod["metadata"]["uid"]
        run = self.runs.get(uid)
        if event.type == "DELETED":
            if run is not None:
                self._forget(run)
            return
        if not pod["spec"].get("nodeName"):
            return
        if run is None:
            if (pod.get("status") or {}).get("phase") in FINISHED:
                return
            run = self.runs[uid] = self._adopt(pod)
            self._soon(run)
        run.pod = pod
        if "deletionTimestamp" in pod["metadata"] and run.terminate_at is None:
            run.terminate_at = self._clock.now() + _shutdown_seconds(run)
            self._soon(run)

    def look(self) -> None:
        """Faults were set or ended: look at every pod."""
        for run in tuple(self.runs.values()):
            self._soon(run)

    def lose(self, node: Node) -> None:
        """The node is gone from one moment to the next: nobody plays its pods any more."""
        node.up = False
        for run in self._on(node):
            if run.timer is not None:
                run.timer.cancel()
            if run.meter is not None and run.meter.running:
                run.meter.stopped(self._clock.now())
        self._loop.call_later(NOT_READY_SECONDS, self._unreachable, node)
        self._loop.call_later(EVICTION_SECONDS, self._taken, node)

    def restore(self, node: Node) -> None:
        """The node is back; its containers have to start again."""
        node.up = True
        self._scheduler.report(node)
        for run in self._on(node):
            run.life = killed(run.life, "Error", 255, self._clock.now())
            self._soon(run)
        self._scheduler.retry()

    def remove(self, node: Node) -> None:
        """The node's object is deleted: its pods are collected."""
        self._objects.begin_delete(kinds.NODES, "", node.name, 0)
        for run in self._on(node):
            self._disrupt(run, "DeletionByPodGC")
            self._objects.begin_delete(kinds.PODS, *self._key(run), 0)

    def _on(self, node: Node) -> list[Run]:
        return [run for run in self.runs.values() if run.pod["spec"]["nodeName"] == node.name]

    def _unreachable(self, node: Node) -> None:
        """The node controller: what it cannot hear of is not ready."""
        self._scheduler.report(node)
        for run in () if node.up else self._on(node):
            run.life = _unready(run.life, self._clock.now())
            self._write(run)

    def _taken(self, node: Node) -> None:
        """The taint manager: pods of an unreachable node are deleted, and stay until the node is."""
        for run in () if node.up else self._on(node):
            self._disrupt(run, "DeletionByTaintManager")
            self._objects.begin_delete(kinds.PODS, *self._key(run), None)

    def _disrupt(self, run: Run, reason: str) -> None:
        pod = self._objects.need(kinds.PODS, *self._key(run))
        condition = {"type": "DisruptionTarget", "status": "True", "reason": reason}
        status = dict(pod.get("status") or {})
        others = [c for c in status.get("conditions") or () if c["type"] != "DisruptionTarget"]
        self._objects.set_status(kinds.PODS, *self._key(run), status | {"conditions": [*others, condition]})

    @staticmethod
    def _key(run: Run) -> tuple[str, str]:
        return run.pod["metadata"]["namespace"], run.pod["metadata"]["name"]

    def _adopt(self, pod: Manifest) -> Run:
        metadata = pod["metadata"]
        workload = workload_of(pod, self._workloads)
        main = workload.target.container if workload is not None else str(pod["spec"]["containers"][0]["name"])
        uid, node = metadata["uid"], pod["spec"]["nodeName"]
        ip = pod_ip(uid, self._addresses)
        self._addresses.add(ip)
        resources = resources_of(pod, main)
        speed = speed_of(workload, node, metadata["name"], self._seed) if workload is not None else 1.0
        meter = None
        if workload is not None and (metadata["namespace"], workload.target.service) in self._traffic.shares:
            meter = self._traffic.add(self._facts(pod, main, workload, resources, speed))
        rng = np.random.default_rng(int(noise.uniform(self._seed, f"life {uid}", 0)[0] * 2**53))
        life = born(self._clock.now(), ip, CREATE_SECONDS)
        return Run(pod, life, workload, main, resources, speed, meter, float(rng.exponential()), rng)

    def _facts(self, pod: Manifest, main: str, workload: WorkloadSpec, resources: Resources, speed: float) -> PodFacts:
        metadata, traffic = pod["metadata"], self._traffic
        namespace, name = metadata["namespace"], metadata["name"]
        labels = dict(metadata.get("labels") or {})
        offset = traffic.offset(namespace, name)
        return PodFacts(
            namespace, name, metadata["uid"], labels, main, workload, resources, speed, traffic.interval, offset
        )

    def _forget(self, run: Run) -> None:
        del self.runs[run.uid]
        self._addresses.discard(run.life.ip)
        if run.timer is not None:
            run.timer.cancel()
        if run.meter is not None:
            self._traffic.remove(run.meter)

    def _soon(self, run: Run) -> None:
        self._at(run, self._clock.now())

    def _at(self, run: Run, when: float) -> None:
        """Look at this pod at that time and not at any other that was planned."""
        if run.timer is not None:
            run.timer.cancel()
        run.timer = self._loop.call_later(max(0.0, when - self._clock.now()), self._step, run)

    def _step(self, run: Run) -> None:
        run.timer = None
        if run.uid not in self.runs or not self._scheduler.nodes[run.pod["spec"]["nodeName"]].up:
            return
        now = self._clock.now()
        if run.terminate_at is not None:
            if now >= run.terminate_at - 1e-6:
                self._objects.begin_delete(kinds.PODS, *self._key(run), 0)
            else:
                self._at(run, run.terminate_at)
            return
        self._advance(run, now)
        if run.life != run.written:
            self._write(run)
        if run.life.phase is not Phase.EVICTED and run.uid in self.runs:
            self._plan(run, now)

    def _advance(self, run: Run, now: float) -> None:
        namespace, board = run.pod["metadata"]["namespace"], self._traffic.faults
        before = run.life
        if run.life.phase is Phase.RUNNING:
            self._age(run, now)
            since = run.life.adopted
            strikes = partial(board.strikes, uid=run.uid, labels=run.labels, since=since, now=now, namespace=namespace)
            if run.patience <= 0.0 or strikes(FaultKind.OOM):
                run.patience = float(run.rng.exponential())
                run.life = killed(run.life, "OOMKilled", 137, now)
            if strikes(FaultKind.EVICT):
                run.life = evicted(run.life, now)
        life = advance(run.life, self._acting(run, now), self._startup(run), now + 1e-6)
        while life is not run.life:  # a start may be followed by readiness at the same moment
            run.life, life = life, advance(life, self._acting(run, now), self._startup(run), now + 1e-6)
        self._tell_meter(run, before, now)

    def _acting(self, run: Run, now: float) -> Acting:
        board, namespace = self._traffic.faults, run.pod["metadata"]["namespace"]
        if not board.all:
            return Acting()
        return Acting(
            crash_loop=board.acting(FaultKind.CRASH_LOOP, run.labels, now, namespace),
            not_ready=board.acting(FaultKind.NOT_READY, run.labels, now, namespace),
            image_pull=board.acting(FaultKind.IMAGE_PULL, run.labels, now, namespace),
        )

    def _startup(self, run: Run) -> float:
        return startup_seconds(run.workload, run.resources, run.speed) if run.workload is not None else 0.0

    def _tell_meter(self, run: Run, before: ContainerLife, now: float) -> None:
        meter, life = run.meter, run.life
        if meter is None or life is before:
            return
        if before.phase is Phase.RUNNING and (life.phase is not Phase.RUNNING or life.restarts != before.restarts):
            meter.stopped(now, oom=life.last is not None and life.last.reason == "OOMKilled")
        if life.phase is Phase.RUNNING and not meter.running:
            meter.started(now)
        if life.ready != before.ready and meter.running:
            meter.ready(now, life.ready)

    def _age(self, run: Run, now: float) -> None:
        """Use up the patience until now, and reckon the hazard from now on."""
        if run.meter is None:
            return
        run.patience -= run.hazard * (now - run.looked_at)
        behaviour = run.meter.behaviour(now)
        run.hazard = behaviour.oom_per_s if behaviour is not None else 0.0
        run.looked_at = now

    def _plan(self, run: Run, now: float) -> None:
        """The next moment at which something may change."""
        life = run.life
        moments: list[float] = [t for t in self._traffic.faults.edges if t > now]
        if life.phase in (Phase.CREATING, Phase.TERMINATED, Phase.BACK_OFF):
            moments.append(life.until)
        elif life.phase is Phase.RUNNING:
            ready_at = life.running_since + self._startup(run)
            if not life.ready and ready_at > now:
                moments.append(ready_at)
            if run.meter is not None:
                self._age(run, now)
                risky = run.hazard > LEAST_HAZARD
                left = run.patience / run.hazard if risky else math.inf
                moments.append(now + min(max(left, 1e-3), HAZARD_SECONDS[0 if risky else 1]))
        if moments:
            self._at(run, min(moments))

    def _write(self, run: Run) -> None:
        pod = self._objects.find(kinds.PODS, *self._key(run))
        if pod is None or pod["metadata"]["uid"] != run.uid:
            return
        status: dict[str, Any] = status_patch(pod, run.life, run.main)["status"]
        run.written = run.life
        self._objects.set_status(kinds.PODS, *self._key(run), {**(pod.get("status") or {}), **status})


def _unready(life: ContainerLife, now: float) -> ContainerLife:
    return replace(life, ready=False, ready_since=now) if life.ready else life


def _shutdown_seconds(run: Run) -> float:
    wished = run.workload.startup.shutdown if run.workload is not None else SHUTDOWN_SECONDS
    grace = run.pod["metadata"].get("deletionGracePeriodSeconds")
    return wished if grace is None else min(wished, float(grace))


__all__ = ["Kubelet", "Run"]
