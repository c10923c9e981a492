"""Run a scenario: the operator's own code on a played cluster in virtual time, and what came of it.

The same scenario gives the same result in any process. Nothing outside is touched: no network, no files, no clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from trimtab.api import convert
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.kinds import EXPERIMENTS, TRIALS
from trimtab.domain.kube import Manifest
from trimtab.domain.space import Resource
from trimtab.domain.state import ExperimentState
from trimtab.domain.trial import Trial, TrialPhase
from trimtab.ports import ExperimentRecord
from trimtab.simulate import loop
from trimtab.simulate.collect import Finished, simulation, trial_result
from trimtab.simulate.exposure import exposure_of
from trimtab.simulate.horizon import Horizon
from trimtab.simulate.offers import check_offered
from trimtab.simulate.peers import compare
from trimtab.simulate.results import Simulation, TrialResult
from trimtab.simulate.scenario import Scenario
from trimtab.simulate.store import WatchEvent
from trimtab.simulate.traffic import Scraping
from trimtab.simulate.truth import Truth
from trimtab.simulate.world import Options, Setting, Unsettled, World

NODE_CORES: Final = 32.0
NODE_GIB: Final = 128.0
ROOM: Final = 1.5
"""How much more the nodes hold than the target asks for: arms, surges and rollouts fit."""
LEAST_NODES: Final = 6
PATIENCE_S: Final = 1800.0
"""An Experiment without a Trial by then waits for somebody who is not there."""


@dataclass(frozen=True)
class Progress:
    """Called while a simulation runs: with each Trial that ended, and with (unix seconds, phase, message)."""

    trial: Callable[[TrialResult], None]
    status: Callable[[float, str, str], None]


@dataclass(frozen=True)
class Ran:
    """A simulation that ran: its result, and its Trials as they were stored."""

    result: Simulation
    trials: tuple[Manifest, ...]


def run(scenario: Scenario, peers: tuple[str, ...] = (), progress: Progress | None = None) -> Ran:
    """Simulate until the Experiment has ended, or the horizon has.

    Raises:
        InvalidSpec: the target does not become ready on any cluster that fits it.
    """
    truth = scenario.truth
    end = loop.run(_played(scenario, truth, progress))
    records = tuple(convert.trial_record(t, truth.spec.space) for t in end.trials)
    exposures = tuple(exposure_of(truth, scenario.offered, t) for t in records)
    state = end.experiment.state if end.experiment is not None else None
    finished = Finished(state or ExperimentState(), records, exposures, scenario.peak_rps, end.at)
    horizon = Horizon(truth, scenario.offered, scenario.start, scenario.days)
    comparison = compare(horizon, finished, peers) if peers else ()
    return Ran(simulation(truth, scenario.inputs(), finished, comparison), end.trials)


@dataclass(frozen=True)
class _End:
    """What the world held when it was left."""

    experiment: ExperimentRecord | None
    trials: tuple[Manifest, ...]
    at: float


async def _played(scenario: Scenario, truth: Truth, progress: Progress | None) -> _End:
    setting = Setting(scenario.workload, scenario.objects, scenario.namespace)
    try:
        world = await World.build(setting, _options(scenario, truth))
    except Unsettled as error:
        raise InvalidSpec(f"Deployment {truth.target.name}", str(error), "correct its manifest") from None
    if progress is not None:
        world.cluster.subscribe(_reporter(scenario, truth, progress, world))
    world.admin.apply(scenario.experiment, scenario.namespace)
    world.start()
    await _until_over(scenario, world)
    found = world.experiment(scenario.name)
    record = None if found is None else convert.experiment_record(found)
    end = _End(record, tuple(world.trials(scenario.name)), world.clock.now())
    await world.close()
    return end


async def _until_over(scenario: Scenario, world: World) -> None:
    """Until the Experiment has ended, or the horizon has; not for long where no Trial is made."""
    over = world.ended(scenario.name)

    def begun() -> bool:
        return over() or bool(world.trials(scenario.name))

    left = scenario.end - world.clock.now()
    if await world.until(begun, seconds=min(left, PATIENCE_S)):
        await world.until(over, seconds=scenario.end - world.clock.now())


def _options(scenario: Scenario, truth: Truth) -> Options:
    """A cluster with room for the target, and a store that keeps what the Experiment asks for."""
    demand = dict.fromkeys(Resource, 0.0)
    for container in (*truth.target.containers, *truth.target.init_containers):
        for resource in Resource:
            demand[resource] += float(container.resources.request(resource) or 0)
    pods = truth.target.replicas * ROOM
    cores, gib = demand[Resource.CPU], demand[Resource.MEMORY] / 2**30
    node_cores, node_gib = max(NODE_CORES, 2 * cores), max(NODE_GIB, 2 * gib)
    nodes = max(LEAST_NODES, math.ceil(pods * max(cores / node_cores, gib / node_gib)) + 1)
    return Options(
        seed=scenario.seed,
        epoch=scenario.start,
        nodes=nodes,
        node_cores=node_cores,
        node_memory_gib=node_gib,
        scraping=Scraping(interval=scenario.scrape, names=check_offered(truth.spec, scenario.workload)),
        history=0,
    )


def _reporter(scenario: Scenario, truth: Truth, progress: Progress, world: World) -> Callable[[WatchEvent], None]:
    """Tell of each Trial once, when it has ended, and of each new message."""
    told: set[str] = set()
    said = ""
    peak = scenario.peak_rps

    def changed(event: WatchEvent) -> None:
        nonlocal said
        status = event.object.get("status") or {}
        if event.kind == EXPERIMENTS and status.get("message", "") != said:
            said = str(status["message"])
            progress.status(world.clock.now(), str(status.get("phase", "")), said)
        if event.kind == TRIALS and _terminal(status) and event.object["metadata"]["name"] not in told:
            told.add(event.object["metadata"]["name"])
            trial: Trial = convert.trial_record(event.object, truth.spec.space)
            exposure = exposure_of(truth, scenario.offered, trial)
            progress.trial(trial_result(truth, trial, exposure, peak))

    return changed


def _terminal(status: Manifest) -> bool:
    phase = status.get("phase")
    return phase is not None and TrialPhase(phase).terminal


__all__ = ["Progress", "Ran", "run"]
