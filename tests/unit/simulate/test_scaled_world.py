"""Simulated worlds whose target an autoscaler scales, beside the model without noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.unit.simulate.scaled import hpa, scaled, workload

from trimtab.domain import kinds
from trimtab.simulate import loop
from trimtab.simulate.fleet import STEP_S
from trimtab.simulate.promql import instant
from trimtab.simulate.scenario import Scenario
from trimtab.simulate.world import Options, Setting, World

HOURS = 5.0
SWINGING = workload(noisePercent=10, noiseInterval="5m", dailySwingPercent=60, peakHour=18)


async def _lived(made: Scenario) -> tuple[list[int], float]:
    """(replicas of the Deployment in each step, the part of all requests that was slow)."""
    setting = Setting(made.workload, made.objects, made.namespace, made.truth.fleet(made.truth.baseline))
    world = await World.build(setting, Options(seed=made.seed, epoch=made.start, nodes=20))
    pods: list[int] = []
    for _ in range(round(HOURS * 3600 / STEP_S)):
        found = world.admin.find(kinds.DEPLOYMENTS, made.namespace, "web")
        assert found is not None
        pods.append(int(found["spec"]["replicas"]))
        await world.run(STEP_S)
    span = f"[{round(HOURS * 3600)}s]"
    fast, total = (
        _one(
            instant(
                world.traffic, f"sum(increase(http_request_duration_seconds_bucket{{{le}}}{span}))", world.clock.now()
            )
        )
        for le in ('le="0.1"', 'le="+Inf"')
    )
    await world.close()
    return pods, 1 - fast / total


def _one(rows: Any) -> float:
    ((_, value),) = rows
    return float(value)


@pytest.mark.thorough
@pytest.mark.parametrize("window", [0, 300])
def test_the_played_controller_does_what_the_model_says(window: int) -> None:
    scaler = hpa(40, 4, 60, scaleDown={"stabilizationWindowSeconds": window})
    made = scaled(scaler=scaler, text=SWINGING, days=1.0)
    pods, slow = loop.run(_lived(made))
    times = made.start + STEP_S * (np.arange(len(pods)) + 0.5)
    play = made.truth.fleet(made.truth.baseline).play(made.offered.series(times), pods[0])
    assert play.pods.max() > 1.5 * play.pods.min()
    assert play.mean_pods == pytest.approx(np.mean(pods), rel=0.02)
    assert np.abs(play.pods - np.array(pods)).mean() < 0.5
    events = np.count_nonzero(np.diff(pods)) / HOURS
    assert play.events_per_hour == pytest.approx(events, rel=0.25, abs=1.0)
    assert play.ratio(lambda b: b.slow_fraction(0.1)) == pytest.approx(slow, rel=0.1)
