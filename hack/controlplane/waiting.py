"""Wait for a condition with a deadline, so that no test ever sleeps.

A fixed sleep is either too short on a busy machine or wasted on an idle one. A poll with a deadline is neither, and
when it fails it can say what was seen last.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE = "WAITING_PATIENCE"
"""Environment: how many times as long as asked for everybody waits. A wait that succeeds takes no longer for it, and on
a machine that is busy with much else one that would succeed is not given up."""


class WaitTimeout(AssertionError):
    """The condition did not hold within its deadline.

    An AssertionError, so that a test that waited in vain is reported as failed and not as broken.
    """


class _Patience:
    """How long there is still to wait."""

    def __init__(self, what: str, seconds: float, interval: float) -> None:
        self._what, self._interval = what, interval
        self._seconds = seconds * float(os.environ.get(PATIENCE, "1"))
        self._deadline = time.monotonic() + self._seconds

    @property
    def over(self) -> bool:
        """To be asked before a look, which is the last one then."""
        return time.monotonic() >= self._deadline

    @property
    def pause(self) -> float:
        """Seconds until the next look."""
        return max(0.0, min(self._interval, self._deadline - time.monotonic()))

    def lost(self, last: str) -> WaitTimeout:
        return WaitTimeout(f"timed out after {self._seconds:g} s waiting {self._what} ({last})")


def wait_for(
    probe: Callable[[], T | None],
    what: str,
    *,
    seconds: float = 30.0,
    interval: float = 0.2,
    ignore: tuple[type[Exception], ...] = (),
) -> T:
    """Call `probe` until it returns something truthy, and return that.

    Args:
        probe: one look at the world. None, False, 0 and empty containers mean "not yet".
        what: completes the sentence "timed out after 30 s waiting for ...".
        seconds: the deadline. One last look is always taken when it has passed.
        interval: the pause between two looks.
        ignore: errors that mean "not yet" instead of "never".

    Raises:
        WaitTimeout: with the last answer or error seen.
    """
    patience = _Patience(f"for {what}", seconds, interval)
    while True:
        last_look = patience.over
        try:
            seen = probe()
            if seen:
                return seen
            last = f"last answer: {seen!r}"
        except ignore as error:
            last = f"last error: {type(error).__name__}: {error}"
        if last_look:
            raise patience.lost(last)
        time.sleep(patience.pause)


async def eventually(
    condition: Callable[[], Awaitable[bool] | bool], what: str, *, seconds: float = 60.0, interval: float = 0.05
) -> None:
    """`wait_for` in an event loop, whose other tasks go on meanwhile.

    Args:
        condition: one look at the world.
        what: completes the sentence "timed out after 60 s waiting until ...".

    Raises:
        WaitTimeout: the condition did not hold.
    """
    patience = _Patience(f"until {what}", seconds, interval)
    while True:
        last_look = patience.over
        holds = condition()
        if await holds if isinstance(holds, Awaitable) else holds:
            return
        if last_look:
            raise patience.lost("it does not hold")
        await asyncio.sleep(patience.pause)
