"""The contract of autoscalers, on the real HPA controller, with the playground's pods and its metrics API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml
from tests.contract.test_autoscaler import NAMES, Ground, TestScaling, stands_still, workload

from controlplane import ControlPlane, eventually
from playground.process import PlaygroundProcess
from trimtab.adapters.clock import SystemClock
from trimtab.adapters.cluster import KubernetesCluster
from trimtab.adapters.connection import connect

__all__ = ["TestScaling"]


@pytest.fixture
def program(
    controlplane: ControlPlane, namespace: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[PlaygroundProcess]:
    """A playground with the contract's services; without a metrics API for a test that is marked so."""
    paths = []
    for name in NAMES:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(workload(name)))
        paths.append(path)
    options = [] if request.function is test_without_a_metrics_api_it_stands_still else ["--metrics-api"]
    with PlaygroundProcess(
        controlplane.kubeconfig(), paths, [namespace], seed=1, directory=tmp_path / "playground", options=options
    ) as running:
        yield running


@pytest.fixture
async def ground(controlplane: ControlPlane, namespace: str, program: PlaygroundProcess) -> AsyncIterator[Ground]:
    """The real one, as the administrator."""
    program.set_fault("broken", "NotReady", selector={"broken": "True"})
    connection = await connect(str(controlplane.kubeconfig()), SystemClock().monotonic)
    cluster = KubernetesCluster(connection)

    def slow(name: str, factor: float) -> None:
        program.set_fault(name, "SlowCPU", selector={"app": name}, factor=factor)

    yield Ground(cluster, namespace, partial(eventually, seconds=90.0), slow)
    await cluster.close()


async def test_without_a_metrics_api_it_stands_still(ground: Ground) -> None:
    await stands_still(ground)
