"""How many pods: what the target has today, what an assignment makes of it, and what an arm of some share gets."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.control import builders, scaled
from tests.unit.control.scaled import ALL, DOWN, LEAST, MOST, SCALER, UTILIZATION, around, assigned, count, whole

from trimtab.control.arms import baseline_assignment, cost_model, plan_arms
from trimtab.control.scale_point import scale_changes
from trimtab.control.scaling import (
    arms_autoscaler,
    autoscaler_changes,
    autoscaler_plan,
    context_hash,
    first_pods,
    most_pods,
    rescaled,
    scaled_bounds,
)
from trimtab.control.values import BaselineError
from trimtab.domain.autoscaler import (
    AutoscalerChanges,
    AutoscalerView,
    MetricView,
    ScaleChanges,
    UtilizationPoint,
    UtilizationTarget,
)
from trimtab.domain.kube import Surroundings
from trimtab.domain.measurement import Arm
from trimtab.domain.space import Assignment, Parameter, Resource
from trimtab.domain.trial import Environment, TrialPhase

D = Decimal
TODAY = assigned(target=70, least=40, most=200, down=300, up=0, easy=15, eager=10)


class TestToday:
    def test_every_field_has_a_baseline(self) -> None:
        found = baseline_assignment(scaled.spec(*ALL), scaled.target(), around())
        assert found == TODAY
        assert scaled.spec(*ALL).space.describe(found) == "target=70 least=40 most=200 down=300 up=0 easy=15 eager=10"

    def test_of_one_container(self) -> None:
        view = replace(SCALER, metrics=(MetricView("ContainerResource", "memory", "web", 60),))
        memory = whole("memory", "MemoryUtilization", 50, 90, metric_container="web")
        assert baseline_assignment(scaled.spec(memory), scaled.target(), around(view)) == assigned(memory=60)

    def test_replicas_of_a_fixed_size(self) -> None:
        found = baseline_assignment(scaled.spec(count()), scaled.target(), around(autoscalers=()))
        assert found == assigned(replicas=100)

    def test_the_one_that_is_named(self) -> None:
        named = whole("target", "CPUUtilization", 50, 85, name="second")
        two = around(SCALER, replace(SCALER, name="second", metrics=(replace(scaled.CPU, utilization=55),)))
        assert baseline_assignment(scaled.spec(named), scaled.target(), two) == assigned(target=55)

    @pytest.mark.parametrize(
        ("parameter", "surroundings", "reason", "field", "words"),
        [
            (UTILIZATION, around(autoscalers=()), "NoAutoscaler", ".autoscaler", "no HorizontalPodAutoscaler scales"),
            (
                UTILIZATION,
                around(SCALER, replace(SCALER, name="b")),
                "AutoscalerAmbiguous",
                ".autoscaler.name",
                "web-hpa, b",
            ),
            (
                whole("target", "CPUUtilization", 50, 85, name="api"),
                around(other_autoscalers=(AutoscalerView("api", "Deployment", "api"),)),
                "AutoscalerElsewhere",
                ".autoscaler.name",
                "it scales Deployment api, not Deployment web",
            ),
            (
                whole("target", "CPUUtilization", 50, 85, name="gone"),
                around(),
                "AutoscalerNotFound",
                ".autoscaler.name",
                "HorizontalPodAutoscaler gone does not exist",
            ),
            (
                UTILIZATION,
                around(replace(SCALER, given_by="KEDA's ScaledObject web")),
                "AutoscalerOwned",
                ".autoscaler",
                "belongs to KEDA's ScaledObject web, which puts back",
            ),
            (
                UTILIZATION,
                around(replace(SCALER, metrics=(MetricView("External", "queue"), MetricView("Pods", "rps")))),
                "NoUtilizationMetric",
                ".autoscaler",
                "has no metric cpu; it has External queue, Pods rps",
            ),
            (
                UTILIZATION,
                around(replace(SCALER, metrics=(MetricView("Resource", "cpu"),))),
                "NoUtilizationMetric",
                ".autoscaler",
                "by an average value of cpu",
            ),
            (
                UTILIZATION,
                around(replace(SCALER, metrics=(MetricView("ContainerResource", "cpu", "web", 70),))),
                "NoUtilizationMetric",
                ".autoscaler",
                "set metric.container to web",
            ),
            (
                whole("target", "CPUUtilization", 50, 85, metric_container="web"),
                around(),
                "NoUtilizationMetric",
                ".autoscaler.metric",
                "remove metric",
            ),
            (
                whole("target", "CPUUtilization", 75, 85),
                around(),
                "BaselineOutsideSpace",
                ".integer",
                "web-hpa has CPUUtilization 70 at present, outside 75 to 85; set min to 70",
            ),
            (
                DOWN,
                around(replace(SCALER, stabilization_down=600)),
                "BaselineOutsideSpace",
                ".integer",
                "set max to 600",
            ),
            (count(), around(), "AutoscaledTarget", ".replicas", "web-hpa decides on the replicas of Deployment web"),
            (count(120), around(autoscalers=()), "BaselineOutsideSpace", ".integer", "Deployment web has replicas 100"),
        ],
    )
    def test_what_is_no_baseline(
        self, parameter: Parameter, surroundings: Surroundings, reason: str, field: str, words: str
    ) -> None:
        with pytest.raises(BaselineError) as caught:
            baseline_assignment(scaled.spec(parameter), scaled.target(), surroundings)
        assert (caught.value.reason, caught.value.field) == (reason, f"spec.parameters[{parameter.name}]{field}")
        assert words in str(caught.value)
        assert caught.value.remedy


class TestChanges:
    def test_today_changes_nothing(self) -> None:
        assert autoscaler_changes(scaled.spec(*ALL), SCALER, TODAY) == AutoscalerChanges()

    def test_each_field_in_its_unit(self) -> None:
        other = assigned(target=60, least=20, most=150, down=60, up=30, easy=5, eager=15)
        found = autoscaler_changes(scaled.spec(*ALL), SCALER, other)
        targets = (UtilizationTarget(Resource.CPU, "", 60),)
        assert found == AutoscalerChanges(20, 150, targets, 60, 30, D("0.05"), D("0.15"))

    def test_for_a_recommendation(self) -> None:
        spec = scaled.spec(UTILIZATION)
        changes = AutoscalerChanges(targets=(UtilizationTarget(Resource.CPU, "", 80),))
        before, after = (UtilizationPoint(Resource.CPU, "", percent, D(2)) for percent in (70, 80))
        target, now = scaled.target(), assigned(target=70)
        found = scale_changes(spec, target, around(), now, assigned(target=80))
        assert found == ScaleChanges(None, SCALER, changes, (before,), (after,))
        fixed = around(autoscalers=())
        found = scale_changes(scaled.spec(count()), target, fixed, assigned(replicas=100), assigned(replicas=80))
        assert found == ScaleChanges(80)

    def test_a_request_alone_moves_the_scale_point(self) -> None:
        spec = scaled.spec(scaled.cores(), route=None)
        found = scale_changes(spec, scaled.target(), around(), assigned(cpu=2), assigned(cpu=1))
        assert (found.changes, [p.value for p in found.before], [p.value for p in found.after]) == (
            AutoscalerChanges(),
            [D("1.4")],
            [D("0.7")],
        )


class TestShares:
    @pytest.mark.parametrize(
        ("least", "most", "share", "bounds"),
        [
            (40, 200, 0.05, (2, 10)),
            (1, 10, 0.05, (1, 1)),
            (3, 30, 0.1, (1, 3)),
            (2, 21, 0.1, (1, 3)),
            (0, 5, 0.5, (1, 3)),
        ],
    )
    def test_bounds(self, least: int, most: int, share: float, bounds: tuple[int, int]) -> None:
        assert scaled_bounds(least, most, share) == bounds

    @given(st.integers(0, 500), st.integers(0, 500), st.floats(0.001, 0.5))
    def test_bounds_are_in_order_and_large_enough(self, least: int, more: int, share: float) -> None:
        low, high = scaled_bounds(least, least + more, share)
        assert 1 <= low <= high
        assert high >= (least + more) * share - 1e-6

    def test_a_fixed_size_is_emulated_by_the_share(self) -> None:
        spec = scaled.spec(count(), canary=replace(scaled.spec(count()).canary, replicas=2))
        assert spec.route_share(assigned(replicas=80)) == 0.025
        assert scaled.spec(UTILIZATION).route_share(assigned(target=80)) == 0.05

    def test_arms_begin_with_their_share_of_the_pods(self) -> None:
        spec, now = scaled.spec(UTILIZATION), assigned(target=70)
        plan = autoscaler_plan(spec, around(), now)
        assert plan is not None
        assert (plan.source, plan.minimum, plan.maximum) == (SCALER, 2, 10)
        assert [first_pods(spec, plan, pods, now) for pods in (20, 100, 130, 400)] == [2, 5, 6, 10]
        assert first_pods(spec, None, 100, now) == 1

    def test_the_most_pods_of_an_arm(self) -> None:
        assert most_pods(scaled.spec(UTILIZATION), around()) == 10
        assert most_pods(scaled.spec(MOST), around()) == 15
        assert most_pods(scaled.spec(scaled.cores(), route=None), around()) == 1


class TestPlans:
    def plans(self, **changes: object) -> tuple[object, ...]:
        spec = scaled.spec(UTILIZATION, LEAST, MOST)
        environment = Environment("hash-1", "target-uid", "web:1", 100)
        suggestion = builders.suggestion(assignment=assigned(target=80, least=20, most=300))
        trial = builders.trial(TrialPhase.DEPLOYING, environment=environment, suggestion=suggestion)
        return plan_arms(spec, scaled.target(**changes), around(), trial)

    def test_each_arm_has_an_autoscaler_of_its_size(self) -> None:
        canary, control = plan_arms(
            scaled.spec(UTILIZATION, LEAST, MOST),
            scaled.target(),
            around(),
            builders.trial(
                environment=Environment("hash-1", "target-uid", "web:1", 100),
                suggestion=builders.suggestion(assignment=assigned(target=80, least=20, most=300)),
            ),
        )
        assert canary.autoscaler is not None
        assert control.autoscaler is not None
        assert (canary.arm, canary.replicas, control.replicas) == (Arm.CANARY, 5, 5)
        assert (canary.autoscaler.minimum, canary.autoscaler.maximum) == (1, 15)
        assert (control.autoscaler.minimum, control.autoscaler.maximum) == (2, 10)
        assert control.autoscaler.changes == AutoscalerChanges()
        assert canary.spec_digest != control.spec_digest

    def test_what_the_target_scales_to_meanwhile_does_not_change_a_plan(self) -> None:
        assert self.plans() == self.plans(replicas=140, ready_replicas=138)

    def test_the_digest_tells_autoscalers_apart(self) -> None:
        trial = builders.trial(suggestion=builders.suggestion(assignment=assigned(target=80)))
        spec = scaled.spec(UTILIZATION)
        (one, _), (two, _) = (
            plan_arms(spec, scaled.target(), around(view), trial) for view in (SCALER, replace(SCALER, rest="other"))
        )
        (moved, _) = plan_arms(spec, scaled.target(), around(replace(SCALER, current=7)), trial)
        assert one.spec_digest != two.spec_digest
        assert one.spec_digest == moved.spec_digest

    def test_also_where_only_resources_are_tuned(self) -> None:
        trial = builders.trial(suggestion=builders.suggestion(assignment=assigned(cpu=1)))
        canary, _ = plan_arms(scaled.spec(scaled.cores()), scaled.target(), around(), trial)
        assert canary.autoscaler is not None
        plain, _ = plan_arms(scaled.spec(scaled.cores(), route=None), scaled.target(), around(), trial)
        assert plain.autoscaler is None
        assert arms_autoscaler(scaled.spec(scaled.cores()), around(autoscalers=())) is None


class TestWhatTrialsAreComparedUnder:
    def test_without_an_autoscaler_it_is_the_template(self) -> None:
        assert context_hash(scaled.spec(count()), scaled.target(), around(autoscalers=())) == "hash-1"
        assert context_hash(scaled.spec(scaled.cores(), route=None), scaled.target(), around()) == "hash-1"

    def test_tuned_fields_do_not_count(self) -> None:
        spec, target = scaled.spec(UTILIZATION, MOST, DOWN), scaled.target()
        other = replace(
            SCALER,
            metrics=(replace(scaled.CPU, utilization=55),),
            maximum=300,
            stabilization_down=60,
            current=3,
            uid="new",
        )
        assert context_hash(spec, target, around(other)) == context_hash(spec, target, around())

    @pytest.mark.parametrize(
        "other",
        [
            replace(SCALER, minimum=10),
            replace(SCALER, rest="policies"),
            replace(SCALER, tolerance=0.2),
            replace(SCALER, metrics=(*SCALER.metrics, MetricView("Resource", "memory", utilization=80))),
        ],
    )
    def test_everything_else_does(self, other: AutoscalerView) -> None:
        spec, target = scaled.spec(UTILIZATION, MOST, DOWN), scaled.target()
        assert context_hash(spec, target, around(other)) != context_hash(spec, target, around())

    @pytest.mark.parametrize(
        ("parameter", "baseline", "surroundings", "reason", "words"),
        [
            (UTILIZATION, assigned(target=70), around(), "", ""),
            (
                UTILIZATION,
                assigned(target=60),
                around(),
                "AutoscalerChanged",
                "target of the target was changed from 60 to",
            ),
            (
                UTILIZATION,
                assigned(target=60),
                around(autoscalers=()),
                "AutoscalerChanged",
                "no HorizontalPodAutoscaler",
            ),
            (count(), assigned(replicas=90), around(autoscalers=()), "TargetScaled", "from 90 to 100"),
            (scaled.cores(), assigned(cpu=1), around(), "", ""),
        ],
    )
    def test_today_against_the_record(
        self, parameter: Parameter, baseline: Assignment, surroundings: Surroundings, reason: str, words: str
    ) -> None:
        found = rescaled(scaled.spec(parameter), scaled.target(), surroundings, baseline)
        assert found[0] == reason
        assert words in found[1]


def test_replicas_cost() -> None:
    model = cost_model(scaled.spec(count(), scaled.cores()), scaled.target())
    twice = model.hourly(assigned(replicas=100, cpu=2)) / model.hourly(assigned(replicas=50, cpu=2))
    assert twice == pytest.approx(2.0)
