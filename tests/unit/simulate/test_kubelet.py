"""Lives of pods on simulated nodes: each change at its moment, in the words of a kubelet."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks.simulation.stories import service
from tests.simulation.world import NAMESPACE, told

from trimtab.api.kube import pod_from
from trimtab.domain import kinds
from trimtab.domain.kube import PodView
from trimtab.simulate.traffic import Scraping
from trimtab.simulate.world import Options, Setting, World
from trimtab.workload.faults import Fault, FaultKind


async def a_world(**options: Any) -> World:
    workload, manifests = service()
    return await World.build(
        Setting(workload, manifests, NAMESPACE), Options(scraping=Scraping(interval=5.0, past_days=0.0), **options)
    )


def pods(world: World) -> list[PodView]:
    return [pod_from(p) for p in world.admin.list(kinds.PODS, NAMESPACE)]


def strike(world: World, kind: FaultKind, **more: Any) -> None:
    """A fault on all pods of the service, from now on."""
    now = world.clock.now()
    world.traffic.faults.set(Fault(name="fault", kind=kind, start=now, **more), now)
    world.kubelet.look()


def test_pods_start_one_moment_after_another() -> None:
    async def story() -> tuple[float, list[str]]:
        world = await a_world()
        phases = [
            "/".join(f"{c.object['status'].get('phase')}" for c in (change,))
            for change in world.history.changes
            if change.kind == "pods" and change.name == pods(world)[0].name
        ]
        return world.clock.monotonic(), phases

    seconds, phases = told(story())
    assert 1.5 < seconds < 3.0  # a start of 1.25 s of work and waiting, and what the control plane takes
    assert phases[0] == "Pending"
    assert phases[-1] == "Running"


def test_an_oom_kill_restarts_the_container_and_is_told() -> None:
    async def story() -> tuple[list[PodView], list[PodView]]:
        world = await a_world()
        strike(world, FaultKind.OOM)
        await world.run(0.5)
        killed = pods(world)
        await world.run(10.0)
        return killed, pods(world)

    killed, back = told(story())
    for pod in killed:
        assert not pod.ready
        assert pod.containers[0].last_terminated_reason == "OOMKilled"
    for pod in back:
        assert pod.ready
        assert (pod.containers[0].restarts, pod.containers[0].last_terminated_reason) == (1, "OOMKilled")


def test_too_little_memory_kills_by_itself() -> None:
    async def story() -> int:
        world = await a_world()

        def shrink(deployment: dict[str, Any]) -> None:
            deployment["spec"]["template"]["spec"]["containers"][0]["resources"] = {
                side: {"cpu": "2", "memory": "384Mi"} for side in ("requests", "limits")
            }

        world.admin.edit(kinds.DEPLOYMENTS, NAMESPACE, "web", shrink)
        await world.run(900.0)
        return sum(p.containers[0].restarts for p in pods(world))

    assert told(story()) > 0


def test_a_crash_loop_backs_off() -> None:
    async def story() -> tuple[set[str], int]:
        world = await a_world()
        strike(world, FaultKind.CRASH_LOOP)
        await world.run(60.0)
        return {p.containers[0].waiting_reason for p in pods(world)}, max(p.containers[0].restarts for p in pods(world))

    reasons, restarts = told(story())
    assert reasons == {"CrashLoopBackOff"}
    assert 2 <= restarts <= 4


@pytest.mark.parametrize(
    ("kind", "waiting", "ready"), [(FaultKind.NOT_READY, "", False), (FaultKind.IMAGE_PULL, "", True)]
)
def test_readiness_and_images(kind: FaultKind, waiting: str, ready: bool) -> None:
    async def story() -> tuple[list[PodView], list[PodView]]:
        world = await a_world()
        strike(world, kind, duration="30s")
        await world.run(5.0)
        during = pods(world)
        await world.run(60.0)
        return during, pods(world)

    during, after = told(story())
    assert {(p.containers[0].waiting_reason, p.ready) for p in during} == {(waiting, ready)}
    assert all(p.ready for p in after)


def test_a_new_pod_cannot_pull_its_image() -> None:
    async def story() -> list[PodView]:
        world = await a_world()
        strike(world, FaultKind.IMAGE_PULL)
        world.admin.scale(NAMESPACE, "web", 5)
        await world.run(10.0)
        return [p for p in pods(world) if not p.ready]

    (waiting,) = told(story())
    assert waiting.containers[0].waiting_reason == "ImagePullBackOff"


def test_an_eviction_by_the_kubelet_is_final_and_the_pod_is_replaced() -> None:
    async def story() -> list[PodView]:
        world = await a_world()
        strike(world, FaultKind.EVICT)
        await world.run(10.0)
        return pods(world)

    found = told(story())
    assert sorted((p.phase, p.reason) for p in found if not p.ready) == [("Failed", "Evicted")] * 4
    assert sum(p.ready for p in found) == 4


def test_a_lost_node_takes_its_pods_with_it() -> None:
    async def story() -> tuple[int, list[PodView], list[PodView]]:
        world = await a_world(nodes=2)
        node = world.scheduler.nodes["node-0"]
        on_it = sum(p.node == "node-0" for p in pods(world))
        world.kubelet.lose(node)
        await world.run(60.0)
        unreachable = [p for p in pods(world) if p.node == "node-0"]
        await world.run(300.0)
        taken = [p for p in pods(world) if p.node == "node-0"]
        assert sum(p.ready for p in pods(world)) == 4  # replaced on the other node
        world.kubelet.remove(node)
        await world.run(5.0)
        assert not any(p.node == "node-0" for p in pods(world))
        return on_it, unreachable, taken

    on_it, unreachable, taken = told(story())
    assert on_it == len(unreachable) == len(taken) == 2
    assert not any(p.ready for p in unreachable)
    assert all(p.deleting and p.reason == "DeletionByTaintManager" for p in taken)


def test_a_node_that_comes_back_starts_its_pods_again() -> None:
    async def story() -> list[PodView]:
        world = await a_world(nodes=2)
        node = world.scheduler.nodes["node-0"]
        world.kubelet.lose(node)
        await world.run(60.0)
        world.kubelet.restore(node)
        await world.run(30.0)
        return pods(world)

    found = told(story())
    assert all(p.ready for p in found)
    assert sum(p.containers[0].restarts for p in found) == 2


def test_an_autoscaler_follows_the_load() -> None:
    async def story() -> tuple[int, int]:
        world = await a_world()
        world.admin.add_autoscaler(NAMESPACE, "web", least=1, most=10)
        await world.run(900.0)
        found = world.admin.find(kinds.DEPLOYMENTS, NAMESPACE, "web")
        hpa = world.admin.find(kinds.HORIZONTAL_POD_AUTOSCALERS, NAMESPACE, "web")
        assert found is not None
        assert hpa is not None
        return found["spec"]["replicas"], hpa["status"]["currentMetrics"][0]["resource"]["current"][
            "averageUtilization"
        ]

    replicas, utilization = told(story())
    assert replicas < 4  # 0.4 cores of 2 are used, 60 % are wanted
    assert 20 < utilization <= 66
