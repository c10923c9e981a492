"""A service over days: what it costs, and which minutes break its bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.simulate.stories import START, place, web_truth

from trimtab.domain.spec import OutcomeConstraint, QuantileQuery, RelativeBound, Sli, SliKind
from trimtab.simulate.horizon import Horizon, Segment, minutes_between
from trimtab.simulate.truth import Truth
from trimtab.workload import UNLIMITED, OfferedLoad, Resources
from trimtab.workload.units import GIB, MIB


def horizon(truth: Truth | None = None, hours: float = 6.0) -> Horizon:
    truth = web_truth() if truth is None else truth
    return Horizon(truth, OfferedLoad.of(truth.workload), START, hours / 24)


def resources(cpu: str, mib: int) -> Resources:
    return web_truth().resources(place(cpu, mib))


def test_minutes_cover_the_horizon() -> None:
    assert len(minutes_between(0.0, 3600.0)) == 60
    assert len(horizon().minutes) == 360


def test_what_holds_breaks_no_minute_and_costs_its_requests() -> None:
    score = horizon().score([Segment(START, resources("2", 2048))])
    assert score.violation_minutes == 0
    assert score.final_cost == score.mean_cost == pytest.approx(20 * (2 * 0.031611 + 2 * 0.004237))


def test_what_does_not_hold_breaks_every_minute() -> None:
    assert horizon().score([Segment(START, resources("0.5", 704))]).violation_minutes == 360


def test_a_change_counts_from_its_start() -> None:
    calm = horizon()
    parts = [Segment(START, resources("2", 2048)), Segment(START + 3 * 3600, resources("0.5", 704))]
    score = calm.score(parts)
    assert score.violation_minutes == 180
    assert score.mean_cost == pytest.approx((1.43392 + score.final_cost) / 2)


def test_a_bad_canary_is_seen_although_the_service_holds() -> None:
    canary = ((resources("0.6", 704), 1),)
    control = ((resources("2", 2048), 1),)
    score = horizon().score([Segment(START, resources("2", 2048), canary, control)])
    assert (score.violation_minutes, score.unsafe_canary_minutes) == (0, 360)
    assert score.mean_cost > score.final_cost


def test_pods_beyond_their_request_suffer_only_while_the_node_is_full() -> None:
    burst = Resources(0.4, UNLIMITED, 704 * MIB, 704 * MIB)
    score = horizon().score([Segment(START, burst)])
    assert 0.05 * 360 < score.violation_minutes < 0.16 * 360


def test_too_little_memory_is_expected_to_be_killed() -> None:
    score = horizon().score([Segment(START, resources("2", 384))])
    assert score.oom_kills > 100


def test_a_quantile_of_the_whole_service_is_that_of_the_mixture() -> None:
    truth = web_truth()
    quantile = Sli("p95", SliKind.LATENCY, QuantileQuery(("http_request_duration_seconds",), 0.95), 1)
    bound = OutcomeConstraint("p95", "p95", 0.1, None, None, 0.95, None)
    by_quantile = replace(truth, spec=replace(truth.spec, slis=(quantile,), constraints=(bound,)))
    for cpu in ("0.5", "0.7", "0.75", "0.8"):
        segments = [Segment(START, resources(cpu, 704))]
        counted = horizon().score(segments).violation_minutes
        assert horizon(by_quantile).score(segments).violation_minutes == counted, cpu


def test_bounds_relative_to_today() -> None:
    truth = web_truth()
    for relative, broken in ((RelativeBound(max_increase_ratio=0.1), 360), (RelativeBound(max_increase=0.05), 0)):
        constraint = OutcomeConstraint("slow", "slow", None, None, relative, 0.95, None)
        near = replace(truth, spec=replace(truth.spec, constraints=(constraint,)))
        assert horizon(near).score([Segment(START, resources("0.8", 768))]).violation_minutes == broken


def test_prices_count_what_else_is_in_the_pod() -> None:
    truth = web_truth()
    more = replace(truth.target.containers[0], name="proxy")
    both = replace(truth, target=replace(truth.target, containers=(*truth.target.containers, more)))
    beside = horizon(both).cost(Resources.equal(1.0, GIB)) - horizon().cost(Resources.equal(1.0, GIB))
    assert beside == pytest.approx(2 * 0.031611 + 2 * 0.004237)
