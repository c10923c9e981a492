"""What Deployments, nodes, Services and quotas do to a cluster by themselves.

Here it is the simulated cluster in virtual time; `tests/cluster/test_contract_controllers.py` runs the same tests on
the real controllers with the local playground's kubelets. Where the two differ, the simulated one is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from stack.paths import EXAMPLES
from trimtab.domain import kinds
from trimtab.domain.errors import Conflict, NotFound
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.ports import Cluster
from trimtab.simulate.traffic import Scraping
from trimtab.simulate.world import Options, Setting, World
from trimtab.workload import load_workload

pytestmark = pytest.mark.looptime

NAME = "api"
LABELS = {"app": NAME}
TOPOLOGY = "topology.kubernetes.io/"  # a server copies these from a bound pod's Node, if that has any
SUFFIX = "[bcdfghjklmnpqrstvwxz2456789]"
Condition = Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class Plane:
    """A cluster with working controllers, and a namespace of this test's own."""

    cluster: Cluster
    namespace: str
    eventually: Callable[[Condition, str], Awaitable[None]]

    async def list(self, kind: Kind, labels: str = "") -> tuple[Manifest, ...]:
        return await self.cluster.list(kind, self.namespace, labels=labels)

    async def get(self, kind: Kind, name: str = NAME) -> Manifest:
        return await self.cluster.get(kind, self.namespace, name)

    async def make(self, kind: Kind, name: str, spec: dict[str, Any]) -> Manifest:
        body = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name}, "spec": spec}
        return await self.cluster.create(kind, self.namespace, body)

    async def change(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Edit the Deployment, again when somebody else was faster."""

        async def written() -> bool:
            found = await self.get(kinds.DEPLOYMENTS)
            spec = {**found["spec"], "template": {**found["spec"]["template"]}}
            change(spec)
            try:
                await self.cluster.replace(kinds.DEPLOYMENTS, self.namespace, NAME, {**found, "spec": spec})
            except Conflict:
                return False
            return True

        await self.eventually(written, "the Deployment is written")

    async def deployed(self, replicas: int = 3, **resources: str) -> None:
        """A Deployment and its Service, all pods ready and serving."""
        await self.make(kinds.SERVICES, NAME, {"selector": LABELS, "ports": [{"port": 80}]})
        await self.make(kinds.DEPLOYMENTS, NAME, deployment(replicas, **resources))
        await self.available(replicas)

    async def available(self, replicas: int) -> None:
        """Wait until so many pods are up to date and ready, none is left over, and the Service knows them."""

        async def done() -> bool:
            status = (await self.get(kinds.DEPLOYMENTS)).get("status") or {}
            counts = [status.get(n, 0) for n in ("replicas", "updatedReplicas", "availableReplicas", "readyReplicas")]
            pods = await self.list(kinds.PODS, f"app={NAME}")
            return counts == [replicas] * 4 and len(pods) == replicas and len(await self.serving()) == replicas

        await self.eventually(done, f"{replicas} pods are available")

    async def serving(self) -> set[str]:
        """Names of the pods that the Service's slices show ready."""
        slices = await self.list(kinds.ENDPOINT_SLICES, f"kubernetes.io/service-name={NAME}")
        return {
            e["targetRef"]["name"] for s in slices for e in s.get("endpoints") or () if e["conditions"].get("ready")
        }


def deployment(replicas: int, **resources: str) -> dict[str, Any]:
    """The spec of a small one; `resources` are both requests and limits."""
    amounts = {"cpu": "100m", "memory": "64Mi", **resources}
    container = {"name": "main", "image": "api:1", "resources": {"requests": amounts, "limits": dict(amounts)}}
    return {
        "replicas": replicas,
        "selector": {"matchLabels": LABELS},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
        },
    }


@pytest.fixture
async def plane() -> Plane:
    """The simulated one."""
    workload = load_workload(EXAMPLES / "web-service" / "workload.yaml")
    nothing = ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "nothing"}},)
    world = await World.build(Setting(workload, nothing, "contract"), Options(scraping=Scraping(past_days=0.0)))

    async def eventually(condition: Condition, what: str) -> None:
        deadline = world.clock.monotonic() + 60
        while not await condition():
            assert world.clock.monotonic() < deadline, f"timed out waiting: {what}"
            await world.run(0.05)

    return Plane(world.cluster, "contract", eventually)


def condition(obj: Manifest, kind: str) -> Manifest:
    found = (obj.get("status") or {}).get("conditions") or ()
    return next((c for c in found if c["type"] == kind), {})


def owner(obj: Manifest) -> str:
    """Kind/name of the controller."""
    (reference,) = obj["metadata"]["ownerReferences"]
    assert reference["controller"] is True
    return f"{reference['kind']}/{reference['name']}"


class TestDeployments:
    async def test_it_makes_a_replica_set_that_makes_pods(self, plane: Plane) -> None:
        await plane.deployed(3)
        (replica_set,) = await plane.list(kinds.REPLICA_SETS)
        name = replica_set["metadata"]["name"]
        assert re.fullmatch(f"{NAME}-{SUFFIX}{{6,10}}", name)
        assert owner(replica_set) == f"Deployment/{NAME}"
        hashed = replica_set["metadata"]["labels"]["pod-template-hash"]
        assert name == f"{NAME}-{hashed}"
        pods = await plane.list(kinds.PODS)
        for pod in pods:
            assert re.fullmatch(f"{name}-{SUFFIX}{{5}}", pod["metadata"]["name"])
            assert owner(pod) == f"ReplicaSet/{name}"
            labels = {k: v for k, v in pod["metadata"]["labels"].items() if not k.startswith(TOPOLOGY)}
            assert labels == {**LABELS, "pod-template-hash": hashed}
            assert condition(pod, "Ready")["status"] == condition(pod, "PodScheduled")["status"] == "True"
            (container,) = pod["status"]["containerStatuses"]
            assert (container["ready"], container["restartCount"]) == (True, 0)
        found = await plane.get(kinds.DEPLOYMENTS)
        assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
        assert condition(found, "Available")["status"] == "True"
        assert (await plane.serving()) == {p["metadata"]["name"] for p in pods}

    async def test_it_scales(self, plane: Plane) -> None:
        await plane.deployed(3)
        await plane.change(lambda spec: spec.update(replicas=5))
        await plane.available(5)
        await plane.change(lambda spec: spec.update(replicas=2))
        await plane.available(2)

    async def test_it_rolls_without_losing_capacity(self, plane: Plane) -> None:
        await plane.deployed(3)
        (before,) = await plane.list(kinds.REPLICA_SETS)
        fewest = 3

        def roll(spec: dict[str, Any]) -> None:
            pod = spec["template"]["spec"]
            spec["template"]["spec"] = {**pod, "containers": [{**pod["containers"][0], "image": "api:2"}]}

        await plane.change(roll)

        async def rolled() -> bool:
            nonlocal fewest
            fewest = min(fewest, len(await plane.serving()))
            sets = {r["metadata"]["name"]: r for r in await plane.list(kinds.REPLICA_SETS)}
            old = sets[before["metadata"]["name"]]
            return len(sets) == 2 and old["spec"]["replicas"] == 0 and not (old.get("status") or {}).get("replicas")

        await plane.eventually(rolled, "the old ReplicaSet is empty")
        await plane.available(3)
        assert fewest == 3
        images = {p["spec"]["containers"][0]["image"] for p in await plane.list(kinds.PODS)}
        assert images == {"api:2"}

    async def test_a_pod_that_is_deleted_is_replaced(self, plane: Plane) -> None:
        await plane.deployed(2)
        victim = (await plane.list(kinds.PODS))[0]["metadata"]
        await plane.cluster.delete(kinds.PODS, plane.namespace, victim["name"], uid=victim["uid"])

        async def gone() -> bool:
            return victim["name"] not in await plane.serving()

        await plane.eventually(gone, "it serves no more")
        await plane.available(2)
        assert victim["name"] not in {p["metadata"]["name"] for p in await plane.list(kinds.PODS)}

    async def test_an_evicted_pod_says_so_and_is_replaced(self, plane: Plane) -> None:
        await plane.deployed(2)
        victim = (await plane.list(kinds.PODS))[0]["metadata"]["name"]
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": victim, "namespace": plane.namespace},
        }
        await plane.cluster.create_subresource(kinds.PODS, plane.namespace, victim, "eviction", body)
        leaving = await plane.get(kinds.PODS, victim)
        assert condition(leaving, "DisruptionTarget")["reason"] == "EvictionByEvictionAPI"
        assert "deletionTimestamp" in leaving["metadata"]
        await plane.available(2)

    async def test_what_it_owned_goes_with_it(self, plane: Plane) -> None:
        await plane.deployed(2)
        await plane.cluster.delete(kinds.DEPLOYMENTS, plane.namespace, NAME)

        async def gone() -> bool:
            left = [*await plane.list(kinds.REPLICA_SETS), *await plane.list(kinds.PODS), *await plane.serving()]
            return not left

        await plane.eventually(gone, "ReplicaSet, pods and endpoints are gone")
        with pytest.raises(NotFound):
            await plane.get(kinds.DEPLOYMENTS)


class TestLimits:
    async def failure(self, plane: Plane) -> str:
        """The words of the Deployment that cannot make its pods."""
        words = ""

        async def failed() -> bool:
            nonlocal words
            found = condition(await plane.get(kinds.DEPLOYMENTS), "ReplicaFailure")
            assert not found or (found["status"], found["reason"]) == ("True", "FailedCreate")
            words = found.get("message", "")
            return bool(words)

        await plane.eventually(failed, "it says why it has no pods")
        return words

    async def test_a_quota_refuses_pods(self, plane: Plane) -> None:
        await plane.make(kinds.RESOURCE_QUOTAS, "few", {"hard": {"pods": "2", "requests.cpu": "1"}})

        async def counted() -> bool:
            return bool((await plane.get(kinds.RESOURCE_QUOTAS, "few")).get("status"))

        await plane.eventually(counted, "the quota is counted")
        await plane.make(kinds.DEPLOYMENTS, NAME, deployment(3))
        words = await self.failure(plane)
        assert re.match(rf'pods "{NAME}-[^"]+" is forbidden: exceeded quota: few, ', words)
        assert words.endswith("requested: pods=1, used: pods=2, limited: pods=2")

        async def used() -> bool:
            status = (await plane.get(kinds.RESOURCE_QUOTAS, "few"))["status"]
            return dict(status["used"]) == {"pods": "2", "requests.cpu": "200m"}

        await plane.eventually(used, "the quota counts two pods")
        assert len(await plane.list(kinds.PODS)) == 2

    async def test_a_limit_range_refuses_pods(self, plane: Plane) -> None:
        limits = [{"type": "Container", "max": {"cpu": "50m"}}]
        await plane.make(kinds.LIMIT_RANGES, "small", {"limits": limits})
        await plane.make(kinds.DEPLOYMENTS, NAME, deployment(1))
        words = await self.failure(plane)
        assert words.endswith("is forbidden: maximum cpu usage per Container is 50m, but limit is 100m")

    async def test_a_pod_without_room_waits_and_says_why(self, plane: Plane) -> None:
        await plane.make(kinds.DEPLOYMENTS, NAME, deployment(1, cpu="900"))
        why: Manifest = {}

        async def waits() -> bool:
            nonlocal why
            pods = await plane.list(kinds.PODS)
            why = condition(pods[0], "PodScheduled") if pods else {}
            return bool(why)

        await plane.eventually(waits, "the scheduler has looked")
        assert (why["status"], why["reason"]) == ("False", "Unschedulable")
        assert re.match(r"0/(\d+) nodes are available: \1 Insufficient cpu", why["message"])

    async def test_a_disruption_budget_counts(self, plane: Plane) -> None:
        await plane.deployed(3)
        spec = {"minAvailable": 2, "selector": {"matchLabels": LABELS}}
        await plane.make(kinds.POD_DISRUPTION_BUDGETS, NAME, spec)

        async def counted() -> bool:
            status = (await plane.get(kinds.POD_DISRUPTION_BUDGETS)).get("status") or {}
            names = ("expectedPods", "currentHealthy", "desiredHealthy", "disruptionsAllowed")
            return [status.get(n) for n in names] == [3, 3, 2, 1]

        await plane.eventually(counted, "one disruption is allowed")
