"""Nothing grows: the short form; `make chaos` has thousands of trials of fifty Experiments."""

from __future__ import annotations

import pytest
from benchmarks.simulation.soak import soak
from tests.simulation.world import told

pytestmark = pytest.mark.thorough


def test_nothing_grows() -> None:
    report = told(soak(experiments=12, trials=4))
    assert report.trials == 48
    for name in ("open_files", "tasks"):
        first, last = report.growth(name)
        assert last <= first + 2, f"{name}: {first} in the first quarter, {last} in the last"
