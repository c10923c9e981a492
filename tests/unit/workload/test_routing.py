"""Weights of routes become parts of the load; nothing is lost or doubled on the way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.paths import EXAMPLES
from trimtab.domain.names import LABEL_ARM
from trimtab.workload import WorkloadSpec, load_workload
from trimtab.workload.podspec import workload_of
from trimtab.workload.routing import NOWHERE, accepted, divide, parts_of

WEB = load_workload(EXAMPLES / "web-service" / "workload.yaml")
GATEWAY = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gateway"}


def ref(name: str, weight: int = 1, **more: Any) -> dict[str, Any]:
    return {"group": "", "kind": "Service", "name": name, "port": 80, "weight": weight, **more}


def route(*rules: list[dict[str, Any]], parents: int = 1, **metadata: Any) -> dict[str, Any]:
    spec = {"parentRefs": [GATEWAY] * parents, "rules": [{"backendRefs": refs} for refs in rules]}
    return {"metadata": {"name": "web", "generation": 3, **metadata}, "spec": spec}


def test_without_a_route_everything_goes_to_the_service() -> None:
    elsewhere = route([ref("other")])
    for routes in ([], [elsewhere], [route([ref("web", 5), ref("other", 5)], parents=0)]):
        assert parts_of(routes, "web") == {"web": 1.0}


def test_a_rule_divides_by_weight() -> None:
    rule = [ref("web", 900), ref("canary", 50), ref("control", 50)]
    assert parts_of([route([ref("other")], rule)], "web") == {"web": 0.9, "canary": 0.05, "control": 0.05}


def test_a_weight_left_out_is_one_and_one_service_may_be_named_twice() -> None:
    short = {"name": "web", "port": 80}
    assert parts_of([route([short, ref("web", 2), ref("b", 1)])], "web") == {"web": 0.75, "b": 0.25}


def test_rules_of_one_service_share_its_load_evenly() -> None:
    routes = [route([ref("web", 1), ref("a", 1)]), route([ref("web", 1)])]
    assert parts_of(routes, "web") == {"web": 0.75, "a": 0.25}


@pytest.mark.parametrize("bad", [ref("x", namespace="other"), ref("x", kind="Import", group="multicluster.x-k8s.io")])
def test_what_is_no_service_here_gets_its_part_too(bad: dict[str, Any]) -> None:
    assert parts_of([route([ref("web", 3), bad])], "web") == {"web": 0.75, NOWHERE: 0.25}


def test_weights_of_zero_send_everything_nowhere() -> None:
    parts = parts_of([route([ref("web", 0), ref("a", 0)])], "web")
    assert parts == {NOWHERE: 1.0}
    assert divide(parts, {"web": ["one"]}).lost == 1.0


def test_a_backend_without_endpoints_loses_its_part() -> None:
    division = divide({"web": 0.8, "canary": 0.1, "gone": 0.1}, {"web": "abcd", "canary": ""})
    assert division.each == {"web": 0.2}
    assert division.lost == pytest.approx(0.2)


@given(
    st.lists(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 10**6)), max_size=6), max_size=4),
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 30).map(range), max_size=4),
)
def test_every_request_goes_to_one_place(rules: list[list[tuple[str, int]]], endpoints: dict[str, range]) -> None:
    parts = parts_of([route(*([ref(*each) for each in rule] for rule in rules))], "a")
    division = divide(parts, endpoints)
    arrived = sum(each * len(endpoints[name]) for name, each in division.each.items())
    assert arrived + division.lost == pytest.approx(1.0)


def test_the_gateway_accepts_and_says_what_it_cannot_find() -> None:
    made = route([ref("web", 9), ref("canary", 1)])
    first = accepted(made, ["web"], "2026-01-01T00:00:00Z")
    (parent,) = first["parents"]
    assert parent["parentRef"] == GATEWAY
    found = {c["type"]: c for c in parent["conditions"]}
    assert (found["Accepted"]["status"], found["Accepted"]["observedGeneration"]) == ("True", 3)
    resolved = found["ResolvedRefs"]
    assert (resolved["status"], resolved["reason"]) == ("False", "BackendNotFound")
    assert resolved["message"] == "no Service canary"
    later = accepted({**made, "status": first}, ["web", "canary"], "2026-01-01T00:01:00Z")
    times = [c["lastTransitionTime"] for c in later["parents"][0]["conditions"]]
    assert times == ["2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"]
    assert accepted({**made, "status": later}, ["web", "canary"], "2026-01-01T00:02:00Z") == later


def pod(*containers: str, **labels: str) -> dict[str, Any]:
    named = {key.replace("__", "/").replace("_", "."): value for key, value in labels.items()}
    return {"metadata": {"labels": named}, "spec": {"containers": [{"name": name} for name in containers]}}


def other(name: str, **selector: str) -> WorkloadSpec:
    return WEB.model_copy(update={"name": name, "target": WEB.target.model_copy(update={"selector": selector})})


def test_an_arm_behind_a_route_plays_the_workload_whose_labels_it_has_kept() -> None:
    first, second = other("first", app="first", tier="x"), other("second", app="second", tier="x")
    container, arm = WEB.target.container, {LABEL_ARM: "canary"}
    both = (first, second)

    def played(**labels: str) -> str | None:
        made = {"metadata": {"labels": labels | arm}, "spec": {"containers": [{"name": container}]}}
        found = workload_of(made, both)
        return found.name if found is not None else None

    assert played(app="second", tier="tt-1-0-c") == "second"
    assert played(app="tt-1-0-c", tier="x") == "first"  # both fit as well: the first
    assert workload_of(pod(container, app="second", tier="other"), both) is None  # no arm: somebody else's pod
    assert workload_of(pod("sidecar", app="second", tier="x"), both) is None
