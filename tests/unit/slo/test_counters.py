"""Spellings and forms of an SLI's counters: what is asked, and in which order."""

from __future__ import annotations

from trimtab.domain.spec import QuantileQuery, RatioQuery, SlowRatioQuery, ValueQuery
from trimtab.ports import PodSet
from trimtab.slo.counters import Counters, Histogram, counters_of, forms_of
from trimtab.slo.promql import le_matcher, selector

PODS = PodSet("shop", ("web",))
PICKED = selector(PODS)


def test_a_ratio_has_a_pair_for_each_spelling_within_its_segment() -> None:
    query = RatioQuery(("a{$selector}", "c{$selector}"), ("b{$selector}", "d{$selector}"), 'tenant="gold"')
    assert counters_of(query, PODS) == (
        Counters(f'a{{{PICKED},tenant="gold"}}', f'b{{{PICKED},tenant="gold"}}', False),
        Counters(f'c{{{PICKED},tenant="gold"}}', f'd{{{PICKED},tenant="gold"}}', False),
    )


def test_a_slow_ratio_is_counted_at_a_bound_before_a_bucket_is_divided() -> None:
    query = SlowRatioQuery(("h",), 0.5, matchers='route="/pay"', segment='tenant="gold"')
    labels = 'route="/pay",tenant="gold"'
    assert forms_of(query) == (Histogram("h", False), Histogram("h", True))
    assert counters_of(query, PODS) == (
        Counters(f"h_bucket{{{PICKED},{le_matcher(0.5)},{labels}}}", f'h_bucket{{{PICKED},le="+Inf",{labels}}}', True),
        Counters("", f"h{{{PICKED},{labels}}}", True, native=True),
    )


def test_a_quantile_is_read_from_the_finer_form_and_counts_nothing_by_itself() -> None:
    query = QuantileQuery(("h", "g"), 0.9)
    assert [(f.name, f.native) for f in forms_of(query)] == [("h", True), ("g", True), ("h", False), ("g", False)]
    assert counters_of(query, PODS) == ()
    assert counters_of(ValueQuery("avg(a{$selector})", "1"), PODS) == ()
