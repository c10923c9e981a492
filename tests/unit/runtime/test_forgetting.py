"""Experiments come and go for years: nothing is remembered of those that are gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.contract.test_ledger import NEW, SPEC
from tests.unit.control.builders import spec

from trimtab.adapters.clock import LoopClock
from trimtab.adapters.ledger import KubernetesLedger, Parsed
from trimtab.control import summary
from trimtab.domain import kinds
from trimtab.domain.measurement import NoData
from trimtab.domain.names import LABEL_ARM, LABEL_EXPERIMENT_UID, LABEL_TRIAL
from trimtab.domain.remembered import Remembered
from trimtab.runtime.arms import ArmReader
from trimtab.runtime.budgets import KnownSums
from trimtab.runtime.events import EventRecorder, EventType, Subject
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.parts import Parts, Ports, compose
from trimtab.runtime.settings import Settings
from trimtab.simulate.cluster import InMemoryCluster

pytestmark = pytest.mark.looptime

NAMESPACE = "shop"
MANY = 200


class Bench:
    """A cluster in memory, and who reads it."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.cluster = InMemoryCluster(self.clock, namespaces=[NAMESPACE])
        self.uids: dict[str, str] = {}

    async def create(self, name: str) -> None:
        body = {"metadata": {"name": name}, "spec": SPEC}
        made = await self.cluster.create(kinds.EXPERIMENTS, NAMESPACE, body)
        self.uids[name] = made["metadata"]["uid"]

    async def delete(self, name: str) -> None:
        await self.cluster.delete(kinds.EXPERIMENTS, NAMESPACE, name)
        del self.uids[name]

    @property
    def alive(self) -> frozenset[str]:
        return frozenset(self.uids.values())


async def test_of_experiments_and_trials_only_those_that_there_are_stay_parsed() -> None:
    bench, parsed = Bench(), Parsed()
    ledgers = [KubernetesLedger(bench.cluster, parsed) for _ in range(2)]
    for number in range(MANY):
        await bench.create(name := f"web-{number}")
        record = await ledgers[0].experiment(NAMESPACE, name)
        made = await ledgers[0].create_trial(record, NEW)
        for ledger in ledgers:
            assert len((await ledger.trials(record)).readable) == 1
            await ledger.trial(NAMESPACE, made.name)
        if number < MANY - 1:
            await bench.delete(name)
        parsed.keep_only(bench.alive)
        assert len(parsed.experiments) == len(bench.uids)
        assert len(parsed.parts) == len(bench.uids)
        assert len(parsed.trials) == 2 * len(bench.uids), "with its search space, and without"
    assert (await ledgers[1].trials(record)).readable[0] is (await ledgers[0].trials(record)).readable[0]


async def test_arms_are_forgotten_with_their_experiments() -> None:
    bench = Bench()
    readers = [ArmReader(bench.cluster), ArmReader(bench.cluster)]
    for number in range(MANY):
        uid, pod = f"uid-{number}", f"tt-{number}-0-c-x-y"
        labels = {LABEL_ARM: "canary", LABEL_EXPERIMENT_UID: uid, LABEL_TRIAL: f"trial-{number}"}
        body: dict[str, Any] = {"metadata": {"name": pod, "labels": labels}, "spec": {"containers": []}}
        await bench.cluster.create(kinds.PODS, NAMESPACE, body)
        (seen,) = await readers[0].read(None)
        (own,) = await readers[1].read(NAMESPACE, uid)
        for reader in readers:
            reader.keep_only({uid})
        assert ((await readers[0].read(None))[0] is seen, (await readers[1].read(NAMESPACE, uid))[0] is own) == (
            True,
            True,
        )
        await bench.cluster.delete(kinds.PODS, NAMESPACE, pod)
    for reader in readers:
        reader.keep_only(frozenset())
        assert [len(known) for known in remembered(reader)] == [0, 0]


async def test_events_and_sums_are_forgotten_with_their_experiments() -> None:
    bench, sums = Bench(), KnownSums()
    events = EventRecorder(bench.cluster, bench.clock, instance="here")
    sli = spec().slis[0]
    for number in range(MANY):
        await bench.create(name := f"web-{number}")
        subject = Subject(kinds.EXPERIMENTS, NAMESPACE, name, bench.uids[name])
        events.record(subject, EventType.NORMAL, "Ended", "it ended")
        await events.flush()
        sums.set((bench.uids[name], sli, 60.0), bench.clock.monotonic(), NoData("none"))
        if number < MANY - 1:
            await bench.delete(name)
    for part in (events, sums):
        part.keep_only(bench.alive)  # type: ignore[attr-defined]
    kept = [events._series, events._buckets, sums._found]
    assert [len(each) for each in kept] == [1, 1, 1]
    events.record(subject, EventType.NORMAL, "Ended", "it ended")
    await events.flush()
    (last,) = [e for e in await bench.cluster.list(kinds.EVENTS, NAMESPACE) if e["regarding"]["name"] == name]
    assert last["series"]["count"] == 2, "of one that is there it is still known what was told"


async def test_each_list_of_all_experiments_says_of_whom_something_stays_known() -> None:
    """Whatever the operator's parts remember, now or once somebody adds to it, by Experiment or by Trial."""
    bench = Bench()
    parts = composed(bench)
    for name in ("stays", "goes"):
        await bench.create(name)
    everything = [*remembered(parts), *remembered(summary)]
    owned = [known for known in everything if known not in unowned(parts)]
    assert len(owned) == 11
    for known in owned:
        for uid in bench.uids.values():
            known.known((uid, "a"), 1, lambda _: None)
            known.known((uid, "b"), 1, lambda _: None)
    await bench.delete("goes")
    await parts.resync.once()
    parts.safety._watchman.keep_only({bench.uids["stays"]})  # as each tick does, of Trials
    assert {key[0] for known in owned for key in known._entries} == bench.alive
    assert [len(known) for known in owned] == [2] * len(owned)


def composed(bench: Bench) -> Parts:
    """An operator that never asks for metrics."""
    nothing: Any = object()
    ports = Ports(bench.cluster, bench.cluster, bench.cluster, nothing, nothing, designer=nothing, clock=bench.clock)
    settings = Settings(prometheus_url="", lease_namespace=NAMESPACE)
    return compose(ports, settings, metrics=Metrics(), identity="me")


def unowned(parts: Parts) -> list[Remembered[Any]]:
    """By target: one answer for each Deployment and for each account, which outlives Experiments."""
    accounts = [s._parsed for s in found(parts, "SpendingAccount")]
    return [*accounts, *(observer._targets for observer in found(parts, "Observer"))]


def remembered(root: object) -> list[Remembered[Any]]:
    return found(root, "Remembered")


def found(root: object, kind: str) -> list[Any]:
    """All objects of a class of ours that hang on another one."""
    return list({id(each): each for each in walked(root, set()) if type(each).__name__ == kind}.values())


def walked(each: Any, seen: set[int]) -> Iterator[Any]:
    if id(each) in seen:
        return
    seen.add(id(each))
    yield each
    for inner in vars(each).values() if hasattr(each, "__dict__") else ():
        if type(inner).__module__.startswith("trimtab."):
            yield from walked(inner, seen)
