"""The operator's processes in a simulated world: started, killed, frozen, and started again as a Deployment does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from trimtab.simulate.client import Request
from trimtab.simulate.faults.acting import ActingFaults
from trimtab.simulate.faults.requests import Requests
from trimtab.simulate.life import FailPoint, Life, LifeOptions
from trimtab.simulate.watch import Deliver
from trimtab.simulate.world import World

RESTART_SECONDS = 1.0


class Fleet:
    """Keeps `wanted` operator processes running; each start is a new process with a new identity.

    Args:
        on_effect: told of each effect, as `before:create:Trial`.
        sent: told each write with the identity of its process.
        answered: asked after each write that took effect.
    """

    def __init__(
        self,
        world: World,
        acting: ActingFaults,
        on_effect: FailPoint,
        sent: Callable[[str, Request], None],
        answered: Callable[[], None],
        *,
        seed: int,
    ) -> None:
        self._world, self._acting, self._seed = world, acting, seed
        self._on_effect, self._sent, self._answered = on_effect, sent, answered
        self._loop = asyncio.get_running_loop()
        self._requests: dict[str, Requests] = {}
        self._absent_until = 0.0
        self._number = 0
        self.wanted = 1
        self.deliver: Deliver | None = None  # what becomes of changes on their way to every watch

    def begin(self) -> None:
        """Start what is wanted."""
        for _ in range(self.wanted - len(self.running)):
            self._start()

    def close(self) -> None:
        """Want nothing any more."""
        self.wanted = 0

    @property
    def running(self) -> list[Life]:
        """Processes that run, oldest first."""
        return [life for life in self._world.lives if life.alive]

    @property
    def leader(self) -> Life | None:
        """The process that leads, else the oldest one."""
        running = self.running
        return next((life for life in running if life.parts.elector.leading), running[0] if running else None)

    def kill(self, life: Life, restart_after: float) -> None:
        """SIGKILL; somebody starts it again after a while."""
        life.kill()
        self._again(restart_after)

    def absent(self, seconds: float) -> None:
        """No operator runs for so long."""
        self._absent_until = self._loop.time() + seconds
        for life in self.running:
            life.kill()
        self._again(seconds)

    def add(self) -> None:
        """Another process, which waits for the lead."""
        self.wanted = min(self.wanted + 1, 2)
        self.begin()

    async def standing(self) -> None:
        """Wait while the process whose code is running now stands still."""
        life = Life.current()
        if life is not None:
            await self._requests[life.options.identity].standstill.passed()

    def freeze(self, life: Life) -> Callable[[], None]:
        """It stands still; returns how to let it go on."""
        standstill = self._requests[life.options.identity].standstill
        standstill.freeze()
        return standstill.thaw

    def each_watch(self) -> None:
        """Let every watch know how changes are delivered from now on."""
        for life in self.running:
            life.watch.deliver = self.deliver

    def _start(self) -> None:
        identity, self._number = f"operator-{self._number}", self._number + 1
        options = LifeOptions(
            identity,
            seed=self._seed,
            fail_point=self._effect,
            deliver=self.deliver,
            namespaces=self._world.installed,
        )
        life = self._world.start(options)
        requests = Requests(
            identity,
            self._acting,
            sent=lambda request: self._sent(identity, request),
            answered=self._answered,
            ended=lambda: life.killed,
            seed=f"{self._seed} {identity}",
        )
        self._requests[identity] = requests
        for client in life.clients:
            client.before, client.after = requests.before, requests.after
        life.on_end = lambda: self._ended(life)

    async def _effect(self, point: str) -> None:
        life = Life.current()
        await self._on_effect(point)
        if life is not None and life.killed:
            await life.die()

    def _ended(self, life: Life) -> None:
        self._world.poke()
        if not life.killed:
            self._again(RESTART_SECONDS)

    def _again(self, seconds: float) -> None:
        later = max(seconds, self._absent_until - self._loop.time())
        self._loop.call_later(later, self._replace)

    def _replace(self) -> None:
        if self._loop.time() >= self._absent_until - 1e-9:
            self.begin()


__all__ = ["Fleet"]
