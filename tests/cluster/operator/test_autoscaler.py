"""Whole trials of an autoscaler's target: the real HPA controller scales both arms by the program's metrics, and the
target's own autoscaler does not notice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.operator.support import CANARY, NAME, experiment

from controlplane import wait_for
from stack import Place, Stack
from stack.place import Obj

CHART_VALUES = {"traffic": {"httpRoute": True}}
METRICS_API = True
TARGET_REPLICAS = 12
SHARE = 0.2
ROUTES, AUTOSCALERS, TEAM = "gateway.networking.k8s.io/v1", "autoscaling/v2", "team"
UTILIZATION = 20  # percent: a pod uses 0.4 cores of its two
FASTER = 14  # what a canary with pods at less use has


def manifests(namespace: str) -> tuple[Obj, Obj]:
    """The route, and the autoscaler: both arms' share is within its tolerance, and trials may be short."""
    route = {
        "apiVersion": ROUTES,
        "kind": "HTTPRoute",
        "metadata": {"name": "shop", "namespace": namespace},
        "spec": {
            "parentRefs": [{"name": "gateway"}],
            "rules": [{"name": "pages", "backendRefs": [{"name": "web", "port": 80}]}],
        },
    }
    metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": UTILIZATION}}
    autoscaler = {
        "apiVersion": AUTOSCALERS,
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": namespace, "labels": {"team": "web"}, "annotations": {"page": "wiki"}},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 6,
            "maxReplicas": 36,
            "metrics": [{"type": "Resource", "resource": metric}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5, "tolerance": "0.6"}},
        },
    }
    return route, autoscaler


@pytest.fixture
def scaled(place: Place) -> Iterator[Obj]:
    """The target's autoscaler as its team applied it, once it scales by what pods use, and the route is accepted."""
    for manifest in manifests(place.namespace):
        place.client.server_side_apply(manifest, TEAM)
    wait_for(lambda: (route(place).get("status") or {}).get("parents"), "the Gateway to accept the route")
    wait_for(lambda: active(autoscaler(place)), "the HPA controller to find metrics", seconds=120)
    yield autoscaler(place)
    place.client.delete(ROUTES, "HTTPRoute", "shop", place.namespace)
    place.client.delete(AUTOSCALERS, "HorizontalPodAutoscaler", "web", place.namespace)


def route(place: Place) -> Obj:
    found: Obj = place.client.get(ROUTES, "HTTPRoute", "shop", place.namespace)
    return found


def autoscaler(place: Place, name: str = "web") -> Obj:
    found: Obj = place.client.get(AUTOSCALERS, "HorizontalPodAutoscaler", name, place.namespace)
    return found


def active(found: Obj) -> bool:
    """It scales by its metrics: none is missing, and nobody else counts its pods."""
    conditions = {c["type"]: c["status"] for c in (found.get("status") or {}).get("conditions") or ()}
    return conditions.get("ScalingActive") == "True"


def tuning(**spec: Any) -> Obj:
    chosen = {"name": "shop", "ruleName": "pages", "backendService": "web", "canaryPercent": str(int(100 * SHARE))}
    target = {
        "name": "busy",
        "autoscaler": {"field": "CPUUtilization"},
        "integer": {"min": FASTER, "max": UTILIZATION, "step": UTILIZATION - FASTER},
        "maxDecreasePercent": "50",
    }
    given = {"parameters": [target], "traffic": {"mode": "HTTPRoute", "httpRoute": chosen}, **spec}
    made = experiment(**{"verification": {"duration": "30s", "replicates": 0}, **given})
    made["spec"]["trial"] = {"warmUp": "8s", "duration": "30s", "deadline": "240s", **spec.get("trial", {})}
    return made


def as_before(place: Place, before: Obj) -> None:
    """Route and autoscaler are what they were, and their team's unchanged manifests change nothing and meet nobody."""
    now = autoscaler(place)
    for part in ("labels", "annotations", "uid"):
        assert now["metadata"].get(part) == before["metadata"].get(part)
    assert now["spec"] == before["spec"]
    for manifest, look in zip(manifests(place.namespace), (route, autoscaler), strict=True):
        old = look(place)
        place.client.server_side_apply(manifest, TEAM)
        new = look(place)
        assert new["spec"] == old["spec"]
        assert {e["manager"] for e in new["metadata"]["managedFields"]} <= {
            TEAM,
            "kube-controller-manager",
            "trimtab-playground",
        }


def arms(place: Place) -> dict[str, Obj]:
    """The arms' autoscalers by arm."""
    found = place.client.list(AUTOSCALERS, "HorizontalPodAutoscaler", place.namespace)
    return {m["metadata"]["labels"]["trimtab.dev/arm"]: m for m in found if m["metadata"]["name"] != "web"}


def pods(place: Place, name: str) -> int:
    return int(place.client.get("apps/v1", "Deployment", name, place.namespace)["spec"]["replicas"])


def test_arms_scale_and_the_target_does_not_notice(place: Place, scaled: Obj) -> None:
    place.create(tuning(search={"designer": "Sobol"}, stopping={"maxTrials": 3}))
    seen: dict[str, list[tuple[int, int]]] = {}

    def over() -> bool:
        """Until it is over, watch that nothing happens to the target."""
        production = autoscaler(place)
        assert active(production), production["status"]
        assert production["status"]["desiredReplicas"] == TARGET_REPLICAS, production["status"]
        assert pods(place, "web") == TARGET_REPLICAS
        live = arms(place)
        if set(live) == {"canary", "control"}:
            (metric,) = live["canary"]["spec"]["metrics"]
            goal = str(metric["resource"]["target"]["averageUtilization"])
            counts = tuple(int((live[a].get("status") or {}).get("currentReplicas", 0)) for a in ("canary", "control"))
            seen.setdefault(goal, []).append((counts[0], counts[1]))
            assert (live["canary"]["spec"]["minReplicas"], live["canary"]["spec"]["maxReplicas"]) == (2, 8)
        return place.status(NAME).get("phase") == "Completed"

    wait_for(over, "the experiment to complete", seconds=400)
    faster = seen[str(FASTER)]
    assert max(canary for canary, _ in faster) >= 4, faster
    assert max(control for _, control in faster) <= 3, faster
    place.wait_clean()
    as_before(place, scaled)
    trial = next(t for t in place.trials(NAME) if t["spec"]["assignment"][0]["value"] == str(FASTER))
    loads = {load["arm"]: load for load in trial["status"]["load"]}
    assert loads["canary"]["pods"] > loads["control"]["pods"] > 1.5
    assert loads["canary"]["rpsPerPod"] * loads["canary"]["pods"] == pytest.approx(
        loads["control"]["rpsPerPod"] * loads["control"]["pods"], rel=0.15
    )
    assert place.status(NAME)["target"]["autoscaler"]["name"] == "web"


def test_a_withdrawal_leaves_the_target_with_all_of_its_load_and_its_pods(
    stack: Stack, place: Place, scaled: Obj
) -> None:
    place.create(tuning(trial={"duration": "120s"}, stopping={"maxTrials": 1}))
    trial = place.wait_live(NAME, {"Measuring"})
    stack.playground.fault(name="slow", kind="SlowDependency", selector=CANARY, namespace=place.namespace, factor=10)
    outcome = place.wait_outcome(trial, seconds=90)
    stack.playground.clear("slow")
    assert outcome["phase"] == "Infeasible", outcome
    place.annotate(NAME, "rollback", "that is enough")
    place.wait_no_arms()
    place.wait_clean_but_locked()
    production = autoscaler(place)
    assert active(production)
    assert production["status"]["desiredReplicas"] == TARGET_REPLICAS
    place.delete(NAME)
    place.wait_deleted(NAME)
    as_before(place, scaled)
