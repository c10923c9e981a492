"""What goes wrong is drawn from a seed: every fault soon, none for ever, the same again for the same seed."""

from __future__ import annotations

from itertools import pairwise

import pytest

from faultproxy import Asked, Fault, Plan, WatchFault, asked_of
from faultproxy.plan import READ_FAULTS, Deck, Rates

CREATE = Asked("create", "trials")
LEASE = Asked("update", "leases", "trimtab-operator")
LIST = Asked("list", "pods")


def test_every_fault_comes_once_before_any_comes_again() -> None:
    deck = Deck("seed", "abcd", 2)
    drawn = [deck.draw() for _ in range(24)]
    assert sorted(card for card in drawn[:12] if card) == list("abcd")
    assert sorted(card for card in drawn[12:] if card) == list("abcd")


def test_each_block_has_one_fault() -> None:
    """So no request fails for ever, and none is spared for long."""
    deck = Deck("seed", "abcd", 3)
    drawn = [deck.draw() for _ in range(64)]
    at = [number for number, card in enumerate(drawn) if card]
    assert len(at) == 16
    assert max(b - a for a, b in pairwise(at)) <= 7


def test_the_first_write_of_each_kind_fails_each_in_its_own_way() -> None:
    plan = Plan(3)
    first = [plan.request(Asked("create", f"things-{number}")) for number in range(len(Fault))]
    assert set(first) == set(Fault)
    assert plan.request(Asked("create", "things-0")) is None


def test_the_same_seed_deals_the_same_whatever_comes_between() -> None:
    alone, among = Plan(7), Plan(7)
    first = [alone.request(CREATE) for _ in range(30)]
    second = []
    for _ in range(30):
        among.request(LIST)
        second.append(among.request(CREATE))
        among.watch(Asked("watch", "trials"))
    assert first == second
    assert first != [Plan(8).request(CREATE) for _ in range(30)] or first != [
        Plan(9).request(CREATE) for _ in range(30)
    ]


@pytest.mark.parametrize(
    ("asked", "blanks", "faults"),
    [
        (CREATE, Rates.writes, tuple(Fault)),
        (LEASE, Rates.leases, tuple(Fault)),
        (LIST, Rates.reads, (*READ_FAULTS, Fault.SILENT_AFTER)),
    ],
    ids=str,
)
def test_how_often_depends_on_what_is_asked(asked: Asked, blanks: int, faults: tuple[Fault, ...]) -> None:
    plan = Plan(1, Rates(often_silent=True))
    drawn = [plan.request(asked) for _ in range((blanks + 1) * len(faults))]
    assert sorted(f for f in drawn if f is not None) == sorted(faults)


def test_a_short_run_is_rarely_kept_waiting() -> None:
    plan = Plan(1)
    first = [plan.request(Asked("create", f"things-{number}")) for number in range(len(Fault))]
    later = [plan.request(asked) for asked in (CREATE, LIST, Asked("create", "things-0")) for _ in range(500)]
    assert first.count(Fault.SILENT_AFTER) == 1
    assert Fault.SILENT_AFTER not in later


def test_every_watch_ends() -> None:
    plan = Plan(1)
    lives = [plan.watch(Asked("watch", "pods")) for _ in range(2 * len(WatchFault))]
    assert {life.fault for life in lives} == set(WatchFault)
    assert all(1 <= life.events <= Rates.events_of_watch for life in lives)
    assert all(0.5 <= life.seconds <= Rates.seconds_of_watch for life in lives)


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("GET /api/v1/namespaces/shop/pods", Asked("list", "pods")),
        ("GET /api/v1/namespaces/shop/pods?watch=true", Asked("watch", "pods")),
        ("GET /api/v1/namespaces/shop", Asked("get", "namespaces", "shop")),
        ("GET /apis/apps/v1/deployments", Asked("list", "deployments")),
        ("POST /apis/trimtab.dev/v1alpha1/namespaces/shop/trials", Asked("create", "trials")),
        ("POST /apis/apps/v1/namespaces/shop/deployments?dryRun=All", Asked("dryrun", "deployments")),
        (
            "PUT /apis/trimtab.dev/v1alpha1/namespaces/shop/trials/web-1/status",
            Asked("update", "trials/status", "web-1"),
        ),
        ("DELETE /api/v1/namespaces/shop/pods/tt-1-c-x", Asked("delete", "pods", "tt-1-c-x")),
        ("GET /apis", Asked("get", "")),
        ("GET /apis/trimtab.dev/v1alpha1", Asked("get", "")),
        ("GET /version", Asked("get", "")),
    ],
)
def test_a_request_is_named_in_the_servers_words(line: str, asked: Asked) -> None:
    method, _, target = line.partition(" ")
    path, _, query = target.partition("?")
    assert asked_of(method, path, dict(pair.split("=") for pair in query.split("&") if pair)) == asked
