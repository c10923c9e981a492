"""What the in-memory Cluster has beyond the contract: hooks for faults, watchers, and that it forgets what is gone."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from trimtab.adapters.clock import LoopClock
from trimtab.domain import kinds
from trimtab.domain.errors import NotFound, Rejected, Unavailable
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.simulate.cluster import Effect, InMemoryCluster, WatchEvent


def named(name: str, **metadata: object) -> dict[str, object]:
    """A body with little in it."""
    return {"metadata": {"name": name, **metadata}}


@pytest.fixture
async def cluster() -> InMemoryCluster:
    return InMemoryCluster(LoopClock())


async def test_a_fault_before_an_effect_prevents_it(cluster: InMemoryCluster) -> None:
    async def fail(effect: Effect) -> None:
        raise Unavailable(503, str(effect))

    cluster.before_effect = fail
    with pytest.raises(Unavailable, match="503: create:ConfigMap"):
        await cluster.create(kinds.CONFIG_MAPS, "default", named("a"))
    cluster.before_effect = None
    assert await cluster.list(kinds.CONFIG_MAPS, None) == ()


async def test_a_fault_after_an_effect_only_hides_it(cluster: InMemoryCluster) -> None:
    made = await cluster.create(kinds.TRIALS, "default", named("a"))
    seen: list[str] = []

    async def lose(effect: Effect) -> None:
        seen.append(str(effect))
        raise Unavailable(0, "time-out")

    cluster.after_effect = lose
    with pytest.raises(Unavailable):
        await cluster.replace(kinds.TRIALS, "default", "a", {**made, "status": {"n": 1}}, subresource="status")
    with pytest.raises(Unavailable):
        await cluster.delete(kinds.TRIALS, "default", "a")
    assert seen == ["replace:Trial/status", "delete:Trial"]
    assert await cluster.list(kinds.TRIALS, None) == ()


async def test_reads_and_dry_runs_are_no_effects(cluster: InMemoryCluster) -> None:
    async def fail(effect: Effect) -> None:
        raise AssertionError(effect)

    cluster.before_effect = cluster.after_effect = fail
    await cluster.create(kinds.CONFIG_MAPS, "default", named("a"), dry_run=True)
    await cluster.list(kinds.CONFIG_MAPS, "default")
    await cluster.version()


async def test_admission_can_refuse_or_compare(cluster: InMemoryCluster) -> None:
    def admit(kind: Kind, verb: str, new: Manifest, old: Manifest | None) -> None:
        if old is not None and (old.get("status") or {}).get("phase") == "Succeeded":
            raise Rejected(422, f"{kind.name} {new['metadata']['name']}: a terminal status never changes ({verb})")

    cluster.admit = admit
    made = await cluster.create(kinds.TRIALS, "default", named("a"))
    done = {**made, "status": {"phase": "Succeeded"}}
    done = dict(await cluster.replace(kinds.TRIALS, "default", "a", done, subresource="status"))
    with pytest.raises(Rejected, match="a terminal status never changes"):
        await cluster.replace(kinds.TRIALS, "default", "a", {**done, "status": {}}, subresource="status")


async def test_watchers_see_each_change_once_and_in_order(cluster: InMemoryCluster) -> None:
    events: list[WatchEvent] = []
    unsubscribe = cluster.subscribe(events.append)
    parent = await cluster.create(kinds.TRIALS, "default", named("a"))
    reference = {"apiVersion": "x", "kind": "Trial", "name": "a", "uid": parent["metadata"]["uid"]}
    await cluster.create(kinds.DEPLOYMENTS, "default", named("arm", ownerReferences=[reference]))
    await cluster.replace(kinds.TRIALS, "default", "a", {**parent, "status": {"n": 1}}, subresource="status")
    await cluster.delete(kinds.TRIALS, "default", "a")
    assert [(event.type, event.kind.name) for event in events] == [
        ("ADDED", "Trial"),
        ("ADDED", "Deployment"),
        ("MODIFIED", "Trial"),
        ("DELETED", "Trial"),
        ("DELETED", "Deployment"),
    ]
    versions = [int(event.object["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))
    unsubscribe()
    await cluster.create(kinds.CONFIG_MAPS, "default", named("late"))
    assert len(events) == 5


async def test_watchers_of_some_kinds_see_no_others(cluster: InMemoryCluster) -> None:
    events: list[WatchEvent] = []
    unsubscribe = cluster.subscribe(events.append, (kinds.CONFIG_MAPS, kinds.PODS))
    await cluster.create(kinds.TRIALS, "default", named("a"))
    await cluster.create(kinds.CONFIG_MAPS, "default", named("b"))
    assert [event.kind for event in events] == [kinds.CONFIG_MAPS]
    unsubscribe()
    await cluster.create(kinds.CONFIG_MAPS, "default", named("c"))
    assert len(events) == 1


async def test_a_list_is_of_this_moment(cluster: InMemoryCluster) -> None:
    async def names(labels: str = "") -> list[str]:
        return [m["metadata"]["name"] for m in await cluster.list(kinds.CONFIG_MAPS, "default", labels=labels)]

    assert (await names(), await names("a=1")) == ([], [])
    made = await cluster.create(kinds.CONFIG_MAPS, "default", named("b", labels={"a": "1"}))
    assert (await names(), await names("a=1")) == (["b"], ["b"])
    await cluster.replace(kinds.CONFIG_MAPS, "default", "b", {**made, "metadata": {**made["metadata"], "labels": {}}})
    assert (await names(), await names("a=1")) == (["b"], [])
    await cluster.delete(kinds.CONFIG_MAPS, "default", "b")
    assert await names() == []


async def test_what_is_handed_out_cannot_be_changed(cluster: InMemoryCluster) -> None:
    body = {"metadata": {"name": "a", "labels": {"x": "y"}}, "data": {"k": "v"}, "list": [{"n": 1}]}
    made = await cluster.create(kinds.CONFIG_MAPS, "default", body)
    body["data"]["k"] = "changed"  # type: ignore[index]
    for each in (made, *await cluster.list(kinds.CONFIG_MAPS, "default")):
        with pytest.raises(TypeError, match="build a changed one"):
            each["data"]["k"] = "changed"
        with pytest.raises(TypeError, match="build a changed one"):
            each["list"].append("more")
        with pytest.raises(TypeError, match="build a changed one"):
            each["list"][0].update(n=2)
    mine = copy.deepcopy(made)
    mine["data"]["k"] = "mine"
    mine["list"].append("more")
    stored = await cluster.get(kinds.CONFIG_MAPS, "default", "a")
    assert (stored["data"], stored["list"]) == ({"k": "v"}, [{"n": 1}])
    assert pickle.loads(pickle.dumps(stored)) == json.loads(json.dumps(stored)) == stored


async def test_a_past_version_can_be_read_again(cluster: InMemoryCluster) -> None:
    made = await cluster.create(kinds.CONFIG_MAPS, "default", named("a", labels={"n": "1"}))
    then = cluster.objects.version
    changed = await cluster.replace(kinds.CONFIG_MAPS, "default", "a", {**made, "data": {"k": "v"}})
    await cluster.create(kinds.CONFIG_MAPS, "default", named("b"))
    await cluster.delete(kinds.CONFIG_MAPS, "default", "a")
    old = cluster.objects.as_of(then)[kinds.CONFIG_MAPS]
    assert old["default"] == {"a": made}
    assert cluster.objects.as_of(then + 1)[kinds.CONFIG_MAPS]["default"] == {"a": changed}
    events = cluster.objects.since(then)
    assert events is not None
    assert [(e.type, e.object["metadata"]["name"]) for e in events] == [
        ("MODIFIED", "a"),
        ("ADDED", "b"),
        ("DELETED", "a"),
    ]
    assert cluster.objects.since(cluster.objects.version) == ()


async def test_the_past_is_short(cluster: InMemoryCluster) -> None:
    short = InMemoryCluster(LoopClock(), history=2)
    first = short.objects.version
    for name in "abc":
        await short.create(kinds.CONFIG_MAPS, "default", named(name))
    assert short.objects.since(first) is None
    assert len(short.objects.since(first + 1) or ()) == 2


async def test_the_same_seed_gives_the_same_uids() -> None:
    def uids(cluster: InMemoryCluster, made: Manifest) -> str:
        return str(made["metadata"]["uid"])

    first, again, other = (InMemoryCluster(LoopClock(), seed=seed) for seed in (1, 1, 2))
    made = [uids(c, await c.create(kinds.CONFIG_MAPS, "default", named("a"))) for c in (first, again, other)]
    assert made[0] == made[1] != made[2]


async def test_nothing_is_kept_of_what_is_gone(cluster: InMemoryCluster) -> None:
    for number in range(200):
        parent = await cluster.create(kinds.TRIALS, "default", named(f"t{number}", labels={"n": str(number)}))
        reference = {"apiVersion": "x", "kind": "Trial", "name": "a", "uid": parent["metadata"]["uid"]}
        await cluster.create(kinds.DEPLOYMENTS, "default", named(f"d{number}", ownerReferences=[reference]))
        await cluster.delete(kinds.TRIALS, "default", f"t{number}")
    with pytest.raises(NotFound):
        await cluster.get(kinds.DEPLOYMENTS, "default", "d199")
    assert cluster.objects._labelled == {}
    assert cluster.objects._dependents == {}
    assert len(cluster.objects._uids) == 1  # the namespace
