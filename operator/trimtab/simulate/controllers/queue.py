"""How a controller reacts: what changed is noted, and looked at a moment later, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Reactions(Generic[K]):
    """Keys whose `sync` is due `delay` virtual seconds after the first of several changes."""

    def __init__(self, delay: float, sync: Callable[[K], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._delay, self._sync = delay, sync
        self._due: dict[K, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.stopped = False

    def add(self, key: K) -> None:
        """Look at this key soon."""
        self._due[key] = None
        if self._timer is None and not self.stopped:
            self._timer = self._loop.call_later(self._delay, self._run)

    def later(self, key: K, seconds: float) -> None:
        """Look at this key again in a while."""
        self._loop.call_later(seconds, self.add, key)

    def _run(self) -> None:
        self._timer = None
        due, self._due = self._due, {}
        for key in due:
            self._sync(key)


__all__ = ["Reactions"]
