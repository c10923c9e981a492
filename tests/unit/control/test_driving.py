"""Where an autoscaler decides how many pods there are and their use is measured: loads, pods and cost by use."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import pytest
from tests.unit.control import scaled
from tests.unit.control.builders import BASELINE, CHEAPER, NOW, ROUTE, measured, spec, target, trial

from trimtab.control.arms import cost_model
from trimtab.control.driving import by_use, filling, hardest_driven
from trimtab.control.pods import against_control, cost_of, pods_ratio
from trimtab.control.preflight_scaling import use_notes
from trimtab.control.scaling import scaled_by
from trimtab.control.study import build_study
from trimtab.domain.autoscaler import MetricView
from trimtab.domain.kube import Surroundings
from trimtab.domain.measurement import Arm, NoData, Sample
from trimtab.domain.space import (
    Apply,
    ContainerResource,
    LimitsRule,
    Numeric,
    Parameter,
    Resource,
    Scale,
    SearchSpace,
)
from trimtab.domain.spec import SliKind, SlowRatioQuery
from trimtab.domain.state import ScaledBy, TargetRecord
from trimtab.domain.study import PODS
from trimtab.domain.trial import Load, Trial, TrialPhase, pods_behind

BY = ScaledBy("web", 20, Resource.CPU, "", 0.6, minimum=16, maximum=60)
RECORD = TargetRecord("target-uid", "hash-1", BASELINE, BY)
SPEC = spec(route=ROUTE)
COST = cost_model(SPEC, target(), RECORD)
assert COST.scale is not None
POINTS = {arm: COST.scale.of(x, COST.terms) for arm, x in ((Arm.CANARY, CHEAPER), (Arm.CONTROL, BASELINE))}
SHARE = 0.05


def seen(
    pods: tuple[float, float], hard: tuple[float | None, float | None], index: int = 0, error: float = 0.0
) -> Trial:
    """A trial of half of everything, whose canary and control had so many pods, driven so hard."""
    made = trial(TrialPhase.SUCCEEDED, index, finalized=False)
    made = replace(made, suggestion=replace(made.suggestion, assignment=CHEAPER), measurements=measured(made, 5))
    loads = tuple(
        Load(arm, 20.0 / n, None, n, 0.0, *((h * POINTS[arm], h * POINTS[arm] * error) if h is not None else ()))
        for arm, n, h in zip((Arm.CANARY, Arm.CONTROL), pods, hard, strict=True)
    )
    return replace(made, load=loads)


def test_pods_by_use_are_not_rounded() -> None:
    """Of 2.2 and 1.1 that the load asks for there were 3 and 2, driven less hard by as much."""
    found = against_control(COST, CHEAPER, BASELINE, seen((3.0, 2.0), (2.2 / 3, 1.1 / 2)))
    assert found is not None
    assert found.value == pytest.approx(1.0)
    assert found.standard_error == pytest.approx(0.01 * math.sqrt(2))
    counted = against_control(COST, CHEAPER, BASELINE, seen((3.0, 2.0), (None, None)))
    assert counted is not None
    assert counted.value == pytest.approx(0.75)
    assert counted.standard_error > 0.1


def test_what_use_is_known_to_is_what_the_cost_is_known_to() -> None:
    value, error = cost_of(COST, CHEAPER, (seen((3.0, 2.0), (1.0, 1.0), error=0.04),), Arm.CANARY) or (0.0, 0.0)
    assert value == pytest.approx(60 * COST.pod_hourly(CHEAPER))
    assert error == pytest.approx(value * math.hypot(0.01, 0.04))


@pytest.mark.parametrize(("hard", "pods"), [(0.5, 16.0), (0.9, 18.0), (3.5, 60.0)])
def test_a_fleet_keeps_within_its_bounds_and_an_arm_rounds_its_own_up(hard: float, pods: float) -> None:
    found = pods_ratio(COST, BASELINE, seen((1.0, 1.0), (1.0, hard)), Arm.CONTROL)
    assert found is not None
    assert found.value == pytest.approx(pods / 20)


def test_bounds_that_are_tuned_are_those_of_the_assignment() -> None:
    least = scaled.whole("least", "MinReplicas", 2, 30)
    space = SearchSpace((*SPEC.space.parameters, least))
    baseline = BASELINE.of({**BASELINE, "least": Decimal(30)})
    cost = cost_model(replace(SPEC, space=space), target(), replace(RECORD, baseline=baseline))
    found = pods_ratio(cost, baseline, seen((1.0, 1.0), (1.0, 1.0)), Arm.CONTROL)
    assert found is not None
    assert found.value == pytest.approx(30 / 20)


@pytest.mark.parametrize("field", ["ScaleDownStabilizationSeconds", "ScaleUpTolerancePercent"])
def test_where_windows_or_tolerances_are_tuned_pods_are_counted(field: str) -> None:
    tuned = scaled.whole("calm", field, 0, 60, 10)
    space = SearchSpace((*SPEC.space.parameters, tuned))
    baseline = BASELINE.of({**BASELINE, "calm": Decimal(10)})
    cost = cost_model(replace(SPEC, space=space), target(), replace(RECORD, baseline=baseline))
    found = pods_ratio(cost, baseline, seen((3.0, 2.0), (1.0, 0.55)), Arm.CONTROL)
    assert found is not None
    assert found.value == pytest.approx(2.0)


def test_several_metrics_or_memory_decide_by_more_than_use() -> None:
    view = scaled.SCALER
    around = Surroundings(autoscalers=(view,))
    known = scaled_by(SPEC, target(), around)
    assert known is not None
    assert (known.minimum, known.maximum) == (view.minimum, view.maximum)
    for metrics in ((*view.metrics, MetricView("Pods", "queue")), (MetricView("Resource", "memory", "", 70),)):
        found = scaled_by(SPEC, target(), replace(around, autoscalers=(replace(view, metrics=metrics),)))
        assert found is not None
        assert (found.minimum, found.maximum) == (None, None)
    without = cost_model(SPEC, target(), replace(RECORD, scaled=replace(BY, minimum=None, maximum=None)))
    counted = pods_ratio(without, BASELINE, seen((3.0, 2.0), (1.0, 0.55)), Arm.CONTROL)
    assert counted is not None
    assert counted.value == pytest.approx(2.0)


def test_one_arm_alone_is_not_compared_by_use() -> None:
    both, one = seen((3.0, 2.0), (0.8, 0.8)), seen((3.0, 2.0), (0.8, None))
    assert (by_use(both), by_use(one)) == (True, False)
    found = pods_ratio(COST, CHEAPER, one, Arm.CANARY)
    assert found is not None
    assert found.value == pytest.approx(3 / (40 * SHARE))


def test_a_load_is_how_hard_pods_are_driven() -> None:
    study = build_study(SPEC, target(), RECORD, (seen((3.0, 2.0), (0.9, 1.04)),), NOW)
    (outcome,) = study.outcomes
    assert outcome.control is not None
    assert (outcome.canary.load, outcome.control.load) == (pytest.approx(0.9), pytest.approx(1.04))
    assert study.peak_load == pytest.approx(1.1 + 0.01 / 0.6)
    assert study.driven is not None
    assert [r.constraint for r in outcome.canary.readings][-1] == PODS


def test_the_hardest_that_was_seen_counts_too() -> None:
    assert hardest_driven(BY, []) == pytest.approx(1.1 + 0.01 / 0.6)
    assert hardest_driven(replace(BY, tolerance=0.3), [1.1]) == pytest.approx(1.3 + 0.01 / 0.6)
    assert hardest_driven(BY, [0.9, 1.4]) == 1.4


def test_of_a_trial_without_use_among_others_the_load_is_not_known() -> None:
    trials = (seen((3.0, 2.0), (0.9, 1.04)), seen((3.0, 2.0), (None, None), 1), seen((3.0, 2.0), (0.8, None), 2))
    study = build_study(SPEC, target(), RECORD, trials, NOW)
    loads = [(o.canary.load, o.control.load if o.control is not None else None) for o in study.outcomes]
    assert loads == [
        (pytest.approx(0.9), pytest.approx(1.04)),
        (None, None),
        (pytest.approx(0.8), None),
    ]


def test_without_any_use_everything_is_as_it_was() -> None:
    study = build_study(SPEC, target(), RECORD, (seen((3.0, 2.0), (None, None)),), NOW)
    assert study.driven is None
    assert study.peak_load is not None
    assert study.peak_load > 100.0  # requests a second


# How full pods are


def cpu(apply: Apply, limits: LimitsRule) -> Parameter:
    return Parameter(
        "cpu",
        ContainerResource("web", Resource.CPU, apply, limits),
        Numeric(Decimal("0.1"), Decimal(4), Decimal("0.1"), Scale.LOG),
    )


@pytest.mark.parametrize(
    ("apply", "rule", "limit"),
    [
        (Apply.REQUESTS, LimitsRule.RATIO, "doubled"),
        (Apply.REQUESTS, LimitsRule.EQUAL, "request"),
        (Apply.BOTH, LimitsRule.KEEP, "request"),
        (Apply.REQUESTS, LimitsRule.KEEP, "kept"),
        (Apply.REQUESTS, LimitsRule.NONE, None),
    ],
)
def test_the_limit_follows_its_rule(apply: Apply, rule: LimitsRule, limit: str | None) -> None:
    web = target().containers[0]
    request = web.resources.request(Resource.CPU)
    assert request is not None
    resources = replace(web.resources, cpu_limit=2 * request)
    of = replace(target(), containers=(replace(web, resources=resources), *target().containers[1:]))
    given = replace(SPEC, space=SearchSpace((cpu(apply, rule),)))
    half = BASELINE.of({"cpu": request / 2})
    cost = cost_model(
        given, of, replace(RECORD, baseline=BASELINE.of({"cpu": request}), scaled=replace(BY, container="web"))
    )
    found = filling(given, of, cost)
    assert found is not None
    wanted = {"doubled": 0.3, "request": 0.6, "kept": 0.15, None: None}[limit]
    assert found.of(half) == (pytest.approx(wanted) if wanted is not None else None)


def test_what_is_not_tuned_has_the_limit_that_it_has() -> None:
    busy = scaled.whole("busy", "CPUUtilization", 30, 90, 5)
    web = target().containers[0]
    request = web.resources.request(Resource.CPU)
    assert request is not None
    of = replace(target(), containers=(replace(web, resources=replace(web.resources, cpu_limit=request)),))
    given, at = replace(SPEC, space=SearchSpace((busy,))), BASELINE.of({"busy": Decimal(60)})
    record = replace(RECORD, baseline=at, scaled=replace(BY, container="web"))
    found = filling(given, of, cost_model(given, of, record))
    assert found is not None
    assert found.of(at.of({"busy": Decimal(80)})) == pytest.approx(0.8)


def test_how_many_requests_a_core_gets_through_follows_from_the_most_that_any_took() -> None:
    (slow, *_), (bound, *_) = SPEC.slis, SPEC.constraints
    assert bound.sli == slow.name
    given = replace(
        SPEC, slis=(replace(slow, kind=SliKind.LATENCY, query=SlowRatioQuery(("h",), 300.0, "ms")), *SPEC.slis[1:])
    )
    trials = (seen((3.0, 2.0), (0.3, 0.4)), seen((3.0, 2.0), (0.5, 0.4)), seen((3.0, 2.0), (None, 9.0)))
    cost = cost_model(given, target(), RECORD)
    found = filling(given, target(), cost, trials)
    assert found is not None
    most = max(load.use / load.rps_per_pod for t in trials[:2] for load in t.load if load.use is not None)
    assert found.turns_of(bound.name) == pytest.approx(0.3 / most)
    assert found.slow == {bound.name}
    unknown = filling(given, target(), cost)
    assert unknown is not None
    assert unknown.turns == ((bound.name, None),)


@pytest.mark.parametrize(("unit", "seconds"), [("s", 0.3), ("ms", 0.0003), ("furlongs", None)])
def test_a_threshold_in_seconds(unit: str, seconds: float | None) -> None:
    found = SlowRatioQuery(("h",), 0.3, unit).seconds
    assert found == (pytest.approx(seconds) if seconds is not None else None)


# What people are told


def test_preflight_says_what_is_not_measured() -> None:
    (note,) = use_notes(BY, NoData("the store has container_cpu_usage_seconds_total of 0 of these pods"))
    assert (note.reason, note.blocking) == ("UseNotMeasured", False)
    assert "HorizontalPodAutoscaler web: what its pods use of CPU is not measured" in note.message
    assert "container_cpu_usage_seconds_total" in note.message
    assert "cAdvisor" in note.remedy
    assert [*use_notes(BY, Sample(0.4, 0.01, 20.0))] == []
    assert [*use_notes(replace(BY, resource=None), None)] == []
    assert [*use_notes(None, None)] == []


def test_pods_behind_a_load() -> None:
    assert pods_behind(None, 4.0) == 4.0
    assert pods_behind(Load(Arm.CANARY, 10.0), 4.0) == 4.0
    assert pods_behind(Load(Arm.CANARY, 10.0, pods=2.5), 4.0) == 2.5
