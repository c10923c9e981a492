"""Planned arms: labels that keep them apart, resources by the rules, and a baseline that is the target as it is."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.control import builders
from tests.unit.control.builders import BASELINE, CHEAPER, GIB, NOW

from trimtab.control.arms import (
    admitted_mismatch,
    arm_labels,
    baseline_assignment,
    cost_model,
    plan_arms,
    replaceable_label,
    replaced_labels,
    target_settings,
)
from trimtab.control.values import BaselineError
from trimtab.domain.cost import Prices
from trimtab.domain.kube import (
    ContainerView,
    Labels,
    Resources,
    SelectorOwner,
    ServiceView,
    Target,
)
from trimtab.domain.measurement import Arm
from trimtab.domain.space import (
    Apply,
    Assignment,
    ContainerResource,
    LimitsRule,
    Numeric,
    Order,
    Parameter,
    PlainValue,
    Resource,
    Scale,
    SearchSpace,
)
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.trial import TrialPhase

D = Decimal


def parameter(
    apply: Apply, limits: LimitsRule = LimitsRule.RATIO, name: str = "cpu", container: str = "web"
) -> Parameter:
    locus = ContainerResource(container, Resource.CPU, apply, limits)
    return Parameter(name, locus, Numeric(D("0.1"), D(4), D("0.1"), Scale.LOG))


def spec_of(*parameters: Parameter) -> ExperimentSpec:
    return builders.spec(space=SearchSpace(parameters))


def target_of(request: str | None, limit: str | None) -> Target:
    cpu = [None if x is None else D(x) for x in (request, limit)]
    return builders.target(containers=(ContainerView("web", "i", Resources(*cpu, D(2**30), D(2**30))),))


class TestLabels:
    def services(self, *keys: str) -> tuple[ServiceView, ...]:
        labels = {"app": "web", "instance": "production"}
        return (ServiceView("web", tuple((k, labels[k]) for k in keys)),)

    def test_a_label_that_no_service_uses_is_replaced(self) -> None:
        around = builders.surroundings(services=self.services("app"))
        assert replaceable_label(builders.target(), around) == "instance"
        labels = arm_labels(builders.spec(), builders.target(), around)
        assert labels["app"] == "web"
        assert labels["instance"] != "production"

    def test_there_is_none_when_the_services_use_all(self) -> None:
        around = builders.surroundings(services=(*self.services("app"), *self.services("instance")))
        assert replaceable_label(builders.target(), around) is None
        assert arm_labels(builders.spec(), builders.target(), around) == {"app": "web", "instance": "production"}

    def test_labels_outside_the_targets_selector_do_not_help(self) -> None:
        target = builders.target(selector=(("app", "web"),))
        assert replaceable_label(target, builders.surroundings()) is None

    @pytest.mark.parametrize(
        ("kind", "chosen"), [("network_policies", "a"), ("network_peers", "a"), ("disruption_budgets", "z")]
    )
    def test_the_choice_does_least_harm(self, kind: str, chosen: str) -> None:
        """Policies must still match, budgets must not."""
        labels: Labels = (("a", "1"), ("app", "web"), ("z", "2"))
        target = builders.target(selector=labels, pod_labels=labels)
        owner = SelectorOwner("some", "one", (("z", "2"),))
        around = replace(builders.surroundings(services=self.services("app")), **{kind: (owner,)})
        assert replaceable_label(target, builders.surroundings(services=self.services("app"))) == "a"
        assert replaceable_label(target, around) == chosen

    def test_leaving_anti_affinity_is_worth_the_choice(self) -> None:
        labels: Labels = (("a", "1"), ("app", "web"), ("z", "2"))
        term = SelectorOwner("podAntiAffinity", "hostname", (("z", "2"),))
        target = builders.target(selector=labels, pod_labels=labels, anti_affinity=(term,))
        assert replaceable_label(target, builders.surroundings(services=self.services("app"))) == "z"


class TestLabelsOfARoute:
    """Where weights lead to the arms, neither the target's selector nor any of its Services may match them."""

    LABELS: Labels = (("app", "web"), ("instance", "production"), ("tier", "front"))

    def replaced(self, *services: tuple[str, ...], **around: object) -> tuple[str, ...]:
        values = dict(self.LABELS)
        views = tuple(ServiceView(f"s{i}", tuple((k, values[k]) for k in keys)) for i, keys in enumerate(services))
        target = builders.target(selector=self.LABELS[:2], pod_labels=self.LABELS)
        made = replace(builders.surroundings(services=views), **around)  # type: ignore[arg-type]
        return replaced_labels(builders.spec(route=builders.ROUTE), target, made)

    def test_one_label_that_all_of_them_use_is_enough(self) -> None:
        assert self.replaced(("app",), ("app", "tier")) == ("app",)
        assert self.replaced(("instance", "tier")) == ("instance",)

    def test_as_many_as_it_takes(self) -> None:
        assert self.replaced(("tier",)) == ("app", "tier")
        assert self.replaced(("app",), ("instance",), ("tier",)) == ("app", "instance", "tier")

    def test_the_choice_does_least_harm(self) -> None:
        policy = SelectorOwner("NetworkPolicy", "one", (("app", "web"),))
        assert self.replaced(("app", "instance")) == ("app",)
        assert self.replaced(("app", "instance"), network_policies=(policy,)) == ("instance",)

    def test_a_target_without_match_labels_has_none(self) -> None:
        target = builders.target(selector=(), pod_labels=self.LABELS)
        assert replaced_labels(builders.spec(route=builders.ROUTE), target, builders.surroundings()) == ()

    @given(
        own=st.sets(st.sampled_from(sorted("abcde")), min_size=1),
        services=st.lists(st.sets(st.sampled_from(sorted("abcdefg")), min_size=1), max_size=4),
    )
    def test_nothing_that_selects_the_target_selects_an_arm(self, own: set[str], services: list[set[str]]) -> None:
        labels = tuple((key, "1") for key in "abcdefg")
        views = tuple(ServiceView(f"s{i}", tuple((k, "1") for k in sorted(s))) for i, s in enumerate(services))
        target = builders.target(selector=tuple((k, "1") for k in sorted(own)), pod_labels=labels)
        spec, around = builders.spec(route=builders.ROUTE), builders.surroundings(services=views)
        found = arm_labels(spec, target, around)
        for selector in (target.selector, *(view.selector for view in views)):
            assert any(found[key] != value for key, value in selector)
        changed = replaced_labels(spec, target, around)
        fewer = [{*changed} - {key} for key in changed]
        assert all(any(not {k for k, _ in s} & less for s in (target.selector, *(v.selector for v in views)))
                   for less in fewer)  # fmt: skip


class TestPlans:
    def plans(self, **changes: object) -> tuple[object, ...]:
        trial = replace(builders.trial(TrialPhase.DEPLOYING), **changes)  # type: ignore[arg-type]
        return plan_arms(builders.spec(), builders.target(), builders.surroundings(), trial)

    def test_canary_and_control_differ_in_name_and_resources_alone(self) -> None:
        canary, control = plan_arms(builders.spec(), builders.target(), builders.surroundings(), builders.trial())
        assert (canary.arm, control.arm) == (Arm.CANARY, Arm.CONTROL)
        assert (canary.name, control.name) == ("tt-0f0e0d0c-0-c", "tt-0f0e0d0c-0-b")
        assert canary.label_overrides == (("instance", "tt-0f0e0d0c-0-c"),)
        assert [s.request for s in canary.settings] == [D(1), GIB]
        assert [s.request for s in control.settings] == [D(2), 2 * GIB]
        assert canary.deadline == control.deadline == NOW + 500
        assert canary.selector != control.selector
        assert canary.replicas == control.replicas == 1

    def test_selectors_are_of_this_arm_alone(self) -> None:
        canary, _ = plan_arms(builders.spec(), builders.target(), builders.surroundings(), builders.trial())
        assert canary.selector == (("trimtab.dev/arm", "canary"), ("trimtab.dev/trial", "trial-0"))

    def test_the_same_trial_gives_the_same_plans(self) -> None:
        assert self.plans() == self.plans()

    def test_another_plan_has_another_digest(self) -> None:
        digests = {
            plan.spec_digest  # type: ignore[attr-defined]
            for changes in ({}, {"deadline": NOW + 501}, {"uid": "other"}, {"index": 8})
            for plan in self.plans(**changes)
        }
        assert len(digests) == 8

    def test_a_route_gives_the_arms_a_service_and_labels_of_their_own(self) -> None:
        canary, control = plan_arms(
            builders.spec(route=builders.ROUTE), builders.target(), builders.surroundings(), builders.trial()
        )
        assert (canary.backend, control.backend) == ("web", "web")
        assert canary.label_overrides == (("app", canary.name),)
        assert control.label_overrides == (("app", control.name),)
        elsewhere = replace(builders.ROUTE, backend="other")
        moved, _ = plan_arms(
            builders.spec(route=elsewhere), builders.target(), builders.surroundings(), builders.trial()
        )
        assert moved.spec_digest != canary.spec_digest

    def test_without_a_recorded_deadline_it_counts_from_the_trials_start(self) -> None:
        canary, _ = plan_arms(
            builders.spec(), builders.target(), builders.surroundings(), replace(builders.trial(), deadline=None)
        )
        assert canary.deadline == NOW - 40 + builders.spec().trial.deadline


class TestSettings:
    @pytest.mark.parametrize(
        ("apply", "limits", "now", "value", "expected"),
        [
            (Apply.REQUESTS, LimitsRule.RATIO, ("1", "2"), "0.5", ("0.5", "1")),
            (Apply.REQUESTS, LimitsRule.RATIO, ("1", None), "0.5", ("0.5", None)),
            (Apply.REQUESTS, LimitsRule.KEEP, ("1", "2"), "0.5", ("0.5", "2")),
            (Apply.REQUESTS, LimitsRule.KEEP, ("1", None), "0.5", ("0.5", None)),
            (Apply.REQUESTS, LimitsRule.EQUAL, ("1", "1"), "0.5", ("0.5", "0.5")),
            (Apply.REQUESTS, LimitsRule.NONE, ("1", None), "0.5", ("0.5", None)),
            (Apply.LIMITS, LimitsRule.RATIO, ("1", "2"), "1.5", ("1", "1.5")),
            (Apply.BOTH, LimitsRule.RATIO, ("1", "1"), "0.5", ("0.5", "0.5")),
        ],
    )
    def test_by_the_rules(
        self,
        apply: Apply,
        limits: LimitsRule,
        now: tuple[str, str | None],
        value: str,
        expected: tuple[str, str | None],
    ) -> None:
        (made,) = target_settings(spec_of(parameter(apply, limits)), target_of(*now), Assignment.of({"cpu": D(value)}))
        assert (made.request, made.limit) == tuple(None if x is None else D(x) for x in expected)

    def test_request_and_limit_may_be_tuned_apart(self) -> None:
        both = spec_of(parameter(Apply.LIMITS, name="most"), parameter(Apply.REQUESTS, name="least"))
        (made,) = target_settings(both, target_of("1", "2"), Assignment.of({"most": D(3), "least": D("0.5")}))
        assert (made.request, made.limit) == (D("0.5"), D(3))

    @given(value=st.decimals("0.1", "4", places=3), request=st.integers(1, 4000), extra=st.integers(0, 4000))
    def test_a_ratio_is_exact_in_a_manifest_and_never_below_the_request(
        self, value: Decimal, request: int, extra: int
    ) -> None:
        now = target_of(f"{request}e-3", f"{request + extra}e-3")
        (made,) = target_settings(spec_of(parameter(Apply.REQUESTS)), now, Assignment.of({"cpu": value}))
        assert made.limit is not None
        assert made.request == value
        assert made.limit >= made.request
        assert made.limit * 1000 == int(made.limit * 1000)


class TestBaseline:
    def test_is_what_the_target_has(self) -> None:
        assert baseline_assignment(builders.spec(), builders.target(), builders.surroundings()) == BASELINE

    def test_its_arm_is_the_target(self) -> None:
        settings = target_settings(builders.spec(), builders.target(), BASELINE)
        assert [(s.request, s.limit) for s in settings] == [(D(2), D(2)), (2 * GIB, 2 * GIB)]

    def failure(self, spec: ExperimentSpec, target: Target) -> BaselineError:
        with pytest.raises(BaselineError) as caught:
            baseline_assignment(spec, target, builders.surroundings())
        assert caught.value.remedy
        return caught.value

    def test_a_container_that_is_not_there(self) -> None:
        error = self.failure(spec_of(parameter(Apply.BOTH, container="api")), builders.target())
        assert error.reason == "ContainerNotFound"
        assert str(error) == (
            "spec.parameters[cpu].container.name: Deployment web has no container api; use one of its containers: web"
        )

    def test_a_missing_value(self) -> None:
        error = self.failure(spec_of(parameter(Apply.REQUESTS)), target_of(None, None))
        assert (error.reason, error.problem) == ("NoBaseline", "container web of Deployment web sets no cpu request")
        error = self.failure(spec_of(parameter(Apply.LIMITS)), target_of("1", None))
        assert error.problem == "container web of Deployment web sets no cpu limit"

    @pytest.mark.parametrize(("value", "remedy"), [("0.05", "set min to 50m"), ("8", "set max to 8")])
    def test_values_outside_the_range(self, value: str, remedy: str) -> None:
        error = self.failure(spec_of(parameter(Apply.BOTH)), target_of(value, value))
        assert error.reason == "BaselineOutsideSpace"
        assert error.field == "spec.parameters[cpu].quantity"
        assert "outside 100m to 4" in error.problem
        assert error.remedy.startswith(remedy)

    def test_between_two_steps_is_inside(self) -> None:
        target = target_of("1.234", "1.234")
        found = baseline_assignment(spec_of(parameter(Apply.BOTH)), target, builders.surroundings())
        assert found.number("cpu") == D("1.234")

    @pytest.mark.parametrize(
        ("apply", "limits", "now", "words"),
        [
            (Apply.BOTH, LimitsRule.RATIO, ("1", "2"), "cpu request 1 and limit 2, which apply: Both cannot express"),
            (Apply.BOTH, LimitsRule.RATIO, ("1", None), "request 1 and limit none"),
            (Apply.REQUESTS, LimitsRule.EQUAL, ("1", "2"), "apply: Requests with limits: Equal cannot express"),
            (Apply.REQUESTS, LimitsRule.NONE, ("1", "2"), "apply: Requests with limits: None cannot express"),
        ],
    )
    def test_rules_that_would_change_the_target_at_once(
        self, apply: Apply, limits: LimitsRule, now: tuple[str, str | None], words: str
    ) -> None:
        error = self.failure(spec_of(parameter(apply, limits)), target_of(*now))
        assert error.reason == "NoBaseline"
        assert words in error.problem

    def test_a_constraint_that_the_present_values_break(self) -> None:
        ranges = (parameter(Apply.REQUESTS, LimitsRule.KEEP, "low"), parameter(Apply.LIMITS, name="high"))
        space = SearchSpace(ranges, (Order("ordered", "high", "low"),))
        error = self.failure(builders.spec(space=space), target_of("1", "2"))
        assert error.field == "spec.parameterConstraints[ordered]"
        assert "low=1 high=2" in error.problem

    def test_values_of_a_program_have_none(self) -> None:
        plain = Parameter("n", PlainValue(), Numeric(D(1), D(9), D(1), Scale.LINEAR))
        assert self.failure(spec_of(plain), builders.target()).field == "spec.parameters[n]"


class TestCost:
    def test_counts_what_is_not_tuned_and_side_cars(self) -> None:
        proxy = Resources(D("0.5"), None, D(2**28), None)
        app = ContainerView("web", "i", Resources(D(2), D(2), GIB, GIB))
        target = builders.target(
            replicas=4,
            containers=(app, ContainerView("log", "i", Resources())),
            init_containers=(ContainerView("proxy", "i", proxy, sidecar=True), ContainerView("once", "i", proxy)),
        )
        spec = builders.spec(space=SearchSpace((parameter(Apply.REQUESTS),)), prices=Prices(1.0, 4.0))
        model = cost_model(spec, target)
        assert model.hourly(Assignment.of({"cpu": D(2)})) == pytest.approx(4 * (2 + 0.5 + 4 * 1.25))

    def test_limits_alone_cost_nothing(self) -> None:
        model = cost_model(spec_of(parameter(Apply.LIMITS)), target_of("1", "2"))
        assert model.hourly(Assignment.of({"cpu": D(1)})) == model.hourly(Assignment.of({"cpu": D(4)}))

    def test_the_cheaper_assignment_is_cheaper(self) -> None:
        model = cost_model(builders.spec(), builders.target())
        assert model.hourly(CHEAPER) == pytest.approx(model.hourly(BASELINE) / 2)


class TestAdmitted:
    def mismatch(self, cpu_request: str, cpu_limit: str | None, rule: LimitsRule = LimitsRule.RATIO) -> str:
        spec = spec_of(parameter(Apply.REQUESTS, rule))
        target = target_of("2", None if rule is LimitsRule.NONE else "2")
        trial = builders.trial()
        trial = replace(trial, suggestion=replace(trial.suggestion, assignment=Assignment.of({"cpu": D(1)})))
        canary, control = plan_arms(spec, target, builders.surroundings(), trial)
        got = Resources(D(cpu_request), None if cpu_limit is None else D(cpu_limit))
        pod = builders.pod("tt-0f0e0d0c-0-c-abc-12345", resources=(("web", got), ("proxy", Resources())))
        view = builders.arm(trial, Arm.CANARY, pods=(pod,))
        assert admitted_mismatch(control, view) == ""
        return admitted_mismatch(canary, view)

    def test_as_planned(self) -> None:
        assert self.mismatch("1", "1") == ""

    def test_a_webhook_changed_a_request(self) -> None:
        assert self.mismatch("1.5", "1") == (
            "pod tt-0f0e0d0c-0-c-abc-12345: the cpu request of container web was changed at admission from 1 to 1500m; "
            "exempt pods labelled trimtab.dev/arm from what changed it"
        )

    def test_a_default_took_the_place_of_a_removed_limit(self) -> None:
        assert "the cpu limit of container web was changed at admission from none to 4" in self.mismatch(
            "1", "4", LimitsRule.NONE
        )
        assert self.mismatch("1", None, LimitsRule.NONE) == ""
