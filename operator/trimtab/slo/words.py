"""Numbers in words, one way everywhere: ratios in percent, seconds in milliseconds, others plain."""

from __future__ import annotations

from trimtab.domain.measurement import Sample
from trimtab.domain.quantity import percent
from trimtab.domain.spec import QuantileQuery, RatioQuery, ScalingQuery, Sli, SlowRatioQuery, ValueQuery
from trimtab.slo.estimate import interval


def show(sli: Sli, value: float) -> str:
    """A value of this SLI for people."""
    match sli.query:
        case RatioQuery() | SlowRatioQuery():
            return percent(value)
        case QuantileQuery(unit="s"):
            return f"{1000 * value:.0f} ms"
        case QuantileQuery(unit=unit) | ValueQuery(unit=unit):
            return f"{value:.4g}" if unit in {"", "1"} else f"{value:.4g} {unit}"
        case ScalingQuery(unit=unit):
            return f"{value:.3g} {unit}"


def show_sample(sli: Sli, sample: Sample, confidence: float = 0.95) -> str:
    """`31 % [27 %, 35 %]`."""
    low, high = interval(sample, confidence)
    return f"{show(sli, sample.value)} [{show(sli, low)}, {show(sli, high)}]"
