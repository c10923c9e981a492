"""A whole Experiment on a service that an autoscaler scales, beside the truth and other rules."""

from __future__ import annotations

import pytest
from tests.unit.simulate.scaled import CPU, MEMORY, field, hpa, scaled, workload

from trimtab.simulate.results import Absent
from trimtab.simulate.run import run
from trimtab.simulate.scenario import Scenario

TIMES = {"warmUp": "2m", "duration": "20m", "deadline": "60m"}


def made() -> Scenario:
    return scaled(
        CPU | {"quantity": {"min": "500m", "max": "2", "step": "250m", "scale": "Log"}},
        MEMORY,
        field("target", "CPUUtilization", 30, 80, 10),
        scaler=hpa(40, 20, 200),
        text=workload(requestsPerSecond=80_000),
        trial=TIMES,
        stopping={"maxTrials": 8, "maxDuration": "168h"},
        verification={"duration": "15m", "replicates": 1},
    )


@pytest.mark.thorough
def test_requests_and_target_are_tuned_together_and_judged_by_pods_that_scale() -> None:
    ran = run(made(), ("hold", "default-hpa"))
    result, summary = ran.result, ran.result.summary
    assert result.promises.broken == ()
    assert summary.load_of == "Service"
    assert summary.gross_trials == 0
    assert not isinstance(summary.saving_percent, Absent)
    assert not isinstance(summary.optimum_saving_percent, Absent)
    assert 10 < summary.saving_percent <= summary.optimum_saving_percent + 1e-9
    loads = [t.load_seen for t in result.trials]
    assert all(not isinstance(load, Absent) and 50_000 < load < 110_000 for load in loads)
    trimtab, hold, default = result.comparison
    assert trimtab.final_cost_per_hour < hold.final_cost_per_hour
    assert default.mean_cost_per_hour == pytest.approx(hold.mean_cost_per_hour)
    assert hold.violation_minutes == 0
