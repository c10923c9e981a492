"""Tasks by name, at most one of each: what one of them raises, the loop that owns them raises.

So one part of the loop may be slow without delaying another, and none can fail unnoticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

Work = Callable[[], Coroutine[Any, Any, None]]


class Crew:
    """Owned by one loop: `rest` between its rounds, and `close` at its end."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._resting: asyncio.Future[None] | None = None
        self._defects: list[BaseException] = []

    def busy(self, name: str) -> bool:
        """Whether a task of this name is under way."""
        return name in self._tasks

    def start(self, name: str, work: Work) -> bool:
        """Begin unless a task of this name is still under way; returns whether it began."""
        if name in self._tasks:
            return False
        task = asyncio.create_task(work(), name=name)
        self._tasks[name] = task
        task.add_done_callback(self._ended)
        return True

    async def rest(self, pause: Coroutine[Any, Any, None]) -> None:
        """Wait for the pause to pass.

        Raises:
            BaseException: what a task raised, as soon as it did.
        """
        self._resting = asyncio.ensure_future(pause)
        try:
            if not self._defects:
                await asyncio.wait((self._resting,))
        finally:
            self._resting.cancel()
        if self._defects:
            raise self._defects[0]

    async def close(self) -> None:
        """Cancel what is under way, and wait until it has ended."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task.get_name()]
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._defects.append(error)
            if self._resting is not None:
                self._resting.cancel()


__all__ = ["Crew", "Work"]
