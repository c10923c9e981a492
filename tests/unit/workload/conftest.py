"""The example workload, and a bare one whose truth is a textbook formula."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.workload import WorkloadSpec, load_workload, parse_workload

EXAMPLE = Path(__file__).parents[3] / "examples" / "web-service" / "workload.yaml"

BARE = """
name: bare
target: {deployment: bare, service: bare, container: main, selector: {app: bare}}
load: {requestsPerSecond: 100}
request:
  cpu: 1us
  dependency: {mean: 50ms, cv: 1, distribution: Exponential}
  concurrency: 8
  queue: 2000
  timeout: 60s
memory: {runtime: 10Mi, liveSet: 10Mi}
slo: {latencyThreshold: 100ms, maxSlowPercent: 5, maxErrorPercent: 0.1}
buckets: [50ms, 100ms, 1s]
"""


@pytest.fixture(scope="session")
def web() -> WorkloadSpec:
    """The web service of the examples."""
    return load_workload(EXAMPLE)


@pytest.fixture(scope="session")
def bare() -> WorkloadSpec:
    """Exponential service, hardly any CPU, ample memory: an M/M/8 queue."""
    return parse_workload(BARE)
