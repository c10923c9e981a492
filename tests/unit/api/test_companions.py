"""The Service of an arm: reached as the backend is, in front of the arm alone, and nobody's load balancer."""

from __future__ import annotations

from typing import Any

from tests.unit.api.test_arms import PLAN

from trimtab.api.companions import arm_service


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
