"""The operator's process: settings, connections, HTTP, signals, exit codes; what it does is in `operate`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import structlog

from trimtab import __version__
from trimtab.adapters.clock import SystemClock
from trimtab.adapters.cluster import KubernetesCluster
from trimtab.adapters.connection import Connection, ConnectionProblem, connect
from trimtab.adapters.executor import ProcessDesigner
from trimtab.adapters.prometheus import PrometheusTelemetry
from trimtab.adapters.query_limits import Loop, MeteredStore, QueryLimiter
from trimtab.adapters.store_config import BadStores, StoreConfig, configured_stores
from trimtab.adapters.stores import Stores
from trimtab.runtime.effects import with_fail_points
from trimtab.runtime.handlers import Watcher, kopf_settings, make_registry
from trimtab.runtime.http import Check, HttpServer, age_check
from trimtab.runtime.killswitch import OwnDeployment
from trimtab.runtime.lease import unique_identity
from trimtab.runtime.logging import configure_logging
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.operate import operate
from trimtab.runtime.parts import Parts, Ports, compose
from trimtab.runtime.settings import InvalidSetting, Settings

log = structlog.get_logger(__name__)

EXIT_BAD_SETTING = 2
EXIT_LEADERSHIP_LOST = 3
# Whose effects a fail point counts, each with a client of its own, and how long (seconds) its requests may take: a
# connection that hangs holds a safety tick, and so every canary, for less than the 5 s that a withdrawal may take.
WRITERS = {"reconcile": 10.0, "safety": 4.0, "lease": 10.0}


@dataclass(frozen=True)
class _Process:
    """The parts of this operator, and what must be closed at its end."""

    parts: Parts
    connection: Connection
    designer: ProcessDesigner
    clients: tuple[KubernetesCluster, ...]
    telemetries: tuple[PrometheusTelemetry, ...]

    async def close(self) -> None:
        await self.designer.close()
        for telemetry in self.telemetries:
            telemetry.close()
        for client in self.clients:
            await client.close()


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
        process = _wire(settings, environment, connection, clock)
    except (ConnectionProblem, InvalidSetting) as error:
        return _complain(str(error))
    except BadStores as error:
        return _complain(f"TRIMTAB_TELEMETRY_FILE: {error}")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.info("operator.started", version=__version__, identity=process.parts.elector.identity)
    try:
        return await _serve(settings, process, stop)
    finally:
        await process.close()


def _wire(settings: Settings, environment: Mapping[str, str], connection: Connection, clock: SystemClock) -> _Process:
    metrics = Metrics()
    clients = tuple(
        KubernetesCluster(connection, timeout=seconds, on_request=metrics.api_request) for seconds in WRITERS.values()
    )
    reconcile, safety, lease = (with_fail_points(c, environment, w) for c, w in zip(clients, WRITERS, strict=True))
    stores = configured_stores(settings.prometheus_url, settings.prometheus_token_file, settings.telemetry_file)
    limiter = QueryLimiter(settings.query_limit)
    telemetries = tuple(_telemetry(stores, loop, limiter, metrics) for loop in (Loop.RECONCILE, Loop.SAFETY))
    designer = ProcessDesigner()
    reconcile_stores, safety_stores = (Stores(each) for each in telemetries)
    ports = Ports(reconcile, safety, lease, reconcile_stores, safety_stores, designer=designer, clock=clock)
    own = _own_deployment(environment, settings)
    parts = compose(ports, settings, metrics=metrics, identity=unique_identity(), own=own)
    return _Process(parts, connection, designer, clients, tuple(t for each in telemetries for t in each.values()))


def _telemetry(
    stores: tuple[StoreConfig, ...], loop: Loop, limiter: QueryLimiter, metrics: Metrics
) -> dict[str, PrometheusTelemetry]:
    """One loop's own clients, by the store's name."""
    return {
        s.name: PrometheusTelemetry(
            s, meter=partial(MeteredStore, name=s.name, loop=loop, limiter=limiter, on_query=metrics.telemetry_query)
        )
        for s in stores
    }


def _own_deployment(environment: Mapping[str, str], settings: Settings) -> OwnDeployment | None:
    name = environment.get("TRIMTAB_DEPLOYMENT_NAME", "")
    return OwnDeployment(settings.lease_namespace, name) if name else None


async def _serve(settings: Settings, process: _Process, stop: asyncio.Event) -> int:
    parts = process.parts
    live = [
        # A standby has neither a safety loop nor a watch: it is live as long as it answers.
        Check("safety", lambda: _pulse(parts) if parts.elector.leading else ""),
        age_check("watch", lambda: parts.watch.age() if parts.elector.leading else 0.0, lambda: 3 * settings.resync),
    ]
    http = HttpServer(settings.http_host, settings.http_port, live=live, ready=[], metrics=parts.metrics.render)
    await http.start()
    log.info("http.listening", host=settings.http_host, port=http.port)

    registry = make_registry(parts.queue.add, parts.watch, process.connection)
    watcher = Watcher(registry, kopf_settings, namespaces=settings.namespaces, state=parts.watch)
    parts.metrics.watch_tasks(lambda: len(asyncio.all_tasks()) + watcher.tasks)
    try:
        lost = await operate(parts, settings, stop, watch=watcher.run, prepare=process.designer.start)
    finally:
        await http.close()
    if lost:
        log.error("leader.lost", why=lost)
        return EXIT_LEADERSHIP_LOST
    log.info("operator.stopped")
    return 0


def _pulse(parts: Parts) -> str:
    age, limit = parts.safety.age(), parts.safety.age_limit()
    return "" if age <= limit else f"silent for {age:.1f} s (limit {limit:.1f} s)"


if __name__ == "__main__":
    main()
