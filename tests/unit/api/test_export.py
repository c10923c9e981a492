"""What a pipeline takes from the ConfigMap: a patch that kubectl and kustomize apply, and the same answer as data."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import yaml
from tests.unit.api.test_kube_autoscaler import CPU, RPS, scaler
from tests.unit.control.builders import CHEAPER, GIB, experiment, spec, target

from trimtab.api.export import recommendation_data
from trimtab.api.kube_autoscaler import autoscaler_from
from trimtab.control.arms import pod_changes
from trimtab.domain.autoscaler import AutoscalerChanges, ScaleChanges, UtilizationPoint, UtilizationTarget
from trimtab.domain.kube import EnvSetting, PodChanges, ResourceSetting
from trimtab.domain.space import LimitsRule, Resource
from trimtab.domain.state import FrontPoint, FrontValue, Interval, ObjectiveOutlook, RecommendationState, SliOutlook

ANSWER = RecommendationState(
    digest="0123456789ab",
    assignment=CHEAPER,
    keep_baseline=False,
    saving=0.4,
    saving_low=0.4,
    saving_high=0.4,
    cost_before=2.0,
    cost_after=1.2,
    verified=True,
    config_map="web-recommendation",
    template_hash="hash-1",
    message="cpu=1 memory=1Gi saves 40 %",
    slis=(SliOutlook("slow", Interval(0.03, 0.02, 0.04), Interval(0.031, 0.028, 0.034)), SliOutlook("errors")),
)


def exported(
    changes: PodChanges, answer: RecommendationState = ANSWER, scale: ScaleChanges | None = None
) -> dict[str, str]:
    return dict(recommendation_data(experiment(), answer, "web", changes, scale or ScaleChanges()))


def containers(text: str) -> list[dict[str, Any]]:
    patch = yaml.safe_load(text)
    assert (patch["kind"], patch["metadata"]) == ("Deployment", {"name": "web", "namespace": "shop"})
    found: list[dict[str, Any]] = patch["spec"]["template"]["spec"]["containers"]
    return found


def test_the_patch_sets_requests_and_limits_of_the_tuned_container_alone() -> None:
    data = exported(pod_changes(spec(), target(), CHEAPER))
    resources = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    assert containers(data["patch.yaml"]) == [{"name": "web", "resources": resources}]


def test_a_limit_that_shall_go_is_removed_by_the_merge() -> None:
    setting = ResourceSetting("web", Resource.MEMORY, GIB, None, LimitsRule.NONE)
    assert containers(exported(PodChanges((setting,)))["patch.yaml"])[0]["resources"]["limits"] == {"memory": None}


def test_the_patch_merges_variables_and_node_selectors() -> None:
    variables = (EnvSetting("web", "GOGC", "250"), EnvSetting("proxy", "WORKERS", "8"))
    changes = PodChanges((), variables, (("node.kubernetes.io/instance-type", "c5.large"),))
    data = exported(changes)
    assert containers(data["patch.yaml"]) == [
        {"name": "web", "env": [{"name": "GOGC", "value": "250"}]},
        {"name": "proxy", "env": [{"name": "WORKERS", "value": "8"}]},
    ]
    pod = yaml.safe_load(data["patch.yaml"])["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"node.kubernetes.io/instance-type": "c5.large"}


def test_the_kustomization_applies_the_patch_to_the_target() -> None:
    patches = yaml.safe_load(exported(PodChanges(()))["kustomization.yaml"])["patches"]
    assert patches == [{"path": "patch.yaml", "target": {"kind": "Deployment", "name": "web"}}]


@pytest.mark.parametrize("verified", [True, False])
def test_the_document_says_the_same_as_the_status(verified: bool) -> None:
    document = json.loads(exported(PodChanges(()), replace(ANSWER, verified=verified))["recommendation.json"])
    assert document["experiment"] == "web"
    assert document["digest"] == ANSWER.digest
    assert document["assignment"] == {"cpu": "1", "memory": "1Gi"}
    assert document["verified"] is verified
    assert (document["costPerHourBefore"], document["costPerHourAfter"]) == (2.0, 1.2)
    assert document["savingPercent"] == 40.0
    predicted = {"value": 0.03, "low": 0.02, "high": 0.04}
    measured = {"value": 0.031, "low": 0.028, "high": 0.034}
    assert document["slis"] == [{"sli": "slow", "predicted": predicted, "verified": measured}, {"sli": "errors"}]


def test_the_document_has_objectives_and_the_front() -> None:
    values = (FrontValue("cost", 1.2, 0.0), FrontValue("p95", 0.25, 0.01))
    outlook = ObjectiveOutlook("p95", 0.3, Interval(0.25, 0.23, 0.27), -1 / 6)
    answer = replace(ANSWER, objectives=(outlook,), front=(FrontPoint(CHEAPER, values),))
    document = json.loads(exported(PodChanges(()), answer)["recommendation.json"])
    (point,) = document["front"]
    assert point["assignment"] == {"cpu": "1", "memory": "1Gi"}
    assert point["objectives"][1] == {"name": "p95", "value": 0.25, "sd": 0.01}
    assert document["objectives"][0]["predicted"] == {"value": 0.25, "low": 0.23, "high": 0.27}


class TestHelmValues:
    def test_one_container_has_a_place(self) -> None:
        values = yaml.safe_load(exported(pod_changes(spec(), target(), CHEAPER))["values.yaml"])
        resources = {"cpu": "1", "memory": "1Gi"}
        assert values == {"resources": {"requests": resources, "limits": resources}}

    def test_several_have_none(self) -> None:
        one, two = (ResourceSetting(name, Resource.CPU, Decimal(1), None, LimitsRule.KEEP) for name in ("a", "b"))
        assert "values.yaml" not in exported(PodChanges((one, two)))
        values = yaml.safe_load(exported(PodChanges((one, two), (), (("zone", "b"),)))["values.yaml"])
        assert values == {"nodeSelector": {"zone": "b"}}


class TestScaling:
    VIEW = autoscaler_from(scaler(metrics=[CPU, RPS]))
    CHANGES = AutoscalerChanges(minimum=4, targets=(UtilizationTarget(Resource.CPU, "", 85),), stabilization_down=60)

    def data(self, **changes: Any) -> dict[str, str]:
        usual: dict[str, Any] = {"autoscaler": self.VIEW, "changes": self.CHANGES}
        return exported(PodChanges(()), scale=ScaleChanges(**{**usual, **changes}))

    def test_a_patch_of_the_autoscaler_beside_the_deployments(self) -> None:
        data = self.data()
        patch = yaml.safe_load(data["autoscaler-patch.yaml"])
        assert (patch["kind"], patch["metadata"]) == (
            "HorizontalPodAutoscaler",
            {"name": "web-hpa", "namespace": "shop"},
        )
        cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 85}}
        assert patch["spec"] == {
            "minReplicas": 4,
            "metrics": [{"type": "Resource", "resource": cpu}, RPS],  # the list is one value to the server
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
        }
        patches = yaml.safe_load(data["kustomization.yaml"])["patches"]
        assert [(p["path"], p["target"]["kind"], p["target"]["name"]) for p in patches] == [
            ("patch.yaml", "Deployment", "web"),
            ("autoscaler-patch.yaml", "HorizontalPodAutoscaler", "web-hpa"),
        ]

    def test_a_json_patch_that_fails_where_something_else_stands(self) -> None:
        steps = json.loads(self.data()["autoscaler-patch.json"])
        assert [(s["op"], s["path"]) for s in steps] == [
            ("test", "/spec/minReplicas"),
            ("test", "/spec/metrics"),
            ("replace", "/spec/minReplicas"),
            ("replace", "/spec/metrics"),
            ("add", "/spec/behavior"),
        ]
        assert steps[0]["value"] == 2
        assert steps[1]["value"] == [CPU, RPS]

    def test_helm_values(self) -> None:
        assert yaml.safe_load(self.data()["values.yaml"]) == {
            "autoscaling": {
                "minReplicas": 4,
                "targetCPUUtilizationPercentage": 85,
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
            }
        }
        fixed = self.data(autoscaler=None, changes=AutoscalerChanges(), replicas=8)
        assert yaml.safe_load(fixed["values.yaml"]) == {"replicaCount": 8}
        most = self.data(changes=AutoscalerChanges(maximum=30))
        assert yaml.safe_load(most["values.yaml"]) == {"autoscaling": {"maxReplicas": 30}}

    def test_where_it_stays_as_it_is_there_is_no_patch_of_it(self) -> None:
        data = self.data(changes=AutoscalerChanges())
        assert not [key for key in data if key.startswith("autoscaler")]
        assert len(yaml.safe_load(data["kustomization.yaml"])["patches"]) == 1

    def test_replicas_are_in_the_deployments_patch(self) -> None:
        patch = yaml.safe_load(self.data(autoscaler=None, changes=AutoscalerChanges(), replicas=8)["patch.yaml"])
        assert patch["spec"] == {"replicas": 8}

    def test_the_document_says_where_pods_are_added(self) -> None:
        before, after = (
            UtilizationPoint(Resource.CPU, "", 70, Decimal(2)),
            UtilizationPoint(Resource.MEMORY, "web", 50, GIB),
        )
        document = json.loads(self.data(before=(before,), after=(after,))["recommendation.json"])
        assert document["autoscaler"]["name"] == "web-hpa"
        assert document["autoscaler"]["spec"]["minReplicas"] == 4
        assert document["autoscaler"]["addsPodsAbove"] == {
            "before": [{"resource": "cpu", "use": "1400m", "request": "2", "utilizationPercent": 70}],
            "after": [
                {
                    "resource": "memory",
                    "container": "web",
                    "use": "512Mi",
                    "request": "1Gi",
                    "utilizationPercent": 50,
                }
            ],
        }
        assert "autoscaler" not in json.loads(exported(PodChanges(()))["recommendation.json"])
