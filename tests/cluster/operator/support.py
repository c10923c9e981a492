"""Experiments for these tests: the example's, in windows of seconds, on four replicas."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from stack.paths import EXAMPLES

REPLICAS = 4
REQUESTS_PER_POD = 800
NAME = "tune"
CANARY = {"trimtab.dev/arm": "canary"}
CONTROL = {"trimtab.dev/arm": "control"}
BOTH: dict[str, str] = {"app.kubernetes.io/name": "web"}
SLOW = {"name": "slow", "latency": {"histogram": "http_request_duration_seconds", "threshold": "0.1", "unit": "s"}}
ERRORS = {"name": "errors", "preset": {"source": "PlainHTTP", "sli": "ErrorRatio"}}
P95 = {"name": "p95-under-100ms", "sli": "slow", "max": "0.05", "abort": {"breaches": 2, "outOf": 3}}
FAILING = {
    "name": "failing",
    "sli": "errors",
    "max": "0.02",
    "errors": "GuardOnly",
    "abort": {"breaches": 2, "outOf": 3},
}
# The example's. The service is half a minute old, so its budget is its rate times the window.
BUDGET = {
    "name": "availability",
    "sli": "errors",
    "objectivePercent": "99.9",
    "window": "720h",
    "experimentSharePercent": "5",
    "pauseOnBurn": {"percent": "50", "window": "6h"},
    "rollbackOnBurnRate": [],
}

BASE: dict[str, Any] = {
    "apiVersion": "trimtab.dev/v1alpha1",
    "kind": "Experiment",
    "metadata": {"name": NAME},
    "spec": {
        "mode": "Recommend",
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "parameters": [
            {
                "name": "cpu",
                "container": {"name": "web", "resource": "cpu", "apply": "Requests", "limits": "Ratio"},
                "quantity": {"min": "500m", "max": "2", "step": "50m", "scale": "Log"},
                "maxDecreasePercent": "35",
            },
            {
                "name": "memory",
                "container": {"name": "web", "resource": "memory", "apply": "Both"},
                "quantity": {"min": "768Mi", "max": "2Gi", "step": "64Mi", "scale": "Log"},
                "maxDecreasePercent": "35",
            },
        ],
        "slis": [SLOW, ERRORS],
        "objectives": [{"name": "cost", "goal": "Minimize", "builtin": "ResourceCost"}],
        "constraints": [P95, FAILING],
        # A trial measures for long, so that what a test does to it happens in its middle.
        "trial": {"warmUp": "1s", "duration": "120s", "deadline": "240s"},
        "canary": {"replicas": 1, "maxSharePercent": "50"},
        "safety": {"checkInterval": "1s", "staleAfter": "30s"},
        "search": {"seed": 1, "initialTrials": 2},
        "verification": {"duration": "60s", "replicates": 1},
    },
}


def experiment(name: str = NAME, **spec: Any) -> dict[str, Any]:
    """The Experiment of these tests with other values in its spec; nested mappings are merged."""
    manifest = copy.deepcopy(BASE)
    manifest["metadata"]["name"] = name
    manifest["spec"] = _merged(manifest["spec"], spec)
    return manifest


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(old)
    for key, value in new.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = _merged(found[key], value) if both else value
    return found


def workload(directory: Path, replicas: int = REPLICAS) -> Path:
    """The example's workload with the load of so many replicas."""
    document = yaml.safe_load((EXAMPLES / "web-service" / "workload.yaml").read_text())
    document["load"]["requestsPerSecond"] = REQUESTS_PER_POD * replicas
    path = directory / "workload.yaml"
    path.write_text(yaml.safe_dump(document))
    return path
