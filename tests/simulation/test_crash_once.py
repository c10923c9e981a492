"""A whole Experiment in virtual time, and an operator that crashes once, before and after every single effect of it."""

from __future__ import annotations

import pytest
from benchmarks.operator.live import ARM, FINALIZER, phase_of
from tests.simulation.world import NAME, NAMESPACE, SOBOL, TARGET, made, told

from trimtab.domain import kinds
from trimtab.simulate.invariants import check_history
from trimtab.simulate.life import CrashAt, LifeOptions
from trimtab.simulate.world import World


async def played(trials: int, crash: CrashAt | None = None) -> tuple[World, CrashAt]:
    """The whole story; after a crash another operator takes over."""
    world, last = await made(search=SOBOL, stopping={"maxTrials": trials}), CrashAt()
    if crash is not None:
        first = world.start(LifeOptions("first", fail_point=crash))
        await world.until(lambda: first.killed or world.ended(NAME)(), seconds=600)
        await first.gone() if first.killed else await first.shut_down()
        world.expire_lease()
    world.start(LifeOptions("second", fail_point=last))
    assert await world.until(world.ended(NAME), seconds=600), "no end within ten minutes"
    await world.close()
    return world, last


async def check_end(world: World, expected: int) -> None:
    """Everything taught once, nothing left behind, the target as it was."""
    check_history(world.history.changes)
    trials = await world.cluster.list(kinds.TRIALS, NAMESPACE)
    assert sorted(t["spec"]["index"] for t in trials) == list(range(expected))
    assert {phase_of(t) for t in trials} == {"Succeeded"}
    assert all(FINALIZER not in t["metadata"].get("finalizers", []) for t in trials)
    for kind in (kinds.DEPLOYMENTS, kinds.REPLICA_SETS):
        assert await world.cluster.list(kind, NAMESPACE, labels=ARM) == ()
    ended = await world.cluster.get(kinds.EXPERIMENTS, NAMESPACE, NAME)
    assert ended["status"]["phase"] == "Completed"
    target = await world.cluster.get(kinds.DEPLOYMENTS, NAMESPACE, TARGET)
    assert target["metadata"]["generation"] == 1
    account = [c for c in await world.cluster.list(kinds.CONFIG_MAPS, NAMESPACE) if "spending" in c["metadata"]["name"]]
    assert len(account) == 1
    (lock,) = await world.cluster.list(kinds.LEASES, NAMESPACE)
    assert lock["spec"]["holderIdentity"] == ""


def test_an_experiment_completes() -> None:
    told(_completes())


async def _completes() -> None:
    world, effects = await played(2)
    await check_end(world, 2)
    trials = [c for c in world.history.changes if c.kind == "trials" and c.name.endswith("-0001")]
    phases = list(dict.fromkeys(phase_of(c.object) for c in trials))
    assert phases == ["Pending", "Deploying", "WarmingUp", "Measuring", "Draining", "Succeeded"]
    assert ("before:create:Deployment", 4) in effects.seen


@pytest.mark.thorough
def test_the_same_story_is_told_twice() -> None:
    first, second = [told(played(1))[0].history.changes for _ in range(2)]
    assert [(c.version, c.type, c.object) for c in first] == [(c.version, c.type, c.object) for c in second]


@pytest.mark.thorough
def test_a_crash_at_any_effect_loses_nothing() -> None:
    """Before each effect, and after the last: after an effect is before the next, for all that is stored."""
    _, calm = told(played(1))
    points = [p for p in calm.seen if p[0].startswith("before:")]
    assert len(points) > 20
    for point, nth in (*points, calm.seen[-1]):
        crash = CrashAt(point, nth)
        try:
            told(_crashed(crash))
        except AssertionError as error:
            error.add_note(f"after a crash at {point}:{nth}")
            raise
        assert crash.seen[-1] == (point, nth)


async def _crashed(crash: CrashAt) -> None:
    world, _ = await played(1, crash)
    await check_end(world, 1)
