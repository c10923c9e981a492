"""Ready-made SLIs: what the metrics of common sources are called.

Where a source has several spellings, all are listed; the first whose total has series is used. Each total asks for the
label that tells failures apart, so a service without that label has no data instead of no errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from trimtab.api.slis import Preset, PresetSource
from trimtab.domain.spec import QuantileQuery, RatioQuery, SliQuery, SlowRatioQuery


@dataclass(frozen=True)
class Source:
    """`counters` are (metric, label of the failures) in the order of probing, `histograms` base names in `unit`.
    `matchers` pick what the target was asked, where the source counts what it asks of others too. `scraped` says, for
    people, whose pods export it; `edge`: as a rule not the target's, so that arms cannot be told apart."""

    counters: tuple[tuple[str, str], ...]
    histograms: tuple[str, ...]
    scraped: str
    failures: str = '=~"5.."'
    matchers: str = ""
    unit: str = "s"
    edge: bool = False


_SIDECAR = "a sidecar in the target's pods"
_EDGE = "a proxy: only where it is the target, or runs in the target's pods"
# What OpenTelemetry's conventions call an error of a server, in the spelling of Go and in that of Java and Python
_GRPC_FAILURES = "|".join(
    (
        *("Unknown", "DeadlineExceeded", "Unimplemented", "Internal", "Unavailable", "DataLoss"),
        *("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    )
)
SOURCES: dict[PresetSource, Source] = {
    "PlainHTTP": Source(
        counters=tuple(
            (metric, label)
            for metric in ("http_requests_total", "http_request_duration_seconds_count")
            for label in ("code", "status", "status_code")
        ),
        histograms=("http_request_duration_seconds",),
        scraped="the target's program",
    ),
    "OpenTelemetry": Source(
        counters=(("http_server_request_duration_seconds_count", "http_response_status_code"),),
        histograms=("http_server_request_duration_seconds",),
        scraped="the target's program",
    ),
    "Istio": Source(
        counters=(("istio_requests_total", "response_code"),),
        histograms=("istio_request_duration_milliseconds",),
        scraped=_SIDECAR,
        matchers='reporter="destination"',
        unit="ms",
    ),
    "Linkerd": Source(
        counters=(("response_total", "classification"),),
        histograms=("response_latency_ms",),
        scraped=_SIDECAR,
        failures='="failure"',
        matchers='direction="inbound"',
        unit="ms",
    ),
    "Envoy": Source(
        counters=(("envoy_cluster_upstream_rq", "envoy_response_code"),),
        histograms=("envoy_cluster_upstream_rq_time",),
        scraped=f"{_SIDECAR}; `segment` must name its cluster for the program",
        unit="ms",
    ),
    "NGINXIngress": Source(
        counters=(("nginx_ingress_controller_requests", "status"),),
        histograms=("nginx_ingress_controller_request_duration_seconds",),
        scraped=_EDGE,
        edge=True,
    ),
    "Traefik": Source(
        counters=(
            ("traefik_service_requests_total", "code"),
            ("traefik_service_request_duration_seconds_count", "code"),
        ),
        histograms=("traefik_service_request_duration_seconds",),
        scraped=_EDGE,
        edge=True,
    ),
    "GRPC": Source(
        counters=(
            ("grpc_server_handled_total", "grpc_code"),
            ("grpc_server_handled_total", "code"),
            ("grpc_server_call_duration_seconds_count", "grpc_status"),
        ),
        histograms=(
            "grpc_server_handling_seconds",
            "grpc_server_handled_latency_seconds",
            "grpc_server_call_duration_seconds",
        ),
        scraped="the target's program",
        failures=f'=~"{_GRPC_FAILURES}"',
    ),
}
PER_SECOND = {"s": 1, "ms": 1000}


def resolve(preset: Preset, segment: str = "") -> SliQuery:
    """The queries of a preset. People write thresholds, and read latencies, in seconds, whatever the source counts in.

    Args:
        segment: further label matchers, as text.
    """
    source = SOURCES[preset.source]
    scale = 1 / PER_SECOND[source.unit]
    if preset.threshold is not None:
        threshold = float(Decimal(preset.threshold) * PER_SECOND[source.unit])
        return SlowRatioQuery(source.histograms, threshold, source.unit, source.matchers, segment, scale)
    if preset.quantile is not None:
        quantile = float(preset.quantile)
        return QuantileQuery(source.histograms, quantile, "s", source.matchers, segment, scale)
    own = f"{source.matchers}," if source.matchers else ""
    return RatioQuery(
        bad=tuple(f"{metric}{{$selector,{own}{label}{source.failures}}}" for metric, label in source.counters),
        total=tuple(f'{metric}{{$selector,{own}{label}!=""}}' for metric, label in source.counters),
        segment=segment,
    )


def table() -> str:
    """Markdown: a row for each source, with what is asked of it."""
    head = "| source | errors | of all | latency | who exports it |\n|---|---|---|---|---|\n"
    return head + "".join(_row(name, source) for name, source in SOURCES.items())


def _row(name: str, source: Source) -> str:
    own = f"{source.matchers}," if source.matchers else ""
    metrics = dict.fromkeys(metric for metric, _ in source.counters)
    first, *others = dict.fromkeys(label for _, label in source.counters)
    errors = _code(f"{{{own}{first}{source.failures}}}") + "".join(f" or by `{label}`" for label in others)
    totals = "<br>".join(_code(metric) for metric in metrics)
    histograms = "<br>".join(_code(base) for base in source.histograms)
    unit = " (ms)" if source.unit == "ms" else ""
    return f"| {name} | {errors} | {totals} | {histograms}{unit} | {source.scraped} |\n"


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


__all__ = ["SOURCES", "Source", "resolve", "table"]
