"""All rights of the operator, as the API server sees them: a table, so that nothing is ever added in passing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.test_chart import CLUSTER_WIDE, render

from controlplane import ApiClient, ControlPlane, wait_for
from controlplane.client import Forbidden

# A right that the code does not use does not belong here; a new one needs a reason.
RIGHTS = {
    "configmaps: create get update",
    "daemonsets.apps: get",
    "deployments.apps: create delete get list watch",
    "endpointslices.discovery.k8s.io: list",
    "events.events.k8s.io: create get list update",
    "experiments.trimtab.dev: get list update watch",
    "experiments/finalizers.trimtab.dev: update",
    "experiments/status.trimtab.dev: update",
    "horizontalpodautoscalers.autoscaling: list",
    "leases.coordination.k8s.io: create get update",
    "limitranges: list",
    "namespaces: get",
    "networkpolicies.networking.k8s.io: list",
    "poddisruptionbudgets.policy: list",
    "pods: delete list watch",
    "replicasets.apps: delete list",
    "resourcequotas: list",
    "services: list",
    "statefulsets.apps: get",
    "trials.trimtab.dev: create get list update watch",
    "trials/status.trimtab.dev: update",
    "verticalpodautoscalers.autoscaling.k8s.io: list",
}
CLUSTER_RIGHTS = {"nodes: get"}  # cluster-scoped objects, which no Role can allow
REAP_RIGHTS = {
    "deployments.apps: delete list",
    "endpointslices.discovery.k8s.io: list",
    "horizontalpodautoscalers.autoscaling: list",
    "leases.coordination.k8s.io: get",  # the operators' own alone
    "pods: delete list",
    "replicasets.apps: delete list",
    "services: list",
    "trials.trimtab.dev: get",
}
UNINSTALL_RIGHTS = {
    "deployments.apps: delete list",
    "endpointslices.discovery.k8s.io: list",
    "experiments.trimtab.dev: get list update",
    "horizontalpodautoscalers.autoscaling: list",
    "leases.coordination.k8s.io: create get update",  # `create` cannot be limited to a name
    "pods: delete list",
    "replicasets.apps: delete list",
    "services: list",
    "trials.trimtab.dev: get list update",
}
# What every authenticated user may ask about itself.
EVERYBODY = ("authentication.k8s.io", "authorization.k8s.io")
FORBIDDEN = [  # verb, group, resource, subresource
    ("get", "", "secrets", ""),
    ("list", "", "secrets", ""),
    ("create", "", "pods", ""),
    ("create", "", "pods", "exec"),
    ("create", "", "pods", "eviction"),
    ("get", "", "pods", "log"),
    ("patch", "apps", "deployments", ""),
    ("update", "apps", "deployments", ""),
    ("update", "apps", "deployments", "scale"),
    ("deletecollection", "apps", "deployments", ""),
    ("update", "autoscaling", "horizontalpodautoscalers", ""),
    ("create", "", "serviceaccounts", "token"),
    ("patch", "", "namespaces", ""),
    ("delete", "", "configmaps", ""),
    ("delete", "trimtab.dev", "trials", ""),
    ("create", "trimtab.dev", "experiments", ""),
    ("patch", "trimtab.dev", "experiments", ""),
    ("impersonate", "", "users", ""),
    ("escalate", "rbac.authorization.k8s.io", "roles", ""),
]
KINDS = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}


class Install:
    """The chart's ServiceAccount and rights in a namespace, without its policies."""

    def __init__(self, plane: ControlPlane, namespace: str, **values: Any) -> None:
        self._admin = plane.client
        self._objects = [o for o in render(namespace, **values) if o["kind"] in KINDS]
        for document in self._objects:
            self._admin.create(document)
        self._plane, self._namespace = plane, namespace
        self.operator = self.account("trimtab")

    def account(self, name: str) -> ApiClient:
        """Who has this account's token."""
        return self._plane.client.with_token(self._plane.service_account_token(self._namespace, name))

    def remove(self) -> None:
        """What its namespace does not take with it."""
        for document in self._objects:
            if document["kind"] in CLUSTER_WIDE:
                self._admin.delete(document["apiVersion"], document["kind"], document["metadata"]["name"])


@pytest.fixture(params=["Cluster", "Namespace"])
def scope(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
def install(controlplane: ControlPlane, namespace: str, scope: str) -> Iterator[Install]:
    """The chart's accounts and rights, those of its hooks among them."""
    made = Install(controlplane, namespace, scope=scope)
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture
def operator(install: Install) -> ApiClient:
    """The operator, by its ServiceAccount's token."""
    return install.operator


def test_are_exactly_these(operator: ApiClient, namespace: str, scope: str) -> None:
    wanted = RIGHTS | CLUSTER_RIGHTS if scope == "Cluster" else RIGHTS
    wait_for(lambda: rights(operator, namespace) == wanted, "exactly the rights of the table")
    assert rights(operator, "default") == (wanted if scope == "Cluster" else set())


def test_it_may_not(operator: ApiClient, namespace: str) -> None:
    wait_for(lambda: allowed(operator, namespace, "get", "", "configmaps", ""), "the rights to be in force")
    assert [row for row in FORBIDDEN if allowed(operator, namespace, *row)] == []


@pytest.mark.parametrize(
    ("account", "wanted"), [("trimtab-reap", REAP_RIGHTS), ("trimtab-uninstall", UNINSTALL_RIGHTS)]
)
def test_those_of_reap_are_exactly_these(
    install: Install, namespace: str, scope: str, account: str, wanted: set[str]
) -> None:
    client = install.account(account)
    wait_for(lambda: rights(client, namespace) == wanted, f"exactly the rights of {account}")
    elsewhere = {right for right in wanted if not right.startswith("leases")} if scope == "Cluster" else set()
    assert rights(client, "default") == elsewhere
    assert [row for row in FORBIDDEN if allowed(client, namespace, *row)] == []
    with pytest.raises(Forbidden):  # a target's lock is a Lease, too
        client.get("coordination.k8s.io/v1", "Lease", "trimtab-target-0f0e0d0c", namespace)


def allowed(client: ApiClient, namespace: str, verb: str, group: str, resource: str, subresource: str) -> bool:
    """One SelfSubjectAccessReview."""
    asked = {"namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": subresource}
    return bool(_review(client, "SelfSubjectAccessReview", {"resourceAttributes": asked})["allowed"])


def rights(client: ApiClient, namespace: str) -> set[str]:
    """What the API server says that this user may do there."""
    status = _review(client, "SelfSubjectRulesReview", {"namespace": namespace})
    assert not status.get("evaluationError")
    found: dict[str, set[str]] = {}
    for rule in status["resourceRules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"] if group not in EVERYBODY else ():
                found.setdefault(f"{resource}.{group}".rstrip("."), set()).update(rule["verbs"])
    return {f"{what}: {' '.join(sorted(verbs))}" for what, verbs in found.items()}


def _review(client: ApiClient, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
    status: dict[str, Any] = client.request("POST", f"/apis/authorization.k8s.io/v1/{kind.lower()}s", body)["status"]
    return status
