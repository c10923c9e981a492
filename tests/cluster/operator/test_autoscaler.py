"""Whole trials of an autoscaler's target: the real HPA controller scales both arms by the program's metrics, and the
target's own autoscaler does not notice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.autoscaled import (
    AUTOSCALERS,
    FASTER,
    active,
    applied,
    as_before,
    autoscaler,
    sections,
    taken_away,
)
from tests.cluster.operator.support import CANARY, NAME, experiment

from controlplane import wait_for
from stack import Place, Stack
from stack.place import Obj

CHART_VALUES = {"traffic": {"httpRoute": True}}
METRICS_API = True
TARGET_REPLICAS = 12


@pytest.fixture
def scaled(place: Place) -> Iterator[Obj]:
    """The target's autoscaler as its team applied it."""
    yield applied(place.client, place.namespace)
    taken_away(place.client, place.namespace)


def tuning(**spec: Any) -> Obj:
    given = {**sections(), **spec}
    made = experiment(**{"verification": {"duration": "30s", "replicates": 0}, **given})
    made["spec"]["trial"] = {"warmUp": "8s", "duration": "30s", "deadline": "240s", **spec.get("trial", {})}
    made["spec"]["parameters"] = given["parameters"]
    return made


def arms(place: Place) -> dict[str, Obj]:
    """The arms' autoscalers by arm."""
    found = place.client.list(AUTOSCALERS, "HorizontalPodAutoscaler", place.namespace)
    return {m["metadata"]["labels"]["trimtab.dev/arm"]: m for m in found if m["metadata"]["name"] != "web"}


def test_arms_scale_and_the_target_does_not_notice(place: Place, scaled: Obj) -> None:
    place.create(tuning(search={"designer": "Sobol"}, stopping={"maxTrials": 3}))
    seen: dict[str, list[tuple[int, int]]] = {}

    def over() -> bool:
        """Until it is over, watch that nothing happens to the target."""
        production = autoscaler(place.client, place.namespace)
        assert active(production), production["status"]
        assert production["status"]["desiredReplicas"] == TARGET_REPLICAS, production["status"]
        assert place.target()["spec"]["replicas"] == TARGET_REPLICAS
        live = arms(place)
        if set(live) == {"canary", "control"}:
            (metric,) = live["canary"]["spec"]["metrics"]
            goal = str(metric["resource"]["target"]["averageUtilization"])
            counts = [int((live[a].get("status") or {}).get("currentReplicas", 0)) for a in ("canary", "control")]
            seen.setdefault(goal, []).append((counts[0], counts[1]))
            assert (live["canary"]["spec"]["minReplicas"], live["canary"]["spec"]["maxReplicas"]) == (2, 8)
        return place.status(NAME).get("phase") == "Completed"

    wait_for(over, "the experiment to complete", seconds=400)
    faster = seen[str(FASTER)]
    assert max(canary for canary, _ in faster) >= 4, faster
    assert max(control for _, control in faster) <= 3, faster
    place.wait_clean()
    as_before(place.client, place.namespace, scaled)
    trial = next(t for t in place.trials(NAME) if t["spec"]["assignment"][0]["value"] == str(FASTER))
    loads = {load["arm"]: load for load in trial["status"]["load"]}
    assert loads["canary"]["pods"] > loads["control"]["pods"] > 1.5
    requests = {arm: load["rpsPerPod"] * load["pods"] for arm, load in loads.items() if arm != "target"}
    assert requests["canary"] == pytest.approx(requests["control"], rel=0.15)
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
    production = autoscaler(place.client, place.namespace)
    assert active(production)
    assert production["status"]["desiredReplicas"] == TARGET_REPLICAS
    place.delete(NAME)
    place.wait_deleted(NAME)
    as_before(place.client, place.namespace, scaled)
