"""What a pod's manifest says of the workload that it plays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from . import noise
from .effects import adapted
from .model import UNLIMITED, Resources
from .spec import WorkloadSpec
from .units import GIB, parse_kubernetes_bytes, parse_kubernetes_cores

NODE_MEMORY: Final = 64 * GIB
_LEAST_CORES: Final = 0.01

Manifest = Mapping[str, Any]


def resources_of(pod: Manifest, container: str) -> Resources:
    """REAL resources of a container; a missing limit means none, a missing request what the API server assumes."""
    spec = next(c for c in pod["spec"]["containers"] if c["name"] == container)
    requests = spec.get("resources", {}).get("requests") or {}
    limits = spec.get("resources", {}).get("limits") or {}
    cpu_limit = parse_kubernetes_cores(limits["cpu"]) if "cpu" in limits else UNLIMITED
    memory_limit = parse_kubernetes_bytes(limits["memory"]) if "memory" in limits else NODE_MEMORY
    cpu_request = parse_kubernetes_cores(requests["cpu"]) if "cpu" in requests else 0.0
    if "cpu" not in requests and math.isfinite(cpu_limit):
        cpu_request = cpu_limit
    memory_request = parse_kubernetes_bytes(requests["memory"]) if "memory" in requests else 0.0
    return Resources(max(cpu_request, _LEAST_CORES), cpu_limit, memory_request, memory_limit)


def workload_of(pod: Manifest, workloads: Iterable[WorkloadSpec]) -> WorkloadSpec | None:
    """The workload whose selector matches the pod's labels and whose container the pod has, as its settings make it.

    Raises:
        WorkloadError: a variable that the workload reads holds no number.
    """
    labels = pod["metadata"].get("labels") or {}
    names = {c["name"] for c in pod["spec"]["containers"]}
    for workload in workloads:
        target = workload.target
        if target.container in names and all(labels.get(k) == v for k, v in target.selector.items()):
            return adapted(workload, _env_of(pod, target.container), pod["spec"].get("nodeSelector") or {})
    return None


def _env_of(pod: Manifest, container: str) -> dict[str, str]:
    """The variables of a container that the manifest itself holds."""
    spec = next(c for c in pod["spec"]["containers"] if c["name"] == container)
    return {e["name"]: e.get("value") or "" for e in spec.get("env") or () if "valueFrom" not in e}


def speed_of(workload: WorkloadSpec, node: str, pod: str, seed: int) -> float:
    """Factor on a pod's CPU time, by where it runs and by itself."""
    percent = workload.noise
    return noise.factor(seed, f"node {node}", percent.node_percent) * noise.factor(
        seed, f"pod {pod}", percent.pod_percent
    )
