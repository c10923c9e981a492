"""Every preset over series as its source exposes them, segments, and why nothing is found: here over the loopback
server and the simulated store; `tests/cluster/test_sli_sources.py` runs the same over a real Prometheus.

Each pod is asked 100 times a second; 2 % fail and 10 % are slower than 250 ms, of the tenant gold 5 % and 50 %.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.contract.test_telemetry import POD, TIMEOUT, WINDOW, T, counted, counter, pods, read, steady
from tests.unit.api.samples import experiment
from tests.unit.slo.loopback import Stored

from trimtab.api.convert import parse_experiment
from trimtab.domain.measurement import NoData, Sample
from trimtab.domain.spec import Sli
from trimtab.ports import Telemetry


def sli_of(source: str, kind: str, segment: str = "", **more: Any) -> Sli:
    """The SLI of a preset, as an Experiment's manifest gives it."""
    manifest = experiment()
    sli = {"name": "slow", "preset": {"source": source, "sli": kind, **more}}
    manifest["spec"]["slis"] = [sli | ({"segment": segment} if segment else {})]
    return parse_experiment(manifest).slis[0]


def requests(
    namespace: str, metric: str, label: str, ok: str, failed: str, pod: str = POD, **more: str
) -> list[Stored]:
    """A counter by status: 98 and 2 a second."""
    return [
        counter(namespace, metric, steady(rate), pod=pod, **more, **{label: value})
        for value, rate in ((ok, 98.0), (failed, 2.0))
    ]


def durations(namespace: str, base: str, bounds: tuple[str, str, str], **more: str) -> list[Stored]:
    """60 a second up to the first bound, 30 to the second, 9 to the third, 1 beyond."""
    cumulative = dict(zip(bounds, (60.0, 90.0, 99.0), strict=True)) | {"+Inf": 100.0}
    return [counter(namespace, f"{base}_bucket", steady(n), le=le, **more) for le, n in cumulative.items()]


SECONDS, MILLISECONDS = ("0.1", "0.25", "0.5"), ("100", "250", "500")
SOURCES: dict[str, list[Stored]] = {
    "PlainHTTP": [
        *requests("PlainHTTP", "http_requests_total", "status_code", "200", "503"),
        *durations("PlainHTTP", "http_request_duration_seconds", SECONDS),
    ],
    "OpenTelemetry": [
        *requests(
            "OpenTelemetry",
            "http_server_request_duration_seconds_count",
            "http_response_status_code",
            "200",
            "500",
        ),
        *durations("OpenTelemetry", "http_server_request_duration_seconds", SECONDS),
    ],
    "Istio": [
        *requests("Istio", "istio_requests_total", "response_code", "200", "503", reporter="destination"),
        *durations("Istio", "istio_request_duration_milliseconds", MILLISECONDS, reporter="destination"),
        # what the pods themselves ask of others, and fails always
        counter("Istio", "istio_requests_total", steady(70), reporter="source", response_code="503"),
        counter("Istio", "istio_request_duration_milliseconds_bucket", steady(70), reporter="source", le="+Inf"),
    ],
    "Linkerd": [
        *requests("Linkerd", "response_total", "classification", "success", "failure", direction="inbound"),
        *durations("Linkerd", "response_latency_ms", MILLISECONDS, direction="inbound"),
        counter("Linkerd", "response_total", steady(70), direction="outbound", classification="failure"),
        counter("Linkerd", "response_latency_ms_bucket", steady(70), direction="outbound", le="+Inf"),
    ],
    "Envoy": [
        *requests(
            "Envoy", "envoy_cluster_upstream_rq", "envoy_response_code", "200", "503", envoy_cluster_name="local_app"
        ),
        *durations("Envoy", "envoy_cluster_upstream_rq_time", MILLISECONDS, envoy_cluster_name="local_app"),
        counter("Envoy", "envoy_cluster_upstream_rq", steady(70), envoy_cluster_name="bank", envoy_response_code="503"),
    ],
    "NGINXIngress": [
        *requests("NGINXIngress", "nginx_ingress_controller_requests", "status", "200", "502", ingress="web"),
        *durations("NGINXIngress", "nginx_ingress_controller_request_duration_seconds", SECONDS, ingress="web"),
    ],
    "Traefik": [
        *requests("Traefik", "traefik_service_requests_total", "code", "200", "502", service="web@file"),
        *durations("Traefik", "traefik_service_request_duration_seconds", SECONDS, service="web@file"),
    ],
    "GRPC": [
        *requests("GRPC", "grpc_server_handled_total", "grpc_code", "OK", "Unavailable", grpc_service="shop.Web"),
        *durations("GRPC", "grpc_server_handling_seconds", SECONDS, grpc_service="shop.Web"),
    ],
    "grpc-java": [
        *requests("grpc-java", "grpc_server_handled_total", "code", "OK", "UNAVAILABLE"),
        *durations("grpc-java", "grpc_server_handled_latency_seconds", SECONDS),
    ],
    "grpc-otel": [
        *requests("grpc-otel", "grpc_server_call_duration_seconds_count", "grpc_status", "OK", "INTERNAL"),
        *durations("grpc-otel", "grpc_server_call_duration_seconds", SECONDS),
    ],
}
INBOUND = {"direction": "inbound", "classification": "success"}
EDGE = {"envoy_cluster_name": "edge", "envoy_response_code": "200"}
ELSEWHERE: list[Stored] = [
    counter("edge", "traefik_service_requests_total", steady(50), pod="traefik-7d9f6c-abcde", code="200"),
    counter("relabel", "response_total", steady(50), pod="", pod_name=POD, **INBOUND),
    counter("bare", "envoy_cluster_upstream_rq", steady(9), pod="", **EDGE),
]


def cohort(tenant: str, failed: float, slow: float) -> list[Stored]:
    labels = {"tenant": tenant}
    return [
        counter("tenants", "http_requests_total", steady(50 - failed), code="200", **labels),
        counter("tenants", "http_requests_total", steady(failed), code="500", **labels),
        counter("tenants", "http_request_duration_seconds_bucket", steady(50 - slow), le="0.25", **labels),
        counter("tenants", "http_request_duration_seconds_bucket", steady(50), le="+Inf", **labels),
    ]


TENANTS = [
    *cohort("gold", 5.0, 25.0),
    *cohort("silver", 0.0, 5.0),
    counter("tenants", "rejected_total", steady(1)),  # nobody knows whose
]
NAMESPACES: dict[str, str] = {name: name for name in SOURCES} | {"grpc-java": "GRPC", "grpc-otel": "GRPC"}
CLUSTER = 'envoy_cluster_name="local_app"'
STORED = tuple([each for listed in SOURCES.values() for each in listed] + ELSEWHERE + TENANTS)


def preset(namespace: str, kind: str, **more: Any) -> Sli:
    source = NAMESPACES[namespace]
    return sli_of(source, kind, CLUSTER if source == "Envoy" else "", **more)


@pytest.mark.parametrize("namespace", SOURCES)
class TestSources:
    async def test_errors(self, telemetry: Telemetry, namespace: str) -> None:
        found = await counted(telemetry, preset(namespace, "ErrorRatio"), pods(namespace, live=(POD,)))
        assert (found.bad, found.total) == (16.0, 800.0)

    async def test_slow_requests(self, telemetry: Telemetry, namespace: str) -> None:
        sli = preset(namespace, "SlowRatio", threshold="0.25")
        found = await counted(telemetry, sli, pods(namespace, live=(POD,)))
        assert (found.bad, found.total) == (80.0, 800.0)

    async def test_latency_in_seconds(self, telemetry: Telemetry, namespace: str) -> None:
        found = await counted(telemetry, preset(namespace, "LatencyQuantile", quantile="0.95"), pods(namespace))
        assert found.value == pytest.approx(0.25 + 0.25 * 5 / 9)
        assert 0.25 / 12**0.5 <= found.standard_error < 0.25
        assert found.total == 800.0

    async def test_preflight(self, telemetry: Telemetry, namespace: str) -> None:
        for kind, more in (("ErrorRatio", {}), ("SlowRatio", {"threshold": "0.25"})):
            sli = preset(namespace, kind, **more)
            found = await telemetry.probe(sli, pods(namespace), T - 1, 3600.0, timeout=TIMEOUT)
            assert (found.reason, found.problem) == ("", "")
            assert found.requests_per_second == pytest.approx(100.0, rel=0.03)
            assert found.bad_ratio == pytest.approx(0.02 if kind == "ErrorRatio" else 0.1, rel=0.05)

    async def test_a_threshold_that_is_no_bound_names_the_nearest_in_seconds(
        self, telemetry: Telemetry, namespace: str
    ) -> None:
        sli = preset(namespace, "SlowRatio", threshold="0.3")
        found = await telemetry.probe(sli, pods(namespace), T - 1, 3600.0, timeout=TIMEOUT)
        assert found.reason == "NoBucketBound"
        assert "threshold 0.3 is" in found.problem
        assert "use 0.25 or 0.5," in found.remedy


class TestWhyNothingIsFound:
    @pytest.mark.parametrize(
        ("source", "namespace", "words", "remedy"),
        [
            ("Traefik", "edge", "other pods only (such as Traefik/tt-", "sidecar"),
            ("Linkerd", "relabel", "in the label pod_name", "__meta_kubernetes_pod_name to pod"),
            ("Istio", "wanted", "has the namespace Istio, not wanted", "__meta_kubernetes_namespace"),
            ("Envoy", "bare", "has no label pod", "__meta_kubernetes_pod_name to pod"),
        ],
    )
    async def test_the_probe_says_so(
        self, telemetry: Telemetry, source: str, namespace: str, words: str, remedy: str
    ) -> None:
        sli = sli_of(source, "ErrorRatio", 'envoy_cluster_name="edge"' if source == "Envoy" else "")
        of = pods(namespace, "web") if source == "Traefik" else pods(namespace)
        found = await telemetry.probe(sli, of, T - 1, 60.0, timeout=TIMEOUT)
        assert found.reason == "NoData"
        assert words in found.problem
        assert remedy in found.remedy
        assert "\n" not in found.problem + found.remedy

    async def test_a_proxy_in_front_is_never_measured_for_an_arm(self, telemetry: Telemetry) -> None:
        assert isinstance(await read(telemetry, sli_of("Traefik", "ErrorRatio"), pods("edge")), NoData)


class TestSegments:
    @pytest.mark.parametrize(
        ("segment", "bad", "total", "slow"),
        [
            ('tenant="gold"', 40.0, 400.0, 200.0),
            ('tenant="silver"', 0.0, 400.0, 40.0),
            ('tenant=~"gold|silver"', 40.0, 800.0, 240.0),
            ('tenant!="silver"', 40.0, 400.0, 200.0),
        ],
    )
    async def test_a_cohort_is_judged_by_itself(
        self, telemetry: Telemetry, segment: str, bad: float, total: float, slow: float
    ) -> None:
        errors = await counted(telemetry, sli_of("PlainHTTP", "ErrorRatio", segment), pods("tenants", live=(POD,)))
        assert (errors.bad, errors.total) == (bad, total)
        late = sli_of("PlainHTTP", "SlowRatio", segment, threshold="0.25")
        found = await counted(telemetry, late, pods("tenants", live=(POD,)))
        assert (found.bad, found.total) == (slow, total)
        load = await telemetry.load(late, pods("tenants"), WINDOW, timeout=TIMEOUT)
        assert isinstance(load, Sample)
        assert load.value == total / 8

    async def test_a_cohort_that_is_not_there_is_no_data(self, telemetry: Telemetry) -> None:
        for sli in (
            sli_of("PlainHTTP", "ErrorRatio", 'tenant="bronze"'),
            sli_of("PlainHTTP", "SlowRatio", 'tenant="bronze"', threshold="0.25"),
        ):
            assert isinstance(await read(telemetry, sli, pods("tenants", live=(POD,))), NoData)
            probe = await telemetry.probe(sli, pods("tenants"), T - 1, 60.0, timeout=TIMEOUT)
            assert probe.reason == "NoData"

    async def test_bad_events_without_the_label_are_refused(self, telemetry: Telemetry) -> None:
        """Nobody would ever be bad: that is no safety."""
        manifest = experiment()
        manifest["spec"]["slis"] = [
            {
                "name": "slow",
                "ratio": {"bad": "rejected_total{$selector}", "total": "http_requests_total{$selector}"},
                "segment": 'tenant="gold"',
            }
        ]
        sli = parse_experiment(manifest).slis[0]
        found = await telemetry.probe(sli, pods("tenants"), T - 1, 60.0, timeout=TIMEOUT)
        assert found.reason == "SegmentMissing"
        assert "has no label tenant" in found.problem
