"""A route's weights carry the load to the pods of each backend, and what they lead to nowhere is counted as lost."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks.simulation.stories import service
from tests.simulation.world import NAMESPACE, told
from tests.unit.simulate.test_traffic import LOAD, asked

from trimtab.domain import kinds
from trimtab.domain.errors import NotFound
from trimtab.domain.names import LABEL_ARM
from trimtab.simulate.frozen import thawed
from trimtab.simulate.traffic import Scraping
from trimtab.simulate.world import Options, Setting, World

ROUTE = {"apiVersion": kinds.HTTP_ROUTES.api_version, "kind": kinds.HTTP_ROUTES.name}
ARM = {LABEL_ARM: "canary"}


def route(**weights: int) -> dict[str, Any]:
    refs = [{"name": name, "port": 80, "weight": weight} for name, weight in weights.items()]
    spec = {"parentRefs": [{"name": "gateway"}], "rules": [{"name": "main", "backendRefs": refs}]}
    return {**ROUTE, "metadata": {"name": "web"}, "spec": spec}


async def a_world(**weights: int) -> World:
    workload, manifests = service()
    options = Options(seed=1, scraping=Scraping(interval=5.0, past_days=1.0))
    return await World.build(Setting(workload, (*manifests, route(**weights)), NAMESPACE), options)


async def add_arm(world: World, replicas: int = 1) -> None:
    """A Deployment like an arm's, whose pods no Service of the target selects, and a Service of its own."""
    found = thawed(world.admin.list(kinds.DEPLOYMENTS, NAMESPACE)[0])
    spec = found["spec"]
    spec["template"]["metadata"]["labels"] = dict.fromkeys(spec["template"]["metadata"]["labels"], "arm") | ARM
    spec |= {"replicas": replicas, "selector": {"matchLabels": ARM}}
    world.admin.apply({**found, "metadata": {"name": "arm"}}, NAMESPACE)
    selecting = {"selector": ARM, "ports": [{"name": "http", "port": 80}]}
    world.admin.apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "arm"}, "spec": selecting}, NAMESPACE
    )
    assert await world.until(lambda: len(endpoints(world)) == replicas, seconds=60)


def endpoints(world: World) -> list[str]:
    slices = world.admin.list(kinds.ENDPOINT_SLICES, NAMESPACE)
    mine = [s for s in slices if s["metadata"]["labels"]["kubernetes.io/service-name"] == "arm"]
    return [e["targetRef"]["name"] for s in mine for e in s["endpoints"] if e["conditions"]["ready"]]


def weigh(world: World, **weights: int) -> None:
    rules = route(**weights)["spec"]["rules"]
    world.admin.edit(kinds.HTTP_ROUTES, NAMESPACE, "web", lambda r: r["spec"].update(rules=rules))


def rate(pods: str, seconds: int = 50) -> str:
    return f'sum(increase(http_requests_total{{namespace="shop",pod=~"{pods}"}}[{seconds}s])) / {seconds}'


def test_load_follows_the_weights_whatever_the_number_of_pods() -> None:
    async def story() -> list[float]:
        world = await a_world(web=1)
        await add_arm(world)
        found = []
        for weights in ({"web": 1, "arm": 0}, {"web": 900, "arm": 100}, {"web": 1}):
            weigh(world, **weights)
            await world.run(60.0)
            found += [await asked(world, rate("arm-.*")), await asked(world, rate("web-.*"))]
        world.admin.scale(NAMESPACE, "arm", 3)
        weigh(world, web=900, arm=100)
        assert await world.until(lambda: len(endpoints(world)) == 3, seconds=60)
        await world.run(60.0)
        return [*found, await asked(world, rate("arm-.*")), await asked(world, rate("web-.*"))]

    nothing, all_of_it, arm, rest, nothing_again, whole, three, still = told(story())
    assert (nothing, nothing_again) == (0.0, 0.0)
    assert [all_of_it, rest, whole] == pytest.approx([LOAD, 0.9 * LOAD, LOAD], rel=0.03)
    assert [arm, three, still] == pytest.approx([0.1 * LOAD, 0.1 * LOAD, 0.9 * LOAD], rel=0.05)


def test_a_pods_share_is_exact_over_changes_between_two_looks() -> None:
    """Weights that change within a scrape interval count by the second."""

    async def story() -> tuple[float, float]:
        world = await a_world(web=1)
        await add_arm(world)
        begun = world.clock.now()
        for weight in (100, 0, 300, 0):
            weigh(world, web=1000 - weight, arm=weight)
            await world.run(7.0)
        await world.run(60.0)
        total = await asked(world, rate("arm-.*", 100))
        return total * 100, world.traffic.shares[NAMESPACE, "web"].requests_lost(begun, world.clock.now())

    served, lost = told(story())
    assert served == pytest.approx((0.1 + 0.3) * 7.0 * LOAD, rel=0.03)
    assert lost == 0.0


def test_a_weight_on_a_backend_without_endpoints_is_an_outage_for_its_share() -> None:
    async def story() -> tuple[float, float, float]:
        world = await a_world(web=1)
        await add_arm(world)
        weigh(world, web=900, arm=100)
        await world.run(30.0)
        share, begun = world.traffic.shares[NAMESPACE, "web"], world.clock.now()
        before = share.requests_lost(0.0 + begun - 10.0, begun)
        world.admin.delete(kinds.DEPLOYMENTS, NAMESPACE, "arm")
        assert await world.until(lambda: not endpoints(world), seconds=60)
        gone = world.clock.now()
        await world.run(100.0)
        lost = share.requests_lost(gone, gone + 100.0)
        weigh(world, web=1)
        await world.run(10.0)
        begun = world.clock.now()
        await world.run(30.0)
        return before, lost, share.requests_lost(begun, world.clock.now())

    before, lost, after = told(story())
    assert (before, after) == (0.0, 0.0)
    assert lost == pytest.approx(0.1 * LOAD * 100.0, rel=0.02)


def test_a_service_that_is_gone_has_no_endpoints() -> None:
    async def story() -> float:
        world = await a_world(web=1)
        await add_arm(world)
        weigh(world, web=900, arm=100)
        await world.run(5.0)
        world.admin.delete(kinds.SERVICES, NAMESPACE, "arm")
        await world.run(5.0)
        conditions = world.admin.find(kinds.HTTP_ROUTES, NAMESPACE, "web")["status"]["parents"][0]["conditions"]
        assert [c["reason"] for c in conditions] == ["Accepted", "BackendNotFound"]
        return world.traffic.shares[NAMESPACE, "web"].lost.now

    assert told(story()) == pytest.approx(0.1)


def test_routes_are_served_only_where_somebody_has_one() -> None:
    async def story() -> None:
        workload, manifests = service()
        world = await World.build(Setting(workload, manifests, NAMESPACE), Options(scraping=Scraping(past_days=0.0)))
        with pytest.raises(NotFound):
            await world.cluster.list(kinds.HTTP_ROUTES, NAMESPACE)
        assert (await (await a_world(web=1)).cluster.list(kinds.HTTP_ROUTES, NAMESPACE))[0]["status"]["parents"]

    told(story())
