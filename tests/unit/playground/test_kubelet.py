"""The kubelet writes each change once, tries again after errors, and finalizes deletions."""

from __future__ import annotations

from typing import Any, cast

import pytest
from tests.unit.playground.conftest import Clock, FakeKube, MakePod

from playground.kube import Kube
from playground.kubelet import Kubelet
from trimtab.workload import Fault, WorkloadSpec
from trimtab.workload.faultboard import FaultBoard
from trimtab.workload.lifecycle import Phase


class World:
    """A kubelet with a fake API server and a clock to turn."""

    def __init__(self, web: WorkloadSpec) -> None:
        self.kube, self.clock, self.faults = FakeKube(), Clock(), FaultBoard()
        self.kubelet = Kubelet(cast(Kube, self.kube), (web,), self.faults, self.clock, seed=1)

    async def after(self, seconds: float) -> None:
        """Let time pass, make a pass, and let its requests end."""
        self.kubelet.step(self.clock.forward(seconds))
        await self.kubelet.settled()

    @property
    def statuses(self) -> list[dict[str, Any]]:
        """Statuses written so far."""
        return [body["status"] for method, _, body in self.kube.requests if method == "PATCH" and body]


@pytest.fixture
def world(web: WorkloadSpec) -> World:
    """A world with nothing in it."""
    return World(web)


def fault(kind: str, **fields: Any) -> Fault:
    return Fault.model_validate({"name": kind.lower(), "kind": kind, **fields})


async def test_a_pod_comes_to_life_with_one_write_per_change(world: World, make_pod: MakePod) -> None:
    world.kubelet.changed(None, make_pod())
    for seconds in (0.0, 0.1, 0.3, 0.1, 2.0, 1.0, 5.0):
        await world.after(seconds)
    seen = [(s["phase"], s["containerStatuses"][0]["ready"]) for s in world.statuses]
    assert seen == [("Pending", False), ("Running", False), ("Running", True)]
    assert all(path == "/api/v1/namespaces/shop/pods/web-1/status" for _, path, _ in world.kube.requests)


async def test_a_pod_that_is_not_bound_is_left_alone(world: World, make_pod: MakePod) -> None:
    pod = make_pod()
    del pod["spec"]["nodeName"]
    world.kubelet.changed(None, pod)
    await world.after(1.0)
    assert world.kubelet.runs == {}


async def test_a_refused_write_is_made_again(world: World, make_pod: MakePod) -> None:
    world.kube.refuse(500)
    world.kubelet.changed(None, make_pod())
    await world.after(0.0)
    await world.after(0.1)
    assert len(world.statuses) == 1
    await world.after(0.5)
    assert len(world.statuses) == 2


async def test_a_deleted_pod_shuts_down_and_is_finalized(world: World, make_pod: MakePod) -> None:
    pod = make_pod()
    world.kubelet.changed(None, pod)
    await world.after(3.0)
    leaving = make_pod(deletionTimestamp="2026-01-01T00:00:00Z", deletionGracePeriodSeconds=10)
    world.kubelet.changed(pod, leaving)
    await world.after(0.3)
    assert all(method == "PATCH" for method, _, _ in world.kube.requests)
    await world.after(0.3)
    method, path, body = world.kube.requests[-1]
    assert (method, path) == ("DELETE", "/api/v1/namespaces/shop/pods/web-1")
    assert body is not None
    assert (body["gracePeriodSeconds"], body["preconditions"]) == (0, {"uid": "uid-web-1"})
    assert world.kubelet.runs == {}


async def test_a_short_grace_period_is_kept(world: World, make_pod: MakePod) -> None:
    leaving = make_pod(deletionTimestamp="2026-01-01T00:00:00Z", deletionGracePeriodSeconds=0)
    world.kubelet.changed(None, leaving)
    await world.after(0.0)
    assert world.kube.requests[-1][0] == "DELETE"


async def test_a_pod_replaced_under_its_name_is_another_pod(world: World, make_pod: MakePod) -> None:
    old, new = make_pod(), make_pod()
    new["metadata"]["uid"] = "uid-other"
    world.kubelet.changed(None, old)
    world.kubelet.changed(old, new)
    assert list(world.kubelet.runs) == ["uid-other"]
    world.kubelet.changed(new, None)
    assert world.kubelet.runs == {}


async def test_an_oom_fault_strikes_once(world: World, make_pod: MakePod) -> None:
    world.kubelet.changed(None, make_pod())
    for seconds in (0.5, 2.0, 1.0):
        await world.after(seconds)
    world.faults.set(fault("OOM"), world.clock())
    for seconds in (0.1, 1.1, 3.0, 10.0, 10.0):
        await world.after(seconds)
    (run,) = world.kubelet.runs.values()
    assert (run.life.restarts, run.life.ready, run.counters.oom_events) == (1, True, 1)
    assert world.statuses[-1]["containerStatuses"][0]["lastState"]["terminated"]["reason"] == "OOMKilled"


async def test_a_restart_resets_the_counters(world: World, make_pod: MakePod) -> None:
    world.kubelet.changed(None, make_pod())
    await world.after(1.0)
    (run,) = world.kubelet.runs.values()
    run.counters.succeeded = 500
    world.kubelet.kill(run, "OOMKilled", 137)
    await world.after(0.1)
    assert run.counters.succeeded == 500
    await world.after(1.0)
    assert (run.counters.succeeded, run.counters.oom_events) == (0, 1)


async def test_faults_reach_only_the_pods_they_select(world: World, make_pod: MakePod) -> None:
    world.kubelet.changed(None, make_pod("web-1", labels={"trimtab.dev/arm": "canary"}))
    world.kubelet.changed(None, make_pod("web-2"))
    world.faults.set(fault("NotReady", selector={"trimtab.dev/arm": "canary"}), world.clock())
    for seconds in (0.5, 3.0, 1.0):
        await world.after(seconds)
    assert {run.key[1]: run.life.ready for run in world.kubelet.runs.values()} == {"web-1": False, "web-2": True}


async def test_an_eviction_is_written_and_the_pod_no_longer_played(world: World, make_pod: MakePod) -> None:
    world.kubelet.changed(None, make_pod())
    await world.after(1.0)
    world.faults.set(fault("Evict"), world.clock())
    await world.after(0.1)
    await world.after(0.1)
    assert world.statuses[-1]["reason"] == "Evicted"
    assert world.kubelet.runs == {}


async def test_a_program_that_starts_again_takes_over_running_pods(world: World, make_pod: MakePod) -> None:
    pod = make_pod()
    terminated = {"reason": "OOMKilled", "exitCode": 137}
    pod["status"] = {
        "phase": "Running",
        "podIP": "10.244.9.9",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "web", "restartCount": 2, "lastState": {"terminated": terminated}}],
    }
    world.kubelet.changed(None, pod)
    (run,) = world.kubelet.runs.values()
    assert (run.life.phase, run.life.ready, run.life.ip, run.life.restarts) == (Phase.RUNNING, True, "10.244.9.9", 2)


async def test_a_pod_of_no_workload_just_runs(world: World, make_pod: MakePod) -> None:
    pod = make_pod()
    pod["metadata"]["labels"] = {"app": "other"}
    world.kubelet.changed(None, pod)
    await world.after(0.5)
    await world.after(0.1)
    (run,) = world.kubelet.runs.values()
    assert run.workload is None
    assert run.life.ready
