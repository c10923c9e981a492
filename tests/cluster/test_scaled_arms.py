"""Arms with an autoscaler of their own on a real control plane: what the server makes of the clone is no edit, nor is
what the real controller does to the arm; what a hand does to either is. The server takes a recommendation's patches."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest
import yaml
from tests.cluster import test_arms as arms
from tests.unit.api.test_export import ANSWER
from tests.unit.control import scaled
from tests.unit.control.builders import experiment as record

from controlplane import ApiClient, wait_for
from controlplane.client import PATCH_TYPES, Invalid, Obj
from trimtab.api.arms import arm_manifest, live_digest
from trimtab.api.companions import arm_autoscaler
from trimtab.api.export import recommendation_data
from trimtab.api.kube import arm_views
from trimtab.api.kube_autoscaler import autoscaler_from
from trimtab.control.arms import baseline_assignment
from trimtab.control.scale_point import scale_changes
from trimtab.domain.kube import ArmPlan, ArmView, PodChanges
from trimtab.domain.space import Assignment
from trimtab.domain.spec import ExperimentSpec

HPA = ("autoscaling/v2", "HorizontalPodAutoscaler")
# As a team writes it: much is left to the server's defaults.
PRODUCTION: Obj = {
    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
    "minReplicas": 40,
    "maxReplicas": 200,
    "metrics": [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
    ],
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 120, "tolerance": "0.150"}},
}
FIELDS = (
    scaled.UTILIZATION,
    scaled.LEAST,
    scaled.MOST,
    scaled.DOWN,
    scaled.UP,
    scaled.TOLERANCE_DOWN,
    scaled.TOLERANCE_UP,
)
TRIED = scaled.assigned(target=85, least=20, most=250, down=60, up=30, easy=5, eager=20)


class World(arms.World):
    """With an autoscaler on the target, in mode HTTPRoute, and all of its fields tuned."""

    def __init__(self, admin: ApiClient, namespace: str) -> None:
        super().__init__(admin, namespace)
        self.production = self.create(*HPA, "web", PRODUCTION)
        suggestion = replace(self.trial.suggestion, assignment=TRIED)
        environment = replace(self.trial.environment, target_replicas=100)
        self.trial = replace(self.trial, suggestion=suggestion, environment=environment)

    def spec(self) -> ExperimentSpec:
        return scaled.spec(*scaled.ALL)

    def baseline(self) -> Assignment:
        return baseline_assignment(self.spec(), self.target(), self.surroundings())

    def arm(self, **changes: int) -> tuple[Obj, Obj]:
        """The canary's autoscaler and Deployment, in the order in which the operator makes them."""
        plan = self.plan(**changes)
        scaler = self.admin.create(arm_autoscaler(plan))
        return scaler, self.admin.create(arm_manifest(self.raw_target(), plan))

    def plan(self, **changes: int) -> ArmPlan:
        return replace(self.plans(self.spec())[0], **changes)

    def view(self) -> ArmView:
        lists = [
            self.admin.list(*k, self.namespace, labels="trimtab.dev/arm") for k in (("apps/v1", "Deployment"), HPA)
        ]
        (found,) = arm_views(lists[0], [], [], [], lists[1])
        return found


@pytest.fixture
def world(admin: ApiClient, namespace: str, no_nodes: None) -> World:
    return World(admin, namespace)


class TestClone:
    def test_today_is_read_back_as_written(self, world: World) -> None:
        assert world.baseline() == scaled.assigned(target=70, least=40, most=200, down=120, up=0, easy=15, eager=10)

    def test_the_server_takes_it_and_keeps_what_was_asked_for(self, world: World) -> None:
        scaler, _ = world.arm()
        assert world.admin.warnings == []
        view, plan = autoscaler_from(scaler), world.plan()
        assert plan.autoscaler is not None
        assert (view.minimum, view.maximum, view.target_name) == (1, 13, plan.name)
        assert (view.stabilization_down, view.stabilization_up) == (60, 30)
        assert (view.tolerance, view.tolerance_up) == (0.05, 0.2)
        assert [m.utilization for m in view.metrics] == [85]
        assert view.rest == plan.autoscaler.source.rest

    def test_it_is_seen_as_it_was_made(self, world: World) -> None:
        world.arm()
        view = world.view()
        assert view.scaled_by == view.name
        assert view.scaler is not None
        assert view.scaler.observed_digest == view.scaler.spec_digest == view.observed_digest == view.spec_digest

    def test_the_control_has_the_targets_own(self, world: World) -> None:
        control = world.plans(world.spec())[1]
        stored = world.admin.create(arm_autoscaler(control), dry_run=True)
        assert stored["spec"]["metrics"] == world.production["spec"]["metrics"]
        assert stored["spec"]["behavior"] == world.production["spec"]["behavior"]
        assert (stored["spec"]["minReplicas"], stored["spec"]["maxReplicas"]) == (2, 10)


class TestEdits:
    def test_the_controllers_scaling_is_none(self, world: World) -> None:
        name = world.arm(replicas=20)[1]["metadata"]["name"]

        def scaled_down() -> Obj | None:
            found = world.admin.get("apps/v1", "Deployment", name, world.namespace)
            return found if found["spec"]["replicas"] == 13 else None

        found = wait_for(scaled_down, "the real controller to enforce maxReplicas", seconds=60.0)
        assert found["metadata"]["generation"] > 1
        assert live_digest(found) == world.plan(replicas=20).spec_digest
        view = world.view()
        assert view.scaler is not None
        assert view.scaler.observed_digest == view.scaler.spec_digest

    @pytest.mark.parametrize(
        "edit",
        [
            {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}},
            {"spec": {"template": {"spec": {"priorityClassName": "system-cluster-critical"}}}},
            {"spec": {"paused": True}},
        ],
        ids=["image", "priority", "pause"],
    )
    def test_a_hands_edit_of_the_deployment_is_one(self, world: World, edit: Obj) -> None:
        name = world.arm()[1]["metadata"]["name"]
        path = f"/apis/apps/v1/namespaces/{world.namespace}/deployments/{name}"
        how = {"query": {"fieldManager": "kubectl-edit"}, "content_type": PATCH_TYPES["strategic"]}
        edited = world.admin.request("PATCH", path, edit, **how)
        assert live_digest(edited).startswith("edited")

    @pytest.mark.parametrize(
        "edit",
        [
            {"spec": {"maxReplicas": 14}},
            {"spec": {"minReplicas": 2}},
            {"spec": {"behavior": {"scaleUp": {"tolerance": "0.3"}}}},
        ],
        ids=["max", "min", "tolerance"],
    )
    def test_a_hands_edit_of_the_autoscaler_is_one(self, world: World, edit: Obj) -> None:
        name = world.arm()[0]["metadata"]["name"]
        world.admin.patch(*HPA, name, edit, world.namespace)
        scaler = world.view().scaler
        assert scaler is not None
        assert scaler.observed_digest != scaler.spec_digest

    def test_it_is_missed_when_it_is_gone(self, world: World) -> None:
        name = world.arm()[0]["metadata"]["name"]
        world.admin.delete(*HPA, name, world.namespace)
        wait_for(lambda: world.view().scaler is None, "the arm's autoscaler to be gone")
        assert world.view().scaled_by == name


class TestRecommendation:
    def data(self, world: World) -> dict[str, str]:
        scale = scale_changes(world.spec(), world.target(), world.surroundings(), world.baseline(), TRIED)
        held = record(spec=world.spec(), namespace=world.namespace)
        answer = replace(ANSWER, assignment=TRIED)
        return dict(recommendation_data(held, answer, "web", PodChanges(()), scale))

    def wanted(self, found: Obj) -> None:
        view = autoscaler_from(found)
        assert (view.minimum, view.maximum, view.stabilization_down, view.stabilization_up) == (20, 250, 60, 30)
        assert (view.tolerance, view.tolerance_up, [m.utilization for m in view.metrics]) == (0.05, 0.2, [85])

    def test_the_json_patch(self, world: World) -> None:
        steps = json.loads(self.data(world)["autoscaler-patch.json"])
        self.wanted(world.admin.patch(*HPA, "web", steps, world.namespace, strategy="json"))

    def test_the_json_patch_fails_where_something_else_stands(self, world: World) -> None:
        steps = json.loads(self.data(world)["autoscaler-patch.json"])
        world.admin.patch(*HPA, "web", {"spec": {"maxReplicas": 300}}, world.namespace)
        with pytest.raises(Invalid):
            world.admin.patch(*HPA, "web", steps, world.namespace, strategy="json")

    def test_the_merge_patch(self, world: World) -> None:
        patch = yaml.safe_load(self.data(world)["autoscaler-patch.yaml"])
        self.wanted(world.admin.patch(*HPA, "web", patch, world.namespace))

    def test_server_side_apply_takes_it_over(self, world: World) -> None:
        patch = yaml.safe_load(self.data(world)["autoscaler-patch.yaml"])
        self.wanted(world.admin.server_side_apply(patch, "pipeline", force=True))

    def test_the_baseline_is_what_is_recommended_then(self, world: World) -> None:
        patch = yaml.safe_load(self.data(world)["autoscaler-patch.yaml"])
        world.admin.patch(*HPA, "web", patch, world.namespace)
        assert world.baseline() == TRIED
        assert world.baseline().number("easy") == Decimal(5)
