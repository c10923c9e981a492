"""Arms that scale, in a whole world: the target's autoscaler sees nothing of them, and what they do is no failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from benchmarks.operator.live import experiment
from benchmarks.simulation.stories import ROUTE
from tests.simulation.world import NAME, NAMESPACE, SCRAPE, SOBOL, TARGET, manifests, told

from stack.paths import EXAMPLES
from trimtab.domain import kinds
from trimtab.simulate.invariants import check_history
from trimtab.simulate.objects import SERVED
from trimtab.simulate.traffic import Scraping
from trimtab.simulate.world import Options, Setting, World
from trimtab.workload import Fault, FaultKind, parse_workload

pytestmark = pytest.mark.thorough

HPA = kinds.HORIZONTAL_POD_AUTOSCALERS
LASTING = ("uid", "labels", "annotations")
RPS, PODS = 16000.0, 52  # what its autoscaler is content with
AIM = {"name": "aim", "autoscaler": {"field": "CPUUtilization"}, "integer": {"min": 45, "max": 60, "step": 15}}
CPU: dict[str, Any] = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}
SCALER: dict[str, Any] = {
    "metadata": {"name": "web"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": TARGET},
        "minReplicas": 10,
        "maxReplicas": 80,
        "metrics": [{"type": "Resource", "resource": CPU}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60, "tolerance": "0.22"}},
    },
}


async def fleet(
    scaler: dict[str, Any] | None, *parameters: dict[str, Any], percent: str = "10", **sections: Any
) -> World:
    """Pods of a quarter of a core each, behind a route, with an Experiment on them and no operator."""
    spec = yaml.safe_load((EXAMPLES / "web-service" / "workload.yaml").read_text())
    spec["load"], spec["noise"] = {"requestsPerSecond": RPS}, {}
    deployment, service = manifests()
    deployment["spec"]["replicas"] = PODS
    deployment["spec"]["template"]["spec"]["containers"][0]["resources"] = {
        "requests": {"cpu": "250m", "memory": "1Gi"},
        "limits": {"cpu": "1", "memory": "1Gi"},
    }
    options = Options(scraping=Scraping(interval=SCRAPE), served=SERVED | {kinds.HTTP_ROUTES})
    setting = Setting(parse_workload(yaml.safe_dump(spec)), (deployment, service), NAMESPACE)
    world = await World.build(setting, options)
    world.admin.apply_server_side(ROUTE, NAMESPACE, "team")
    if scaler is not None:
        world.admin.apply({"apiVersion": HPA.api_version, "kind": HPA.name, **scaler}, NAMESPACE)
    usual: dict[str, Any] = {
        "search": SOBOL,
        "trial": {"warmUp": "90s", "duration": "4m", "deadline": "20m"},
        "verification": {"duration": "4m", "replicates": 0},
        "stopping": {"maxTrials": 3},
        "errorBudgets": [],
        "canary": {"replicas": 1, "maxSharePercent": "40"},
        "parameters": list(parameters),
        "traffic": {
            "mode": "HTTPRoute",
            "httpRoute": {"name": "shop", "ruleName": "pages", "backendService": TARGET, "canaryPercent": "8"},
        },
    }
    world.admin.apply(experiment(NAME, NAMESPACE, **{**usual, **sections}), NAMESPACE)
    return world


def outcome(world: World, index: int = 0) -> tuple[str, str]:
    found = world.trials(NAME)[index].get("status", {}).get("outcome", {})
    return found.get("phase", ""), found.get("reason", "")


def phase_is(world: World, *phases: str) -> bool:
    return any(t.get("status", {}).get("phase") in phases for t in world.trials(NAME))


def counts(world: World) -> dict[str, list[int]]:
    """The replicas that each Deployment had, in order."""
    seen: dict[str, list[int]] = {}
    for change in world.history.changes:
        if change.kind == kinds.DEPLOYMENTS.plural and change.type != "DELETED":
            had, now = seen.setdefault(change.name, []), int(change.object["spec"]["replicas"])
            if had[-1:] != [now]:
                had.append(now)
    return seen


def loads(world: World, index: int = 0) -> dict[str, dict[str, float]]:
    return {load["arm"]: load for load in world.trials(NAME)[index]["status"]["load"]}


def scaler_of(world: World, name: str) -> dict[str, Any]:
    found = world.admin.find(HPA, NAMESPACE, name)
    assert found is not None
    return dict(found)


def canary(world: World) -> str:
    return next(d["metadata"]["name"] for d in arms(world) if d["metadata"]["name"].endswith("-c"))


def arms(world: World) -> list[Any]:
    found = world.admin.list(kinds.DEPLOYMENTS, NAMESPACE)
    return [d for d in found if "trimtab.dev/arm" in (d["metadata"].get("labels") or {})]


def replicas(world: World) -> int:
    """Of the canary's Deployment."""
    found = world.admin.find(kinds.DEPLOYMENTS, NAMESPACE, canary(world))
    assert found is not None
    return int(found["spec"]["replicas"])


def nothing_left(world: World) -> bool:
    services = {s["metadata"]["name"] for s in world.admin.list(kinds.SERVICES, NAMESPACE)}
    scalers = {h["metadata"]["name"] for h in world.admin.list(HPA, NAMESPACE)}
    return not arms(world) and services == {TARGET} and scalers <= {TARGET}


def test_arms_scale_and_production_does_not_notice() -> None:
    told(_scale())


async def _scale() -> None:
    world = await fleet(SCALER, AIM)
    before = scaler_of(world, "web")
    world.start()
    assert await world.until(world.ended(NAME), seconds=7200)
    after = scaler_of(world, "web")
    assert await world.until(lambda: nothing_left(world), seconds=60)
    await world.close()
    check_history(world.history.changes)
    tried = {t["spec"]["assignment"][0]["value"]: t["spec"]["index"] for t in world.trials(NAME)}
    assert [outcome(world, i) for i in range(3)] == [("Succeeded", "Measured")] * 3
    pods = loads(world, tried["45"])
    assert pods["canary"]["pods"] > pods["control"]["pods"] + 0.8, "a lower target has more pods"
    assert pods["canary"]["rpsPerPod"] < pods["control"]["rpsPerPod"]
    assert pods["canary"]["use"] < pods["control"]["use"], "and its pods use less"
    assert all(0 < pods[arm]["useError"] < 0.1 * pods[arm]["use"] for arm in ("canary", "control"))
    assert "use" not in pods["target"]
    assert counts(world)[TARGET] == [PODS], "production keeps its pods"
    assert after["spec"] == before["spec"]
    assert {k: after["metadata"].get(k) for k in LASTING} == {k: before["metadata"].get(k) for k in LASTING}
    assert [c["status"] for c in after["status"]["conditions"] if c["type"] == "ScalingActive"] == ["True"]


def deleted(world: World) -> None:
    world.admin.delete(HPA, NAMESPACE, canary(world))


def edited(world: World) -> None:
    world.admin.edit(HPA, NAMESPACE, canary(world), lambda h: h["spec"].update(maxReplicas=3))


def retargeted(world: World) -> None:
    def change(body: dict[str, Any]) -> None:
        body["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] = 65

    world.admin.edit(HPA, NAMESPACE, "web", change)


def repoliced(world: World) -> None:
    world.admin.edit(HPA, NAMESPACE, "web", lambda h: h["spec"].update(minReplicas=12))


@pytest.mark.parametrize(
    ("deed", "ended"),
    [
        (deleted, ("Aborted", "ArmDeleted")),
        (edited, ("Aborted", "ArmEdited")),
        (retargeted, ("Stale", "AutoscalerChanged")),
        (repoliced, ("Stale", "TargetChanged")),
    ],
)
def test_a_hand_on_an_autoscaler_ends_the_trial(deed: Callable[[World], None], ended: tuple[str, str]) -> None:
    told(_touched(deed, ended))


async def _touched(deed: Callable[[World], None], ended: tuple[str, str]) -> None:
    world = await fleet(SCALER, AIM)
    world.start()
    assert await world.until(lambda: phase_is(world, "Measuring"), seconds=600)
    deed(world)
    assert await world.until(lambda: outcome(world)[0] != "", seconds=90)
    await world.close()
    assert outcome(world) == ended


SLOW = Fault(name="slow", kind=FaultKind.SLOW_CPU, selector={}, factor=1.7)
MOST = 7  # pods of an arm, 8 % of those of the target
OOM = Fault(name="oom", kind=FaultKind.OOM, selector={"trimtab.dev/arm": "canary"})


def test_pods_that_come_and_go_are_no_failure() -> None:
    told(_swing())


async def _swing() -> None:
    world = await fleet(SCALER, AIM, stopping={"maxTrials": 1})
    world.start()
    assert await world.until(lambda: phase_is(world, "Measuring"), seconds=600)
    name = canary(world)
    world.traffic.faults.set(SLOW, world.clock.now())
    assert await world.until(lambda: replicas(world) == MOST, seconds=90)
    world.traffic.faults.remove(SLOW.name)
    assert await world.until(lambda: replicas(world) < MOST, seconds=150)
    assert phase_is(world, "Measuring")
    assert await world.until(lambda: outcome(world)[0] != "", seconds=600)
    await world.close()
    check_history(world.history.changes)
    assert outcome(world) == ("Succeeded", "Measured")
    assert counts(world)[name][0] < MOST


def test_one_of_several_pods_out_of_memory_ends_the_trial() -> None:
    told(_out_of_memory())


async def _out_of_memory() -> None:
    world = await fleet(SCALER, AIM)
    world.start()
    assert await world.until(lambda: phase_is(world, "Measuring"), seconds=600)
    world.traffic.faults.set(OOM, world.clock.now())
    world.kubelet.look()
    assert await world.until(lambda: outcome(world)[0] != "", seconds=90)
    after = counts(world)[TARGET]
    assert await world.until(lambda: nothing_left(world), seconds=60)
    await world.until(lambda: False, seconds=120)
    await world.close()
    assert outcome(world) == ("Infeasible", "OOMKilled")
    assert counts(world)[TARGET] == after == [PODS], "what the arms had is production's again, within its tolerance"


REPLICAS: dict[str, Any] = {"name": "pods", "replicas": {}, "integer": {"min": 48, "max": 52, "step": 4}}


def test_a_number_of_replicas_is_emulated_by_the_share() -> None:
    told(_emulated())


async def _emulated() -> None:
    world = await fleet(None, REPLICAS)
    world.start()
    assert await world.until(world.ended(NAME), seconds=7200)
    await world.close()
    check_history(world.history.changes)
    tried = {t["spec"]["assignment"][0]["value"]: t["spec"]["index"] for t in world.trials(NAME)}
    assert [outcome(world, i) for i in range(3)] == [("Succeeded", "Measured")] * 3
    load = loads(world, tried["48"])
    assert load["canary"]["rpsPerPod"] == pytest.approx(RPS / 48, rel=0.03), "as each of 48 pods would see"
    assert load["control"]["rpsPerPod"] == pytest.approx(RPS / PODS, rel=0.03)
    assert all(had == [1] for name, had in counts(world).items() if name != TARGET)
    assert counts(world)[TARGET] == [PODS]
