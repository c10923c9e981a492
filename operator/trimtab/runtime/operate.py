"""The life of an operator: campaign, lead with the safety loop before anything else, drain, release.

Every long-lived part is one supervised task. When one of them ends unexpectedly the operator ends, the Lease runs out,
and a standby starts from the objects: a part that silently stopped would be worse than a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from trimtab.domain.errors import LeadershipLost
from trimtab.runtime.parts import Parts
from trimtab.runtime.settings import Settings
from trimtab.runtime.workqueue import Key, run_workers

log = structlog.get_logger(__name__)

DRAIN_SECONDS = 20.0
FLUSH_SECONDS = 2.0

Watch = Callable[[asyncio.Event], Awaitable[None]]
"""Feeds the queue from the cluster's changes until the event is set."""


async def operate(
    parts: Parts, settings: Settings, stop: asyncio.Event, *, watch: Watch, prepare: Callable[[], Awaitable[None]]
) -> str:
    """Become the leader and lead until `stop`.

    Args:
        watch: run while leading, beside the workers.
        prepare: awaited once this operator leads and every live trial was judged.

    Returns:
        "" after `stop`; else why the leadership ended, and the process must end with it.
    """
    lost: list[str] = []
    leading, release = asyncio.Event(), asyncio.Event()

    def on_lost(why: str) -> None:
        lost.append(why)
        stop.set()

    election = asyncio.create_task(parts.elector.run(release, on_started=leading.set, on_lost=on_lost), name="election")
    try:
        await _first(leading.wait(), stop.wait())
        if leading.is_set() and not stop.is_set():
            log.info("leader.elected", identity=parts.elector.identity, transitions=parts.elector.transitions)
            if not await _lead(parts, settings, stop, watch, prepare):
                lost.append("a part ended")
    finally:
        release.set()  # after the last write, so that the successor finds nobody writing
        await asyncio.wait({election}, timeout=parts.elector.timing.renew_deadline)
        election.cancel()
    return lost[0] if lost else ""


async def _lead(
    parts: Parts, settings: Settings, stop: asyncio.Event, watch: Watch, prepare: Callable[[], Awaitable[None]]
) -> bool:
    """Lead until `stop`. The first safety tick judges every live trial before anything else is done.

    Returns:
        False when a part ended by itself.
    """
    parts.safety.begin()
    parts.watch.begin()  # a standby has missed nothing; from here on both are asked for their age
    safety = asyncio.create_task(parts.safety.run(), name="safety")
    await _first(parts.safety.judged_once.wait(), stop.wait(), asyncio.shield(safety))
    await prepare()
    ended = asyncio.Event()
    tasks = {
        "safety": safety,
        "events": asyncio.create_task(parts.events.run(), name="events"),
        "resync": asyncio.create_task(parts.resync.run(), name="resync"),
        "watch": asyncio.create_task(_run(watch, ended), name="watch"),
        "workers": asyncio.create_task(_work(parts, settings), name="workers"),
    }
    stopping = asyncio.create_task(stop.wait(), name="stop")
    done, _ = await asyncio.wait({*tasks.values(), stopping}, return_when=asyncio.FIRST_COMPLETED)
    for name, task in tasks.items():
        if task in done:
            log.error("part.ended", part=name, error=str(task.exception() or "returned"))
    await _drain(parts, tasks, ended)
    return stopping in done


async def _run(watch: Watch, ended: asyncio.Event) -> None:
    await watch(ended)


async def _drain(parts: Parts, tasks: dict[str, asyncio.Task[None]], ended: asyncio.Event) -> None:
    """Finish the passes that run, then stop; the safety loop goes last."""
    parts.queue.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await parts.queue.drained()
    ended.set()
    await asyncio.wait({tasks["watch"]}, timeout=DRAIN_SECONDS)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FLUSH_SECONDS):
            await parts.events.flush()
    if parts.events.waiting:
        log.warning("events.not_posted", count=parts.events.waiting)
    for name in ("events", "resync", "watch", "workers", "safety"):
        await _end(tasks[name])


async def _work(parts: Parts, settings: Settings) -> None:
    async def handle(key: Key) -> float | None:
        return await parts.reconciler.reconcile(key.namespace, key.name)

    def on_error(_: Key, error: Exception, __: float) -> None:
        parts.metrics.reconcile_errors.labels(type(error).__name__).inc()

    def on_done(_: Key, seconds: float) -> None:
        parts.metrics.reconcile_seconds.observe(seconds)

    with contextlib.suppress(LeadershipLost):
        await run_workers(
            parts.queue, handle, workers=settings.workers, clock=parts.clock, on_error=on_error, on_done=on_done
        )


async def _first(*waits: Awaitable[object]) -> None:
    """Wait for the first of these; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


__all__ = ["Watch", "operate"]
