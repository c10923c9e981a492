"""The operator's parts and how they are wired, once: for a real cluster as for a simulated one.

What touches the world comes in as `Ports`; nothing here knows kopf, HTTP, processes or signals.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from trimtab.adapters.ledger import KubernetesLedger, Parsed
from trimtab.domain.errors import ApiError
from trimtab.ports import Clock, Cluster, Designer, Telemetry
from trimtab.runtime.act import Actor
from trimtab.runtime.answer import Answerer
from trimtab.runtime.budgets import KnownSums
from trimtab.runtime.earlier import Earlier
from trimtab.runtime.events import EventRecorder
from trimtab.runtime.fence import FencedLedger
from trimtab.runtime.killswitch import KillSwitches, OwnDeployment
from trimtab.runtime.lease import Elector, Heartbeat, LeaseTiming
from trimtab.runtime.lived import Lived
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.observe import Observer
from trimtab.runtime.reconcile import Reconciler
from trimtab.runtime.resync import Resync, WatchState
from trimtab.runtime.safety import SafetyLoop
from trimtab.runtime.settings import Settings
from trimtab.runtime.shown import ShownGood
from trimtab.runtime.spending import SpendingAccount
from trimtab.runtime.strays import Strays
from trimtab.runtime.targetlock import TargetLocks
from trimtab.runtime.withdraw import Latch, Withdrawer
from trimtab.runtime.workqueue import Key, WorkQueue

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Ports:
    """Separate clients: a queue of reconcile requests must never stand in front of a withdrawal or a renewal."""

    reconcile: Cluster
    safety: Cluster
    lease: Cluster
    telemetry: Telemetry
    safety_telemetry: Telemetry
    designer: Designer
    clock: Clock


@dataclass(frozen=True)
class Parts:
    """Everything that runs."""

    clock: Clock
    metrics: Metrics
    elector: Elector
    queue: WorkQueue
    reconciler: Reconciler
    safety: SafetyLoop
    events: EventRecorder
    watch: WatchState
    resync: Resync


def compose(
    ports: Ports,
    settings: Settings,
    *,
    metrics: Metrics,
    identity: str,
    own: OwnDeployment | None = None,
    rng: random.Random | None = None,
) -> Parts:
    """Wire one operator. `identity` must be unique among operators; a seeded `rng` makes every delay replay."""
    clock, heart = ports.clock, _Heart()
    elector = Elector(
        ports.lease,
        clock,
        namespace=settings.lease_namespace,
        name=settings.lease_name,
        identity=identity,
        timing=LeaseTiming.of_duration(settings.lease_duration),
        heartbeat=Heartbeat(heart.age, heart.limit),
        rng=rng,
    )
    latch = Latch()
    events = EventRecorder(
        ports.reconcile, clock, instance=identity, on_dropped=lambda why: metrics.events_dropped.labels(why).inc()
    )
    sums, lived, shown, parsed = KnownSums(), Lived(clock), ShownGood(), Parsed()
    queue, watch = WorkQueue(clock, rng=rng), WatchState(clock)
    safety = SafetyLoop(
        cluster=ports.safety,
        ledger=FencedLedger(KubernetesLedger(ports.safety, parsed), elector.confirm),
        telemetry=ports.safety_telemetry,
        spending=SpendingAccount(ports.safety),
        switches=KillSwitches(ports.safety, own),
        clock=clock,
        latch=latch,
        events=events,
        metrics=metrics,
        check=elector.check,
        namespaces=settings.namespaces,
        on_withdrawn=lambda namespace, name: queue.add(Key(namespace, name)),
        sums=sums,
        lived=lived,
        shown=shown,
    )
    heart.follow(safety)
    reconciler = _reconciler(ports, elector, latch, events, metrics, own, sums, lived, shown, parsed)

    def on_listed(experiments: Mapping[Key, str]) -> None:
        """Whatever is remembered of Experiments that are gone is forgotten; a metric's series go by their names."""
        metrics.keep_only([(key.namespace, key.name) for key in experiments])
        uids = frozenset(experiments.values())
        for each in (parsed, sums, events, safety, reconciler):
            each.keep_only(uids)

    resync = Resync(
        ports.reconcile,
        clock,
        watch,
        queue.add,
        namespaces=settings.namespaces,
        period=settings.resync,
        on_listed=on_listed,
        on_error=_note_resync_error,
    )
    metrics.watch_process(
        leading=lambda: elector.leading, queue_depth=lambda: queue.depth, safety_tick_age=heart.age, watch_age=watch.age
    )
    return Parts(clock, metrics, elector, queue, reconciler, safety, events, watch, resync)


def _reconciler(
    ports: Ports,
    elector: Elector,
    latch: Latch,
    events: EventRecorder,
    metrics: Metrics,
    own: OwnDeployment | None,
    sums: KnownSums,
    lived: Lived,
    shown: ShownGood,
    parsed: Parsed,
) -> Reconciler:
    cluster, clock = ports.reconcile, ports.clock
    ledger = FencedLedger(KubernetesLedger(cluster, parsed), elector.confirm)
    locks, spending = TargetLocks(cluster, clock), SpendingAccount(cluster)
    observer = Observer(cluster, ledger, clock, locks, elector.stamp, KillSwitches(cluster, own), latch)
    answerer = Answerer(ports.telemetry, ports.designer, spending, Earlier(cluster, ledger), clock, sums, lived, shown)
    withdrawer = Withdrawer(cluster, clock)
    actor = Actor(cluster, ledger, clock, locks, withdrawer, latch, spending, events, metrics, elector.check)
    strays = Strays(ledger, withdrawer, latch, elector.check)
    return Reconciler(ledger, observer, answerer, actor, strays, clock, metrics)


class _Heart:
    """The safety loop's pulse, known before the loop exists."""

    def __init__(self) -> None:
        self._safety: SafetyLoop | None = None

    def follow(self, safety: SafetyLoop) -> None:
        self._safety = safety

    def age(self) -> float:
        return self._safety.age() if self._safety is not None else 0.0

    def limit(self) -> float:
        return self._safety.age_limit() if self._safety is not None else 60.0


def _note_resync_error(error: ApiError) -> None:
    log.warning("resync.failed", error=str(error))


__all__ = ["Parts", "Ports", "compose"]
