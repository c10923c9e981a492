"""What is said of a route before any trial: one line each, with the field and what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.control import builders
from tests.unit.control.builders import ROUTE, UID

from trimtab.control.preflight import examine, recheck
from trimtab.control.preflight_findings import Findings, Problem
from trimtab.control.preflight_route import SeenRoute
from trimtab.domain.kube import AutoscalerView, ServiceView
from trimtab.domain.names import ANNOTATION_WEIGHTS_OK
from trimtab.domain.route import (
    MOST_WEIGHT,
    BackendView,
    Claim,
    RouteMissing,
    RouteView,
    RuleView,
    Standing,
)

WEB, OTHER = BackendView("web", 1, 80), BackendView("other", 3, 80)
PAGES = RuleView("pages", (WEB, OTHER))
GOOD = RouteView("web", "shop", (RuleView("api", (OTHER,)), PAGES))
CLAIM = Claim("t", "web-1", "theirs", "api", "pages", (0.05, 0.05), 1.0, 2.0, Standing.WRITTEN)


def found(route: RouteView | RouteMissing | None = GOOD, about: Any = None, **changes: Any) -> Findings:
    target = builders.target(replicas=20, ready_replicas=20)
    around = builders.surroundings(**changes)
    return recheck(about or builders.spec(route=ROUTE), target, around, SeenRoute(route, UID))


def only(findings: Findings) -> Problem:
    (problem,) = findings.problems
    return problem


def ruled(**changes: Any) -> RouteView:
    return replace(GOOD, rules=(replace(PAGES, **changes),))


def test_a_route_that_may_be_used() -> None:
    assert found().problems == ()
    target, around = builders.target(), builders.surroundings()
    assert examine(builders.spec(route=ROUTE), target, around, (), SeenRoute(GOOD, UID)).blocking == ()


def test_another_mode_asks_nothing_of_a_route() -> None:
    assert found(None, builders.spec()).problems == ()


@pytest.mark.parametrize(
    ("route", "reason", "words"),
    [
        (RouteMissing("web", "not found"), "RouteNotFound", "spec.traffic.httpRoute.name: there is no HTTPRoute web"),
        (replace(GOOD, rules=GOOD.rules[:1]), "RouteRuleNotFound", "HTTPRoute web has no such rule (api)"),
        (replace(GOOD, rules=(replace(PAGES, name=""),)), "RouteRuleNotFound", "none of its rules has a name"),
        (replace(GOOD, rules=(PAGES, PAGES)), "RouteRuleAmbiguous", "give each rule a name of its own"),
        (ruled(backends=(OTHER,)), "RouteBackendNotFound", "its backends: other"),
        (ruled(backends=(WEB, replace(WEB, port=81))), "RouteBackendNotFound", "has 2 such backends"),
        (ruled(backends=(replace(WEB, plain=False),)), "RouteBackendNotFound", "has no such backends"),
        (ruled(backends=(replace(WEB, weight=0), OTHER)), "RouteBackendIdle", "its weight is 0"),
        (ruled(backends=(WEB, replace(OTHER, weight=MOST_WEIGHT))), "RouteWeightsTooCoarse", "common factor"),
        (ruled(backends=(WEB, replace(OTHER, name="tt-0f0e0d0c-3-c"))), "RouteNotClean", "tt-0f0e0d0c-3-c"),
        (ruled(backends=(WEB, *(replace(OTHER, name=f"o{i}") for i in range(14)))), "RouteFull", "at most 16"),
        (ruled(filters=("RequestMirror",)), "RouteFilterUnsupported", "RequestMirror copies requests"),
        (ruled(filters=("RequestRedirect",)), "RouteFilterUnsupported", "RequestRedirect answers by itself"),
        (replace(GOOD, accepted=False), "RouteNotAccepted", "no Gateway has accepted it"),
        (replace(GOOD, claim=CLAIM), "RouteInUse", "trial web-1 of Experiment api"),
        (replace(GOOD, claim_problem="its annotation is broken"), "RouteNotClean", "its annotation is broken"),
        (replace(GOOD, managed_by="Argo CD application shop"), "RouteGitOpsOwned", ANNOTATION_WEIGHTS_OK),
    ],
)
def test_what_keeps_trials_from_starting(route: RouteView | RouteMissing, reason: str, words: str) -> None:
    problem = only(found(route))
    assert (problem.reason, problem.blocking) == (reason, True)
    assert words in problem.message
    assert problem.remedy
    assert problem.waits == (reason == "RouteInUse")


def test_a_tool_that_leaves_weights_alone_is_no_problem() -> None:
    assert found(replace(GOOD, managed_by="Flux", weights_ok=True)).problems == ()


def test_filters_that_change_nothing_of_the_division_are_fine() -> None:
    assert found(ruled(filters=("RequestHeaderModifier", "URLRewrite"))).problems == ()


def test_while_it_carries_our_weights_the_trial_itself_watches_it() -> None:
    written = ruled(backends=(replace(WEB, weight=900), replace(WEB, name="tt-0f0e0d0c-3-c", weight=50)))
    assert found(replace(written, claim=replace(CLAIM, experiment_uid=UID))).problems == ()


def test_the_backend_must_be_the_targets() -> None:
    problem = only(found(services=(ServiceView("pages", (("app", "web"),)),)))
    assert problem.reason == "BackendNotTarget"
    assert "(pages)" in problem.message


class TestShare:
    def spec(self, share: float, **changes: Any) -> Any:
        return builders.spec(route=replace(ROUTE, share=share), **changes)

    def test_both_arms_count(self) -> None:
        problem = only(found(about=self.spec(0.06, canary=replace(builders.spec().canary, replicas=2))))
        assert (problem.reason, problem.field) == ("ShareTooLarge", "spec.traffic.httpRoute.canaryPercent")
        assert "take 12 %" in problem.message
        assert problem.remedy == "lower canaryPercent to 5, or set spec.canary.maxSharePercent to 12"

    def test_an_autoscaler_must_not_notice(self) -> None:
        scaler = AutoscalerView("web", "Deployment", "web", 0.1)
        problem = only(found(about=self.spec(0.05), autoscalers=(scaler,)))
        assert problem.reason == "AutoscalerDisturbed"
        assert found(about=self.spec(0.04), autoscalers=(scaler,)).problems == ()

    def test_an_arm_of_too_few_pods_would_be_overloaded(self) -> None:
        target = builders.target(replicas=60, ready_replicas=60)
        problem = only(recheck(self.spec(0.05), target, builders.surroundings(), SeenRoute(GOOD, UID)))
        assert (problem.reason, problem.blocking) == ("ArmOverloaded", True)
        assert "3.3 times" in problem.message
        assert "spec.canary.replicas to 4" in problem.remedy

    def test_an_arm_of_too_many_learns_little(self) -> None:
        canary = replace(builders.spec().canary, replicas=4)
        problem = only(found(about=self.spec(0.05, canary=canary)))
        assert (problem.reason, problem.blocking) == ("ArmUnderloaded", False)
        assert "spec.canary.replicas to 2" in problem.remedy
