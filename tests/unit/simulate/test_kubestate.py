"""Replicas as kube-state-metrics tells them: of target, arms and autoscalers, over time."""

from __future__ import annotations

from tests.simulation.world import NAMESPACE, told
from tests.unit.simulate.test_traffic import a_world, asked

from trimtab.domain import kinds
from trimtab.simulate.frozen import thawed

SPEC = 'kube_deployment_spec_replicas{namespace="shop",deployment="%s"}'


def test_replicas_follow_what_happens() -> None:
    async def story() -> list[float]:
        world = await a_world()
        await world.run(30.0)
        found = [await asked(world, SPEC % "web")]
        world.admin.scale(NAMESPACE, "web", 6)
        await world.run(30.0)
        found.append(await asked(world, SPEC % "web"))
        found.append(await asked(world, 'kube_deployment_status_replicas_available{deployment="web"}'))
        found.append(await asked(world, f"min_over_time({SPEC % 'web'}[50s])"))
        found.append(await asked(world, f"avg_over_time({SPEC % 'web'}[60s])"))
        return found

    before, after, available, least, mean = told(story())
    assert (before, after, available, least) == (4.0, 6.0, 6.0, 4.0)
    assert 4.9 <= mean <= 5.2


def test_an_arms_series_end_with_it_and_begin_anew() -> None:
    async def story() -> list[float]:
        world = await a_world()
        arm = thawed(world.admin.list(kinds.DEPLOYMENTS, NAMESPACE)[0])
        arm = {**arm, "metadata": {"name": "tt-1-0-c"}}
        arm["spec"]["replicas"] = 1
        found = []
        for replicas in (1, 2):
            world.admin.apply({**arm, "spec": {**arm["spec"], "replicas": replicas}}, NAMESPACE)
            await world.run(20.0)
            found.append(await asked(world, SPEC % "tt-1-0-c"))
            world.admin.delete(kinds.DEPLOYMENTS, NAMESPACE, "tt-1-0-c")
            await world.run(20.0)
            found.append(await asked(world, SPEC % "tt-1-0-c"))
        found.append(await asked(world, "max(max_over_time(" + SPEC % "tt-1-0-c" + "[100s]))"))
        return found

    assert told(story()) == [1.0, 0.0, 2.0, 0.0, 2.0]


def test_what_an_autoscaler_wants() -> None:
    async def story() -> tuple[float, float]:
        world = await a_world()
        world.admin.add_autoscaler(NAMESPACE, "web", least=5)
        await world.run(30.0)
        desired = 'kube_horizontalpodautoscaler_status_desired_replicas{horizontalpodautoscaler="web"}'
        return await asked(world, desired), await asked(world, SPEC % "web")

    assert told(story()) == (5.0, 5.0)
