"""Pods on average, changes of their number and time in breach, from moments."""

from __future__ import annotations

import random
from statistics import fmean, pstdev

import pytest
from tests.unit.control import builders

from trimtab.domain.measurement import NoData, Sample
from trimtab.domain.spec import RatioQuery, Scaling, ScalingQuery, Sli, SliKind
from trimtab.slo.scaling import Moment, scaling
from trimtab.slo.watching import windowed_slis

COUNTING = RatioQuery(("bad{$selector}",), ("all{$selector}",))
REPLICAS, EVENTS = (ScalingQuery(m, COUNTING) for m in (Scaling.MEAN_REPLICAS, Scaling.SCALE_EVENTS))
BREACH = ScalingQuery(Scaling.BREACH_SECONDS, COUNTING, 0.05)


def read(query: ScalingQuery, moments: list[Moment]) -> Sample:
    found = scaling(query, moments, 10.0)
    assert isinstance(found, Sample)
    return found


def test_pods_are_averaged() -> None:
    assert read(REPLICAS, [Moment(n) for n in (2, 2, 4, 4)]).value == 3.0


def test_each_change_counts_once_however_large() -> None:
    found = read(EVENTS, [Moment(n) for n in (2, 2, 8, 8, 3, 3)])
    assert found.value == pytest.approx(2 / (50 / 3600))


def test_moments_without_traffic_are_neither_in_breach_nor_not() -> None:
    busy = [Moment(1, k, 100.0) for k in (0, 10, 10, 0, 0, 0)]
    assert read(BREACH, [*busy, *([Moment(1)] * 6)]).value == pytest.approx(1200.0)


def test_exactly_the_limit_is_no_breach() -> None:
    assert read(BREACH, [Moment(1, 5.0, 100.0)] * 5).value == 0.0


@pytest.mark.parametrize("query", [REPLICAS, EVENTS, BREACH])
def test_too_few_moments_are_no_data(query: ScalingQuery) -> None:
    assert isinstance(scaling(query, [Moment(1, 0.0, 10.0)] * 3, 10.0), NoData)


def test_no_traffic_is_no_data_for_a_breach() -> None:
    assert isinstance(scaling(BREACH, [Moment(1)] * 10, 10.0), NoData)


@pytest.mark.parametrize("query", [EVENTS, BREACH])
def test_the_error_is_that_of_many_windows(query: ScalingQuery) -> None:
    """Breaches of 1 to 5 moments and changes of the pods come by chance; windows differ as their errors say."""
    rng = random.Random(7)
    found = [read(query, _window(rng)) for _ in range(400)]
    spread, claimed = pstdev([f.value for f in found]), fmean([f.standard_error for f in found])
    assert 0.8 < claimed / spread < 1.3


def _window(rng: random.Random) -> list[Moment]:
    moments: list[Moment] = []
    pods = 3
    while len(moments) < 240:
        if rng.random() < 0.05:
            pods += rng.choice((-1, 1)) if pods > 1 else 1
        length = rng.randint(1, 5) if rng.random() < 0.03 else 0
        moments += [Moment(pods, 10.0, 100.0)] * length or [Moment(pods, 0.0, 100.0)]
    return moments[:240]


def test_a_safety_window_is_too_short_for_it() -> None:
    errors = Sli("errors", SliKind.ERRORS, COUNTING, 100)
    churn = Sli("churn", SliKind.VALUE, EVENTS, 8)
    assert windowed_slis(builders.spec(slis=(errors, churn))) == (errors,)
