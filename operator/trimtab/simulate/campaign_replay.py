"""A story of the campaign as a file that `trimtab simulate --replay` tells again."""

from __future__ import annotations

from trimtab.simulate.campaign import HORIZON_SECONDS, MEMORY_SECONDS, Result
from trimtab.simulate.clock import EPOCH
from trimtab.simulate.faults.plan import FaultPlan
from trimtab.simulate.faults.scenario import NAMESPACE, WORKLOAD, experiment, options, setting
from trimtab.simulate.replay import to_replay
from trimtab.simulate.scenario import Scenario

DAY_SECONDS = 86_400.0


def replay_of(result: Result) -> str:
    """The text of the file."""
    long = result.seconds > HORIZON_SECONDS
    return to_replay(scenario_of_plan(result.plan, HORIZON_SECONDS + (MEMORY_SECONDS if long else 0.0)), result.plan)


def scenario_of_plan(plan: FaultPlan, horizon: float = HORIZON_SECONDS) -> Scenario:
    """The same world as the campaign's, for so many seconds."""
    made, world = setting(plan.scenario), options(plan.seed % 2**31, plan.scenario)
    return Scenario(
        experiment=experiment(plan.scenario),
        objects=tuple({**o, "metadata": {**o["metadata"], "namespace": NAMESPACE}} for o in made.objects),
        text=WORKLOAD,
        workload=made.workload,
        seed=world.seed,
        days=horizon / DAY_SECONDS,
        start=EPOCH,
        scrape=world.scraping.interval,
        past_days=world.scraping.past_days,
    )


__all__ = ["replay_of", "scenario_of_plan"]
