"""Reap in virtual time: beside operators that live, after operators that died, and before everything is removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from benchmarks.operator.live import ARM, FINALIZER, phase_of
from benchmarks.simulation.stories import AIM, BY_WEIGHTS, Story, trial_is
from benchmarks.simulation.stories import begun as begun_story
from tests.simulation.world import NAME, NAMESPACE, SOBOL, made, told

from trimtab.domain import kinds
from trimtab.runtime.reaper import Reaped, Reaper
from trimtab.runtime.uninstall import Uninstall
from trimtab.runtime.withdraw import TAKEN
from trimtab.simulate.campaign import plan_of_seed, play
from trimtab.simulate.client import Client, Request
from trimtab.simulate.faults.inject import Injector
from trimtab.simulate.faults.plan import FaultPlan, plan_of
from trimtab.simulate.faults.scenario import BEHIND, experiment, options, setting
from trimtab.simulate.faults.scenario import NAME as TUNE
from trimtab.simulate.faults.scenario import NAMESPACE as SHOP
from trimtab.simulate.invariants import check, check_history
from trimtab.simulate.reaping import WHERE
from trimtab.simulate.world import World

pytestmark = pytest.mark.thorough

LONG = {"warmUp": "1s", "duration": "10m", "deadline": "45m"}
SEEDS = range(0, 240, 24)
BEHIND_A_ROUTE = (54, 36)  # weights alone, and arms that scale, too


def dies(moment: str = "Measuring", restart: str = "300s", after: str = "1s", **rest: Any) -> FaultPlan:
    """The operator is killed in the middle of its first trial and comes back late."""
    kill = {
        "kind": "OperatorKilled",
        "when": {"moment": moment, "trial": 0, "after": after},
        "parameters": {"restartAfter": restart},
    }
    return plan_of({"seed": 7, "scenario": {"trials": 3}, "faults": [kill, *rest.get("faults", ())]}, "dies")


def test_a_dead_operators_arms_are_gone_within_three_minutes() -> None:
    told(_dead())


async def _dead() -> None:
    world = await World.build(setting(), options(7))
    plan = dies(restart="300s")
    injector = Injector(world, plan, TUNE, reap=True)
    world.admin.apply(experiment(plan.scenario), SHOP)
    injector.begin()

    def arms() -> list[str]:
        found = world.admin.list(kinds.DEPLOYMENTS, SHOP)
        return [d["metadata"]["name"] for d in found if ARM in (d["metadata"].get("labels") or {})]

    assert await world.until(lambda: bool(injector.record.strikes), seconds=300)
    died = world.clock.now()
    assert arms()
    assert await world.until(lambda: not arms(), seconds=200)
    took = world.clock.now() - died
    print(f"\nno arm {took:.1f} s after the operator's death")
    assert 60.0 <= took <= 180.0
    assert injector.reap is not None
    assert await world.until(world.ended(TUNE), seconds=3600)  # the next operator records it and goes on
    await world.run(60)
    injector.close()
    await world.close()
    assert check(injector.record) == ()
    assert any(reaped.removed for _, _, reaped in injector.reap.runs)
    outcomes = [t["status"]["outcome"]["reason"] for t in world.trials(TUNE)]
    assert outcomes[0] == "DeadlinePassed", "that of the trial, 90 s, was over when the next operator came"


@pytest.mark.parametrize("moment", ["Deploying", "WarmingUp", "Measuring", "Draining"])
def test_whenever_it_dies_every_promise_is_kept(moment: str) -> None:
    result = play(dies(moment, after="0s"), reap=True)
    assert result.breaches == ()
    assert result.terminal >= 3


def test_without_reap_the_same_death_breaks_its_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The invariant would notice: a process that does nothing stands in for it."""

    async def nothing(self: Reaper, limit: float = 0.0) -> Reaped:
        return Reaped()

    monkeypatch.setattr(Reaper, "once", nothing)
    found = {b.invariant for b in play(dies(), reap=True).breaches}
    assert found == {"NoneOutlivesItsController"}


def test_an_api_server_that_is_away_excuses_it_only_as_long() -> None:
    away = {"kind": "APIUnreachable", "when": {"moment": "Measuring", "trial": 0, "after": "2s"}, "duration": "150s"}
    result = play(dies(faults=[away]), reap=True)
    assert result.breaches == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_beside_every_other_fault_it_breaks_no_promise(seed: int) -> None:
    """Plans of the campaign, with reap beside them: what holds without it holds with it."""
    result = play(plan_of_seed(seed), reap=True)
    assert result.breaches == ()


@pytest.mark.parametrize("seed", BEHIND_A_ROUTE)
def test_nor_does_it_where_a_route_leads_to_arms(seed: int) -> None:
    plan = plan_of_seed(seed)
    assert plan.scenario.asks in BEHIND
    result = play(plan, reap=True)
    assert result.breaches == ()


def test_it_tells_the_same_story_twice() -> None:
    plan = plan_of_seed(31)
    assert play(plan, reap=True) == play(plan, reap=True)


def test_a_living_operators_trials_are_what_they_are_without_it() -> None:
    calm = plan_of({"seed": 3, "scenario": {"trials": 4}, "faults": []}, "calm")
    with_it, without = play(calm, reap=True), play(calm)
    assert (with_it.breaches, with_it.terminal, with_it.phase) == ((), without.terminal, without.phase)
    assert with_it.seconds == without.seconds


# A process that dies in its work


EFFECTS = frozenset({"create", "replace", "delete"})


class Killed(Exception):
    """The process ends here."""


class Points:
    """Counts the effects of a process, and kills it before or after one: nothing of it does anything any more."""

    def __init__(self, at: int = -1) -> None:
        self.seen, self._at, self._dead = 0, at, False

    async def __call__(self, request: Request) -> None:
        self._dead = self._dead or (request.verb in EFFECTS and self.seen == self._at)
        if self._dead:
            raise Killed
        self.seen += request.verb in EFFECTS


def client_of(world: World, points: Points) -> Client:
    """One process's."""
    client = Client(world.cluster)
    client.before = client.after = points
    return client


# Arms that scale and get their traffic by a route

SCALED = Story(
    "reaped", {**BY_WEIGHTS, "parameters": [AIM], "trial": LONG, "stopping": {"maxTrials": 1}}, routed=True, scaled=True
)


async def orphaned() -> tuple[World, dict[str, Any], float]:
    """A world whose operator died while weights led to arms, the route as it was before it came, and when it came."""
    world = await begun_story(SCALED)
    found = world.admin.find(kinds.HTTP_ROUTES, SHOP, "shop")
    assert found is not None
    life, since = world.start(), world.clock.now()
    assert await world.until(lambda: trial_is(0, "Measuring")(world), seconds=300)
    life.kill()
    await life.gone()
    return world, lasting(found), since


def lasting(route: Mapping[str, Any]) -> dict[str, Any]:
    """What its owner would miss: spec, annotations, and who owns what of them."""
    metadata = route["metadata"]
    entries = [e for e in metadata["managedFields"] if e.get("subresource") != "status"]  # the Gateway's
    owners = [(e["manager"], e["operation"], e["fieldsV1"]) for e in entries]
    return {"spec": route["spec"], "annotations": metadata.get("annotations") or {}, "owners": owners}


async def reap_once(world: World, points: Points) -> None:
    """One process; it may be killed."""
    reaped = await Reaper(client_of(world, points), world.clock, WHERE).once()
    assert reaped.problems == ()


async def check_undone(world: World, before: dict[str, Any], since: float) -> None:
    """When the first arm went the route was what it had been, as it is now; no arm is left, no request was lost."""
    assert of_arms(world, *TAKEN) == []
    assert world.traffic.shares[SHOP, "web"].requests_lost(since, world.clock.now()) == 0.0
    changes = world.history.changes
    went = next(c.version for c in changes if c.type == "DELETED" and ARM in (c.object["metadata"].get("labels") or {}))
    routes = [c for c in changes if c.kind == kinds.HTTP_ROUTES.plural]
    assert any(lasting(c.object) != before for c in routes)
    assert lasting([c for c in routes if c.version < went][-1].object) == before
    assert lasting(routes[-1].object) == before


def of_arms(world: World, *layers: kinds.Kind) -> list[str]:
    """What there is of arms."""
    found = [o for k in layers for o in world.admin.list(k, SHOP) if ARM in (o["metadata"].get("labels") or {})]
    return [f"{o['kind']}/{o['metadata']['name']}" for o in found]


async def check_successor(world: World, before: dict[str, Any]) -> None:
    """The next operator records it, and takes what a process that died left of Services, which nobody asks any more."""
    world.start()
    assert await world.until(lambda: trial_is(0, "Aborted")(world), seconds=120)
    assert of_arms(world, *TAKEN, kinds.SERVICES) == []
    route = world.admin.find(kinds.HTTP_ROUTES, SHOP, "shop")
    assert route is not None
    assert lasting(route) == before
    await world.close()
    check_history(world.history.changes)


async def _reaped(at: int | None = None) -> int:
    """With a death at this point, or without one; how many points a process passed that did not die."""
    world, before, since = await orphaned()
    if at is not None:
        with pytest.raises(Killed):
            await reap_once(world, Points(at))
    await reap_once(world, points := Points())
    await check_undone(world, before, since)
    await check_successor(world, before)
    return points.seen


def test_reap_may_die_before_and_after_each_effect() -> None:
    """The route is freed before arms go, whoever of the two processes does it."""
    count = told(_reaped())
    assert count >= 24
    for at in range(count):
        try:
            told(_reaped(at))
        except AssertionError as error:
            error.add_note(f"after a death at point {at}")
            raise


# Before everything is removed


async def begun() -> World:
    world = await made(search=SOBOL, trial=LONG)
    world.start()
    assert await world.until(lambda: [phase_of(t) for t in world.trials(NAME)] == ["Measuring"], seconds=120)
    return world


def held(world: World) -> list[str]:
    """What is left of arms, and what our finalizer holds."""
    layers = (kinds.DEPLOYMENTS, kinds.REPLICA_SETS, kinds.PODS)
    found = [o for k in layers for o in world.admin.list(k, NAMESPACE) if ARM in (o["metadata"].get("labels") or {})]
    rows = [*world.admin.list(kinds.EXPERIMENTS, NAMESPACE), *world.admin.list(kinds.TRIALS, NAMESPACE)]
    found += [o for o in rows if FINALIZER in (o["metadata"].get("finalizers") or ())]
    return [f"{o['kind']}/{o['metadata']['name']}" for o in found]


async def uninstall(world: World, points: Points, identity: str) -> None:
    """One process; it may be killed."""
    reaped = await Uninstall(client_of(world, points), world.clock, WHERE, identity).run()
    assert reaped.problems == ()


async def _counted() -> int:
    world = await begun()
    points = Points()
    await uninstall(world, points, "a")
    assert held(world) == []
    await world.close()
    return points.seen


def test_all_may_die_before_and_after_each_effect_and_is_done_by_the_next() -> None:
    count = told(_counted())
    assert count >= 20
    for at in range(count):
        told(_uninstalled_twice(at))


async def _uninstalled_twice(at: int) -> None:
    world = await begun()
    with pytest.raises(Killed):
        await uninstall(world, Points(at), "a")
    await uninstall(world, Points(), "b")
    assert held(world) == [], at
    await world.close()


def test_an_operator_that_was_not_removed_after_all_goes_on() -> None:
    told(_goes_on())


async def _goes_on() -> None:
    world = await begun()
    await uninstall(world, Points(), "a")
    assert await world.until(lambda: not any(life.alive for life in world.lives), seconds=30)
    world.start()
    await world.run(30)
    assert held(world) == [], "nobody leads for a while"
    assert await world.until(lambda: [phase_of(t) for t in world.trials(NAME)][:1] == ["Aborted"], seconds=120)
    assert await world.until(lambda: [phase_of(t) for t in world.trials(NAME)][1:] == ["Measuring"], seconds=300)
    await world.close()
