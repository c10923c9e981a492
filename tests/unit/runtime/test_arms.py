"""Arms are looked for in one way: in one namespace or in all, of one Experiment or of all."""

from __future__ import annotations

from typing import Any

import pytest

from trimtab.adapters.clock import LoopClock
from trimtab.domain import kinds
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.domain.names import LABEL_ARM, LABEL_EXPERIMENT, LABEL_EXPERIMENT_UID, LABEL_TRIAL
from trimtab.runtime.arms import ArmReader
from trimtab.simulate.cluster import InMemoryCluster

pytestmark = pytest.mark.looptime


class Counting(InMemoryCluster):
    """Remembers which kinds were listed."""

    def __init__(self) -> None:
        super().__init__(LoopClock(), namespaces=["shop", "store"])
        self.listed: list[str] = []

    async def list(self, kind: Kind, namespace: str | None, *, labels: str = "") -> tuple[Manifest, ...]:
        self.listed.append(kind.plural)
        return await super().list(kind, namespace, labels=labels)


async def arm_pod(cluster: InMemoryCluster, namespace: str, name: str, experiment: str) -> None:
    """A pod of an arm whose Deployment is gone, or of which nothing else was made yet."""
    labels = {LABEL_ARM: "canary", LABEL_EXPERIMENT: experiment, LABEL_EXPERIMENT_UID: f"uid-{experiment}"}
    labels[LABEL_TRIAL] = f"trial-{experiment}"
    body: dict[str, Any] = {"metadata": {"name": name, "labels": labels}, "spec": {"containers": []}}
    await cluster.create(kinds.PODS, namespace, body)


async def serve(cluster: InMemoryCluster, namespace: str, pod: str) -> None:
    endpoint = {"conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": pod}}
    body = {"metadata": {"name": "web-1"}, "addressType": "IPv4", "endpoints": [endpoint]}
    await cluster.create(kinds.ENDPOINT_SLICES, namespace, body)


async def test_in_every_namespace_and_endpoints_count_only_in_their_own() -> None:
    cluster = Counting()
    await arm_pod(cluster, "shop", "tt-1-0-c-x-y", "one")
    await arm_pod(cluster, "store", "tt-1-0-c-x-y", "two")
    await serve(cluster, "store", "tt-1-0-c-x-y")
    found = await ArmReader(cluster).read(None)
    assert [(a.namespace, a.experiment_name, a.experiment_uid, a.trial_uid, a.ready_endpoints) for a in found] == [
        ("shop", "one", "uid-one", "trial-one", 0),
        ("store", "two", "uid-two", "trial-two", 1),
    ]


async def test_a_reader_sees_what_changed_since_it_looked() -> None:
    cluster = Counting()
    reader = ArmReader(cluster)
    await arm_pod(cluster, "shop", "tt-1-0-c-x-y", "one")
    (before,) = await reader.read(None)
    assert await reader.read(None) == (before,)
    await serve(cluster, "shop", "tt-1-0-c-x-y")
    (after,) = await reader.read(None)
    assert (before.ready_endpoints, after.ready_endpoints) == (0, 1)
    await arm_pod(cluster, "shop", "tt-2-0-c-x-y", "two")
    assert [a.experiment_name for a in await reader.read(None)] == ["one", "two"]


async def test_of_one_experiment_in_its_namespace() -> None:
    cluster = Counting()
    await arm_pod(cluster, "shop", "tt-1-0-c-x-y", "one")
    await arm_pod(cluster, "shop", "tt-2-0-c-x-y", "two")
    await arm_pod(cluster, "store", "tt-1-0-c-x-y", "one")
    found = await ArmReader(cluster).read("shop", "uid-one")
    assert [(a.namespace, a.experiment_name) for a in found] == [("shop", "one")]


async def test_where_there_are_none_no_endpoints_are_read() -> None:
    cluster = Counting()
    await serve(cluster, "shop", "web-1")
    assert await ArmReader(cluster).read(None) == ()
    assert sorted(cluster.listed) == ["deployments", "pods", "replicasets"]


async def test_what_was_made_of_an_arm_stands_until_it_or_its_endpoints_change() -> None:
    cluster = Counting()
    reader = ArmReader(cluster)
    await arm_pod(cluster, "shop", "tt-1-0-c-x-y", "one")
    await arm_pod(cluster, "shop", "tt-2-0-c-x-y", "two")
    first, second = await reader.read(None)
    assert [a is b for a, b in zip(await reader.read(None), (first, second), strict=True)] == [True, True]
    await serve(cluster, "shop", "tt-1-0-c-x-y")
    served, same = await reader.read(None)
    assert (served.ready_endpoints, same is second) == (1, True)
    pod = await cluster.get(kinds.PODS, "shop", "tt-2-0-c-x-y")
    await cluster.replace(
        kinds.PODS, "shop", "tt-2-0-c-x-y", {**pod, "status": {"phase": "Failed"}}, subresource="status"
    )
    again, changed = await reader.read(None)
    assert again is served
    assert changed.pods[0].phase == "Failed"


async def test_autoscalers_are_listed_only_where_arms_scale() -> None:
    cluster = Counting()
    await arm_pod(cluster, "shop", "tt-1-0-c-x-y", "one")
    await ArmReader(cluster).read("shop")
    assert kinds.HORIZONTAL_POD_AUTOSCALERS.plural not in cluster.listed
