"""Whole trials by the weights of an HTTPRoute, under the chart's rights, with a program that divides load by them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.operator.support import NAME, experiment

from controlplane import wait_for
from controlplane.client import Conflict
from stack import Place
from stack.place import Obj
from trimtab.domain.names import ANNOTATION_ROUTE

CHART_VALUES = {"traffic": {"httpRoute": True}}
API, TEAM = "gateway.networking.k8s.io/v1", "team"
SHARE = 0.16  # of four pods; with one pod in each arm all of them get about the same


def manifest(namespace: str) -> Obj:
    return {
        "apiVersion": API,
        "kind": "HTTPRoute",
        "metadata": {"name": "shop", "namespace": namespace, "labels": {"team": "web"}},
        "spec": {
            "parentRefs": [{"name": "gateway"}],
            "rules": [{"name": "pages", "backendRefs": [{"name": "web", "port": 80}]}],
        },
    }


@pytest.fixture
def routed(place: Place) -> Iterator[Obj]:
    """The route as its team applied it, once its Gateway has accepted it."""
    place.client.server_side_apply(manifest(place.namespace), TEAM)
    wait_for(lambda: (route(place).get("status") or {}).get("parents"), "the Gateway to accept the route")
    yield route(place)
    place.client.delete(API, "HTTPRoute", "shop", place.namespace)


def route(place: Place) -> Obj:
    found: Obj = place.client.get(API, "HTTPRoute", "shop", place.namespace)
    return found


def weights(place: Place) -> dict[str, int]:
    """Of the rule, by backend."""
    (rule,) = route(place)["spec"]["rules"]
    return {r["name"]: r["weight"] for r in rule["backendRefs"]}


def by_weights(**spec: Any) -> Obj:
    chosen = {"name": "shop", "ruleName": "pages", "backendService": "web", "canaryPercent": str(int(100 * SHARE))}
    traffic = {"mode": "HTTPRoute", "httpRoute": chosen}
    return experiment(traffic=traffic, stopping={"maxTrials": 1}, verification={"replicates": 0}, **spec)


def as_before(place: Place, before: Obj) -> None:
    """Equal in all that lasts, and its team's unchanged manifest changes nothing and meets nobody."""
    now = route(place)
    for part in ("labels", "annotations"):
        assert now["metadata"].get(part) == before["metadata"].get(part)
    assert now["spec"] == before["spec"]
    place.client.server_side_apply(manifest(place.namespace), TEAM)
    assert route(place)["metadata"]["resourceVersion"] == now["metadata"]["resourceVersion"]


def test_a_trial_by_weights(place: Place, routed: Obj) -> None:
    place.create(by_weights(trial={"warmUp": "4s", "duration": "20s", "deadline": "120s"}))
    trial = place.wait_live(NAME, {"Measuring"})
    divided = weights(place)
    arms = {name: weight / sum(divided.values()) for name, weight in divided.items() if name.startswith("tt-")}
    assert sorted(arms.values()) == [SHARE, SHARE]
    services = [s["metadata"]["name"] for s in place.client.list("v1", "Service", place.namespace)]
    assert sorted(services) == sorted(divided)
    outcome = place.wait_outcome(trial, seconds=120)
    assert outcome["phase"] == "Succeeded", outcome
    place.wait_phase(NAME, "Completed")
    place.wait_clean()
    as_before(place, routed)
    loads = {load["arm"]: load["rpsPerPod"] for load in place.trials(NAME)[0]["status"]["load"]}
    assert loads["canary"] == pytest.approx(loads["control"], rel=0.2)
    everything = loads["canary"] + loads["control"] + 4 * loads["target"]
    assert loads["canary"] / everything == pytest.approx(SHARE, rel=0.2)


def test_a_rollback_frees_the_route_first(place: Place, routed: Obj) -> None:
    place.create(by_weights())
    trial = place.wait_live(NAME, {"Measuring"})
    place.annotate(NAME, "rollback", "bob: odd latency")
    outcome = place.wait_outcome(trial)
    assert (outcome["phase"], outcome["reason"]) == ("Aborted", "OnCallRollback"), outcome
    place.wait_no_arms()
    as_before(place, routed)


def test_an_edit_by_somebody_else_stays(place: Place, routed: Obj) -> None:
    place.create(by_weights())
    trial = place.wait_live(NAME, {"Measuring"})

    def edited() -> bool:
        live = route(place)
        live["spec"]["rules"][0]["timeouts"] = {"request": "10s"}
        place.client.replace(live)
        return True

    wait_for(edited, "the route to be edited", ignore=(Conflict,))
    outcome = place.wait_outcome(trial)
    assert (outcome["phase"], outcome["reason"]) == ("Stale", "RouteEdited"), outcome
    place.annotate(NAME, "rollback", "no more trials")
    place.wait_no_arms()
    now = route(place)
    assert weights(place) == {"web": 1}
    assert now["spec"]["rules"][0]["timeouts"] == {"request": "10s"}
    assert ANNOTATION_ROUTE not in (now["metadata"].get("annotations") or {})


def test_a_route_that_is_not_there_is_said(place: Place) -> None:
    place.create(by_weights())
    words = place.wait_condition(NAME, "Stalled", reason="RouteNotFound")
    assert "spec.traffic.httpRoute.name: there is no HTTPRoute shop" in words
    place.wait_clean_but_locked()


def test_a_route_of_a_gitops_tool_is_refused_with_the_remedy(place: Place, routed: Obj) -> None:
    theirs = copy.deepcopy(manifest(place.namespace))
    theirs["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": "shop:gateway/HTTPRoute:shop/shop"}
    place.client.server_side_apply(theirs, TEAM)
    place.create(by_weights())
    words = place.wait_condition(NAME, "Stalled", reason="RouteGitOpsOwned")
    assert "trimtab.dev/weights-ok" in words
    assert weights(place) == {"web": 1}
