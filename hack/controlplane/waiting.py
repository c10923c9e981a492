"""Wait for a condition with a deadline, so that no test ever sleeps.

A fixed sleep is either too short on a busy machine or wasted on an idle one. A poll with a deadline is neither, and
when it fails it can say what was seen last.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class WaitTimeout(AssertionError):
    """The condition did not hold within its deadline.

    An AssertionError, so that a test that waited in vain is reported as failed and not as broken.
    """


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
    deadline = time.monotonic() + seconds
    while True:
        last_look = time.monotonic() >= deadline
        try:
            seen = probe()
            if seen:
                return seen
            last = f"last answer: {seen!r}"
        except ignore as error:
            last = f"last error: {type(error).__name__}: {error}"
        if last_look:
            raise WaitTimeout(f"timed out after {seconds:g} s waiting for {what} ({last})")
        time.sleep(max(0.0, min(interval, deadline - time.monotonic())))
