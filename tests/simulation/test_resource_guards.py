"""Resource guards in a whole world: a canary that is short of CPU goes before its abort rule could say so."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks.operator.live import experiment
from tests.simulation.world import NAME, SOBOL, made, told

from trimtab.workload import Fault, FaultKind

LONG = {"warmUp": "10s", "duration": "10m", "deadline": "45m"}
STARVED = Fault(name="noisy", kind=FaultKind.SLOW_CPU, selector={"trimtab.dev/arm": "canary"}, factor=6.0)
NEIGHBOURS = Fault(name="noisy", kind=FaultKind.SLOW_CPU, selector={}, factor=6.0)


def no_abort_rules() -> list[dict[str, Any]]:
    """The example's bounds without their abort rules: nothing else would end the trial early."""
    return [{k: v for k, v in c.items() if k != "abort"} for c in experiment(NAME, "x")["spec"]["constraints"]]


async def first_canary(fault: Fault, **safety: str) -> dict[str, Any]:
    """The first trial, whose canary meets this once it is measured; its status at its end, or after two minutes."""
    sections = {"constraints": no_abort_rules(), "errorBudgets": [], "safety": safety}
    world = await made(search=SOBOL, trial=LONG, **sections)
    world.start()

    def measuring() -> bool:
        return any(t["status"].get("phase") == "Measuring" for t in world.trials(NAME) if "status" in t)

    assert await world.until(measuring, seconds=120)
    world.traffic.faults.set(fault, world.clock.now())
    await world.until(lambda: "outcome" in world.trials(NAME)[0]["status"], seconds=120)
    status: dict[str, Any] = dict(world.trials(NAME)[0]["status"])
    await world.close()
    return status


def test_a_throttled_canary_is_withdrawn_within_half_a_minute() -> None:
    status = told(first_canary(STARVED))
    outcome = status["outcome"]
    assert (outcome["phase"], outcome["reason"]) == ("Infeasible", "CpuThrottled"), outcome
    assert "of its CPU periods" in outcome["message"]


@pytest.mark.parametrize(("fault", "safety"), [(NEIGHBOURS, {}), (STARVED, {"resourceGuards": "Off"})])
def test_not_when_the_control_is_throttled_too_or_when_it_is_off(fault: Fault, safety: dict[str, str]) -> None:
    status = told(first_canary(fault, **safety))
    assert status.get("outcome", {}).get("reason") != "CpuThrottled"
