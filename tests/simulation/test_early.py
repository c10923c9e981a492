"""A trial that is clearly good ends before its time, also when the operator dies around that moment."""

from __future__ import annotations

import random

import pytest
from benchmarks.simulation import crashes
from benchmarks.simulation.stories import NAME, STORIES, begun
from tests.simulation.world import told

from trimtab.domain.trial import ENDED_EARLY
from trimtab.simulate.faults.plan import FaultPlan, Scenario
from trimtab.simulate.faults.scenario import experiment
from trimtab.simulate.life import LifeOptions

EARLY = next(s for s in STORIES if s.name == "early")
SEED, SAMPLE = 20261127, 6


@pytest.mark.thorough
def test_a_new_assignment_ends_early_and_the_baseline_does_not() -> None:
    told(_ends_early())


async def _ends_early() -> None:
    world = await begun(EARLY)
    world.start(LifeOptions("only"))
    assert await world.until(world.ended(NAME), seconds=600)
    EARLY.check(world)
    reasons = [(t["spec"]["purpose"], t["status"]["outcome"]["reason"]) for t in world.trials(NAME)]
    assert reasons == [("Baseline", "Measured"), ("Baseline", "Measured"), ("Search", ENDED_EARLY)]
    await world.close()


@pytest.mark.thorough
def test_a_crash_around_an_early_end_loses_nothing() -> None:
    cases = [c for c in crashes.singles((EARLY,)) if "Trial" in c.crashes[0][0]]
    for case in random.Random(SEED).sample(cases, SAMPLE):
        told(crashes.told(case))


def test_a_fault_plan_may_be_played_on_trials_that_end_early() -> None:
    made = experiment(FaultPlan(scenario=Scenario(asks="Early")).scenario)
    assert made["spec"]["trial"]["earlySuccess"] is True
