"""Ready-made SLIs: what the metrics of common sources are called.

Where a source has several spellings, all are listed; the first whose total has series is used. Each total asks for the
label that tells failures apart, so a service without that label has no data instead of no errors.
"""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.api.slis import Preset
from trimtab.domain.errors import NotYetSupported
from trimtab.domain.spec import QuantileQuery, RatioQuery, SliQuery, SlowRatioQuery


@dataclass(frozen=True)
class Source:
    """`counters` are (metric, status label) in the order of probing; `histograms` base names in seconds."""

    counters: tuple[tuple[str, str], ...]
    histograms: tuple[str, ...]
    failures: str = '=~"5.."'


SOURCES: dict[str, Source] = {
    "PlainHTTP": Source(
        counters=tuple(
            (metric, label)
            for metric in ("http_requests_total", "http_request_duration_seconds_count")
            for label in ("code", "status", "status_code")
        ),
        histograms=("http_request_duration_seconds",),
    ),
    "OpenTelemetry": Source(
        counters=(("http_server_request_duration_seconds_count", "http_response_status_code"),),
        histograms=("http_server_request_duration_seconds",),
    ),
}


def resolve(preset: Preset, field: str) -> SliQuery:
    """The queries of a preset.

    Raises:
        NotYetSupported: the source is known but has no queries yet.
    """
    source = SOURCES.get(preset.source)
    if source is None:
        known = " or ".join(SOURCES)
        raise NotYetSupported(f"{field}.source", f"use {known}, or write ratio or latency with {preset.source}'s names")
    if preset.threshold is not None:
        return SlowRatioQuery(source.histograms, float(preset.threshold))
    if preset.quantile is not None:
        return QuantileQuery(source.histograms, float(preset.quantile))
    return RatioQuery(
        bad=tuple(f"{metric}{{$selector,{label}{source.failures}}}" for metric, label in source.counters),
        total=tuple(f'{metric}{{$selector,{label}!=""}}' for metric, label in source.counters),
    )
