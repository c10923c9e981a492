"""Pods, workloads and an API server that only remembers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from playground.kube import KubeError, Obj
from trimtab.workload import WorkloadSpec, load_workload

EXAMPLE = Path(__file__).parents[3] / "examples" / "web-service" / "workload.yaml"


class FakeKube:
    """Remembers requests; `fail` holds errors for the next ones."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Obj | None]] = []
        self.fail: list[Exception] = []

    async def request(self, method: str, path: str, body: Obj | None = None, **_: Any) -> Obj:
        """Remember a request."""
        self.requests.append((method, path, body))
        if self.fail:
            raise self.fail.pop(0)
        return {}

    def refuse(self, code: int) -> None:
        """The next request fails with this status."""
        self.fail.append(KubeError(code, "refused"))


class Clock:
    """Time that tests turn."""

    def __init__(self, now: float = 1_760_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> float:
        """Let time pass."""
        self.now += seconds
        return self.now


MakePod = Callable[..., Obj]


@pytest.fixture(scope="session")
def web() -> WorkloadSpec:
    """The web service of the examples."""
    return load_workload(EXAMPLE)


@pytest.fixture
def make_pod() -> MakePod:
    """A pod of the web service, bound to a node."""

    def make(name: str = "web-1", *, cpu: str = "1", memory: str = "1Gi", **extra: Any) -> Obj:
        limits = {"cpu": cpu, "memory": memory}
        container = {"name": "web", "image": "web:1", "resources": {"requests": limits, "limits": limits}}
        labels = {"app.kubernetes.io/name": "web"} | extra.pop("labels", {})
        return {
            "metadata": {
                "name": name,
                "namespace": "shop",
                "uid": f"uid-{name}",
                "resourceVersion": "1",
                "labels": labels,
                **extra,
            },
            "spec": {"nodeName": "playground-0", "containers": [container]},
            "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]},
        }

    return make
