"""What a HorizontalPodAutoscaler does, by its rules one for one.

Here it is the simulated controller in virtual time; `tests/cluster/test_contract_autoscaler.py` runs the same on the
real one, with what pods use from the playground's metrics API. Where the two differ, the simulated one is wrong.

Each service is offered what keeps one core busy in all, whatever the number of its pods, and each pod asks for half a
core: two pods are used to 100 %, four to 50 %. The goals are chosen so that no replica hangs on a percent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from trimtab.domain import kinds
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.ports import Cluster
from trimtab.simulate.traffic import Scraping
from trimtab.simulate.world import Options, Setting, World
from trimtab.workload import Fault, FaultKind, WorkloadSpec

pytestmark = pytest.mark.looptime

CONTAINER = "main"
GOAL = 53
"""Percent; two pods at 100 % make four, which are used to 50 %: within the tolerance of 10 %."""
NO_WAIT = {"stabilizationWindowSeconds": 0}
Condition = Callable[[], Awaitable[bool]]
Conditions = Mapping[str, tuple[str, str]]


def workload(name: str) -> dict[str, Any]:
    """A service of this name: two thousand requests per second of half a millisecond, and 200Mi per pod."""
    second, mib = {"mean": "5ms"}, "Mi"
    return {
        "name": name,
        "target": {"deployment": name, "service": name, "container": CONTAINER, "selector": {"app": name}},
        "load": {"requestsPerSecond": 2000},
        "request": {"cpu": "0.5ms", "dependency": second, "concurrency": 200, "queue": 200, "timeout": "2s"},
        "memory": {"runtime": f"199{mib}", "liveSet": f"1{mib}"},
        "slo": {"latencyThreshold": "100ms", "maxSlowPercent": 5, "maxErrorPercent": 1},
        "buckets": ["10ms", "100ms", "1s"],
    }


def resource(name: str = "cpu", goal: int = GOAL, container: str = "") -> dict[str, Any]:
    """A metric of an HPA."""
    body = {"name": name, "target": {"type": "Utilization", "averageUtilization": goal}}
    if container:
        return {"type": "ContainerResource", "containerResource": body | {"container": container}}
    return {"type": "Resource", "resource": body}


@dataclass(frozen=True)
class Case:
    """A Deployment of two pods with an HPA, and where that comes to rest: replicas, and conditions as (status, reason).

    `others` are pods of another Deployment that the target's selector matches, too; they serve nothing. `broken`:
    these never become ready.
    """

    replicas: int
    conditions: Conditions
    metrics: tuple[Manifest, ...] = (resource(),)
    behavior: Manifest | None = None
    most: int = 10
    least: int = 1
    others: int = 0
    broken: bool = False
    sidecar: bool = False


LIMITED, UNLIMITED = "True", "False"
GREW = {"ScalingActive": ("True", "ValidMetricFound"), "ScalingLimited": (UNLIMITED, "DesiredWithinRange")}
KEPT = GREW | {"AbleToScale": ("True", "ReadyForNewScale")}
SLOWLY = {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1800}]}
QUARTER = {"policies": [{"type": "Percent", "value": 10, "periodSeconds": 1800}]}

CASES: dict[str, Case] = {
    "plain": Case(4, KEPT),
    "defaults": Case(4, KEPT, behavior={"scaleDown": NO_WAIT}),
    "bounded": Case(3, KEPT | {"ScalingLimited": (LIMITED, "TooManyReplicas")}, most=3),
    "content": Case(2, KEPT, metrics=(resource(goal=95),)),
    "tolerant": Case(2, KEPT, behavior={"scaleUp": {"tolerance": "1"}}),
    "strict": Case(3, KEPT, metrics=(resource(goal=95),), behavior={"scaleUp": {"tolerance": "0.01"}}),
    "largest": Case(5, KEPT | {"ScalingLimited": (LIMITED, "TooManyReplicas")},
                    metrics=(resource(), resource("memory", 20)), most=5),
    "one-by-one": Case(3, GREW | {"ScalingLimited": (LIMITED, "ScaleUpLimit")}, behavior={"scaleUp": SLOWLY}),
    "by-percent": Case(3, GREW | {"ScalingLimited": (LIMITED, "ScaleUpLimit")}, behavior={"scaleUp": QUARTER}),
    "never-up": Case(2, GREW | {"ScalingLimited": (LIMITED, "ScaleUpLimit")},
                     behavior={"scaleUp": {"selectPolicy": "Disabled"}}),
    "waits-up": Case(2, GREW | {"AbleToScale": ("True", "ScaleUpStabilized")},
                     behavior={"scaleUp": {"stabilizationWindowSeconds": 1800}}),
    "waits-down": Case(2, GREW | {"AbleToScale": ("True", "ScaleDownStabilized")}, metrics=(resource(goal=240),)),
    "shrinks": Case(1, KEPT, metrics=(resource(goal=240),), behavior={"scaleDown": NO_WAIT}),
    "joined": Case(2, KEPT, metrics=(resource(goal=50),), others=2),
    "joined-by-broken": Case(2, KEPT, others=3, broken=True),
    "no-request": Case(2, {"ScalingActive": ("False", "FailedGetResourceMetric")}, sidecar=True),
    "its-container": Case(4, KEPT, metrics=(resource(container=CONTAINER),), sidecar=True),
    "one-of-two": Case(4, KEPT, metrics=(resource(container=CONTAINER), resource("memory", 50)), sidecar=True),
    "too-many": Case(1, {"AbleToScale": ("True", "ReadyForNewScale")}, most=1),
}  # fmt: skip
AMBIGUOUS = {"ScalingActive": ("False", "AmbiguousSelector")}


@dataclass(frozen=True)
class Ground:
    """A cluster with working controllers and the services of some names, and a namespace of this test's own.

    `slow` makes the pods of a service need so many times the CPU.
    """

    cluster: Cluster
    namespace: str
    eventually: Callable[[Condition, str], Awaitable[None]]
    slow: Callable[[str, float], None]

    async def make(self, kind: Kind, name: str, spec: Mapping[str, Any]) -> Manifest:
        body = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name}, "spec": spec}
        return await self.cluster.create(kind, self.namespace, body)

    async def get(self, kind: Kind, name: str) -> Manifest:
        return await self.cluster.get(kind, self.namespace, name)

    async def deploy(self, name: str, replicas: int, labels: Mapping[str, str] = {}, *, sidecar: bool = False) -> None:
        """A Deployment whose own selector are these labels, by default those of its name."""
        own = dict(labels) or {"app": name}
        container = {"name": CONTAINER, "image": "api:1"}
        amounts = {"cpu": "500m", "memory": "250Mi"}
        containers = [container | {"resources": {"requests": amounts, "limits": {"cpu": "4", "memory": "1Gi"}}}]
        containers += [{"name": "sidecar", "image": "sidecar:1"}] if sidecar else []
        template = {
            "metadata": {"labels": own | {"serving": str(not labels)}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": containers},
        }
        spec = {"replicas": replicas, "selector": {"matchLabels": own}, "template": template}
        await self.make(kinds.DEPLOYMENTS, name, spec)

    async def serve(self, name: str) -> None:
        """The Service that the load of this name arrives for."""
        selector = {"app": name, "serving": "True"}
        await self.make(kinds.SERVICES, name, {"selector": selector, "ports": [{"port": 80}]})

    async def autoscale(self, name: str, case: Case) -> None:
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
        spec = {
            "scaleTargetRef": reference,
            "minReplicas": case.least,
            "maxReplicas": case.most,
            "metrics": list(case.metrics),
        }
        more = {} if case.behavior is None else {"behavior": case.behavior}
        await self.make(kinds.HORIZONTAL_POD_AUTOSCALERS, name, spec | more)

    async def status(self, name: str) -> Manifest:
        found: Manifest = (await self.get(kinds.HORIZONTAL_POD_AUTOSCALERS, name)).get("status") or {}
        return found

    async def differs(self, name: str, replicas: int, conditions: Conditions) -> str:
        """What is not yet, or not any more, as it shall be."""
        status = await self.status(name)
        found = {c["type"]: (c["status"], c["reason"]) for c in status.get("conditions") or ()}
        wanted = {kind: found.get(kind) for kind in conditions}
        spec = (await self.get(kinds.DEPLOYMENTS, name))["spec"]["replicas"]
        counts = (status.get("desiredReplicas"), status.get("currentReplicas"), spec)
        desired = 0 if conditions.get("ScalingActive", ("", ""))[0] == "False" else replicas  # never found any
        if counts == (desired, replicas, replicas) and wanted == dict(conditions):
            return ""
        return f"{name} has {counts}, not {replicas}, and {wanted}"

    async def rests(self, expected: Mapping[str, tuple[int, Conditions]]) -> None:
        """Wait until all are as expected."""
        for name, (replicas, conditions) in expected.items():

            async def as_expected(name: str = name, replicas: int = replicas, then: Conditions = conditions) -> bool:
                return not await self.differs(name, replicas, then)

            try:
                await self.eventually(as_expected, name)
            except Exception as error:
                raise AssertionError(await self.differs(name, replicas, conditions)) from error

    async def settle(self, expected: Mapping[str, tuple[int, Conditions]], syncs: int = 3, tries: int = 5) -> None:
        """Wait until all are as expected and stay so while the controller looks several times: each look of a watched
        HPA is a write of the label by which this waits. While a pod is too young to count an HPA may be as expected
        for one look, and want fewer at the next."""
        moved = ["never looked"]
        for _ in range(tries):
            await self.rests(expected)
            moved = await self._moved(expected, syncs)
            if not moved:
                return
        raise AssertionError(f"they never stay: {moved}")

    async def _moved(self, expected: Mapping[str, tuple[int, Conditions]], syncs: int) -> list[str]:
        """What changes while the controller looks so often."""
        for _ in range(syncs):
            await self.looked(next(iter(expected)))
            moved = [found for name, (r, c) in expected.items() if (found := await self.differs(name, r, c))]
            if moved:
                return moved
        return []

    async def looked(self, name: str) -> None:
        """Wait until the controller has looked at this HPA once more: it notes a bound that is changed."""
        hpa = await self.get(kinds.HORIZONTAL_POD_AUTOSCALERS, name)
        since = [c for c in hpa["status"]["conditions"] if c["type"] != "AbleToScale"]
        status = {**hpa["status"], "conditions": since}
        body = {**hpa, "status": status}
        await self.cluster.replace(kinds.HORIZONTAL_POD_AUTOSCALERS, self.namespace, name, body, subresource="status")

        async def written() -> bool:
            found = (await self.status(name)).get("conditions") or ()
            return any(c["type"] == "AbleToScale" for c in found)

        await self.eventually(written, f"a look at {name}")


NAMES = ("ambiguous", "alone", *CASES)


@pytest.fixture
async def ground() -> Ground:
    """The simulated one."""
    return await simulated()


async def simulated(*, metrics: bool = True) -> Ground:
    """The simulated one, with or without a metrics API."""
    settings = []
    for name in NAMES:
        nothing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"nothing-{name}"}}
        settings.append(Setting(WorkloadSpec.model_validate(workload(name)), (nothing,), "contract"))
    world = await World.build(settings, Options(scraping=Scraping(past_days=0.0)))
    world.autoscaler.absent = not metrics

    async def eventually(condition: Condition, what: str) -> None:
        deadline = world.clock.monotonic() + 300
        while not await condition():
            assert world.clock.monotonic() < deadline, f"timed out waiting: {what}"
            await world.run(1.0)

    def slow(name: str, factor: float) -> None:
        fault = Fault(name=name, kind=FaultKind.SLOW_CPU, selector={"app": name}, factor=factor)
        world.traffic.faults.set(fault, world.clock.now())

    broken = Fault(name="broken", kind=FaultKind.NOT_READY, selector={"broken": "True"}, start=0.0)
    world.traffic.faults.set(broken, world.clock.now())
    return Ground(world.cluster, "contract", eventually, slow)


class TestScaling:
    async def test_each_comes_to_rest_where_its_rules_say(self, ground: Ground) -> None:
        for name, case in CASES.items():
            await ground.serve(name)
            await ground.deploy(name, 2, sidecar=case.sidecar)
            if case.others:
                labels = {"app": name, "part": "other", "broken": str(case.broken)}
                await ground.deploy(f"{name}-other", case.others, labels)
        for name, case in CASES.items():
            await ready(ground, name, 2)
            if case.others and not case.broken:
                await ready(ground, f"{name}-other", case.others)
        for name, case in CASES.items():
            await ground.autoscale(name, case)
        expected = {name: (case.replicas, case.conditions) for name, case in CASES.items()}
        await ground.settle(expected)

    async def test_it_follows_the_load_up_and_down(self, ground: Ground) -> None:
        await ground.serve("alone")
        await ground.deploy("alone", 2)
        await ready(ground, "alone", 2)
        await ground.autoscale("alone", Case(4, KEPT, behavior={"scaleDown": NO_WAIT}))
        await ground.rests({"alone": (4, KEPT)})
        await ready(ground, "alone", 4)
        ground.slow("alone", 2.0)
        await ground.rests({"alone": (8, KEPT)})
        await ready(ground, "alone", 8)

        async def half_used() -> bool:
            metric = (await ground.status("alone"))["currentMetrics"][0]["resource"]
            assert metric["name"] == "cpu"
            return 45 <= int(metric["current"]["averageUtilization"]) <= 55

        await ground.eventually(half_used, "eight pods to be seen half used")
        ground.slow("alone", 0.5)
        await ground.rests({"alone": (2, KEPT)})
        assert (await ground.status("alone"))["lastScaleTime"].endswith("Z")

    async def test_pods_of_two_autoscalers_stop_both(self, ground: Ground) -> None:
        await ground.serve("ambiguous")
        await ground.deploy("ambiguous", 2)
        await ground.deploy("ambiguous-too", 2, {"app": "ambiguous", "part": "other"})
        await ready(ground, "ambiguous", 2)
        await ready(ground, "ambiguous-too", 2)
        for name in ("ambiguous", "ambiguous-too"):
            await ground.autoscale(name, Case(2, AMBIGUOUS, metrics=(resource(goal=50),)))
        expected = dict.fromkeys(("ambiguous", "ambiguous-too"), (2, AMBIGUOUS))
        await ground.rests(expected)
        await ground.cluster.delete(kinds.HORIZONTAL_POD_AUTOSCALERS, ground.namespace, "ambiguous-too")
        await ground.rests({"ambiguous": (2, KEPT)})  # which the others' pods keep from growing

    async def test_the_server_fills_in_defaults(self, ground: Ground) -> None:
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "nobody"}
        spec = {"scaleTargetRef": reference, "maxReplicas": 3}
        made = await ground.make(kinds.HORIZONTAL_POD_AUTOSCALERS, "short", spec)
        usual = resource(goal=80)
        assert made["spec"] == spec | {"minReplicas": 1, "metrics": [usual]}
        spec |= {"behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}}
        made = await ground.make(kinds.HORIZONTAL_POD_AUTOSCALERS, "long", spec)
        whole = {"type": "Percent", "value": 100, "periodSeconds": 15}
        four = {"type": "Pods", "value": 4, "periodSeconds": 15}
        assert made["spec"]["behavior"] == {
            "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [four, whole]},
            "scaleDown": {"selectPolicy": "Max", "policies": spec["behavior"]["scaleDown"]["policies"]},
        }

        async def told() -> bool:
            found = (await ground.status("short")).get("conditions") or ()
            return [(c["type"], c["status"], c["reason"]) for c in found] == [
                ("AbleToScale", "False", "FailedGetScale")
            ]

        await ground.eventually(told, "that there is no target")


async def test_without_a_metrics_api_it_stands_still() -> None:
    await stands_still(await simulated(metrics=False))


async def stands_still(ground: Ground) -> None:
    """There is no metrics API."""
    await ground.serve("alone")
    await ground.deploy("alone", 2)
    await ready(ground, "alone", 2)
    await ground.autoscale("alone", Case(2, {}))
    await ground.rests({"alone": (2, {"ScalingActive": ("False", "FailedGetResourceMetric")})})


async def ready(ground: Ground, name: str, replicas: int) -> None:
    """Wait until so many pods are ready and the Deployment is at rest."""

    async def done() -> bool:
        status = (await ground.get(kinds.DEPLOYMENTS, name)).get("status") or {}
        return [status.get(n, 0) for n in ("replicas", "readyReplicas")] == [replicas] * 2

    await ground.eventually(done, f"{replicas} ready pods of {name}")
