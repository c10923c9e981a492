"""An event loop in virtual time: when nothing is left to run now, the clock jumps to the next timer.

Three days pass as fast as their work is done, in an order that depends on nothing but the program. Nothing outside of
the loop can wake it, so a loop in which everybody waits for ever is an error and not a wait.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
RESOLUTION = 1e-8  # seconds: timers this close are due together, so that rounding over years of seconds costs no turn


class Deadlock(RuntimeError):
    """Everything waits and no timer is left: nothing would ever happen again."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 0 and moves only when everything that is ready has run."""

    def __init__(self) -> None:
        self.virtual_now = 0.0
        super().__init__(_Jump(self))
        self._clock_resolution = RESOLUTION

    def time(self) -> float:
        """Virtual seconds."""
        return self.virtual_now


class _Jump(selectors.SelectSelector):
    """Waits for nothing: the loop's own pipe is never written, as no thread takes part."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Jump by the time that the loop would wait for its next timer."""
        if timeout is None:
            raise Deadlock("everything waits and no timer is left; something was cancelled, or waits for a thread")
        self._loop.virtual_now += timeout
        return []


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to completion in a loop of its own; what is left over is cancelled.

    Raises:
        Deadlock: everything waits and no timer is left.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


__all__ = ["Deadlock", "VirtualLoop", "run"]
