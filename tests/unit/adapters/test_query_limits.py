"""The limit of queries: how many there are in any minute, who comes first, and what is left of a refusal."""

# ruff: noqa: ARG002 - Hanging has the signatures of its port

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import pytest
from tests.contract.test_telemetry import ERRORS, EVERYTHING, SLOW, TIMEOUT, WINDOW, T, pods
from tests.unit.slo.loopback import StoredSource

from trimtab.adapters.query_limits import (
    ALONE_SECONDS,
    QUERY_LIMIT,
    Asked,
    Loop,
    MeteredStore,
    OverLimit,
    QueryLimiter,
    on_account,
)
from trimtab.adapters.series_store import QueryFailed, StoreSilent, StoreUnavailable
from trimtab.adapters.stores import Stores
from trimtab.adapters.telemetry import StoreTelemetry
from trimtab.domain.measurement import NotAsked, Sample, TelemetryError
from trimtab.ports import Account, PodSet, SliRequest
from trimtab.simulate.prometheus import SimulatedPrometheus
from trimtab.slo.series import Series
from trimtab.slo.verdict import absence_reason


@dataclass
class Bench:
    """A limiter with a clock of its own, and both loops' stores."""

    per_minute: int
    now: float = 0.0
    seen: list[tuple[str, Loop, Asked]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.limiter = QueryLimiter(self.per_minute, lambda: self.now)

    def stores(self, loop: Loop) -> Stores:
        store = MeteredStore(
            SimulatedPrometheus(StoredSource(EVERYTHING)),
            "default",
            loop,
            self.limiter,
            lambda name, who, what, _: self.seen.append((name, who, what)),
            lambda: self.now,
        )
        return Stores({"default": StoreTelemetry(store)})

    def room(self, loop: Loop, experiment: str = "a", trial: str = "") -> int:
        """How many queries are let through at once."""
        for count in range(10_000):
            try:
                self.limiter.take(Account(experiment, trial), loop)
            except OverLimit:
                return count
        raise AssertionError("no limit")


def test_the_reconciler_leaves_half_to_safety() -> None:
    bench = Bench(200)
    assert bench.room(Loop.RECONCILE) == 100
    assert bench.room(Loop.SAFETY) == 100


def test_safety_may_use_all_and_then_the_reconciler_waits() -> None:
    bench = Bench(200)
    assert bench.room(Loop.SAFETY) == 200
    assert bench.room(Loop.RECONCILE) == 0
    bench.now = 60.0
    assert bench.room(Loop.RECONCILE) == 100


def test_one_experiment_does_not_use_up_another_s() -> None:
    bench = Bench(200)
    assert bench.room(Loop.SAFETY, "a") == 200
    assert bench.room(Loop.SAFETY, "b") == 200


def test_nothing_is_counted_for_nobody() -> None:
    bench = Bench(2)
    for _ in range(10):
        bench.limiter.take(None, Loop.RECONCILE)
    assert bench.room(Loop.SAFETY) == 2


def test_each_live_trial_has_the_limit() -> None:
    bench = Bench(200)
    assert [bench.room(Loop.SAFETY, trial=trial) for trial in ("t1", "t2", "t3")] == [200, 200, 200]
    assert bench.room(Loop.SAFETY, "b", "t4") == 200


def test_one_trial_does_not_use_up_another_s() -> None:
    bench = Bench(200)
    bench.limiter.take(Account("a", "t2"), Loop.SAFETY)
    assert bench.room(Loop.SAFETY, trial="t1") == 200
    assert bench.room(Loop.RECONCILE, trial="t2") == 100


def test_questions_about_the_target_are_the_trials_own() -> None:
    """A single trial and what is asked about its target have one limit, two trials have it twice."""
    bench = Bench(200)
    assert bench.room(Loop.RECONCILE) == 100
    assert bench.room(Loop.RECONCILE, trial="t1") == 0
    assert bench.room(Loop.SAFETY, trial="t1") == 100
    assert bench.room(Loop.SAFETY) == 0
    bench.now = 60.0
    for trial in ("t1", "t2"):
        bench.limiter.take(Account("a", trial), Loop.SAFETY)
    assert bench.room(Loop.RECONCILE) == 100
    assert bench.room(Loop.RECONCILE, trial="t1") == 100, "half of both limits"
    assert bench.room(Loop.RECONCILE, trial="t2") == 0
    assert [bench.room(Loop.SAFETY, trial=trial) for trial in ("t1", "t2")] == [99, 99]


def test_a_trial_that_ended_leaves_its_limit_for_a_minute() -> None:
    bench = Bench(200)
    assert [bench.room(Loop.SAFETY, trial=trial) for trial in ("t1", "t2")] == [200, 200]
    bench.now = 60.0
    assert bench.room(Loop.SAFETY, trial="t2") == 200
    assert bench.room(Loop.SAFETY) == 0


@pytest.mark.parametrize("trials", [1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_in_no_minute_are_there_more_and_safety_always_has_its_half(seed: int, trials: int) -> None:
    rng, bench = random.Random(seed), Bench(40)
    let: list[tuple[float, str, Loop]] = []
    for _ in range(4000 * trials):
        bench.now += rng.expovariate(2.0 * trials)
        loop = Loop.SAFETY if rng.random() < 0.3 else Loop.RECONCILE
        trial = f"t{rng.randrange(trials)}"
        recent = [(who, by) for at, who, by in let[-60 * trials :] if at > bench.now - 60.0]
        own, live = [by for who, by in recent if who == trial], {who for who, _ in recent} | {trial}
        try:
            bench.limiter.take(Account("a", trial), loop)
            let.append((bench.now, trial, loop))
        except OverLimit:
            assert loop is Loop.RECONCILE or own.count(Loop.SAFETY) >= 20
            continue
        assert len(own) < 40
        assert len(recent) < 40 * len(live)
    assert {(who, by) for _, who, by in let} == {(f"t{n}", loop) for n in range(trials) for loop in Loop}
    assert len(let) < 4000 * trials


def test_accounts_that_ask_nothing_any_more_are_forgotten() -> None:
    bench = Bench(10)
    for number in range(1000):
        bench.now += 1.0
        bench.limiter.take(Account(f"experiment-{number}", "t"), Loop.SAFETY)
        bench.limiter.take(Account("old", f"trial-{number}"), Loop.SAFETY)
    assert len(bench.limiter._asked) <= 62
    assert len(bench.limiter._asked["old"]) <= 61


def on(experiment: str) -> PodSet:
    found = pods("plain")
    return PodSet(found.namespace, found.workloads, account=Account(experiment))


async def test_a_refusal_is_a_reading_of_its_own_kind() -> None:
    bench = Bench(4)
    stores = bench.stores(Loop.SAFETY)

    async def read(account: str) -> object:
        return (await stores.read([SliRequest(ERRORS, on(account), WINDOW)], timeout=TIMEOUT))[0]

    assert isinstance(await read("a"), Sample)
    assert isinstance(await read("a"), Sample)
    refused = await read("a")
    assert isinstance(refused, NotAsked)
    assert isinstance(refused, TelemetryError)  # whatever treats a store that is away treats this in the same way
    assert absence_reason(refused) == "QueryLimit"
    assert refused.detail == (
        "not asked: the 4 queries that this Experiment may ask in a minute for each live trial, 4 of them in the "
        "safety loop, are used up"
    )
    assert isinstance(await read("b"), Sample)
    assert [what for *_, what in bench.seen].count(Asked.REFUSED) == 2
    assert {who for _, who, _ in bench.seen} == {Loop.SAFETY}


async def test_every_question_counts() -> None:
    bench = Bench(1)
    stores, of = bench.stores(Loop.SAFETY), on("a")
    assert bench.room(Loop.SAFETY) == 1
    assert isinstance(await stores.totals(ERRORS, of, WINDOW, timeout=TIMEOUT), NotAsked)
    assert isinstance(await stores.load(ERRORS, of, WINDOW, timeout=TIMEOUT), NotAsked)
    assert isinstance(await stores.history(SLOW, of, WINDOW, 1.0, timeout=TIMEOUT), NotAsked)
    memory = stores.working_set(of, "web", WINDOW, store="default", timeout=TIMEOUT)
    assert isinstance(await memory, NotAsked)
    probe = await stores.probe(ERRORS, of, T, 60.0, timeout=TIMEOUT)
    assert probe.reason == "TelemetryUnavailable"  # preflight asks again by itself
    assert "not asked" in probe.problem


async def test_what_fails_is_told_from_what_is_answered() -> None:
    bench = Bench(100)
    store = SimulatedPrometheus(StoredSource(EVERYTHING))
    metered = MeteredStore(
        store, "default", Loop.SAFETY, bench.limiter, lambda *seen: bench.seen.append(seen[:3]), lambda: bench.now
    )
    await metered.vector("depth", T - 1, TIMEOUT)
    with pytest.raises(Exception, match="400"):
        await metered.vector("depth{", T - 1, TIMEOUT)
    assert [what for *_, what in bench.seen] == [Asked.ANSWERED, Asked.FAILED]


async def test_the_account_goes_with_its_own_tasks_alone() -> None:
    """Two Experiments are read at the same time."""
    bench = Bench(100)

    turn = asyncio.Barrier(2)

    async def spend(account: str, queries: int) -> None:
        with on_account(Account(account)):
            for _ in range(10):
                await turn.wait()
                for _ in range(queries):
                    await bench_store.vector("depth", T - 1, TIMEOUT)

    source = SimulatedPrometheus(StoredSource(EVERYTHING))
    bench_store = MeteredStore(source, "default", Loop.SAFETY, bench.limiter, lambda *_: None, lambda: bench.now)
    await asyncio.gather(spend("a", 1), spend("b", 2))
    assert (bench.room(Loop.SAFETY, "a"), bench.room(Loop.SAFETY, "b")) == (90, 80)


def test_the_default_is_many_times_what_a_trial_asks() -> None:
    """The example's trials ask 53 queries a minute, 136 in the busiest; see docs/how-to/connect-a-metrics-store.md."""
    assert QUERY_LIMIT >= 5 * 136


class Hanging:
    """A store that answers when it is told to."""

    def __init__(self) -> None:
        self.asked, self.error = 0, StoreSilent("no answer within 10 s")
        self.answers = False

    async def vector(self, expression: str, at: float, timeout: float) -> tuple[Series, ...]:
        self.asked += 1
        if not self.answers:
            raise self.error
        return ()

    async def matrix(self, expression: str, at: float, timeout: float) -> tuple[Series, ...]:
        return await self.vector(expression, at, timeout)

    async def range(self, expression: str, start: float, end: float, step: float, timeout: float) -> tuple[Series, ...]:
        return await self.vector(expression, start, timeout)


class TestPatience:
    def made(self, loop: Loop) -> tuple[Bench, Hanging, MeteredStore]:
        bench, store = Bench(10_000), Hanging()
        seen = lambda name, who, what, _: bench.seen.append((name, who, what))  # noqa: E731
        return bench, store, MeteredStore(store, "default", loop, bench.limiter, seen, lambda: bench.now)

    async def ask(self, store: MeteredStore, times: int) -> None:
        for _ in range(times):
            with pytest.raises(StoreUnavailable):
                await store.vector("a", 0.0, 10.0)

    async def test_a_store_that_hangs_is_left_alone_by_the_reconciler(self) -> None:
        bench, store, metered = self.made(Loop.RECONCILE)
        await self.ask(metered, 100)
        assert store.asked == 3
        assert [what for *_, what in bench.seen].count(Asked.SKIPPED) == 97
        for _ in range(12):
            bench.now += ALONE_SECONDS
            await self.ask(metered, 10)
        assert store.asked == 3 + 12

    async def test_the_safety_loop_always_asks(self) -> None:
        _, store, metered = self.made(Loop.SAFETY)
        await self.ask(metered, 100)
        assert store.asked == 100

    async def test_one_answer_is_enough_to_go_on(self) -> None:
        bench, store, metered = self.made(Loop.RECONCILE)
        await self.ask(metered, 5)
        bench.now += ALONE_SECONDS
        store.answers = True
        for _ in range(10):
            assert await metered.vector("a", 0.0, 10.0) == ()
        assert store.asked == 3 + 10

    @pytest.mark.parametrize("error", [QueryFailed("HTTP 400: no"), StoreUnavailable("HTTP 503: busy")])
    async def test_a_store_that_says_no_is_there(self, error: QueryFailed) -> None:
        _, store, metered = self.made(Loop.RECONCILE)
        await self.ask(metered, 2)
        store.error = error  # type: ignore[assignment]
        for _ in range(20):
            with pytest.raises(QueryFailed):
                await metered.vector("a", 0.0, 10.0)
        assert store.asked == 22

    async def test_one_query_at_a_time_tries_whether_it_is_back(self) -> None:
        bench, store, metered = self.made(Loop.RECONCILE)
        await self.ask(metered, 3)
        bench.now += ALONE_SECONDS
        gate = asyncio.Event()

        async def slow(*_: object) -> tuple[Series, ...]:
            store.asked += 1
            await gate.wait()
            return ()

        store.vector = slow  # type: ignore[method-assign]
        trying = asyncio.create_task(metered.vector("a", 0.0, 10.0))
        await asyncio.wait([trying], timeout=0)
        await self.ask(metered, 5)
        assert store.asked == 4
        gate.set()
        assert await trying == ()

    async def test_a_pass_that_gives_up_waiting_counts_as_silence(self) -> None:
        """Preflight has a time-out of its own around its queries; a cancelled try must not block all later ones."""
        bench, store, metered = self.made(Loop.RECONCILE)
        await self.ask(metered, 3)
        bench.now += ALONE_SECONDS

        async def never(*_: object) -> tuple[Series, ...]:
            return await asyncio.get_running_loop().create_future()

        answering, store.vector = store.vector, never  # type: ignore[method-assign]
        trying = asyncio.create_task(metered.vector("a", 0.0, 10.0))
        await asyncio.wait([trying], timeout=0)
        trying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trying
        store.vector, store.answers = answering, True  # type: ignore[method-assign]
        await self.ask(metered, 1)
        bench.now += ALONE_SECONDS
        assert await metered.vector("a", 0.0, 10.0) == ()
