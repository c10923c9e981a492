"""Reap in virtual time: beside operators that live, after operators that died, and before everything is removed."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks.operator.live import ARM, FINALIZER, phase_of
from tests.simulation.world import NAME, NAMESPACE, SOBOL, made, told

from trimtab.domain import kinds
from trimtab.runtime.reaper import Reaped, Reaper
from trimtab.runtime.uninstall import Uninstall
from trimtab.simulate.campaign import plan_of_seed, play
from trimtab.simulate.client import Client, Request
from trimtab.simulate.faults.inject import Injector
from trimtab.simulate.faults.plan import FaultPlan, plan_of
from trimtab.simulate.faults.scenario import NAME as TUNE
from trimtab.simulate.faults.scenario import NAMESPACE as SHOP
from trimtab.simulate.faults.scenario import experiment, options, setting
from trimtab.simulate.invariants import check
from trimtab.simulate.reaping import WHERE
from trimtab.simulate.world import World

pytestmark = pytest.mark.thorough

LONG = {"warmUp": "1s", "duration": "10m", "deadline": "45m"}
SEEDS = range(0, 240, 24)


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


def test_it_tells_the_same_story_twice() -> None:
    plan = plan_of_seed(31)
    assert play(plan, reap=True) == play(plan, reap=True)


def test_a_living_operators_trials_are_what_they_are_without_it() -> None:
    calm = plan_of({"seed": 3, "scenario": {"trials": 4}, "faults": []}, "calm")
    with_it, without = play(calm, reap=True), play(calm)
    assert (with_it.breaches, with_it.terminal, with_it.phase) == ((), without.terminal, without.phase)
    assert with_it.seconds == without.seconds


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


EFFECTS = frozenset({"create", "replace", "delete"})


class Killed(Exception):
    """The uninstalling process ends here."""


class Points:
    """Counts the effects of a process, and kills it before or after one: nothing of it does anything any more."""

    def __init__(self, at: int = -1) -> None:
        self.seen, self._at, self._dead = 0, at, False

    async def __call__(self, request: Request) -> None:
        self._dead = self._dead or (request.verb in EFFECTS and self.seen == self._at)
        if self._dead:
            raise Killed
        self.seen += request.verb in EFFECTS


async def uninstall(world: World, points: Points, identity: str) -> None:
    """One process; it may be killed."""
    client = Client(world.cluster)
    client.before = client.after = points
    reaped = await Uninstall(client, world.clock, WHERE, identity).run()
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
