"""What each way can come to without noise: the cheapest that keeps every bound, by the workload model itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.joint.services import JOINT, REQUESTS, TARGET, Deployed, Service, scenario_of
from trimtab.simulate.optimum import NoOptimum, optimum_of
from trimtab.simulate.scenario import Scenario
from trimtab.simulate.truth import Verdict

ORDERS: Final = {
    "today": (),
    "requests alone": (REQUESTS,),
    "target alone": (TARGET,),
    "requests, then target": (REQUESTS, TARGET),
    "target, then requests": (TARGET, REQUESTS),
    "together": (JOINT,),
}


@dataclass(frozen=True)
class Reached:
    """What is true of what a service runs with: $ per hour over the days, and whether it holds at their peak."""

    deployed: Deployed
    cost: float
    holds: bool
    slow: float


def reference(service: Service) -> Scenario:
    """The service with all of its parameters: what is true is asked of it."""
    return scenario_of(service, JOINT, service.today, 0, 1)


def truth_of(made: Scenario, deployed: Deployed) -> Reached:
    """What the noise-free model says, autoscaler and all."""
    assignment = deployed.assignment
    verdict: Verdict = made.truth.judge(assignment, made.peak_rps)
    slow = verdict.value("slow")
    assert isinstance(slow, float)
    return Reached(deployed, made.truth.hourly(assignment), verdict.feasible, slow)


def reachable(service: Service) -> dict[str, Reached]:
    """By order of tuning: each Experiment finds the true best of its own parameters."""
    made, found = reference(service), {}
    for name, stages in ORDERS.items():
        now = service.today
        for names in stages:
            now = _best(service, names, now)
        found[name] = truth_of(made, now)
    return found


def _best(service: Service, names: tuple[str, ...], now: Deployed) -> Deployed:
    made = scenario_of(service, names, now, 0, 1)
    found = optimum_of(made.truth, made.peak_rps)
    if isinstance(found, NoOptimum):
        raise ValueError(f"{service.name}, {' '.join(names)}: {found.detail}")
    before = made.truth.hourly(made.truth.baseline)
    return now.changed(found.assignment) if found.cost < before else now


__all__ = ["ORDERS", "Reached", "reachable", "reference", "truth_of"]
