"""An operator in a simulation: its connection, its watch, and how it dies, freezes and comes back."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from tests.simulation.world import NAME, NAMESPACE, SOBOL, made, told

from trimtab.domain import kinds
from trimtab.domain.errors import Forbidden, NotFound, Unavailable
from trimtab.simulate.client import Client, Dead, LiveStore, Request
from trimtab.simulate.cluster import WatchEvent
from trimtab.simulate.life import ActAt, CrashAt, Life, LifeOptions
from trimtab.simulate.world import World

ONE = {"search": SOBOL, "stopping": {"maxTrials": 1}}


def test_a_killed_operator_writes_nothing_more() -> None:
    async def story() -> tuple[int, int, int]:
        world = await made(**ONE)
        life = world.start(LifeOptions("first", fail_point=CrashAt("after:create:Trial", 1)))
        await world.until(lambda: life.killed, seconds=60)
        await life.gone()
        version = world.cluster.objects.version
        await world.run(30.0)
        return len(life.tasks), version, world.cluster.objects.version

    tasks, before, after = told(story())
    assert tasks == 0
    assert before == after


def test_a_killed_operator_asks_nothing_more() -> None:
    async def story() -> None:
        world, asked = await made(), list[str]()

        async def note(expression: str) -> None:
            asked.append(expression)

        world.prometheus.before = note
        client = Client(world.cluster)
        store = LiveStore(world.store, client)
        await store.vector("up", world.clock.now(), 1.0)
        client.dead = True
        with pytest.raises(Dead):
            await store.vector("up", world.clock.now(), 1.0)
        with pytest.raises(Dead):
            await store.matrix("up[1m]", world.clock.now(), 1.0)
        with pytest.raises(Dead):
            await store.range("up", world.clock.now() - 60.0, world.clock.now(), 1.0, 1.0)
        assert asked == ["up"]

    told(story())


def test_a_frozen_operator_goes_on_where_it_stopped_and_finds_out() -> None:
    async def story() -> tuple[list[bool], str | None]:
        world = await made(**ONE)

        async def freeze(life: Life) -> None:
            life.freeze()
            await world.clock.sleep(0.0)

        first = world.start(LifeOptions("first", fail_point=ActAt("before:create:Deployment", 1, freeze)))
        await world.until(lambda: bool(world.trials(NAME)), seconds=60)
        await world.run(1.0)
        version = world.cluster.objects.version
        await world.run(10.0)
        assert world.cluster.objects.version == version  # not even its Lease was renewed
        second = world.start(LifeOptions("second"))
        await world.run(20.0)
        leading = [first.parts.elector.leading, second.parts.elector.leading]
        first.thaw()
        await world.until(lambda: first.ended is not None, seconds=60)
        await world.until(world.ended(NAME), seconds=300)
        await world.close()
        return leading, first.ended

    leading, why = told(story())
    assert leading == [False, True]
    assert why


def test_the_world_goes_on_while_an_operator_is_frozen() -> None:
    """Timers of kubelets that an operator's write set off are the world's, not the operator's."""

    async def story() -> int:
        world = await made(**ONE)

        async def freeze(life: Life) -> None:
            life.freeze()
            await world.clock.sleep(0.0)

        world.start(LifeOptions("first", fail_point=ActAt("after:create:Deployment", 1, freeze)))
        await world.until(lambda: len(world.admin.list(kinds.DEPLOYMENTS, NAMESPACE)) == 2, seconds=60)
        await world.run(10.0)
        return len(world.traffic.shares[NAMESPACE, "web"].endpoints)

    assert told(story()) == 5  # four pods of the target, and the canary


def test_a_missing_right_is_refused_in_the_servers_words() -> None:
    async def story() -> str:
        world = await made(**ONE)
        client = Client(world.cluster)
        client.missing = frozenset({("update", "trials/status"), ("get", "leases")})
        with pytest.raises(Forbidden) as caught:
            await client.get(kinds.LEASES, NAMESPACE, "a")
        await client.list(kinds.LEASES, NAMESPACE)
        return caught.value.message

    words = told(story())
    assert 'cannot get resource "leases" in API group "coordination.k8s.io" in the namespace "shop"' in words


def test_a_stale_cache_shows_the_past_and_hooks_see_every_request() -> None:
    async def story() -> list[str]:
        world = await made(**ONE)
        client, seen = Client(world.cluster), []

        async def note(request: Request) -> None:
            seen.append(str(request))

        client.before = note
        client.stale = world.cluster.objects.as_of(world.cluster.objects.version - 1)
        with pytest.raises(NotFound):
            await client.get(kinds.EXPERIMENTS, NAMESPACE, NAME)
        assert await client.list(kinds.EXPERIMENTS, NAMESPACE) == ()
        client.stale = None
        assert len(await client.list(kinds.EXPERIMENTS, NAMESPACE)) == 1
        client.dead = True
        with pytest.raises(Dead):
            await client.version()
        return seen

    assert told(story()) == ["get:Experiment", "list:Experiment", "list:Experiment"]


def test_an_answer_can_get_lost_after_the_effect() -> None:
    async def story() -> int:
        world = await made(**ONE)
        client = Client(world.cluster)

        async def lose(_: Request) -> None:
            raise Unavailable(0, "time-out")

        client.after = lose
        with pytest.raises(Unavailable):
            await client.create(kinds.CONFIG_MAPS, NAMESPACE, {"metadata": {"name": "a"}})
        return len(world.admin.list(kinds.CONFIG_MAPS, NAMESPACE))

    assert told(story()) == 1


def _nothing(_: WatchEvent) -> Iterable[tuple[float, WatchEvent]]:
    return ()


def _twice_and_late(event: WatchEvent) -> Iterable[tuple[float, WatchEvent]]:
    return ((3.0, event), (0.5, event))


@pytest.mark.parametrize("deliver", [_nothing, _twice_and_late])
def test_streams_that_lose_repeat_and_delay_only_cost_time(deliver: object) -> None:
    async def story() -> World:
        world = await made(**ONE)
        world.start(LifeOptions("first", deliver=deliver))  # type: ignore[arg-type]
        assert await world.until(world.ended(NAME), seconds=900)
        await world.close()
        return world

    world = told(story())
    assert [t["status"]["phase"] for t in world.trials(NAME)] == ["Succeeded"]


def test_a_stream_that_ends_is_listed_anew() -> None:
    async def story() -> bool:
        world = await made(**ONE)
        life = world.start(LifeOptions("first", deliver=_nothing))
        await world.until(lambda: bool(world.trials(NAME)), seconds=120)
        life.watch.deliver = None
        life.watch.close()
        ended = await world.until(world.ended(NAME), seconds=120)
        await world.close()
        return ended

    assert told(story())
