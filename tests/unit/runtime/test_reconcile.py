"""A pass: what is done when something cannot be read or written, who is told, and who comes back when."""

# ruff: noqa: ARG002 - the fakes have the signatures of what they stand for

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture
from tests.unit.control.builders import (
    both_arms,
    budgets,
    experiment,
    kinds,
    proposal,
    running,
    snapshot,
    suggestion,
    trial,
)
from tests.virtual import passes

from trimtab.adapters.clock import LoopClock
from trimtab.control.actions import Action, Decision
from trimtab.control.snapshot import AskBudgets, AskProposal, Inquiry, LockView, Snapshot
from trimtab.domain.errors import (
    AlreadyExists,
    Conflict,
    CorruptLedger,
    Forbidden,
    InvalidSpec,
    LeadershipLost,
    NotFound,
    Rejected,
    RetryLater,
    Unauthorized,
    Unavailable,
)
from trimtab.domain.kube import TargetMissing
from trimtab.domain.names import ANNOTATION_PAUSE, ANNOTATION_SKIP
from trimtab.domain.state import ConditionType, ExperimentState
from trimtab.domain.trial import StrayTrial, TrialPhase
from trimtab.ports import ExperimentRecord
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.reconcile import Reconciler
from trimtab.runtime.workqueue import Key, WorkQueue, run_workers

pytestmark = pytest.mark.looptime

FORBIDDEN = Forbidden(403, "limitranges is forbidden: cannot list resource")


@dataclass
class Bench:
    """A Reconciler among fakes: one Experiment, one snapshot, and what fails."""

    record: ExperimentRecord = field(default_factory=experiment)
    seen: Snapshot = field(default_factory=snapshot)
    unseen: Exception | None = None  # what a whole look raises; a quick one does not
    refused: Exception | None = None  # what acting raises
    acted: list[tuple[Action, ...]] = field(default_factory=list)
    saved: list[ExperimentState] = field(default_factory=list)
    gone: bool = False
    told: Mapping[type[Inquiry], Any] = field(default_factory=dict)  # what is answered
    takes: float = 0.0  # seconds that an answer takes
    looks: int = 0
    undone: list[StrayTrial] = field(default_factory=list)
    forgotten: list[tuple[str, str]] = field(default_factory=list)
    left: tuple[StrayTrial, ...] = ()  # of an Experiment that is gone

    def __post_init__(self) -> None:
        self.clock = LoopClock()
        self.reconciler = Reconciler(self, self, self, self, self, self.clock, Metrics())  # type: ignore[arg-type]

    async def experiment(self, namespace: str, name: str) -> ExperimentRecord:
        if self.gone:
            raise NotFound(404, "gone")
        return self.record

    async def write_state(self, record: ExperimentRecord, state: ExperimentState) -> ExperimentRecord:
        self.record = replace(record, state=state)
        self.saved.append(state)
        return self.record

    async def observe(self, record: ExperimentRecord, now: float, *, quick: bool = False) -> Snapshot:
        self.looks += 1
        if quick:
            return replace(self.seen, experiment=record, partial=True, target=None, surroundings=None)
        if self.unseen is not None:
            raise self.unseen
        return replace(self.seen, experiment=record, answers={})

    async def answer(self, inquiry: Inquiry, seen: Snapshot) -> Any:
        await self.clock.sleep(self.takes)
        return self.told[type(inquiry)]

    def forget(self, namespace: str, name: str) -> None:
        self.forgotten.append((namespace, name))

    async def act(self, record: ExperimentRecord, actions: tuple[Action, ...]) -> ExperimentRecord:
        self.acted.append(actions)
        if self.refused is not None:
            raise self.refused
        return record

    async def undo(self, trials: Iterable[StrayTrial]) -> None:
        self.undone += trials

    async def of(self, namespace: str, name: str) -> None:
        await self.undo(self.left)

    async def passes(self, number: int = 1) -> None:
        """So many passes that fail."""
        for _ in range(number):
            with pytest.raises(Exception):  # noqa: B017, PT011 - whichever the bench was told
                await self.reconciler.reconcile("shop", "web")

    @property
    def stalled(self) -> str:
        """The reason of `Stalled`, "" while it is not true."""
        found = (self.record.state or ExperimentState()).condition(ConditionType.STALLED)
        return found.reason if found is not None and found.status is True else ""


def blocked(**changes: Any) -> Bench:
    """A bench whose Experiment has only to wait: another one holds the lock."""
    return Bench(seen=snapshot(lock=LockView(False, "shop/other")), **changes)


ERRORS: tuple[tuple[Exception, str, int], ...] = (
    (FORBIDDEN, "RBACDenied", 1),
    (Unauthorized(401, "the API server does not accept our credentials"), "CredentialsRefused", 3),
    (Rejected(422, "denied by policy 'no-trimtab'"), "Rejected", 1),
    (AlreadyExists(409, "Trial shop/web-0 exists with another content"), "NameTaken", 1),
    (CorruptLedger("ConfigMap trimtab-spending-x: spending.json cannot be read"), "LedgerCorrupted", 1),
    (InvalidSpec("Deployment web", "cpu 1.x cannot be read", "write 1500m"), "Unusable", 1),
    (ValueError("a defect"), "Defect", 1),
    (RetryLater(1.0, "endpoints of a withdrawn trial are still ready after 30 s"), "Retrying", 2),
    (Unavailable(500, "failed calling webhook"), "ApiUnavailable", 3),
    (Conflict(409, "the object has been modified"), "WriteConflict", 5),
)


@pytest.mark.parametrize(("error", "reason", "tries"), ERRORS, ids=[reason for _, reason, _ in ERRORS])
async def test_no_error_is_tried_again_in_silence(error: Exception, reason: str, tries: int) -> None:
    bench = blocked(refused=error)
    await bench.passes(tries - 1)
    assert bench.stalled == ""
    await bench.passes()
    assert bench.stalled == reason
    assert bench.record.state is not None
    assert str(error) in bench.record.state.message
    written = len(bench.saved)
    await bench.passes()
    assert len(bench.saved) == written  # the same words are not written again


async def test_a_pass_that_succeeds_says_that_it_is_over() -> None:
    bench = blocked(refused=FORBIDDEN)
    await bench.passes()
    bench.refused = None
    await bench.reconciler.reconcile("shop", "web")
    assert bench.stalled == "Blocked"
    free = Bench(unseen=FORBIDDEN, seen=snapshot(namespace_paused="a drill"))
    await free.passes()
    assert free.stalled == "RBACDenied"
    free.unseen = None
    await free.reconciler.reconcile("shop", "web")
    assert free.stalled == ""


async def test_failures_are_counted_in_a_row() -> None:
    bench = blocked(refused=Unavailable(503, "away"))
    for _ in range(4):
        await bench.passes(2)
        bench.refused = None
        await bench.reconciler.reconcile("shop", "web")
        bench.refused = Unavailable(503, "away")
    assert bench.stalled == "Blocked"


@pytest.mark.parametrize(("takes", "looks"), [(0.5, 1), (9.0, 3)])
async def test_one_look_serves_all_rounds_unless_an_answer_took_long(takes: float, looks: int) -> None:
    """What people ask for while a fit runs is seen before a trial starts."""
    told = {AskBudgets: budgets(), AskProposal: proposal(suggestion())}
    bench = Bench(told=told, takes=takes)
    await bench.reconciler.reconcile("shop", "web")
    assert kinds(Decision(ExperimentState(), bench.acted[0])) == ["CreateTrial"]
    assert bench.looks == looks


async def test_who_lost_the_lead_writes_nothing_more() -> None:
    bench = blocked(refused=LeadershipLost("not the leader"))
    with pytest.raises(LeadershipLost):
        await bench.reconciler.reconcile("shop", "web")
    assert bench.saved == []


async def test_a_status_that_cannot_be_read_is_never_overwritten() -> None:
    corrupt = replace(experiment(), state=None, state_problem="status.phase: 'Dancing' is unknown")
    bench = Bench(corrupt, refused=FORBIDDEN)
    await bench.passes()
    bench.refused = None
    await bench.reconciler.reconcile("shop", "web")
    assert bench.saved == []


class TestWhatCannotBeRead:
    """A right on the surroundings is missing: people and deletions are answered all the same."""

    async def test_a_request_is_obeyed_and_acknowledged(self) -> None:
        live = trial(TrialPhase.MEASURING)
        skipped = experiment(annotations=((ANNOTATION_SKIP, "0"),))
        bench = Bench(skipped, snapshot(None, (live,), both_arms(live)), unseen=FORBIDDEN)
        assert await bench.reconciler.reconcile("shop", "web") == 0.0
        assert kinds(Decision(ExperimentState(), bench.acted[0])) == ["DeleteArms", "WriteTrial"]
        assert bench.record.state is not None
        assert bench.record.state.handled[-1].answer == "trial 0 withdrawn"
        bench.seen = snapshot()
        await bench.passes()
        assert bench.stalled == "RBACDenied"

    async def test_a_trial_past_its_deadline_is_withdrawn(self) -> None:
        late = trial(TrialPhase.DEPLOYING, deadline=1.0)
        bench = Bench(seen=snapshot(None, (late,)), unseen=FORBIDDEN)
        assert await bench.reconciler.reconcile("shop", "web") == 0.0
        assert kinds(Decision(ExperimentState(), bench.acted[0])) == ["DeleteArms", "WriteTrial"]

    async def test_where_nothing_is_to_be_undone_nothing_is_done(self) -> None:
        bench = Bench(experiment(finalized=False), unseen=FORBIDDEN)
        await bench.passes()
        assert bench.acted == [()]
        assert bench.stalled == "RBACDenied"

    async def test_it_is_not_told_to_be_over_by_the_lesser_look(self) -> None:
        bench = Bench(experiment(finalized=False), unseen=FORBIDDEN)
        await bench.passes()
        written = len(bench.saved)
        await bench.passes(2)
        assert len(bench.saved) == written
        assert bench.stalled == "RBACDenied"


async def test_a_pass_that_goes_on_failing_comes_later_and_later_and_never_in_step() -> None:
    gaps = []
    for seed in (1, 2):
        bench, begun = blocked(refused=FORBIDDEN), []
        queue = WorkQueue(bench.clock, rng=random.Random(seed))

        async def handle(key: Key, bench: Bench = bench, begun: list[float] = begun) -> float | None:
            begun.append(bench.clock.monotonic())
            return await bench.reconciler.reconcile(key.namespace, key.name)

        queue.add(Key("shop", "web"))
        run = run_workers(queue, handle, workers=1, clock=bench.clock, on_error=lambda *_: None)
        work = asyncio.create_task(run)
        await passes(3600)
        queue.close()
        await work
        gaps.append([b - a for a, b in pairwise(begun)])
    for found in gaps:
        assert found[0] == pytest.approx(5.0)
        assert all(30 <= gap <= 60 for gap in found[10:])
        assert len(found) < 110
    assert gaps[0][10:20] != gaps[1][10:20]


@pytest.fixture
def lines() -> Any:
    """Every log line of the test."""
    capture = LogCapture()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, capture])
    return capture.entries


async def test_lines_of_a_pass_carry_the_experiment_and_the_trial(lines: list[dict[str, Any]]) -> None:
    live = trial(TrialPhase.MEASURING)
    record = experiment(annotations=((ANNOTATION_PAUSE, "me"),))
    bench = Bench(record, snapshot(None, (live,), both_arms(live)), refused=Unavailable(503, "away"))
    await bench.passes()
    assert [(e["event"], e["experiment"], e["trial"]) for e in lines] == [("reconcile.failed", "web", live.name)]
    bench.seen, lines[:] = snapshot(target=TargetMissing("web"), surroundings=None), []
    await bench.passes()
    assert "trial" not in lines[0]


async def test_an_experiment_that_is_gone_is_forgotten() -> None:
    bench = Bench(record=experiment(running()), gone=True)
    assert await bench.reconciler.reconcile("shop", "web") is None
    assert bench.forgotten == [("shop", "web")]


STRAY = StrayTrial("web-abc-0", "shop", "trial-uid", "7", "uid-before")


async def test_what_an_experiment_left_that_is_gone_is_undone() -> None:
    bench = Bench(gone=True, left=(STRAY,))
    assert await bench.reconciler.reconcile("shop", "web") is None
    assert bench.undone == [STRAY]


async def test_what_an_earlier_one_of_its_name_left_is_undone_first() -> None:
    bench = blocked()
    bench.seen = replace(bench.seen, strays=(STRAY,))
    await bench.reconciler.reconcile("shop", "web")
    assert bench.undone == [STRAY]
