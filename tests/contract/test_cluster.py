"""What every Cluster must do, whatever is behind it.

Here it is the one in memory; `tests/cluster/test_contract_cluster.py` runs the same tests against the real API server.
Where the two differ, the one in memory is wrong.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from trimtab.adapters.clock import LoopClock
from trimtab.domain import kinds
from trimtab.domain.errors import AlreadyExists, Conflict, NotFound, Rejected, Unavailable
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.ports import Cluster
from trimtab.runtime.lease import micro_time
from trimtab.simulate.admission import admit_routes
from trimtab.simulate.cluster import InMemoryCluster
from trimtab.simulate.objects import SERVED

GADGETS = Kind("contract.trimtab.dev", "v1", "gadgets", "Gadget")  # a custom resource with a status and any content


class Apply(Protocol):
    """Server-side apply as somebody else than the operator."""

    def __call__(self, body: Manifest, manager: str, *, force: bool = False) -> Manifest: ...


@dataclass(frozen=True)
class World:
    """A cluster and a namespace of this test's own; `eventually` waits for what controllers do in the background.

    `cluster` answers without `managedFields`, `plain` with them; `apply` raises Conflict.
    """

    cluster: Cluster
    namespace: str
    eventually: Callable[[Callable[[], Awaitable[bool]], str], Awaitable[None]]
    plain: Cluster
    apply: Apply

    async def make(self, kind: Kind, name: str, body: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
        content = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name, **metadata}}
        return dict(await self.cluster.create(kind, self.namespace, content | (body or {})))

    async def missing(self, kind: Kind, name: str, namespace: str | None = None) -> bool:
        try:
            await self.cluster.get(kind, namespace or self.namespace, name)
        except NotFound:
            return True
        return False


@pytest.fixture
async def world() -> World:
    """The cluster in memory."""
    clock = LoopClock()
    served = SERVED | {GADGETS, kinds.HTTP_ROUTES}
    cluster = InMemoryCluster(clock, namespaces=("default", "contract"), served=served)
    cluster.admit = admit_routes

    def apply(body: Manifest, manager: str, *, force: bool = False) -> Manifest:
        return cluster.apply(kinds.HTTP_ROUTES, "contract", body, manager=manager, force=force)

    async def eventually(condition: Callable[[], Awaitable[bool]], what: str) -> None:
        assert await condition(), what

    return World(cluster, "contract", eventually, cluster, apply)


def owner(obj: Manifest) -> dict[str, str]:
    """An ownerReference to this object."""
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"]} | {k: obj["metadata"][k] for k in ("name", "uid")}


def with_metadata(obj: Manifest, **metadata: Any) -> dict[str, Any]:
    """The object with these metadata; None removes a field."""
    kept = {key: value for key, value in (dict(obj["metadata"]) | metadata).items() if value is not None}
    return {**obj, "metadata": kept}


def pod(node: str | None = None) -> dict[str, Any]:
    """A pod's body."""
    spec: dict[str, Any] = {"containers": [{"name": "web", "image": "example.test/web:1"}]}
    return {"spec": spec | ({"nodeName": node} if node else {})}


class TestCreate:
    async def test_the_server_fills_in_identity(self, world: World) -> None:
        made = await world.make(GADGETS, "one", {"spec": {"size": 1}}, uid="mine", generation=7)
        metadata = made["metadata"]
        assert (made["apiVersion"], made["kind"]) == (GADGETS.api_version, GADGETS.name)
        assert (metadata["name"], metadata["namespace"]) == ("one", world.namespace)
        assert metadata["uid"] not in ("", "mine")
        assert metadata["generation"] == 1
        assert metadata["resourceVersion"]
        assert metadata["creationTimestamp"].endswith("Z")
        assert made["spec"] == {"size": 1}
        stored = await world.cluster.get(GADGETS, world.namespace, "one")
        assert stored == made

    async def test_a_second_one_collides(self, world: World) -> None:
        await world.make(kinds.CONFIG_MAPS, "one", {"data": {"a": "1"}})
        with pytest.raises(AlreadyExists) as caught:
            await world.make(kinds.CONFIG_MAPS, "one", {"data": {"a": "2"}})
        assert caught.value.status == 409
        stored = await world.cluster.get(kinds.CONFIG_MAPS, world.namespace, "one")
        assert stored["data"] == {"a": "1"}

    async def test_a_deleted_name_comes_back_with_another_uid(self, world: World) -> None:
        first = await world.make(kinds.CONFIG_MAPS, "one")
        await world.cluster.delete(kinds.CONFIG_MAPS, world.namespace, "one")
        second = await world.make(kinds.CONFIG_MAPS, "one")
        assert first["metadata"]["uid"] != second["metadata"]["uid"]
        assert first["metadata"]["resourceVersion"] != second["metadata"]["resourceVersion"]

    async def test_a_dry_run_checks_and_stores_nothing(self, world: World) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "1"}}
        answer = await world.cluster.create(kinds.CONFIG_MAPS, world.namespace, body, dry_run=True)
        assert answer["data"] == {"a": "1"}
        assert await world.missing(kinds.CONFIG_MAPS, "one")
        await world.cluster.create(kinds.CONFIG_MAPS, world.namespace, body)
        with pytest.raises(AlreadyExists):
            await world.cluster.create(kinds.CONFIG_MAPS, world.namespace, body, dry_run=True)

    async def test_a_status_is_not_taken(self, world: World) -> None:
        made = await world.make(GADGETS, "one", {"spec": {}, "status": {"phase": "Forged"}})
        assert "status" not in made

    async def test_a_namespace_must_exist(self, world: World) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}
        with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
            await world.cluster.create(kinds.CONFIG_MAPS, "nowhere", body)

    async def test_two_namespaces_in_one_request_are_refused(self, world: World) -> None:
        with pytest.raises(Rejected, match="namespace"):
            await world.make(kinds.CONFIG_MAPS, "one", namespace="default")

    async def test_a_version_cannot_be_chosen(self, world: World) -> None:
        with pytest.raises(Unavailable, match="resourceVersion should not be set on objects to be created"):
            await world.make(kinds.CONFIG_MAPS, "one", resourceVersion="1")
        assert await world.missing(kinds.CONFIG_MAPS, "one")

    async def test_a_name_is_needed(self, world: World) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}
        with pytest.raises(Rejected, match="name"):
            await world.cluster.create(kinds.CONFIG_MAPS, world.namespace, body)

    async def test_a_kind_that_is_not_served_is_not_found(self, world: World) -> None:
        with pytest.raises(NotFound):
            await world.cluster.list(kinds.VERTICAL_POD_AUTOSCALERS, world.namespace)


class TestEmptyNames:
    """The path of one object without its name is that of all of them: a DELETE of it deletes them all."""

    async def test_none_is_asked_for(self, world: World) -> None:
        made = await world.make(kinds.CONFIG_MAPS, "one")
        cluster, where = world.cluster, world.namespace
        for request in (
            cluster.get(kinds.CONFIG_MAPS, where, ""),
            cluster.replace(kinds.CONFIG_MAPS, where, "", made),
            cluster.delete(kinds.CONFIG_MAPS, where, ""),
            cluster.create_subresource(kinds.PODS, where, "", "eviction", {}),
        ):
            with pytest.raises(Rejected, match=r"the name of a \w+ may not be empty"):
                await request
        assert await cluster.get(kinds.CONFIG_MAPS, where, "one") == made


class TestRead:
    async def test_what_is_not_there_is_not_found(self, world: World) -> None:
        with pytest.raises(NotFound) as caught:
            await world.cluster.get(kinds.CONFIG_MAPS, world.namespace, "nothing")
        assert (caught.value.status, 'configmaps "nothing" not found') == (404, caught.value.message)

    @pytest.mark.parametrize(
        ("labels", "found"),
        [
            ("", "abc"),
            ("tier", "ab"),
            ("!tier", "c"),
            ("tier=front", "a"),
            ("tier==front", "a"),
            ("tier!=front", "bc"),
            ("tier in (front, back)", "ab"),
            ("tier notin (front)", "bc"),
            ("example.test/name=x,tier", "b"),
            ("tier,tier!=front", "b"),
            ("tier=front,tier=back", ""),
        ],
    )
    async def test_lists_by_label(self, world: World, labels: str, found: str) -> None:
        await world.make(GADGETS, "a", labels={"tier": "front"})
        await world.make(GADGETS, "b", labels={"tier": "back", "example.test/name": "x"})
        await world.make(GADGETS, "c")
        listed = await world.cluster.list(GADGETS, world.namespace, labels=labels)
        assert "".join(sorted(each["metadata"]["name"] for each in listed)) == found

    async def test_a_malformed_selector_is_refused(self, world: World) -> None:
        with pytest.raises(Rejected):
            await world.cluster.list(GADGETS, world.namespace, labels="tier in front")

    async def test_items_say_what_they_are(self, world: World) -> None:
        made = await world.make(GADGETS, "a", {"spec": {"size": 1}})
        assert await world.cluster.list(GADGETS, world.namespace) == (made,)

    async def test_all_namespaces_at_once(self, world: World) -> None:
        made = await world.make(GADGETS, "a")
        uids = {each["metadata"]["uid"] for each in await world.cluster.list(GADGETS, None)}
        assert made["metadata"]["uid"] in uids
        assert await world.cluster.list(GADGETS, "default") == ()

    async def test_the_version(self, world: World) -> None:
        assert (await world.cluster.version()).startswith("v1.")


class TestReplace:
    async def test_only_the_latest_version_can_be_replaced(self, world: World) -> None:
        old = await world.make(GADGETS, "a", {"spec": {"size": 1}})
        new = await world.cluster.replace(GADGETS, world.namespace, "a", old | {"spec": {"size": 2}})
        assert new["spec"] == {"size": 2}
        assert new["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"]
        with pytest.raises(Conflict) as caught:
            await world.cluster.replace(GADGETS, world.namespace, "a", old | {"spec": {"size": 3}})
        assert caught.value.status == 409
        assert (await world.cluster.get(GADGETS, world.namespace, "a"))["spec"] == {"size": 2}

    async def test_a_write_that_changes_nothing_is_no_new_version(self, world: World) -> None:
        old = await world.make(GADGETS, "a", {"spec": {"size": 1}})
        assert await world.cluster.replace(GADGETS, world.namespace, "a", old) == old

    async def test_the_generation_counts_changes_of_the_spec(self, world: World) -> None:
        made = await world.make(GADGETS, "a", {"spec": {"size": 1}})
        labelled = await world.cluster.replace(GADGETS, world.namespace, "a", with_metadata(made, labels={"x": "y"}))
        assert labelled["metadata"]["generation"] == 1
        changed = await world.cluster.replace(GADGETS, world.namespace, "a", {**labelled, "spec": {"size": 2}})
        assert changed["metadata"]["generation"] == 2
        assert changed["metadata"]["labels"] == {"x": "y"}

    async def test_identity_cannot_be_changed(self, world: World) -> None:
        made = await world.make(GADGETS, "a", {"spec": {"size": 1}})
        forged = with_metadata(made, creationTimestamp="2000-01-01T00:00:00Z", generation=9)
        stored = await world.cluster.replace(GADGETS, world.namespace, "a", forged | {"spec": {"size": 2}})
        for field in ("uid", "creationTimestamp"):
            assert stored["metadata"][field] == made["metadata"][field]
        assert stored["metadata"]["generation"] == 2

    async def test_another_uid_is_a_conflict(self, world: World) -> None:
        made = await world.make(GADGETS, "a")
        body = with_metadata(made, uid="00000000-0000-0000-0000-000000000000", labels={"x": "y"})
        with pytest.raises(Conflict):
            await world.cluster.replace(GADGETS, world.namespace, "a", body)

    async def test_what_is_gone_cannot_be_replaced(self, world: World) -> None:
        made = await world.make(GADGETS, "a")
        await world.cluster.delete(GADGETS, world.namespace, "a")
        with pytest.raises((NotFound, Conflict)):
            await world.cluster.replace(GADGETS, world.namespace, "a", made)

    async def test_another_name_is_refused(self, world: World) -> None:
        made = await world.make(GADGETS, "a")
        with pytest.raises(Rejected):
            await world.cluster.replace(GADGETS, world.namespace, "a", with_metadata(made, name="b"))

    async def test_some_kinds_are_replaced_whatever_their_version(self, world: World) -> None:
        made = await world.make(kinds.CONFIG_MAPS, "a", {"data": {"n": "1"}})
        body = with_metadata(made, resourceVersion=None) | {"data": {"n": "2"}}
        assert (await world.cluster.replace(kinds.CONFIG_MAPS, world.namespace, "a", body))["data"] == {"n": "2"}

    @pytest.mark.parametrize("kind", [GADGETS, kinds.LEASES])
    async def test_a_version_must_be_named(self, world: World, kind: Kind) -> None:
        made = await world.make(kind, "a")
        with pytest.raises(Rejected, match="resourceVersion"):
            await world.cluster.replace(kind, world.namespace, "a", with_metadata(made, resourceVersion=None))


class TestStatus:
    async def test_it_is_written_apart_from_the_spec(self, world: World) -> None:
        made = await world.make(GADGETS, "a", {"spec": {"size": 1}})
        body = with_metadata(made, labels={"x": "y"}) | {"spec": {"size": 9}, "status": {"phase": "Running"}}
        written = await world.cluster.replace(GADGETS, world.namespace, "a", body, subresource="status")
        assert written["status"] == {"phase": "Running"}
        assert written["spec"] == {"size": 1}
        assert "labels" not in written["metadata"]
        assert written["metadata"]["generation"] == 1
        assert written["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]

    async def test_a_body_without_a_spec_is_enough(self, world: World) -> None:
        made = await world.make(GADGETS, "a", {"spec": {"size": 1}})
        metadata = {key: made["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
        body = {"apiVersion": GADGETS.api_version, "kind": GADGETS.name, "metadata": metadata, "status": {"n": 1}}
        written = await world.cluster.replace(GADGETS, world.namespace, "a", body, subresource="status")
        assert (written["spec"], written["status"]) == ({"size": 1}, {"n": 1})

    async def test_the_main_resource_cannot_write_it(self, world: World) -> None:
        made = await world.make(GADGETS, "a", {"spec": {"size": 1}})
        body = made | {"status": {"phase": "Running"}}
        written = await world.cluster.replace(GADGETS, world.namespace, "a", body, subresource="status")
        changed = {**written, "spec": {"size": 2}, "status": {"phase": "Forged"}}
        assert (await world.cluster.replace(GADGETS, world.namespace, "a", changed))["status"] == {"phase": "Running"}

    async def test_a_stale_version_is_a_conflict(self, world: World) -> None:
        made = await world.make(GADGETS, "a")
        first, second = (made | {"status": {"n": n}} for n in (1, 2))
        await world.cluster.replace(GADGETS, world.namespace, "a", first, subresource="status")
        with pytest.raises(Conflict):
            await world.cluster.replace(GADGETS, world.namespace, "a", second, subresource="status")

    async def test_another_uid_is_a_conflict(self, world: World) -> None:
        made = await world.make(GADGETS, "a")
        body = with_metadata(made, uid="00000000-0000-0000-0000-000000000000") | {"status": {"n": 1}}
        with pytest.raises(Conflict):
            await world.cluster.replace(GADGETS, world.namespace, "a", body, subresource="status")


class TestDelete:
    async def test_it_is_gone(self, world: World) -> None:
        await world.make(GADGETS, "a")
        await world.cluster.delete(GADGETS, world.namespace, "a")
        assert await world.missing(GADGETS, "a")
        with pytest.raises(NotFound):
            await world.cluster.delete(GADGETS, world.namespace, "a")

    async def test_only_the_object_that_was_meant(self, world: World) -> None:
        made = await world.make(GADGETS, "a")
        with pytest.raises(Conflict):
            await world.cluster.delete(GADGETS, world.namespace, "a", uid="00000000-0000-0000-0000-000000000000")
        await world.cluster.delete(GADGETS, world.namespace, "a", uid=made["metadata"]["uid"])
        assert await world.missing(GADGETS, "a")

    async def test_a_finalizer_holds_it(self, world: World) -> None:
        made = await world.make(GADGETS, "a", {"spec": {"size": 1}}, finalizers=["trimtab.dev/undo"])
        assert "deletionTimestamp" not in made["metadata"]
        await world.cluster.delete(GADGETS, world.namespace, "a")
        marked = await world.cluster.get(GADGETS, world.namespace, "a")
        assert marked["metadata"]["deletionTimestamp"].endswith("Z")
        assert marked["metadata"]["deletionGracePeriodSeconds"] == 0
        assert marked["metadata"]["generation"] == 2
        await world.cluster.delete(GADGETS, world.namespace, "a")
        assert await world.cluster.get(GADGETS, world.namespace, "a") == marked
        with pytest.raises(AlreadyExists):
            await world.make(GADGETS, "a")
        await world.cluster.replace(GADGETS, world.namespace, "a", with_metadata(marked, finalizers=None))
        assert await world.missing(GADGETS, "a")

    async def test_its_status_can_still_be_written(self, world: World) -> None:
        await world.make(GADGETS, "a", finalizers=["trimtab.dev/undo"])
        await world.cluster.delete(GADGETS, world.namespace, "a")
        marked = await world.cluster.get(GADGETS, world.namespace, "a")
        body = {**marked, "status": {"phase": "Draining"}}
        written = await world.cluster.replace(GADGETS, world.namespace, "a", body, subresource="status")
        assert written["status"] == {"phase": "Draining"}

    async def test_no_finalizer_can_be_added_any_more(self, world: World) -> None:
        await world.make(GADGETS, "a", finalizers=["trimtab.dev/undo"])
        await world.cluster.delete(GADGETS, world.namespace, "a")
        marked = await world.cluster.get(GADGETS, world.namespace, "a")
        body = with_metadata(marked, finalizers=["trimtab.dev/undo", "trimtab.dev/more"])
        with pytest.raises(Rejected, match="no new finalizers"):
            await world.cluster.replace(GADGETS, world.namespace, "a", body)

    async def test_dependents_follow(self, world: World) -> None:
        parent = await world.make(GADGETS, "parent")
        child = await world.make(GADGETS, "child", ownerReferences=[owner(parent)])
        await world.make(kinds.CONFIG_MAPS, "grandchild", ownerReferences=[owner(child)])
        await world.make(kinds.CONFIG_MAPS, "stranger")
        await world.cluster.delete(GADGETS, world.namespace, "parent")

        async def gone() -> bool:
            return await world.missing(GADGETS, "child") and await world.missing(kinds.CONFIG_MAPS, "grandchild")

        await world.eventually(gone, "dependents are collected")
        assert not await world.missing(kinds.CONFIG_MAPS, "stranger")

    async def test_what_has_a_living_owner_stays(self, world: World) -> None:
        first, second = await world.make(GADGETS, "first"), await world.make(GADGETS, "second")
        await world.make(GADGETS, "child", ownerReferences=[owner(first), owner(second)])
        await world.make(GADGETS, "other", ownerReferences=[owner(first)])
        await world.cluster.delete(GADGETS, world.namespace, "first")

        async def other_is_gone() -> bool:
            return await world.missing(GADGETS, "other")

        await world.eventually(other_is_gone, "the one with no other owner is collected")
        assert not await world.missing(GADGETS, "child")

    async def test_what_never_had_a_living_owner_goes(self, world: World) -> None:
        parent = await world.make(GADGETS, "parent")
        await world.cluster.delete(GADGETS, world.namespace, "parent")
        await world.make(GADGETS, "orphan", ownerReferences=[owner(parent)])

        async def gone() -> bool:
            return await world.missing(GADGETS, "orphan")

        await world.eventually(gone, "it is collected")

    async def test_a_dependent_can_change_hands(self, world: World) -> None:
        first, second = await world.make(GADGETS, "first"), await world.make(GADGETS, "second")
        child = await world.make(GADGETS, "child", ownerReferences=[owner(first)])
        await world.make(GADGETS, "other", ownerReferences=[owner(first)])
        body = with_metadata(child, ownerReferences=[owner(second)])
        await world.cluster.replace(GADGETS, world.namespace, "child", body)
        await world.cluster.delete(GADGETS, world.namespace, "first")

        async def other_is_gone() -> bool:
            return await world.missing(GADGETS, "other")

        await world.eventually(other_is_gone, "the one that stayed is collected")
        assert not await world.missing(GADGETS, "child")

    async def test_a_finalizer_on_the_owner_keeps_its_dependents(self, world: World) -> None:
        parent = await world.make(GADGETS, "parent", finalizers=["trimtab.dev/undo"])
        await world.make(GADGETS, "child", ownerReferences=[owner(parent)])
        await world.cluster.delete(GADGETS, world.namespace, "parent")
        assert not await world.missing(GADGETS, "child")

    async def test_a_pod_without_a_node_goes_at_once(self, world: World) -> None:
        await world.make(kinds.PODS, "a", pod())
        await world.cluster.delete(kinds.PODS, world.namespace, "a")
        assert await world.missing(kinds.PODS, "a")

    async def test_a_pod_on_a_node_is_given_time(self, world: World) -> None:
        await world.make(kinds.PODS, "a", pod(node="nobody"))
        await world.cluster.delete(kinds.PODS, world.namespace, "a")
        leaving = await world.cluster.get(kinds.PODS, world.namespace, "a")
        assert leaving["metadata"]["deletionGracePeriodSeconds"] == 30
        await world.cluster.delete(kinds.PODS, world.namespace, "a", grace_seconds=5)
        leaving = await world.cluster.get(kinds.PODS, world.namespace, "a")
        assert leaving["metadata"]["deletionGracePeriodSeconds"] == 5
        await world.cluster.delete(kinds.PODS, world.namespace, "a", grace_seconds=0)
        assert await world.missing(kinds.PODS, "a")

    async def test_a_pod_can_be_evicted(self, world: World) -> None:
        await world.make(kinds.PODS, "a", pod())
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}}
        await world.cluster.create_subresource(kinds.PODS, world.namespace, "a", "eviction", eviction)
        assert await world.missing(kinds.PODS, "a")
        with pytest.raises(NotFound):
            await world.cluster.create_subresource(kinds.PODS, world.namespace, "a", "eviction", eviction)


class TestNamespace:
    async def test_it_takes_everything_with_it(self, world: World) -> None:
        name = f"{world.namespace}-doomed"
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await world.cluster.create(kinds.NAMESPACES, None, namespace)
        held = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["trimtab.dev/x"]}}
        await world.cluster.create(kinds.CONFIG_MAPS, name, held)
        free = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "free"}}
        await world.cluster.create(kinds.CONFIG_MAPS, name, free)
        await world.cluster.delete(kinds.NAMESPACES, None, name)

        async def free_is_gone() -> bool:
            return await world.missing(kinds.CONFIG_MAPS, "free", name)

        await world.eventually(free_is_gone, "the namespace's contents are deleted")
        terminating = await world.cluster.get(kinds.NAMESPACES, None, name)
        assert terminating["status"]["phase"] == "Terminating"
        with pytest.raises(Rejected, match="being terminated"):
            await world.cluster.create(kinds.CONFIG_MAPS, name, free)
        left = await world.cluster.get(kinds.CONFIG_MAPS, name, "held")
        await world.cluster.replace(kinds.CONFIG_MAPS, name, "held", with_metadata(left, finalizers=None))

        async def all_gone() -> bool:
            return await world.missing(kinds.NAMESPACES, name)

        await world.eventually(all_gone, "the namespace is gone")


class TestLease:
    async def test_times_and_holder_come_back_as_written(self, world: World) -> None:
        now = micro_time(1_800_000_000.123456)
        spec = {"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": now, "leaseTransitions": 0}
        made = await world.make(kinds.LEASES, "a", {"spec": spec})
        assert made["spec"] == spec
        empty = made | {"spec": spec | {"holderIdentity": ""}}
        assert (await world.cluster.replace(kinds.LEASES, world.namespace, "a", empty))["spec"]["holderIdentity"] == ""


ROUTE = {"apiVersion": kinds.HTTP_ROUTES.api_version, "kind": kinds.HTTP_ROUTES.name}
RULE = {"name": "main", "backendRefs": [{"name": "web", "port": 80}]}
Owned = dict[str, set[str]]


def route(*rules: Manifest, **metadata: Any) -> dict[str, Any]:
    """An HTTPRoute as people write it: without what the server fills in."""
    spec = {"parentRefs": [{"name": "gateway"}], "rules": list(rules or (RULE,))}
    return {**ROUTE, "metadata": {"name": "web", **metadata}, "spec": spec}


def owned(obj: Manifest) -> Owned:
    """Paths by who owns them; maps themselves are left out."""
    found: Owned = {}
    for entry in obj["metadata"].get("managedFields") or ():
        who = " ".join(entry[k] for k in ("manager", "operation", "subresource") if k in entry)
        found[who] = set(_paths(entry["fieldsV1"], ""))
        assert (entry["apiVersion"], entry["fieldsType"]) == (ROUTE["apiVersion"], "FieldsV1")
        assert entry.get("time", "Z").endswith("Z")
    return found


def _paths(tree: Manifest, above: str) -> Iterator[str]:
    for key, below in tree.items():
        if below:
            yield from _paths(below, f"{above}{key.removeprefix('f:')} ")
        elif key != ".":
            yield above + key.removeprefix("f:")


class TestRoutes:
    async def test_the_server_fills_in_defaults(self, world: World) -> None:
        other = {"matches": [{"method": "GET"}], "backendRefs": [{"name": "b", "port": 1, "weight": 0}]}
        made = await world.cluster.create(kinds.HTTP_ROUTES, world.namespace, route(RULE, other))
        reference = {"group": "", "kind": "Service"}
        path = {"path": {"type": "PathPrefix", "value": "/"}}
        assert made["spec"] == {
            "parentRefs": [{"group": ROUTE["apiVersion"].split("/")[0], "kind": "Gateway", "name": "gateway"}],
            "rules": [
                {
                    "name": "main",
                    "matches": [path],
                    "backendRefs": [{**reference, "name": "web", "port": 80, "weight": 1}],
                },
                {
                    "matches": [{"method": "GET", **path}],
                    "backendRefs": [{**reference, "name": "b", "port": 1, "weight": 0}],
                },
            ],
        }
        assert made["metadata"]["generation"] == 1

    async def test_status_and_version_are_as_for_any_custom_resource(self, world: World) -> None:
        made = await world.cluster.create(kinds.HTTP_ROUTES, world.namespace, route())
        body = {**made, "status": {"parents": []}}
        written = await world.cluster.replace(kinds.HTTP_ROUTES, world.namespace, "web", body, subresource="status")
        assert written["status"] == {"parents": []}
        with pytest.raises(Conflict):
            await world.cluster.replace(kinds.HTTP_ROUTES, world.namespace, "web", {**made, "spec": {}})
        with pytest.raises(Rejected, match="resourceVersion"):
            await world.cluster.replace(kinds.HTTP_ROUTES, world.namespace, "web", route())

    @pytest.mark.parametrize(
        ("refs", "words"),
        [
            ([{"name": "a", "port": 80, "weight": 1_000_001}], "less than or equal to 1000000"),
            ([{"name": "a", "port": 80, "weight": -1}], "greater than or equal to 0"),
            ([{"name": "a"}], "Must have port for Service reference"),
            ([{"name": f"a{n}", "port": 80} for n in range(17)], "must have at most 16 items"),
        ],
    )
    async def test_what_a_rule_may_hold(self, world: World, refs: list[Manifest], words: str) -> None:
        with pytest.raises(Rejected, match=words):
            await world.cluster.create(kinds.HTTP_ROUTES, world.namespace, route({"backendRefs": refs}))

    async def test_names_of_rules_may_be_repeated(self, world: World) -> None:
        made = await world.cluster.create(kinds.HTTP_ROUTES, world.namespace, route(RULE, RULE))
        assert [rule["name"] for rule in made["spec"]["rules"]] == ["main", "main"]


def weighted(obj: Manifest, weight: int, **annotations: str) -> dict[str, Any]:
    """The same with another weight, and annotations."""
    (rule,) = obj["spec"]["rules"]
    rules = [{**rule, "backendRefs": [{**rule["backendRefs"][0], "weight": weight}]}]
    changed = with_metadata(obj, annotations=annotations or None)
    return {**changed, "spec": {**obj["spec"], "rules": rules}}


class TestOwnership:
    """Of fields, for what the operator must leave as it found it."""

    async def put(self, world: World, body: Manifest) -> Manifest:
        return await world.plain.replace(kinds.HTTP_ROUTES, world.namespace, "web", body)

    async def test_a_write_takes_what_it_changes(self, world: World) -> None:
        made = world.apply(route(labels={"team": "shop"}), "argocd")
        theirs = {"spec parentRefs", "metadata labels team"}
        assert owned(made) == {"argocd Apply": theirs | {"spec rules"}}
        changed = await self.put(world, weighted(made, 900, note="1"))
        ours = {"spec rules", "metadata annotations note"}
        assert owned(changed) == {"argocd Apply": theirs, "trimtab Update": ours}
        same = await self.put(world, weighted(changed, 900, note="1"))
        assert same == changed
        back = await self.put(world, weighted(changed, 1, note="1"))
        assert owned(back) == owned(changed)  # the same values are still ours

    async def test_what_differs_is_a_conflict_for_apply(self, world: World) -> None:
        made = world.apply(route(), "argocd")
        changed = await self.put(world, weighted(made, 900))
        with pytest.raises(Conflict) as caught:
            world.apply(route(), "argocd")
        using = f'conflict with "trimtab" using {ROUTE["apiVersion"]}'
        assert caught.value.message == f"Apply failed with 1 conflict: {using}: .spec.rules"
        await self.put(world, weighted(changed, 1))
        with pytest.raises(Conflict, match=r"spec\.rules"):  # what it leaves to defaults is another value than ours
            world.apply(route(), "argocd")
        forced = world.apply(route(), "argocd", force=True)
        assert owned(forced) == {"argocd Apply": {"spec parentRefs", "spec rules"}}

    async def test_owners_can_be_given_back(self, world: World) -> None:
        made = world.apply(route(labels={"team": "shop"}), "argocd")
        changed = await self.put(world, weighted(made, 900, note="1"))
        back = await self.put(world, weighted(changed, 1, note="1"))
        restored = with_metadata(back, annotations=None, managedFields=made["metadata"]["managedFields"])
        after = await self.put(world, restored)
        assert (after["spec"], owned(after)) == (made["spec"], owned(made))
        assert "annotations" not in after["metadata"]
        again = world.apply(route(labels={"team": "shop"}), "argocd")
        assert again["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]

    async def test_of_whoever_wrote_without_apply_too(self, world: World) -> None:
        made = await world.plain.create(kinds.HTTP_ROUTES, world.namespace, route())
        assert owned(made) == {"trimtab Update": {"spec parentRefs", "spec rules"}}
        (entry,) = made["metadata"]["managedFields"]
        kubectl = with_metadata(made, managedFields=[{**entry, "manager": "kubectl"}])
        given = await self.put(world, kubectl)
        assert owned(given) == {"kubectl Update": {"spec parentRefs", "spec rules"}}
        changed = await self.put(world, weighted(given, 900))
        assert owned(changed) == {"kubectl Update": {"spec parentRefs"}, "trimtab Update": {"spec rules"}}

    async def test_leaving_them_out_keeps_them(self, world: World) -> None:
        made = world.apply(route(), "argocd")
        changed = await self.put(world, with_metadata(weighted(made, 900), managedFields=None))
        assert owned(changed) == {"argocd Apply": {"spec parentRefs"}, "trimtab Update": {"spec rules"}}
        emptied = await self.put(world, with_metadata(weighted(changed, 901), managedFields=[]))
        assert owned(emptied) == owned(changed)

    async def test_one_empty_entry_ends_the_tracking(self, world: World) -> None:
        made = world.apply(route(), "argocd")
        untracked = await self.put(world, with_metadata(made, managedFields=[{}]))
        assert owned(untracked) == {}
        assert owned(await self.put(world, weighted(untracked, 5))) == {}

    async def test_the_status_has_owners_of_its_own(self, world: World) -> None:
        made = world.apply(route(), "argocd")
        body = {**made, "status": {"parents": []}}
        written = await world.plain.replace(kinds.HTTP_ROUTES, world.namespace, "web", body, subresource="status")
        assert owned(written) == {**owned(made), "trimtab Update status": {"status parents"}}

    async def test_what_an_apply_leaves_out_goes(self, world: World) -> None:
        world.apply(route(labels={"team": "shop", "tier": "1"}), "argocd")
        smaller = world.apply(route(labels={"team": "shop"}), "argocd")
        assert smaller["metadata"]["labels"] == {"team": "shop"}
        assert owned(smaller) == {"argocd Apply": {"spec parentRefs", "spec rules", "metadata labels team"}}

    async def test_two_who_apply(self, world: World) -> None:
        world.apply(route(labels={"team": "shop"}), "argocd")
        with pytest.raises(Conflict) as caught:
            world.apply(route({**RULE, "name": "other"}), "flux")
        listed = 'conflicts with "argocd":\n- .spec.parentRefs\n- .spec.rules'
        assert caught.value.message == f"Apply failed with 2 conflicts: {listed}"
        label = {**ROUTE, "metadata": {"name": "web", "labels": {"team": "shop"}}}
        shared = world.apply(label, "flux")
        assert "time" not in next(e for e in shared["metadata"]["managedFields"] if e["manager"] == "flux")
        assert owned(shared)["flux Apply"] == {"metadata labels team"} < owned(shared)["argocd Apply"]
