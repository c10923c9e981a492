"""Actions become effects: fenced, idempotent, in order, and never in the way of a deletion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.contract.test_ledger import NEW, Books
from tests.unit.control.builders import ROUTE, spec, surroundings, target

from trimtab.adapters.clock import LoopClock
from trimtab.adapters.ledger import KubernetesLedger
from trimtab.api.kube_autoscaler import autoscaler_from
from trimtab.control import machine
from trimtab.control.actions import (
    Action,
    CreateArms,
    CreateTrial,
    DeleteArms,
    HoldExperiment,
    RecordSpending,
    ReleaseTrial,
    WriteTrial,
)
from trimtab.control.arms import plan_arms
from trimtab.domain import kinds
from trimtab.domain.errors import (
    AlreadyExists,
    Conflict,
    CorruptLedger,
    Forbidden,
    LeadershipLost,
    NotFound,
    Rejected,
    Unavailable,
)
from trimtab.domain.kube import ArmPlan
from trimtab.domain.trial import BrokenTrial, Outcome, Spent, Trial, TrialPhase
from trimtab.ports import ExperimentRecord
from trimtab.runtime.act import Actor
from trimtab.runtime.arms import ArmReader
from trimtab.runtime.events import EventRecorder
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.spending import SpendingAccount, account_name
from trimtab.runtime.targetlock import TargetLocks
from trimtab.runtime.withdraw import Latch, Withdrawer
from trimtab.simulate.client import Client, Request
from trimtab.simulate.cluster import InMemoryCluster

pytestmark = pytest.mark.looptime

NAMESPACE = "shop"
LABELS = {"app": "web", "instance": "production"}
CONTAINER = {"name": "web", "image": "example.test/web:1", "resources": {"limits": {"cpu": "2", "memory": "2Gi"}}}
TARGET: dict[str, Any] = {
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 20,
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [CONTAINER]}},
    },
}
WITHDRAWN = Outcome(TrialPhase.ABORTED, "OnCallPause", "me")
Then = Callable[[], Any]


class Bench:
    """An Actor over a cluster in memory, with an Experiment, its target and a Trial that is Deploying."""

    def __init__(self) -> None:
        self.clock = LoopClock(1_790_000_000.0)
        self.cluster = InMemoryCluster(self.clock, namespaces=[NAMESPACE])
        self.client, self.latch = Client(self.cluster), Latch()
        self.client.before = self._before
        self.hooks: dict[str, Then] = {}
        self.effects: list[str] = []
        self.leading = True
        self.spec = spec()
        self.around = surroundings()
        self.ledger = KubernetesLedger(self.client)
        self.events = EventRecorder(self.client, self.clock, instance="test")
        withdrawer, locks = Withdrawer(self.client, self.clock), TargetLocks(self.client, self.clock)
        self.actor = Actor(
            self.client, self.ledger, self.clock, locks, withdrawer, self.latch,
            SpendingAccount(self.client), self.events, Metrics(), self._check,
        )  # fmt: skip

    def _check(self) -> None:
        if not self.leading:
            raise LeadershipLost("not the leader")

    async def _before(self, request: Request) -> None:
        if request.verb not in {"get", "list"}:
            self.effects.append(str(request))
        hook = self.hooks.pop(str(request), None)
        if hook is not None:
            await hook()

    async def begin(self) -> tuple[ExperimentRecord, Trial]:
        """The Experiment, and its Trial as it is stored."""
        await self.cluster.create(kinds.DEPLOYMENTS, NAMESPACE, TARGET)
        record = await Books(self.cluster, self.ledger, NAMESPACE).experiment()
        trial = await self.ledger.create_trial(record, NEW)
        trial = await self.ledger.write_trial(machine.start(trial, self.clock.now(), self.clock.now() + 600, "me/1"))
        self.effects.clear()
        return record, trial

    def plans(self, trial: Trial) -> tuple[ArmPlan, ArmPlan]:
        return plan_arms(self.spec, replace(target(), namespace=NAMESPACE), self.around, trial)

    def create(self, trial: Trial, leader: str = "me/1") -> CreateArms:
        return CreateArms(machine.claimed(trial, leader), self.plans(trial))

    async def arms(self) -> list[str]:
        found = await self.cluster.list(kinds.DEPLOYMENTS, NAMESPACE, labels="trimtab.dev/arm")
        return [each["metadata"]["name"][-1] for each in found]

    async def withdraw(self, trial: Trial) -> None:
        """Another leader has the trial withdrawn, by its own connection."""
        ledger = KubernetesLedger(self.cluster)
        stored = await ledger.trial(trial.namespace, trial.name)
        await ledger.write_trial(machine.withdrawn(stored, self.clock.now(), WITHDRAWN))


class TestArmsOfARoute:
    """Each has a Service of its own, which is there before its Deployment."""

    async def begin(self) -> tuple[Bench, ExperimentRecord, Trial]:
        bench = Bench()
        bench.spec = spec(route=ROUTE)
        ports = [{"name": "http", "port": 80, "targetPort": 8080}]
        await bench.cluster.create(
            kinds.SERVICES,
            NAMESPACE,
            {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}},
        )
        record, trial = await bench.begin()
        return bench, record, trial

    async def test_they_are_made_with_the_same_fence(self) -> None:
        bench, record, trial = await self.begin()
        for _ in range(2):
            await bench.actor.act(record, (bench.create(trial),))
        once = ["replace:Trial/status", "create:Service", "create:Deployment"]
        assert bench.effects == 4 * once
        made = await bench.cluster.get(kinds.SERVICES, NAMESPACE, bench.plans(trial)[0].name)
        assert made["spec"]["ports"][0]["targetPort"] == 8080
        assert made["metadata"]["ownerReferences"][0]["uid"] == trial.uid

    async def test_they_go_with_the_arms(self) -> None:
        bench, record, trial = await self.begin()
        await bench.actor.act(record, (bench.create(trial), DeleteArms(trial.uid, verify=True)))
        left = await bench.cluster.list(kinds.SERVICES, NAMESPACE)
        assert [each["metadata"]["name"] for each in left] == ["web"]

    async def test_a_service_of_that_name_that_is_not_ours_ends_the_trial(self) -> None:
        bench, record, trial = await self.begin()
        name = bench.plans(trial)[0].name
        await bench.cluster.create(kinds.SERVICES, NAMESPACE, {"metadata": {"name": name}, "spec": {}})
        await bench.actor.act(record, (bench.create(trial),))
        outcome = (await bench.ledger.trial(NAMESPACE, trial.name)).outcome
        assert outcome is not None
        assert (outcome.phase, outcome.reason) == (TrialPhase.ABORTED, "ArmNameTaken")
        assert await bench.arms() == []
        assert await bench.cluster.get(kinds.SERVICES, NAMESPACE, name)

    async def test_an_autoscaler_is_there_before_what_it_scales(self) -> None:
        bench, record, trial = await self.begin()
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        production = {"metadata": {"name": "web-hpa"}, "spec": {"scaleTargetRef": reference, "maxReplicas": 20}}
        view = autoscaler_from(await bench.cluster.create(kinds.HORIZONTAL_POD_AUTOSCALERS, NAMESPACE, production))
        bench.around = surroundings(autoscalers=(view,))
        await bench.actor.act(record, (bench.create(trial),))
        once = ["replace:Trial/status", "create:Service", "create:HorizontalPodAutoscaler", "create:Deployment"]
        assert bench.effects == 2 * once
        name = bench.plans(trial)[0].name
        made = await bench.cluster.get(kinds.HORIZONTAL_POD_AUTOSCALERS, NAMESPACE, name)
        assert made["spec"]["scaleTargetRef"]["name"] == name
        (canary, _) = await ArmReader(bench.cluster).read(NAMESPACE)
        assert canary.scaled_by == name
        assert canary.scaler is not None
        assert canary.scaler.observed_digest == canary.scaler.spec_digest == canary.observed_digest
        await bench.actor.act(record, (DeleteArms(trial.uid, verify=True),))
        left = await bench.cluster.list(kinds.HORIZONTAL_POD_AUTOSCALERS, NAMESPACE)
        assert [each["metadata"]["name"] for each in left] == ["web-hpa"]

    async def test_a_backend_that_is_gone_ends_the_trial(self) -> None:
        bench, record, trial = await self.begin()
        await bench.cluster.delete(kinds.SERVICES, NAMESPACE, "web")
        await bench.actor.act(record, (bench.create(trial),))
        outcome = (await bench.ledger.trial(NAMESPACE, trial.name)).outcome
        assert outcome is not None
        assert (outcome.phase, outcome.reason) == (TrialPhase.INFRA_FAILED, "BackendMissing")


class TestArms:
    async def test_the_leader_is_on_record_before_each_of_them(self) -> None:
        bench = Bench()
        record, trial = await bench.begin()
        await bench.actor.act(record, (bench.create(trial, "successor/2"),))
        claim = "replace:Trial/status"
        assert bench.effects == [claim, "create:Deployment", claim, "create:Deployment"]
        assert (await bench.ledger.trial(NAMESPACE, trial.name)).leader == "successor/2"
        assert await bench.arms() == ["b", "c"]

    async def test_doing_it_twice_is_doing_it_once(self) -> None:
        bench = Bench()
        record, trial = await bench.begin()
        for _ in range(2):
            await bench.actor.act(record, (bench.create(trial),))
        assert await bench.arms() == ["b", "c"]

    @pytest.mark.parametrize("nth", [1, 2])
    async def test_a_leader_of_yesterday_creates_nothing(self, nth: int) -> None:
        """It has read the Trial, then another withdraws it: what it writes next is refused, so it creates nothing."""
        bench = Bench()
        record, trial = await bench.begin()
        claims = 0

        async def meanwhile() -> None:
            nonlocal claims
            claims += 1
            if claims == nth:
                await bench.withdraw(trial)
            else:
                bench.hooks["replace:Trial/status"] = meanwhile

        bench.hooks["replace:Trial/status"] = meanwhile
        with pytest.raises(Conflict):
            await bench.actor.act(record, (bench.create(trial),))
        assert bench.effects.count("create:Deployment") == nth - 1

    async def test_who_is_no_leader_any_more_after_its_claim_creates_nothing(self) -> None:
        bench = Bench()
        record, trial = await bench.begin()

        async def lose() -> None:
            bench.leading = False

        bench.hooks["replace:Trial/status"] = lose
        with pytest.raises(LeadershipLost):
            await bench.actor.act(record, (bench.create(trial),))
        assert await bench.arms() == []

    async def test_an_arm_that_came_too_late_is_taken_away_again(self) -> None:
        bench = Bench()
        record, trial = await bench.begin()

        async def again() -> None:
            async def withdraw() -> None:
                await bench.withdraw(trial)

            bench.hooks["create:Deployment"] = withdraw

        bench.hooks["create:Deployment"] = again
        await bench.actor.act(record, (bench.create(trial),))
        assert await bench.arms() == []

    @pytest.mark.parametrize("how", ["latched", "withdrawn", "deleted"])
    async def test_none_is_made_for_a_trial_that_was_withdrawn(self, how: str) -> None:
        bench = Bench()
        record, trial = await bench.begin()
        if how == "latched":
            bench.latch.set(trial.uid)
        elif how == "withdrawn":
            await bench.withdraw(trial)
        else:
            await bench.cluster.delete(kinds.TRIALS, NAMESPACE, trial.name)
        await bench.actor.act(record, (bench.create(trial),))
        assert bench.effects == []

    async def test_a_refusal_is_the_clusters_and_has_its_words(self) -> None:
        bench = Bench()
        record, trial = await bench.begin()

        async def refuse() -> None:
            raise Rejected(422, "denied by policy 'no-arms'")

        bench.hooks["create:Deployment"] = refuse
        await bench.actor.act(record, (bench.create(trial),))
        stored = await bench.ledger.trial(NAMESPACE, trial.name)
        assert stored.phase is TrialPhase.DRAINING
        assert stored.outcome == Outcome(TrialPhase.INFRA_FAILED, "ArmRefused", "422: denied by policy 'no-arms'")
        await bench.events.flush()
        (event,) = await bench.cluster.list(kinds.EVENTS, NAMESPACE)
        assert (event["type"], event["reason"]) == ("Warning", "TrialWithdrawn")
        assert event["note"].startswith("ArmRefused: 422: denied by policy 'no-arms'")

    async def test_a_missing_right_ends_the_trial_and_is_told(self) -> None:
        bench = Bench()
        record, trial = await bench.begin()
        bench.client.missing = frozenset({("create", "deployments")})
        with pytest.raises(Forbidden):
            await bench.actor.act(record, (bench.create(trial),))
        assert (await bench.ledger.trial(NAMESPACE, trial.name)).phase is TrialPhase.DRAINING

    async def test_a_name_that_somebody_else_took_aborts(self) -> None:
        bench = Bench()
        record, trial = await bench.begin()
        taken = {**TARGET, "metadata": {"name": bench.plans(trial)[0].name}}
        await bench.cluster.create(kinds.DEPLOYMENTS, NAMESPACE, taken)
        await bench.actor.act(record, (bench.create(trial),))
        stored = await bench.ledger.trial(NAMESPACE, trial.name)
        assert stored.outcome is not None
        assert stored.outcome.reason == "ArmNameTaken"

    async def test_a_create_whose_answer_was_lost_is_found_again(self) -> None:
        bench = Bench()
        record, trial = await bench.begin()

        async def lose(request: Request) -> None:
            if request.verb == "create":
                bench.client.after = None
                raise Unavailable(0, "time-out")

        bench.client.after = lose
        with pytest.raises(Unavailable):
            await bench.actor.act(record, (bench.create(trial),))
        await bench.actor.act(record, (bench.create(trial),))
        assert await bench.arms() == ["b", "c"]


async def test_the_order_is_the_decisions_and_stops_at_the_first_failure() -> None:
    bench = Bench()
    record, _ = await bench.begin()
    bench.client.missing = frozenset({("create", "trials")})
    actions: tuple[Action, ...] = (HoldExperiment(), CreateTrial(replace(NEW, index=9)), HoldExperiment())
    with pytest.raises(Forbidden):
        await bench.actor.act(record, actions)
    assert bench.effects == ["replace:Experiment", "create:Trial"]


async def test_another_trial_of_that_name_is_no_success() -> None:
    bench = Bench()
    record, _ = await bench.begin()
    other = replace(NEW, suggestion=replace(NEW.suggestion, seed=99))
    with pytest.raises(AlreadyExists, match="another content"):
        await bench.actor.act(record, (CreateTrial(other),))


async def test_writes_of_one_decision_follow_each_other() -> None:
    """Each carries the version that the one before has made."""
    bench = Bench()
    record, trial = await bench.begin()
    draining = machine.withdrawn(trial, bench.clock.now(), WITHDRAWN)
    done = machine.drained(draining, bench.clock.now())
    actions = (DeleteArms(trial.uid, verify=False), WriteTrial(draining), WriteTrial(done), ReleaseTrial(done))
    await bench.actor.act(record, actions)
    stored = await bench.ledger.trial(NAMESPACE, trial.name)
    assert (stored.phase, stored.finalized) == (TrialPhase.ABORTED, False)
    assert bench.latch.is_set(trial.uid)


class TestDeletion:
    def entry(self, trial: Trial, required: bool) -> RecordSpending:
        return RecordSpending("target-uid", trial.uid, 5.0, (Spent("errors", 1.0, 10.0),), 3600.0, required)

    async def spoil(self, bench: Bench, how: str) -> type[Exception]:
        if how == "forbidden":
            bench.client.missing = frozenset({("create", "configmaps")})
            return Forbidden
        body = {"metadata": {"name": account_name("target-uid")}, "data": {"spending.json": "{"}}
        await bench.cluster.create(kinds.CONFIG_MAPS, NAMESPACE, body)
        return CorruptLedger

    @pytest.mark.parametrize("how", ["forbidden", "corrupt"])
    async def test_an_account_that_cannot_be_written_holds_up_a_trial_but_no_deletion(self, how: str) -> None:
        bench = Bench()
        record, trial = await bench.begin()
        error = await self.spoil(bench, how)
        with pytest.raises(error):
            await bench.actor.act(record, (self.entry(trial, required=True),))
        await bench.actor.act(record, (self.entry(trial, required=False), ReleaseTrial(trial)))
        assert not (await bench.ledger.trial(NAMESPACE, trial.name)).finalized
        await bench.events.flush()
        (event,) = await bench.cluster.list(kinds.EVENTS, NAMESPACE)
        assert (event["reason"], event["type"]) == ("SpendingNotRecorded", "Warning")

    async def test_a_trial_that_cannot_be_read_is_let_go(self) -> None:
        bench = Bench()
        record, trial = await bench.begin()
        found = await bench.cluster.get(kinds.TRIALS, NAMESPACE, trial.name)
        await bench.cluster.replace(
            kinds.TRIALS, NAMESPACE, trial.name, {**found, "status": {"phase": "Levitating"}}, subresource="status"
        )
        (broken,) = (await bench.ledger.trials(record)).broken
        await bench.actor.act(record, (ReleaseTrial(broken),))
        (free,) = (await bench.ledger.trials(record)).broken
        assert not free.finalized

    async def test_what_is_gone_needs_no_release(self) -> None:
        bench = Bench()
        record, trial = await bench.begin()
        gone = BrokenTrial("nobody", NAMESPACE, "x", "1", "", True, True)
        await bench.actor.act(record, (ReleaseTrial(gone), ReleaseTrial(replace(trial, name="nobody"))))
        with pytest.raises(NotFound):
            await bench.ledger.trial(NAMESPACE, "nobody")
