"""The workqueue, in virtual time."""

from __future__ import annotations

import asyncio
import random

import pytest
from tests.virtual import passes

from trimtab.adapters.clock import LoopClock
from trimtab.domain.errors import Conflict, LeadershipLost, RetryLater, Throttled
from trimtab.runtime.workqueue import Key, QueueClosed, WorkQueue, run_workers

pytestmark = pytest.mark.looptime

A, B, C = (Key("shop", name) for name in "abc")


class Bench:
    """A queue, workers that run until the end of the test, and what they did."""

    def __init__(self, workers: int = 2, seconds: float = 0.0) -> None:
        self.clock = LoopClock()
        self.queue = WorkQueue(self.clock, rng=random.Random(1))
        self.seconds = seconds
        self.taken: list[tuple[float, str]] = []
        self.errors: list[tuple[str, str, float]] = []
        self.durations: list[float] = []
        self.raises: dict[Key, list[Exception]] = {}
        self.again: dict[Key, float] = {}
        self.at_once: set[Key] = set()
        self.most_at_once = 0
        self.task = asyncio.create_task(
            run_workers(
                self.queue,
                self.handle,
                workers=workers,
                clock=self.clock,
                on_error=lambda key, error, delay: self.errors.append((key.name, type(error).__name__, delay)),
                on_done=lambda _, seconds: self.durations.append(seconds),
            )
        )

    async def handle(self, key: Key) -> float | None:
        assert key not in self.at_once, "two workers hold one key"
        self.at_once.add(key)
        self.most_at_once = max(self.most_at_once, len(self.at_once))
        self.taken.append((round(self.clock.monotonic(), 3), key.name))
        try:
            await passes(self.seconds)
            if self.raises.get(key):
                raise self.raises[key].pop(0)
            return self.again.pop(key, None)
        finally:
            self.at_once.discard(key)

    def names(self) -> str:
        return "".join(name for _, name in self.taken)

    async def end(self) -> None:
        self.queue.close()
        await self.task


async def test_a_queued_key_is_one_entry() -> None:
    bench = Bench()
    for key in (A, B, A, A, B):
        bench.queue.add(key)
    assert bench.queue.depth == 2
    await passes(1)
    assert bench.names() == "ab"
    assert bench.queue.depth == 0
    await bench.end()


async def test_a_key_added_while_it_is_worked_on_comes_once_more() -> None:
    bench = Bench(seconds=10)
    bench.queue.add(A)
    await passes(1)
    for _ in range(3):
        bench.queue.add(A)
    assert bench.queue.working == 1
    await passes(30)
    assert bench.taken == [(0.0, "a"), (10.0, "a")]
    assert bench.durations == [10.0, 10.0]
    await bench.end()


async def test_keys_are_worked_on_in_parallel_but_each_by_one() -> None:
    bench = Bench(workers=2, seconds=1)
    for _ in range(5):
        for key in (A, B, C):
            bench.queue.add(key)
        await passes(0.7)
    await passes(10)
    assert bench.most_at_once == 2
    assert set(bench.names()) == set("abc")
    await bench.end()


async def test_of_several_delays_the_earliest_holds() -> None:
    bench = Bench()
    bench.queue.add_after(A, 30)
    bench.queue.add_after(B, 20)
    bench.queue.add_after(A, 10)
    bench.queue.add_after(A, 25)
    bench.queue.add_after(C, 0)
    assert bench.queue.depth == 1
    await passes(100)
    assert bench.taken == [(0.0, "c"), (10.0, "a"), (20.0, "b")]
    await bench.end()


async def test_a_handler_can_ask_for_its_key_again() -> None:
    bench = Bench()
    bench.again[A] = 7.5
    bench.queue.add(A)
    await passes(100)
    assert bench.taken == [(0.0, "a"), (7.5, "a")]
    await bench.end()


async def test_errors_come_back_with_growing_jittered_delays_and_success_forgets_them() -> None:
    bench = Bench()
    bench.raises[A] = [Conflict(409, "stale") for _ in range(12)]
    bench.queue.add(A)
    await passes(1000)
    delays = [delay for _, _, delay in bench.errors]
    ceilings = [min(60.0, 0.5 * 2**n) for n in range(12)]
    assert all(ceiling / 2 <= delay <= ceiling for delay, ceiling in zip(delays, ceilings, strict=True))
    assert len(set(delays)) == 12
    assert len(bench.taken) == 13
    bench.raises[A] = [Conflict(409, "stale")]
    bench.queue.add(A)
    await passes(10)
    assert bench.errors[-1][2] <= 0.5
    await bench.end()


@pytest.mark.parametrize("error", [Throttled("slow down", 42.0), RetryLater(42.0, "later")])
async def test_a_stated_delay_is_obeyed(error: Exception) -> None:
    bench = Bench()
    bench.raises[A] = [error]
    bench.queue.add(A)
    await passes(100)
    assert bench.taken == [(0.0, "a"), (42.0, "a")]
    await bench.end()


async def test_other_keys_do_not_wait_for_a_failing_one() -> None:
    bench = Bench(workers=1)
    bench.raises[A] = [RuntimeError("defect") for _ in range(100)]
    bench.queue.add(A)
    bench.queue.add(B)
    await passes(0.1)
    assert bench.names() == "ab"
    assert not bench.task.done()
    await bench.end()


async def test_lost_leadership_ends_all_workers() -> None:
    bench = Bench(seconds=1)
    bench.raises[A] = [LeadershipLost("over")]
    bench.queue.add(A)
    bench.queue.add(B)
    with pytest.raises(LeadershipLost):
        await bench.task
    assert bench.queue.closed
    bench.queue.add(C)
    assert bench.queue.depth == 0


async def test_closing_lets_running_passes_finish_and_takes_nothing_more() -> None:
    bench = Bench(workers=1, seconds=10)
    for key in (A, B):
        bench.queue.add(key)
    bench.queue.add_after(C, 5)
    await passes(1)
    bench.queue.add(A)  # while it is worked on
    bench.queue.close()
    bench.queue.close()
    await bench.queue.drained()
    assert bench.clock.monotonic() == 10.0
    await bench.task
    await passes(60)
    assert bench.taken == [(0.0, "a")]
    with pytest.raises(QueueClosed):
        await bench.queue.get()


async def test_a_drained_queue_does_not_wait() -> None:
    queue = WorkQueue(LoopClock())
    await queue.drained()
    queue.close()
    await queue.drained()


async def test_a_key_reads_like_kubectl() -> None:
    assert str(Key("shop", "web")) == "shop/web"
