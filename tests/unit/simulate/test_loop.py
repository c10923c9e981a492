"""Virtual time: it jumps, it is exact, and it says when nothing would ever happen again."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from trimtab.simulate.clock import EPOCH, SimulatedClock
from trimtab.simulate.loop import Deadlock, VirtualLoop, run


async def _three_days() -> list[tuple[float, str]]:
    clock, seen = SimulatedClock(), []

    async def every(seconds: float, name: str) -> None:
        for _ in range(3):
            await clock.sleep(seconds)
            seen.append((clock.monotonic(), name))

    await asyncio.gather(every(86_400.0, "day"), every(0.1, "tick"))
    assert clock.now() == EPOCH + 3 * 86_400.0
    return seen


def test_three_days_pass_at_once_and_in_order() -> None:
    begun = time.monotonic()
    seen = run(_three_days())
    assert time.monotonic() - begun < 5.0
    assert [name for _, name in seen] == ["tick", "tick", "tick", "day", "day", "day"]
    assert [t for t, _ in seen[3:]] == pytest.approx([86_400.0, 172_800.0, 259_200.0])


def test_waiting_for_nothing_is_an_error() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match="no timer is left"):
        run(wait())


def test_the_wall_clock_can_be_set_and_elapsed_time_does_not_care() -> None:
    async def story() -> None:
        mine, other = SimulatedClock(1000.0), SimulatedClock(1000.0)
        await mine.sleep(5.0)
        mine.skew = -3600.0
        assert (mine.now(), mine.monotonic()) == (1005.0 - 3600.0, 5.0)
        assert other.now() == 1005.0

    run(story())


def test_timers_long_after_the_beginning_are_not_late() -> None:
    async def story() -> None:
        clock = SimulatedClock()
        await clock.sleep(5e7 + 0.1)
        begun = clock.monotonic()
        for _ in range(1000):
            await clock.sleep(0.001)
        assert clock.monotonic() - begun == pytest.approx(1.0, abs=1e-4)

    run(story())


def test_time_passes_with_every_wait_however_short() -> None:
    """Or a loop that waits for what is left of a deadline would wait for ever."""

    async def story() -> int:
        clock, turns = SimulatedClock(), 0
        await clock.sleep(15.9)
        deadline = clock.monotonic() + 2e-15
        while (left := deadline - clock.monotonic()) > 0:
            await clock.sleep(left)
            turns += 1
        return turns

    assert run(story()) <= 1


async def _looked_at() -> tuple[list[str], list[str], int]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)

    def name(handle: Any) -> str:
        return str(handle._args[0])

    loop.call_later(2.0, print, "last")
    loop.call_later(1.0, print, "later")
    loop.call_later(0.0, print, "a timer of this moment")
    loop.call_soon(print, "cancelled").cancel()
    loop.call_soon(print, "next")
    due, later = loop.waiting()
    before = loop.turns
    await SimulatedClock().sleep(0.0)
    return [name(h) for h in due], [name(h) for h in later], loop.turns - before


def test_what_is_waiting_is_told_in_its_order() -> None:
    due, later, turns = run(_looked_at())
    assert due == ["next", "a timer of this moment"]
    assert later == ["later", "last"]
    assert turns == 1
