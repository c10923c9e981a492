"""metrics.k8s.io as the HPA controller asks for it: means between two looks, by label."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from tests.unit.playground.conftest import FakeKube, MakePod

from playground.metrics_api import API_SERVICE, SERVICE_PATH, WINDOW_SECONDS, MetricsApi, Usage
from playground.podrun import PodRun, adopt
from trimtab.workload import WorkloadSpec
from trimtab.workload.lifecycle import Acting, advance, killed

NOW = 1_760_000_000.0
BASE = "/apis/metrics.k8s.io/v1beta1"


@pytest.fixture
def runs(web: WorkloadSpec, make_pod: MakePod) -> dict[str, PodRun]:
    """Two running pods and one that is not yet."""
    found = {}
    for name in ("a", "b", "new"):
        run = adopt(make_pod(name, labels={"name": name}), (web,), "10.244.0.1", NOW, 0.0, seed=1)
        if name != "new":
            run.life = advance(run.life, Acting(), 0.0, NOW)
        found[run.uid] = run
    return found


def look_twice(usage: Usage, runs: dict[str, PodRun], cores: float) -> None:
    """They use so many cores from one look to the next."""
    usage.look(runs.values(), NOW + 10.0)
    for run in runs.values():
        run.counters.cpu_seconds += cores * WINDOW_SECONDS
        run.counters.working_set_bytes = 300.0 * 2**20
    usage.look(runs.values(), NOW + 10.0 + WINDOW_SECONDS)


def test_use_is_the_mean_between_two_looks(runs: dict[str, PodRun]) -> None:
    usage = Usage()
    usage.look(runs.values(), NOW)
    assert usage.used == {}
    look_twice(usage, runs, 0.25)
    assert {uid: used.cores for uid, used in usage.used.items()} == {"uid-a": 0.25, "uid-b": 0.25}
    usage.look(runs.values(), NOW + 10.1 + WINDOW_SECONDS)  # too soon for another
    assert usage.used["uid-a"].window == WINDOW_SECONDS
    assert usage.used["uid-a"].at == NOW + 10.0 + WINDOW_SECONDS


def test_a_restarted_container_is_not_known_until_it_was_looked_at_twice(runs: dict[str, PodRun]) -> None:
    usage = Usage()
    look_twice(usage, runs, 0.25)
    run = runs["uid-a"]
    run.life = advance(killed(run.life, "OOMKilled", 137, NOW + 16.0), Acting(), 0.0, NOW + 18.0)
    run.counters.restarted()
    usage.look(runs.values(), NOW + 30.0)
    assert list(usage.used) == ["uid-b"]
    usage.look(runs.values(), NOW + 40.0)
    assert sorted(usage.used) == ["uid-a", "uid-b"]


@pytest.fixture
async def client(runs: dict[str, PodRun]) -> AsyncIterator[TestClient[Any, Any]]:
    """The API, of pods that use a quarter of a core."""
    usage = Usage()
    look_twice(usage, runs, 0.25)
    api = MetricsApi(FakeKube(), usage, lambda: runs)  # type: ignore[arg-type]
    async with TestClient(TestServer(api.application())) as connected:
        yield connected


async def test_pods_by_label_and_by_name(client: TestClient[Any, Any]) -> None:
    groups = await (await client.get(BASE)).json()
    assert [r["name"] for r in groups["resources"]] == ["pods"]

    async def names(path: str, **query: str) -> list[str]:
        answer = await (await client.get(f"{BASE}{path}", params=query)).json()
        assert answer["kind"] == "PodMetricsList"
        return [item["metadata"]["name"] for item in answer["items"]]

    assert await names("/namespaces/shop/pods") == ["a", "b"]
    assert await names("/pods") == ["a", "b"]
    assert await names("/namespaces/shop/pods", labelSelector="app.kubernetes.io/name=web,name in (b,c)") == ["b"]
    assert await names("/namespaces/other/pods") == []
    one = await (await client.get(f"{BASE}/namespaces/shop/pods/a")).json()
    assert one["containers"] == [{"name": "web", "usage": {"cpu": "250000000n", "memory": "307200Ki"}}]
    assert (one["timestamp"], one["window"]) == ("2025-10-09T08:53:35Z", "5.000s")
    missing = await client.get(f"{BASE}/namespaces/shop/pods/new")
    assert (missing.status, (await missing.json())["reason"]) == (404, "NotFound")


async def test_it_registers_while_it_serves_and_leaves_nothing_behind() -> None:
    kube = FakeKube()
    async with MetricsApi(kube, Usage(), dict).serving():  # type: ignore[arg-type]
        assert [(method, path) for method, path, _ in kube.requests] == [
            ("PATCH", SERVICE_PATH),
            ("PATCH", API_SERVICE),
        ]
        service, registration = (body["spec"] for _, _, body in kube.requests if body is not None)
        assert service["externalName"] == "localhost"
        assert registration["service"]["port"] == service["ports"][0]["port"] > 0
        kube.refuse(404)
    assert [(method, path) for method, path, _ in kube.requests[2:]] == [
        ("DELETE", API_SERVICE),
        ("DELETE", SERVICE_PATH),
    ]
