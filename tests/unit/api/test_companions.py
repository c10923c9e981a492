"""The Service of an arm: reached as the backend is, in front of the arm alone, and nobody's load balancer. Its
autoscaler: the target's own in small, and nobody else's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.unit.api.test_arms import PLAN
from tests.unit.api.test_kube_autoscaler import CPU, POLICIES, RPS, scaler

from trimtab.api.companions import arm_autoscaler, arm_service
from trimtab.api.kube import arm_scalers
from trimtab.api.kube_arms import ANNOTATION_LIVE
from trimtab.api.kube_autoscaler import autoscaler_from, scaler_digest
from trimtab.domain.autoscaler import AutoscalerChanges, AutoscalerPlan, UtilizationTarget
from trimtab.domain.measurement import Arm
from trimtab.domain.space import Resource


def backend(**spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": "web", "nodePort": 30123}]
    return {
        "metadata": {
            "name": "web",
            "labels": {"app": "web", "app.kubernetes.io/instance": "web", "helm.sh/chart": "web-1"},
            "annotations": {"prometheus.io/scrape": "true", "external-dns.alpha.kubernetes.io/hostname": "shop.test"},
        },
        "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.7", "selector": {"app": "web"}, "ports": ports, **spec},
    }


def test_it_has_the_backends_ports_and_the_arms_pods() -> None:
    made = arm_service(backend(sessionAffinity="None"), PLAN)
    assert (made["kind"], made["metadata"]["name"], made["metadata"]["namespace"]) == ("Service", PLAN.name, "shop")
    assert made["spec"] == {
        "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": "web"}],
        "selector": {"trimtab.dev/arm": "canary", "trimtab.dev/trial": "trial-uid"},
        "sessionAffinity": "None",
    }


def test_a_headless_backend_makes_a_headless_service() -> None:
    assert arm_service(backend(clusterIP="None"), PLAN)["spec"]["clusterIP"] == "None"
    assert "clusterIP" not in arm_service(backend(), PLAN)["spec"]


def test_whoever_finds_the_targets_pods_by_their_service_finds_the_arms() -> None:
    metadata = arm_service(backend(), PLAN)["metadata"]
    assert metadata["labels"]["app"] == "web"
    assert metadata["labels"]["trimtab.dev/trial"] == "trial-uid"
    assert not {"app.kubernetes.io/instance", "helm.sh/chart"} & set(metadata["labels"])
    assert set(metadata["annotations"]) == {
        "prometheus.io/scrape", "trimtab.dev/deadline", "trimtab.dev/trial-name", "trimtab.dev/spec-digest",
    }  # fmt: skip


def test_it_belongs_to_its_trial() -> None:
    (owner,) = arm_service(backend(), PLAN)["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("Trial", "trial-uid", True)


class TestAutoscaler:
    def production(self) -> dict[str, Any]:
        made = scaler(metrics=[CPU, RPS], behavior={"scaleUp": {"policies": POLICIES}})
        made["metadata"] |= {
            "uid": "hpa-uid",
            "resourceVersion": "7",
            "labels": {"app": "web", "argocd.argoproj.io/instance": "web", "helm.sh/chart": "web-1"},
            "annotations": {"argocd.argoproj.io/tracking-id": "web", "autoscaling.example/custom": "yes"},
        }
        return made | {"status": {"currentReplicas": 9, "desiredReplicas": 9}}

    def made(self, **changes: Any) -> dict[str, Any]:
        plan = AutoscalerPlan(autoscaler_from(self.production()), 1, 3, AutoscalerChanges(**changes))
        return arm_autoscaler(replace(PLAN, autoscaler=plan))

    def test_it_scales_the_arm_alone_within_the_plans_bounds(self) -> None:
        made = self.made()
        assert (made["kind"], made["metadata"]["name"], made["metadata"]["namespace"]) == (
            "HorizontalPodAutoscaler", PLAN.name, "shop",
        )  # fmt: skip
        assert made["spec"] == {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": PLAN.name},
            "minReplicas": 1,
            "maxReplicas": 3,
            "metrics": [CPU, RPS],
            "behavior": {"scaleUp": {"policies": POLICIES}},
        }

    def test_with_what_an_assignment_changes(self) -> None:
        targets = (UtilizationTarget(Resource.CPU, "", 85),)
        view = autoscaler_from(self.made(targets=targets, stabilization_down=60))
        assert ([m.utilization for m in view.metrics], view.stabilization_down) == ([85, None], 60)
        assert (view.minimum, view.maximum) == (1, 3)

    def test_nothing_of_the_original_but_its_spec_and_plain_labels(self) -> None:
        made = self.made()
        assert set(made) == {"apiVersion", "kind", "metadata", "spec"}
        assert set(made["metadata"]) == {"name", "namespace", "labels", "annotations", "ownerReferences"}
        assert made["metadata"]["labels"]["app"] == "web"
        assert not {"argocd.argoproj.io/instance", "helm.sh/chart"} & set(made["metadata"]["labels"])
        assert all(key.startswith("trimtab.dev/") for key in made["metadata"]["annotations"])
        (owner,) = made["metadata"]["ownerReferences"]
        assert owner["uid"] == "trial-uid"

    def test_it_is_known_again(self) -> None:
        made = self.made()
        assert made["metadata"]["annotations"][ANNOTATION_LIVE] == scaler_digest(made)
        assert list(arm_scalers([made, self.production()])) == [("trial-uid", Arm.CANARY)]
