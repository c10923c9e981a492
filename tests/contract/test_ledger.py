"""What the ledger promises, over any Cluster: here in memory.

`tests/cluster/test_contract_ledger.py` runs the same tests with the generated CRDs on the real API server.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest

from trimtab.adapters.clock import LoopClock
from trimtab.adapters.ledger import KubernetesLedger
from trimtab.domain import kinds
from trimtab.domain.errors import AlreadyExists, Conflict, CorruptLedger, LeadershipLost, NotFound, Unavailable
from trimtab.domain.measurement import Arm, Measurement, NoData, Sample, Window
from trimtab.domain.names import FINALIZER
from trimtab.domain.space import Assignment
from trimtab.domain.state import ConditionType, ExperimentPhase, ExperimentState
from trimtab.domain.trial import Environment, Outcome, PhaseTimes, Prediction, Purpose, Spent, Suggestion, TrialPhase
from trimtab.ports import Cluster, ExperimentRecord, Ledger, NewTrial
from trimtab.runtime.fence import FencedLedger
from trimtab.simulate.cluster import Effect, InMemoryCluster

MIB = Decimal(2**20)


@dataclass(frozen=True)
class Books:
    """A ledger and the cluster under it, in a namespace of this test's own."""

    cluster: Cluster
    ledger: Ledger
    namespace: str

    async def experiment(self, name: str = "web") -> ExperimentRecord:
        body = {
            "apiVersion": kinds.EXPERIMENTS.api_version,
            "kind": kinds.EXPERIMENTS.name,
            "metadata": {"name": name},
            "spec": SPEC,
        }
        await self.cluster.create(kinds.EXPERIMENTS, self.namespace, body)
        return await self.ledger.experiment(self.namespace, name)


CPU = {"container": {"name": "api", "resource": "cpu"}, "quantity": {"min": "250m", "max": 2}}
MEMORY = {"container": {"name": "api", "resource": "memory"}, "quantity": {"min": "512Mi", "max": "2Gi"}}
SPEC: dict[str, Any] = {
    "targetRef": {"name": "web"},
    "parameters": [{"name": "cpu", **CPU}, {"name": "memory", **MEMORY}],
    "slis": [{"name": "slow", "preset": {"source": "PlainHTTP", "sli": "SlowRatio", "threshold": "0.3"}}],
    "constraints": [{"name": "latency", "sli": "slow", "max": "0.05"}],
}

NEW = NewTrial(
    index=1,
    suggestion=Suggestion(
        assignment=Assignment.of({"cpu": Decimal("0.75"), "memory": 768 * MIB}),
        purpose=Purpose.SEARCH,
        seed=7,
        by_model=True,
        safety_probability=0.971,
        acquisition=0.25,
        predictions=(Prediction("latency", -0.7, 0.2),),
        model_digest="m1",
        fit_seconds=0.08,
        search_seconds=0.02,
        reason="cheapest safe point",
    ),
    environment=Environment("hash", "target-uid", "example.test/api:1", 12, "v1.36.3"),
    spec_digest="s1",
    cost=0.52,
)


async def alone(stamp: str) -> None:
    """Nobody else ever leads."""


@pytest.fixture(params=["plain", "fenced"])
async def books(request: pytest.FixtureRequest) -> Books:
    """Over the cluster in memory."""
    clock = LoopClock()
    cluster = InMemoryCluster(clock, namespaces=("default", "contract"))
    ledger: Ledger = KubernetesLedger(cluster)
    return Books(cluster, FencedLedger(ledger, alone) if request.param == "fenced" else ledger, "contract")


class TestExperiments:
    async def test_it_is_read_with_its_parsed_spec(self, books: Books) -> None:
        record = await books.experiment()
        assert (record.name, record.namespace, record.finalized, record.deleting) == (
            "web",
            books.namespace,
            False,
            False,
        )
        assert record.spec is not None
        assert record.spec.target.name == "web"
        assert [p.name for p in record.spec.space.parameters] == ["cpu", "memory"]
        assert record.state in (None, ExperimentState())
        assert record.state_problem == ""

    async def test_its_state_is_written_and_comes_back(self, books: Books) -> None:
        record = await books.experiment()
        state = ExperimentState(phase=ExperimentPhase.RUNNING, message="trial 1: warming up", trials_created=1)
        state = state.with_condition(ConditionType.READY, True, "Accepted", "running", 1_700_000_000.0, 1)
        written = await books.ledger.write_state(record, state)
        assert written.state == state
        assert written.resource_version != record.resource_version
        assert written.generation == record.generation
        assert (await books.ledger.experiment(books.namespace, "web")).state == state

    async def test_an_old_version_writes_nothing(self, books: Books) -> None:
        record = await books.experiment()
        await books.ledger.write_state(record, ExperimentState(message="first"))
        with pytest.raises(Conflict):
            await books.ledger.write_state(record, ExperimentState(message="second"))
        stored = await books.ledger.experiment(books.namespace, "web")
        assert stored.state is not None
        assert stored.state.message == "first"

    async def test_the_finalizer_comes_and_goes(self, books: Books) -> None:
        record = await books.experiment()
        held = await books.ledger.finalize_experiment(record, True)
        assert held.finalized
        again = await books.ledger.finalize_experiment(held, True)
        assert again == held
        with pytest.raises(Conflict):
            await books.ledger.finalize_experiment(record, False)
        free = await books.ledger.finalize_experiment(held, False)
        assert not free.finalized

    async def test_a_finalizer_of_others_is_left_alone(self, books: Books) -> None:
        record = await books.experiment()
        found = await books.cluster.get(kinds.EXPERIMENTS, books.namespace, "web")
        metadata = {**found["metadata"], "finalizers": ["example.test/theirs"]}
        await books.cluster.replace(kinds.EXPERIMENTS, books.namespace, "web", {**found, "metadata": metadata})
        record = await books.ledger.experiment(books.namespace, "web")
        held = await books.ledger.finalize_experiment(record, True)
        await books.ledger.finalize_experiment(held, False)
        left = await books.cluster.get(kinds.EXPERIMENTS, books.namespace, "web")
        assert left["metadata"]["finalizers"] == ["example.test/theirs"]

    async def test_another_one_of_the_same_name_is_not_written(self, books: Books) -> None:
        record = await books.experiment()
        await books.cluster.delete(kinds.EXPERIMENTS, books.namespace, "web")
        with pytest.raises((NotFound, Conflict)):
            await books.ledger.write_state(record, ExperimentState(message="ghost"))
        await books.experiment()
        with pytest.raises(Conflict):
            await books.ledger.write_state(record, ExperimentState(message="ghost"))

    async def test_what_is_gone_is_not_found(self, books: Books) -> None:
        with pytest.raises(NotFound):
            await books.ledger.experiment(books.namespace, "nothing")


class TestTrials:
    async def test_the_write_ahead_holds_all_that_was_decided(self, books: Books) -> None:
        record = await books.experiment()
        trial = await books.ledger.create_trial(record, NEW)
        assert trial.suggestion == NEW.suggestion
        assert trial.environment == NEW.environment
        assert (trial.index, trial.spec_digest, trial.cost) == (1, "s1", 0.52)
        assert (trial.experiment_uid, trial.experiment_name) == (record.uid, "web")
        assert trial.phase is TrialPhase.PENDING
        assert trial.finalized
        assert trial.name.startswith("web-")
        assert trial.name.endswith("-0001")
        assert await books.ledger.trial(books.namespace, trial.name) == trial
        assert (await books.ledger.trials(record)).readable == (trial,)

    async def test_the_same_again_is_success(self, books: Books) -> None:
        record = await books.experiment()
        first = await books.ledger.create_trial(record, NEW)
        slower = replace(NEW, suggestion=replace(NEW.suggestion, fit_seconds=0.5))
        assert await books.ledger.create_trial(record, slower) == first
        assert (await books.ledger.trials(record)).readable == (first,)

    @pytest.mark.parametrize(
        "other",
        [
            replace(NEW, spec_digest="s2"),
            replace(NEW, suggestion=replace(NEW.suggestion, seed=8)),
            replace(
                NEW,
                suggestion=replace(NEW.suggestion, assignment=NEW.suggestion.assignment.replace("cpu", Decimal("0.8"))),
            ),
        ],
    )
    async def test_another_content_under_the_same_name_is_refused(self, books: Books, other: NewTrial) -> None:
        record = await books.experiment()
        first = await books.ledger.create_trial(record, NEW)
        with pytest.raises(AlreadyExists, match="another content"):
            await books.ledger.create_trial(record, other)
        assert (await books.ledger.trials(record)).readable == (first,)

    async def test_they_come_by_index_and_only_those_of_this_experiment(self, books: Books) -> None:
        record, other = await books.experiment(), await books.experiment("other")
        for index in (3, 1, 2):
            await books.ledger.create_trial(record, replace(NEW, index=index))
        await books.ledger.create_trial(other, NEW)
        assert [trial.index for trial in (await books.ledger.trials(record)).readable] == [1, 2, 3]
        assert [trial.experiment_name for trial in (await books.ledger.trials(other)).readable] == ["other"]
        namesake = replace(record, uid="00000000-0000-0000-0000-000000000000")
        assert (await books.ledger.trials(namesake)).readable == ()

    async def test_progress_is_written_with_the_version_that_was_read(self, books: Books) -> None:
        record = await books.experiment()
        trial = await books.ledger.create_trial(record, NEW)
        times = replace(trial.times, deploying=1_700_000_100.0)
        deploying = replace(trial, phase=TrialPhase.DEPLOYING, times=times, leader="pod-1/3", deadline=1_700_002_700.0)
        written = await books.ledger.write_trial(deploying)
        assert replace(written, resource_version="") == replace(deploying, resource_version="")
        assert written.resource_version != trial.resource_version
        with pytest.raises(Conflict):
            await books.ledger.write_trial(replace(trial, phase=TrialPhase.ABORTED))
        assert (await books.ledger.trial(books.namespace, trial.name)).phase is TrialPhase.DEPLOYING

    async def test_everything_measured_comes_back(self, books: Books) -> None:
        record = await books.experiment()
        trial = await books.ledger.create_trial(record, NEW)
        window = Window(1_700_000_200.0, 1_700_000_800.0)
        t = trial.times.created
        ended = replace(
            trial,
            phase=TrialPhase.INFEASIBLE,
            times=PhaseTimes(t, t + 1, t + 2, t + 3, t + 4, t + 5),
            window=window,
            outcome=Outcome(TrialPhase.INFEASIBLE, "AbortRule", "slow 0.12 against 0.05 in 3 of 4 windows"),
            measurements=(
                Measurement("slow", Arm.CANARY, window, Sample(0.12, 0.004, 9120.0, 1094.0, 1.3)),
                Measurement("slow", Arm.CONTROL, window, NoData("no series")),
            ),
            spent=(Spent("slow", 1094.0, 9120.0),),
            evidence=("p95 612 ms",),
            withdraw_seconds=2.25,
        )
        written = await books.ledger.write_trial(ended)
        assert replace(written, resource_version="") == replace(ended, resource_version="")

    async def test_its_finalizer_lets_it_go(self, books: Books) -> None:
        record = await books.experiment()
        trial = await books.ledger.create_trial(record, NEW)
        await books.cluster.delete(kinds.TRIALS, books.namespace, trial.name)
        leaving = await books.ledger.trial(books.namespace, trial.name)
        assert leaving.deleting
        with pytest.raises(Conflict):
            await books.ledger.finalize_trial(trial, False)
        await books.ledger.finalize_trial(leaving, False)
        with pytest.raises(NotFound):
            await books.ledger.trial(books.namespace, trial.name)

    async def test_what_an_experiment_that_is_gone_left_held_is_nobody_elses(self, books: Books) -> None:
        first = await books.experiment()
        trial = await books.ledger.create_trial(first, NEW)
        free = await books.ledger.create_trial(first, replace(NEW, index=NEW.index + 1))
        await books.ledger.finalize_trial(free, False)
        await books.cluster.delete(kinds.EXPERIMENTS, books.namespace, first.name)
        (stray,) = await books.ledger.strays(books.namespace, first.name)
        assert (stray.name, stray.uid, stray.experiment_uid) == (trial.name, trial.uid, first.uid)
        assert await books.ledger.strays(books.namespace, "other") == ()
        second = await books.experiment()
        mine = await books.ledger.create_trial(second, NEW)
        rows = await books.ledger.trials(second)
        assert rows.readable == (mine,)
        assert [s.uid for s in rows.strays] == [trial.uid]
        await books.ledger.let_go(rows.strays[0])
        assert (await books.ledger.trials(second)).strays == ()


async def test_a_trial_that_cannot_be_read_is_named() -> None:
    clock = LoopClock()
    cluster = InMemoryCluster(clock)
    books = Books(cluster, KubernetesLedger(cluster), "default")
    record = await books.experiment()
    trial = await books.ledger.create_trial(record, NEW)
    found = await cluster.get(kinds.TRIALS, "default", trial.name)
    spoiled = {**found, "status": {"phase": "Levitating"}}
    await cluster.replace(kinds.TRIALS, "default", trial.name, spoiled, subresource="status")
    with pytest.raises(CorruptLedger, match=trial.name):
        await books.ledger.trial("default", trial.name)
    second = await books.ledger.create_trial(record, replace(NEW, index=NEW.index + 1))
    rows = await books.ledger.trials(record)
    assert rows.readable == (second,)
    (broken,) = rows.broken
    assert (broken.name, broken.uid, broken.finalized, broken.deleting) == (trial.name, trial.uid, True, False)
    assert "status.phase" in broken.problem
    await books.ledger.let_go(broken)
    (free,) = (await books.ledger.trials(record)).broken
    assert not free.finalized
    with pytest.raises(Conflict):  # what was read is old
        await books.ledger.let_go(broken)


async def test_a_create_whose_answer_was_lost_is_found_again() -> None:
    clock = LoopClock()
    cluster = InMemoryCluster(clock)
    books = Books(cluster, KubernetesLedger(cluster), "default")
    record = await books.experiment()

    async def lose(effect: Effect) -> None:
        raise Unavailable(0, f"time-out after {effect}")

    cluster.after_effect = lose
    with pytest.raises(Unavailable, match="time-out after create:Trial"):
        await books.ledger.create_trial(record, NEW)
    cluster.after_effect = None
    trial = await books.ledger.create_trial(record, NEW)
    assert (await books.ledger.trials(record)).readable == (trial,)
    assert FINALIZER in (await cluster.get(kinds.TRIALS, "default", trial.name))["metadata"]["finalizers"]


class TestFence:
    """What is read of a live Trial is shown to the fence first."""

    async def test_only_live_trials_with_a_leader_are_shown(self, books: Books) -> None:
        record = await books.experiment()
        times = PhaseTimes(1_700_000_000.0, 1_700_000_100.0)
        ended = Outcome(TrialPhase.ABORTED, "OnCallPause", "lunch")
        for index, phase in enumerate((TrialPhase.PENDING, TrialPhase.DEPLOYING, TrialPhase.ABORTED)):
            made = await books.ledger.create_trial(record, replace(NEW, index=index))
            if phase is not TrialPhase.PENDING:
                told = replace(made, phase=phase, times=times, leader=f"pod-{index}/3", deadline=1_700_002_700.0)
                outcome = ended if phase is TrialPhase.ABORTED else None
                await books.ledger.write_trial(replace(told, outcome=outcome))
        shown: list[str] = []

        async def note(stamp: str) -> None:
            shown.append(stamp)

        fenced = FencedLedger(books.ledger, note)
        rows = (await fenced.trials(record)).readable
        assert shown == ["pod-1/3"]
        await fenced.trial(books.namespace, rows[1].name)
        await fenced.trial(books.namespace, rows[2].name)
        assert shown == ["pod-1/3", "pod-1/3"]

    async def test_a_trial_of_a_later_leader_is_not_handed_out(self, books: Books) -> None:
        async def lost(stamp: str) -> None:
            raise LeadershipLost(stamp)

        record = await books.experiment()
        made = await books.ledger.create_trial(record, NEW)
        await books.ledger.write_trial(replace(made, phase=TrialPhase.DEPLOYING, leader="other/4"))
        fenced = FencedLedger(books.ledger, lost)
        with pytest.raises(LeadershipLost, match="other/4"):
            await fenced.trials(record)
        with pytest.raises(LeadershipLost, match="other/4"):
            await fenced.trial(books.namespace, made.name)
