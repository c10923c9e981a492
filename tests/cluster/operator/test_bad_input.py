"""What a person may get wrong in an Experiment: a condition says what and how to repair it, and nothing is started."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.cluster.operator.support import ERRORS, NAME, P95, SLOW, experiment

from controlplane import wait_for
from stack import Place, Stack


@dataclass(frozen=True)
class Bad:
    """A mistake, the condition's reason, and words of the message: what is wrong, and the remedy."""

    name: str
    reason: str
    words: tuple[str, ...]
    spec: dict[str, Any] = field(default_factory=dict)


def sli(**query: Any) -> dict[str, Any]:
    """An Experiment bounded by this SLI alone."""
    (kind,) = query
    bound = {"name": "bound", "sli": "custom", "max": "0.05"}
    return {"slis": [{"name": "custom", kind: query[kind]}], "constraints": [bound]}


BAD = (
    Bad(
        "unknown target",
        "TargetNotFound",
        ("Deployment shop does not exist", "create it or correct the name"),
        {"targetRef": {"name": "shop"}},
    ),
    Bad(
        "failing query",
        "QueryFailed",
        ("spec.slis[custom]", "correct the query"),
        sli(value={"query": 'label_replace(up{$selector}, "a", "$1", "b", "(")', "unit": "1"}),
    ),
    Bad(
        "metric that does not exist",
        "NoData",
        ("spec.slis[custom]", "returns nothing", "check the metric's name"),
        sli(value={"query": "avg(no_such_metric{$selector})", "unit": "1"}),
    ),
    Bad(
        "ratio of a metric that does not exist",
        "NoData",
        ("spec.slis[custom]", "no_such_total", "check the metric's name"),
        sli(ratio={"bad": 'no_such_total{$selector,code="500"}', "total": "no_such_total{$selector}"}),
    ),
    Bad(
        "query with several series",
        "Ambiguous",
        ("spec.slis[custom]", "one is needed", "aggregate it"),
        sli(value={"query": "up{$selector}", "unit": "1"}),
    ),
    Bad(
        "threshold between two buckets",
        "NoBucketBound",
        ("threshold 0.12 is no bucket bound", "use 0.1 or 0.15"),
        {"slis": [SLOW | {"latency": SLOW["latency"] | {"threshold": "0.12"}}, ERRORS], "constraints": [P95]},
    ),
    Bad(
        "field of a later version",
        "NotYetSupported",
        ("spec.promotion.strategy", "use Export"),
        {"promotion": {"strategy": "Apply"}},
    ),
)


@pytest.mark.parametrize("bad", BAD, ids=lambda b: b.name.replace(" ", "-"))
def test_it_is_refused_with_a_reason_and_a_remedy(place: Place, bad: Bad) -> None:
    before = place.target()
    place.create(experiment(**bad.spec))
    message = place.wait_condition(NAME, "Stalled", reason=bad.reason)
    assert all(word in message for word in bad.words), message
    assert place.condition(NAME, "Ready").get("status") == "False"
    assert message in place.status(NAME)["message"]
    assert place.wait_event(bad.reason)["type"] == "Warning"
    _nothing_began(place, before)
    place.delete(NAME)
    place.wait_deleted(NAME)


def test_a_target_that_is_a_statefulset(place: Place) -> None:
    labels = {"app.kubernetes.io/name": "ledger"}
    container = {"name": "web", "image": "ledger:1"}
    spec = {
        "replicas": 0,
        "serviceName": "ledger",
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    metadata = {"name": "ledger", "namespace": place.namespace}
    place.client.create({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec})
    before = place.target()
    place.create(experiment(targetRef={"name": "ledger"}))
    message = place.wait_condition(NAME, "Stalled", reason="UnsupportedKind")
    assert "ledger is a StatefulSet" in message
    assert "only Deployments can be tuned" in message
    _nothing_began(place, before)
    place.delete(NAME)
    place.wait_deleted(NAME)


def test_a_target_that_no_service_selects(place: Place) -> None:
    """Arms would get no traffic."""
    _let_no_traffic_through(place)
    before = place.target()
    place.create(experiment())
    message = place.wait_condition(NAME, "Stalled", reason="NoService")
    assert "arms would get no traffic" in message
    assert "create a Service, or correct its selector" in message
    _nothing_began(place, before)
    place.delete(NAME)
    place.wait_deleted(NAME)


def test_a_target_without_traffic(stack: Stack, place: Place) -> None:
    """A Service selects its pods, but nobody sends a request."""
    metadata = {"name": "idle", "namespace": place.namespace}
    spec = {"selector": {"app.kubernetes.io/name": "web"}, "ports": [{"port": 80}]}
    place.client.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    _let_no_traffic_through(place)
    rate = f'sum(rate(http_requests_total{{namespace="{place.namespace}"}}[10s]))'
    wait_for(lambda: stack.prometheus.value(rate) == 0, "the last request to be ten seconds ago")
    before = place.target()
    place.create(experiment())
    message = place.wait_condition(NAME, "Stalled", reason="NoTraffic")
    assert "the target's pods got no request in the last 10 s" in message
    assert "send traffic to it; Trimtab never makes any" in message
    _nothing_began(place, before)
    place.delete(NAME)
    place.wait_deleted(NAME)


def test_a_mistake_can_be_repaired_without_a_new_experiment(place: Place) -> None:
    """The first trial freezes SLIs; before it they can be corrected, and the Experiment goes on by itself."""
    bad = sli(value={"query": "avg(no_such_metric{$selector})", "unit": "1"})
    place.create(experiment(**bad))
    place.wait_condition(NAME, "Stalled", reason="NoData")
    place.patch(NAME, {"spec": {"slis": [SLOW, ERRORS], "constraints": [P95]}})
    place.wait_condition(NAME, "Stalled", "False", seconds=45)
    place.wait_live(NAME)
    place.delete(NAME)
    place.wait_deleted(NAME)


def _let_no_traffic_through(place: Place) -> None:
    place.spoiled = True
    service = {"spec": {"selector": {"app.kubernetes.io/part-of": "nothing"}}}
    place.client.patch("v1", "Service", "web", service, place.namespace)
    wait_for(lambda: not _endpoints(place, "web"), "the Service to have no endpoint")


def _endpoints(place: Place, service: str) -> list[str]:
    labels = f"kubernetes.io/service-name={service}"
    slices = place.client.list("discovery.k8s.io/v1", "EndpointSlice", place.namespace, labels=labels)
    return [address for one in slices for end in one.get("endpoints") or () for address in end["addresses"]]


def _nothing_began(place: Place, before: dict[str, Any]) -> None:
    assert place.trials(NAME) == []
    assert place.arms() == []
    assert not place.experiment(NAME)["metadata"].get("finalizers")
    after = place.target()
    assert after["spec"] == before["spec"]
    assert after["metadata"].get("annotations") == before["metadata"].get("annotations")
