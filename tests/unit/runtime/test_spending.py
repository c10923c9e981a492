"""The account of what experiments spent: adds up, only grows, outlives Experiments, is never taken for empty."""

from __future__ import annotations

import json

import pytest

from trimtab.adapters.clock import LoopClock
from trimtab.domain import kinds
from trimtab.domain.errors import CorruptLedger
from trimtab.domain.trial import Spent
from trimtab.runtime.spending import SpendingAccount, account_name
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
