"""A small world in virtual time: one service, a kubelet that makes arms ready, and the operator's own parts.

Everything between the ports is the operator's real code; only Cluster and Telemetry are played, and the optimizer runs
inline. An operator that crashes raises `Crash` at a named effect; what it had stored is all that its successor has.
"""

# ruff: noqa: ARG002 - stubs have the signatures of their ports

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from benchmarks.operator.live import ARM, ENDED, FINALIZER, experiment
from benchmarks.operator.witness import WATCHED, Change

from stack.paths import EXAMPLES
from trimtab.adapters.clock import LoopClock
from trimtab.adapters.executor import InlineDesigner
from trimtab.adapters.ledger import KubernetesLedger
from trimtab.domain import kinds
from trimtab.domain.kube import Manifest
from trimtab.domain.measurement import Reading, Sample, Window
from trimtab.domain.spec import Sli
from trimtab.ports import PodSet, SliProbe, SliRequest
from trimtab.runtime.act import Actor
from trimtab.runtime.answer import Answerer
from trimtab.runtime.effects import EffectfulCluster
from trimtab.runtime.events import EventRecorder
from trimtab.runtime.killswitch import KillSwitches
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.observe import Observer
from trimtab.runtime.reconcile import Reconciler
from trimtab.runtime.spending import SpendingAccount
from trimtab.runtime.targetlock import TargetLocks
from trimtab.runtime.withdraw import Latch, Withdrawer
from trimtab.simulate.cluster import InMemoryCluster, WatchEvent

NAMESPACE, NAME, TARGET, SERVICE = "shop", "tune", "web", "web"
REPLICAS = 4
READY_AFTER = 1.0
TICK = 0.25
OWNED = frozenset(plural for _, plural, _ in WATCHED)


class Crash(BaseException):
    """The operator's process ends here; nothing may catch it."""


class CrashAt:
    """A fail point: note every point, raise at the nth occurrence of one."""

    def __init__(self, point: str = "", nth: int = 0) -> None:
        self._point, self._nth = point, nth
        self.seen: list[tuple[str, int]] = []
        self._counts: Counter[str] = Counter()

    async def __call__(self, point: str) -> None:
        self._counts[point] += 1
        self.seen.append((point, self._counts[point]))
        if (point, self._counts[point]) == (self._point, self._nth):
            raise Crash(f"{point}:{self._nth}")


class SteadyTelemetry:
    """A healthy service: 1 % slow, 0.01 % errors, on every pod, always."""

    async def read(self, requests: Sequence[SliRequest], *, timeout: float) -> tuple[Reading, ...]:
        return tuple(_sample(r.sli, 1000.0 * r.window.seconds) for r in requests)

    async def totals(self, sli: Sli, pods: PodSet, window: Window, *, timeout: float) -> Reading:
        return _sample(sli, 1000.0 * window.seconds)

    async def load(self, sli: Sli, pods: PodSet, window: Window, *, timeout: float) -> Reading:
        return Sample(1000.0, 1.0, 1000.0 * window.seconds)

    async def probe(self, sli: Sli, pods: PodSet, now: float, history: float, *, timeout: float) -> SliProbe:
        ratio = _sample(sli, 1.0).value
        return SliProbe(sli.name, scrape_interval=1.0, requests_per_second=6000.0, bad_ratio=ratio, history=history)


def _sample(sli: Sli, total: float) -> Sample:
    ratio = 0.01 if sli.name == "slow" else 0.0001
    return Sample(ratio, (ratio / total) ** 0.5, total, ratio * total)


class Kubelet:
    """Deployment controller, scheduler, kubelet and endpoints controller in one loop: arms become ready, and go."""

    def __init__(self, cluster: InMemoryCluster, clock: LoopClock) -> None:
        self._cluster, self._clock = cluster, clock
        self._born: dict[str, float] = {}

    async def run(self) -> None:
        while True:
            await self.once()
            await self._clock.sleep(TICK)

    async def once(self) -> None:
        for deployment in await self._cluster.list(kinds.DEPLOYMENTS, NAMESPACE, labels=ARM):
            name, labels = deployment["metadata"]["name"], deployment["spec"]["template"]["metadata"]["labels"]
            labels = {**labels, "pod-template-hash": "5d4"}
            rs = await self._ensure(kinds.REPLICA_SETS, f"{name}-5d4", labels, deployment, {})
            await self._ensure(kinds.PODS, f"{name}-5d4-abcde", labels, rs, deployment["spec"]["template"]["spec"])
        ready = [await self._play(pod) for pod in await self._cluster.list(kinds.PODS, NAMESPACE)]
        await self._serve([name for name in ready if name])

    async def _ensure(self, kind: kinds.Kind, name: str, labels: dict, owner: Manifest, spec: dict) -> Manifest:
        for found in await self._cluster.list(kind, NAMESPACE, labels=ARM):
            if found["metadata"]["name"] == name:
                return found
        reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "uid": owner["metadata"]["uid"]}
        reference |= {"name": owner["metadata"]["name"], "controller": True}
        metadata = {"name": name, "labels": labels, "ownerReferences": [reference]}
        return await self._cluster.create(kind, NAMESPACE, {"metadata": metadata, "spec": spec})

    async def _play(self, pod: Manifest) -> str:
        """The pod's name when it is ready, else ""."""
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        if pod["metadata"].get("deletionTimestamp"):
            await self._cluster.delete(kinds.PODS, NAMESPACE, name, grace_seconds=0)
            return ""
        now = self._clock.now()
        if now < self._born.setdefault(uid, now) + READY_AFTER:
            return ""
        if (pod.get("status") or {}).get("phase") != "Running":
            states = [{"name": c["name"], "ready": True, "restartCount": 0} for c in pod["spec"]["containers"]]
            condition = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            status = {"phase": "Running", "conditions": [condition], "containerStatuses": states}
            await self._cluster.replace(kinds.PODS, NAMESPACE, name, {**pod, "status": status}, subresource="status")
        return name

    async def _serve(self, arms: list[str]) -> None:
        slice_ = await self._cluster.get(kinds.ENDPOINT_SLICES, NAMESPACE, f"{SERVICE}-1")
        names = [f"{TARGET}-7f9-{i}" for i in range(REPLICAS)] + arms
        endpoints = [{"conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": n}} for n in names]
        if slice_["endpoints"] != endpoints:
            body = {**slice_, "endpoints": endpoints}
            await self._cluster.replace(kinds.ENDPOINT_SLICES, NAMESPACE, f"{SERVICE}-1", body)


@dataclass
class World:
    """The cluster with the service in it, and everything that happened there."""

    clock: LoopClock
    cluster: InMemoryCluster
    changes: list[Change] = field(default_factory=list)

    def record(self, event: WatchEvent) -> None:
        """Keep a change of what Trimtab owns, as a watch would show it."""
        plural, metadata = event.kind.plural, event.object["metadata"]
        mine = ARM in (metadata.get("labels") or {}) or plural in {"experiments", "trials"}
        if plural in OWNED and mine:
            version = int(metadata["resourceVersion"])
            self.changes.append(Change(self.clock.now(), version, event.type, plural, dict(event.object)))

    async def ended(self) -> bool:
        """The Experiment has ended and nothing is left to undo or to unlock."""
        found = await self.cluster.get(kinds.EXPERIMENTS, NAMESPACE, NAME)
        locks = await self.cluster.list(kinds.LEASES, NAMESPACE)
        held = FINALIZER in found["metadata"].get("finalizers", []) or any(k["spec"]["holderIdentity"] for k in locks)
        return (found.get("status") or {}).get("phase") in ENDED and not held


async def made(**sections: dict[str, Any]) -> World:
    """A world with a healthy target and a new Experiment."""
    clock = LoopClock()
    world = World(clock, InMemoryCluster(clock, seed=1, namespaces=(NAMESPACE,)))
    for document in yaml.safe_load_all((EXAMPLES / "web-service" / "deployment.yaml").read_text()):
        kind = kinds.DEPLOYMENTS if document["kind"] == "Deployment" else kinds.SERVICES
        if kind is kinds.DEPLOYMENTS:
            document["spec"]["replicas"] = REPLICAS
        stored = await world.cluster.create(kind, NAMESPACE, document)
        if kind is kinds.DEPLOYMENTS:
            counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), REPLICAS)
            body = {**stored, "status": {**counts, "observedGeneration": 1}}
            await world.cluster.replace(kind, NAMESPACE, TARGET, body, subresource="status")
    metadata = {"name": f"{SERVICE}-1", "labels": {"kubernetes.io/service-name": SERVICE}}
    await world.cluster.create(kinds.ENDPOINT_SLICES, NAMESPACE, {"metadata": metadata, "endpoints": []})
    await Kubelet(world.cluster, clock).once()
    world.cluster.subscribe(world.record)
    await world.cluster.create(kinds.EXPERIMENTS, NAMESPACE, experiment(NAME, NAMESPACE, **sections))
    return world


def operator(world: World, fail_point: Callable[[str], Awaitable[None]], identity: str) -> Reconciler:
    """The operator's parts as `runtime.main` wires them, over this world."""
    cluster, clock, metrics = EffectfulCluster(world.cluster, fail_point), world.clock, Metrics()
    ledger, locks, spending = KubernetesLedger(cluster, clock), TargetLocks(cluster, clock), SpendingAccount(cluster)
    events = EventRecorder(cluster, clock, instance=identity)
    latch = Latch()
    observer = Observer(cluster, ledger, clock, locks, identity, KillSwitches(cluster, None), latch)
    answerer = Answerer(SteadyTelemetry(), InlineDesigner(), spending, clock)
    withdrawer = Withdrawer(cluster, clock)
    actor = Actor(cluster, ledger, clock, locks, withdrawer, latch, spending, events, metrics, lambda: None)
    return Reconciler(ledger, observer, answerer, actor, clock, metrics)


async def live(world: World, fail_point: CrashAt, identity: str = "first") -> None:
    """One life of an operator, until the Experiment has ended.

    Raises:
        Crash: at its fail point.
    """
    reconciler = operator(world, fail_point, identity)
    deadline = world.clock.monotonic() + 600.0
    while not await world.ended():
        assert world.clock.monotonic() < deadline, "no end within ten minutes"
        after = await reconciler.reconcile(NAMESPACE, NAME)
        await world.clock.sleep(TICK if after is None else min(max(after, 0.01), 1.0))
