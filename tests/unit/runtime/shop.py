"""All that the safety loop sees, in virtual time: arms in a cluster, a ledger, a store of metrics, and what goes wrong.

The ports are faked; between them runs the operator's own code.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.unit.control.builders import experiment, running, spec, trial
from tests.unit.runtime.store import Flow, Store

from trimtab.adapters.clock import LoopClock
from trimtab.api.kube import ANNOTATION_TRIAL_NAME
from trimtab.api.kube_arms import ANNOTATION_DIGEST, ANNOTATION_LIVE, shape_digest
from trimtab.domain import kinds
from trimtab.domain.errors import Conflict, NotFound
from trimtab.domain.measurement import Arm
from trimtab.domain.names import (
    LABEL_ARM,
    LABEL_EXPERIMENT,
    LABEL_EXPERIMENT_UID,
    LABEL_TRIAL,
    arm_name,
    trial_name,
)
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.trial import PhaseTimes, Trial, TrialPhase
from trimtab.ports import ExperimentRecord
from trimtab.runtime.events import EventRecorder
from trimtab.runtime.killswitch import KillSwitches
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.safety import SafetyLoop
from trimtab.runtime.shown import ShownGood
from trimtab.runtime.spending import SpendingAccount
from trimtab.runtime.withdraw import Latch
from trimtab.simulate.cluster import InMemoryCluster, WatchEvent

START = 1_700_000_000.0  # of the clock
NAMESPACE = "shop"
RATE = 100.0  # requests per second of each arm
SERVICE_RATE = 10_000.0
MONTH = 30 * 24 * 3600.0
STEP = 0.1


@dataclass
class Rows:
    """The part of a ledger that the loop uses: rows, written with the version that was read."""

    experiments: dict[str, ExperimentRecord] = field(default_factory=dict)
    trials: dict[str, Trial] = field(default_factory=dict)
    problems: dict[str, Exception] = field(default_factory=dict)  # by name of the Trial or Experiment
    version: int = 1
    writes: int = 0

    async def experiment(self, namespace: str, name: str) -> ExperimentRecord:
        return self._found(self.experiments if namespace == NAMESPACE else {}, name)

    async def trial(self, namespace: str, name: str) -> Trial:
        return self._found(self.trials if namespace == NAMESPACE else {}, name)

    async def write_trial(self, new: Trial) -> Trial:
        if self._found(self.trials, new.name).resource_version != new.resource_version:
            raise Conflict(409, "the object has been modified")
        self.writes += 1
        return self.store(new)

    def store(self, new: Trial) -> Trial:
        """As somebody else's write."""
        self.version += 1
        self.trials[new.name] = replace(new, resource_version=str(self.version))
        return self.trials[new.name]

    def _found(self, rows: dict[str, Any], name: str) -> Any:
        if name in self.problems:
            raise self.problems[name]
        if name not in rows:
            raise NotFound(404, f"{name} not found")
        return rows[name]


class Shop:
    """Trials of Experiments, one each, with arms that serve; `loop` is the safety loop over them."""

    def __init__(self, *, scrape: float = 1.0, namespaces: Sequence[str] = (NAMESPACE,)) -> None:
        self.clock, self.namespaces = LoopClock(START), namespaces
        self.cluster = InMemoryCluster(self.clock, namespaces=namespaces)
        self.rows, self.metrics, self.latch = Rows(), Metrics(), Latch()
        self.events = EventRecorder(self.cluster, self.clock, instance="test")
        self.store = Store(self.clock, scrape)
        self.store.flows["web"] = Flow(SERVICE_RATE, START - MONTH)
        self.leads: Callable[[], None] = lambda: None
        self.withdrawn: list[str] = []
        self.shown = ShownGood()
        self.stuck_endpoints: set[str] = set()
        self.loop = self.new_loop()

    def new_loop(self) -> SafetyLoop:
        """Another life of the operator."""
        return SafetyLoop(
            cluster=self.cluster,
            ledger=self.rows,  # type: ignore[arg-type]
            telemetry=self.store,
            spending=SpendingAccount(self.cluster),
            switches=KillSwitches(self.cluster, None),
            clock=self.clock,
            latch=self.latch,
            events=self.events,
            metrics=self.metrics,
            check=lambda: self.leads(),
            namespaces=self.namespaces,
            on_withdrawn=lambda _, name: self.withdrawn.append(name),
            shown=self.shown,
        )

    async def begin(
        self,
        name: str = "web",
        phase: TrialPhase = TrialPhase.MEASURING,
        about: ExperimentSpec | None = None,
        state: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Trial:
        """A live trial whose arms serve from now on; `state` is what the Experiment's status holds beside."""
        number = len(self.rows.experiments)
        stored = running(scrape_interval=self.store.scrape, requests_per_second=22 * RATE, **(state or {}))
        record = replace(
            experiment(stored, spec=about or spec()),
            name=name,
            uid=f"{number:08x}-0b0a-4908-8706-050403020100",
        )
        now = self.clock.now()
        times = PhaseTimes(created=now - 3, deploying=now - 2)
        if phase in {TrialPhase.WARMING_UP, TrialPhase.MEASURING}:
            times = replace(times, warming_up=now)
        if phase is TrialPhase.MEASURING:
            times = replace(times, measuring=now)
        made = replace(
            trial(phase, times=times, deadline=now + 3600.0, window=None, uid=f"trial-of-{name}"),
            name=trial_name(name, record.uid, 0),
            experiment_name=name,
            experiment_uid=record.uid,
            **changes,
        )
        self.rows.experiments[name] = record
        made = self.rows.store(made)
        for arm in (Arm.CANARY, Arm.CONTROL):
            await self._arm(made, arm)
        return made

    async def _arm(self, of: Trial, arm: Arm) -> None:
        name = arm_name(of.experiment_uid, of.index, arm)
        labels = {
            LABEL_ARM: arm.value,
            LABEL_EXPERIMENT: of.experiment_name,
            LABEL_EXPERIMENT_UID: of.experiment_uid,
            LABEL_TRIAL: of.uid,
        }
        layers = ((kinds.DEPLOYMENTS, name), (kinds.REPLICA_SETS, f"{name}-5d4"), (kinds.PODS, f"{name}-5d4-abcde"))
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}
        body = {"replicas": 1, "selector": {"matchLabels": {LABEL_TRIAL: of.uid}}, "template": template}
        shape = shape_digest({"spec": body})
        annotations = {ANNOTATION_TRIAL_NAME: of.name, ANNOTATION_DIGEST: "plan", ANNOTATION_LIVE: shape}
        for kind, named in layers:
            metadata = {"name": named, "labels": labels, "annotations": annotations}
            running = {**template["spec"], "nodeName": "node-1", "terminationGracePeriodSeconds": 10}
            inner = running if kind is kinds.PODS else body
            await self.cluster.create(kind, NAMESPACE, {"metadata": metadata, "spec": inner})
        await self.pod_status(of, arm)
        endpoint = {"conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": f"{name}-5d4-abcde"}}
        await self.cluster.create(
            kinds.ENDPOINT_SLICES, NAMESPACE, {"metadata": {"name": name}, "endpoints": [endpoint]}
        )
        self.store.flows[name] = Flow(RATE, self.clock.now())

    async def pod_status(self, of: Trial, arm: Arm, *, ready: bool = True, **container: Any) -> None:
        """What the kubelet reports of an arm's pod."""
        name = f"{arm_name(of.experiment_uid, of.index, arm)}-5d4-abcde"
        pod = await self.cluster.get(kinds.PODS, NAMESPACE, name)
        status = {"name": "web", "ready": ready, "restartCount": 0, "state": {"running": {}}, **container}
        condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": "2023-11-14T22:13:20Z"}
        body = {**pod, "status": {"phase": "Running", "conditions": [condition], "containerStatuses": [status]}}
        await self.cluster.replace(kinds.PODS, NAMESPACE, name, body, subresource="status")

    def flow(self, of: Trial, arm: Arm = Arm.CANARY) -> Flow:
        """The requests of an arm."""
        return self.store.flows[arm_name(of.experiment_uid, of.index, arm)]

    def stored(self, of: Trial) -> Trial:
        """The Trial as the ledger has it now."""
        return self.rows.trials[of.name]

    async def serves(self, of: Trial) -> bool:
        """Whether an endpoint of the trial is ready."""
        slices = await self.cluster.list(kinds.ENDPOINT_SLICES, NAMESPACE)
        prefix = arm_name(of.experiment_uid, of.index, Arm.CANARY)[:-1]
        return any(s["metadata"]["name"].startswith(prefix) and s["endpoints"] for s in slices)

    async def play(self) -> None:
        """The kubelet and the endpoints controller: pods that are deleted serve no more, and end."""
        changes: asyncio.Queue[str] = asyncio.Queue()

        def note(event: WatchEvent) -> None:
            metadata = event.object["metadata"]
            leaves = event.type == "DELETED" or metadata.get("deletionTimestamp")
            if event.kind is kinds.PODS and metadata["namespace"] == NAMESPACE and leaves:
                changes.put_nowait(metadata["name"])

        unsubscribe = self.cluster.subscribe(note)
        try:
            while True:
                await self._end_pod(await changes.get())
        finally:
            unsubscribe()

    async def _end_pod(self, pod: str) -> None:
        await self.clock.sleep(STEP)
        workload = pod.removesuffix("-5d4-abcde")
        if workload not in self.stuck_endpoints:
            self.store.flows[workload].died = min(self.store.flows[workload].died, self.clock.now())
            item = await self.cluster.get(kinds.ENDPOINT_SLICES, NAMESPACE, workload)
            await self.cluster.replace(kinds.ENDPOINT_SLICES, NAMESPACE, workload, {**item, "endpoints": []})
        with contextlib.suppress(NotFound):
            await self.cluster.delete(kinds.PODS, NAMESPACE, pod, grace_seconds=0)

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[asyncio.Task[None]]:
        """The loop runs, and the kubelet."""
        tasks = [asyncio.create_task(self.loop.run()), asyncio.create_task(self.play())]
        try:
            yield tasks[0]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def until(self, holds: Callable[[], bool], within: float) -> float:
        """Wait until it holds; returns after how many seconds.

        Raises:
            AssertionError: it did not in time.
        """
        begun = self.clock.monotonic()
        while not holds():
            assert self.clock.monotonic() - begun <= within, f"not within {within} s"
            await self.clock.sleep(STEP)
        return self.clock.monotonic() - begun

    async def ended(self, of: Trial, within: float) -> float:
        """Wait until the trial's withdrawal is on record; returns after how many seconds."""
        return await self.until(lambda: self.stored(of).phase is TrialPhase.DRAINING, within)


__all__ = ["NAMESPACE", "RATE", "START", "Rows", "Shop"]
