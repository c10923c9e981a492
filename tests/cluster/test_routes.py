"""Weights in an HTTPRoute of the real API server, written by the operator's own account under the chart's policy.

What is promised: afterwards the route is equal in spec, labels and annotations, and its owner's unchanged manifest
meets no other manager, whichever way it is applied.
"""

from __future__ import annotations

import copy
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.test_chart import ARM, ARM_LABELS, CLUSTER_WIDE, USER, config_map, refused, render
from tests.unit.api.route_manifests import CANARY, CONTROL, EXPERIMENT, PLAN

from controlplane import ApiClient, ControlPlane, wait_for
from controlplane.client import Conflict, Forbidden, Invalid
from trimtab.adapters.clock import SystemClock
from trimtab.adapters.cluster import KubernetesCluster
from trimtab.adapters.connection import connect
from trimtab.domain import kinds
from trimtab.domain.names import ANNOTATION_ROUTE
from trimtab.runtime.routes import RouteKeeper

Obj = dict[str, Any]
API = kinds.HTTP_ROUTES.api_version
RUNNING = {"Deployment", "Service", "CronJob", "Job"}


@pytest.fixture
def installed(controlplane: ControlPlane, namespace: str) -> Iterator[str]:
    """The chart's accounts, rights and policies with traffic by routes are in force in this namespace."""
    admin = controlplane.client
    values: Obj = {"scope": "Namespace", "traffic": {"httpRoute": True}}
    objects = [o for o in render(namespace, **values) if o["kind"] not in RUNNING]
    for document in objects:
        admin.create(document)
    try:
        operator = admin.impersonate(USER.format(namespace=namespace))
        wait_for(lambda: refused(operator, config_map(namespace, "probe", {})), "the operator's policy to be in force")
        yield namespace
    finally:
        for document in objects:
            if document["kind"] in CLUSTER_WIDE:
                admin.delete(document["apiVersion"], document["kind"], document["metadata"]["name"])


@pytest.fixture
def operator(controlplane: ControlPlane, installed: str) -> ApiClient:
    return controlplane.client.with_token(controlplane.service_account_token(installed, "trimtab"))


@pytest.fixture
async def keeper(controlplane: ControlPlane, installed: str, tmp_path: Path) -> AsyncIterator[RouteKeeper]:
    """As the operator has it."""
    token = controlplane.service_account_token(installed, "trimtab")
    kubeconfig = controlplane.kubeconfig(tmp_path / "kubeconfig", token=token)
    clock = SystemClock()
    cluster = KubernetesCluster(await connect(str(kubeconfig), clock.monotonic))
    yield RouteKeeper(cluster, clock)
    await cluster.close()


def manifest(namespace: str) -> Obj:
    """As its team has it: much is left to the server's defaults."""
    return {
        "apiVersion": API,
        "kind": "HTTPRoute",
        "metadata": {"name": "web", "namespace": namespace, "labels": {"team": "shop"}, "annotations": {"note": "x"}},
        "spec": {
            "parentRefs": [{"name": "gateway"}],
            "hostnames": ["shop.example.com"],
            "rules": [
                {"name": "api", "matches": [{"path": {"value": "/api"}}], "backendRefs": [{"name": "api", "port": 80}]},
                {
                    "name": "pages",
                    "backendRefs": [{"name": "web", "port": 80}, {"name": "old", "port": 80, "weight": 3}],
                },
            ],
        },
    }


def kubectl(controlplane: ControlPlane, built: dict[str, Path], *arguments: str, text: str) -> str:
    command = [str(built["kubectl"]), "--kubeconfig", str(controlplane.kubeconfig()), *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def always() -> bool:
    return True


def weights(route: Obj) -> list[tuple[str, int]]:
    return [(r["name"], r["weight"]) for r in route["spec"]["rules"][1]["backendRefs"]]


def lasting(route: Obj) -> Obj:
    metadata = route["metadata"]
    return {"spec": route["spec"], "labels": metadata.get("labels"), "annotations": metadata.get("annotations")}


def owners(route: Obj) -> list[tuple[str, str, str]]:
    found = [(e["manager"], e["operation"], str(e["fieldsV1"])) for e in route["metadata"]["managedFields"]]
    return sorted(found)


async def trial(keeper: RouteKeeper, namespace: str) -> None:
    """All the writes that a trial makes, in its three steps."""
    for part in (0.25, 0.5, 1.0):
        plan = replace(PLAN, namespace=namespace, shares=(part * 0.05, part * 0.05))
        await keeper.give(plan, always)
    assert await keeper.free(namespace, EXPERIMENT, PLAN.trial_uid) == 2


class TestOwnership:
    async def test_server_side_apply_meets_nobody_afterwards(
        self, admin: ApiClient, keeper: RouteKeeper, installed: str
    ) -> None:
        theirs = manifest(installed)
        before = admin.server_side_apply(theirs, "team")
        await keeper.give(replace(PLAN, namespace=installed), always)
        during = admin.get(API, "HTTPRoute", "web", installed)
        assert weights(during) == [("web", 900), ("old", 3000), (CANARY, 50), (CONTROL, 50)]
        with pytest.raises(Conflict, match="trimtab"):  # which is why fields are given back
            admin.server_side_apply(theirs, "team")
        assert await keeper.free(installed, EXPERIMENT, PLAN.trial_uid) == 2
        after = admin.get(API, "HTTPRoute", "web", installed)
        assert lasting(after) == lasting(before)
        assert owners(after) == owners(before)
        again = admin.server_side_apply(theirs, "team")
        assert again["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"], "nothing to change"

    async def test_client_side_apply_changes_nothing_afterwards(
        self, controlplane: ControlPlane, built: dict[str, Path], keeper: RouteKeeper, installed: str
    ) -> None:
        text, admin = yaml.safe_dump(manifest(installed)), controlplane.client
        kubectl(controlplane, built, "apply", "-f", "-", text=text)
        before = admin.get(API, "HTTPRoute", "web", installed)
        await trial(keeper, installed)
        after = admin.get(API, "HTTPRoute", "web", installed)
        assert lasting(after) == lasting(before)
        assert owners(after) == owners(before)
        kubectl(controlplane, built, "apply", "-f", "-", text=text)
        again = admin.get(API, "HTTPRoute", "web", installed)
        assert again["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"], "nothing to change"

    async def test_an_edit_meanwhile_stays_and_belongs_to_its_author(
        self, admin: ApiClient, keeper: RouteKeeper, installed: str
    ) -> None:
        theirs = manifest(installed)
        admin.server_side_apply(theirs, "team")
        await keeper.give(replace(PLAN, namespace=installed), always)
        changed = copy.deepcopy(theirs)
        changed["spec"]["rules"][1]["timeouts"] = {"request": "3s"}
        admin.server_side_apply(changed, "team", force=True)
        assert await keeper.free(installed, EXPERIMENT, PLAN.trial_uid) == 1
        after = admin.get(API, "HTTPRoute", "web", installed)
        assert weights(after) == [("web", 1), ("old", 3)]
        assert after["spec"]["rules"][1]["timeouts"] == {"request": "3s"}
        assert ANNOTATION_ROUTE not in after["metadata"]["annotations"]
        assert [e["manager"] for e in after["metadata"]["managedFields"]] == ["team"]
        admin.server_side_apply(changed, "team")


class TestPolicy:
    """RBAC lets the operator update whole routes; the policy leaves it rules and its own annotation."""

    def written(self, route: Obj, **metadata: Any) -> Obj:
        made = copy.deepcopy(route)
        made["metadata"] |= metadata
        return made

    def test_it_may_change_rules_and_its_annotation(
        self, admin: ApiClient, operator: ApiClient, installed: str
    ) -> None:
        route = admin.create(manifest(installed))
        route["spec"]["rules"][1]["backendRefs"][0]["weight"] = 7
        route["metadata"]["annotations"][ANNOTATION_ROUTE] = "{}"
        route = operator.replace(route)
        del route["metadata"]["annotations"][ANNOTATION_ROUTE]
        operator.replace(route)

    def test_and_nothing_else_of_it(self, admin: ApiClient, operator: ApiClient, installed: str) -> None:
        route = admin.create(manifest(installed))
        moved, emptied = copy.deepcopy(route), copy.deepcopy(route)
        moved["spec"]["hostnames"] = ["other.example.com"]
        del emptied["spec"]["hostnames"]
        for wrong in (moved, emptied):
            with pytest.raises(Invalid, match="only the rules"):
                operator.replace(wrong)
        for metadata in (
            {"annotations": {"note": "y"}},
            {"annotations": {"note": "x", "more": "1"}},
            {"annotations": {}},
            {"labels": {"team": "other"}},
            {"finalizers": ["trimtab.dev/undo"]},
        ):
            with pytest.raises(Invalid, match="only its own annotation"):
                operator.replace(self.written(route, **metadata))

    def test_it_makes_and_removes_no_route(self, admin: ApiClient, operator: ApiClient, installed: str) -> None:
        with pytest.raises(Forbidden, match="cannot create resource"):
            operator.create(manifest(installed))
        admin.create(manifest(installed))
        with pytest.raises(Forbidden, match="cannot delete resource"):
            operator.delete(API, "HTTPRoute", "web", installed)

    def test_services_are_those_of_arms_alone(self, admin: ApiClient, operator: ApiClient, installed: str) -> None:
        def service(name: str, *, owner: bool = True, labels: Obj = ARM_LABELS) -> Obj:
            metadata: Obj = {"name": name, "namespace": installed, "labels": labels}
            if owner:
                reference = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "Trial", "name": "t", "uid": "u"}
                metadata["ownerReferences"] = [reference | {"controller": True}]
            return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}}

        operator.create(service(ARM))
        for wrong in (service("web"), service("tt-0f0e0d0c-2-c", owner=False), service("tt-0f0e0d0c-2-c", labels={})):
            with pytest.raises(Invalid, match="of arms of a Trial"):
                operator.create(wrong)
        admin.create(service("web", owner=False, labels={}))
        with pytest.raises(Invalid, match="of arms of a Trial"):
            operator.delete("v1", "Service", "web", installed)
