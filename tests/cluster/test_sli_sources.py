"""Every preset, and segments, over a real Prometheus filled with series as the sources expose them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.past import with_past
from tests.contract.test_sli_sources import STORED, TestSegments, TestSources, TestWhyNothingIsFound

from controlplane import PrometheusServer

__all__ = ["TestSegments", "TestSources", "TestWhyNothingIsFound"]


@pytest.fixture(scope="module")
def server(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """One Prometheus for this module, with a past and nothing to scrape."""
    with with_past(STORED, tmp_path_factory.mktemp("sources"), built) as running:
        yield running
