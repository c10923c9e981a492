"""From the moment when the data first satisfy a rule to no ready canary endpoint: one checkInterval and five seconds.

`make bench-breaches` forces thirty of them, also those that take Prometheus away.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from benchmarks.operator.breach import ERRORS, LIMIT, OOM, SLOW, Kind, force
from benchmarks.operator.live import Live, live_stack

from controlplane import ControlPlane
from stack.paths import ROOT

Rows = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def live(controlplane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One stack and one operator for all cases."""
    with live_stack(controlplane, tmp_path_factory.mktemp("latency"), "latency") as found:
        found.operator()
        yield found


@pytest.fixture(scope="module")
def figures() -> Iterator[Rows]:
    """Written for a person to read once all cases were measured."""
    rows: Rows = {}
    yield rows
    path = ROOT / "build" / "safety-latency.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2) + "\n")


@pytest.mark.parametrize("kind", [SLOW, ERRORS, OOM], ids=lambda k: k.name)
def test_a_bad_canary_is_withdrawn_in_time(live: Live, figures: Rows, kind: Kind) -> None:
    with live.explained(kind.name):
        breach = force(live, kind, kind.name)
    figures[kind.name] = breach.row
    print(f"\n{kind.name}: {json.dumps(breach.row)}")
    assert breach.evidence
    assert breach.seconds <= LIMIT
    live.remove(kind.name)
