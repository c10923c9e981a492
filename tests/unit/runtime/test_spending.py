"""The account of what experiments spent: adds up, only grows, outlives Experiments, is never taken for empty."""

from __future__ import annotations

import json
from uuid import NAMESPACE_OID, uuid5

import pytest

from trimtab.adapters.clock import LoopClock
from trimtab.domain import kinds
from trimtab.domain.errors import CorruptLedger
from trimtab.domain.trial import Spent
from trimtab.runtime.spending import MOST_BYTES, SpendingAccount, account_name
from trimtab.simulate.cluster import InMemoryCluster

pytestmark = pytest.mark.looptime

DAY = 86400.0


async def total(account: SpendingAccount, now: float = DAY, window: float = 30 * DAY) -> float:
    return await account.total("shop", "target", "errors", now, window)


async def test_an_account_that_was_never_opened_is_empty() -> None:
    assert await total(SpendingAccount(InMemoryCluster(LoopClock(), namespaces=["shop"]))) == 0.0


async def test_trials_add_up_and_writing_one_twice_is_writing_it_once() -> None:
    account = SpendingAccount(InMemoryCluster(LoopClock(), namespaces=["shop"]))
    for trial, bad in (("a", 3.0), ("b", 4.0), ("a", 3.0)):
        await account.record("shop", "target", trial, DAY, (Spent("errors", bad, 100.0),), 30 * DAY)
    assert await total(account) == 7.0


async def test_what_nobody_saw_is_bad() -> None:
    account = SpendingAccount(InMemoryCluster(LoopClock(), namespaces=["shop"]))
    await account.record("shop", "target", "a", DAY, (Spent("errors", 3.0, 100.0, unseen=40.0),), 30 * DAY)
    assert await total(account) == 43.0


async def test_an_account_of_an_earlier_version_is_read() -> None:
    cluster = InMemoryCluster(LoopClock(), namespaces=["shop"])
    entry = {"a": {"at": DAY, "window": 30 * DAY, "spent": {"errors": {"bad": 3.0, "total": 9.0}}}}
    body = {"metadata": {"name": account_name("target")}, "data": {"spending.json": json.dumps(entry)}}
    await cluster.create(kinds.CONFIG_MAPS, "shop", body)
    assert await total(SpendingAccount(cluster)) == 3.0


async def test_a_trials_spending_only_grows() -> None:
    account = SpendingAccount(InMemoryCluster(LoopClock(), namespaces=["shop"]))
    for bad in (5.0, 2.0):
        await account.record("shop", "target", "a", DAY, (Spent("errors", bad, 100.0),), 30 * DAY)
    assert await total(account) == 5.0


async def test_what_lies_before_the_window_is_forgotten() -> None:
    account = SpendingAccount(InMemoryCluster(LoopClock(), namespaces=["shop"]))
    await account.record("shop", "target", "old", 0.0, (Spent("errors", 5.0, 100.0),), 2 * DAY)
    assert await total(account, DAY, 2 * DAY) == 5.0
    assert await total(account, 3 * DAY, 2 * DAY) == 0.0


async def test_an_account_never_fills_its_config_map_and_forgets_nothing() -> None:
    """Three budgets' trials every two minutes for a month."""
    cluster = InMemoryCluster(LoopClock(), namespaces=["shop"])
    count, step, slis = 21_600, 120.0, ("errors", "latency", "saturation")
    spent = tuple(Spent(sli, 1.0, 12_345.5, 0.25) for sli in slis)
    many = {str(uuid5(NAMESPACE_OID, str(n))): (n + 1) * step for n in range(count)}
    entries = {uid: {"at": at, "window": 40 * DAY, "spent": _stored(spent)} for uid, at in many.items()}
    body = {"metadata": {"name": account_name("target")}, "data": {"spending.json": json.dumps(entries)}}
    await cluster.create(kinds.CONFIG_MAPS, "shop", body)
    account, now = SpendingAccount(cluster), (count + 1) * step
    for _ in range(2):
        await account.record("shop", "target", "newest", now, spent, 40 * DAY)
    found = (await cluster.get(kinds.CONFIG_MAPS, "shop", account_name("target")))["data"]["spending.json"]
    assert len(found) <= MOST_BYTES < 2**20
    assert await total(account, now, 40 * DAY) == pytest.approx(1.25 * (count + 1))
    week = sum(1.25 for at in many.values() if at > now - 7 * DAY) + 1.25
    assert week <= await total(account, now, 7 * DAY) <= week + 1.25 * DAY / step


async def test_only_what_is_old_is_added_up() -> None:
    cluster = InMemoryCluster(LoopClock(), namespaces=["shop"])
    account, spent = SpendingAccount(cluster), (Spent("errors", 1.0, 100.0),)
    old = {f"{n:036}": {"at": n * 60.0, "window": 30 * DAY, "spent": _stored(spent)} for n in range(3000)}
    young = {"young": {"at": 9.5 * DAY, "window": 30 * DAY, "spent": _stored(spent)}}
    body = {"metadata": {"name": account_name("target")}, "data": {"spending.json": json.dumps(old | young)}}
    await cluster.create(kinds.CONFIG_MAPS, "shop", body)
    for trial in ("young", "newest", "newest"):
        await account.record("shop", "target", trial, 10 * DAY, spent, 30 * DAY)
    assert await total(account, 10 * DAY) == 3002.0
    found = json.loads((await cluster.get(kinds.CONFIG_MAPS, "shop", account_name("target")))["data"]["spending.json"])
    assert {"young", "newest"} < set(found)
    assert len(found) == 3000 / 60 + 2
    assert found["until-3600"]["at"] == 59 * 60.0


def _stored(spent: tuple[Spent, ...]) -> dict[str, dict[str, float]]:
    return {s.sli: {"bad": s.bad, "total": s.total, "unseen": s.unseen} for s in spent}


async def test_an_account_that_cannot_be_read_is_not_empty() -> None:
    cluster = InMemoryCluster(LoopClock(), namespaces=["shop"])
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": account_name("target"), "namespace": "shop"},
        "data": {"spending.json": "{"},
    }
    await cluster.create(kinds.CONFIG_MAPS, "shop", body)
    with pytest.raises(CorruptLedger, match="restore or delete it"):
        await total(SpendingAccount(cluster))
