"""The ledger's contract with the generated CRDs on the real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.contract.test_ledger import Books, TestExperiments, TestFence, TestTrials

from controlplane import ControlPlane
from trimtab.adapters.clock import SystemClock
from trimtab.adapters.cluster import KubernetesCluster
from trimtab.adapters.connection import connect
from trimtab.adapters.ledger import KubernetesLedger

__all__ = ["TestExperiments", "TestFence", "TestTrials"]


@pytest.fixture
async def books(controlplane: ControlPlane, namespace: str) -> AsyncIterator[Books]:
    """As the administrator, in the test's own namespace."""
    clock = SystemClock()
    cluster = KubernetesCluster(await connect(str(controlplane.kubeconfig()), clock.monotonic))
    yield Books(cluster, KubernetesLedger(cluster), namespace)
    await cluster.close()
