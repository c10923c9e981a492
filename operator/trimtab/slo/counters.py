"""The two counters behind an SLI that counts events, in each of its spellings and forms. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from trimtab.domain.spec import QuantileQuery, RatioQuery, SliQuery, SlowRatioQuery
from trimtab.ports import PodSet
from trimtab.slo.promql import inject, le_matcher, with_matchers


@dataclass(frozen=True)
class Counters:
    """Selectors (with the pods' matchers) of two counters: `part` of `total`. `good`: the part counts what is NOT bad
    (a histogram's bucket counts the fast requests). Of a native histogram, which is both, only `total` is used."""

    part: str
    total: str
    good: bool
    native: bool = False


@dataclass(frozen=True)
class Histogram:
    """One spelling of a histogram in one form: with a series for each bucket (classic), or native."""

    name: str
    native: bool

    def selector(self, pods: PodSet, *matchers: str) -> str:
        """PromQL of its samples, all buckets of a classic one."""
        return with_matchers(self.name if self.native else f"{self.name}_bucket", pods, *matchers)

    def total(self, pods: PodSet, labels: str) -> str:
        """PromQL of what counts all observations."""
        return self.selector(pods, "" if self.native else 'le="+Inf"', labels)


def forms_of(query: SlowRatioQuery | QuantileQuery) -> tuple[Histogram, ...]:
    """Every spelling in both forms, in the order in which they are tried: counts are exact at a classic bound, a
    quantile is finer in a native histogram."""
    classic = tuple(Histogram(name, False) for name in query.histogram)
    native = tuple(Histogram(name, True) for name in query.histogram)
    return (*classic, *native) if isinstance(query, SlowRatioQuery) else (*native, *classic)


def counters_of(query: SliQuery, pods: PodSet) -> tuple[Counters, ...]:
    """One pair for each spelling and form, in the order in which they are tried; none for a quantile or a value."""
    return _spelled(query, PodSet(pods.namespace, pods.workloads))  # which of them are live has no part in it


@lru_cache(maxsize=512)
def _spelled(query: SliQuery, pods: PodSet) -> tuple[Counters, ...]:
    match query:
        case RatioQuery():
            return tuple(Counters(inject(bad, pods), inject(total, pods), False) for bad, total in query.counters)
        case SlowRatioQuery():
            return tuple(_slow(query, form, pods) for form in forms_of(query))
    return ()


def _slow(query: SlowRatioQuery, form: Histogram, pods: PodSet) -> Counters:
    total = form.total(pods, query.labels)
    if form.native:
        return Counters("", total, True, native=True)
    return Counters(form.selector(pods, le_matcher(query.threshold), query.labels), total, True)


__all__ = ["Counters", "Histogram", "counters_of", "forms_of"]
