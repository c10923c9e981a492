"""Presets: each source asks for its own names, failures and unit, and every query is one that Trimtab would send."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
from tests.unit.api.samples import experiment

from trimtab.api.convert import parse_experiment
from trimtab.api.lint import Level, lint
from trimtab.api.presets import SOURCES, table
from trimtab.api.slis import PresetSource
from trimtab.control.preflight_queries import query_problems
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.spec import ExperimentSpec, QuantileQuery, RatioQuery, SliQuery, SlowRatioQuery
from trimtab.slo.promql import check_matchers

ENVOY = {"segment": 'envoy_cluster_name="local_app"'}
NEEDED: dict[str, dict[str, str]] = {"Envoy": ENVOY}


def manifest(**sli: Any) -> dict[str, Any]:
    made = experiment()
    made["spec"]["slis"] = [{"name": "slow", **sli}]
    return made


def spec_of(**sli: Any) -> ExperimentSpec:
    return parse_experiment(manifest(**sli))


def query_of(source: str, sli: str, **more: Any) -> SliQuery:
    preset = {"source": source, "sli": sli, **more}
    return spec_of(preset=preset, **NEEDED.get(source, {})).slis[0].query


def test_there_is_a_row_for_every_source_of_the_api() -> None:
    assert set(SOURCES) == set(get_args(PresetSource))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    "sli",
    [{"sli": "ErrorRatio"}, {"sli": "SlowRatio", "threshold": "0.3"}, {"sli": "LatencyQuantile", "quantile": "0.9"}],
)
def test_every_query_of_every_source_may_be_sent(source: str, sli: dict[str, str]) -> None:
    found = spec_of(preset={"source": source, **sli}, **NEEDED.get(source, {}))
    assert list(query_problems(found)) == []
    query = found.slis[0].query
    if isinstance(query, SlowRatioQuery | QuantileQuery):
        assert query.matchers == SOURCES[source].matchers  # type: ignore[index]
        if query.labels:
            check_matchers("f", query.labels)


@pytest.mark.parametrize(
    ("source", "bad", "total"),
    [
        (
            "Istio",
            'istio_requests_total{$selector,reporter="destination",response_code=~"5.."}',
            'istio_requests_total{$selector,reporter="destination",response_code!=""}',
        ),
        (
            "Linkerd",
            'response_total{$selector,direction="inbound",classification="failure"}',
            'response_total{$selector,direction="inbound",classification!=""}',
        ),
        (
            "Envoy",
            'envoy_cluster_upstream_rq{$selector,envoy_response_code=~"5.."}',
            'envoy_cluster_upstream_rq{$selector,envoy_response_code!=""}',
        ),
        (
            "NGINXIngress",
            'nginx_ingress_controller_requests{$selector,status=~"5.."}',
            'nginx_ingress_controller_requests{$selector,status!=""}',
        ),
        (
            "Traefik",
            'traefik_service_requests_total{$selector,code=~"5.."}',
            'traefik_service_requests_total{$selector,code!=""}',
        ),
    ],
)
def test_what_counts_as_a_failure(source: str, bad: str, total: str) -> None:
    query = query_of(source, "ErrorRatio")
    assert isinstance(query, RatioQuery)
    assert (query.bad[0], query.total[0]) == (bad, total)


def test_grpc_failures_are_those_of_the_server_in_both_spellings() -> None:
    query = query_of("GRPC", "ErrorRatio")
    assert isinstance(query, RatioQuery)
    assert [text.partition("{")[0] for text in query.bad] == [
        "grpc_server_handled_total",
        "grpc_server_handled_total",
        "grpc_server_call_duration_seconds_count",
    ]
    codes = query.bad[0].partition('grpc_code=~"')[2].rstrip('"}').split("|")
    assert {c.replace("_", "").lower() for c in codes[:6]} == {c.replace("_", "").lower() for c in codes[6:]}
    assert "OK" not in codes
    assert "NotFound" not in codes  # what a client did is no failure of the server


@pytest.mark.parametrize(
    ("source", "histogram", "threshold", "scale"),
    [
        ("PlainHTTP", "http_request_duration_seconds", 0.3, 1.0),
        ("Istio", "istio_request_duration_milliseconds", 300.0, 0.001),
        ("Linkerd", "response_latency_ms", 300.0, 0.001),
        ("Envoy", "envoy_cluster_upstream_rq_time", 300.0, 0.001),
        ("NGINXIngress", "nginx_ingress_controller_request_duration_seconds", 0.3, 1.0),
        ("Traefik", "traefik_service_request_duration_seconds", 0.3, 1.0),
        ("GRPC", "grpc_server_handling_seconds", 0.3, 1.0),
    ],
)
def test_people_write_and_read_seconds(source: str, histogram: str, threshold: float, scale: float) -> None:
    slow = query_of(source, "SlowRatio", threshold="0.3")
    assert isinstance(slow, SlowRatioQuery)
    assert (slow.histogram[0], slow.threshold, slow.scale) == (histogram, threshold, scale)
    quantile = query_of(source, "LatencyQuantile", quantile="0.95")
    assert isinstance(quantile, QuantileQuery)
    assert (quantile.unit, quantile.scale) == ("s", scale)


@pytest.mark.parametrize("text", ["0.001", "0.07", "0.29", "1.1", "2.3", "4.35"])
def test_milliseconds_are_converted_exactly(text: str) -> None:
    """As floats 0.29 * 1000 is not 290: a bound that is one would be missed."""
    slow = query_of("Istio", "SlowRatio", threshold=text)
    assert isinstance(slow, SlowRatioQuery)
    assert slow.threshold == round(float(text) * 1000)


class TestSegment:
    def test_it_narrows_both_counters(self) -> None:
        given = {"bad": "bad_total{$selector}", "total": 'all_total{x="$selector",$selector}'}
        query = spec_of(ratio=given, segment='tenant="gold"').slis[0].query
        assert isinstance(query, RatioQuery)
        assert query.counters == (
            ('bad_total{$selector,tenant="gold"}', 'all_total{x="$selector",$selector,tenant="gold"}'),
        )

    def test_it_narrows_histograms_and_presets(self) -> None:
        own = spec_of(
            latency={"histogram": "h", "quantile": "0.9", "matchers": 'route="/pay"'}, segment='tenant="gold"'
        )
        assert isinstance(own.slis[0].query, QuantileQuery)
        assert own.slis[0].query.labels == 'route="/pay",tenant="gold"'
        slow = spec_of(preset={"source": "Istio", "sli": "SlowRatio", "threshold": "1"}, segment='tenant="gold"')
        assert isinstance(slow.slis[0].query, SlowRatioQuery)
        assert slow.slis[0].query.labels == 'reporter="destination",tenant="gold"'
        errors = spec_of(preset={"source": "PlainHTTP", "sli": "ErrorRatio"}, segment='tenant="gold"').slis[0].query
        assert isinstance(errors, RatioQuery)
        assert errors.counters[0][1] == 'http_requests_total{$selector,tenant="gold",code!=""}'

    def test_without_one_nothing_changes(self) -> None:
        query = query_of("PlainHTTP", "ErrorRatio")
        assert isinstance(query, RatioQuery)
        assert query.counters == tuple(zip(query.bad, query.total, strict=True))
        assert replace(query, segment='a="b"') != query

    @pytest.mark.parametrize(
        ("sli", "field", "words"),
        [
            (
                {"preset": {"source": "PlainHTTP", "sli": "ErrorRatio"}, "segment": 'tenant="gold",pod="x"'},
                "spec.slis[slow].segment",
                "pod is used to pick the pods or the buckets already, at character 15",
            ),
            (
                {"preset": {"source": "PlainHTTP", "sli": "ErrorRatio"}, "segment": 'code="200"'},
                "spec.slis[slow].segment",
                "code is used to pick what this SLI counts already, at character 1",
            ),
            (
                {"preset": {"source": "Istio", "sli": "SlowRatio", "threshold": "1"}, "segment": "gold"},
                "spec.slis[slow].segment",
                "at character",
            ),
            (
                {"latency": {"histogram": "h", "threshold": "1", "matchers": 'a="b",le="1"'}},
                "spec.slis[slow].latency.matchers",
                "at character 7",
            ),
            (
                {"ratio": {"bad": "rate(a{$selector}[1m])", "total": "b{$selector}"}, "segment": 'tenant="gold"'},
                "spec.slis[slow].ratio.bad",
                "only a vector selector",
            ),
        ],
    )
    def test_what_cannot_be_one_is_refused_with_the_place(self, sli: dict[str, Any], field: str, words: str) -> None:
        (found,) = query_problems(spec_of(**sli))
        assert found.field == field
        assert words in found.message
        assert found.remedy

    def test_a_value_has_none(self) -> None:
        with pytest.raises(InvalidSpec, match="segment belongs to preset, ratio or latency"):
            spec_of(value={"query": "avg(depth{$selector})"}, segment='tenant="gold"')

    @pytest.mark.parametrize("segment", [{}, {"segment": 'tenant="gold"'}])
    def test_envoy_must_say_which_cluster_is_the_program(self, segment: dict[str, str]) -> None:
        found = lint(manifest(preset={"source": "Envoy", "sli": "ErrorRatio"}, **segment))
        errors = [f for f in found if f.level is Level.ERROR]
        assert [f.field for f in errors] == ["spec.slis[0].segment"]
        assert "what the pods ask of others" in errors[0].problem


@pytest.mark.parametrize("source", SOURCES)
def test_lint_doubts_what_a_proxy_counts(source: str) -> None:
    found = lint(manifest(preset={"source": source, "sli": "ErrorRatio"}, **NEEDED.get(source, {})))
    doubts = [f for f in found if f.field == "spec.slis[0].preset.source"]
    assert [f.level for f in doubts] == ([Level.WARNING] if source in ("NGINXIngress", "Traefik") else [])


def test_the_table_names_every_source_and_stays_a_table() -> None:
    lines = table().splitlines()
    assert len(lines) == 2 + len(SOURCES)
    assert {line.split("|")[1].strip() for line in lines[2:]} == set(SOURCES)
    assert all(line.replace("\\|", "").count("|") == 6 for line in lines)
