"""The operator's process: connect, take the lead, run the safety loop before anything else, then watch and reconcile.

Every long-lived part is one supervised task. When one of them ends unexpectedly the process ends, the Lease runs out,
and a standby starts from the objects: a part that silently stopped would be worse than a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass

import structlog

from trimtab import __version__
from trimtab.adapters.clock import SystemClock
from trimtab.adapters.cluster import KubernetesCluster
from trimtab.adapters.connection import Connection, ConnectionProblem, connect
from trimtab.adapters.executor import ProcessDesigner
from trimtab.adapters.ledger import KubernetesLedger
from trimtab.adapters.prometheus import PrometheusTelemetry
from trimtab.domain.errors import ApiError, LeadershipLost
from trimtab.runtime.act import Actor
from trimtab.runtime.answer import Answerer
from trimtab.runtime.effects import with_fail_points
from trimtab.runtime.events import EventRecorder
from trimtab.runtime.handlers import Watcher, kopf_settings, make_registry
from trimtab.runtime.http import Check, HttpServer, age_check
from trimtab.runtime.killswitch import KillSwitches, OwnDeployment
from trimtab.runtime.lease import Elector, Heartbeat, LeaseTiming, unique_identity
from trimtab.runtime.logging import configure_logging
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.observe import Observer
from trimtab.runtime.reconcile import Reconciler
from trimtab.runtime.resync import Resync, WatchState
from trimtab.runtime.safety import SafetyLoop
from trimtab.runtime.settings import InvalidSetting, Settings
from trimtab.runtime.spending import SpendingAccount
from trimtab.runtime.targetlock import TargetLocks
from trimtab.runtime.withdraw import Latch, Withdrawer
from trimtab.runtime.workqueue import Key, WorkQueue, run_workers

log = structlog.get_logger(__name__)

EXIT_BAD_SETTING = 2
EXIT_LEADERSHIP_LOST = 3
DRAIN_SECONDS = 20.0


@dataclass
class _Parts:
    """Everything that runs, wired once."""

    clock: SystemClock
    metrics: Metrics
    elector: Elector
    queue: WorkQueue
    reconciler: Reconciler
    safety: SafetyLoop
    events: EventRecorder
    designer: ProcessDesigner
    watch: WatchState
    resync: Resync
    connection: Connection
    clients: tuple[KubernetesCluster, ...]
    telemetries: tuple[PrometheusTelemetry, ...]


def main() -> None:
    """Entry point of `trimtab-operator`."""
    try:
        settings = Settings.from_environment(os.environ)
    except InvalidSetting as error:
        sys.exit(_complain(str(error)))
    configure_logging(settings.log_format, settings.log_level)
    sys.exit(asyncio.run(run(settings, os.environ)))


def _complain(words: str) -> int:
    print(f"trimtab-operator: {words}", file=sys.stderr)
    return EXIT_BAD_SETTING


async def run(settings: Settings, environment: Mapping[str, str]) -> int:
    """Run until SIGTERM (0) or until the leadership is lost (3)."""
    clock = SystemClock()
    try:
        connection = await connect(settings.kubeconfig, clock.monotonic)
        parts = await _wire(settings, environment, connection, clock)
    except (ConnectionProblem, InvalidSetting) as error:
        return _complain(str(error))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.info("operator.started", version=__version__, identity=parts.elector.identity)
    try:
        return await _serve(settings, parts, stop)
    finally:
        await _close(parts)


async def _wire(
    settings: Settings, environment: Mapping[str, str], connection: Connection, clock: SystemClock
) -> _Parts:
    metrics = Metrics()
    identity = unique_identity()
    # Separate clients: a queue of reconcile requests must never stand in front of a withdrawal or a renewal.
    clients = tuple(KubernetesCluster(connection, on_request=metrics.api_request) for _ in range(3))
    reconcile_cluster, safety_cluster, lease_cluster = (with_fail_points(c, environment) for c in clients)
    telemetries = tuple(_telemetry(settings, metrics) for _ in range(2))
    heart = _Heart()
    elector = Elector(
        lease_cluster,
        clock,
        namespace=settings.lease_namespace,
        name=settings.lease_name,
        identity=identity,
        timing=LeaseTiming.of_duration(settings.lease_duration),
        heartbeat=Heartbeat(heart.age, heart.limit),
    )
    ledger = KubernetesLedger(reconcile_cluster, clock)
    latch, withdrawer = Latch(), Withdrawer(reconcile_cluster, clock)
    locks, spending = TargetLocks(reconcile_cluster, clock), SpendingAccount(reconcile_cluster)
    events = EventRecorder(reconcile_cluster, clock, instance=identity)
    designer = ProcessDesigner()
    own = _own_deployment(environment, settings)
    observer = Observer(reconcile_cluster, ledger, clock, locks, identity, KillSwitches(reconcile_cluster, own), latch)
    answerer = Answerer(telemetries[0], designer, spending, clock)
    actor = Actor(reconcile_cluster, ledger, clock, locks, withdrawer, latch, spending, events, metrics, elector.check)
    safety = SafetyLoop(
        cluster=safety_cluster,
        ledger=KubernetesLedger(safety_cluster, clock),
        telemetry=telemetries[1],
        spending=SpendingAccount(safety_cluster),
        switches=KillSwitches(safety_cluster, own),
        clock=clock,
        latch=latch,
        events=events,
        metrics=metrics,
        check=elector.check,
        namespaces=settings.namespaces,
    )
    heart.follow(safety)
    queue = WorkQueue(clock)
    watch = WatchState(clock)
    resync = Resync(
        reconcile_cluster,
        clock,
        watch,
        queue.add,
        namespaces=settings.namespaces,
        period=settings.resync,
        on_listed=lambda keys: metrics.keep_only([(k.namespace, k.name) for k in keys]),
        on_error=_note_resync_error,
    )
    safety.on_withdrawn = lambda namespace, name: queue.add(Key(namespace, name))
    reconciler = Reconciler(ledger, observer, answerer, actor, clock, metrics)
    metrics.watch_process(
        leading=lambda: elector.leading, queue_depth=lambda: queue.depth, safety_tick_age=heart.age, watch_age=watch.age
    )
    return _Parts(
        clock, metrics, elector, queue, reconciler, safety, events, designer, watch, resync, connection, clients,
        telemetries,
    )  # fmt: skip


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


def _telemetry(settings: Settings, metrics: Metrics) -> PrometheusTelemetry:
    del metrics
    return PrometheusTelemetry(settings.prometheus_url, token_file=settings.prometheus_token_file)


def _own_deployment(environment: Mapping[str, str], settings: Settings) -> OwnDeployment | None:
    name = environment.get("TRIMTAB_DEPLOYMENT_NAME", "")
    return OwnDeployment(settings.lease_namespace, name) if name else None


def _note_resync_error(error: ApiError) -> None:
    log.warning("resync.failed", error=str(error))


async def _serve(settings: Settings, parts: _Parts, stop: asyncio.Event) -> int:
    live = [
        # A standby has neither a safety loop nor a watch: it is live as long as it answers.
        Check("safety", lambda: _pulse(parts) if parts.elector.leading else ""),
        age_check("watch", lambda: parts.watch.age() if parts.elector.leading else 0.0, lambda: 3 * settings.resync),
    ]
    http = HttpServer(settings.http_host, settings.http_port, live=live, ready=[], metrics=parts.metrics.render)
    await http.start()
    log.info("http.listening", host=settings.http_host, port=http.port)
    lost: list[str] = []
    leading, release = asyncio.Event(), asyncio.Event()

    def on_lost(why: str) -> None:
        lost.append(why)
        stop.set()

    election = asyncio.create_task(parts.elector.run(release, on_started=leading.set, on_lost=on_lost), name="election")
    failed = False
    try:
        await _first(leading.wait(), stop.wait())
        if leading.is_set() and not stop.is_set():
            log.info("leader.elected", identity=parts.elector.identity, transitions=parts.elector.transitions)
            failed = not await _lead(settings, parts, stop)
    finally:
        release.set()  # after the last write, so that the successor finds nobody writing
        await asyncio.wait({election}, timeout=parts.elector.timing.renew_deadline)
        election.cancel()
        await http.close()
    if lost or failed:
        log.error("leader.lost", why=lost[0] if lost else "a part ended")
        return EXIT_LEADERSHIP_LOST
    log.info("operator.stopped")
    return 0


def _pulse(parts: _Parts) -> str:
    age, limit = parts.safety.age(), parts.safety.age_limit()
    return "" if age <= limit else f"silent for {age:.1f} s (limit {limit:.1f} s)"


async def _lead(settings: Settings, parts: _Parts, stop: asyncio.Event) -> bool:
    """Lead until `stop`. The first safety tick judges every live trial before anything else is done.

    Returns:
        False when a part ended by itself.
    """
    parts.safety.begin()
    safety = asyncio.create_task(parts.safety.run(), name="safety")
    await _first(parts.safety.judged_once.wait(), stop.wait(), asyncio.shield(safety))
    await parts.designer.start()
    watcher = Watcher(
        make_registry(parts.queue.add, parts.watch, parts.connection),
        kopf_settings,
        namespaces=settings.namespaces,
        state=parts.watch,
    )
    ended = asyncio.Event()
    tasks = {
        safety,
        asyncio.create_task(parts.events.run(), name="events"),
        asyncio.create_task(parts.resync.run(), name="resync"),
        asyncio.create_task(watcher.run(ended), name="watch"),
        asyncio.create_task(_work(settings, parts), name="workers"),
    }
    stopping = asyncio.create_task(stop.wait(), name="stop")
    done, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in done - {stopping}:
        log.error("part.ended", part=task.get_name(), error=str(task.exception() or "returned"))
    await _drain(parts, tasks, ended)
    return stopping in done


async def _drain(parts: _Parts, tasks: set[asyncio.Task[None]], ended: asyncio.Event) -> None:
    """Finish the passes that run, then stop; the safety loop goes last."""
    parts.queue.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await parts.queue.drained()
    ended.set()
    watching = {t for t in tasks if t.get_name() == "watch"}
    await asyncio.wait(watching, timeout=DRAIN_SECONDS)
    with contextlib.suppress(ApiError, TimeoutError):
        async with asyncio.timeout(2.0):
            await parts.events.flush()
    for task in tasks:
        await _end(task)


async def _work(settings: Settings, parts: _Parts) -> None:
    async def handle(key: Key) -> float | None:
        return await parts.reconciler.reconcile(key.namespace, key.name)

    def on_error(key: Key, error: Exception, delay: float) -> None:
        parts.metrics.reconcile_errors.labels(type(error).__name__).inc()
        log.error("reconcile.defect", experiment=str(key), retry_in=delay, exc_info=error)

    def on_done(_: Key, seconds: float) -> None:
        parts.metrics.reconcile_seconds.observe(seconds)

    with contextlib.suppress(LeadershipLost):
        await run_workers(
            parts.queue,
            handle,
            workers=settings.workers,
            clock=parts.clock,
            on_error=on_error,
            on_done=on_done,
        )


async def _first(*waits: Awaitable[object]) -> None:
    """Wait for the first of these; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


async def _close(parts: _Parts) -> None:
    await parts.designer.close()
    for telemetry in parts.telemetries:
        telemetry.close()
    for client in parts.clients:
        await client.close()


if __name__ == "__main__":
    main()
