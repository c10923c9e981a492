"""Whole trials by weights in virtual time: who gets what, what gets lost, and what is left afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks.simulation.stories import NAME, NAMESPACE, STORIES, TARGET, Story, begun, trial_is
from tests.simulation.world import told

from trimtab.domain import kinds
from trimtab.simulate.invariants import check_history
from trimtab.simulate.reaping import MinutelyReap
from trimtab.simulate.world import World

SHARE = 0.16


def story(name: str) -> Story:
    return next(s for s in STORIES if s.name == name)


def rule(world: World) -> dict[str, int]:
    route = world.admin.find(kinds.HTTP_ROUTES, NAMESPACE, "shop")
    assert route is not None
    (only,) = route["spec"]["rules"]
    return {r["name"]: r["weight"] for r in only["backendRefs"]}


def trial(world: World) -> Any:
    return world.trials(NAME)[0]


def test_a_trial_gets_its_share_and_loses_no_request() -> None:
    told(_share())


async def _share() -> None:
    world = await begun(story("route"))
    since = world.clock.now()
    world.start()
    assert await world.until(lambda: trial_is(0, "Measuring")(world), seconds=300)
    whole = sum(rule(world).values())
    parts = {name[-2:]: weight / whole for name, weight in rule(world).items()}
    assert parts == {TARGET[-2:]: pytest.approx(1 - 2 * SHARE), "-c": SHARE, "-b": SHARE}
    assert await world.until(world.ended(NAME), seconds=300)
    share = world.traffic.shares[NAMESPACE, TARGET]
    lost = share.requests_lost(since, world.clock.now())
    assert lost == 0.0
    await world.close()
    check_history(world.history.changes)
    assert trial(world)["status"]["phase"] == "Succeeded"
    loads = {load["arm"]: load["rpsPerPod"] for load in trial(world)["status"]["load"]}
    assert loads["canary"] / (loads["canary"] + loads["control"]) == pytest.approx(0.5, abs=0.02)


def test_reap_frees_the_route_of_an_operator_that_is_gone() -> None:
    told(_reaped())


async def _reaped() -> None:
    world = await begun(story("route"))
    life, since = world.start(), world.clock.now()
    assert await world.until(lambda: trial_is(0, "Measuring")(world), seconds=300)
    life.kill()
    await life.gone()
    reap = MinutelyReap(world.cluster, world.clock)
    reap.start(world.context)
    assert await world.until(lambda: set(rule(world)) == {TARGET}, seconds=180)
    assert await world.until(lambda: len(world.admin.list(kinds.SERVICES, NAMESPACE)) == 1, seconds=60)
    share = world.traffic.shares[NAMESPACE, TARGET]
    assert share.requests_lost(since, world.clock.now()) == 0.0
    reap.stop()
    await world.close()
    check_history(world.history.changes)
