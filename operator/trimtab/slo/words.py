"""Numbers in words, one way everywhere: ratios in percent, seconds in milliseconds, others plain."""

from __future__ import annotations

from trimtab.domain.measurement import Sample
from trimtab.domain.spec import QuantileQuery, Sli, SliKind
from trimtab.slo.estimate import interval


def show(sli: Sli, value: float) -> str:
    """A value of this SLI for people."""
    if sli.kind is SliKind.ERRORS:
        return f"{100 * value:.3g} %"
    if isinstance(sli.query, QuantileQuery):
        return f"{1000 * value:.0f} ms" if sli.query.unit == "s" else f"{value:.4g} {sli.query.unit}"
    return f"{value:.4g}"


def show_sample(sli: Sli, sample: Sample, confidence: float = 0.95) -> str:
    """`31 % [27 %, 35 %]`."""
    low, high = interval(sample, confidence)
    return f"{show(sli, sample.value)} [{show(sli, low)}, {show(sli, high)}]"
