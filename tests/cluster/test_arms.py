"""Arms on a real control plane: cloned from a Deployment as teams have it, served by its Service, counted by nobody
else, and refused by quota and LimitRange exactly where preflight says so."""

from __future__ import annotations

import copy
import dataclasses
import functools
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import yaml
from tests.contract.test_ledger import NEW, SPEC
from tests.unit.control import builders

from controlplane import ApiClient, wait_for
from controlplane.client import Forbidden, Obj
from trimtab.api.arms import arm_manifest, live_digest
from trimtab.api.convert import experiment_record, trial_manifest, trial_record
from trimtab.api.kube import arm_views, ready_endpoint_names, surroundings_from, target_from
from trimtab.control.arms import admitted_mismatch, baseline_assignment, plan_arms, target_settings
from trimtab.control.preflight import examine
from trimtab.domain.kinds import EXPERIMENTS
from trimtab.domain.kube import ArmPlan, ArmView, Surroundings, Target
from trimtab.domain.space import (
    Apply,
    Assignment,
    Categorical,
    ContainerResource,
    EnvValue,
    LimitsRule,
    NodeSelectorKey,
    Numeric,
    Parameter,
    Resource,
    Scale,
    SearchSpace,
)
from trimtab.domain.spec import CanarySpec, ExperimentSpec
from trimtab.domain.trial import Trial, TrialPhase

GIB = Decimal(2**30)
INSTANCE = "app.kubernetes.io/instance"

# What a GitOps tool, a mesh, an agent and a careful team put into one Deployment. Applied as written, so that the
# server's defaulting is part of the test.
TARGET = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels:
    app.kubernetes.io/name: web
    app.kubernetes.io/instance: web-production
    app.kubernetes.io/managed-by: Helm
    helm.sh/chart: web-3.2.1
    argocd.argoproj.io/instance: shop
    team: shop
  annotations:
    argocd.argoproj.io/tracking-id: shop:apps/Deployment:shop/web
    meta.helm.sh/release-name: web
    kubectl.kubernetes.io/last-applied-configuration: "{}"
spec:
  replicas: 2
  selector:
    matchLabels: {app.kubernetes.io/name: web, app.kubernetes.io/instance: web-production}
  template:
    metadata:
      labels: {app.kubernetes.io/name: web, app.kubernetes.io/instance: web-production, tier: front}
      annotations: {prometheus.io/scrape: "true"}
    spec:
      initContainers:
      - name: proxy
        image: mesh:1
        restartPolicy: Always
        resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 100m, memory: 64Mi}}
      containers:
      - name: web
        image: web:1.4.2
        args: [--listen=:8080]
        env:
        - {name: EMPTY, value: ""}
        - {name: GOGC, value: "100"}
        - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: CPUS, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /ready, port: http}}
        resources: {requests: {cpu: "0.5", memory: 1024Mi}, limits: {cpu: 1000m, memory: 1Gi}}
        volumeMounts: [{name: cache, mountPath: /cache}]
      - name: log
        image: log:1
        resources: {requests: {cpu: 50m, memory: 32Mi}, limits: {cpu: 50m, memory: 32Mi}}
      nodeSelector: {kubernetes.io/os: linux}
      volumes:
      - {name: cache, emptyDir: {sizeLimit: 1Gi}}
      - {name: settings, configMap: {name: web}}
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: topology.kubernetes.io/zone
        whenUnsatisfiable: ScheduleAnyway
        labelSelector: {matchLabels: {app.kubernetes.io/instance: web-production}}
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
          - topologyKey: kubernetes.io/hostname
            labelSelector: {matchLabels: {app.kubernetes.io/instance: web-production}}
"""
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app.kubernetes.io/name": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
}
SURROUNDINGS = {
    "services": ("v1", "Service"),
    "autoscalers": ("autoscaling/v2", "HorizontalPodAutoscaler"),
    "disruption_budgets": ("policy/v1", "PodDisruptionBudget"),
    "quotas": ("v1", "ResourceQuota"),
    "limit_ranges": ("v1", "LimitRange"),
    "network_policies": ("networking.k8s.io/v1", "NetworkPolicy"),
    "endpoint_slices": ("discovery.k8s.io/v1", "EndpointSlice"),
}


def parameter(resource: Resource, apply: Apply, low: Any, high: Any) -> Parameter:
    locus = ContainerResource("web", resource, apply, LimitsRule.RATIO)
    return Parameter(resource.value, locus, Numeric(Decimal(low), Decimal(high), Decimal(low), Scale.LOG))


def experiment(replicas: int = 1) -> ExperimentSpec:
    """CPU requests with a limit twice as high, and memory."""
    ranges = (
        parameter(Resource.CPU, Apply.REQUESTS, "0.1", "1"),
        parameter(Resource.MEMORY, Apply.BOTH, GIB / 4, 2 * GIB),
    )
    return builders.spec(space=SearchSpace(ranges), canary=CanarySpec(replicas, 0.9), budgets=())


CANARY = Assignment.of({"cpu": Decimal("0.33"), "memory": GIB / 2})


def owned_trial(admin: ApiClient, namespace: str) -> Trial:
    """A Trial that exists, and so does its Experiment: arms whose owner is absent are garbage."""
    metadata = {"name": "web", "namespace": namespace}
    owner = {"apiVersion": EXPERIMENTS.api_version, "kind": EXPERIMENTS.name, "metadata": metadata, "spec": SPEC}
    record = experiment_record(admin.create(owner))
    new = dataclasses.replace(NEW, index=3, suggestion=dataclasses.replace(NEW.suggestion, assignment=CANARY))
    stored = trial_record(admin.create(trial_manifest(record, new)))
    return dataclasses.replace(stored, phase=TrialPhase.DEPLOYING, deadline=time.time() + 600)


class World:
    """A namespace with the target, its Service and a Trial."""

    def __init__(self, admin: ApiClient, namespace: str) -> None:
        self.admin, self.namespace = admin, namespace
        for manifest in (yaml.safe_load(TARGET), copy.deepcopy(SERVICE)):
            manifest["metadata"]["namespace"] = namespace
            admin.create(manifest)
        self.trial = owned_trial(admin, namespace)

    def raw_target(self) -> Obj:
        return self.admin.get("apps/v1", "Deployment", "web", self.namespace)

    def target(self, **changes: Any) -> Target:
        return dataclasses.replace(target_from(self.raw_target()), **changes)

    def surroundings(self) -> Surroundings:
        lists = {name: self.admin.list(*kind, self.namespace) for name, kind in SURROUNDINGS.items()}
        return surroundings_from(self.target(), **lists, vpas=(), version="")

    def plans(self, spec: ExperimentSpec | None = None) -> tuple[ArmPlan, ArmPlan]:
        return plan_arms(spec or experiment(), self.target(), self.surroundings(), self.trial)

    def create_arms(self, spec: ExperimentSpec | None = None) -> tuple[Obj, ...]:
        raw = self.raw_target()
        return tuple(self.admin.create(arm_manifest(raw, plan)) for plan in self.plans(spec))

    def create(self, api_version: str, kind: str, name: str, spec: Obj) -> Obj:
        metadata = {"name": name, "namespace": self.namespace}
        return self.admin.create({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})

    def pods(self, labels: str) -> list[Obj]:
        return self.admin.list("v1", "Pod", self.namespace, labels=labels)

    def views(self) -> tuple[ArmView, ...]:
        kinds = (("apps/v1", "Deployment"), ("apps/v1", "ReplicaSet"), ("v1", "Pod"))
        lists = [self.admin.list(*kind, self.namespace, labels="trimtab.dev/arm") for kind in kinds]
        return arm_views(*lists, self.admin.list("discovery.k8s.io/v1", "EndpointSlice", self.namespace))

    def problems(self, spec: ExperimentSpec) -> list[str]:
        """Reasons of preflight, for a target that is otherwise well."""
        target = self.target(rollout_behind="", ready_replicas=20)
        around = dataclasses.replace(self.surroundings(), ready_service_endpoints=20)
        return [p.reason for p in examine(spec, target, around, ()).blocking]


@pytest.fixture
def world(admin: ApiClient, namespace: str, no_nodes: None) -> World:
    return World(admin, namespace)


@pytest.fixture
def node(admin: ApiClient, namespace: str, no_nodes: None) -> Iterator[str]:
    """A registered Node, so that pods can be bound and get an address."""
    name = f"node-{namespace}"
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    admin.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
    room = {"cpu": "64", "memory": "256Gi", "pods": "500"}
    ready = {"type": "Ready", "status": "True", "reason": "Test", "message": "registered by a test"}
    admin.patch(
        "v1",
        "Node",
        name,
        {"status": {"capacity": room, "allocatable": room, "conditions": [ready]}},
        subresource="status",
    )
    yield name
    admin.delete("v1", "Node", name)


def run_pod(admin: ApiClient, pod: Obj, number: int) -> None:
    """What a kubelet writes once a pod runs."""
    ip = f"10.244.7.{number}"
    conditions = [{"type": t, "status": "True"} for t in ("Initialized", "ContainersReady", "Ready")]
    status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": conditions}
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    admin.patch("v1", "Pod", name, {"status": status}, namespace, strategy="strategic", subresource="status")


def selects(selector: Obj, pod: Obj) -> bool:
    return selector["matchLabels"].items() <= pod["metadata"]["labels"].items()


class TestAccepted:
    def test_the_server_takes_them_as_they_are(self, world: World) -> None:
        raw, plans = world.raw_target(), world.plans()
        for plan in plans:
            wanted = arm_manifest(raw, plan)
            stored = world.admin.create(wanted, dry_run=True)
            assert world.admin.warnings == []
            assert stored["spec"] == wanted["spec"]  # nothing was defaulted: every choice was made here

    def test_tracking_is_left_behind(self, world: World) -> None:
        for arm in world.create_arms():
            metadata = arm["metadata"]
            theirs = {k: v for k, v in metadata["labels"].items() if not k.startswith("trimtab.dev/")}
            assert theirs == {
                "team": "shop",
                "app.kubernetes.io/name": "web",
                "app.kubernetes.io/managed-by": "trimtab",
            }
            assert all(k.startswith("trimtab.dev/") for k in metadata["annotations"])

    def test_the_targets_spec_labels_and_annotations_stay(self, world: World) -> None:
        before = world.raw_target()
        world.create_arms()
        after = world.raw_target()
        assert after["spec"] == before["spec"]
        for part in ("labels", "annotations"):
            known = {k: v for k, v in after["metadata"][part].items() if k != "deployment.kubernetes.io/revision"}
            assert known.items() <= before["metadata"][part].items()

    def test_pods_get_the_planned_resources(self, world: World) -> None:
        world.create_arms()
        plans = world.plans()
        with_pods = lambda: v if len(v := world.views()) == 2 and all(each.pods for each in v) else ()  # noqa: E731
        views = wait_for(with_pods, "both arms' pods")
        for plan, view in zip(plans, views, strict=True):
            assert view.arm is plan.arm
            assert admitted_mismatch(plan, view) == ""
            assert view.spec_digest == view.observed_digest == plan.spec_digest
            assert view.deadline is not None
        canary = dict(views[0].pods[0].resources)["web"]
        assert (canary.cpu_request, canary.cpu_limit) == (Decimal("0.33"), Decimal("0.66"))
        assert canary.memory_limit == GIB / 2

    def test_pods_get_the_planned_variables_and_node_selectors(self, world: World) -> None:
        collector = Parameter("gc", EnvValue("web", "GOGC"), Numeric(Decimal(50), Decimal(400), Decimal(50), Scale.LOG))
        system = Parameter("os", NodeSelectorKey("kubernetes.io/os"), Categorical(("linux", "windows")))
        spec = dataclasses.replace(experiment(), space=SearchSpace((*experiment().space.parameters, collector, system)))
        values = {**CANARY, "gc": Decimal(250), "os": "windows"}
        suggestion = dataclasses.replace(world.trial.suggestion, assignment=Assignment.of(values))
        world.trial = dataclasses.replace(world.trial, suggestion=suggestion)
        world.create_arms(spec)
        arms = wait_for(lambda: found if len(found := world.pods("trimtab.dev/arm")) == 2 else [], "a pod of each arm")
        seen = {}
        for pod in arms:
            env = {e["name"]: e for e in pod["spec"]["containers"][0]["env"]}
            assert "valueFrom" in env["POD"]
            seen[pod["metadata"]["labels"]["trimtab.dev/arm"]] = (env["GOGC"]["value"], pod["spec"]["nodeSelector"])
        assert seen == {
            "canary": ("250", {"kubernetes.io/os": "windows"}),
            "control": ("100", {"kubernetes.io/os": "linux"}),
        }
        assert {v.spec_digest == v.observed_digest for v in world.views()} == {True}

    def test_a_second_create_of_the_same_arm_collides(self, world: World) -> None:
        first, again = world.create_arms()[0], world.plans()[0]
        assert first["metadata"]["name"] == again.name
        assert live_digest(first) == again.spec_digest


class TestServed:
    def test_they_get_the_services_traffic_and_count_as_nobody_elses(self, world: World, node: str) -> None:
        world.create_arms()
        raw = world.raw_target()

        def bound() -> list[Obj]:
            pods = [p for p in world.pods("app.kubernetes.io/name=web") if p["spec"].get("nodeName") == node]
            names = {p["metadata"]["labels"].get("trimtab.dev/arm", "target") for p in pods}
            return pods if names == {"canary", "control", "target"} else []

        # The target's required anti-affinity lets one of its pods onto the node; the arms are not bound by it.
        pods = wait_for(bound, "one pod of the target and both arms on the node")
        assert len(pods) == 3
        for number, pod in enumerate(pods, start=1):
            run_pod(world.admin, pod, number)
        arms = {p["metadata"]["name"] for p in pods if "trimtab.dev/arm" in p["metadata"]["labels"]}
        slices = ("discovery.k8s.io/v1", "EndpointSlice", world.namespace)
        wait_for(
            lambda: arms < ready_endpoint_names(world.admin.list(*slices)),
            "the arms' pods in the Service's EndpointSlices",
        )
        assert [v.ready_endpoints for v in world.views()] == [1, 1]
        assert world.surroundings().ready_service_endpoints == 1  # the arms are not counted
        for pod in pods:
            is_arm = pod["metadata"]["name"] in arms
            assert selects(raw["spec"]["selector"], pod) is not is_arm
        deployments = world.admin.list("apps/v1", "Deployment", world.namespace, labels="trimtab.dev/arm")
        for deployment in deployments:
            assert sum(selects(deployment["spec"]["selector"], pod) for pod in pods) == 1
        assert world.raw_target()["status"]["replicas"] == 2

    def test_an_autoscaler_and_a_budget_of_the_target_do_not_see_them(self, world: World) -> None:
        selector = world.raw_target()["spec"]["selector"]
        world.create("policy/v1", "PodDisruptionBudget", "keep", {"minAvailable": 1, "selector": selector})
        world.create_arms()
        wait_for(lambda: len(world.pods("app.kubernetes.io/name=web")) == 4, "all pods")

        def expected() -> bool:
            status = world.admin.get("policy/v1", "PodDisruptionBudget", "keep", world.namespace).get("status") or {}
            return bool(status.get("expectedPods") == 2)

        wait_for(expected, "the budget to count the target's pods alone")
        assert "SelectorConflict" not in world.problems(experiment())


class TestEdits:
    def arm(self, world: World) -> Obj:
        """The canary, once the controller has worked on it."""
        canary = world.create_arms()[0]["metadata"]["name"]

        def seen() -> Obj | None:
            found = world.admin.get("apps/v1", "Deployment", canary, world.namespace)
            return (
                found
                if (found.get("status") or {}).get("observedGeneration") and world.pods("trimtab.dev/arm=canary")
                else None
            )

        return wait_for(seen, "the canary to be worked on")

    def test_the_controllers_work_is_no_edit(self, world: World) -> None:
        assert live_digest(self.arm(world)) == world.plans()[0].spec_digest

    @pytest.mark.parametrize(
        "edit",
        [
            {"spec": {"replicas": 2}},
            {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}},
            {"spec": {"template": {"spec": {"priorityClassName": "system-cluster-critical"}}}},
            {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}},
            {"spec": {"paused": True}},
        ],
        ids=["scale", "image", "priority", "restart", "pause"],
    )
    def test_any_edit_of_the_spec_is_noticed(self, world: World, edit: Obj) -> None:
        name = self.arm(world)["metadata"]["name"]
        edited = world.admin.patch("apps/v1", "Deployment", name, edit, world.namespace, strategy="strategic")
        assert live_digest(edited) != world.plans()[0].spec_digest

    def test_a_deletion_is_no_edit(self, world: World) -> None:
        arm = self.arm(world)
        where = ("apps/v1", "Deployment", arm["metadata"]["name"])
        body = {"metadata": {"finalizers": ["example.com/hold"]}}
        world.admin.patch(*where, body, world.namespace)
        world.admin.delete(*where, world.namespace)
        going = world.admin.get(*where, world.namespace)
        assert going["metadata"]["deletionTimestamp"]
        assert live_digest(going) == world.plans()[0].spec_digest
        world.admin.patch(*where, {"metadata": {"finalizers": None}}, world.namespace)


def pod_of(arm: Obj) -> Obj:
    """The pod that an arm's ReplicaSet would create."""
    template = arm["spec"]["template"]
    metadata = {"name": "probe", "namespace": arm["metadata"]["namespace"], "labels": template["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def sized(world: World, cpu: str, memory: Decimal) -> Obj:
    """A pod of an arm with this assignment."""
    plan = world.plans()[0]
    settings = target_settings(experiment(), world.target(), Assignment.of({"cpu": Decimal(cpu), "memory": memory}))
    return pod_of(arm_manifest(world.raw_target(), dataclasses.replace(plan, settings=settings)))


class TestQuota:
    """One replica each: the canary at most 1 core (limit 2) and 2 GiB, the control 0.5 (1) and 1 GiB; each with a
    side-car and a log container of together 0.15 and 96 MiB."""

    @pytest.mark.parametrize(
        ("name", "exact", "short"),
        [
            ("requests.cpu", "1800m", "1799m"),
            ("limits.cpu", "3300m", "3299m"),
            ("requests.memory", "3264Mi", "3263Mi"),
            ("limits.memory", "3264Mi", "3263Mi"),
            ("pods", "2", "1"),
        ],
    )
    def test_preflight_and_the_server_draw_the_same_line(self, world: World, name: str, exact: str, short: str) -> None:
        world.admin.patch("apps/v1", "Deployment", "web", {"spec": {"replicas": 0}}, world.namespace)
        wait_for(lambda: self.scaled_down(world), "the target to be scaled down")
        wait_for(lambda: not world.pods(""), "no pods of the target")
        world.create("v1", "ResourceQuota", "team", {"hard": {name: exact}})
        self.settle(world, exact)
        assert world.problems(experiment()) == []
        pods = [sized(world, "1", 2 * GIB), sized(world, "0.5", GIB)]
        for number, pod in enumerate(pods):
            pod["metadata"]["name"] = f"fits-{number}"
            wait_for(functools.partial(world.admin.create, copy.deepcopy(pod)), "its admission", ignore=(Forbidden,))
        world.admin.delete_all("v1", "Pod", world.namespace, grace=0)
        wait_for(lambda: not world.pods(""), "the pods to be gone")
        world.admin.patch("v1", "ResourceQuota", "team", {"spec": {"hard": {name: short}}}, world.namespace)
        self.settle(world, short)
        assert world.problems(experiment()) == ["QuotaTooSmall"]
        world.admin.create(pods[0])
        with pytest.raises(Forbidden, match="exceeded quota"):
            world.admin.create(pods[1])

    def scaled_down(self, world: World) -> bool:
        """The controller has seen that no replica is wanted, and so makes none any more."""
        target = world.admin.get("apps/v1", "Deployment", "web", world.namespace)
        status = target.get("status") or {}
        seen = int(status.get("observedGeneration") or 0) >= int(target["metadata"]["generation"])
        return seen and not status.get("replicas")

    def settle(self, world: World, hard: str) -> None:
        """The controller has seen the quota, and that nothing is used."""

        def seen() -> bool:
            status = world.admin.get("v1", "ResourceQuota", "team", world.namespace).get("status") or {}
            same = set((status.get("hard") or {}).values()) == {hard}
            return same and set((status.get("used") or {}).values()) == {"0"}

        wait_for(seen, "the quota's status")

    def test_a_quota_of_another_scope_does_not_count(self, world: World) -> None:
        world.create("v1", "ResourceQuota", "batch", {"hard": {"pods": "0"}, "scopes": ["BestEffort"]})
        assert world.problems(experiment()) == []
        pod = sized(world, "1", GIB)
        world.admin.create(pod, dry_run=True)


class TestLimitRange:
    @pytest.mark.parametrize(
        ("item", "assignment"),
        [
            ({"type": "Container", "max": {"cpu": "1999m"}}, ("1", GIB)),
            ({"type": "Container", "min": {"memory": "257Mi"}}, ("1", GIB / 4)),
            ({"type": "Container", "maxLimitRequestRatio": {"cpu": "1900m"}}, ("0.5", GIB)),
            ({"type": "Pod", "max": {"memory": "2143Mi"}}, ("0.5", 2 * GIB)),
            ({"type": "Pod", "min": {"cpu": "251m"}}, ("0.1", GIB)),
        ],
        ids=["max", "min", "ratio", "pod-max", "pod-min"],
    )
    def test_what_preflight_refuses_the_server_refuses(
        self, world: World, item: Obj, assignment: tuple[str, Decimal]
    ) -> None:
        item = copy.deepcopy(item)
        if "min" in item and item["type"] == "Container":
            world.admin.patch(
                "apps/v1", "Deployment", "web", without_small_containers(world.raw_target()), world.namespace
            )
        world.create("v1", "LimitRange", "bounds", {"limits": [item]})
        assert world.problems(experiment()) == ["LimitRangeViolated"]
        pod = sized(world, *assignment)

        def refusal() -> str:
            try:
                world.admin.create(pod, dry_run=True)
            except Forbidden as error:
                return error.message
            return ""

        message = wait_for(refusal, "the LimitRange to be in force")
        assert "usage per" in message or "ratio" in message

    @pytest.mark.parametrize(
        "item",
        [
            {"type": "Container", "max": {"cpu": "2", "memory": "2Gi"}, "min": {"cpu": "50m", "memory": "32Mi"}},
            {"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}},
            {"type": "Pod", "max": {"cpu": "2150m", "memory": "2144Mi"}, "min": {"cpu": "250m"}},
        ],
        ids=["bounds", "ratio", "pod"],
    )
    def test_what_preflight_allows_the_server_allows(self, world: World, item: Obj) -> None:
        made = world.create("v1", "LimitRange", "bounds", {"limits": [item]})
        assert made["spec"]["limits"]
        assert world.problems(experiment()) == []
        baseline = baseline_assignment(experiment(), world.target(), world.surroundings())
        for cpu, memory in (("0.1", GIB / 4), ("1", 2 * GIB), (str(baseline["cpu"]), GIB)):
            world.admin.create(sized(world, cpu, memory), dry_run=True)

    def test_the_servers_own_default_limit_is_read(self, world: World) -> None:
        """A max alone becomes the default limit and request of containers that set none."""
        world.create("v1", "LimitRange", "bounds", {"limits": [{"type": "Container", "max": {"cpu": "4"}}]})
        (found,) = world.surroundings().limit_ranges
        assert found.defaults == ((Resource.CPU, Decimal(4), Decimal(4)),)


def without_small_containers(raw: Obj) -> Obj:
    """A merge patch that leaves the tuned container alone."""
    containers = [c for c in raw["spec"]["template"]["spec"]["containers"] if c["name"] == "web"]
    return {"spec": {"template": {"spec": {"containers": containers}}}}
