"""Wire models of `spec.slis`: how a service level indicator is measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trimtab.api.base import DEFAULT_KEY, Rule, WireModel, exactly_one
from trimtab.api.scalars import MetricName, Name, number
from trimtab.domain.spec import DEFAULT_STORE, OnMissing, Scaling

PresetSource = Literal["PlainHTTP", "OpenTelemetry", "Istio", "Linkerd", "Envoy", "NGINXIngress", "Traefik", "GRPC"]
Seconds = number("0", "86400", above=True, unit="the histogram's unit", example="0.3")
QuantileLevel = number("0", "1", above=True, below=True, example="0.95")
Query = Annotated[str, Field(min_length=1, max_length=4096)]


def _selector(field: str, optional: bool = False) -> Rule:
    wire = {"samples_query": "samplesQuery"}.get(field, field)
    guard = f"!has(self.{wire}) || " if optional else ""
    return Rule(
        f"{guard}self.{wire}.contains('$selector')",
        f"{wire} must hold $selector inside the braces, where the pods of an arm are put; "
        'write it like http_requests_total{$selector,code=~"5.."}',
        lambda m: getattr(m, field) is None or "$selector" in getattr(m, field),
        field=f".{wire}",
    )


class Preset(WireModel):
    """A ready-made SLI for the metrics that a common source exports."""

    source: PresetSource = Field(description="Where the metrics come from; it decides names, labels and units.")
    sli: Literal["ErrorRatio", "SlowRatio", "LatencyQuantile"] = Field(
        description="ErrorRatio: failed / all requests. SlowRatio: requests slower than threshold / all. "
        "LatencyQuantile: the latency below which the fraction `quantile` of requests stays, in seconds."
    )
    threshold: Annotated[str, number("0", "86400", above=True, unit="seconds", example="0.3")] | None = Field(
        None,
        description="SlowRatio only: latency in seconds as a decimal string, whatever the source counts in; must be a "
        "bucket bound, unless the histogram is a native one with exponential buckets.",
    )
    quantile: Annotated[str, QuantileLevel] | None = Field(
        None, description="LatencyQuantile only: a fraction as a decimal string, for example 0.95."
    )

    RULES = (
        Rule(
            "(self.sli == 'SlowRatio') == has(self.threshold)",
            "threshold belongs to sli SlowRatio, which needs it; set it there and nowhere else",
            lambda m: (m.sli == "SlowRatio") == (m.threshold is not None),
        ),
        Rule(
            "(self.sli == 'LatencyQuantile') == has(self.quantile)",
            "quantile belongs to sli LatencyQuantile, which needs it; set it there and nowhere else",
            lambda m: (m.sli == "LatencyQuantile") == (m.quantile is not None),
        ),
    )


class RatioSli(WireModel):
    """Fraction of bad events, from two counters."""

    bad: Query = Field(description="PromQL selector of the counter of bad events; rate and sum are added.")
    total: Query = Field(description="PromQL selector of the counter of all events; rate and sum are added.")

    RULES = (_selector("bad"), _selector("total"))


class LatencySli(WireModel):
    """Latency from a histogram: the fraction of slow requests (threshold), or a quantile."""

    histogram: MetricName = Field(description="Base name of the histogram, without _bucket.")
    threshold: Annotated[str, Seconds] | None = Field(
        None,
        description="The SLI is the fraction of requests slower than this, in the histogram's unit, as a decimal "
        "string; must be a bucket bound, unless the histogram is a native one with exponential buckets.",
    )
    quantile: Annotated[str, QuantileLevel] | None = Field(
        None, description="The SLI is this quantile of latency; a fraction as a decimal string, for example 0.95."
    )
    unit: Literal["s", "ms"] = Field("s", description="Unit of the histogram's bounds: seconds or milliseconds.")
    matchers: str = Field(
        "",
        max_length=1024,
        description='Further label matchers, comma separated, for example method="POST",route="/pay".',
    )

    RULES = (exactly_one("threshold", "quantile"),)


class ValueSli(WireModel):
    """Any PromQL expression that yields one value."""

    query: Query = Field(description="PromQL expression that yields exactly one series.")
    samples_query: Query | None = Field(
        None, description="PromQL expression that counts the samples behind the value. Unset: scrapes are counted."
    )
    unit: str = Field("1", min_length=1, max_length=16, description="Unit of the value, shown in messages.")

    RULES = (_selector("query"), _selector("samples_query", optional=True))


class ScalingSli(WireModel):
    """How an arm scaled over the whole window. Pods are counted by the requests that they count."""

    measure: Scaling = Field(
        description="MeanReplicas: pods, on average. ScaleEventsPerHour: how often their number changed, per hour. "
        "BreachSecondsPerHour: seconds per hour in which the SLI named by sli was above `above`."
    )
    sli: Name | None = Field(
        None,
        description="Name of an SLI that counts events (ratio, latency with threshold, or a preset of these). Unset: "
        "the first one of spec.slis; BreachSecondsPerHour needs it.",
    )
    above: Annotated[str, number("0", "1", below=True, example="0.05")] | None = Field(
        None, description="BreachSecondsPerHour only: the ratio above which a moment is in breach, as a decimal string."
    )

    RULES = (
        Rule(
            "(self.measure == 'BreachSecondsPerHour') == has(self.above)",
            "above belongs to measure BreachSecondsPerHour, which needs it; set it there and nowhere else",
            lambda m: (m.measure is Scaling.BREACH_SECONDS) == (m.above is not None),
            field=".above",
        ),
        Rule(
            "self.measure != 'BreachSecondsPerHour' || has(self.sli)",
            "measure BreachSecondsPerHour needs sli, the SLI that is in breach; name one that counts events",
            lambda m: m.measure is not Scaling.BREACH_SECONDS or m.sli is not None,
            field=".sli",
        ),
    )


class Telemetry(WireModel):
    """Where the SLIs are measured."""

    store: Name = Field(
        DEFAULT_STORE,
        description="Name of a metrics store from the operator's list; never an address. Frozen once a trial exists.",
    )


class Sli(WireModel):
    """A service level indicator: one number for one set of pods over one window."""

    name: Name = Field(description="Name of the SLI; constraints, budgets and objectives refer to it.")
    preset: Preset | None = Field(None, description="A ready-made SLI.")
    ratio: RatioSli | None = Field(None, description="Fraction of bad events, from two counters.")
    latency: LatencySli | None = Field(None, description="Slow fraction or quantile, from a histogram.")
    value: ValueSli | None = Field(None, description="Any PromQL expression that yields one value.")
    scaling: ScalingSli | None = Field(
        None, description="How an arm that an autoscaler scales has scaled; for objectives, not for constraints."
    )
    segment: str | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="Judge a cohort by itself: label matchers, comma separated, that are added to every selector of "
        'preset, ratio and latency, for example tenant="gold". Requests outside of it are not counted.',
    )
    min_samples: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="Least number of requests (value: samples) in a window; with fewer the trial is extended once, "
        "then Inconclusive. Default: 100 requests, 8 samples.",
        json_schema_extra={DEFAULT_KEY: "100; 8 for value and scaling"},
    )
    on_missing: OnMissing = Field(
        OnMissing.INCONCLUSIVE,
        description="What a trial without data for this SLI is: Inconclusive (teaches nothing) or Fail (infeasible).",
    )

    RULES = (
        exactly_one("preset", "ratio", "latency", "value", "scaling"),
        Rule(
            "!has(self.segment) || !has(self.value) && !has(self.scaling)",
            "segment belongs to preset, ratio or latency; write its matchers beside $selector in the value's query",
            lambda m: m.segment is None or (m.value is None and m.scaling is None),
            field=".segment",
        ),
        Rule(
            "!has(self.preset) || self.preset.source != 'Envoy' || "
            "(has(self.segment) && self.segment.contains('envoy_cluster_name'))",
            "source Envoy counts what the pods ask of others too, unless segment names the cluster of their own "
            'program; write it like envoy_cluster_name="local_app"',
            lambda m: m.preset is None or m.preset.source != "Envoy" or "envoy_cluster_name" in (m.segment or ""),
            field=".segment",
        ),
    )

    def counts_events(self) -> bool:
        """The SLI is bad / total, so an error budget can be kept on it."""
        if self.preset is not None:
            return self.preset.sli != "LatencyQuantile"
        return self.ratio is not None or (self.latency is not None and self.latency.threshold is not None)
