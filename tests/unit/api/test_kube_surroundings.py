"""Of everything in a namespace, what concerns the target and nothing else."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.unit.api.kube_manifests import Obj, arguments, deployment, endpoint_slice, named, service

from trimtab.api.kube import scaled_workloads, surroundings_from, target_from
from trimtab.domain.space import Resource

TARGET = target_from(deployment())
REF = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
ARM_POD = "tt-0f0e0d0c-7-c-6d4cf56db6-abcde"


def test_services_that_select_the_pods() -> None:
    others = [service("other", {"app.kubernetes.io/name": "api"}), named("external"), named("none", selector={})]
    found = surroundings_from(TARGET, **arguments(services=[service(), *others]))
    assert [s.name for s in found.services] == ["web"]


def test_ready_pods_behind_the_smallest_service_without_arms() -> None:
    small = endpoint_slice("web", ("web-a", {"ready": True}), ("web-b", {"ready": False}), (ARM_POD, {"ready": True}))
    large = endpoint_slice("all", *((f"x-{i}", {"ready": True}) for i in range(5)))
    foreign = endpoint_slice("other", ("o", {"ready": True}))
    services = [service(), service("all", {"tier": "front"})]
    found = surroundings_from(TARGET, **arguments(services=services, endpoint_slices=[small, large, foreign]))
    assert found.ready_service_endpoints == 1


def test_autoscalers_of_the_target_with_their_scale_down_tolerance() -> None:
    behavior = {"scaleDown": {"tolerance": "50m"}, "scaleUp": {"tolerance": "0.3"}}
    scalers = [
        named("mine", scaleTargetRef=REF, behavior=behavior),
        named("plain", scaleTargetRef=REF),
        named("other", scaleTargetRef={**REF, "name": "api"}),
        named("set", scaleTargetRef={**REF, "kind": "StatefulSet"}),
    ]
    found = surroundings_from(TARGET, **arguments(autoscalers=scalers))
    assert [(a.name, a.tolerance) for a in found.autoscalers] == [("mine", 0.05), ("plain", 0.1)]


def test_the_other_autoscalers_and_whose_pods_they_count() -> None:
    scalers = [
        named("mine", scaleTargetRef=REF),
        named("other", scaleTargetRef={**REF, "name": "api"}),
        named("set", scaleTargetRef={**REF, "kind": "StatefulSet", "name": "web"}),
        named("arms", scaleTargetRef={**REF, "name": "tt-0f0e0d0c-7-c"}),
    ]
    scalers[-1]["metadata"]["labels"] = {"trimtab.dev/arm": "canary"}
    assert scaled_workloads(scalers, TARGET) == (("Deployment", "api"), ("StatefulSet", "web"))
    api = named("api", selector={"matchLabels": {"app": "api"}})
    found = surroundings_from(TARGET, **arguments(autoscalers=scalers), scaled=[("Deployment", api)])
    assert [a.name for a in found.other_autoscalers] == ["other", "set"]
    assert [(o.name, o.selector) for o in found.scaled_elsewhere] == [("other", (("app", "api"),))]


@pytest.mark.parametrize(
    ("selector", "selects"),
    [
        ({"matchLabels": {"tier": "front"}}, True),
        ({"matchLabels": {"tier": "back"}}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["front"]}]}, False),
        ({"matchExpressions": [{"key": "track", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "Like", "values": ["f"]}]}, True),
        ({}, True),
        (None, False),
    ],
)
def test_disruption_budgets_that_select_the_pods(selector: Obj | None, selects: bool) -> None:
    budget = named("keep", **({} if selector is None else {"selector": selector}))
    found = surroundings_from(TARGET, **arguments(disruption_budgets=[budget]))
    assert bool(found.disruption_budgets) is selects


def test_vertical_autoscalers_of_the_target_with_their_mode() -> None:
    vpas = [
        named("on", targetRef=REF),
        named("off", targetRef=REF, updatePolicy={"updateMode": "Off"}),
        named("other", targetRef={**REF, "name": "api"}),
    ]
    found = surroundings_from(TARGET, **arguments(vpas=vpas))
    assert [(v.name, v.mode) for v in found.vpas] == [("on", "Auto"), ("off", "Off")]


def quota(**fields: object) -> Obj:
    return {**named("q", hard={"requests.cpu": "10", "pods": "5"}, **fields), "status": {}}


def test_what_a_quota_leaves() -> None:
    made = quota() | {"status": {"hard": {"requests.cpu": "10", "pods": "5"}, "used": {"requests.cpu": "8500m"}}}
    (found,) = surroundings_from(TARGET, **arguments(quotas=[made])).quotas
    assert dict(found.free) == {"requests.cpu": Decimal("1.5"), "pods": Decimal(5)}


@pytest.mark.parametrize(
    ("scope", "applies"),
    [
        ({}, True),
        ({"scopes": ["Terminating"]}, False),
        ({"scopes": ["NotTerminating"]}, True),
        ({"scopes": ["BestEffort"]}, False),
        ({"scopes": ["NotBestEffort"]}, True),
        ({"scopes": ["PriorityClass"]}, False),
        ({"scopes": ["CrossNamespacePodAffinity"]}, True),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["x"]}]
                }
            },
            False,
        ),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "DoesNotExist"}]}}, True),
    ],
)
def test_quotas_of_other_scopes_do_not_count(scope: Obj, applies: bool) -> None:
    assert bool(surroundings_from(TARGET, **arguments(quotas=[quota(**scope)])).quotas) is applies


def test_limit_ranges_of_containers_and_pods() -> None:
    limits = [
        {
            "type": "Container",
            "min": {"cpu": "100m"},
            "max": {"cpu": "2"},
            "default": {"cpu": "2"},
            "defaultRequest": {"cpu": "2"},
            "maxLimitRequestRatio": {"memory": "4"},
        },
        {"type": "Pod", "max": {"memory": "4Gi"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}},
    ]
    (found,) = surroundings_from(TARGET, **arguments(limit_ranges=[named("bounds", limits=limits)])).limit_ranges
    assert found.rules == (
        (Resource.CPU, Decimal("0.1"), Decimal(2), None),
        (Resource.MEMORY, None, None, Decimal(4)),
    )
    assert found.pod_rules == ((Resource.MEMORY, None, Decimal(4 * 2**30), None),)
    assert found.defaults == ((Resource.CPU, Decimal(2), Decimal(2)),)


def test_policies_that_select_the_pods_or_let_them_through() -> None:
    tier = {"matchLabels": {"tier": "front"}}
    policies = [
        named("mine", podSelector=tier),
        named("all", podSelector={}),
        named("db", podSelector={"matchLabels": {"app": "db"}}, ingress=[{"from": [{"podSelector": tier}]}]),
        named(
            "any", podSelector={"matchLabels": {"app": "db"}}, egress=[{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]
        ),
    ]
    found = surroundings_from(TARGET, **arguments(network_policies=policies))
    assert [p.name for p in found.network_policies] == ["mine", "all"]
    assert [p.name for p in found.network_peers] == ["db"]
