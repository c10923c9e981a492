"""The HTTP endpoints: what Prometheus parses, and faults set by demos and tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientTimeout
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families
from tests.unit.playground.conftest import MakePod

from playground.exposition import render
from playground.kube import Access
from playground.podrun import PodRun, adopt
from playground.program import Options, Program
from playground.server import application
from trimtab.workload import WorkloadSpec
from trimtab.workload.lifecycle import Acting, advance

Client = TestClient[Any, Any]


@pytest.fixture
async def client(web: WorkloadSpec) -> AsyncIterator[Client]:
    """A program that is not connected to any control plane."""
    program = Program(Access("http://127.0.0.1:9", None, lambda: None), [web], Options(("shop",), seed=3))
    async with TestClient(TestServer(application(program))) as connected:
        yield connected


async def test_faults_are_set_listed_and_ended(client: Client) -> None:
    body = {"name": "slow", "kind": "SlowDependency", "factor": 4, "selector": {"trimtab.dev/arm": "canary"}}
    answer = await client.post("/faults", json=body)
    assert answer.status == 201
    fault = await answer.json()
    assert fault["start"] > 0
    (listed,) = await (await client.get("/faults")).json()
    assert listed == fault
    assert (await (await client.get("/state")).json())["faults"] == [fault]
    assert (await client.delete("/faults/slow")).status == 204
    assert (await client.delete("/faults/slow")).status == 404
    await client.post("/faults", json=body)
    assert (await client.delete("/faults")).status == 204
    assert await (await client.get("/faults")).json() == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"name": "x", "kind": "Errors"}, "errorPercent: Errors needs an errorPercent above 0"),
        ({"name": "x", "kind": "SlowCPU", "factor": 2, "duration": 5}, "duration: 5 is not a duration with a unit; "),
        ({"kind": "OOM"}, "name: Field required"),
    ],
)
async def test_a_wrong_fault_is_answered_with_the_field(client: Client, body: dict[str, Any], message: str) -> None:
    answer = await client.post("/faults", json=body)
    assert answer.status == 400
    assert (await answer.json())["error"].startswith(message)


async def test_it_is_not_healthy_before_it_is_connected(client: Client) -> None:
    assert (await client.get("/healthz")).status == 503


async def test_the_scrape_can_hang_and_answer_garbage(client: Client) -> None:
    await client.post("/faults", json={"name": "garbage", "kind": "ScrapeGarbage"})
    page = await (await client.get("/metrics")).text()
    with pytest.raises(ValueError, match=r".+"):
        list(text_string_to_metric_families(page))
    await client.delete("/faults")
    await client.post("/faults", json={"name": "hang", "kind": "ScrapeHang"})
    with pytest.raises(asyncio.TimeoutError):
        await client.get("/metrics", timeout=ClientTimeout(total=0.2))
    waiting = asyncio.create_task(client.get("/metrics"))
    assert (await client.get("/healthz")).status == 503  # the others still answer
    await client.delete("/faults/hang")
    assert (await waiting).status == 503


def samples(page: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def ready(pod: dict[str, Any], web: WorkloadSpec) -> PodRun:
    run = adopt(pod, (web,), "10.244.0.1", 100.0, 0.0, seed=1)
    run.life = advance(advance(run.life, Acting(), 0.0, 100.0), Acting(), 0.0, 101.0)
    return run


def test_the_page_is_what_prometheus_understands(web: WorkloadSpec, make_pod: MakePod) -> None:
    run = ready(make_pod("web-1", cpu="750m", memory="768Mi"), web)
    counters = run.counters
    counters.buckets[:] = 0.0
    counters.buckets[2], counters.buckets[-1] = 90.0, 10.0
    counters.succeeded, counters.failed, counters.unavailable = 97, 2, 1
    counters.latency_sum_s, counters.cpu_seconds, counters.working_set_bytes = 4.5, 12.25, 5e8
    counters.periods, counters.throttled, counters.oom_events = 100, 7, 1
    deployments: dict[tuple[str, str], Any] = {
        ("shop", "web"): {
            "spec": {"replicas": 4},
            "status": {"replicas": 3, "readyReplicas": 3, "availableReplicas": 2},
        },
        ("shop", "x"): {"status": {}},
    }
    autoscalers: dict[tuple[str, str], Any] = {("shop", "web"): {"status": {"desiredReplicas": 5}}}
    got = samples(render([run], set(), deployments, autoscalers))
    pod = {("namespace", "shop"), ("pod", "web-1"), ("container", "web")}

    def value(name: str, **labels: str) -> float:
        return got[name, frozenset(pod | set(labels.items()))]

    assert [value("http_requests_total", code=code) for code in ("200", "500", "503")] == [97, 2, 1]
    histogram = [value("http_request_duration_seconds_bucket", le=le) for le in ("0.01", "0.025", "1.0", "+Inf")]
    assert histogram == [0, 90, 90, 100]
    assert value("http_request_duration_seconds_count") == 100
    assert value("http_request_duration_seconds_sum") == 4.5
    assert value("container_cpu_usage_seconds_total") == 12.25
    assert value("container_cpu_cfs_periods_total") == 100
    assert value("container_cpu_cfs_throttled_periods_total") == 7
    assert value("container_memory_working_set_bytes") == 5e8
    assert value("container_oom_events_total") == 1
    assert value("kube_pod_container_status_restarts_total") == 0
    assert value("kube_pod_container_resource_limits", node="playground-0", resource="cpu", unit="core") == 0.75
    requested = value("kube_pod_container_resource_requests", node="playground-0", resource="memory", unit="byte")
    assert requested == 768 * 2**20
    assert value("up") == 1
    state = {("namespace", "shop"), ("pod", "web-1")}
    assert got["kube_pod_status_ready", frozenset(state | {("condition", "true")})] == 1
    replicas = "kube_deployment_status_replicas_ready"
    assert got[replicas, frozenset({("namespace", "shop"), ("deployment", "web")})] == 3
    assert got[replicas, frozenset({("namespace", "shop"), ("deployment", "x")})] == 0
    web_labels = frozenset({("namespace", "shop"), ("deployment", "web")})
    assert got["kube_deployment_spec_replicas", web_labels] == 4
    assert got["kube_deployment_status_replicas", web_labels] == 3
    assert got["kube_deployment_status_replicas_available", web_labels] == 2
    scaler = frozenset({("namespace", "shop"), ("horizontalpodautoscaler", "web")})
    assert got["kube_horizontalpodautoscaler_status_desired_replicas", scaler] == 5


def test_a_pod_that_cannot_be_scraped_has_only_its_state(web: WorkloadSpec, make_pod: MakePod) -> None:
    run = ready(make_pod(), web)
    names = {name: value for (name, _), value in samples(render([run], {run.uid}, {})).items()}
    assert names["up"] == 0
    assert "http_requests_total" not in names
    assert "container_cpu_usage_seconds_total" not in names
    assert "kube_pod_status_ready" in names


def test_no_limit_means_no_quota_series(web: WorkloadSpec, make_pod: MakePod) -> None:
    pod = make_pod()
    pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    names = {name for name, _ in samples(render([ready(pod, web)], set(), {}))}
    assert "container_cpu_cfs_periods_total" not in names
    assert "container_cpu_usage_seconds_total" in names
