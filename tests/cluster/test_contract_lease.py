"""Leadership and locks of targets, with the generated CRDs on the real API server and in real time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.contract.place import Place
from tests.contract.test_lease import TestConfirm, TestElection, candidate
from tests.contract.test_target_lock import TestTargetLock

from controlplane import ControlPlane, eventually
from trimtab.adapters.clock import SystemClock
from trimtab.adapters.cluster import KubernetesCluster
from trimtab.adapters.connection import connect

__all__ = ["TestConfirm", "TestElection", "TestTargetLock", "candidate"]

SLACK = 10.0  # seconds that a machine that is busy with much else may lose


@pytest.fixture
async def place(controlplane: ControlPlane, namespace: str) -> AsyncIterator[Place]:
    """As the administrator, in the test's own namespace."""
    clock = SystemClock()
    cluster = KubernetesCluster(await connect(str(controlplane.kubeconfig()), clock.monotonic))
    yield Place(cluster, namespace, clock, eventually, SLACK)
    await cluster.close()
