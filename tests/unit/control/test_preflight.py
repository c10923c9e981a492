"""Preflight: what would go wrong is refused beforehand, in one line with numbers, field and remedy."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from tests.unit.control import builders
from tests.unit.control.builders import BASELINE, GIB

from trimtab.control.preflight import WAITING_REASONS, Findings, Problem, examine, recheck
from trimtab.control.preflight_capacity import corner_assignments, pod_total, qos_class
from trimtab.control.preflight_guards import guard_notes
from trimtab.control.preflight_power import arm_requests
from trimtab.domain.autoscaler import AutoscalerView
from trimtab.domain.kube import (
    ContainerView,
    LimitRangeView,
    QuotaView,
    Requirement,
    Resources,
    SelectorOwner,
    ServiceView,
    Surroundings,
    Target,
    TargetMissing,
    VpaView,
)
from trimtab.domain.measurement import Ambiguous, NoData, Reading, Sample, TelemetryError
from trimtab.domain.space import (
    Apply,
    ContainerResource,
    LimitsRule,
    Numeric,
    Order,
    Parameter,
    Resource,
    Scale,
    SearchSpace,
)
from trimtab.domain.spec import (
    BurnPair,
    CanarySpec,
    ErrorBudget,
    ExperimentSpec,
    Objective,
    ObjectiveTerm,
    PauseOnBurn,
    QuantileQuery,
    RatioQuery,
    RelativeBound,
    Scaling,
    ScalingQuery,
    SliKind,
    SliQuery,
    SlowRatioQuery,
    ValueQuery,
)
from trimtab.ports import SliProbe
from trimtab.slo.guards import CPU_WAITING, MEMORY_STALLED, METRICS, PERIODS, THROTTLED, WORKING_SET

D = Decimal
PROBE = SliProbe("errors", scrape_interval=1.0, requests_per_second=4000.0, bad_ratio=0.001, history=720 * 3600.0)
SMALL = Resources(D(2), D(2), 2 * GIB, 2 * GIB)


def found(
    spec: ExperimentSpec | None = None,
    target: Target | TargetMissing | None = None,
    around: Surroundings | None = None,
    probes: tuple[SliProbe, ...] = (PROBE,),
) -> Findings:
    return examine(spec or builders.spec(), target or builders.target(), around or builders.surroundings(), probes)


def only(findings: Findings) -> Problem:
    """The one problem, which is one line with a remedy."""
    (problem,) = findings.problems
    assert "\n" not in problem.message
    assert problem.message.startswith(problem.field)
    if problem.blocking:
        assert problem.remedy
        assert problem.message.endswith(f"; {problem.remedy}")
    return problem


def test_a_healthy_world_has_no_problem() -> None:
    assert found().problems == ()


class TestTarget:
    def test_that_is_not_there(self) -> None:
        assert only(found(target=TargetMissing("web"))).reason == "TargetNotFound"

    def test_that_is_a_stateful_set(self) -> None:
        problem = only(found(target=TargetMissing("web", "StatefulSet")))
        assert problem.reason == "UnsupportedKind"
        assert "web is a StatefulSet" in problem.message

    @pytest.mark.parametrize(
        ("change", "reason", "words", "waits"),
        [
            ({"paused": True}, "RolloutPaused", "kubectl rollout resume", False),
            (
                {"rollout_behind": "19 of 20 pods are available"},
                "RolloutIncomplete",
                "complete: 19 of 20 pods are",
                True,
            ),
            ({"rollout_behind": "3 of 20 pods", "rollout_stuck": True}, "RolloutStuck", "kubectl rollout undo", False),
            ({"ready_replicas": 0}, "TargetNotReady", "none of its pods is ready", True),
        ],
    )
    def test_that_is_not_settled_waits_where_it_settles_by_itself(
        self, change: dict[str, Any], reason: str, words: str, waits: bool
    ) -> None:
        problem = only(found(target=builders.target(**change)))
        assert problem.reason == reason
        assert words in problem.message
        assert problem.waits is waits
        assert (reason in WAITING_REASONS) is waits

    @pytest.mark.parametrize(("kind", "name"), [("Rollout", "Argo Rollouts"), ("Canary", "Flagger")])
    def test_that_another_controller_moves(self, kind: str, name: str) -> None:
        problem = only(found(target=builders.target(owner_kinds=(kind,))))
        assert problem.reason == "ManagedByRollout"
        assert name in problem.message
        assert not problem.waits

    def test_that_cannot_be_cloned(self) -> None:
        problem = only(found(target=builders.target(hazards=("container web takes hostPort 80; use a Service",))))
        assert problem.reason == "UnsafeToClone"
        assert problem.message == "Deployment web: container web takes hostPort 80; use a Service"

    def test_side_effects_are_the_owners_to_accept(self) -> None:
        target = builders.target(side_effects=("init containers (migrate) run in every arm; annotate it",))
        assert only(found(target=target)).reason == "UnsafeToClone"
        accepted = replace(target, annotations=(("trimtab.dev/side-effects-ok", ""),))
        assert found(target=accepted).problems == ()

    def test_that_drains_too_slowly(self) -> None:
        problem = only(found(target=builders.target(termination_grace_seconds=300)))
        assert problem.reason == "GraceTooLong"
        assert "for 5m" in problem.message
        assert "lower it to 120" in problem.remedy

    def test_with_an_active_vertical_autoscaler(self) -> None:
        vpas = (VpaView("web-vpa", "web", "Initial"), VpaView("seen", "web", "Off"))
        problem = only(found(around=builders.surroundings(vpas=vpas)))
        assert problem.message == (
            "VerticalPodAutoscaler web-vpa: its updateMode Initial changes the requests that are being tuned; "
            "set spec.updatePolicy.updateMode to Off"
        )

    def test_of_a_gitops_tool_is_a_note(self) -> None:
        problem = only(found(target=builders.target(managed_by="Argo CD application shop")))
        assert problem.reason == "GitOpsOwned"
        assert not problem.blocking


def test_many_parameters_are_a_note() -> None:
    cpu, memory = builders.spec().space.parameters
    more = tuple(replace(memory, name=f"memory{i}") for i in range(2))
    stopping = replace(builders.spec().stopping, max_trials=39)
    wide = builders.spec(space=SearchSpace((cpu, memory, *more)), stopping=stopping)
    notes = [p for p in found(wide).notes if p.reason == "ManyParameters"]
    assert [n.message for n in notes] == [
        "spec.parameters: 4 for 39 trials, 10 each are advised; tune fewer at a time, or set stopping.maxTrials to 40"
    ]
    assert not [p for p in found().notes if p.reason == "ManyParameters"]


BUDGET = SelectorOwner("PodDisruptionBudget", "keep", (("app", "web"),))
ALL_LABELS = (ServiceView("web", (("app", "web"), ("instance", "production"))),)


class TestSelectors:
    def test_without_a_service_there_is_no_traffic(self) -> None:
        assert only(found(around=builders.surroundings(services=()))).reason == "NoService"

    def test_expressions_alone_cannot_tell_arms_apart(self) -> None:
        target = builders.target(selector=(), has_match_expressions=True)
        assert only(found(target=target)).reason == "SelectorTooWide"

    def test_a_budget_does_not_matter_while_a_label_can_be_replaced(self) -> None:
        scaler = AutoscalerView("web", "Deployment", "web", tolerance=0.2)
        around = builders.surroundings(disruption_budgets=(BUDGET,), autoscalers=(scaler,))
        assert found(around=around).problems == ()

    def test_sharing_all_labels_is_opt_in(self) -> None:
        around = builders.surroundings(services=ALL_LABELS)
        problem = only(found(around=around))
        assert problem.reason == "SelectorConflict"
        assert "Service web selects on all of its labels (app, instance)" in problem.message
        assert "set spec.traffic.shareServiceLabels" in problem.remedy
        assert found(builders.spec(share_service_labels_ok=True), around=around).problems == ()

    @pytest.mark.parametrize(
        ("change", "name"),
        [
            ({"disruption_budgets": (BUDGET,)}, "PodDisruptionBudget keep"),
            ({"autoscalers": (AutoscalerView("hpa", "Deployment", "web", 0.2),)}, "HorizontalPodAutoscaler hpa"),
        ],
    )
    def test_and_refused_where_something_counts_the_pods(self, change: dict[str, Any], name: str) -> None:
        around = builders.surroundings(services=ALL_LABELS, **change)
        problem = only(found(builders.spec(share_service_labels_ok=True), around=around))
        assert problem.reason == "SelectorConflict"
        assert f"{name} would count arms as the target's pods" in problem.message

    def test_required_anti_affinity_that_arms_match(self) -> None:
        terms = (
            SelectorOwner("podAntiAffinity", "kubernetes.io/hostname", (("app", "web"),)),
            SelectorOwner("podAntiAffinity", "zone", (), (Requirement("instance", "In", ("production",)),)),
        )
        problem = only(found(target=builders.target(anti_affinity=terms)))
        assert problem.reason == "AntiAffinity"
        assert "kubernetes.io/hostname" in problem.message
        assert problem.remedy == "make it preferred, or add the label instance to its selector"


class TestNetworkPolicies:
    POLICY = SelectorOwner("NetworkPolicy", "guard", (("instance", "production"),))
    WIDE = SelectorOwner("NetworkPolicy", "wide", (("app", "web"),))

    def test_one_that_does_not_select_arms_is_a_note(self) -> None:
        problem = only(found(around=builders.surroundings(network_policies=(self.POLICY, self.WIDE))))
        assert problem.reason == "NetworkPolicyMisses"
        assert problem.message.startswith("NetworkPolicy guard: it selects the target's pods by instance")
        assert not problem.blocking

    def test_one_that_does_not_let_arms_through_is_a_note(self) -> None:
        problem = only(found(around=builders.surroundings(network_peers=(self.POLICY, self.POLICY, self.WIDE))))
        assert problem.reason == "NetworkPolicyBlocks"
        assert not problem.blocking


class TestShare:
    def share(self, ready: int, replicas: int = 1, allowed: float = 0.1, **around: Any) -> Findings:
        spec = builders.spec(canary=CanarySpec(replicas, allowed))
        return recheck(
            spec,
            builders.target(replicas=ready, ready_replicas=ready),
            builders.surroundings(ready_service_endpoints=ready, **around),
        )

    @pytest.mark.parametrize(("ready", "refused"), [(17, True), (18, False), (19, False)])
    def test_the_bound_is_on_both_arms_together(self, ready: int, refused: bool) -> None:
        assert bool(self.share(ready).blocking) is refused

    def test_says_what_would_do(self) -> None:
        problem = only(self.share(4))
        assert problem.reason == "ShareTooLarge"
        assert problem.message == (
            "spec.canary.maxSharePercent: 2 arm pods beside 4 ready pods take 33.3 % of the load, 10 % are allowed; "
            "run at least 18 replicas, or allow 34"
        )

    def test_suggests_fewer_canaries_where_that_helps(self) -> None:
        assert only(self.share(20, replicas=3)).remedy.startswith("set spec.canary.replicas to 1, run at least 54")

    def test_what_it_suggests_is_accepted(self) -> None:
        assert self.share(4, allowed=0.34).problems == ()
        assert self.share(20, replicas=1).problems == self.share(54, replicas=3).problems == ()

    def test_an_autoscaler_must_not_notice(self) -> None:
        scaler = AutoscalerView("web", "Deployment", "web")
        problem = only(self.share(18, autoscalers=(scaler,)))
        assert problem.reason == "AutoscalerDisturbed"
        assert "take 10 % of the load, which is not under its tolerance of 10 %" in problem.message
        assert problem.remedy == "run at least 19 replicas, or raise behavior.scaleDown.tolerance"
        assert self.share(19, autoscalers=(scaler,)).problems == ()

    def test_an_autoscaler_without_tolerance_notices_everything(self) -> None:
        problem = only(self.share(100, autoscalers=(AutoscalerView("web", "Deployment", "web", 0.0),)))
        assert problem.remedy == "raise behavior.scaleDown.tolerance"

    def test_other_pods_behind_the_service_share_the_load(self) -> None:
        around = builders.surroundings(ready_service_endpoints=40)
        assert recheck(builders.spec(), builders.target(replicas=4, ready_replicas=4), around).problems == ()

    def test_a_pod_that_restarts_ends_no_trial_but_scaling_down_does(self) -> None:
        target = builders.target(replicas=18, ready_replicas=17)
        around = builders.surroundings(ready_service_endpoints=17)
        assert recheck(builders.spec(), target, around).problems == ()
        assert [p.reason for p in found(target=target, around=around).blocking] == ["ShareTooLarge"]
        assert only(recheck(builders.spec(), replace(target, replicas=17), around)).reason == "ShareTooLarge"
        none = replace(target, ready_replicas=0)
        assert only(recheck(builders.spec(), none, around)).reason == "TargetNotReady"

    def test_without_endpoints_the_targets_pods_count(self) -> None:
        around = builders.surroundings(ready_service_endpoints=0)
        assert recheck(builders.spec(), builders.target(), around).problems == ()

    def test_is_looked_at_again_while_the_experiment_runs(self) -> None:
        assert only(self.share(3)).reason == "ShareTooLarge"
        vpas = (VpaView("late", "web", "Auto"),)
        assert only(self.share(20, vpas=vpas)).reason == "VpaActive"


def cpu_spec(
    apply: Apply = Apply.REQUESTS, limits: LimitsRule = LimitsRule.RATIO, low: str = "0.25", high: str = "2"
) -> ExperimentSpec:
    locus = ContainerResource("web", Resource.CPU, apply, limits)
    return builders.spec(space=SearchSpace((Parameter("cpu", locus, Numeric(D(low), D(high), D("0.05"), Scale.LOG)),)))


def sized(cpu_request: str, cpu_limit: str | None, memory: int = 2) -> Target:
    limit = None if cpu_limit is None else D(cpu_limit)
    resources = Resources(D(cpu_request), limit, memory * GIB, memory * GIB)
    return builders.target(containers=(ContainerView("web", "i", resources),))


class TestBaseline:
    def test_its_problem_comes_with_its_reason(self) -> None:
        problem = only(found(cpu_spec(high="1"), sized("2", "2")))
        assert problem.reason == "BaselineOutsideSpace"
        assert problem.field == "spec.parameters[cpu].quantity"

    def test_a_missing_container(self) -> None:
        other = builders.target(containers=(ContainerView("api", "i", SMALL),))
        assert only(found(target=other)).reason == "ContainerNotFound"


class TestRequestAboveLimit:
    def test_a_kept_limit_bounds_the_range(self) -> None:
        problem = only(found(cpu_spec(limits=LimitsRule.KEEP, high="4"), sized("1", "2")))
        assert problem.reason == "RequestAboveLimit"
        assert "spec.parameters[cpu]: the range allows a request of 4 above a limit of 2" in problem.message

    def test_two_parameters_must_be_ordered(self) -> None:
        def parameter(name: str, apply: Apply) -> Parameter:
            locus = ContainerResource("web", Resource.CPU, apply, LimitsRule.KEEP)
            return Parameter(name, locus, Numeric(D("0.5"), D(2), D("0.5"), Scale.LOG))

        both = (parameter("least", Apply.REQUESTS), parameter("most", Apply.LIMITS))
        (loose,) = found(builders.spec(space=SearchSpace(both)), sized("1", "2")).blocking
        assert loose.reason == "RequestAboveLimit"
        ordered = builders.spec(space=SearchSpace(both, (Order("o", "least", "most"),)))
        assert found(ordered, sized("1", "2")).blocking == ()


class TestQualityOfService:
    @pytest.mark.parametrize(
        ("resources", "expected"),
        [
            ((SMALL,), "Guaranteed"),
            ((SMALL, Resources()), "Burstable"),
            ((replace(SMALL, cpu_limit=None),), "Burstable"),
            ((replace(SMALL, cpu_request=D(1)),), "Burstable"),
            ((Resources(),), "BestEffort"),
            ((Resources(D(0), None, D(0), None),), "BestEffort"),
        ],
    )
    def test_class(self, resources: tuple[Resources, ...], expected: str) -> None:
        assert qos_class(tuple(ContainerView("c", "i", r) for r in resources)) == expected

    def test_losing_a_guarantee_is_refused(self) -> None:
        problem = only(found(cpu_spec(limits=LimitsRule.KEEP), sized("2", "2")))
        assert problem.reason == "QosClassChanges"
        assert problem.blocking
        assert "its pods are Guaranteed, arms would be Burstable" in problem.message

    def test_gaining_one_is_a_note(self) -> None:
        problem = only(found(cpu_spec(limits=LimitsRule.KEEP), sized("1", "2")))
        assert problem.reason == "QosClassChanges"
        assert not problem.blocking

    def test_a_ratio_keeps_it(self) -> None:
        assert found(cpu_spec(), sized("2", "2")).problems == found(cpu_spec(), sized("1", "2")).problems == ()


class TestQuota:
    def quota(self, name: str, free: str, target: Target | None = None, spec: ExperimentSpec | None = None) -> Findings:
        around = builders.surroundings(quotas=(QuotaView("team", ((name, D(free)),)),))
        return found(spec or cpu_spec(), target or sized("1", "2"), around)

    @pytest.mark.parametrize(
        ("name", "enough", "short"),
        [
            ("requests.cpu", "3", "2.999"),  # a canary at most 2 and a control of 1
            ("cpu", "3", "2"),
            ("limits.cpu", "6", "5"),  # the ratio 2 is kept
            ("requests.memory", str(4 * GIB), str(4 * GIB - 1)),
            ("pods", "2", "1"),
            ("count/pods", "2", "1"),
            ("count/deployments.apps", "2", "1"),
            ("count/replicasets.apps", "2", "1"),
        ],
    )
    def test_both_arms_must_fit_at_their_largest(self, name: str, enough: str, short: str) -> None:
        assert self.quota(name, enough).problems == ()
        assert only(self.quota(name, short)).reason == "QuotaTooSmall"

    def test_says_what_is_left(self) -> None:
        assert only(self.quota("requests.cpu", "2.5")).message == (
            "ResourceQuota team: arms need up to 3 of requests.cpu, 2500m is left; "
            "raise the quota or lower max of the range"
        )

    def test_does_not_blame_the_range_when_not_even_todays_values_fit(self) -> None:
        problem = only(self.quota("requests.memory", "-1"))
        assert problem.message.endswith("arms need up to 4Gi of requests.memory, 0 is left; raise the quota")

    def test_what_it_counts_must_be_set(self) -> None:
        problem = only(self.quota("limits.cpu", "100", sized("1", None)))
        assert "it refuses pods of which container web sets no cpu limit" in problem.message

    def test_other_resources_count_too(self) -> None:
        target = replace(sized("1", "2"), extra_demand=(("requests.nvidia.com/gpu", D(1)),))
        assert only(self.quota("requests.nvidia.com/gpu", "1", target)).message.startswith(
            "ResourceQuota team: arms need up to 2 of requests.nvidia.com/gpu, 1 is left"
        )

    def test_what_it_does_not_know_is_not_judged(self) -> None:
        assert self.quota("services", "0").problems == ()

    def test_a_pod_counts_as_the_scheduler_counts_it(self) -> None:
        def view(cpu: str, *, sidecar: bool = False) -> ContainerView:
            return ContainerView("c", "i", Resources(cpu_request=D(cpu)), sidecar)

        apps = (view("1"), view("2"))
        assert pod_total(apps, (), "requests", Resource.CPU) == 3
        assert pod_total(apps, (view("5"),), "requests", Resource.CPU) == 5
        assert pod_total(apps, (view("1", sidecar=True), view("5")), "requests", Resource.CPU) == 6
        assert pod_total(apps, (view("5"), view("1", sidecar=True)), "requests", Resource.CPU) == 5
        assert pod_total(apps, (view("3", sidecar=True),), "requests", Resource.CPU) == 6
        assert pod_total(apps, (), "limits", Resource.CPU) == 0


class TestLimitRange:
    def bounds(self, spec: ExperimentSpec | None = None, target: Target | None = None, **fields: Any) -> Findings:
        view = LimitRangeView("bounds", fields.pop("rules", ()), **fields)
        around = builders.surroundings(limit_ranges=(view,))
        return found(spec or cpu_spec(), target or sized("1", "2"), around)

    @pytest.mark.parametrize(
        ("rule", "words"),
        [
            ((D("0.3"), None, None), "a cpu request of 250m of container web is below its min of 300m"),
            ((None, D("3.5"), None), "a cpu limit of 4 of container web is above its max of 3500m"),
            ((None, None, D("1.5")), "the cpu limit of container web is 2 times its request, its ratio allows 1.5"),
        ],
    )
    def test_the_whole_range_must_be_within(self, rule: tuple[Any, Any, Any], words: str) -> None:
        problem = only(self.bounds(rules=((Resource.CPU, *rule),)))
        assert problem.reason == "LimitRangeViolated"
        assert words in problem.message
        assert self.bounds(rules=((Resource.CPU, D("0.25"), D(4), D(2)),)).problems == ()

    @pytest.mark.parametrize(
        ("rule", "words"),
        [
            ((None, D(4), None), "it asks for a cpu limit of at most 4 and container web has none"),
            ((None, None, D(4)), "its maxLimitRequestRatio for cpu asks for a request and a limit"),
        ],
    )
    def test_what_it_bounds_must_be_set(self, rule: tuple[Any, Any, Any], words: str) -> None:
        assert words in only(self.bounds(target=sized("1", None), rules=((Resource.CPU, *rule),))).message

    def test_sums_of_a_pod(self) -> None:
        log = ContainerView("log", "i", Resources(D(1), D(1), GIB, GIB))
        target = sized("1", "2")
        both = replace(target, containers=(*target.containers, log))
        problem = only(self.bounds(target=both, pod_rules=((Resource.CPU, None, D("4.5"), None),)))
        assert "a cpu limit of 5 of the pod is above its max of 4500m" in problem.message

    def test_a_default_limit_below_the_range(self) -> None:
        defaults = ((Resource.CPU, None, D("1.5")),)
        problem = only(self.bounds(target=sized("1", None), defaults=defaults))
        assert "its default cpu limit 1500m is below a request of 2 of container web" in problem.message

    def test_a_default_limit_that_would_come_back(self) -> None:
        spec = cpu_spec(limits=LimitsRule.NONE)
        problem = only(self.bounds(spec, sized("1", None), defaults=((Resource.CPU, None, D(8)),)))
        assert "would be put on container web in spite of limits: None" in problem.message

    def test_defaults_fill_what_quotas_and_bounds_ask_for(self) -> None:
        view = LimitRangeView("bounds", ((Resource.CPU, None, D(4), None),), (), ((Resource.CPU, D(1), D(4)),))
        quota = QuotaView("team", (("limits.cpu", D(8)),))
        around = builders.surroundings(limit_ranges=(view,), quotas=(quota,))
        assert found(cpu_spec(), sized("1", None), around).problems == ()


def test_corners_hold_the_extremes() -> None:
    baseline, low, high = corner_assignments(builders.spec(), BASELINE)
    assert baseline == BASELINE
    assert (low.number("cpu"), high.number("memory")) == (D("0.25"), 2 * GIB)


class TestProbes:
    def test_what_the_probe_says_is_passed_on(self) -> None:
        probe = SliProbe("errors", "Ambiguous", "two series, by label job", "add job to the query")
        problem = only(found(probes=(probe,)))
        assert problem.reason == "Ambiguous"
        assert problem.message == "spec.slis[errors]: two series, by label job; add job to the query"

    def test_an_unknown_store_is_said_once_and_by_its_own_field(self) -> None:
        probes = tuple(
            SliProbe(n, "UnknownStore", "'x' is none; it knows default", "use it") for n in ("errors", "slow")
        )
        problem = only(found(probes=probes))
        assert problem.message == "spec.telemetry.store: 'x' is none; it knows default; use it"
        assert not problem.waits

    def test_an_unreachable_store_is_waited_for(self) -> None:
        assert only(found(probes=(SliProbe("errors", "TelemetryUnavailable", "no answer", "start it"),))).waits


class TestPower:
    def decided(self, rate: float, ratio: float | None, coarse: bool = False, **spec: Any) -> Findings:
        probe = replace(PROBE, requests_per_second=rate, bad_ratio=ratio, coarse=coarse)
        made = builders.spec(**spec)
        made = replace(made, slis=tuple(replace(s, min_samples=1) for s in made.slis))
        return found(made, probes=(probe,))

    def test_what_an_arm_sees_of_the_load(self) -> None:
        assert arm_requests(builders.spec(), 220.0, 20) == pytest.approx(10 * 60)

    def test_enough(self) -> None:
        assert self.decided(1000, 0.001).problems == ()

    def test_no_trial_could_ever_decide(self) -> None:
        problem = only(self.decided(22, 0.005))
        assert problem.reason == "Undecidable"
        assert problem.message.startswith(
            "spec.constraints[errors]: a trial of 1m sees about 60 requests an arm, 1,990"
        )
        assert problem.remedy == "set spec.trial.duration to 33m10s, or, for rare errors, set errors: GuardOnly"

    def test_more_replicas_are_suggested_where_their_share_is_allowed(self) -> None:
        problem = only(self.decided(150, 0.005, canary=CanarySpec(1, 0.5)))
        assert "set spec.trial.duration to 4m52s or spec.canary.replicas to 8, or" in problem.remedy
        assert only(self.decided(150, 0.005, canary=CanarySpec(8, 0.5))).reason == "ClusteredErrors"

    def test_the_duration_that_it_suggests_would_do(self) -> None:
        longer = replace(builders.spec().trial, duration=2100.0)
        assert only(self.decided(22, 0.005, trial=longer)).reason == "ClusteredErrors"
        assert self.decided(22, 0.005, trial=replace(longer, duration=3 * 2100.0)).problems == ()

    def test_replicates_are_pooled(self) -> None:
        problem = only(self.decided(300, 0.005))
        assert problem.reason == "PooledEvidence"
        assert not problem.blocking
        assert "only 3 trials together do" in problem.message

    def test_what_a_sequential_test_cannot_tell_apart_is_said(self) -> None:
        named = replace(builders.spec().constraints[0], max_error_ratio=1.2)
        (found,) = self.decided(4000, 0.005, constraints=(named,)).problems
        assert (found.reason, found.blocking) == ("SmallRatiosUnseen", False)
        told = r"10,909 requests an arm at 0.5 % are too few .* 1.2 times .* it finds [23](\.\d)? times as many"
        assert re.search(told, found.message)
        assert self.decided(400_000, 0.005, constraints=(named,)).problems == ()
        without = self.decided(1000, 0.0, constraints=(named,)).problems
        assert any("does not even find 20 times" in p.message for p in without)
        assert all(p.reason != "SmallRatiosUnseen" for p in self.decided(1000, None, constraints=(named,)).problems)

    def test_a_service_without_errors_needs_the_rule_of_three(self) -> None:
        assert self.decided(130, 0.0).problems == self.decided(130, None).problems == ()
        assert only(self.decided(30, None)).reason == "Undecidable"

    def test_no_traffic(self) -> None:
        problems = self.decided(0.0, None).problems
        assert [p.remedy for p in problems] == ["send traffic to the target first"] * 2
        assert [p.field for p in problems] == ["spec.slis[errors].minSamples", "spec.constraints[errors]"]

    def test_what_is_usual_decides_and_not_the_moment(self) -> None:
        def seen(now: float, usual: float | None) -> Findings:
            return found(probes=(replace(PROBE, requests_per_second=now, usual_per_second=usual, bad_ratio=0.005),))

        assert [p.reason for p in seen(4000, 40).blocking] == ["Undecidable"]
        assert seen(40, 4000).problems == ()
        assert [p.reason for p in seen(40, None).blocking] == ["Undecidable"]

    def test_the_target_itself_breaks_the_bound(self) -> None:
        problem = only(self.decided(4000, 0.02))
        assert problem.reason == "BaselineInfeasible"
        assert "the target itself is at 2 %, the bound is 1 %" in problem.message

    def test_a_target_that_is_to_be_repaired_is_a_note(self) -> None:
        settings = replace(builders.spec().search, repair=True)
        found = self.decided(4000, 0.02, search=settings)
        assert found.blocking == ()
        (note,) = (p for p in found.notes if p.reason == "BaselineInfeasible")
        assert note.message.endswith("at 2 %, the bound is 1 %: trials look for settings that hold it")

    def test_bounds_that_only_guard_need_no_power_but_what_certifies_them_is_said(self) -> None:
        (constraint,) = builders.spec().constraints
        guards = replace(constraint, guard_only=True)
        (found,) = self.decided(22, 0.005, constraints=(guards,)).problems
        assert (found.reason, found.blocking) == ("HardlyCertified", False)
        told = (
            "see about 120 requests an arm together; to certify 1 % takes 300 without any bad one, and 1,990 at today's"
        )
        assert told in found.message
        assert self.decided(380, 0.005, constraints=(guards,)).problems == ()
        never = replace(builders.spec().verification, replicates=0)
        assert self.decided(22, 0.005, constraints=(guards,), verification=never).problems == ()
        (worse,) = self.decided(190, 0.02, constraints=(guards,)).problems
        assert (worse.reason, worse.blocking) == ("HardlyCertified", False)
        assert "the target itself is at 2 %, the bound is 1 %, so no verification will certify it" in worse.message

    def test_that_clustered_errors_take_more_is_said_where_it_matters(self) -> None:
        (found,) = self.decided(800, 0.005).problems
        assert (found.reason, found.blocking) == ("ClusteredErrors", False)
        told = "sees about 2,182 requests an arm, 1,990 decide it if errors are independent, 3 times as many where"
        assert told in found.message
        assert self.decided(2400, 0.005).problems == ()
        assert "3 times as many where errors cluster threefold" in only(self.decided(22, 0.005)).message
        assert "3 times as many where errors cluster threefold" in only(self.decided(300, 0.005)).message

    def test_latency_counts_as_errors_do(self) -> None:
        (sli,) = builders.spec().slis
        slow = replace(sli, query=SlowRatioQuery(("latency",), 0.3))
        assert only(self.decided(22, 0.005, slis=(slow,))).reason == "Undecidable"

    def test_a_quantile_needs_enough_beyond_it(self) -> None:
        (sli,) = builders.spec().slis
        quantile = replace(sli, kind=SliKind.LATENCY, query=QuantileQuery(("latency",), 0.95))
        few = only(self.decided(10, None, slis=(quantile,)))
        assert few.reason == "Undecidable"
        assert "27 requests an arm, 200 are needed for 10 beyond the quantile; " in few.message
        assert few.remedy == "set spec.trial.duration to 7m20s"
        assert self.decided(4000, None, slis=(quantile,)).problems == ()

    def test_a_quantile_of_a_few_buckets_bounds_nothing(self) -> None:
        (sli,), (constraint,) = builders.spec().slis, builders.spec().constraints
        quantile = replace(sli, kind=SliKind.LATENCY, query=QuantileQuery(("latency",), 0.95))
        bound = replace(constraint, maximum=0.3)
        coarse = self.decided(4000, None, coarse=True, slis=(quantile,), constraints=(bound,))
        found = only(coarse)
        assert found.reason == "CoarseQuantile"
        assert "the 95 % quantile" in found.message
        assert "threshold 0.3, max 0.05" in found.remedy
        fine = self.decided(4000, None, slis=(quantile,), constraints=(bound,))
        assert fine.problems == ()
        shown = replace(bound, maximum=None, relative=RelativeBound(max_increase_ratio=1.0))
        assert self.decided(4000, None, coarse=True, slis=(quantile,), constraints=(shown,)).problems == ()

    def test_a_small_relative_increase_needs_many(self) -> None:
        (constraint,) = builders.spec().constraints

        def within(increase: float) -> Findings:
            bound = replace(constraint, maximum=None, relative=RelativeBound(max_increase_ratio=increase))
            return self.decided(4000, 0.005, constraints=(bound,))

        assert only(within(0.05)).reason == "Undecidable"
        assert within(1.0).problems == ()

    def test_so_does_a_small_increase_over_the_control(self) -> None:
        (constraint,) = builders.spec().constraints

        def within(increase: float) -> Findings:
            bound = replace(constraint, maximum=None, relative=RelativeBound(max_increase=increase))
            return self.decided(4000, 0.005, constraints=(bound,))

        assert only(within(0.0002)).reason == "Undecidable"
        assert within(0.005).problems == ()


class TestSamples:
    """A trial of a minute at 220 requests a second: an arm sees 600 requests."""

    def asked(self, samples: int, **changes: Any) -> Findings:
        made = builders.spec(constraints=(), **changes)
        made = replace(made, slis=tuple(replace(s, min_samples=samples) for s in made.slis))
        terms = (ObjectiveTerm(1.0), ObjectiveTerm(1.0, "errors"))
        made = replace(made, objectives=(Objective("cost", False, terms),))
        return found(made, probes=(replace(PROBE, requests_per_second=220.0),))

    def test_enough(self) -> None:
        assert self.asked(599).problems == ()

    def test_what_only_an_extended_trial_sees_is_said(self) -> None:
        told = only(self.asked(1000))
        assert (told.reason, told.blocking) == ("AlwaysExtended", False)
        assert told.message == (
            "spec.slis[errors].minSamples: a trial of 1m sees about 600 requests an arm, 1,000 are asked for: each "
            "will be extended to 2m; set spec.trial.duration and spec.verification.duration to 1m40s, or lower it"
        )

    def test_more_than_an_extended_trial_sees_is_refused(self) -> None:
        problem = only(self.asked(6000))
        assert problem.reason == "Undecidable"
        assert "6,000 are asked for: it ends TooFewSamples, also when it is extended to 2m; " in problem.message
        assert problem.remedy == "set spec.trial.duration and spec.verification.duration to 10m, or lower it"

    def test_the_duration_and_the_replicas_that_it_suggests_would_do(self) -> None:
        (trial, verification) = builders.spec().trial, builders.spec().verification
        few = only(self.asked(2000, canary=CanarySpec(1, 0.6)))
        assert "to 3m20s or spec.canary.replicas to 5, or lower it" in few.remedy
        longer = {"trial": replace(trial, duration=200.0), "verification": replace(verification, duration=200.0)}
        assert self.asked(2000, **longer).problems == ()
        assert self.asked(2000, canary=CanarySpec(5, 0.6)).problems == ()

    def test_an_extension_that_ends_after_the_deadline_helps_nobody(self) -> None:
        short = replace(builders.spec().trial, deadline=120.0)
        problem = only(self.asked(1000, trial=short))
        assert problem.reason == "Undecidable"
        assert "it ends TooFewSamples; " in problem.message

    def test_a_verification_that_is_shorter_is_looked_at_too(self) -> None:
        brief = replace(builders.spec().verification, duration=20.0)
        problem = only(self.asked(500, verification=brief))
        assert "a verification of 20s sees about 200 requests an arm" in problem.message
        assert problem.remedy == "set spec.verification.duration to 50s, or lower it"
        assert self.asked(500, verification=replace(brief, replicates=0)).problems == ()

    def test_what_nobody_needs_is_not_looked_at(self) -> None:
        made = builders.spec(constraints=())
        made = replace(made, slis=tuple(replace(s, min_samples=10**6) for s in made.slis))
        assert found(made, probes=(replace(PROBE, requests_per_second=220.0),)).problems == ()


class TestFeasible:
    """What the target breaks today is told before trials find it, whatever measures it."""

    def judged(self, level: Reading, query: SliQuery, **bound: Any) -> Findings:
        (sli,), (constraint,) = builders.spec().slis, builders.spec().constraints
        asked = replace(sli, kind=SliKind.VALUE, query=query, min_samples=1)
        settings = replace(builders.spec().search, repair=bound.pop("repair", False))
        guards = bound.pop("guard_only", False)
        changed = replace(constraint, guard_only=guards, **{"maximum": None, **bound})
        made = builders.spec(slis=(asked,), constraints=(changed,), budgets=(), search=settings)
        probe = SliProbe("errors", scrape_interval=1.0, requests_per_second=4000.0, level=level)
        return found(made, probes=(probe,))

    DEPTH = ValueQuery("avg(depth{$selector})", "ms")
    SUM = ValueQuery("sum(depth{$selector})", "ms")

    @pytest.mark.parametrize(
        ("bound", "words"),
        [
            (
                {"maximum": 5.0},
                "the target itself is at 10 ms, the bound is 5 ms; repair the service first, raise max, or",
            ),
            ({"minimum": 20.0}, "is at 10 ms, the bound is 20 ms or more; repair the service first, lower min, or"),
        ],
    )
    def test_a_gauge_beyond_its_bound(self, bound: dict[str, float], words: str) -> None:
        problem = only(self.judged(Sample(10.0, 0.1, 60.0), self.DEPTH, **bound))
        assert problem.reason == "BaselineInfeasible"
        assert words in problem.message

    @pytest.mark.parametrize("bound", [{"maximum": 10.0}, {"minimum": 10.0}, {"maximum": 11.0, "minimum": 9.0}])
    def test_a_gauge_at_its_bound_keeps_it(self, bound: dict[str, float]) -> None:
        assert self.judged(Sample(10.0, 0.0, 60.0), self.DEPTH, **bound).problems == ()

    def test_nothing_is_said_of_what_nobody_knows(self) -> None:
        for absent in (NoData("none"), Ambiguous("two"), TelemetryError("too slow")):
            assert self.judged(absent, self.DEPTH, maximum=5.0).problems == ()

    def test_a_quantile_beyond_its_bound(self) -> None:
        p95 = QuantileQuery(("latency",), 0.95)
        problem = only(self.judged(Sample(0.3, 0.01, 1e6), p95, maximum=0.25))
        assert "the target itself is at 300 ms, the bound is 250 ms" in problem.message

    def test_a_lower_limit_of_a_quantile_breaks_no_minimum(self) -> None:
        p95 = QuantileQuery(("latency",), 0.95)
        beyond = Sample(1.0, 1.0, 1e6, below=0.01)
        assert self.judged(beyond, p95, minimum=2.0).problems == ()
        assert only(self.judged(beyond, p95, maximum=0.5)).reason == "BaselineInfeasible"

    def test_what_counts_for_scaling_is_no_level_of_it(self) -> None:
        """The probe is that of the counters behind it, whose ratio is no number of pods."""
        (sli,), (constraint,) = builders.spec().slis, builders.spec().constraints
        assert isinstance(sli.query, RatioQuery)
        pods = replace(sli, kind=SliKind.VALUE, query=ScalingQuery(Scaling.MEAN_REPLICAS, sli.query))
        bound = replace(constraint, maximum=None, minimum=2.0)
        assert found(builders.spec(slis=(pods,), constraints=(bound,), budgets=())).problems == ()

    def test_one_that_is_to_be_repaired_is_a_note(self) -> None:
        told = only(self.judged(Sample(10.0, 0.1, 60.0), self.DEPTH, maximum=5.0, repair=True))
        assert (told.reason, told.blocking) == ("BaselineInfeasible", False)
        assert told.message.endswith("trials look for settings that hold it")

    def test_one_that_only_guards_is_a_note(self) -> None:
        told = only(self.judged(Sample(10.0, 0.1, 60.0), self.DEPTH, maximum=5.0, guard_only=True))
        assert (told.reason, told.blocking) == ("HardlyCertified", False)
        assert "the bound is 5 ms, so no verification will certify it" in told.message

    def test_of_a_sum_over_pods_an_arm_has_its_part_and_only_a_note_is_made(self) -> None:
        assert self.judged(Sample(44.0, 0.1, 60.0), self.SUM, maximum=5.0).problems == ()
        told = only(self.judged(Sample(44.0, 0.1, 60.0), self.SUM, maximum=1.0))
        assert (told.reason, told.blocking) == ("BaselineInfeasible", False)
        assert "an arm's part of the target is at 2 ms, the bound is 1 ms" in told.message


class TestGuards:
    PRESSURE = (CPU_WAITING, MEMORY_STALLED)

    def seen(self, *unseen: str, resources: Resources = SMALL, **spec: Any) -> Findings:
        (container,) = builders.target().containers
        target = builders.target(containers=(replace(container, resources=resources),))
        mine = builders.spec(**spec)
        probe = replace(PROBE, unseen=unseen)
        return Findings(tuple(guard_notes(mine, target, (replace(probe, unseen=None), probe))))

    def test_nothing_is_missing(self) -> None:
        assert self.seen().problems == ()
        assert found(probes=(replace(PROBE, unseen=()),)).problems == ()

    def test_all_is_missing(self) -> None:
        told = only(self.seen(*METRICS))
        assert (told.reason, told.blocking) == ("NotGuarded", False)
        assert all(metric in told.message for metric in METRICS)
        assert "not guarded against CpuThrottled, CpuStarved, MemoryNearLimit, MemoryStalled; " in told.message
        assert "/metrics/cadvisor, or set resourceGuards: Off; pressure is there from Kubernetes 1.34 on" in told.remedy
        assert only(found(probes=(replace(PROBE, unseen=METRICS),))) == told

    def test_what_one_guard_lacks(self) -> None:
        told = only(self.seen(THROTTLED))
        assert f"has no {THROTTLED} of the target's" in told.message
        assert told.remedy.endswith("resourceGuards: Off")

    def test_pressure_alone_is_missed_only_where_no_other_guard_works(self) -> None:
        assert self.seen(*self.PRESSURE).problems == ()
        free = Resources(cpu_request=D(1), memory_request=GIB)
        assert "CpuStarved, MemoryStalled" in only(self.seen(*self.PRESSURE, resources=free)).message

    def test_what_is_counted_against_a_limit_is_there_for_those_with_one(self) -> None:
        free = Resources(cpu_request=D(1), memory_request=GIB, memory_limit=GIB)
        assert self.seen(PERIODS, THROTTLED, resources=free).problems == ()
        assert "MemoryNearLimit" in only(self.seen(WORKING_SET, resources=free)).message

    def test_nobody_is_told_who_wants_no_guards_or_of_what_nobody_knows(self) -> None:
        off = replace(builders.spec().safety, resource_guards=False)
        assert self.seen(*METRICS, safety=off).problems == ()
        assert found(probes=(replace(PROBE, unseen=None),)).problems == ()


class TestAlarms:
    def budget(self, **changes: Any) -> Findings:
        (budget,) = builders.spec().budgets
        made: ErrorBudget = replace(budget, **changes)
        return found(builders.spec(budgets=(made,)))

    def test_a_pause_that_an_outage_could_not_cause(self) -> None:
        problem = only(self.budget(objective=0.9, pause_on_burn=PauseOnBurn(0.5, 3600.0)))
        assert problem.reason == "CannotFire"
        assert problem.field == "spec.errorBudgets[availability].pauseOnBurn"
        assert "not even an outage of 1h burns 50 % of the budget" in problem.message
        assert "set percent under 1.39" in problem.remedy

    def test_a_pair_that_an_outage_could_not_cause(self) -> None:
        pair = BurnPair(300.0, 3600.0, 14.4)
        assert self.budget(rollback_on_burn=(pair,)).problems == ()
        problem = only(self.budget(objective=0.9, pause_on_burn=None, rollback_on_burn=(pair,)))
        assert "a factor of 14.4 is more than an outage burns (10); set factor under 10" in problem.message

    def test_a_short_history_is_a_note(self) -> None:
        problem = only(found(probes=(replace(PROBE, history=86400.0),)))
        assert problem.reason == "HistoryShort"
        assert "reach back 24h of 720h" in problem.message
        assert not problem.blocking


class TestWindows:
    def scraped(self, interval: float, **spec: Any) -> Findings:
        return found(builders.spec(**spec), probes=(replace(PROBE, scrape_interval=interval),))

    def test_every_window_holds_some_scrapes(self) -> None:
        fields = [
            p.field
            for p in self.scraped(20.0, verification=replace(builders.spec().verification, duration=30.0)).problems
        ]
        assert fields == ["spec.trial.duration", "spec.verification.duration"]
        assert self.scraped(15.0).problems == ()

    def test_says_how_long_it_must_be(self) -> None:
        assert only(self.scraped(16.0, verification=replace(builders.spec().verification, replicates=0))).message == (
            "spec.trial.duration: 1m hold fewer than 4 scrapes of 16s; use 1m4s or more"
        )

    def test_burn_windows_and_blindness_too(self) -> None:
        (budget,) = builders.spec().budgets
        short = replace(budget, rollback_on_burn=(BurnPair(10.0, 3600.0, 14.4),))
        safety = replace(builders.spec().safety, stale_after=10.0)
        fields = [p.field for p in self.scraped(15.0, budgets=(short,), safety=safety).problems]
        assert fields == ["spec.errorBudgets[availability].rollbackOnBurnRate", "spec.safety.staleAfter"]

    def test_unknown_intervals_are_not_judged(self) -> None:
        assert found(probes=(replace(PROBE, scrape_interval=None),)).problems == ()


def test_all_problems_are_told_at_once_in_the_order_of_fixing() -> None:
    target = builders.target(paused=True, hazards=("a; b",), ready_replicas=3)
    around = builders.surroundings(services=(), ready_service_endpoints=3)
    bad = SliProbe("errors", "NoData", "no series", "scrape it")
    reasons = [p.reason for p in found(target=target, around=around, probes=(bad,)).blocking]
    assert reasons == ["RolloutPaused", "UnsafeToClone", "NoService", "ShareTooLarge", "NoData"]
