"""A scaled service over days under other rules: what it costs, and which minutes break its bounds."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from tests.unit.simulate.scaled import CPU, MEMORY, experiment, hpa, scaled, workload
from tests.unit.simulate.stories import START, story

from trimtab.domain.space import Assignment
from trimtab.domain.spec import OutcomeConstraint, QuantileQuery, RelativeBound, Sli, SliKind
from trimtab.domain.state import ExperimentState
from trimtab.domain.trial import Purpose, Trial
from trimtab.simulate.collect import Finished
from trimtab.simulate.horizon import Segment
from trimtab.simulate.peers import compare, default_hpa, hold, incomparable, krr, random_search, trimtab, vpa
from trimtab.simulate.scaled_days import ScaledDays
from trimtab.simulate.scenario import Scenario, scenario
from trimtab.simulate.truth import Truth
from trimtab.workload import UNLIMITED, Resources
from trimtab.workload.units import GIB

NOTHING = Finished(ExperimentState(), (), (), 20_800.0, START)
POD = 2 * 0.031611 + 2 * 0.004237


def days(made: Scenario | None = None, truth: Truth | None = None) -> ScaledDays:
    made = scaled(days=0.25) if made is None else made
    found = made.truth if truth is None else truth
    return ScaledDays(found, made.offered, made.start, made.days)


def tight() -> Assignment:
    """A place of the grid that breaks the bound on latency."""
    return Assignment.of({"cpu": Decimal("0.5"), "memory": Decimal(2 * 2**30), "target": Decimal(80)})


def searched(made: Scenario, *assignments: Assignment) -> Finished:
    """Trials of ten minutes, half an hour each."""
    trials = []
    for number, assignment in enumerate(assignments):
        trial: Trial = story()[1].trials[5]
        begun = made.start + 1800.0 * number
        times = replace(trial.times, created=begun, deploying=begun, warming_up=begun + 60.0, draining=begun + 660.0)
        suggestion = replace(trial.suggestion, assignment=assignment, purpose=Purpose.SEARCH)
        trials.append(replace(trial, suggestion=suggestion, times=times, withdraw_seconds=None))
    answer = replace(story()[1].state.recommendation, assignment=assignments[0])  # type: ignore[type-var]
    state = ExperimentState(finished=made.start + 3 * 3600.0, recommendation=answer)
    return Finished(state, tuple(trials), (), made.peak_rps, made.start + 3 * 3600.0)


def test_what_holds_breaks_no_minute_and_costs_its_pods() -> None:
    found = days()
    score = found.score(hold(found, NOTHING).segments)
    assert (score.violation_minutes, score.unsafe_canary_minutes) == (0, 0)
    assert score.mean_cost == pytest.approx(found.truth.hourly(found.truth.baseline), rel=0.02)
    assert score.final_cost == pytest.approx(score.mean_cost)


def test_what_does_not_hold_breaks_most_minutes() -> None:
    found = days()
    score = found.score([Segment(found.start, found.setting(tight()))])
    assert score.violation_minutes > 300
    assert score.final_cost < found.score(hold(found, NOTHING).segments).final_cost


def test_a_change_counts_from_its_start() -> None:
    found = days()
    parts = [hold(found, NOTHING).segments[0], Segment(found.start + 3 * 3600, found.setting(tight()))]
    before = found.score(parts[:1])
    after = found.score([replace(parts[1], start=found.start)])
    score = found.score(parts)
    assert 150 < score.violation_minutes <= 180
    assert after.final_cost == score.final_cost < score.mean_cost < before.mean_cost


def test_a_bad_canary_is_seen_although_the_service_holds() -> None:
    found = days()
    now = found.setting(found.truth.baseline)
    score = found.score([Segment(found.start, now, found.arm(found.setting(tight())), found.arm(now))])
    assert score.violation_minutes == 0
    assert score.unsafe_canary_minutes > 300


def test_arms_take_their_share_of_the_load_and_no_more() -> None:
    found = days()
    now = found.setting(found.truth.baseline)
    alone = found.score([Segment(found.start, now)])
    beside = found.score([Segment(found.start, now, found.arm(now), found.arm(now))])
    assert beside.mean_cost - alone.mean_cost < 2 * POD  # two pods more, and a little less of the target


def test_half_the_request_is_nearly_as_dear_where_pods_double() -> None:
    found = days()
    half = found.resized(Resources.equal(1.0, 2 * GIB))
    costs = [found.score([Segment(found.start, s)]).mean_cost for s in (found.resized(found.baseline), half)]
    assert 0.9 < costs[1] / costs[0] < 1.3
    assert half.cost == pytest.approx(0.031611 + 2 * 0.004237)


@pytest.mark.thorough
def test_rules_set_requests_and_the_autoscaler_goes_on() -> None:
    found = days(scaled(days=0.25, text=workload(noisePercent=0)))
    (segment,) = krr(found, NOTHING).segments
    run = segment.target.fleet.run
    assert run[1].cpu_limit == UNLIMITED
    assert segment.target.fleet.hpa == found.setting(found.truth.baseline).fleet.hpa
    assert segment.target.fleet.aims[0].request == pytest.approx(run[1].cpu_request)
    assert 0.3 < run[1].cpu_request / found.baseline.cpu_request < 0.5  # what pods use at a target of 40 %
    first, second, *_ = vpa(found, NOTHING).segments
    assert first.target.fleet.run[1] == found.baseline
    assert second.target.fleet.run[1].cpu_request < 0.6 * found.baseline.cpu_request


def test_usage_is_near_what_the_autoscaler_aims_at() -> None:
    found = days()
    times = found.start + 60.0 * (np.arange(120) + 0.5)
    cpu, memory = found.usage(found.baseline, times)
    assert cpu.shape == memory.shape == (120,)
    assert 0.36 * 2 < cpu.mean() < 0.44 * 2
    assert memory.mean() < 2 * GIB


def test_default_behavior_is_calmer_than_a_short_window() -> None:
    hasty = hpa(45, scaleDown={"stabilizationWindowSeconds": 0}, scaleUp={"tolerance": "0"})
    found = days(scaled(days=0.25, scaler=hasty, text=workload(noisePercent=10, noiseInterval="2m")))
    (usual,) = default_hpa(found, NOTHING).segments
    now = hold(found, NOTHING).segments[0]
    loads = found._loads(found.start, found.end)
    events = [s.target.fleet.play(loads).events_per_hour for s in (now, usual)]
    assert events[0] > 3 * events[1]
    assert usual.target.fleet.aims == now.target.fleet.aims
    assert usual.target.fleet.hpa.down.window == 300.0


def test_trimtab_is_scored_with_its_arms_and_its_recommendation() -> None:
    made = scaled(days=0.25)
    found = days(made)
    cheap = made.truth.baseline.replace("target", Decimal(60))
    played = trimtab(found, searched(made, cheap, tight()))
    assert [len(s.canary) for s in played.segments] == [0, 1, 0, 1, 0, 0]
    score = found.score(played.segments)
    assert 8 <= score.unsafe_canary_minutes <= 10
    assert score.violation_minutes == 0
    assert score.final_cost == pytest.approx(made.truth.hourly(cheap), rel=0.03)


@pytest.mark.thorough
def test_random_search_applies_the_cheapest_that_held() -> None:
    made = scaled(days=0.25)
    found = days(made)
    played = random_search(found, searched(made, *[tight()] * 6))
    assert sum(bool(s.canary) for s in played.segments) == 6
    assert found.score(played.segments).final_cost < found.score(hold(found, NOTHING).segments).final_cost


def bounded(made: Scenario, sli: Sli, bound: OutcomeConstraint) -> ScaledDays:
    spec = replace(made.truth.spec, slis=(*made.truth.spec.slis, sli), constraints=(bound,))
    return days(made, replace(made.truth, spec=spec))


def test_a_quantile_is_that_of_all_requests() -> None:
    made = scaled(days=0.25)
    p95 = Sli("p95", SliKind.LATENCY, QuantileQuery(("http_request_duration_seconds",), 0.95), 1)
    found = bounded(made, p95, OutcomeConstraint("p95", "p95", 0.1, None, None, 0.95, None))
    for assignment in (made.truth.baseline, tight(), tight().replace("target", Decimal(60))):
        counts = [d.score([Segment(d.start, d.setting(assignment))]).violation_minutes for d in (days(made), found)]
        assert counts[0] == counts[1]


def test_bounds_relative_to_today() -> None:
    made = scaled(days=0.25)
    for relative, broken in ((RelativeBound(max_increase_ratio=0.1), True), (RelativeBound(max_increase=0.9), False)):
        constraint = OutcomeConstraint("slow", "slow", None, None, relative, 0.95, None)
        found = days(made, replace(made.truth, spec=replace(made.truth.spec, constraints=(constraint,))))
        score = found.score([Segment(found.start, found.setting(tight()))])
        assert (score.violation_minutes > 100) is broken


def test_too_little_memory_is_expected_to_be_killed() -> None:
    found = days()
    small = found.resized(Resources(2.0, 2.0, 384 * 2**20, 384 * 2**20))
    assert found.score([Segment(found.start, small)]).oom_kills > 100


def test_which_rules_can_be_compared() -> None:
    assert incomparable(scaled().truth, ("vpa", "default-hpa")) == ""
    fixed: Any = scenario(experiment(CPU, MEMORY), (), workload(), seed=1, days=0.5).truth
    assert "no HorizontalPodAutoscaler" in incomparable(fixed, ("default-hpa",))
    assert incomparable(fixed, ("vpa",)) == ""


@pytest.mark.thorough
def test_all_rules_side_by_side() -> None:
    made = scaled(days=0.25)
    cheap = made.truth.baseline.replace("target", Decimal(60))
    found = compare(days(made), searched(made, cheap), ("hold", "random", "vpa", "krr", "default-hpa"))
    by_name = {peer.name: peer for peer in found}
    assert list(by_name) == ["trimtab", "hold", "random", "vpa", "krr", "default-hpa"]
    assert by_name["trimtab"].mean_cost_per_hour < by_name["hold"].mean_cost_per_hour
    assert by_name["trimtab"].setting == "cpu 2 memory 2Gi target 60"
    assert by_name["default-hpa"].mean_cost_per_hour == pytest.approx(by_name["hold"].mean_cost_per_hour)
