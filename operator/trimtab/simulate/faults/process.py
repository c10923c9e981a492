"""One operator process, as far as its ports can tell: running, standing still, or dead.

A killed process does nothing more: a call that is under way never returns, and whatever its tasks still try while they
are cancelled is refused. A frozen one stands still wherever it next touches a port, and goes on from there.
"""

from __future__ import annotations

import asyncio


class Died(BaseException):
    """The process has ended; no code of it may catch this."""


class Process:
    """The life of one operator process. `kill` and the rest take effect at its next touch of a port."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self._running = asyncio.Event()
        self._running.set()

    @property
    def frozen(self) -> bool:
        """It stands still."""
        return not self._running.is_set()

    def kill(self) -> None:
        """It ends now."""
        self.dead = True
        self._running.set()

    def freeze(self) -> None:
        """It stands still from now on."""
        if not self.dead:
            self._running.clear()

    def thaw(self) -> None:
        """It goes on."""
        self._running.set()

    async def alive(self) -> None:
        """Go on when the process runs.

        Raises:
            Died: it has ended.
        """
        while not self._running.is_set():
            await self._running.wait()
        if self.dead:
            raise Died(self.name)


__all__ = ["Died", "Process"]
