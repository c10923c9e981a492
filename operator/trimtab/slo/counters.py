"""The two counters behind an SLI that counts events, in each of its spellings. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.domain.spec import RatioQuery, SliQuery, SlowRatioQuery
from trimtab.ports import PodSet
from trimtab.slo.promql import inject, le_matcher, with_matchers


@dataclass(frozen=True)
class Counters:
    """Selectors (with the pods' matchers) of two counters: `part` of `total`. `good`: the part counts what is NOT bad
    (a histogram's bucket counts the fast requests)."""

    part: str
    total: str
    good: bool


def counters_of(query: SliQuery, pods: PodSet) -> tuple[Counters, ...]:
    """One pair for each spelling, in the order in which they are tried; none for a quantile or a value."""
    match query:
        case RatioQuery():
            pairs = zip(query.bad, query.total, strict=True)
            return tuple(Counters(inject(bad, pods), inject(total, pods), False) for bad, total in pairs)
        case SlowRatioQuery():
            return tuple(_slow(query, name, pods) for name in query.histogram)
    return ()


def _slow(query: SlowRatioQuery, name: str, pods: PodSet) -> Counters:
    fast = with_matchers(f"{name}_bucket", pods, le_matcher(query.threshold), query.matchers)
    return Counters(fast, with_matchers(f"{name}_bucket", pods, 'le="+Inf"', query.matchers), True)


__all__ = ["Counters", "counters_of"]
