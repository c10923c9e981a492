"""How an arm scaled, over a real Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.past import with_past
from tests.contract.test_scaling import STORED, TestScaling

from controlplane import PrometheusServer

__all__ = ["TestScaling"]


@pytest.fixture(scope="module")
def server(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """One Prometheus for this module, with a past and nothing to scrape."""
    with with_past(STORED, tmp_path_factory.mktemp("scaling"), built) as running:
        yield running
