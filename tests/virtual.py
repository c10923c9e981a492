"""Virtual time in tests: the event loop jumps from timer to timer, and nobody waits."""

from __future__ import annotations

import asyncio

import looptime

from trimtab.adapters.clock import LoopClock


async def passes(seconds: float) -> None:
    """Let so much virtual time pass; refused in real time, where it would be a sleep for luck."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, looptime.LoopTimeEventLoop), "this test has no virtual time: mark it with looptime"
    assert loop.looptime_on, "this test has no virtual time: mark it with looptime"
    await LoopClock().sleep(seconds)
