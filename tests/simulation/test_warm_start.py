"""An Experiment that begins with what an earlier one taught, and one whose earlier one does not exist."""

from __future__ import annotations

import pytest
from benchmarks.operator.live import experiment
from tests.simulation.world import NAME, NAMESPACE, made, told

from trimtab.domain import kinds
from trimtab.simulate.world import World

pytestmark = pytest.mark.thorough

SEARCH = {"designer": "GaussianProcess", "initialTrials": 2}
FEW = {"maxTrials": 4}


def message(world: World, name: str) -> str:
    return str(((world.experiment(name) or {}).get("status") or {}).get("message", ""))


def test_a_second_experiment_learns_from_the_first() -> None:
    told(_second())


async def _second() -> None:
    world = await made(search=SEARCH, stopping=FEW)
    world.start()
    assert await world.until(world.ended(NAME), seconds=1800), message(world, NAME)
    warm = {"experimentRef": {"name": NAME}, "maxAge": "24h"}
    world.admin.apply(experiment("again", NAMESPACE, search=SEARCH, stopping=FEW, warmStart=warm), NAMESPACE)
    assert await world.until(world.ended("again"), seconds=1800), message(world, "again")
    first, second = world.trials(NAME), world.trials("again")
    assert len(second) >= 3, message(world, "again")
    purposes = [t["spec"]["purpose"] for t in second]
    assert purposes[:2] == ["Baseline", "Baseline"]  # what was taught shows nothing safe
    cold, begun_warm = (trials[2]["spec"]["suggestion"]["modelDigest"] for trials in (first, second))
    assert cold != begun_warm  # the hints are part of what a suggestion is made of
    await world.close()


def test_an_earlier_experiment_that_does_not_exist_is_told_with_the_remedy() -> None:
    told(_missing())


async def _missing() -> None:
    world = await made(search=SEARCH, warmStart={"experimentRef": {"name": "gone"}})
    world.start()
    wanted = "; create it, or remove spec.warmStart"
    assert await world.until(lambda: wanted in message(world, NAME), seconds=120), message(world, NAME)
    assert message(world, NAME).startswith("waiting: spec.warmStart: ")
    assert not world.trials(NAME)
    assert not [
        d
        for d in world.admin.list(kinds.DEPLOYMENTS, NAMESPACE)
        if "trimtab.dev/arm" in d["metadata"].get("labels", {})
    ]
    await world.close()
