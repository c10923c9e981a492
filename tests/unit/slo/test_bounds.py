"""Bounds against intervals: maximum, minimum, relative to the control, and the words for each."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.control.builders import spec

from trimtab.domain.measurement import NoData, Sample
from trimtab.domain.spec import (
    OutcomeConstraint,
    QuantileQuery,
    RelativeBound,
    Sli,
    SliKind,
    SlowRatioQuery,
    ValueQuery,
)
from trimtab.slo.bounds import Standing, beyond, check, no_worse
from trimtab.slo.words import show, show_sample

ERRORS = spec().slis[0]
SLOW = Sli("slow", SliKind.LATENCY, SlowRatioQuery(("h",), 0.1), 1)
P95 = Sli("p95", SliKind.LATENCY, QuantileQuery(("h",), 0.95), 1)
P95_MS = Sli("p95", SliKind.LATENCY, QuantileQuery(("h",), 0.95, unit="ms"), 1)
RATE = Sli("rate", SliKind.VALUE, ValueQuery("sum(a{$selector})", "req/s"), 1)
BARE = Sli("bare", SliKind.VALUE, ValueQuery("sum(a{$selector})", "1"), 1)


def bound(maximum: float | None = None, minimum: float | None = None, relative: RelativeBound | None = None):  # type: ignore[no-untyped-def]
    return OutcomeConstraint("c", "s", maximum, minimum, relative, 0.95, None)


def ratio(bad: float, total: float, phi: float = 1.0) -> Sample:
    p = bad / total
    return Sample(p, (phi * max(p, 1e-6) / total) ** 0.5, total, bad, phi)


@pytest.mark.parametrize(
    ("bad", "standing"), [(10, Standing.KEPT), (45, Standing.OPEN), (55, Standing.OPEN), (90, Standing.BROKEN)]
)
def test_a_maximum_on_a_ratio(bad: float, standing: Standing) -> None:
    assert check(ERRORS, bound(maximum=0.05), ratio(bad, 1000), None).standing is standing


def test_clusters_widen_the_interval() -> None:
    assert check(ERRORS, bound(maximum=0.05), ratio(70, 1000), None).standing is Standing.BROKEN
    assert check(ERRORS, bound(maximum=0.05), ratio(70, 1000, phi=4), None).standing is Standing.OPEN


@pytest.mark.parametrize(
    ("value", "standing"), [(80.0, Standing.BROKEN), (100.0, Standing.OPEN), (120.0, Standing.KEPT)]
)
def test_a_minimum_is_mirrored(value: float, standing: Standing) -> None:
    assert check(RATE, bound(minimum=100.0), Sample(value, 5.0, 100.0), None).standing is standing


def test_a_band_breaks_on_either_side() -> None:
    band = bound(maximum=120.0, minimum=80.0)
    found = [check(RATE, band, Sample(v, 1.0, 100.0), None).standing for v in (70.0, 100.0, 130.0)]
    assert found == [Standing.BROKEN, Standing.KEPT, Standing.BROKEN]


def test_relative_bounds_carry_both_errors() -> None:
    rule = bound(relative=RelativeBound(max_increase_ratio=0.2))
    control = Sample(0.100, 0.004, 1000.0)
    assert check(P95, rule, Sample(0.105, 0.004, 1000.0), control).standing is Standing.KEPT
    assert check(P95, rule, Sample(0.125, 0.004, 1000.0), control).standing is Standing.OPEN
    assert check(P95, rule, Sample(0.140, 0.004, 1000.0), control).standing is Standing.BROKEN
    vague = Sample(0.100, 0.02, 1000.0)
    assert check(P95, rule, Sample(0.140, 0.004, 1000.0), vague).standing is Standing.OPEN
    absolute = bound(relative=RelativeBound(max_increase=0.02))
    assert check(P95, absolute, Sample(0.140, 0.004, 1000.0), control).standing is Standing.BROKEN


def test_the_worst_part_decides_and_speaks() -> None:
    rule = bound(maximum=1.0, relative=RelativeBound(max_increase_ratio=0.1))
    found = check(P95, rule, Sample(0.2, 0.001, 1000.0), Sample(0.1, 0.001, 1000.0))
    assert found.standing is Standing.BROKEN
    assert found.words == "p95 200 ms [198 ms, 202 ms] > 110 ms, which the control's 100 ms allows"


def test_words_carry_units() -> None:
    assert show(ERRORS, 0.0312) == "3.12 %"
    assert show(SLOW, 0.31) == "31 %"
    assert show(P95, 0.0954) == "95 ms"
    assert show(P95_MS, 95.4) == "95.4 ms"
    assert show(RATE, 12.0) == "12 req/s"
    assert show(BARE, 12.0) == "12"
    assert show_sample(SLOW, ratio(310, 1000)) == "31 % [28.6 %, 33.5 %]"
    assert check(SLOW, bound(maximum=0.05), ratio(310, 1000), None).words == "slow 31 % [28.6 %, 33.5 %] > 5 %"


@pytest.mark.parametrize(
    ("canary", "control", "no_harm"), [(300, 300, True), (310, 300, True), (400, 300, False), (200, 300, True)]
)
def test_what_the_control_breaks_as_well_is_no_worse(canary: float, control: float, no_harm: bool) -> None:
    """Of 1,000: standard errors near 1.7 %, so 1 % more is not surely more and 10 % more is."""
    assert no_worse(ERRORS, bound(maximum=0.1), ratio(canary, 1000), ratio(control, 1000)) is no_harm
    assert no_worse(ERRORS, bound(minimum=0.9), ratio(1000 - canary, 1000), ratio(1000 - control, 1000)) is no_harm


def test_nothing_is_no_worse_than_a_control_that_was_not_read() -> None:
    assert not no_worse(ERRORS, bound(maximum=0.1), ratio(300, 1000), NoData("no traffic"))


def test_the_part_that_is_relative_to_the_control_stays() -> None:
    both = bound(maximum=0.1, relative=RelativeBound(-0.5, None))
    assert not no_worse(ERRORS, both, ratio(300, 1000), ratio(300, 1000))


BEYOND = Sample(10.0, 10.0, 500.0, below=0.05)  # a p95 beyond the last bound of 10 s


def test_a_quantile_beyond_all_buckets_breaks_a_bound_before_it_and_keeps_none_after_it() -> None:
    assert check(P95, bound(maximum=0.3), BEYOND, None).standing is Standing.BROKEN
    assert check(P95, bound(maximum=10.0), BEYOND, None).standing is Standing.OPEN
    assert check(P95, bound(maximum=60.0), BEYOND, None).standing is Standing.OPEN
    assert check(P95, bound(minimum=0.3), BEYOND, None).standing is Standing.KEPT


def test_a_quantile_beyond_all_buckets_is_worse_than_a_control_that_is_not_beyond_them() -> None:
    twice, quick = bound(relative=RelativeBound(max_increase_ratio=1.0)), Sample(0.2, 0.02, 500.0)
    assert check(P95, twice, BEYOND, quick).standing is Standing.BROKEN
    assert check(P95, twice, BEYOND, BEYOND).standing is Standing.OPEN
    assert check(P95, twice, quick, BEYOND).standing is Standing.KEPT
    slow = Sample(25.0, 0.1, 500.0)
    assert check(P95, twice, slow, Sample(10.0, 0.1, 500.0)).standing is Standing.BROKEN
    assert check(P95, twice, slow, BEYOND).standing is Standing.OPEN  # the control's may be anything above 10 s
    assert not no_worse(P95, bound(maximum=0.3), BEYOND, quick)
    assert no_worse(P95, bound(maximum=0.3), BEYOND, BEYOND)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([
        bound(0.02),
        bound(None, 0.01),
        bound(0.05, 0.01),
        bound(0.05, relative=RelativeBound(max_increase_ratio=0.2)),
        bound(relative=RelativeBound(max_increase=0.001)),
    ]),
    st.tuples(st.integers(0, 200), st.integers(0, 200)),
    st.sampled_from([1.0, 3.0]),
)  # fmt: skip
def test_what_is_not_beyond_is_never_broken(about: OutcomeConstraint, bad: tuple[int, int], phi: float) -> None:
    """So that the work of a check can be saved."""
    canary, control = (ratio(k, 1000, phi) for k in bad)
    values = tuple(Sample(s.value, s.standard_error, s.total) for s in (canary, control))
    for one, other in ((canary, control), values, (canary, NoData("gone"))):
        if check(ERRORS, about, one, other).standing is Standing.BROKEN:
            assert beyond(about, one, other)
