"""Shares of the load by EndpointSlices, and what is counted."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.playground.conftest import MakePod

from playground.kube import Obj
from playground.podrun import PodRun, adopt
from playground.traffic import LoadClock, Traffic, ready_endpoints
from trimtab.workload import UNLIMITED, Fault, WorkloadSpec, rounded
from trimtab.workload.faultboard import FaultBoard
from trimtab.workload.lifecycle import Acting, advance
from trimtab.workload.podspec import NODE_MEMORY, resources_of, workload_of

NOW = 1_760_000_000.0


def endpoint(pod: str, ready: bool | None = True, kind: str = "Pod") -> Obj:
    conditions = {} if ready is None else {"ready": ready}
    return {"addresses": ["10.244.0.1"], "conditions": conditions, "targetRef": {"kind": kind, "name": pod}}


def endpoint_slice(*endpoints: Obj, service: str = "web", namespace: str = "shop") -> Obj:
    labels = {"kubernetes.io/service-name": service}
    return {"metadata": {"name": "s", "namespace": namespace, "labels": labels}, "endpoints": list(endpoints)}


def test_only_ready_pods_of_the_service_count_and_each_once() -> None:
    slices = [
        endpoint_slice(endpoint("a"), endpoint("b", False), endpoint("c", None), endpoint("n", kind="Node")),
        endpoint_slice(endpoint("a"), endpoint("d")),
        endpoint_slice(endpoint("x"), service="other"),
        endpoint_slice(endpoint("y"), namespace="other"),
        {"metadata": {"name": "e", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}}},
    ]
    assert ready_endpoints(slices, "shop", "web") == {"a", "c", "d"}


@pytest.mark.parametrize("value", [0.001, 1.0, 333.3, 9000.0])
def test_rounding_is_within_a_percent(value: float) -> None:
    assert rounded(value) == pytest.approx(value, rel=0.0101)
    assert rounded(rounded(value)) == rounded(value)


def test_nothing_stays_nothing() -> None:
    assert rounded(0.0) == 0.0


def test_the_loads_clock_can_start_elsewhere_and_run_faster() -> None:
    assert LoadClock(100.0, 5000.0, 60.0).at(110.0) == 5600.0


def ready_run(pod: Obj, web: WorkloadSpec) -> PodRun:
    run = adopt(pod, (web,), "10.244.0.1", NOW - 100.0, 0.0, seed=1)
    run.life = advance(run.life, Acting(), 0.0, NOW - 100.0)
    run.life = advance(run.life, Acting(), 0.0, NOW - 99.0)
    return run


def traffic(web: WorkloadSpec, faults: FaultBoard | None = None, killed: list[Any] | None = None) -> Traffic:
    def kill(run: PodRun, reason: str, code: int) -> None:
        (killed if killed is not None else []).append((run.key[1], reason, code))

    return Traffic((web,), ("shop",), faults or FaultBoard(), LoadClock(NOW, NOW), 1, kill)


def test_ready_endpoints_share_the_load_equally(web: WorkloadSpec, make_pod: MakePod) -> None:
    runs = {r.uid: r for r in (ready_run(make_pod(f"web-{i}", cpu="2"), web) for i in range(20))}
    slices = {("shop", "s"): endpoint_slice(*(endpoint(f"web-{i}") for i in range(19)))}
    world = traffic(web)
    world.tick(runs, slices, NOW, 10.0)
    (share,) = world.shares
    assert share.endpoints == 19
    assert share.per_endpoint_rps == pytest.approx(share.offered_rps / 19)
    assert runs["uid-web-19"].counters.succeeded == 0
    served = [runs[f"uid-web-{i}"].counters.succeeded for i in range(19)]
    assert min(served) > 0.9 * share.per_endpoint_rps * 10
    assert sum(served) == pytest.approx(share.offered_rps * 10, rel=0.02)


def test_weights_come_before_endpoints(web: WorkloadSpec, make_pod: MakePod) -> None:
    runs = {r.uid: r for r in (ready_run(make_pod(f"web-{i}", cpu="2"), web) for i in range(4))}
    slices = {
        ("shop", "s"): endpoint_slice(*(endpoint(f"web-{i}") for i in range(3))),
        ("shop", "c"): endpoint_slice(endpoint("web-3"), service="canary"),
    }
    refs = [{"name": n, "port": 80, "weight": w} for n, w in (("web", 8), ("canary", 1), ("gone", 1))]
    route = {"metadata": {"name": "r"}, "spec": {"parentRefs": [{"name": "g"}], "rules": [{"backendRefs": refs}]}}
    world = traffic(web)
    world.tick(runs, slices, NOW, 10.0, {("shop", "r"): route, ("elsewhere", "r"): route})
    (share,) = world.shares
    assert [(b.service, b.part, b.endpoints) for b in share.backends] == [
        ("web", 0.8, 3),
        ("canary", 0.1, 1),
        ("gone", 0.1, 0),
    ]
    assert share.lost_rps == pytest.approx(0.1 * share.offered_rps)
    assert runs["uid-web-3"].load_rps == pytest.approx(0.1 * share.offered_rps)
    assert runs["uid-web-0"].load_rps == share.per_endpoint_rps == pytest.approx(0.8 * share.offered_rps / 3)
    assert share.endpoints == 3


def test_a_pods_counters_follow_its_real_resources(web: WorkloadSpec, make_pod: MakePod) -> None:
    ample, tight = ready_run(make_pod("a", cpu="2"), web), ready_run(make_pod("b", cpu="350m"), web)
    slices = {("shop", "s"): endpoint_slice(*(endpoint(n) for n in ("a", "b", *(f"o{i}" for i in range(18)))))}
    traffic(web).tick({"a": ample, "b": tight}, slices, NOW, 10.0)
    slow = [r.counters.buckets[6:].sum() / r.counters.buckets.sum() for r in (ample, tight)]
    assert slow[0] < 0.03
    assert slow[1] > 0.2
    assert tight.counters.throttled > ample.counters.throttled
    tight.refresh(make_pod("b", cpu="2"))
    assert tight.resources.cpu_limit == 2.0


def test_a_fault_slows_only_the_canary(web: WorkloadSpec, make_pod: MakePod) -> None:
    faults = FaultBoard()
    text = {"name": "s", "kind": "SlowDependency", "factor": 5, "selector": {"trimtab.dev/arm": "canary"}}
    faults.set(Fault.model_validate(text), NOW - 1.0)
    canary = ready_run(make_pod("a", cpu="2", labels={"trimtab.dev/arm": "canary"}), web)
    control = ready_run(make_pod("b", cpu="2", labels={"trimtab.dev/arm": "control"}), web)
    slices = {("shop", "s"): endpoint_slice(*(endpoint(n) for n in ("a", "b", *(f"o{i}" for i in range(18)))))}
    traffic(web, faults).tick({"a": canary, "b": control}, slices, NOW, 10.0)
    assert canary.behaviour is not None
    assert control.behaviour is not None
    assert canary.behaviour.slow_fraction(0.1) > 0.5
    assert control.behaviour.slow_fraction(0.1) < 0.02


def test_too_little_memory_is_killed(web: WorkloadSpec, make_pod: MakePod) -> None:
    killed: list[Any] = []
    run = ready_run(make_pod("a", memory="300Mi"), web)
    traffic(web, killed=killed).tick({"a": run}, {("shop", "s"): endpoint_slice(endpoint("a"))}, NOW, 3600.0)
    assert killed == [("a", "OOMKilled", 137)]


def test_without_endpoints_nobody_is_served(web: WorkloadSpec, make_pod: MakePod) -> None:
    run = ready_run(make_pod("a"), web)
    world = traffic(web)
    world.tick({"a": run}, {}, NOW, 1.0)
    assert (world.shares[0].endpoints, world.shares[0].per_endpoint_rps) == (0, 0.0)
    assert run.counters.succeeded == 0
    assert run.counters.cpu_seconds == pytest.approx(web.cpu.background, rel=0.1)


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"cpu": 2, "memory": "2Gi"}}, (0.25, 2.0, 2.0**31)),
        ({"limits": {"cpu": "1500m", "memory": 1073741824}}, (1.5, 1.5, 2.0**30)),
        ({"requests": {"cpu": "1"}}, (1.0, UNLIMITED, NODE_MEMORY)),
        ({}, (0.01, UNLIMITED, NODE_MEMORY)),
    ],
)
def test_resources_are_read_as_the_api_server_means_them(
    make_pod: MakePod, resources: Obj, expected: tuple[float, float, float]
) -> None:
    pod = make_pod()
    pod["spec"]["containers"][0]["resources"] = resources
    got = resources_of(pod, "web")
    assert (got.cpu_request, got.cpu_limit, got.memory_limit) == expected


def test_a_workload_needs_its_labels_and_its_container(web: WorkloadSpec, make_pod: MakePod) -> None:
    pod = make_pod()
    assert workload_of(pod, (web,)) is web
    pod["spec"]["containers"][0]["name"] = "other"
    assert workload_of(pod, (web,)) is None
