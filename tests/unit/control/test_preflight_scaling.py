"""Autoscalers in preflight: nobody else counts an arm's pods, and trials can show what the tuned fields do."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from tests.unit.control import builders, scaled
from tests.unit.control.scaled import CPU, DOWN, LEAST, MOST, SCALER, UTILIZATION, around, assigned, cores, whole

from trimtab.control.preflight import examine, recheck
from trimtab.control.preflight_findings import Problem
from trimtab.control.preflight_scaling import scaling_problems, undisturbed
from trimtab.control.scale_point import compared, point_words, scale_points
from trimtab.control.scaling import scaled_by
from trimtab.domain.autoscaler import AutoscalerView, MetricView
from trimtab.domain.kube import (
    ContainerView,
    QuotaView,
    Requirement,
    Resources,
    SelectorOwner,
    Surroundings,
    Target,
)
from trimtab.domain.space import Assignment, Order, Parameter, Resource
from trimtab.domain.spec import CostLimit, ExperimentSpec, Objective, ObjectiveTerm
from trimtab.domain.state import ScaledBy

D = Decimal
LABELS = (("app", "web"), ("instance", "production"), ("tier", "front"))
NOW = {"target": 70, "least": 40, "most": 200, "down": 300, "easy": 15, "cpu": 2}


def today(spec: ExperimentSpec) -> Assignment:
    return assigned(**{p.name: NOW[p.name] for p in spec.space.parameters})


def found(
    spec: ExperimentSpec, surroundings: Surroundings | None = None, target: Target | None = None
) -> list[Problem]:
    return list(scaling_problems(spec, target or scaled.target(), surroundings or around(), today(spec)))


def blocking(
    spec: ExperimentSpec, surroundings: Surroundings | None = None, target: Target | None = None
) -> list[Problem]:
    return [p for p in found(spec, surroundings, target) if p.blocking]


def reasons(problems: list[Problem]) -> list[str]:
    return [p.reason for p in problems]


class TestUndisturbed:
    def ask(self, surroundings: Surroundings, spec: ExperimentSpec | None = None) -> list[Problem]:
        return list(undisturbed(spec or scaled.spec(UTILIZATION), scaled.target(pod_labels=LABELS), surroundings))

    def test_nothing_to_say(self) -> None:
        assert self.ask(around()) == []

    def test_two_autoscalers_of_the_target_stop_each_other(self) -> None:
        (problem,) = self.ask(around(SCALER, replace(SCALER, name="b")))
        assert problem.reason == "AutoscalerAmbiguous"
        assert "web-hpa, b" in problem.message

    def test_another_autoscaler_whose_selector_matches_arms(self) -> None:
        by = SelectorOwner("HorizontalPodAutoscaler", "sloppy", (("tier", "front"),))
        own = SelectorOwner("HorizontalPodAutoscaler", "fine", (("app", "web"), ("tier", "front")))
        (problem,) = self.ask(around(scaled_elsewhere=(by, own)))
        assert (problem.reason, problem.field) == ("AmbiguousSelector", "HorizontalPodAutoscaler sloppy")
        assert self.ask(around(scaled_elsewhere=(by,)), scaled.spec(cores(), route=None)) == []

    def test_by_expressions_too(self) -> None:
        by = SelectorOwner("HorizontalPodAutoscaler", "wide", (), (Requirement("app", "Exists"),))
        assert reasons(self.ask(around(scaled_elsewhere=(by,)))) == ["AmbiguousSelector"]

    @pytest.mark.parametrize("kind", ["External", "Object"])
    def test_metrics_of_the_whole_service_do_not_fit_a_share(self, kind: str) -> None:
        shared = replace(SCALER, metrics=(scaled.CPU, MetricView(kind, "queue")))
        (problem,) = self.ask(around(shared))
        assert problem.reason == "AutoscalerMetricShared"
        assert f"{kind} queue" in problem.message

    def test_it_is_asked_again_under_a_running_experiment(self) -> None:
        by = SelectorOwner("HorizontalPodAutoscaler", "sloppy", (("tier", "front"),))
        spec = scaled.spec(UTILIZATION)
        seen = recheck(spec, scaled.target(pod_labels=LABELS), around(scaled_elsewhere=(by,)))
        assert "AmbiguousSelector" in reasons(list(seen.blocking))


class TestFields:
    def test_nothing_stands_against_it(self) -> None:
        assert blocking(scaled.spec(UTILIZATION, LEAST, DOWN)) == []

    def test_an_autoscaler_without_metrics_is_waited_for(self) -> None:
        silent = replace(SCALER, inactive="FailedGetResourceMetric: no metrics")
        (problem,) = blocking(scaled.spec(UTILIZATION), around(silent))
        assert (problem.reason, problem.waits) == ("AutoscalerInactive", True)
        assert problem.message.startswith(f"HorizontalPodAutoscaler {SCALER.name}: it does not scale: FailedGet")

    @pytest.mark.parametrize(
        ("version", "refused"),
        [("v1.34.2", True), ("1.34", True), ("v1.35.0", False), ("v1.36.3+k3s1", False), ("", False)],
    )
    def test_a_tolerance_needs_a_server_that_keeps_it(self, version: str, refused: bool) -> None:
        spec = scaled.spec(scaled.TOLERANCE_DOWN)
        seen = blocking(spec, around(kubernetes_version=version))
        assert reasons(seen) == (["ToleranceUnsupported"] if refused else [])

    def test_the_maximum_stays_above_what_runs(self) -> None:
        (problem,) = blocking(scaled.spec(whole("most", "MaxReplicas", 80, 300, 10)))
        assert (problem.reason, problem.field) == ("MaxReplicasTooLow", "spec.parameters[most].integer.min")
        assert "maxReplicas 80 where 100 pods run now" in problem.message
        busy = around(replace(SCALER, current=160))
        assert "where 160 pods run" in blocking(scaled.spec(MOST), busy)[0].message
        assert blocking(scaled.spec(MOST)) == []

    def test_bounds_may_not_cross_the_one_that_is_not_tuned(self) -> None:
        narrow = around(replace(SCALER, maximum=50, current=40))
        few = scaled.target(replicas=40)
        (problem,) = blocking(scaled.spec(LEAST), narrow, few)
        assert (problem.reason, problem.field) == ("BoundsCross", "spec.parameters[least].integer.max")
        low = whole("most", "MaxReplicas", 20, 300, 10)
        seen = blocking(scaled.spec(low), around(replace(SCALER, current=10)), scaled.target(replicas=10))
        assert reasons(seen) == ["BoundsCross"]
        assert "maxReplicas 20 below minReplicas 40" in seen[0].message
        both = scaled.spec(LEAST, MOST, rules=(Order("ordered", "least", "most"),))
        assert blocking(both) == []


class TestTime:
    def spec(self, *parameters: Parameter, duration: float, verification: float = 900.0) -> ExperimentSpec:
        made = scaled.spec(*parameters)
        return replace(
            made,
            trial=replace(made.trial, duration=duration),
            verification=replace(made.verification, duration=verification),
        )

    def test_a_trial_shorter_than_the_stabilization_shows_no_scale_down(self) -> None:
        (problem,) = blocking(self.spec(UTILIZATION, duration=240.0))
        assert (problem.reason, problem.field) == ("TrialTooShort", "spec.trial.duration")
        assert "4m is shorter than the scale-down stabilization of 5m" in problem.message
        assert problem.remedy == "raise it to 5m"
        assert blocking(self.spec(UTILIZATION, duration=300.0)) == []

    def test_a_verification_too(self) -> None:
        (problem,) = blocking(self.spec(UTILIZATION, duration=600.0, verification=60.0))
        assert problem.field == "spec.verification.duration"

    def test_the_longest_window_of_a_range_counts(self) -> None:
        longer = whole("down", "ScaleDownStabilizationSeconds", 0, 900, 60)
        (problem,) = blocking(self.spec(longer, duration=600.0))
        assert problem.remedy == "raise it to at least 15m, or lower max of ScaleDownStabilizationSeconds"
        up = replace(SCALER, stabilization_up=1200)
        assert "scale-up" in blocking(self.spec(UTILIZATION, duration=600.0), around(up))[0].message

    def test_where_no_field_is_tuned_nothing_has_to_show(self) -> None:
        assert blocking(self.spec(cores(), duration=60.0)) == []


class TestSize:
    def test_an_arm_of_one_pod_cannot_scale(self) -> None:
        small = around(replace(SCALER, minimum=2, maximum=10, current=5))
        (problem,) = blocking(scaled.spec(UTILIZATION), small, scaled.target(replicas=5))
        assert (problem.reason, problem.field) == ("CannotScale", "spec.traffic.httpRoute.canaryPercent")
        assert problem.remedy == "raise it to at least 11"
        wide = scaled.spec(UTILIZATION, route=replace(scaled.ROUTE, share=0.11))
        assert blocking(wide, small, scaled.target(replicas=5)) == []

    def test_nor_can_one_whose_bounds_are_equal(self) -> None:
        fixed = around(replace(SCALER, minimum=100, maximum=100))
        (problem,) = blocking(scaled.spec(UTILIZATION), fixed)
        assert "keeps 100 pods" in problem.message

    def test_few_pods_hide_small_changes(self) -> None:
        small = around(replace(SCALER, minimum=2, maximum=40, current=20))
        notes = found(scaled.spec(UTILIZATION), small, scaled.target(replicas=20))
        assert "FewArmPods" in reasons(notes)
        assert "FewArmPods" not in reasons(found(scaled.spec(UTILIZATION)))

    def test_a_missing_request_stops_all_scaling(self) -> None:
        side = ContainerView("log", "log:1", Resources())
        target = scaled.target(containers=(*scaled.target().containers, side))
        (problem,) = blocking(scaled.spec(UTILIZATION), target=target)
        assert (problem.reason, problem.field) == ("NoRequest", "HorizontalPodAutoscaler web-hpa")
        by_container = around(replace(SCALER, metrics=(MetricView("ContainerResource", "cpu", "web", 70),)))
        one = scaled.spec(whole("target", "CPUUtilization", 50, 85, metric_container="web"))
        assert blocking(one, by_container, target) == []

    def test_quotas_count_all_pods_that_arms_may_have(self) -> None:
        def seen(pods: int, scalers: int = 2) -> list[str]:
            free = (("pods", D(pods)), ("count/horizontalpodautoscalers.autoscaling", D(scalers)))
            found = examine(scaled.spec(UTILIZATION), scaled.target(), around(quotas=(QuotaView("q", free),)), ())
            return [p.message for p in found.problems if p.reason == "QuotaTooSmall"]

        assert seen(20) == []
        assert "arms need up to 20 of pods, 19 is left" in seen(19)[0]
        assert "count/horizontalpodautoscalers.autoscaling, 1 is left" in seen(20, 1)[0]


class TestNotes:
    @pytest.mark.parametrize("parameter", [LEAST, MOST, DOWN, scaled.TOLERANCE_DOWN])
    def test_what_a_constant_load_does_not_show(self, parameter: Parameter) -> None:
        (note,) = [p for p in found(scaled.spec(parameter)) if p.reason == "NeedsLoadSwing"]
        assert note.field == f"spec.parameters[{parameter.name}]"
        assert not note.blocking

    def test_a_utilization_shows_under_any_load(self) -> None:
        assert "NeedsLoadSwing" not in reasons(found(scaled.spec(UTILIZATION)))

    def test_the_scale_point(self) -> None:
        (note,) = [p for p in found(scaled.spec(UTILIZATION, cores())) if p.reason == "ScalePoint"]
        assert note.message == "HorizontalPodAutoscaler web-hpa: it adds pods above 1.4 cores a pod (70 % of 2)"

    def test_requests_without_a_route_move_it_unseen(self) -> None:
        """The saving would be told of pods whose number does not stay: refused."""
        spec = scaled.spec(cores(), route=None)
        (moves,) = [p for p in found(spec) if p.reason == "ScalePointMoves"]
        assert moves.blocking
        assert "traffic.mode: HTTPRoute" in moves.remedy
        latency = Objective("fast", False, (ObjectiveTerm(1.0, "errors"),))
        assert "ScalePointMoves" not in reasons(found(replace(spec, objectives=(latency,))))
        by_memory = around(replace(SCALER, metrics=(MetricView("Resource", "memory", utilization=80),)))
        assert "ScalePointMoves" not in reasons(found(spec, by_memory))
        assert "ScalePointMoves" not in reasons(found(scaled.spec(cores())))

    def test_whose_it_is(self) -> None:
        notes = found(scaled.spec(UTILIZATION), around(replace(SCALER, managed_by="Helm release web")))
        assert "GitOpsOwned" in reasons(notes)

    def test_a_disruption_budget_that_counts_arms(self) -> None:
        budget = SelectorOwner("PodDisruptionBudget", "keep", (("tier", "front"),))
        target = scaled.target(pod_labels=LABELS)
        notes = found(scaled.spec(UTILIZATION), around(disruption_budgets=(budget,)), target)
        assert "DisruptionBudgetCounts" in reasons(notes)

    def test_without_an_autoscaler_there_are_none(self) -> None:
        assert found(scaled.spec(cores()), around(autoscalers=())) == []

    def test_examine_tells_them_all(self) -> None:
        seen = examine(scaled.spec(UTILIZATION), scaled.target(), around(), ())
        assert {"ScalePoint"} <= {p.reason for p in seen.notes}
        broken = examine(scaled.spec(UTILIZATION), scaled.target(), around(autoscalers=()), ())
        assert "NoAutoscaler" in reasons(list(broken.blocking))


class TestScalePoint:
    def test_of_an_assignment(self) -> None:
        spec = scaled.spec(UTILIZATION, cores())
        before, after = (
            scale_points(spec, scaled.target(), SCALER, a)
            for a in (assigned(target=70, cpu=2), assigned(target=85, cpu=1))
        )
        assert compared(before, after) == "1.4 cores a pod (70 % of 2) -> 0.85 cores a pod (85 % of 1)"
        assert compared(before, before) == ""

    def test_all_containers_of_a_pod_count_together(self) -> None:
        proxy = ContainerView("proxy", "p:1", Resources(cpu_request=D("0.5"), memory_request=D(2**29)), sidecar=True)
        view = replace(SCALER, metrics=(scaled.CPU, MetricView("Resource", "memory", utilization=80)))
        target = scaled.target(init_containers=(proxy,))
        words = point_words(scale_points(scaled.spec(cores()), target, view, assigned(cpu=2)))
        assert words == "1.75 cores a pod (70 % of 2500m), 1229 MiB of memory a pod (80 % of 1536Mi)"

    def test_one_container_alone(self) -> None:
        view = AutoscalerView(
            "h",
            "Deployment",
            "web",
            metrics=(MetricView("ContainerResource", "cpu", "web", 50), MetricView("Pods", "rps")),
        )
        (point,) = scale_points(scaled.spec(cores()), scaled.target(), view, assigned(cpu=2))
        assert (point.container, point.value) == ("web", D(1))
        assert point_words((point,)) == "1 cores of container web a pod (50 % of 2)"

    def test_no_request_no_point(self) -> None:
        target = builders.target(containers=(ContainerView("web", "i", Resources()),))
        assert (
            scale_points(builders.spec(space=scaled.spec(UTILIZATION).space), target, SCALER, assigned(target=70)) == ()
        )


class TestCostNotKnown:
    def test_a_bound_on_the_cost_and_an_early_end_need_a_known_cost(self) -> None:
        limit = CostLimit("spend", 1e9)
        spec = scaled.spec(UTILIZATION, cost_limits=(limit,))
        early = replace(spec, trial=replace(spec.trial, early_success=True))
        fields_ = [p.field for p in found(early) if p.reason == "CostNotKnown"]
        assert fields_ == ["spec.constraints[spend]", "spec.trial.earlySuccess"]
        assert "CostNotKnown" not in reasons(found(scaled.spec(UTILIZATION)))

    def test_without_arms_that_scale_it_is_known(self) -> None:
        spec = scaled.spec(route=None, cost_limits=(CostLimit("spend", 1e9),))
        assert "CostNotKnown" not in reasons(found(spec))


class TestScaledBy:
    def test_what_is_tuned_else_the_first(self) -> None:
        memory = MetricView("Resource", "memory", utilization=80)
        both = around(replace(SCALER, metrics=(memory, CPU)))
        spec = scaled.spec(UTILIZATION)
        assert scaled_by(spec, scaled.target(), both) == ScaledBy("web-hpa", 100, Resource.CPU, "", 0.7)
        other = scaled.spec(LEAST)
        assert scaled_by(other, scaled.target(), both) == ScaledBy("web-hpa", 100, Resource.MEMORY, "", 0.8)

    def test_a_metric_of_its_own_is_no_share_of_a_request(self) -> None:
        by_pods = around(replace(SCALER, metrics=(MetricView("Pods", "queue"),)))
        assert scaled_by(scaled.spec(LEAST), scaled.target(), by_pods) == ScaledBy("web-hpa", 100)

    def test_a_fixed_number_of_pods(self) -> None:
        assert scaled_by(scaled.spec(route=None), scaled.target(), around()) is None
