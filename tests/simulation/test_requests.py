"""What the operator costs others: its requests to the API server and its queries, counted in virtual time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from benchmarks.operator.live import phase_of
from tests.simulation.world import NAME, NAMESPACE, made, told

from trimtab.domain import kinds
from trimtab.simulate.client import Request
from trimtab.simulate.life import Life
from trimtab.simulate.world import World

LONG = {"warmUp": "30s", "duration": "10m", "deadline": "45m"}
MINUTES = 5


@dataclass
class Meter:
    """Requests of each client of one operator since `reset`."""

    world: World
    life: Life
    requests: dict[str, Counter[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, client in zip(("reconcile", "safety", "lease"), self.life.clients, strict=True):
            self.requests[name] = Counter()
            client.before = self._counting(self.requests[name])

    def _counting(self, counter: Counter[str]) -> Callable[[Request], Any]:
        async def count(request: Request) -> None:
            counter[str(request)] += 1

        return count

    def reset(self) -> None:
        for counter in self.requests.values():
            counter.clear()

    def rate(self, loop: str, minutes: float) -> float:
        """Requests per minute of one loop."""
        return self.requests[loop].total() / minutes


async def metered(minutes: float, phase: str = "", **sections: Any) -> Meter:
    """The requests of so many minutes, which begin when a trial is in this phase (or the Experiment, without one)."""
    world = await made(**sections)
    meter = Meter(world, world.start())

    def begun() -> bool:
        trials = world.trials(NAME)
        return bool(trials) and phase_of(trials[-1]) == phase if phase else _phase(world) not in {"", "Preflight"}

    assert await world.until(begun, seconds=120), meter.requests
    await world.run(5.0)
    meter.reset()
    await world.run(60 * minutes)
    await world.close()
    return meter


def _phase(world: World) -> str:
    found = world.experiment(NAME)
    return str(((found or {}).get("status") or {}).get("phase", ""))


@pytest.mark.thorough
def test_a_live_trial_costs_few_requests_a_minute() -> None:
    """It measures for ten minutes and nothing happens: the watch tells of changes, so looking can be seldom."""
    meter = told(metered(MINUTES, "Measuring", trial=LONG, safety={"checkInterval": "10s", "staleAfter": "1m"}))
    rates = {loop: meter.rate(loop, MINUTES) for loop in meter.requests}
    print(f"\nrequests per minute of a live trial: {rates}")
    assert 10 <= rates["reconcile"] <= 80
    assert rates["safety"] <= 300
    assert meter.requests["reconcile"]["list:Service"] <= 2 * MINUTES
    # The error budgets in the status are judged twice a minute.
    assert meter.requests["reconcile"]["replace:Experiment/status"] <= 2 * MINUTES


@pytest.mark.parametrize("mode", ["Observe", "paused"])
def test_waiting_costs_few_requests_and_writes_nothing(mode: str) -> None:
    meter = told(_waiting(mode))
    print(f"\n{mode}, per minute: {meter.rate('reconcile', MINUTES):.0f} reconciling")
    assert meter.rate("reconcile", MINUTES) <= 60
    assert meter.requests["reconcile"]["replace:Experiment/status"] <= 2 * MINUTES


async def _waiting(mode: str) -> Meter:
    world = await made(trial=LONG)
    change: dict[str, Any] = {"mode": "Observe"} if mode == "Observe" else {"paused": True}
    world.admin.edit(kinds.EXPERIMENTS, NAMESPACE, NAME, lambda body: body["spec"].update(change))
    meter = Meter(world, world.start())
    await world.run(60)
    meter.reset()
    await world.run(60 * MINUTES)
    await world.close()
    return meter
