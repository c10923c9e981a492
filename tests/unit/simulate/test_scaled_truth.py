"""The truth about targets whose pods an autoscaler, or the assignment, decides about: against trying everything."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import product

import numpy as np
import pytest
from tests.unit.simulate.scaled import CPU, MEMORY, ROUTE, TARGET, experiment, field, hpa, scaled, workload
from tests.unit.simulate.stories import START, story

from trimtab.domain.errors import InvalidSpec
from trimtab.domain.space import Assignment
from trimtab.domain.trial import Environment, PhaseTimes, Purpose, Suggestion, Trial
from trimtab.simulate.exposure import exposure_of
from trimtab.simulate.optimum import NoOptimum, Optimum, _settled, axes_of, optimum_of
from trimtab.simulate.scaling import loads_of
from trimtab.simulate.scenario import Scenario, scenario
from trimtab.simulate.traffic import past_of
from trimtab.simulate.truth import Truth
from trimtab.workload import evaluate

SCALING = [
    {"name": "slow", "latency": {"histogram": "http_request_duration_seconds", "threshold": "0.1", "unit": "s"}},
    {"name": "errors", "preset": {"source": "PlainHTTP", "sli": "ErrorRatio"}},
    {"name": "breach", "scaling": {"measure": "BreachSecondsPerHour", "sli": "slow", "above": "0.05"}},
    {"name": "events", "scaling": {"measure": "ScaleEventsPerHour", "sli": "slow"}},
    {"name": "pods", "scaling": {"measure": "MeanReplicas", "sli": "slow"}},
]


def everything(truth: Truth) -> list[Assignment]:
    names = truth.spec.space.names
    return [Assignment(tuple(zip(names, values, strict=True))) for values in product(*axes_of(truth))]


def found(truth: Truth, load: float) -> Optimum:
    best = optimum_of(truth, load)
    assert isinstance(best, Optimum)
    return best


def number(value: object) -> float:
    assert isinstance(value, float)
    return value


def test_the_baseline_is_read_from_the_autoscaler() -> None:
    made = scaled()
    assert made.truth.spec.space.describe(made.truth.baseline) == "cpu=2 memory=2Gi target=40"
    assert made.truth.whole
    assert made.truth.load_unit == "requests/s"
    assert made.peak_rps == pytest.approx(16_000 * 1.3, rel=1e-3)


def test_a_load_is_shared_by_the_fewest_pods_that_are_kept() -> None:
    truth = scaled().truth
    each = truth.load_of_pod(truth.baseline, 20_800.0)
    assert 20_800.0 / each == pytest.approx(round(20_800.0 / each))
    behaviour = evaluate(*truth.run(truth.baseline), each)
    assert behaviour.cpu_usage_cores / 2.0 < 0.45
    fewer = evaluate(*truth.run(truth.baseline), 20_800.0 / (round(20_800.0 / each) - 1))
    assert fewer.cpu_usage_cores / 2.0 >= 0.44


def test_a_verdict_is_that_of_a_pod_with_its_share() -> None:
    truth = scaled().truth
    risky = truth.baseline.replace("target", Decimal(80)).replace("cpu", Decimal("0.5"))
    each = truth.load_of_pod(risky, 20_800.0)
    assert truth.judge(risky, 20_800.0).values == truth.judge_run(truth.run(risky), each).values
    assert truth.judge(truth.baseline, 20_800.0).feasible
    assert not truth.judge(risky, 20_800.0).feasible


def test_an_arm_has_bounds_of_its_size() -> None:
    truth = scaled(scaler=hpa(least=20, most=40)).truth
    fleet = truth.fleet(truth.baseline, 0.04)
    assert (fleet.hpa.least, fleet.hpa.most) == (1, 2)
    verdict = truth.judge(truth.baseline, 20_800.0, 0.04)
    assert verdict.load_rps == 20_800.0
    values = truth.judge_run(truth.run(truth.baseline), 20_800.0 * 0.04).values
    assert verdict.values == values  # one pod is enough


def test_half_of_the_request_is_no_saving_where_pods_double() -> None:
    truth = scaled(CPU, TARGET).truth
    half = truth.baseline.replace("cpu", Decimal(1))
    assert truth.hourly(half) / truth.hourly(truth.baseline) > 0.9
    assert truth.cost.pod_hourly(half) / truth.cost.pod_hourly(truth.baseline) < 0.6


def test_the_cost_is_that_of_the_pods_played() -> None:
    truth = scaled().truth
    play = truth.fleet(truth.baseline).play(loads_of(truth.workload, truth.period))
    assert truth.hourly(truth.baseline) == pytest.approx(play.mean_pods * (2 * 0.031611 + 2 * 0.004237))
    assert len(play.pods) == 2880


@pytest.mark.thorough
def test_the_optimum_is_that_of_trying_everything() -> None:
    target = field("target", "CPUUtilization", 40, 80, 20)
    for scaler, load in ((hpa(), 20_800.0), (hpa(least=9), 15_000.0)):
        truth = scaled(CPU, MEMORY, target, scaler=scaler).truth
        best = found(truth, load)
        feasible = [a for a in everything(truth) if truth.judge(a, load).feasible]
        assert best.cost == pytest.approx(min(truth.hourly(a) for a in feasible))
        assert best.verdict.feasible
        assert truth.hourly(best.assignment) == best.cost
        assert best.evaluated < 0.6 * len(everything(truth))


@pytest.mark.thorough
def test_what_settled_pods_cost_is_never_more_than_what_is_played() -> None:
    for scaler in (hpa(), hpa(scaleDown={"stabilizationWindowSeconds": 0}), hpa(scaleUp={"tolerance": "0.3"})):
        truth = scaled(scaler=scaler, text=workload(noisePercent=8, weekendPercent=60), days=0.25).truth
        for assignment in everything(truth)[::19]:
            assert _settled(truth, assignment) <= truth.hourly(assignment), truth.spec.space.describe(assignment)


def test_parameter_constraints_bind_it() -> None:
    terms = [{"parameter": "target", "weight": "1"}, {"parameter": "memory", "weight": "0.001"}]
    rule = [{"name": "low", "sum": {"terms": terms, "max": "55"}}]
    free, bound = scaled().truth, scaled(parameterConstraints=rule).truth
    assert found(free, 20_800.0).assignment.number("target") > 50
    assert found(bound, 20_800.0).assignment.number("target") <= 50
    assert found(bound, 20_800.0).cost > found(free, 20_800.0).cost


def test_nothing_serves_too_much_load() -> None:
    best = optimum_of(scaled().truth, 1e6)
    assert isinstance(best, NoOptimum)
    assert best.reason == "Infeasible"
    assert "1000000 requests/s" in best.detail
    assert "a pod" not in best.detail


def test_a_grid_that_is_too_large_is_said() -> None:
    wide = CPU | {"quantity": {"min": "250m", "max": "2", "step": "1m"}}
    best = optimum_of(scaled(wide, MEMORY, TARGET).truth, 20_800.0)
    assert isinstance(best, NoOptimum)
    assert best.reason == "GridTooLarge"


def test_how_pods_scale_is_played_over_the_days() -> None:
    objectives = [{"name": "calm", "goal": "Minimize", "sli": "events"}]
    windows = field("window", "ScaleDownStabilizationSeconds", 0, 600, 60)
    scaler = hpa(45, scaleDown={"stabilizationWindowSeconds": 300})
    text = workload(noisePercent=12, noiseInterval="2m")
    truth = scaled(windows, scaler=scaler, text=text, slis=SCALING, objectives=objectives).truth
    short, usual = (truth.judge(Assignment.of({"window": Decimal(w)}), 20_800.0) for w in (0, 600))
    assert number(short.value("events")) > 2 * number(usual.value("events"))
    assert number(short.value("pods")) < number(usual.value("pods"))
    assert number(short.value("breach")) >= number(usual.value("breach"))
    assert short.value("slow") == usual.value("slow")


def test_scaling_without_an_autoscaler_is_refused() -> None:
    objectives = [{"name": "calm", "goal": "Minimize", "sli": "events"}]
    service = {"mode": "Service"}
    with pytest.raises(InvalidSpec, match="no HorizontalPodAutoscaler scales the arms of Deployment web"):
        scaled(CPU, MEMORY, slis=SCALING, objectives=objectives, traffic=service)


def test_replicas_share_the_load_of_the_service() -> None:
    count = {"name": "replicas", "replicas": {}, "integer": {"min": 10, "max": 40, "step": 1}}
    truth = scenario(experiment(count), (ROUTE,), workload(), seed=1, days=0.5).truth
    assert truth.whole
    assert truth.load_of_pod(truth.baseline, 16_000.0) == 800.0
    assert truth.load_of_pod(Assignment.of({"replicas": Decimal(16)}), 16_000.0) == 1_000.0
    assert truth.hourly(Assignment.of({"replicas": Decimal(10)})) == pytest.approx(truth.hourly(truth.baseline) / 2)
    best = found(truth, 40_000.0)
    fewer = best.assignment.replace("replicas", best.assignment.number("replicas") - 1)
    assert truth.judge(best.assignment, 40_000.0).feasible
    assert not truth.judge(fewer, 40_000.0).feasible


def test_without_parameters_of_the_autoscaler_pods_scale_all_the_same() -> None:
    truth = scaled(CPU, MEMORY).truth
    assert truth.whole
    loads = np.array([10_000.0, 20_000.0])
    few = truth.fleet(truth.baseline).fewest(loads)
    assert few[1] > few[0]


def ended(made: Scenario, assignment: Assignment, seconds: float = 1200.0) -> Trial:
    """A trial that served for so long."""
    begun = made.start + 600.0
    times = PhaseTimes(begun, begun, begun + 30.0, begun + 150.0, begun + 30.0 + seconds, begun + 40.0 + seconds)
    environment = Environment("hash", "uid", "web:1", made.truth.target.replicas)
    suggestion = Suggestion(assignment, Purpose.SEARCH, 0, True, 0.97, 0.1, (), "m", 0.1, 0.1)
    return replace(story()[1].trials[-1], suggestion=suggestion, environment=environment, times=times)


def test_a_trial_begins_with_as_many_pods_as_the_autoscaler_asks_for() -> None:
    made = scaled()
    settled = made.truth.fleet(made.truth.baseline).usual(made.offered.series(made.start))
    assert made.truth.target.replicas == settled[0] != 20
    assert made.objects[-2]["spec"]["replicas"] == settled[0]


def test_an_exposure_is_that_of_the_route_and_of_the_pods_that_scaled() -> None:
    made = scaled(text=workload(requestsPerSecond=80_000), scaler=hpa(least=20, most=200))
    truth = made.truth
    risky = truth.baseline.replace("cpu", Decimal("0.5")).replace("target", Decimal(80))
    found = exposure_of(truth, made.offered, ended(made, risky))
    assert found.verdict is not None
    load = made.offered.series(made.start + 630.0 + np.arange(0, 1200, 10.0)).mean()
    assert found.load_rps == pytest.approx(load)
    ramped = 1200.0 - 0.75 * 30 - 0.5 * 30  # a quarter of the share, then half of it, of two minutes a quarter each
    assert found.requests == pytest.approx(0.04 * load * ramped, rel=0.01)
    few = truth.judge(risky, float(load), 0.04).value("slow")
    assert number(found.verdict.value("slow")) == pytest.approx(number(few), rel=0.2)
    assert "p95-under-100ms" in found.verdict.broken
    assert exposure_of(truth, made.offered, ended(made, truth.baseline)).verdict.feasible  # type: ignore[union-attr]


def test_an_arm_of_fixed_size_gets_its_share_of_the_route() -> None:
    text = workload()
    made = scenario(experiment(CPU, MEMORY), (ROUTE,), text, seed=1, days=0.5)
    assert not made.truth.whole
    found = exposure_of(made.truth, made.offered, ended(made, made.truth.baseline))
    load = made.offered.series(made.start + 630.0 + np.arange(0, 1200, 10.0)).mean()
    assert found.load_rps == pytest.approx(0.04 * load)


def test_the_past_of_scaled_pods_has_all_requests_and_none_slower_than_they_were() -> None:
    made = scaled(text=workload(requestsPerSecond=80_000), scaler=hpa(least=20, most=200))
    fleet, pods = made.truth.fleet(made.truth.baseline), 20
    resources = made.truth.resources(made.truth.baseline)
    alone, shared = (past_of(made.workload, resources, pods, START, 1.0, False, f) for f in (None, fleet))
    everything, bounds = slice(0, len(made.workload.buckets) + 1), made.workload.buckets.index(0.1) + 1
    assert shared.counts[everything].sum() == pytest.approx(alone.counts[everything].sum(), rel=1e-3)
    slow = [past.counts[bounds : everything.stop].sum() / past.counts[everything].sum() for past in (alone, shared)]
    assert slow[0] > 0.05 > slow[1] > 0.01
