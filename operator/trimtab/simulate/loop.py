"""An event loop in virtual time: when nothing is left to run now, the clock jumps to the next timer.

Three days pass as fast as their work is done, in an order that depends on nothing but the program. Nothing outside of
the loop can wake it, so a loop in which everybody waits for ever is an error and not a wait.

A part of the program, told by the context of its callbacks, can be frozen, as SIGSTOP freezes a process: its callbacks
and timers wait until it is thawed, and what was due meanwhile is then due at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import heapq
import itertools
import selectors
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
LEAST_WAIT = 1e-6  # seconds: whoever waits at all waits for so long, or time would stand still between two floats
_WORLDS = itertools.count()
COLLECT_EVERY = 200_000  # new objects: a world keeps all that ever happened in it, and hardly any of it in cycles
RESOLUTION = 1e-8  # seconds: timers this close are due together, so that rounding over years of seconds costs no turn


class Deadlock(RuntimeError):
    """Everything waits and no timer is left: nothing would ever happen again."""


Belongs = Callable[[contextvars.Context], bool]
"""Is a callback with this context part of what is frozen?"""


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 0 and moves only when everything that is ready has run."""

    def __init__(self) -> None:
        self.virtual_now = 0.0
        self._frozen: dict[Belongs, _Held] = {}
        self._set = 0
        self.turns = 0  # how often it looked for what is ready next
        super().__init__(_Jump(self))
        self._clock_resolution = RESOLUTION

    def time(self) -> float:
        """Virtual seconds."""
        return self.virtual_now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """As ever, but without the checks for debugging, which cost as much as the call."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """As ever, but time passes with every wait."""
        wait = delay if delay <= 0 else max(delay, LEAST_WAIT)
        return super().call_later(wait, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """As ever, but timers of one moment fire in the order in which they were set."""
        self._set += 1
        timer = _Timer(when, callback, args, self, context)
        timer.number = self._set
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def waiting(self) -> tuple[list[Any], list[Any]]:
        """Handles of what is still to run at this moment, and of what at later ones, each in its order."""
        moment = self.virtual_now + RESOLUTION
        timers = sorted(t for t in self._scheduled if not t.cancelled())
        due = [h for h in self._ready if not h.cancelled()]
        return [*due, *(t for t in timers if t._when < moment)], [t for t in timers if t._when >= moment]

    def freeze(self, belongs: Belongs) -> None:
        """Run nothing of this any more, from the next turn of the loop on."""
        timers = [t for t in self._scheduled if belongs(t._context)]
        for timer in timers:
            self._scheduled.remove(timer)
            timer._scheduled = False
        heapq.heapify(self._scheduled)
        self._frozen[belongs] = _Held(timers)

    def thaw(self, belongs: Belongs) -> None:
        """Go on where it stopped; nothing happens when it is not frozen."""
        held = self._frozen.pop(belongs, None)
        if held is None:
            return
        self._ready.extend(held.ready)
        for timer in held.timers:
            if not timer.cancelled():
                heapq.heappush(self._scheduled, timer)
                timer._scheduled = True

    def thaw_all(self) -> None:
        """What is to be cancelled must be able to run."""
        for belongs in tuple(self._frozen):
            self.thaw(belongs)

    def hold(self) -> bool:
        """Take what is frozen out of what is ready; whether there was anything."""
        found = False
        for belongs, held in self._frozen.items():
            mine = [h for h in self._ready if belongs(h._context)]
            if mine:
                found = True
                held.ready += mine
                for handle in mine:
                    self._ready.remove(handle)
        return found

    _ready: deque[Any]
    _scheduled: list[Any]


class _Timer(asyncio.TimerHandle):
    """A heap alone puts what is due at the same time into an order that depends on who else waits, or did."""

    __slots__ = ("number",)
    number: int

    def __lt__(self, other: _Timer) -> bool:  # type: ignore[override]
        return (self._when, self.number) < (other._when, other.number)  # type: ignore[attr-defined]


class _Held:
    """What waits for a thaw: handles of the loop, in their order."""

    def __init__(self, timers: list[Any]) -> None:
        self.timers, self.ready = timers, list[Any]()


class _Jump(selectors.SelectSelector):
    """Waits for nothing: the loop's own pipe is never written, as no thread takes part."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Jump by the time that the loop would wait for its next timer."""
        self._loop.turns += 1
        if self._loop._frozen and self._loop.hold():
            return []  # less is ready than the loop believes: it looks again
        if timeout is None:
            raise Deadlock("everything waits and no timer is left; something was cancelled, or waits for a thread")
        self._loop.virtual_now += timeout
        return []


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to completion in a loop of its own; what is left over is cancelled.

    Raises:
        Deadlock: everything waits and no timer is left.
    """
    loop = VirtualLoop()
    with _seldom_collected(), asyncio.Runner(loop_factory=lambda: loop) as runner:
        try:
            return runner.run(main)
        finally:
            loop.thaw_all()


@contextlib.contextmanager
def _seldom_collected() -> Iterator[None]:
    """To look through a whole world for garbage again and again is up to a fourth of the work. What was there before
    the first world is never looked through; what is left of a world is, when the next one begins."""
    before = gc.get_threshold()
    if next(_WORLDS):
        gc.collect()  # the world that is over, and those before it
    else:
        gc.freeze()
    gc.set_threshold(COLLECT_EVERY, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


__all__ = ["Deadlock", "VirtualLoop", "run"]
