"""Withdrawing an arm: order, uid preconditions, silence, and what must not be touched. Virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from trimtab.adapters.clock import LoopClock
from trimtab.domain import kinds
from trimtab.domain.errors import ApiError, Conflict, Forbidden, NotFound, Rejected, RetryLater, Throttled, Unavailable
from trimtab.domain.kinds import Kind
from trimtab.domain.names import LABEL_ARM, LABEL_EXPERIMENT_UID, LABEL_TRIAL
from trimtab.runtime.withdraw import QUIET_SECONDS, REMEMBERED, Latch, Withdrawer
from trimtab.simulate.client import Client, Request
from trimtab.simulate.cluster import Effect, InMemoryCluster

pytestmark = pytest.mark.looptime

EXPERIMENT, TRIAL = "experiment-uid", "trial-uid"


def labelled(kind: Kind, name: str, trial: str = TRIAL, arm: str = "canary", **extra: Any) -> dict[str, Any]:
    labels = {LABEL_ARM: arm, LABEL_EXPERIMENT_UID: EXPERIMENT, LABEL_TRIAL: trial}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        **extra,
    }


async def world(cluster: InMemoryCluster, trial: str = TRIAL, prefix: str = "arm", arm: str = "canary") -> None:
    """One arm: Deployment, ReplicaSet, pod, and the pod's ready endpoint."""
    for kind in (kinds.DEPLOYMENTS, kinds.REPLICA_SETS, kinds.PODS):
        await cluster.create(kind, "shop", labelled(kind, f"{prefix}-{kind.plural}", trial, arm, spec={}))
    endpoint = {"conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": f"{prefix}-pods"}}
    slices = kinds.ENDPOINT_SLICES
    body = {
        "apiVersion": slices.api_version,
        "kind": slices.name,
        "metadata": {"name": f"{prefix}-slice", "namespace": "shop"},
        "addressType": "IPv4",
        "endpoints": [endpoint],
    }
    await cluster.create(slices, "shop", body)


async def left(cluster: InMemoryCluster) -> list[str]:
    found = []
    for kind in (kinds.DEPLOYMENTS, kinds.REPLICA_SETS, kinds.PODS):
        found += [m["metadata"]["name"] for m in await cluster.list(kind, "shop", labels=LABEL_ARM)]
    return found


async def test_the_deployment_goes_first_so_that_nothing_recreates_a_pod() -> None:
    effects: list[str] = []

    async def note(effect: Effect) -> None:
        effects.append(str(effect))

    clock = LoopClock()
    cluster = InMemoryCluster(clock, namespaces=["shop"])
    cluster.before_effect = note
    await world(cluster)
    effects.clear()
    assert await Withdrawer(cluster, clock).send("shop", EXPERIMENT, TRIAL) == 3
    assert [e.split(":")[1].split()[0].split("/")[0] for e in effects] == ["Deployment", "ReplicaSet", "Pod"]
    assert await left(cluster) == []


async def test_an_autoscaler_goes_before_what_it_scales_and_a_service_after_its_pods() -> None:
    effects: list[str] = []

    async def note(effect: Effect) -> None:
        effects.append(str(effect))

    clock = LoopClock()
    cluster = InMemoryCluster(clock, namespaces=["shop"])
    await world(cluster)
    for kind in (kinds.SERVICES, kinds.HORIZONTAL_POD_AUTOSCALERS):
        await cluster.create(kind, "shop", labelled(kind, f"arm-{kind.plural}", spec={}))
    cluster.before_effect = note
    assert await Withdrawer(cluster, clock).send("shop", EXPERIMENT, TRIAL) == 5
    assert effects == [
        "delete:HorizontalPodAutoscaler", "delete:Deployment", "delete:ReplicaSet", "delete:Pod", "delete:Service",
    ]  # fmt: skip


@pytest.mark.parametrize("answer", [Forbidden(403, "no right"), NotFound(404, "not served")])
async def test_what_this_operator_cannot_have_made_is_skipped(answer: ApiError) -> None:
    clock = LoopClock()
    cluster = InMemoryCluster(clock, namespaces=["shop"])
    await world(cluster)

    async def before(request: Request) -> None:
        if request.verb == "list" and request.kind in {kinds.SERVICES, kinds.HORIZONTAL_POD_AUTOSCALERS}:
            raise answer

    client = Client(cluster)
    client.before = before
    assert await Withdrawer(client, clock).send("shop", EXPERIMENT, TRIAL) == 3


async def test_a_right_on_arms_that_is_missing_is_not_skipped() -> None:
    clock = LoopClock()
    cluster = InMemoryCluster(clock, namespaces=["shop"])
    await world(cluster)

    async def before(request: Request) -> None:
        if request.verb == "list" and request.kind == kinds.PODS:
            raise Forbidden(403, "no right")

    client = Client(cluster)
    client.before = before
    with pytest.raises(Forbidden):
        await Withdrawer(client, clock).send("shop", EXPERIMENT, TRIAL)


SCALERS = kinds.HORIZONTAL_POD_AUTOSCALERS
REFUSED = {
    "no right to autoscalers any more": (SCALERS, Forbidden(403, "no right"), []),
    "a webhook that fails on autoscalers": (SCALERS, Unavailable(500, "webhook"), []),
    "a policy that holds Deployments": (
        kinds.DEPLOYMENTS, Rejected(403, "denied the request"), ["b-deployments", "b-replicasets", "b-pods"],
    ),
    "a Deployment that others write": (
        kinds.DEPLOYMENTS, Conflict(409, "modified"), ["b-deployments", "b-replicasets", "b-pods"],
    ),
    "a server that fails at ReplicaSets": (
        kinds.REPLICA_SETS, Unavailable(500, "try again"), ["b-replicasets", "b-pods"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "answer", "stay"), REFUSED.values(), ids=REFUSED)
async def test_what_is_refused_keeps_nothing_in_the_traffic_that_would_not_come_back(
    kind: Kind, answer: ApiError, stay: list[str]
) -> None:
    """A pod whose ReplicaSet stays is made anew, beside the one that ends: it waits. The other arm does not."""
    clock = LoopClock()
    cluster = InMemoryCluster(clock, namespaces=["shop"])
    await world(cluster, prefix="b", arm="control")
    await world(cluster, prefix="c")
    await cluster.create(SCALERS, "shop", labelled(SCALERS, "b-scaler", spec={}))

    async def before(request: Request) -> None:
        if (request.verb, request.kind, request.name[:1]) == ("delete", kind, "b"):
            raise answer

    client = Client(cluster)
    client.before = before
    with pytest.raises(type(answer)):  # it is said, and tried again
        await Withdrawer(client, clock).send("shop", EXPERIMENT, TRIAL)
    assert await left(cluster) == stay


async def test_another_object_of_that_name_holds_nothing() -> None:
    """The Deployment went, and somebody made another one between the list and the deletion."""
    clock = LoopClock()
    cluster = InMemoryCluster(clock, namespaces=["shop"])
    await world(cluster)

    async def before(request: Request) -> None:
        if (request.verb, request.kind) == ("delete", kinds.DEPLOYMENTS) and "replaced" not in seen:
            seen.add("replaced")
            await cluster.delete(kinds.DEPLOYMENTS, "shop", request.name)
            body = {"metadata": {"name": request.name, "namespace": "shop"}, "spec": {}}
            await cluster.create(kinds.DEPLOYMENTS, "shop", body)

    seen: set[str] = set()
    client = Client(cluster)
    client.before = before
    assert await Withdrawer(client, clock).send("shop", EXPERIMENT, TRIAL) == 2
    assert await left(cluster) == []
    assert [m["metadata"]["name"] for m in await cluster.list(kinds.DEPLOYMENTS, "shop")] == ["arm-deployments"]


@pytest.mark.parametrize("answer", [Unavailable(0, "no answer within 4 s"), Throttled("slow down", 1.0)])
async def test_a_server_that_does_not_answer_is_not_asked_on(answer: ApiError) -> None:
    clock = LoopClock()
    cluster = InMemoryCluster(clock, namespaces=["shop"])
    await world(cluster)
    asked = 0

    async def before(request: Request) -> None:
        nonlocal asked
        if request.verb == "delete":
            asked += 1
            raise answer

    client = Client(cluster)
    client.before = before
    with pytest.raises(type(answer)):
        await Withdrawer(client, clock).send("shop", EXPERIMENT, TRIAL)
    assert asked == 1


async def test_another_trials_arm_is_not_touched() -> None:
    clock = LoopClock()
    cluster = InMemoryCluster(clock, namespaces=["shop"])
    await world(cluster)
    await world(cluster, "other-trial", "other")
    await Withdrawer(cluster, clock).send("shop", EXPERIMENT, TRIAL)
    assert await left(cluster) == ["other-deployments", "other-replicasets", "other-pods"]


async def test_sending_twice_is_sending_once() -> None:
    clock = LoopClock()
    cluster = InMemoryCluster(clock, namespaces=["shop"])
    await world(cluster)
    withdrawer = Withdrawer(cluster, clock)
    await withdrawer.send("shop", EXPERIMENT, TRIAL)
    assert await withdrawer.send("shop", EXPERIMENT, TRIAL) == 0


async def test_verified_waits_for_two_seconds_of_silence() -> None:
    clock = LoopClock()
    cluster = InMemoryCluster(clock, namespaces=["shop"])
    await world(cluster)
    begun = clock.monotonic()
    await Withdrawer(cluster, clock).verified("shop", EXPERIMENT, TRIAL)
    assert clock.monotonic() - begun >= QUIET_SECONDS
    assert await left(cluster) == []


async def test_what_cannot_be_deleted_is_said_and_retried() -> None:
    clock = LoopClock()
    cluster = InMemoryCluster(clock, namespaces=["shop"])
    body = labelled(kinds.PODS, "stuck", spec={})
    body["metadata"]["finalizers"] = ["somebody.example/holds"]
    await cluster.create(kinds.PODS, "shop", body)
    slices = kinds.ENDPOINT_SLICES
    endpoint = {"conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": "stuck"}}
    await cluster.create(
        slices,
        "shop",
        {
            "apiVersion": slices.api_version,
            "kind": slices.name,
            "metadata": {"name": "slice", "namespace": "shop"},
            "addressType": "IPv4",
            "endpoints": [endpoint],
        },
    )
    with pytest.raises(RetryLater, match="still ready"):
        await Withdrawer(cluster, clock).silenced("shop", EXPERIMENT, TRIAL)


async def test_the_latch_remembers_the_newest_and_stays_small() -> None:
    latch = Latch()
    for number in range(REMEMBERED + 1):
        latch.set(f"trial-{number}")
    assert (latch.is_set("trial-0"), latch.is_set("trial-1"), latch.is_set(f"trial-{REMEMBERED}")) == (
        False,
        True,
        True,
    )
