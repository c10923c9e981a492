"""The example's service behind a route, with an autoscaler."""

from __future__ import annotations

import copy
from typing import Any

import yaml
from tests.unit.simulate.stories import WEB

from trimtab.simulate.scenario import Scenario, scenario

CPU = {
    "name": "cpu",
    "container": {"name": "web", "resource": "cpu", "apply": "Requests", "limits": "Ratio"},
    "quantity": {"min": "500m", "max": "2", "step": "500m", "scale": "Log"},
}
MEMORY = {
    "name": "memory",
    "container": {"name": "web", "resource": "memory", "apply": "Both"},
    "quantity": {"min": "512Mi", "max": "2Gi", "step": "512Mi", "scale": "Log"},
}
ROUTE: dict[str, Any] = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "web"},
    "spec": {
        "parentRefs": [{"name": "public"}],
        "rules": [{"name": "all", "backendRefs": [{"name": "web", "port": 80}]}],
    },
}


def field(name: str, of: str, low: int, high: int, step: int) -> dict[str, Any]:
    """A parameter of the autoscaler."""
    return {"name": name, "autoscaler": {"field": of}, "integer": {"min": low, "max": high, "step": step}}


TARGET = field("target", "CPUUtilization", 30, 80, 10)


def hpa(utilization: int = 40, least: int = 4, most: int = 60, **behavior: Any) -> dict[str, Any]:
    """The target's autoscaler."""
    metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": utilization}}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": least,
        "maxReplicas": most,
        "metrics": [{"type": "Resource", "resource": metric}],
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": spec | ({"behavior": behavior} if behavior else {}),
    }


def experiment(*parameters: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """In mode HTTPRoute; the example's bounds."""
    found: dict[str, Any] = yaml.safe_load((WEB / "experiment.yaml").read_text())
    route = {"name": "web", "ruleName": "all", "backendService": "web", "canaryPercent": "4"}
    found["spec"] |= {
        "parameters": copy.deepcopy(list(parameters or (CPU, MEMORY, TARGET))),
        "traffic": {"mode": "HTTPRoute", "httpRoute": route},
        **sections,
    }
    return found


def workload(**load: Any) -> str:
    """The example's service with a daily swing of 30 %."""
    document = yaml.safe_load((WEB / "workload.yaml").read_text())
    document["load"] |= {"dailySwingPercent": 30, **load}
    return str(yaml.safe_dump(document))


def scaled(
    *parameters: dict[str, Any],
    scaler: dict[str, Any] | None = None,
    text: str = "",
    days: float = 0.5,
    seed: int = 1,
    **sections: Any,
) -> Scenario:
    """A whole scenario."""
    others = (copy.deepcopy(ROUTE), hpa() if scaler is None else scaler)
    return scenario(experiment(*parameters, **sections), others, text or workload(), seed=seed, days=days)
