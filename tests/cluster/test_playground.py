"""The playground against a real control plane and a real Prometheus: it must be as believable as what it replaces."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.conftest import PrometheusFactory

from controlplane import ApiClient, ControlPlane, backfill, scrape_config, wait_for
from playground.backfill import Past, write_past
from playground.process import PlaygroundError, PlaygroundProcess
from stack import drop_namespaces, make_namespaces
from trimtab.workload import Resources, evaluate, load_workload
from trimtab.workload.units import GIB, MIB

EXAMPLE = Path(__file__).parents[2] / "examples" / "web-service"
WORKLOAD = EXAMPLE / "workload.yaml"
WEB = load_workload(WORKLOAD)
NOON = ["--time-origin", "2026-03-02T14:00"]
CANARY = {"trimtab.dev/arm": "canary"}
Apply = Callable[..., None]


@pytest.fixture
def playground(controlplane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[PlaygroundProcess]:
    """A playground for this test's namespace; a Monday at the hour of the peak."""
    directory = tmp_path / "playground"
    with PlaygroundProcess(
        controlplane.kubeconfig(), [WORKLOAD], [namespace], seed=1, directory=directory, options=NOON
    ) as process:
        yield process


@pytest.fixture
def apply(admin: ApiClient, namespace: str) -> Apply:
    """Create the example's Service and a Deployment of so many pods with these resources."""

    def create(
        name: str = "web", *, replicas: int, cpu: str = "2", memory: str = "2Gi", labels: dict[str, str] | None = None
    ) -> None:
        deployment, service = yaml.safe_load_all((EXAMPLE / "deployment.yaml").read_text(encoding="utf-8"))
        service["metadata"]["namespace"] = deployment["metadata"]["namespace"] = namespace
        deployment["metadata"]["name"] = name
        spec = deployment["spec"]
        spec["replicas"] = replicas
        own = {"app.kubernetes.io/instance": name}
        pod_labels = spec["template"]["metadata"]["labels"]
        pod_labels |= own | (labels or {})
        spec["selector"]["matchLabels"] = {key: pod_labels[key] for key in spec["selector"]["matchLabels"]}
        (container,) = spec["template"]["spec"]["containers"]
        container["resources"] = {kind: {"cpu": cpu, "memory": memory} for kind in ("requests", "limits")}
        admin.apply(service)
        admin.apply(deployment)

    return create


def ready_pods(admin: ApiClient, namespace: str, count: int) -> list[dict[str, Any]]:
    """Wait until exactly so many pods exist and all are ready."""

    def look() -> list[dict[str, Any]]:
        pods = admin.list("v1", "Pod", namespace)
        ready = [p for p in pods if {"type": "Ready", "status": "True"}.items() <= condition(p, "Ready").items()]
        return pods if len(pods) == len(ready) == count else []

    return wait_for(look, f"{count} ready pods", seconds=60)


def condition(pod: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((c for c in pod["status"].get("conditions", []) if c["type"] == kind), {})


def main_status(pod: dict[str, Any]) -> dict[str, Any]:
    (status,) = pod["status"]["containerStatuses"]
    return dict(status)


def test_a_deployment_becomes_ready_and_goes_away(
    admin: ApiClient, namespace: str, playground: PlaygroundProcess, apply: Apply
) -> None:
    apply(replicas=5)
    pods = ready_pods(admin, namespace, 5)
    assert len({pod["status"]["podIP"] for pod in pods}) == 5
    assert all(main_status(pod)["state"]["running"]["startedAt"] for pod in pods)
    assert all(main_status(pod)["resources"]["limits"]["cpu"] == "2" for pod in pods)
    wait_for(lambda: share(playground)["endpoints"] == 5, "five endpoints")
    seen = share(playground)
    assert seen["perEndpointRps"] == pytest.approx(seen["offeredRps"] / 5)
    admin.delete("apps/v1", "Deployment", "web", namespace)
    wait_for(lambda: not admin.list("v1", "Pod", namespace), "the pods to go", seconds=60)
    wait_for(lambda: "http_requests_total" not in playground.request("GET", "/metrics"), "their series to go")


def share(playground: PlaygroundProcess) -> dict[str, Any]:
    services = playground.state()["services"]
    return dict(services[0]) if services else {"endpoints": 0}


def test_prometheus_sees_what_the_model_says(
    admin: ApiClient,
    namespace: str,
    playground: PlaygroundProcess,
    apply: Apply,
    prometheus_factory: PrometheusFactory,
) -> None:
    """One tight arm among ample pods: latency, errors, CPU, throttling and share, from a real Prometheus."""
    apply(replicas=18)
    apply("tight", replicas=2, cpu="600m", memory="640Mi")
    ready_pods(admin, namespace, 20)
    prometheus = prometheus_factory(scrape_config({"playground": [playground.address]}, scrape_interval=1.0))

    def value(expression: str) -> float | None:
        return prometheus.value(expression)

    def says(expression: str, wanted: float) -> bool:
        return value(expression) == wanted

    tight, window = 'pod=~"tight-[a-z0-9]+-[a-z0-9]+"', "10s"
    ready = "kube_pod_status_ready{condition='true'}"
    since = f"count({ready} offset 13s == 1) * min(min_over_time({ready}[13s]))"
    wait_for(lambda: value(since) == 20, "traffic of more than ten seconds on all pods", seconds=120)
    load = WEB.load.requests_per_second * 1.1 / 20
    truth = evaluate(WEB, Resources.equal(0.6, 640 * MIB), load)
    bucket, total = "http_request_duration_seconds_bucket", "http_request_duration_seconds_count"
    fast = f'sum(rate({bucket}{{{tight},le="0.1"}}[{window}]))/sum(rate({total}{{{tight}}}[{window}]))'
    assert 1.0 - (value(fast) or 0.0) == pytest.approx(truth.slow_fraction(0.1), rel=0.35)
    ample = fast.replace("=~", "!~")
    assert 1.0 - (value(ample) or 0.0) == pytest.approx(
        evaluate(WEB, Resources.equal(2.0, 2 * GIB), load).slow_fraction(0.1), rel=0.35
    )
    p95 = f"histogram_quantile(0.95, sum by (le) (rate({bucket}{{{tight}}}[{window}])))"
    assert 0.1 < (value(p95) or 0.0) < 0.5
    rate = f"sum(rate(http_requests_total{{{tight}}}[{window}]))/sum(rate(http_requests_total[{window}]))"
    assert value(rate) == pytest.approx(0.1, rel=0.05)
    cpu = f"avg(rate(container_cpu_usage_seconds_total{{{tight}}}[{window}]))"
    assert value(cpu) == pytest.approx(truth.cpu_usage_cores, rel=0.1)
    periods, stopped = "container_cpu_cfs_periods_total", "container_cpu_cfs_throttled_periods_total"
    throttled = f"sum(rate({stopped}{{{tight}}}[{window}]))/sum(rate({periods}{{{tight}}}[{window}]))"
    assert value(throttled) == pytest.approx(truth.throttled_ratio, rel=0.3)
    states = {
        f'max(kube_pod_container_resource_limits{{{tight},resource="cpu"}})': 0.6,
        'count(up{pod!=""} == 1)': 20,
        'sum(kube_pod_status_ready{condition="true"})': 20,
        'kube_deployment_status_replicas_ready{deployment="web"}': 18,
    }
    for expression, wanted in states.items():  # none of them is there for a moment after a scrape that failed
        wait_for(partial(says, expression, wanted), f"{expression} to be {wanted}")
    playground.set_fault("errors", "Errors", errorPercent=20)
    errors = 'sum(rate(http_requests_total{code=~"5.."}[4s]))/sum(rate(http_requests_total[4s]))'
    wait_for(lambda: abs((value(errors) or 0.0) - 0.2) < 0.02, "an error ratio of 20 %", seconds=30)


def test_a_slow_dependency_of_the_canary_leaves_the_others_alone(
    admin: ApiClient, namespace: str, playground: PlaygroundProcess, apply: Apply
) -> None:
    apply(replicas=15)
    apply("tt-canary", replicas=1, labels=CANARY)
    ready_pods(admin, namespace, 16)
    playground.set_fault("slow", "SlowDependency", factor=6, selector=CANARY)

    def slow_ratios() -> dict[str, float]:
        pods = playground.state()["pods"]
        return {p["name"]: p["truth"]["slowRatio"] for p in pods if "truth" in p and p["loadRps"] > 0}

    wait_for(lambda: any(v > 0.5 for n, v in slow_ratios().items() if n.startswith("tt-")), "a slow canary")
    assert all(ratio < 0.5 for name, ratio in slow_ratios().items() if not name.startswith("tt-"))
    playground.remove_fault("slow")
    wait_for(lambda: all(ratio < 0.5 for ratio in slow_ratios().values()), "a canary as fast as the others")


GATEWAY_API = "gateway.networking.k8s.io/v1"


def route(namespace: str, **weights: int) -> dict[str, Any]:
    """An HTTPRoute with these weights."""
    refs = [{"name": name, "port": 80, "weight": weight} for name, weight in weights.items()]
    spec = {"parentRefs": [{"name": "gateway"}], "rules": [{"backendRefs": refs}]}
    metadata = {"name": "web", "namespace": namespace}
    return {"apiVersion": GATEWAY_API, "kind": "HTTPRoute", "metadata": metadata, "spec": spec}


def test_a_routes_weights_divide_the_load(
    admin: ApiClient, namespace: str, playground: PlaygroundProcess, apply: Apply
) -> None:
    """Arms behind a Service of their own: their pods carry no label that the production Service selects on."""
    apply(replicas=4)
    apply("arm", replicas=1, labels=CANARY | {"app.kubernetes.io/name": "arm"})
    ready_pods(admin, namespace, 5)
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    arm = {"metadata": {"name": "arm", "namespace": namespace}, "spec": {"selector": CANARY, "ports": ports}}
    admin.create({"apiVersion": "v1", "kind": "Service", **arm})
    admin.server_side_apply(route(namespace, web=900, arm=100), "gitops")

    def shares() -> dict[str, tuple[float, int]]:
        return {b["service"]: (b["part"], b["endpoints"]) for b in share(playground).get("backends", ())}

    wait_for(lambda: shares() == {"web": (0.9, 4), "arm": (0.1, 1)}, "a tenth of the load for the arm")
    state = playground.state()
    loads = {pod["labels"]["app.kubernetes.io/instance"]: pod["loadRps"] for pod in state["pods"]}
    offered = state["services"][0]["offeredRps"]
    assert loads == {"arm": pytest.approx(0.1 * offered, rel=0.05), "web": pytest.approx(0.225 * offered, rel=0.05)}
    found = wait_for(lambda: accepted(admin, namespace), "the gateway's word")
    writers = [entry["manager"] for entry in found["metadata"]["managedFields"] if "f:spec" in entry["fieldsV1"]]
    assert writers == ["gitops"]
    admin.delete("apps/v1", "Deployment", "arm", namespace)
    wait_for(lambda: shares() == {"web": (0.9, 4), "arm": (0.1, 0)}, "no endpoint of the arm", seconds=60)
    seen = share(playground)
    assert seen["lostRps"] == pytest.approx(0.1 * seen["offeredRps"])
    admin.server_side_apply(route(namespace, web=1), "gitops")
    wait_for(lambda: shares() == {"web": (1.0, 4)}, "the whole load for production")
    assert share(playground)["lostRps"] == 0.0


def accepted(admin: ApiClient, namespace: str) -> dict[str, Any] | None:
    """The route, once its status says that its parent accepted it and found all backends."""
    found = admin.get(GATEWAY_API, "HTTPRoute", "web", namespace)
    told = {c["type"]: c["status"] for p in found.get("status", {}).get("parents", ()) for c in p["conditions"]}
    return found if told == {"Accepted": "True", "ResolvedRefs": "True"} else None


def test_an_oom_kill_shows_in_status_and_is_restarted(
    admin: ApiClient, namespace: str, playground: PlaygroundProcess, apply: Apply
) -> None:
    """Not injected: the limit is simply far too small for the load."""
    apply(replicas=8)
    apply("small", replicas=8, memory="300Mi")

    def killed() -> dict[str, Any] | None:
        for pod in admin.list("v1", "Pod", namespace, labels="app.kubernetes.io/instance=small"):
            for status in pod["status"].get("containerStatuses", []):
                ended = [status[key].get("terminated") or {} for key in ("state", "lastState")]
                if any((end.get("reason"), end.get("exitCode")) == ("OOMKilled", 137) for end in ended):
                    return pod
        return None

    wait_for(killed, "an OOM kill", seconds=120)
    wait_for(lambda: main_status(killed() or {})["restartCount"] >= 1, "its restart", seconds=30)


def test_lost_readiness_leaves_the_endpoints_and_a_crash_loop_backs_off(
    admin: ApiClient, namespace: str, playground: PlaygroundProcess, apply: Apply
) -> None:
    apply(replicas=3)
    pods = ready_pods(admin, namespace, 3)
    wait_for(lambda: share(playground)["endpoints"] == 3, "three endpoints")
    playground.set_fault("unready", "NotReady", selector={"app.kubernetes.io/instance": "web"})
    wait_for(lambda: share(playground)["endpoints"] == 0, "no endpoint", seconds=60)
    assert {p["metadata"]["uid"] for p in admin.list("v1", "Pod", namespace)} == {p["metadata"]["uid"] for p in pods}
    playground.clear_faults()
    wait_for(lambda: share(playground)["endpoints"] == 3, "three endpoints again", seconds=60)
    playground.set_fault("loop", "CrashLoop")

    def waiting() -> list[str]:
        return [main_status(p)["state"].get("waiting", {}).get("reason") for p in admin.list("v1", "Pod", namespace)]

    wait_for(lambda: waiting() == ["CrashLoopBackOff"] * 3, "crash loops", seconds=60)


def test_an_evicted_pod_is_replaced(
    admin: ApiClient, namespace: str, playground: PlaygroundProcess, apply: Apply
) -> None:
    apply(replicas=2)
    before = {pod["metadata"]["uid"] for pod in ready_pods(admin, namespace, 2)}
    playground.set_fault("evict", "Evict")

    def replaced() -> bool:
        pods = admin.list("v1", "Pod", namespace)
        failed = [p for p in pods if p["status"].get("reason") == "Evicted"]
        ready = {p["metadata"]["uid"] for p in pods if condition(p, "Ready").get("status") == "True"}
        return len(failed) == 2 and len(ready - before) == 2

    wait_for(replaced, "two failed pods and two new ones", seconds=60)


def test_a_program_that_was_killed_takes_its_pods_over(
    admin: ApiClient, namespace: str, playground: PlaygroundProcess, apply: Apply
) -> None:
    apply(replicas=2)
    before = {p["metadata"]["uid"]: p["status"]["podIP"] for p in ready_pods(admin, namespace, 2)}
    playground.stop(grace=0.0)
    playground.start()
    wait_for(lambda: share(playground)["endpoints"] == 2, "its endpoints")
    wait_for(lambda: sum(p["loadRps"] > 0 for p in playground.state()["pods"]) == 2, "traffic")
    assert {p["metadata"]["uid"]: p["status"]["podIP"] for p in admin.list("v1", "Pod", namespace)} == before


def test_the_past_is_imported_and_continues(
    namespace: str, tmp_path: Path, built: dict[str, Path], prometheus_factory: PrometheusFactory
) -> None:
    now = time.time()
    past = Past.of(WEB, namespace=namespace, replicas=20, end=now - 5.0, seed=1)
    began = time.monotonic()
    write_past(past, tmp_path / "past.om")
    backfill(tmp_path / "past.om", tmp_path / "tsdb", max_block_duration="486h", promtool=built["promtool"])
    assert time.monotonic() - began < 30.0, "the past must cost seconds"
    prometheus = prometheus_factory(scrape_config({}), tsdb=tmp_path / "tsdb")
    month = prometheus.value("sum(increase(http_requests_total[30d]))", now)
    weekends = 8.5 / 30 * (1.0 - WEB.load.weekend_percent / 100.0)
    assert month == pytest.approx(WEB.load.requests_per_second * 30 * 86400 * (1.0 - weekends), rel=0.03)
    bad = prometheus.value('sum(increase(http_requests_total{code="500"}[30d]))', now)
    assert bad is not None
    assert month is not None
    assert bad / month == pytest.approx(WEB.request.error_percent / 100.0, rel=0.05)
    bucket, total = "http_request_duration_seconds_bucket", "http_request_duration_seconds_count"
    fast = f'sum(increase({bucket}{{le="0.1"}}[6h])) / sum(increase({total}[6h]))'
    assert 1.0 - (prometheus.value(fast, now) or 0.0) == pytest.approx(0.014, rel=0.1)
    assert (prometheus.value("sum(rate(http_requests_total[5m]))", now) or 0.0) > 5000.0
    highest = prometheus.value("max(max_over_time(container_memory_working_set_bytes[7d]))", now)
    assert highest == pytest.approx(550.0 * MIB, rel=0.05)


def test_the_command_line_refuses_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(PlaygroundError, match="none: cannot be read"):
        PlaygroundProcess(tmp_path / "none", [WORKLOAD], ["default"], directory=tmp_path).start()


def test_a_wrong_fault_is_refused(playground: PlaygroundProcess) -> None:
    with pytest.raises(PlaygroundError, match="errorPercent: Errors needs an errorPercent above 0"):
        playground.set_fault("e", "Errors")


def test_a_hanging_scrape_is_seen_as_down_and_control_still_works(
    playground: PlaygroundProcess, prometheus_factory: PrometheusFactory
) -> None:
    prometheus = prometheus_factory(scrape_config({"playground": [playground.address]}, scrape_interval=1.0))
    up = 'up{job="playground",pod=""}'
    wait_for(lambda: prometheus.value(up) == 1.0, "a scrape")
    for kind in ("ScrapeHang", "ScrapeGarbage"):
        playground.set_fault("broken", kind)
        wait_for(lambda: prometheus.value(up) == 0.0, f"{kind} to be noticed", seconds=60)
        playground.clear_faults()
        wait_for(lambda: prometheus.value(up) == 1.0, "the scrape to recover", seconds=60)
    assert playground.state()["pods"] == []


def test_two_programs_share_the_nodes(
    admin: ApiClient, controlplane: ControlPlane, namespace: str, playground: PlaygroundProcess, apply: Apply
) -> None:
    other = f"{namespace}-b"
    make_namespaces(admin, other)
    try:
        with PlaygroundProcess(controlplane.kubeconfig(), [WORKLOAD], [other], seed=2) as second:
            apply(replicas=2)
            ready_pods(admin, namespace, 2)
            assert [p["namespace"] for p in playground.state()["pods"]] == [namespace] * 2
            assert second.state()["pods"] == []
    finally:
        drop_namespaces(admin, other)
