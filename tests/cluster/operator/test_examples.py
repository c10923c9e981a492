"""The examples of autoscaled services on a real control plane, with the real HPA controller and a real Prometheus: what
is tried is what runs, trials come to a verdict, and what belongs to the team is what it was.

Their own manifests, in windows of seconds (`short.py`); at full length they are played in `tests/simulation`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.autoscaled import AUTOSCALERS, ROUTES, active
from tests.cluster.operator.short import Short

from controlplane import ApiClient, ControlPlane, wait_for
from playground.nodes import node_names, node_object
from stack import Place, Stack, StackOptions
from stack.place import ARM, TERMINAL, TRIAL_UID, Obj, phase_of
from trimtab.domain.quantity import parse_quantity

HPA, ROUTE = (AUTOSCALERS, "HorizontalPodAutoscaler"), (ROUTES, "HTTPRoute")
NODE_TYPE = "node.kubernetes.io/instance-type"
SOME_PODS = 66  # of which an arm has three
SCREEN = {"screen": "12s"}
CALM = 10  # seconds: at once, an arm of three pods would have two after any scrape that comes late
PATIENT = {"TRIMTAB_LEASE_DURATION": "30"}  # nobody takes over here: no busy machine shall end the one that leads

EXAMPLES = {
    one.name: one
    for one in (
        Short("scaled-web-service", scale=SOME_PODS / 150, moment="2026-03-04T08:00", calm=CALM),
        Short("function", scale=SOME_PODS / 115, moment="2026-03-04T13:00", spec={"trial": {"fidelity": SCREEN}}),
        Short(
            "autoscaler-after-incident",
            scale=SOME_PODS / 190,
            moment="2026-03-04T08:00",
            calm=CALM,
            load={"noisePercent": 3},  # in trials of a swing's length a swing is a change of the service
            parameters={"calm": {"integer": {"min": 0, "max": 20, "step": 5}}},
        ),
        Short(
            "inference",
            scale=SOME_PODS / 190,
            moment="2026-03-04T14:00",
            calm=CALM,
            node_types=("m6i.4xlarge", "c7i.4xlarge", "t3a.4xlarge"),
        ),
    )
}


@contextlib.contextmanager
def typed_nodes(client: ApiClient, types: list[str]) -> Iterator[None]:
    """Nodes of these types, which a playground will keep alive; gone afterwards."""
    for name, kind in zip(node_names(len(types)), types, strict=True):
        made = node_object(name)
        made["metadata"]["labels"][NODE_TYPE] = kind
        client.apply(made)
    yield
    client.delete_all("v1", "Node")


@pytest.fixture
def short(request: pytest.FixtureRequest) -> Short:
    found: Short = EXAMPLES[request.param]
    return found


@pytest.fixture
def place(
    short: Short,
    controlplane: ControlPlane,
    namespace: str,
    no_nodes: None,
    reported: Callable[[Stack, Place], None],
    tmp_path: Path,
) -> Iterator[Place]:
    """The example as its team has deployed it, with an operator."""
    workload, manifest = short.write(tmp_path)
    options = StackOptions(
        namespace=namespace,
        days=0,
        workload=workload,
        manifest=manifest,
        values={"traffic": {"httpRoute": True}},
        time_origin=short.moment,
        metrics_api=True,
        nodes=len(short.nodes),
        ready_first=True,
        operator_environment=PATIENT,
    )
    with typed_nodes(controlplane.client, short.nodes), Stack(controlplane, tmp_path / "stack", options) as stack:
        found = Place(controlplane.client, namespace, short.of_kind("Deployment")["metadata"]["name"])
        reported(stack, found)
        scaled = lambda: active(found.client.get(*HPA, found.target_name, namespace))  # noqa: E731
        wait_for(scaled, "the HPA controller to find metrics", seconds=120)
        yield found


def owned(client: ApiClient, kind: tuple[str, str], name: str, namespace: str) -> Obj:
    """What a team has of an object: all but its status and its version, and who wrote what of it."""
    found = client.get(*kind, name, namespace)
    metadata = found["metadata"]
    fields = [e for e in metadata["managedFields"] if "subresource" not in e]
    parts = {part: metadata.get(part) for part in ("labels", "annotations", "uid", "ownerReferences", "finalizers")}
    written = sorted((e["manager"], e["operation"], str(e["fieldsV1"])) for e in fields)
    return {**parts, "spec": found["spec"], "written": written}


def template(place: Place) -> Obj:
    """Of the target's Deployment all that its autoscaler does not write."""
    found = place.target()
    return {**found["spec"], "replicas": None, "labels": found["metadata"]["labels"]}


@dataclass
class Seen:
    """What ran, by the index of its trial and its arm, and in which arms the real controller scaled by metrics."""

    ran: dict[tuple[int, str], dict[str, str]] = field(default_factory=dict)
    scaled: set[tuple[int, str]] = field(default_factory=set)
    nodes: dict[tuple[int, str], set[str]] = field(default_factory=dict)

    def look(self, place: Place, name: str, parameters: list[Obj]) -> None:
        """At all that runs now."""
        client, namespace = place.client, place.namespace
        index = {t["metadata"]["uid"]: int(t["spec"]["index"]) for t in place.trials(name)}
        scalers = {_arm(s): s for s in client.list(*HPA, namespace, labels=ARM)}
        for deployment in client.list("apps/v1", "Deployment", namespace, labels=ARM):
            uid, arm = _arm(deployment)
            scaler = scalers.get((uid, arm))
            if scaler is None or uid not in index:
                continue
            key = index[uid], arm
            self.ran[key] = {p["name"]: shown(p, deployment, scaler) for p in parameters}
            if active(scaler):
                self.scaled.add(key)
        types = {n["metadata"]["name"]: n["metadata"]["labels"][NODE_TYPE] for n in client.list("v1", "Node")}
        for pod in client.list("v1", "Pod", namespace, labels=ARM):
            uid, arm = _arm(pod)
            if uid in index and pod["spec"].get("nodeName"):
                self.nodes.setdefault((index[uid], arm), set()).add(types[pod["spec"]["nodeName"]])

    def check(self, index: int, arm: str, parameters: list[Obj], wanted: dict[str, str]) -> None:
        """In this arm ran what was wanted, on nodes of the wanted type."""
        ran = self.ran[index, arm]
        assert all(same(p, ran[p["name"]], wanted[p["name"]]) for p in parameters), (index, arm, ran, wanted)
        for parameter in parameters:
            if "nodeSelector" in parameter:
                assert self.nodes[index, arm] == {wanted[parameter["name"]]}


def _arm(found: Obj) -> tuple[str, str]:
    labels = found["metadata"]["labels"]
    return labels[TRIAL_UID], labels[ARM]


def shown(parameter: Obj, deployment: Obj, scaler: Obj) -> str:
    """The value that a parameter has in an arm, as an assignment writes it."""
    pod = deployment["spec"]["template"]["spec"]
    if chosen := parameter.get("nodeSelector"):
        return str(pod["nodeSelector"][chosen["key"]])
    if scales := parameter.get("autoscaler"):
        return str(of_autoscaler(scales["field"], scaler["spec"]))
    (container,) = pod["containers"]
    if variable := parameter.get("env"):
        return str(next(e["value"] for e in container["env"] if e["name"] == variable["name"]))
    resource = parameter["container"]["resource"]
    return str(container["resources"]["requests"][resource])


def of_autoscaler(name: str, spec: Obj) -> Any:
    """A field of an autoscaler; tolerance in percent."""
    down = (spec.get("behavior") or {}).get("scaleDown") or {}
    if name == "CPUUtilization":
        return spec["metrics"][0]["resource"]["target"]["averageUtilization"]
    if name == "ScaleDownStabilizationSeconds":
        return down["stabilizationWindowSeconds"]
    assert name == "ScaleDownTolerancePercent", name
    return (100 * parse_quantity(down.get("tolerance", "0.1"))).normalize()


def same(parameter: Obj, one: str, other: str) -> bool:
    """Equal as what they are: 1 and 1000m are the same CPU."""
    if "nodeSelector" in parameter:
        return one == other
    return parse_quantity(one) == parse_quantity(other)


SHORT_FORM = "inference"  # three kinds of parameters, a value SLI, an objective of two terms


def told(trials: list[Obj]) -> set[tuple[bool, str]]:
    """Of the trials that have ended: whether they tried today's settings, and how they ended."""
    ended = [t for t in trials if phase_of(t) in TERMINAL]
    return {(tried(t) == tried(trials[0]), t["status"]["outcome"]["phase"]) for t in ended}


def tried(trial: Obj) -> dict[str, str]:
    """The values under trial, by parameter; the first trial's are today's."""
    return {each["name"]: each["value"] for each in trial["spec"]["assignment"]}


def enough(trials: list[Obj]) -> bool:
    """Today's settings keep their bounds, and something else came to a verdict. A busy machine may serve an arm's
    requests late: a trial of today's settings that is withdrawn for it, or shows nothing, is tried again."""
    found = told(trials)
    return (True, "Succeeded") in found and bool({(False, "Succeeded"), (False, "Infeasible")} & found)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "short",
    [pytest.param(n, marks=() if n == SHORT_FORM else pytest.mark.long) for n in EXAMPLES],
    indirect=True,
)
def test_it_is_tuned_and_left_as_it_was(short: Short, place: Place) -> None:
    client, namespace = place.client, place.namespace
    name = short.experiment()["metadata"]["name"]
    theirs = [(HPA, name), (ROUTE, name), (("v1", "Service"), name)]
    before = [owned(client, kind, one, namespace) for kind, one in theirs]
    deployed = template(place)
    parameters, seen = place.create(short.experiment())["spec"]["parameters"], Seen()
    place.wait_condition(name, "Preflight", seconds=150)

    def look() -> list[Obj] | None:
        seen.look(place, name, parameters)
        found = place.trials(name)
        return found if enough(found) or place.status(name).get("phase") == "Completed" else None

    trials = [t for t in wait_for(look, f"verdicts of {name}", seconds=600) if phase_of(t) in TERMINAL]
    place.delete(name)
    place.wait_deleted(name, seconds=120)
    assert enough(trials), told(trials)
    assert [owned(client, kind, one, namespace) for kind, one in theirs] == before
    assert template(place) == deployed
    assert [s["metadata"]["name"] for s in client.list("v1", "Service", namespace)] == [name]
    for trial in trials:
        index, ended = int(trial["spec"]["index"]), phase_of(trial)
        assert ended in {"Succeeded", "Infeasible", "Inconclusive"}, trial["status"]["outcome"]
        for arm, wanted in (("canary", tried(trial)), ("control", tried(trials[0]))):
            seen.check(index, arm, parameters, wanted)
        if ended == "Succeeded":
            pods = {load["arm"]: load["pods"] for load in trial["status"]["load"] if load["arm"] != "target"}
            assert min(pods["canary"], pods["control"]) > 1, pods
            assert {(index, "canary"), (index, "control")} <= seen.scaled
