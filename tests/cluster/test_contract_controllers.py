"""The contract of a cluster's controllers, on the real ones; pods are played by the playground's kubelets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.contract.test_controllers import Plane, TestDeployments, TestLimits

from controlplane import ControlPlane, eventually
from playground.process import PlaygroundProcess
from stack.paths import EXAMPLES
from trimtab.adapters.clock import SystemClock
from trimtab.adapters.cluster import KubernetesCluster
from trimtab.adapters.connection import connect

__all__ = ["TestDeployments", "TestLimits"]


@pytest.fixture
def kubelets(controlplane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[PlaygroundProcess]:
    """Nodes and kubelets for this test's namespace; its pods belong to no workload and simply run."""
    workload = EXAMPLES / "web-service" / "workload.yaml"
    directory = tmp_path / "playground"
    with PlaygroundProcess(controlplane.kubeconfig(), [workload], [namespace], seed=1, directory=directory) as running:
        yield running


@pytest.fixture
async def plane(controlplane: ControlPlane, namespace: str, kubelets: PlaygroundProcess) -> AsyncIterator[Plane]:
    """The real one, as the administrator."""
    connection = await connect(str(controlplane.kubeconfig()), SystemClock().monotonic)
    cluster = KubernetesCluster(connection)
    yield Plane(cluster, namespace, partial(eventually, seconds=90.0))
    await cluster.close()
