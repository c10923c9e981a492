"""An autoscaler is read with Kubernetes' defaults, and written with nothing changed but what an assignment changes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from tests.unit.api.kube_manifests import Obj, named

from trimtab.api.kube_autoscaler import autoscaler_from, changed_spec, scaler_digest
from trimtab.domain.autoscaler import AutoscalerChanges, MetricView, UtilizationTarget
from trimtab.domain.space import Resource

REF = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
CPU: Obj = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
}
HEAP: Obj = {
    "type": "ContainerResource",
    "containerResource": {
        "name": "memory",
        "container": "web",
        "target": {"type": "Utilization", "averageUtilization": 80},
    },
}
RPS: Obj = {
    "type": "Pods",
    "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "100"}},
}
QUEUE: Obj = {
    "type": "External",
    "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "1k"}},
}
POLICIES = [{"type": "Percent", "value": 100, "periodSeconds": 15}]


def scaler(**spec: Any) -> Obj:
    return named("web-hpa", **{"scaleTargetRef": REF, "minReplicas": 2, "maxReplicas": 20, "metrics": [CPU], **spec})


class TestReading:
    @pytest.mark.parametrize(
        ("status", "inactive"),
        [
            ("True", ""),
            ("False", "FailedGetResourceMetric: no metrics returned\\n twice"),
        ],
    )
    def test_why_it_does_not_scale(self, status: str, inactive: str) -> None:
        assert autoscaler_from(scaler()).inactive == ""
        said = {"reason": "FailedGetResourceMetric", "message": "no metrics returned\n twice"}
        able = {"type": "AbleToScale", "status": "False", "reason": "FailedUpdateScale"}
        conditions = [able, {"type": "ScalingActive", "status": status, **said}]
        assert autoscaler_from(scaler() | {"status": {"conditions": conditions}}).inactive == inactive

    def test_everything(self) -> None:
        behavior = {
            "scaleDown": {"stabilizationWindowSeconds": 60, "tolerance": "50m"},
            "scaleUp": {"stabilizationWindowSeconds": 30, "tolerance": "0.2"},
        }
        made = scaler(metrics=[CPU, HEAP, RPS, QUEUE], behavior=behavior) | {"status": {"currentReplicas": 7}}
        made["metadata"] |= {"uid": "u", "annotations": {"meta.helm.sh/release-name": "web"}}
        view = autoscaler_from(made)
        assert (view.name, view.uid, view.minimum, view.maximum, view.current) == ("web-hpa", "u", 2, 20, 7)
        assert (view.stabilization_down, view.stabilization_up) == (60, 30)
        assert (view.tolerance, view.tolerance_up) == (0.05, 0.2)
        assert view.managed_by == "Helm release web"
        assert view.metrics == (
            MetricView("Resource", "cpu", "", 70),
            MetricView("ContainerResource", "memory", "web", 80),
            MetricView("Pods", "rps"),
            MetricView("External", "queue"),
        )
        assert [m.shared for m in view.metrics] == [False, False, False, True]
        assert [m.words for m in view.metrics] == ["cpu", "memory of container web", "Pods rps", "External queue"]

    def test_kubernetes_own_defaults(self) -> None:
        view = autoscaler_from(named("plain", scaleTargetRef=REF, maxReplicas=5))
        assert (view.minimum, view.maximum, view.stabilization_down, view.stabilization_up) == (1, 5, 300, 0)
        assert (view.tolerance, view.tolerance_up) == (0.1, 0.1)
        assert view.metrics == (MetricView("Resource", "cpu", "", 80),)

    @pytest.mark.parametrize(
        "mark",
        [
            {"ownerReferences": [{"kind": "ScaledObject", "name": "web"}]},
            {"labels": {"scaledobject.keda.sh/name": "web"}},
        ],
    )
    def test_kedas(self, mark: Obj) -> None:
        made = scaler()
        made["metadata"] |= mark
        assert autoscaler_from(made).given_by == "KEDA's ScaledObject web"
        assert autoscaler_from(scaler()).given_by == ""

    def test_a_metric_of_the_future_is_no_utilization(self) -> None:
        view = autoscaler_from(scaler(metrics=[{"type": "Vibes", "vibes": {"name": "good"}}]))
        assert view.metrics == (MetricView("Vibes", ""),)

    def test_the_rest_is_all_but_the_fields(self) -> None:
        plain = autoscaler_from(scaler()).rest
        fields = scaler(minReplicas=9, behavior={"scaleDown": {"stabilizationWindowSeconds": 9, "tolerance": "0.3"}})
        assert autoscaler_from(fields).rest == plain
        assert autoscaler_from(scaler(behavior={"scaleUp": {"policies": POLICIES}})).rest != plain
        assert autoscaler_from(scaler(metrics=[CPU, RPS])).rest != plain


class TestWriting:
    def test_nothing_changes_nothing(self) -> None:
        spec = scaler(behavior={"scaleUp": {"policies": POLICIES}})["spec"]
        assert changed_spec(spec, AutoscalerChanges()) == spec

    def test_everything(self) -> None:
        spec = scaler(metrics=[CPU, HEAP, RPS], behavior={"scaleDown": {"policies": POLICIES}})["spec"]
        before = autoscaler_from(named("web", **spec))
        targets = (UtilizationTarget(Resource.CPU, "", 60), UtilizationTarget(Resource.MEMORY, "web", 90))
        made = changed_spec(spec, AutoscalerChanges(3, 30, targets, 120, 15, Decimal("0.05"), Decimal("0.150")))
        view = autoscaler_from(named("web", **made))
        assert (view.minimum, view.maximum, view.stabilization_down, view.stabilization_up) == (3, 30, 120, 15)
        assert (view.tolerance, view.tolerance_up) == (0.05, 0.15)
        assert [m.utilization for m in view.metrics] == [60, 90, None]
        assert made["behavior"]["scaleDown"]["policies"] == POLICIES
        assert made["metrics"][2] == RPS
        assert autoscaler_from(named("web", **spec)) == before  # the original is not touched

    def test_where_no_metric_is_named_the_default_one_is_written(self) -> None:
        spec = named("web", scaleTargetRef=REF, maxReplicas=5)["spec"]
        made = changed_spec(spec, AutoscalerChanges(targets=(UtilizationTarget(Resource.CPU, "", 60),)))
        assert made["metrics"] == [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}},
            }
        ]


class TestDigest:
    def test_what_the_server_writes_otherwise_is_no_edit(self) -> None:
        mine = scaler(metrics=[CPU, QUEUE], behavior={"scaleDown": {"tolerance": "0.05"}})
        defaulted = {"scaleDown": {"tolerance": "50m", "policies": POLICIES, "selectPolicy": "Max"}, "scaleUp": {}}
        external = {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "1000"}}
        theirs = scaler(metrics=[CPU, {"type": "External", "external": external}], behavior=defaulted)
        assert scaler_digest(mine) == scaler_digest(theirs)

    @pytest.mark.parametrize(
        "edit",
        [
            {"minReplicas": 1},
            {"maxReplicas": 21},
            {"scaleTargetRef": {**REF, "name": "api"}},
            {"metrics": [HEAP]},
            {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 1}}},
            {"behavior": {"scaleUp": {"tolerance": "0"}}},
        ],
    )
    def test_an_edit_is_one(self, edit: Obj) -> None:
        assert scaler_digest(scaler(**edit)) != scaler_digest(scaler())
