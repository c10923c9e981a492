"""Plays many fault plans, one world each, and checks every promise on each of them.

A seed stands for a plan, a scenario and a world; the same seed tells the same story. `play` is one of them, `Tally`
adds them up. What fails is printed as its plan, which is all that is needed to see it again.
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import structlog

from trimtab.domain.trial import TERMINAL_PHASES
from trimtab.simulate.faults.catalogue import CATALOGUE, CELLS
from trimtab.simulate.faults.generate import Story, draw_plan
from trimtab.simulate.faults.inject import Injector
from trimtab.simulate.faults.kinds import Asks, FaultKind, Moment
from trimtab.simulate.faults.plan import FaultPlan, Scenario
from trimtab.simulate.faults.scenario import BEHIND, NAME, NAMESPACE, experiment, options, setting
from trimtab.simulate.faults.strikes.people import RIVAL
from trimtab.simulate.history import Change
from trimtab.simulate.invariants import Breach, check
from trimtab.simulate.loop import run
from trimtab.simulate.world import World
from trimtab.slo.budget import BURNING

HORIZON_SECONDS = 3 * 3600.0
"""For the whole story, from its beginning: an Experiment that has not ended by then stands still."""
MEMORY_SECONDS = 10 * 3600.0
"""How much longer a story lasts when the service itself burned its budget: up to its `maxDuration` an
Experiment waits, as promised, while six hours (the default `pauseOnBurn`) or the budget's window remember it.
One that waits longer stands still."""
AFTERWARDS_SECONDS = 60.0
"""How long the world goes on after the end: what comes late is seen, too."""
GP_EVERY = 40
"""Every so many seeds the Gaussian process chooses, in the others Sobol's sequence."""
ASKS_EVERY = 3
"""Every so many seeds the Experiment asks for something beyond the usual."""
ASKED: tuple[Asks, ...] = (
    "Values", "Variables", "Route", "Wide", "WarmStart", "Screen", "Namespaces", "MaxCost", "Replicas", "Early",
    "Measured", "Values", "Scaled", "Variables", "Front", "Repair",
)  # fmt: skip
"""In turn; two of them twice."""
UNVERIFIED_EVERY = 11
"""Every so many seeds nothing verifies what is recommended."""
PARALLEL_EVERY = 5
"""Of so many seeds that follow each other all have as many trials at a time, one, two or three in turn."""
BY_MODEL: frozenset[Asks] = frozenset({"Repair"})
"""What only the model can do."""
_TERMINAL = frozenset(phase.value for phase in TERMINAL_PHASES)


@dataclass(frozen=True)
class Result:
    """What one plan came to. Times are virtual seconds."""

    plan: FaultPlan
    breaches: tuple[Breach, ...]
    strikes: tuple[tuple[FaultKind, Moment], ...]
    missed: int
    phase: str  # the Experiment's at the end; "" when it is gone
    terminal: int  # Trials that came to an end
    recommended: bool
    seconds: float

    @property
    def broken(self) -> bool:
        """A promise was."""
        return bool(self.breaches)


@dataclass
class Tally:
    """Many results together."""

    seeds: int = 0
    strikes: Counter[tuple[FaultKind, Moment]] = field(default_factory=Counter)
    missed: int = 0
    phases: Counter[str] = field(default_factory=Counter)
    three: int = 0  # seeds with at least three terminal Trials
    recommended: int = 0
    gaussian: int = 0
    virtual: float = 0.0
    broken: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """One more."""
        self.seeds += 1
        self.strikes.update(result.strikes)
        self.missed += result.missed
        self.phases[result.phase or "Deleted"] += 1
        self.three += result.terminal >= 3
        self.recommended += result.recommended
        self.gaussian += result.plan.scenario.designer != "Sobol"
        self.virtual += result.seconds
        if result.broken:
            self.broken.append(result)

    def merge(self, other: Tally) -> None:
        """Those of another process."""
        self.seeds += other.seeds
        self.strikes.update(other.strikes)
        self.missed += other.missed
        self.phases.update(other.phases)
        self.three += other.three
        self.recommended += other.recommended
        self.gaussian += other.gaussian
        self.virtual += other.virtual
        self.broken += other.broken


def scenario_of(seed: int) -> Scenario:
    """Three to five trials and a verification; most ask for no more, so that each cell of faults is hit, but for what
    the seed's own fault needs."""
    designer: Literal["Sobol", "GaussianProcess"] = "GaussianProcess" if seed % GP_EVERY == GP_EVERY - 1 else "Sobol"
    asks: Asks = "Plain" if seed % ASKS_EVERY else ASKED[seed // ASKS_EVERY % len(ASKED)]
    needs = CATALOGUE[CELLS[seed % len(CELLS)][0]].needs
    if needs:
        asks = needs[seed // len(CELLS) % len(needs)]
    if asks in BY_MODEL:
        designer = "GaussianProcess"
    parallel = 1 if asks in BEHIND else 1 + seed // PARALLEL_EVERY % 3
    trials, replicates = 2 + seed % 3 + parallel, 0 if seed % UNVERIFIED_EVERY == UNVERIFIED_EVERY - 1 else 1
    return Scenario(trials=trials, designer=designer, asks=asks, parallel=parallel, replicates=replicates)


def play_seed(seed: int) -> Result:
    """The world of a seed."""
    return play(plan_of_seed(seed))


def plan_of_seed(seed: int) -> FaultPlan:
    """What goes wrong under this seed, and in which scenario."""
    scenario = scenario_of(seed)
    return draw_plan(seed, story_of(scenario), scenario)


def play(plan: FaultPlan, *, horizon: float = HORIZON_SECONDS, reap: bool = False) -> Result:
    """One world from its beginning to its end, or for `horizon` seconds; with `reap`, `trimtab reap` runs in it each
    minute. A simulator that fails has broken a promise, too: the other seeds are played all the same."""
    with _silence():
        try:
            return _result(run(tell(plan, horizon, reap)))
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            words = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
            return Result(plan, (Breach("NoCrash", 0.0, words),), (), 0, "Crashed", 0, False, 0.0)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The operators' logs of thousands of worlds help nobody."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.reset_defaults()


@cache
def story_of(scenario: Scenario) -> Story:
    """What an undisturbed world of this scenario shows: how long it takes, and which effects it has."""
    with _silence():
        quick = scenario if scenario.asks in BY_MODEL else scenario.model_copy(update={"designer": "Sobol"})
        injector = run(tell(FaultPlan(scenario=quick)))
    seconds = _result(injector).seconds
    effects = tuple(sorted(injector.effects))
    return Story(scenario.all_trials, seconds, seconds / max(scenario.all_trials, 1), effects)


async def tell(plan: FaultPlan, horizon: float = HORIZON_SECONDS, reap: bool = False) -> Injector:
    """Tell a plan's story to its end, or for `horizon` seconds; returns who injected it, with the record of it."""
    world = await World.build(setting(plan.scenario), options(plan.seed % 2**31, plan.scenario))
    injector = Injector(world, plan, NAME, reap=reap)
    begun = world.clock.monotonic()
    world.admin.apply(experiment(plan.scenario), NAMESPACE)
    injector.begin()
    if await all_over(injector, horizon):
        await world.run(AFTERWARDS_SECONDS)
    injector.seconds = world.clock.monotonic() - begun
    injector.close()
    await world.close()
    return injector


async def all_over(injector: Injector, horizon: float = HORIZON_SECONDS) -> bool:
    """Let the world go on until every fault is over and every Experiment has ended; whether it came to that in time."""
    world = injector.world

    def over() -> bool:
        return injector.quiet and all(world.ended(name)() for name in (NAME, RIVAL))

    if await world.until(over, seconds=horizon):
        return True
    return _burned(world) and await world.until(over, seconds=MEMORY_SECONDS)


def _burned(world: World) -> bool:
    found = ((world.experiment(name) or {}).get("status") or {} for name in (NAME, RIVAL))
    return any(c["reason"] == BURNING for status in found for c in status.get("conditions") or ())


def _result(injector: Injector) -> Result:
    record = injector.record
    found = injector.world.experiment(NAME)
    return Result(
        plan=injector.plan,
        breaches=check(record),
        strikes=tuple((s.kind, s.moment) for s in record.strikes),
        missed=len(injector.missed),
        phase=str((found.get("status") or {}).get("phase", "Pending")) if found is not None else "",
        terminal=len(_ended_trials(record.changes)),
        recommended=any(_recommends(c) for c in record.changes),
        seconds=injector.seconds,
    )


def _ended_trials(changes: Iterable[Change]) -> set[str]:
    """uids of Trials that reached a terminal phase."""
    return {
        str(c.object["metadata"]["uid"])
        for c in changes
        if c.kind == "trials" and (c.object.get("status") or {}).get("phase") in _TERMINAL
    }


def _recommends(change: Change) -> bool:
    return change.kind == "experiments" and bool((change.object.get("status") or {}).get("recommendation"))


__all__ = ["Result", "Tally", "all_over", "plan_of_seed", "play", "play_seed", "scenario_of", "story_of", "tell"]
