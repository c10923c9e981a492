"""What the contracts over prepared series stand on: the series are the `STORED` of the module that asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.slo.loopback import Loopback, StoredSource

from trimtab.adapters.prometheus import PrometheusTelemetry
from trimtab.adapters.telemetry import StoreTelemetry
from trimtab.ports import Telemetry
from trimtab.simulate.prometheus import SimulatedPrometheus


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Loopback]:
    """A loopback server over the module's series."""
    with Loopback(request.module.STORED) as made:
        yield made


@pytest.fixture(params=[pytest.param("loopback", marks=pytest.mark.thorough), "simulated"])
def telemetry(server: Loopback, request: pytest.FixtureRequest) -> Iterator[Telemetry]:
    """The adapter over the loopback server, and over the simulated store."""
    if request.param == "simulated":
        yield StoreTelemetry(SimulatedPrometheus(StoredSource(request.module.STORED)))
        return
    made = PrometheusTelemetry(server.url)
    yield made
    made.close()
