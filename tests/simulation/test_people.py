"""People with kubectl, at any moment and in any order, while everything else goes wrong too: every promise is kept.

Hypothesis chooses what they do; a failing story is printed as the steps that lead there, already shortened. Other
stories are told under `--hypothesis-seed N`, the same ones each time without it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, get_args

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from trimtab.simulate.campaign import BY_MODEL, all_over
from trimtab.simulate.faults.catalogue import CATALOGUE, Row
from trimtab.simulate.faults.inject import Injector
from trimtab.simulate.faults.kinds import Asks, Choice, FaultKind, Parameter
from trimtab.simulate.faults.plan import Fault, FaultPlan, Scenario
from trimtab.simulate.faults.scenario import BEHIND, NAME, NAMESPACE, experiment, options, setting
from trimtab.simulate.invariants import check
from trimtab.simulate.loop import VirtualLoop
from trimtab.simulate.world import World

pytestmark = pytest.mark.thorough

K = FaultKind
MOMENT = 0.05  # virtual seconds between two acts
STORIES, STEPS = 6, 8
LONG_STORIES, LONG_STEPS = 400, 25
EDITS = (K.SPEC_EDITED, K.ARM_EDITED, K.STATUS_CORRUPTED, K.TARGET_EDITED, K.TARGET_RESTARTED)
DELETIONS = (K.TRIAL_DELETED, K.ARM_DELETED, K.POD_DELETED, K.TARGET_DELETED)
ENDINGS = (K.EXPERIMENT_DELETED, K.NAMESPACE_DELETED)
ANNOTATIONS = (
    K.PAUSE_ASKED, K.ROLLBACK_ASKED, K.SKIP_ASKED, K.APPROVE_ASKED, K.NAMESPACE_PAUSED, K.ANNOTATION_MISSPELT,
)  # fmt: skip
ADDITIONS = (K.AUTOSCALER_ADDED, K.VPA_ADDED, K.DISRUPTION_BUDGET_ADDED, K.QUOTA_EXCEEDED, K.SECOND_EXPERIMENT)
RIGHTS = (K.API_FORBIDDEN, K.ROUTE_RIGHTS_LOST, K.NAMESPACE_LOST)
PEOPLE = {*EDITS, *DELETIONS, *ENDINGS, *ANNOTATIONS, *ADDITIONS, *RIGHTS, K.TARGET_SCALED}
ASKS = tuple(asks for asks in get_args(Asks) if asks not in BY_MODEL)
OTHERS = tuple(kind for kind in FaultKind if kind not in PEOPLE)


def one_of(*kinds: FaultKind) -> st.SearchStrategy[Fault]:
    """A fault of one of these kinds, as it would stand in a plan."""
    return st.sampled_from(kinds).flatmap(lambda kind: _of(CATALOGUE[kind]))


def _of(row: Row) -> st.SearchStrategy[Fault]:
    parts: dict[str, Any] = {"kind": st.just(row.kind.value), "at": st.just("0s")}
    if row.usual is not None:
        low, high = (int(seconds) for seconds in row.usual)
        parts["duration"] = st.integers(max(low, 1), high).map(lambda seconds: f"{seconds}s")
    parts["parameters"] = st.fixed_dictionaries({p.name: _value(p) for p in row.parameters})
    return st.fixed_dictionaries(parts).map(Fault.model_validate)


def _value(parameter: Parameter) -> st.SearchStrategy[Any]:
    if isinstance(parameter, Choice):
        return st.sampled_from(parameter.words)
    ends = (parameter.low, parameter.default, parameter.high)
    return st.sampled_from([parameter.write(value) for value in ends])


class People(RuleBasedStateMachine):
    """One world; each rule is something that somebody does, or something that happens."""

    def __init__(self) -> None:
        super().__init__()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        self._runner = asyncio.Runner(loop_factory=VirtualLoop)

    @initialize(seed=st.integers(0, 2**16), asks=st.sampled_from(ASKS), parallel=st.integers(1, 3))
    def begin(self, seed: int, asks: Asks, parallel: int) -> None:
        at_once = 1 if asks in BEHIND else parallel
        scenario = Scenario(trials=2 + at_once, asks=asks, parallel=at_once)
        self.injector: Injector = self._runner.run(self._begun(seed, scenario))

    async def _begun(self, seed: int, scenario: Scenario) -> Injector:
        world = await World.build(setting(scenario), options(seed, scenario))
        injector = Injector(world, FaultPlan(seed=seed, scenario=scenario), NAME)
        world.admin.apply(experiment(scenario), NAMESPACE)
        injector.begin()
        return injector

    @rule(fault=one_of(*EDITS))
    def edit(self, fault: Fault) -> None:
        self._strike(fault)

    @rule(fault=one_of(*DELETIONS))
    def delete(self, fault: Fault) -> None:
        self._strike(fault)

    @rule(fault=one_of(*ANNOTATIONS))
    def annotate(self, fault: Fault) -> None:
        self._strike(fault)

    @rule(fault=one_of(K.TARGET_SCALED))
    def scale(self, fault: Fault) -> None:
        self._strike(fault)

    @rule(fault=one_of(*ADDITIONS))
    def add(self, fault: Fault) -> None:
        self._strike(fault)

    @rule(fault=one_of(*RIGHTS))
    def remove_a_right(self, fault: Fault) -> None:
        self._strike(fault)

    @rule(fault=one_of(*OTHERS))
    def something_fails(self, fault: Fault) -> None:
        self._strike(fault)

    @rule(fault=one_of(*ENDINGS))
    def end_it(self, fault: Fault) -> None:
        if self.injector.record.strikes:  # not as the first thing: then nothing happens any more
            self._strike(fault)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 20.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self._runner.run(self.injector.world.run(seconds))

    def _strike(self, fault: Fault) -> None:
        async def now() -> None:
            self.injector.strike(fault)
            await self.injector.world.run(MOMENT)

        self._runner.run(now())

    def teardown(self) -> None:
        """Everything is healed in its time; then it must have come to an end, and no promise was broken."""
        try:
            if hasattr(self, "injector"):
                self._runner.run(self._ended())
                breaches = check(self.injector.record)
                assert not breaches, "\n".join(map(str, breaches))
        finally:
            self._runner.close()
            structlog.reset_defaults()

    async def _ended(self) -> None:
        await all_over(self.injector)
        self.injector.close()
        await self.injector.world.close()


def _run(stories: int, steps: int) -> None:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    chosen = settings(max_examples=stories, stateful_step_count=steps, deadline=None, suppress_health_check=checks)
    run_state_machine_as_test(People, settings=chosen)  # type: ignore[no-untyped-call]


def test_people_break_no_promise() -> None:
    _run(STORIES, STEPS)


@pytest.mark.long
def test_many_people_break_no_promise() -> None:
    _run(LONG_STORIES, LONG_STEPS)
