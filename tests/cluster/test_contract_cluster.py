"""The contract of the Cluster port, against the real API server; and what only the real one can show."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.test_cluster import (
    GADGETS,
    TestCreate,
    TestDelete,
    TestEmptyNames,
    TestLease,
    TestNamespace,
    TestOwnership,
    TestRead,
    TestReplace,
    TestRoutes,
    TestStatus,
    World,
    pod,
)

from controlplane import ApiClient, ControlPlane, eventually
from controlplane.client import Conflict as ClientConflict
from trimtab.adapters.clock import SystemClock
from trimtab.adapters.cluster import PAGE, KubernetesCluster
from trimtab.adapters.connection import connect
from trimtab.domain import kinds
from trimtab.domain.errors import Conflict, Forbidden, Rejected, Unavailable
from trimtab.domain.kube import Manifest
from trimtab.runtime.events import EventRecorder, EventType, Subject

__all__ = [
    "TestCreate", "TestDelete", "TestEmptyNames", "TestLease", "TestNamespace", "TestOwnership", "TestRead",
    "TestReplace", "TestRoutes", "TestStatus",
]  # fmt: skip


@pytest.fixture
async def world(controlplane: ControlPlane, namespace: str, no_nodes: None) -> AsyncIterator[World]:
    """The real API server, as the administrator; without Nodes, so that a pod stays without one."""
    connection = await connect(str(controlplane.kubeconfig()), SystemClock().monotonic)
    plain = KubernetesCluster(connection)
    cluster = Clean(plain)

    def apply(body: Manifest, manager: str, *, force: bool = False) -> Manifest:
        named = {**body, "metadata": {**body["metadata"], "namespace": namespace}}
        try:
            return controlplane.client.server_side_apply(named, manager, force=force)
        except ClientConflict as error:
            raise Conflict(error.code, error.message) from None

    yield World(cluster, namespace, eventually, plain, apply)
    await cluster.close()
    await plain.close()


class Clean(KubernetesCluster):
    """The adapter, but answers come without what servers add for bookkeeping alone."""

    def __init__(self, cluster: KubernetesCluster) -> None:
        super().__init__(cluster._connection)

    async def _request(self, *args: Any, **options: Any) -> dict[str, Any]:
        answer = await super()._request(*args, **options)
        for each in (answer, *(answer.get("items") or ())):
            (each.get("metadata") or {}).pop("managedFields", None)
        return answer


Client = Callable[..., Awaitable[KubernetesCluster]]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Make clients of a kubeconfig; they are closed with the test."""
    made: list[KubernetesCluster] = []

    async def make(kubeconfig: Path, *, host: str = "", timeout: float = 10.0) -> KubernetesCluster:
        connection = await connect(str(kubeconfig), SystemClock().monotonic)
        connection.configuration.host = host or connection.configuration.host
        made.append(KubernetesCluster(connection, timeout=timeout))
        return made[-1]

    yield make
    for each in made:
        await each.close()

    async def closed() -> bool:  # TLS connections that timed out are closed once their peer says goodbye
        watched = asyncio.get_running_loop()._selector.get_map()  # type: ignore[attr-defined]
        return len(watched) <= 1  # the loop's own pipe

    await eventually(closed, "all connections are closed")


@pytest.fixture
def bad_name(admin: ApiClient, namespace: str) -> Iterator[str]:
    """The name of a ConfigMap that an admission policy refuses in the test's namespace."""
    api, name = "admissionregistration.k8s.io/v1", f"no-{namespace}"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    constraints = {"resourceRules": [rule], "namespaceSelector": namespace_selector(namespace)}
    check = {"expression": "object.metadata.name != 'bad'", "message": "this name is bad", "reason": "Forbidden"}
    specs = {
        "ValidatingAdmissionPolicy": {"matchConstraints": constraints, "validations": [check]},
        "ValidatingAdmissionPolicyBinding": {"policyName": name, "validationActions": ["Deny"]},
    }
    for kind, spec in specs.items():
        admin.create({"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec})
    yield "bad"
    for kind in reversed(specs):
        admin.delete(api, kind, name)


class TestErrors:
    async def test_a_missing_right_is_forbidden(
        self, controlplane: ControlPlane, namespace: str, client: Client
    ) -> None:
        cluster = await client(controlplane.service_account_kubeconfig(namespace, "default"))
        with pytest.raises(Forbidden, match="cannot list resource"):
            await cluster.list(kinds.PODS, namespace)

    async def test_an_exhausted_quota_is_a_refusal(self, world: World, admin: ApiClient) -> None:
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "none", "namespace": world.namespace},
            "spec": {"hard": {"pods": "0"}},
        }
        admin.create(quota)
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, **pod()}

        async def refused() -> bool:
            try:
                await world.cluster.create(kinds.PODS, world.namespace, body, dry_run=True)
            except Rejected as error:  # at first it says "status unknown for quota"
                return "exceeded quota" in error.message
            return False

        await eventually(refused, "the quota is counted and in force")

    async def test_an_admission_policy_is_a_refusal_with_its_words(self, world: World, bad_name: str) -> None:
        async def refused() -> bool:
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": bad_name}}
            try:
                await world.cluster.create(kinds.CONFIG_MAPS, world.namespace, body, dry_run=True)
            except Rejected as error:
                return "this name is bad" in error.message
            return False

        await eventually(refused, "the policy is in force")

    async def test_validation_is_a_refusal(self, world: World) -> None:
        with pytest.raises(Rejected, match="Invalid value"):
            await world.make(kinds.CONFIG_MAPS, "Not A Name")

    async def test_a_server_that_does_not_answer_is_unavailable_in_time(
        self, controlplane: ControlPlane, namespace: str, client: Client
    ) -> None:
        cluster = await client(controlplane.kubeconfig(), timeout=1.0)

        async def silent() -> bool:  # a stopped process may still send what was under way
            try:
                await cluster.list(kinds.PODS, namespace)
            except Unavailable as error:
                return "no answer within 1 s" in error.message
            return False

        async def answering() -> bool:  # not within a second on a busy machine
            try:
                await cluster.list(kinds.PODS, namespace)
            except Unavailable:
                return False
            return True

        await eventually(answering, "the server answers")
        controlplane.component("kube-apiserver").pause()
        try:
            await eventually(silent, "the server is stopped")
            started = time.monotonic()
            assert await silent()
            assert 0.9 < time.monotonic() - started < 8.0  # and not the ten seconds that are the default
        finally:
            controlplane.component("kube-apiserver").resume()

    async def test_a_refused_connection_is_unavailable(self, controlplane: ControlPlane, client: Client) -> None:
        cluster = await client(controlplane.kubeconfig(), host="https://127.0.0.1:1")
        with pytest.raises(Unavailable):
            await cluster.version()


async def test_events_are_accepted_and_counted(world: World, admin: ApiClient) -> None:
    clock = SystemClock()
    problems: list[str] = []
    recorder = EventRecorder(world.cluster, clock, instance="pod-1", on_dropped=problems.append)
    made = await world.make(GADGETS, "a")
    subject = Subject(GADGETS, world.namespace, "a", made["metadata"]["uid"], made["metadata"]["resourceVersion"])
    for _ in range(2):
        recorder.record(subject, EventType.WARNING, "Withdrawn", "p95 612 ms against 300 ms", related=subject)
        await recorder.flush()
    assert problems == []
    (event,) = admin.list("v1", "Event", world.namespace, fields="involvedObject.name=a")
    assert (event["message"], event["type"], event["reason"]) == ("p95 612 ms against 300 ms", "Warning", "Withdrawn")
    assert event["series"]["count"] == 2


async def test_long_lists_come_in_pages(world: World, admin: ApiClient) -> None:
    count = PAGE + 20
    for number in range(count):
        await world.make(kinds.CONFIG_MAPS, f"c-{number:04d}", labels={"paged": "yes"})
    listed = await world.cluster.list(kinds.CONFIG_MAPS, world.namespace, labels="paged=yes")
    assert len({each["metadata"]["name"] for each in listed}) == count


def namespace_selector(name: str) -> dict[str, Any]:
    """Selects one namespace."""
    return {"matchLabels": {"kubernetes.io/metadata.name": name}}
