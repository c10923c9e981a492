"""A Deployment and its Service for a workload that comes without them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from trimtab.domain.quantity import format_cpu, format_memory
from trimtab.workload import WorkloadSpec
from trimtab.workload.spec import Amounts

INSTANCE = "app.kubernetes.io/instance"


REPLICAS = 20
AMOUNTS = {"cpu": "2", "memory": "2Gi"}


def manifests_for(
    workload: WorkloadSpec, *, replicas: int | None = None, cpu: str = "", memory: str = ""
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The target as a careful team would have it: the Deployment selects on a label that the Service does not use.

    What is not given is as the workload says, and else 20 pods of 2 cores and 2Gi.
    """
    target = workload.target
    labels = {**target.selector, INSTANCE: f"{target.deployment}-production"}
    given = {name: text for name, text in (("cpu", cpu), ("memory", memory)) if text}
    usual = AMOUNTS if target.replicas is None else {}
    container = {
        "name": target.container,
        "image": f"{target.container}:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {
            "requests": usual | _amounts(target.requests) | given,
            "limits": usual | _amounts(target.limits) | given,
        },
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": target.deployment, "labels": dict(labels)},
        "spec": {
            "replicas": replicas or target.replicas or REPLICAS,
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


def _amounts(amounts: Amounts) -> dict[str, str]:
    written = {}
    if amounts.cpu is not None:
        written["cpu"] = format_cpu(Decimal(repr(amounts.cpu)))
    if amounts.memory is not None:
        written["memory"] = format_memory(Decimal(repr(amounts.memory)))
    return written


__all__ = ["manifests_for"]
