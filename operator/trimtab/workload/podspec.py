"""What a pod's manifest says of the workload that it plays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from trimtab.domain.names import LABEL_ARM

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
    """The workload that a pod plays, as its settings make it: of those whose container it has, the one whose selector
    it carries. An arm that gets its traffic by a route carries no Service's labels: it plays the workload of whose
    selector it has kept the most.

    Raises:
        WorkloadError: a variable that the workload reads holds no number.
    """
    labels = pod["metadata"].get("labels") or {}
    names = {c["name"] for c in pod["spec"]["containers"]}
    fitting = [workload for workload in workloads if workload.target.container in names]
    if not fitting:
        return None

    def kept(workload: WorkloadSpec) -> int:
        return sum(labels.get(k) == v for k, v in workload.target.selector.items())

    whole = (workload for workload in fitting if kept(workload) == len(workload.target.selector))
    found = next(whole, max(fitting, key=kept) if LABEL_ARM in labels else None)
    if found is None:
        return None
    container = next(c for c in pod["spec"]["containers"] if c["name"] == found.target.container)
    nodes = pod["spec"].get("nodeSelector") or {}
    return adapted(found, _env_of(container), nodes, container.get("image", ""))


def _env_of(spec: Manifest) -> dict[str, str]:
    """The variables of a container that the manifest itself holds."""
    return {e["name"]: e.get("value") or "" for e in spec.get("env") or () if "valueFrom" not in e}


def speed_of(workload: WorkloadSpec, node: str, pod: str, seed: int) -> float:
    """Factor on a pod's CPU time, by where it runs and by itself."""
    percent = workload.noise
    return noise.factor(seed, f"node {node}", percent.node_percent) * noise.factor(
        seed, f"pod {pod}", percent.pod_percent
    )
