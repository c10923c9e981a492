"""Every preset, and segments, over a real Prometheus filled with series as the sources expose them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.test_prometheus import openmetrics
from tests.contract.test_sli_sources import STORED, TestSegments, TestSources, TestWhyNothingIsFound

from controlplane import PrometheusServer, backfill, scrape_config
from trimtab.adapters.prometheus import PrometheusTelemetry
from trimtab.ports import Telemetry

__all__ = ["TestSegments", "TestSources", "TestWhyNothingIsFound"]


@pytest.fixture(scope="module")
def server(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """One Prometheus for this module, with a past and nothing to scrape."""
    directory = tmp_path_factory.mktemp("sources")
    past = directory / "past.om"
    past.write_text(openmetrics(STORED))
    backfill(past, directory / "tsdb", promtool=built["promtool"])
    with PrometheusServer(
        scrape_config({}), directory / "prometheus", tsdb=directory / "tsdb", path=built["prometheus"]
    ) as running:
        yield running


@pytest.fixture
def telemetry(server: PrometheusServer) -> Iterator[Telemetry]:
    made = PrometheusTelemetry(server.url)
    yield made
    made.close()
