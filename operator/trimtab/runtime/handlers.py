"""The watch, by kopf: events become keys on the workqueue, and nothing else.

kopf runs in a thread with an event loop of its own. On its way out it cancels every task of its loop that is younger
than itself, and it takes over the signal handlers of the main thread: here neither can touch the safety loop. Handlers
take no `patch` and return nothing, so kopf never writes: no finalizer, no annotation, no Event, no peering. The rights
that it needs are list and watch of what is watched, and discovery, which every authenticated client has.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import kopf
import structlog

from trimtab.adapters.connection import Connection
from trimtab.domain.kinds import EXPERIMENTS, PODS, Kind
from trimtab.domain.names import LABEL_ARM
from trimtab.runtime.resync import WATCHED, Feed, WatchState, key_of, keys_of

STOP_SECONDS = 10.0
STABLE_SECONDS = 300.0

log = structlog.get_logger(__name__)


def make_registry(feed: Feed, state: WatchState, connection: Connection) -> kopf.OperatorRegistry:
    """Handlers that feed keys. Call it in the loop that `feed` and `state` live in: events come from kopf's thread.

    A plain registry, so that kopf brings no login of its own: that would be the user's current kubectl context.
    """
    loop = asyncio.get_running_loop()

    def call(function: Callable[..., None], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the main loop is closed: we are stopping
            loop.call_soon_threadsafe(function, *args)

    def arrived(experiment: Mapping[str, Any], deleted: bool) -> None:
        if state.delivered(experiment, deleted):
            feed(key_of(experiment["metadata"]))

    registry = kopf.OperatorRegistry()

    async def on_experiment(event: Mapping[str, Any], **_: Any) -> None:
        body = event["object"]
        # A copy of the little that is needed: the event belongs to kopf, and to another thread.
        spec = {"targetRef": dict((body.get("spec") or {}).get("targetRef") or {})}
        call(arrived, {"metadata": dict(body["metadata"]), "spec": spec}, event["type"] == "DELETED")

    async def on_other(event: Mapping[str, Any], **_: Any) -> None:
        for key in keys_of(event["object"], state):
            call(feed, key)

    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await _login(connection)

    kopf.on.login(registry=registry, id="login")(login)
    for kind in WATCHED:
        function = on_experiment if kind == EXPERIMENTS else on_other
        group = kind.group or ""
        kopf.on.event(group=group, version=kind.version, plural=kind.plural, registry=registry, id=kind.plural)(
            function
        )
    return registry


def kopf_settings() -> kopf.OperatorSettings:
    """Time-outs that notice a dead stream, and nothing that writes."""
    settings = kopf.OperatorSettings()
    settings.watching.server_timeout = 120
    settings.watching.client_timeout = 150
    settings.watching.connect_timeout = 10
    settings.watching.reconnect_backoff = 1.0
    settings.watching.chunk_size = 500
    settings.watching.label_selectors[kopf_selector(PODS)] = LABEL_ARM
    settings.queueing.idle_timeout = 1.0  # a task per object lives no longer: the first list may hold thousands
    settings.networking.request_timeout = 15
    settings.networking.error_backoffs = (1, 2, 4)
    settings.networking.trust_env = True
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.process.ultimate_exiting_timeout = None
    return settings


def kopf_selector(kind: Kind) -> Callable[[Any], bool]:
    """Matches exactly this resource type, not its namesakes in other API groups (pods.metrics.k8s.io)."""
    return lambda resource: (resource.group, resource.plural) == (kind.group, kind.plural)


class Watcher:
    """Runs kopf in its thread, and again whenever it ends by itself or a relist shows that it misses something."""

    def __init__(
        self,
        registry: kopf.OperatorRegistry,
        settings: Callable[[], kopf.OperatorSettings],
        *,
        namespaces: Sequence[str],
        state: WatchState,
        backoff: Sequence[float] = (1.0, 5.0, 15.0, 60.0),
    ) -> None:
        self._registry, self._settings = registry, settings
        self._namespaces = tuple(namespaces)
        self._backoff = tuple(backoff)
        self._state = state
        self._thread: _KopfThread | None = None

    @property
    def tasks(self) -> int:
        """Tasks of kopf's loop, 0 while it does not run."""
        return self._thread.tasks if self._thread is not None else 0

    async def run(self, stop: asyncio.Event) -> None:
        """Keep watching until `stop`."""
        failures = 0
        while not stop.is_set():
            self._state.anew()
            thread = self._thread = _KopfThread(self._registry, self._settings(), self._within_reach())
            thread.start()
            started = asyncio.get_running_loop().time()
            await _first(thread.ended, stop.wait(), self._state.dead.wait())
            silent = self._state.dead.is_set()
            error = await thread.stop()
            if stop.is_set():
                return
            stable = asyncio.get_running_loop().time() - started >= STABLE_SECONDS
            failures = 1 if stable else failures + 1
            pause = 0.0 if silent else self._backoff[min(failures, len(self._backoff)) - 1]
            why = "it missed events, or namespaces came or went" if silent else repr(error)
            log.warning("watch.restarted", why=why, after=pause)
            await _first(asyncio.sleep(pause), stop.wait())

    def _within_reach(self) -> tuple[str, ...]:
        """The namespaces to watch; all of them where none can be read: then it fails, and says so."""
        found = tuple(n for n in self._namespaces if n not in self._state.unread)
        return found or self._namespaces


class _KopfThread(threading.Thread):
    """One life of kopf. `ended` is resolved in the loop that made it."""

    def __init__(
        self, registry: kopf.OperatorRegistry, settings: kopf.OperatorSettings, namespaces: tuple[str, ...]
    ) -> None:
        super().__init__(name="kopf", daemon=True)
        self._registry, self._operator_settings, self._namespaces = registry, settings, namespaces
        self._owner = asyncio.get_running_loop()
        self.ended: asyncio.Future[BaseException | None] = self._owner.create_future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started_up = threading.Event()

    @property
    def tasks(self) -> int:
        """Tasks of its loop; may be asked from another thread."""
        loop = self._loop
        return len(asyncio.all_tasks(loop)) if loop is not None and loop.is_running() else 0

    def run(self) -> None:
        """The thread's body."""
        error: BaseException | None = None
        try:
            asyncio.run(self._operate())
        except BaseException as caught:  # whatever ends the watch is reported, and the watch is started again
            error = caught
        self._started_up.set()
        with contextlib.suppress(RuntimeError):  # the owner's loop is closed
            self._owner.call_soon_threadsafe(self._resolve, error)

    async def stop(self) -> BaseException | None:
        """Ask kopf to end and wait for it; a thread that does not end is left behind, it only reads."""
        await asyncio.to_thread(self._started_up.wait, STOP_SECONDS)
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
        try:
            return await asyncio.wait_for(asyncio.shield(self.ended), STOP_SECONDS)
        except TimeoutError:
            return None

    async def _operate(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._started_up.set()
        try:
            await kopf.operator(
                registry=self._registry,
                settings=self._operator_settings,
                standalone=True,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=self._stop,
            )
        finally:
            await hang_up(self._loop)

    def _resolve(self, error: BaseException | None) -> None:
        if not self.ended.done():
            self.ended.set_result(error)


async def hang_up(loop: asyncio.AbstractEventLoop) -> None:
    """Close what kopf gave up: a TLS connection waits for the server to say goodbye, and one that hangs never does.

    Only the loop knows its transports, and has no public name for them.
    """
    for transport in list(getattr(loop, "_transports", {}).values()):
        transport.abort()
    await asyncio.sleep(0)  # the sockets are closed by callbacks


async def _login(connection: Connection) -> kopf.ConnectionInfo:
    """Address and credentials of now; kopf asks again after a 401."""
    await connection.refresh(connection.authorization())
    configuration = connection.configuration
    scheme, _, token = (connection.authorization() or "").partition(" ")
    return kopf.ConnectionInfo(
        server=connection.server,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme.capitalize() or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
        trust_env=True,
    )


async def _first(*waits: Any) -> None:
    """Wait for the first of these; the others are cancelled, futures of others only left alone."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task, wait in zip(tasks, waits, strict=True):
            if task is not wait:
                task.cancel()


__all__ = ["Watcher", "hang_up", "kopf_settings", "make_registry"]
