"""A Deployment and its Service for a workload that comes without them."""

from __future__ import annotations

from typing import Any

from trimtab.workload import WorkloadSpec

INSTANCE = "app.kubernetes.io/instance"


def manifests_for(
    workload: WorkloadSpec, *, replicas: int = 20, cpu: str = "2", memory: str = "2Gi"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The target as a careful team would have it: the Deployment selects on a label that the Service does not use."""
    target = workload.target
    labels = {**target.selector, INSTANCE: f"{target.deployment}-production"}
    amounts = {"cpu": cpu, "memory": memory}
    container = {
        "name": target.container,
        "image": f"{target.container}:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": amounts, "limits": dict(amounts)},
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": target.deployment, "labels": dict(labels)},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": dict(labels)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": dict(labels)},
                "spec": {"terminationGracePeriodSeconds": 10, "containers": [container]},
            },
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": target.service},
        "spec": {
            "selector": dict(target.selector),
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }
    return deployment, service


__all__ = ["manifests_for"]
