"""Run a scenario: the operator's own code on a played cluster in virtual time, and what came of it.

The same scenario gives the same result in any process. Nothing outside is touched: no network, no files, no clock.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from trimtab.api import convert
from trimtab.api.times import format_time
from trimtab.domain.errors import CorruptLedger, InvalidSpec
from trimtab.domain.kinds import EXPERIMENTS, TRIALS, VERTICAL_POD_AUTOSCALERS
from trimtab.domain.kube import Manifest
from trimtab.domain.space import Resource
from trimtab.domain.state import ExperimentState
from trimtab.domain.trial import Trial, TrialPhase
from trimtab.ports import ExperimentRecord
from trimtab.simulate import loop
from trimtab.simulate.collect import Finished, simulation, trial_result
from trimtab.simulate.exposure import exposure_of
from trimtab.simulate.faults.inject import Injector
from trimtab.simulate.faults.plan import FaultPlan
from trimtab.simulate.faults.scenario import beside
from trimtab.simulate.fleet import Fleet
from trimtab.simulate.horizon import Horizon
from trimtab.simulate.invariants import INVARIANTS, check
from trimtab.simulate.objects import SERVED
from trimtab.simulate.offers import check_offered
from trimtab.simulate.peers import compare
from trimtab.simulate.releases import plan_releases
from trimtab.simulate.results import Breach, Promises, Simulation, Struck, TrialResult
from trimtab.simulate.scaled_days import ScaledDays
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
AFTERWARDS_S: Final = 60.0
"""How long a world with faults goes on after the end: what comes late is seen, too."""
PATIENCE_S: Final = 1800.0
"""An Experiment without a Trial by then waits for somebody who is not there."""


@dataclass(frozen=True)
class Progress:
    """Called while a simulation runs: with each Trial that ended, and with (unix seconds, phase, message)."""

    trial: Callable[[TrialResult], None]
    status: Callable[[float, str, str], None]


@dataclass(frozen=True)
class Ran:
    """A simulation that ran: its result, its Trials as they were stored, and what would run it again."""

    result: Simulation
    trials: tuple[Manifest, ...]
    scenario: Scenario
    plan: FaultPlan | None


def run(
    scenario: Scenario,
    peers: tuple[str, ...] = (),
    progress: Progress | None = None,
    plan: FaultPlan | None = None,
) -> Ran:
    """Simulate until the Experiment has ended and every fault has passed, or the horizon ends; then check all promises.

    Raises:
        InvalidSpec: the target does not become ready on any cluster that fits it.
    """
    truth, versions = scenario.truth, scenario.versions
    end = loop.run(_played(scenario, truth, progress, plan or FaultPlan()))
    state, records = _state(end), tuple(_readable(end.trials, truth))
    exposures = tuple(exposure_of(versions.of(t), scenario.offered, t) for t in records)
    finished = Finished(state, records, exposures, scenario.peak_rps, end.at, tuple(map(versions.of, records)))
    truth = versions.at(end.at if state.finished is None else state.finished)
    played = Horizon if truth.autoscaler is None else ScaledDays
    horizon = played(truth, scenario.offered, scenario.start, scenario.days)
    result = simulation(
        truth, scenario.inputs(_digest(plan)), finished, compare(horizon, finished, peers) if peers else ()
    )
    return Ran(result.model_copy(update=_kept(end)), end.trials, scenario, plan)


def _digest(plan: FaultPlan | None) -> str:
    if plan is None:
        return ""
    return hashlib.sha256(json.dumps(plan.wire(), sort_keys=True).encode()).hexdigest()[:16]


def _readable(trials: tuple[Manifest, ...], truth: Truth) -> Iterator[Trial]:
    """Trials that can be read; a fault may have written nonsense into one."""
    for each in trials:
        with contextlib.suppress(CorruptLedger):
            yield convert.trial_record(each, truth.spec.space)


def _state(end: _End) -> ExperimentState:
    if end.experiment is None:
        return ExperimentState(message="the Experiment was deleted")
    state = end.experiment.state
    return ExperimentState(message=end.experiment.state_problem) if state is None else state


def _kept(end: _End) -> dict[str, object]:
    """What struck, and which promises were kept on the whole history."""
    record = end.injector.record
    struck = tuple(
        Struck(
            kind=s.kind.value,
            moment=s.moment.value,
            at=format_time(s.at),
            until="" if s.until is None else format_time(s.until),
        )
        for s in record.strikes
    )
    broken = tuple(Breach(promise=b.invariant, at=format_time(b.at), detail=b.words) for b in check(record))
    promises = Promises(checked=len(INVARIANTS), broken=broken)
    return {"faults": struck, "faults_missed": len(end.injector.missed), "promises": promises}


@dataclass(frozen=True)
class _End:
    """What the world held when it was left."""

    experiment: ExperimentRecord | None
    trials: tuple[Manifest, ...]
    at: float
    injector: Injector


async def _played(scenario: Scenario, truth: Truth, progress: Progress | None, plan: FaultPlan) -> _End:
    setting = Setting(scenario.workload, scenario.objects, scenario.namespace, _fleet(truth))
    try:
        world = await World.build(setting, replace(_options(scenario, truth), beside=beside(plan.scenario)))
    except Unsettled as error:
        raise InvalidSpec(f"Deployment {truth.target.name}", str(error), "correct its manifest") from None
    if progress is not None:
        world.cluster.subscribe(_reporter(scenario, truth, progress, world))
    injector = Injector(world, plan, scenario.name)
    world.admin.apply(scenario.experiment, scenario.namespace)
    injector.begin()
    plan_releases(injector.stage, scenario.workload)
    await _until_over(scenario, world, injector)
    injector.close()
    injector.record.cut_short = _is_short(scenario) and not world.ended(scenario.name)()
    found = world.experiment(scenario.name)
    record = None if found is None else convert.experiment_record(found)
    end = _End(record, tuple(world.trials(scenario.name)), world.clock.now(), injector)
    await world.close()
    return end


def _is_short(scenario: Scenario) -> bool:
    """Whether the horizon ends no later than the Experiment's own time: it may be in the midst of a trial then."""
    return scenario.end - scenario.start <= scenario.spec.stopping.max_duration


def _fleet(truth: Truth) -> Fleet | None:
    return None if truth.autoscaler is None else truth.fleet(truth.baseline)


async def _until_over(scenario: Scenario, world: World, injector: Injector) -> None:
    """Until the Experiment has ended, or the horizon has; not for long where no Trial is made and nothing happens."""
    ended = world.ended(scenario.name)

    def over() -> bool:
        return injector.quiet and ended()

    def begun() -> bool:
        return bool(injector.plan.faults) or ended() or bool(world.trials(scenario.name))

    left = scenario.end - world.clock.now()
    opens = scenario.spec.schedule.opens(scenario.start) if scenario.spec.schedule is not None else scenario.start
    patience = PATIENCE_S + (opens - scenario.start if opens is not None else 0.0)
    if await world.until(begun, seconds=min(left, patience)):
        await world.until(over, seconds=scenario.end - world.clock.now())
        await world.run(AFTERWARDS_S if injector.plan.faults else 0.0)


def _options(scenario: Scenario, truth: Truth) -> Options:
    """A cluster with room for the target, and a store that keeps what the Experiment asks for."""
    demand = dict.fromkeys(Resource, 0.0)
    for container in (*truth.target.containers, *truth.target.init_containers):
        for resource in Resource:
            demand[resource] += float(container.resources.request(resource) or 0)
    pods = _most_pods(scenario, truth) * ROOM
    cores, gib = demand[Resource.CPU], demand[Resource.MEMORY] / 2**30
    node_cores, node_gib = max(NODE_CORES, 2 * cores), max(NODE_GIB, 2 * gib)
    nodes = max(LEAST_NODES, math.ceil(pods * max(cores / node_cores, gib / node_gib)) + 1)
    return Options(
        seed=scenario.seed,
        epoch=scenario.start,
        nodes=nodes,
        node_cores=node_cores,
        node_memory_gib=node_gib,
        scraping=Scraping(
            interval=scenario.scrape,
            past_days=scenario.past_days,
            past_step=scenario.past_step,
            names=check_offered(truth.spec, scenario.workload),
        ),
        served=SERVED | {VERTICAL_POD_AUTOSCALERS},
    )


def _most_pods(scenario: Scenario, truth: Truth) -> int:
    """Of the target as it is, at any time."""
    fleet = _fleet(truth)
    return truth.target.replicas if fleet is None else int(fleet.usual(np.array([scenario.peak_rps]))[0])


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
            ran = scenario.versions.of(trial)
            progress.trial(trial_result(ran, trial, exposure_of(ran, scenario.offered, trial), peak))

    return changed


def _terminal(status: Manifest) -> bool:
    phase = status.get("phase")
    return phase is not None and TrialPhase(phase).terminal


__all__ = ["Progress", "Ran", "run"]
