"""One life of an operator in a simulation: its real parts over simulated ports, and how it dies.

A killed process does nothing more: no `finally` writes, no release of its Lease, no flush of its Events. So a kill
makes every client of this life refuse everything, and then takes its tasks away.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any

from trimtab.adapters.query_limits import QUERY_LIMIT, Loop, MeteredStore, QueryLimiter
from trimtab.adapters.series_store import SeriesStore
from trimtab.adapters.stores import Stores
from trimtab.adapters.telemetry import StoreTelemetry
from trimtab.domain.spec import DEFAULT_STORE
from trimtab.ports import Clock, Designer
from trimtab.runtime.effects import EffectfulCluster
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.operate import operate
from trimtab.runtime.parts import Parts, Ports, compose
from trimtab.runtime.settings import Settings
from trimtab.simulate.client import Client, LiveStore, Right
from trimtab.simulate.cluster import InMemoryCluster
from trimtab.simulate.loop import VirtualLoop
from trimtab.simulate.store import Tables
from trimtab.simulate.watch import Deliver, SimulatedWatch

_LIFE: contextvars.ContextVar[Life | None] = contextvars.ContextVar("life", default=None)

FailPoint = Callable[[str], Awaitable[None]]
"""Called with `before:<effect>` and `after:<effect>`; see `runtime.effects`."""


@dataclass(frozen=True)
class LifeOptions:
    """How this operator differs from the next one.

    Args:
        fail_point: told of each effect of the reconciler and of the safety loop; `lease_fail_point` of the elector's.
        latency: gives the seconds that each request takes.
        missing: rights that its service account lacks.
        stale: what its reads are answered from for the first `stale_for` seconds.
        deliver: what becomes of changes on their way to its watch.
    """

    identity: str
    seed: int = 0
    fail_point: FailPoint | None = None
    lease_fail_point: FailPoint | None = None
    latency: Callable[[], float] | None = None
    missing: frozenset[Right] = frozenset()
    stale: Tables | None = None
    stale_for: float = 0.0
    deliver: Deliver | None = None
    namespaces: tuple[str, ...] = ()
    workers: int = 4
    query_limit: int = QUERY_LIMIT


@dataclass(eq=False)
class Life:
    """A running operator. `ended` is why it gave up its leadership, None while it lives or after it was killed."""

    options: LifeOptions
    parts: Parts
    settings: Settings
    watch: SimulatedWatch
    clients: tuple[Client, ...]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    main: asyncio.Task[str] | None = None
    killed: bool = False
    ended: str | None = None
    defect: BaseException | None = None
    on_end: Callable[[], None] = lambda: None

    @property
    def alive(self) -> bool:
        """Does its process run?"""
        return self.main is not None and not self.main.done() and not self.killed

    def start(self) -> None:
        """Begin; every task that this operator ever makes belongs to its life."""
        context = contextvars.copy_context()
        context.run(_LIFE.set, self)
        self.main = asyncio.get_running_loop().create_task(self._run(), name=self.options.identity, context=context)

    async def _run(self) -> str:
        try:
            self.ended = await operate(
                self.parts, self.settings, self.stop, watch=self.watch.run, prepare=_nothing_to_prepare
            )
        except Exception as error:
            self.defect = error
            raise
        finally:
            self.on_end()
        return self.ended

    def kill(self) -> None:
        """SIGKILL: from here on nothing of this operator has any effect."""
        if self.killed:
            return
        self.killed = True
        for client in self.clients:
            client.dead = True
        self.on_end()
        loop = asyncio.get_running_loop()
        if isinstance(loop, VirtualLoop):
            loop.thaw(self._belongs)  # a process that is stopped can be killed, too
        loop.call_soon(self._reap)

    def freeze(self) -> None:
        """SIGSTOP: from the next moment on nothing of it runs; what it had sent is with the server."""
        self._loop().freeze(self._belongs)

    def thaw(self) -> None:
        """SIGCONT: it goes on with what it knew."""
        self._loop().thaw(self._belongs)

    def _belongs(self, context: contextvars.Context) -> bool:
        return context.get(_LIFE) is self

    @staticmethod
    def _loop() -> VirtualLoop:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return loop

    async def die(self) -> None:
        """Kill, from within: never returns."""
        self.kill()
        await asyncio.get_running_loop().create_future()

    @staticmethod
    def current() -> Life | None:
        """The operator whose code is running now, None in the world's own code."""
        return _LIFE.get()

    @staticmethod
    def of(context: contextvars.Context) -> Life | None:
        """The operator whose callbacks run in this context, None for the world's own."""
        return context.get(_LIFE)

    async def gone(self) -> None:
        """Wait until nothing of it runs any more."""
        while self.tasks:
            await asyncio.wait(set(self.tasks))

    def finished(self, task: asyncio.Task[Any]) -> None:
        """A task of this life has ended. What ended a part of a killed operator is nobody's business."""
        self.tasks.discard(task)
        if self.killed and not task.cancelled():
            task.exception()

    def _reap(self) -> None:
        for task in tuple(self.tasks):
            task.cancel()
        if self.tasks:
            asyncio.get_running_loop().call_soon(self._reap)

    async def shut_down(self) -> None:
        """SIGTERM: drain, release the Lease, end."""
        self.stop.set()
        if self.main is not None:
            await asyncio.wait({self.main})


class ActAt:
    """A fail point that notes every point, and does something to its operator at the nth occurrence of one."""

    def __init__(self, point: str, nth: int, act: Callable[[Life], Awaitable[None]]) -> None:
        self._point, self._nth, self._act = point, nth, act
        self.seen: list[tuple[str, int]] = []
        self._counts: Counter[str] = Counter()

    async def __call__(self, point: str) -> None:
        """Note the point; act if it is the one."""
        life = Life.current()
        if life is not None and life.killed:  # another task of the same process, in the same moment
            await life.die()
        self._counts[point] += 1
        self.seen.append((point, self._counts[point]))
        if life is not None and (point, self._counts[point]) == (self._point, self._nth):
            await self._act(life)


class CrashAt(ActAt):
    """Kills the operator; without a point it only notes."""

    def __init__(self, point: str = "", nth: int = 0) -> None:
        super().__init__(point, nth, Life.die)


async def _nothing_to_prepare() -> None:
    """The optimizer runs inline."""


def begin_life(
    cluster: InMemoryCluster,
    store: SeriesStore,
    designer: Designer,
    clock: Clock,
    options: LifeOptions,
) -> Life:
    """Wire an operator as `runtime.main` does and start it."""
    settings = Settings(
        prometheus_url="",
        lease_namespace=LEASE_NAMESPACE,
        namespaces=options.namespaces,
        workers=options.workers,
        query_limit=options.query_limit,
    )
    clients = tuple(Client(cluster, latency=options.latency) for _ in range(3))
    for client in clients:
        client.missing, client.stale = options.missing, options.stale
    if options.stale is not None:
        asyncio.get_running_loop().call_later(options.stale_for, _refresh, clients)
    points = (options.fail_point, options.fail_point, options.lease_fail_point)
    reconcile, safety, lease = (EffectfulCluster(c, point or _pass) for c, point in zip(clients, points, strict=True))
    metrics, limiter = Metrics(), QueryLimiter(settings.query_limit, clock.monotonic)
    asked = LiveStore(store, clients[0])

    def telemetry(loop: Loop) -> Stores:
        """One played store answers under every name."""
        metered = MeteredStore(asked, DEFAULT_STORE, loop, limiter, metrics.telemetry_query, clock.monotonic)
        return Stores({}, otherwise=StoreTelemetry(metered))

    ports = Ports(
        reconcile, safety, lease, telemetry(Loop.RECONCILE), telemetry(Loop.SAFETY), designer=designer, clock=clock
    )
    rng = random.Random(f"{options.seed} {options.identity}")
    parts = compose(ports, settings, metrics=metrics, identity=options.identity, rng=rng)
    watch = SimulatedWatch(
        cluster, clients[0], clock, parts.queue.add, parts.watch,
        namespaces=options.namespaces, deliver=options.deliver,
    )  # fmt: skip
    life = Life(options, parts, settings, watch, clients)
    life.start()
    return life


LEASE_NAMESPACE, LEASE_NAME = "trimtab-system", Settings.lease_name


async def _pass(_: str) -> None:
    """No fail point."""


def _refresh(clients: tuple[Client, ...]) -> None:
    for client in clients:
        client.stale = None


def task_factory(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    context: contextvars.Context | None = None,
) -> asyncio.Task[Any]:
    """Makes tasks that know to which life they belong; set it on the loop before anything lives."""
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, context=context)
    life = context.get(_LIFE) if context is not None else _LIFE.get()
    if life is not None:
        life.tasks.add(task)
        task.add_done_callback(life.finished)
        if life.killed:
            task.cancel()
    return task


__all__ = [
    "LEASE_NAME", "LEASE_NAMESPACE", "ActAt", "CrashAt", "FailPoint", "Life", "LifeOptions", "begin_life",
    "task_factory",
]  # fmt: skip
