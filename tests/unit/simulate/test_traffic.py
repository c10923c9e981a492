"""Load and counts: nothing is lost between pods, whenever somebody looks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from benchmarks.simulation.stories import service
from tests.simulation.world import NAMESPACE, told

from trimtab.domain import kinds
from trimtab.simulate.traffic import Scraping
from trimtab.simulate.world import Options, Setting, World
from trimtab.workload.faults import Fault, FaultKind

LOAD = 4000.0
TOTAL = 'sum(increase(http_requests_total{namespace="shop",pod=~"web-.*"}[%ds]))'


async def a_world(seed: int = 1, **scraping: float) -> World:
    workload, manifests = service()
    options = Options(seed=seed, scraping=Scraping(**{"interval": 5.0, "past_days": 1.0} | scraping))  # type: ignore[arg-type]
    return await World.build(Setting(workload, manifests, NAMESPACE), options)


async def asked(world: World, query: str) -> float:
    rows = await world.prometheus.vector(query, world.clock.now(), 5.0)
    return rows[0].points[0][1] if rows else 0.0


@pytest.mark.parametrize("looks", [1, 40])
def test_all_requests_are_counted_once(looks: int) -> None:
    async def story() -> float:
        world = await a_world()
        for _ in range(looks):
            await world.run(400.0 / looks)
            await asked(world, TOTAL % 300)
        return await asked(world, TOTAL % 300)

    assert told(story()) == pytest.approx(300 * LOAD, rel=0.02)


def test_load_follows_the_endpoints() -> None:
    async def story() -> tuple[float, float, float]:
        world = await a_world()
        await world.run(60.0)
        first = world.admin.list(kinds.PODS, NAMESPACE)[0]["metadata"]["name"]
        one = f'sum(rate(http_requests_total{{namespace="shop",pod="{first}"}}[30s]))'
        before = await asked(world, one)
        fault = Fault(name="out", kind=FaultKind.NOT_READY, selector={"pod-template-hash": "none"})
        world.traffic.faults.set(fault, world.clock.now())  # concerns nobody
        world.admin.scale(NAMESPACE, "web", 8)
        await world.until(lambda: len(world.traffic.shares[NAMESPACE, "web"].endpoints) == 8, seconds=30)
        await world.run(60.0)
        return before, await asked(world, one), await asked(world, TOTAL % 30) / 30

    before, after, total = told(story())
    assert before == pytest.approx(LOAD / 4, rel=0.05)
    assert after == pytest.approx(LOAD / 8, rel=0.05)
    assert total == pytest.approx(LOAD, rel=0.05)


def test_a_fault_counts_from_its_beginning_to_its_end() -> None:
    async def story() -> list[float]:
        world = await a_world()
        found = []
        bad = 'sum(increase(http_requests_total{namespace="shop",pod=~"web-.*",code="500"}[100s]))'
        for errors in (0.0, 20.0, 0.0):
            if errors:
                fault = Fault(name="bad", kind=FaultKind.ERRORS, error_percent=errors)
                world.traffic.faults.set(fault, world.clock.now())
            else:
                world.traffic.faults.clear()
            await world.run(110.0)
            found.append(await asked(world, bad) / (100 * LOAD))
        return found

    calm, wrong, again = told(story())
    assert calm < 0.001
    assert wrong == pytest.approx(0.2, rel=0.05)
    assert again < 0.01


def test_a_restarted_container_counts_from_zero_and_nothing_goes_backwards() -> None:
    async def story() -> tuple[float, float, float]:
        world = await a_world()
        await world.run(100.0)
        fault = Fault(name="oom", kind=FaultKind.OOM, start=world.clock.now())
        world.traffic.faults.set(fault, world.clock.now())
        world.kubelet.look()
        await world.run(60.0)
        kills = await asked(world, "sum(container_oom_events_total)")
        restarts = await asked(world, "sum(kube_pod_container_status_restarts_total)")
        return kills, restarts, await asked(world, TOTAL % 150)

    kills, restarts, total = told(story())
    assert (kills, restarts) == (4.0, 4.0)
    assert 0.9 * 150 * LOAD < total < 150 * LOAD  # what nobody scraped before the kill is lost, as in reality


def test_the_clusters_own_metrics_and_missing_scrapes() -> None:
    async def story() -> dict[str, float]:
        world = await a_world()
        await world.run(30.0)
        queries = {
            "up": "sum(up)",
            "requests": 'sum(kube_pod_container_resource_requests{resource="cpu"})',
            "limits": 'avg(kube_pod_container_resource_limits{resource="memory"})',
            "ready": 'sum(kube_pod_status_ready{condition="true"})',
            "memory": "avg(container_memory_working_set_bytes)",
            "throttled": "sum(rate(container_cpu_cfs_throttled_periods_total[20s]))",
        }
        found = {name: await asked(world, query) for name, query in queries.items()}
        fault = Fault(name="blind", kind=FaultKind.SCRAPE_MISSING)
        world.traffic.faults.set(fault, world.clock.now())
        await world.run(60.0)
        samples = await world.prometheus.matrix('http_requests_total{code="200"}[30s]', world.clock.now(), 5.0)
        return found | {"blind": float(sum(len(s.points) for s in samples))}

    found = told(story())
    assert (found["up"], found["requests"], found["ready"], found["blind"]) == (4.0, 8.0, 4.0, 0.0)
    assert found["limits"] == 2 * 2**30
    assert 200 * 2**20 < found["memory"] < 2 * 2**30
    assert found["throttled"] >= 0.0


def test_budgets_have_a_past_of_weeks() -> None:
    async def story() -> tuple[float, float]:
        world = await a_world(past_days=30.0)
        return await asked(world, TOTAL % (20 * 86400)), await asked(world, TOTAL % 3600)

    month, hour = told(story())
    assert month == pytest.approx(20 * 86400 * LOAD, rel=0.01)
    assert hour == pytest.approx(3600 * LOAD, rel=0.01)


def test_the_same_seed_counts_the_same() -> None:
    async def story(seed: int) -> float:
        world = await a_world(seed)
        await world.run(50.0)
        return await asked(world, TOTAL % 40)

    def counted(seed: int) -> float:
        return told(story(seed))

    run: Callable[[int], float] = counted
    assert run(1) == run(1) != run(2)
