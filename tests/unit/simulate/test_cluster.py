"""What the in-memory Cluster has beyond the contract: hooks for faults, watchers, and that it forgets what is gone."""

from __future__ import annotations

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


async def test_what_is_handed_out_is_a_copy(cluster: InMemoryCluster) -> None:
    body = {"metadata": {"name": "a", "labels": {"x": "y"}}, "data": {"k": "v"}}
    made = await cluster.create(kinds.CONFIG_MAPS, "default", body)
    body["data"]["k"] = "changed"
    made["data"]["k"] = "changed"
    (await cluster.get(kinds.CONFIG_MAPS, "default", "a"))["data"]["k"] = "changed"
    for each in await cluster.list(kinds.CONFIG_MAPS, "default"):
        each["data"]["k"] = "changed"
    assert (await cluster.get(kinds.CONFIG_MAPS, "default", "a"))["data"] == {"k": "v"}


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
    assert cluster._labelled == {}
    assert cluster._dependents == {}
    assert len(cluster._uids) == 1  # the namespace
