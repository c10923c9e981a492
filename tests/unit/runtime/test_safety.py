"""The safety loop over faked ports, in virtual time: each rule end to end, and nothing that is slow delays another."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from tests.contract.safety import GONE_SECONDS, PROMISES, Promise, check
from tests.unit.control.builders import spec
from tests.unit.runtime.shop import MONTH, NAMESPACE, RATE, SERVICE_RATE, START, Shop

from trimtab.domain import kinds
from trimtab.domain.errors import ApiError, CorruptLedger, Forbidden, LeadershipLost, NotFound, Unavailable
from trimtab.domain.kinds import Kind
from trimtab.domain.measurement import Arm
from trimtab.domain.names import (
    ANNOTATION_PAUSE,
    ANNOTATION_ROLLBACK,
    ANNOTATION_SKIP,
    LABEL_ARM,
    arm_name,
)
from trimtab.domain.spec import BurnPair, ExperimentSpec, SafetySpec
from trimtab.domain.state import BudgetState
from trimtab.domain.trial import Outcome, Spent, Trial, TrialPhase
from trimtab.ports import Steps
from trimtab.runtime.safety import LEAST_AGE, UNREAD_SECONDS
from trimtab.runtime.spending import account_name
from trimtab.runtime.withdraw import STUCK_SECONDS
from trimtab.simulate.cluster import Effect
from trimtab.workload.faults import FaultKind

pytestmark = pytest.mark.looptime(noop_cycles=0)  # no I/O to wait for: time may jump at once

TICK = spec().safety.check_interval
OFTEN = spec(safety=SafetySpec(0.95, 1.0, 60.0))
SOON = TICK + GONE_SECONDS
OOM = {"lastState": {"terminated": {"reason": "OOMKilled"}}, "restartCount": 1}


async def strike(shop: Shop, trial: Trial, promise: Promise) -> None:
    """Play the fault of a promise."""
    for arm in promise.arms:
        name = arm_name(trial.experiment_uid, trial.index, arm)
        match promise.fault:
            case FaultKind.OOM:
                await shop.pod_status(trial, arm, **OOM)
            case FaultKind.CRASH_LOOP:
                waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
                await shop.pod_status(trial, arm, ready=False, state=waiting, restartCount=3)
            case FaultKind.NOT_READY:
                await shop.pod_status(trial, arm, ready=False)
            case FaultKind.EVICT:
                await shop.cluster.delete(kinds.PODS, NAMESPACE, f"{name}-5d4-abcde", grace_seconds=30)
            case FaultKind.ERRORS:
                shop.flow(trial, arm).turns(shop.clock.now(), 0.5)
            case FaultKind.SCRAPE_MISSING:
                shop.store.hidden.add(name)
            case _:
                raise AssertionError(f"nobody plays {promise.fault}")


def of(shop: Shop, name: str, **labels: str) -> float:
    """A sample of the operator's own metrics; 0 when there is none."""
    return shop.metrics.registry.get_sample_value(f"trimtab_{name}", labels) or 0.0


async def events(shop: Shop) -> list[str]:
    await shop.events.flush()
    return [e["reason"] for e in await shop.cluster.list(kinds.EVENTS, NAMESPACE)]


def outcome(shop: Shop, trial: Trial) -> Outcome:
    found = shop.stored(trial).outcome
    assert found is not None
    return found


class TestEveryRule:
    @pytest.mark.parametrize("promise", PROMISES, ids=str)
    async def test_what_is_promised_about_faults_of_arms(self, promise: Promise) -> None:
        shop = Shop()
        trial = await shop.begin()
        async with shop.watched():
            await shop.clock.sleep(30.0)
            assert shop.stored(trial).phase is TrialPhase.MEASURING
            await strike(shop, trial, promise)
            within = SOON if promise.hard else spec().safety.stale_after + SOON
            await shop.ended(trial, within)
            assert not await shop.serves(trial)
            check(promise, shop.stored(trial))
            assert shop.withdrawn == ["web"]
            assert await shop.cluster.list(kinds.DEPLOYMENTS, NAMESPACE, labels=LABEL_ARM) == ()
            assert await events(shop) == ["TrialWithdrawn"]

    async def test_a_healthy_trial_is_left_alone(self) -> None:
        shop = Shop()
        trial = await shop.begin()
        async with shop.watched():
            await shop.clock.sleep(600.0)
            assert shop.stored(trial).outcome is None
            assert await shop.serves(trial)
            assert shop.loop.age() <= TICK

    async def test_a_rule_of_the_sequential_test_alone(self) -> None:
        """Nearly three times the control's errors, at a bound that no window breaks clearly."""
        about = spec(constraints=tuple(replace(c, abort=None) for c in spec().constraints))
        shop = Shop()
        trial = await shop.begin(about=about)
        shop.flow(trial).turns(START, 0.03)
        shop.flow(trial, Arm.CONTROL).turns(START, 0.011)
        async with shop.watched():
            await shop.ended(trial, 300.0)
            assert of(shop, "slo_evalue", namespace=NAMESPACE, experiment="web", sli="errors") > 1
            assert of(shop, "slo_evalue_limit", namespace=NAMESPACE, experiment="web", sli="errors") == 100
            await shop.clock.sleep(2 * TICK)  # nothing of the trial is left, and nothing of its test
            assert of(shop, "slo_evalue", namespace=NAMESPACE, experiment="web", sli="errors") == 0
        assert outcome(shop, trial).reason == "WorseThanControl"

    async def test_a_canary_that_is_clearly_good_is_told_of_until_a_rule_speaks_against_it(self) -> None:
        named = replace(spec().constraints[0], max_error_ratio=3.0)
        about = spec(constraints=(named,), trial=replace(spec().trial, early_success=True))
        shop = Shop()
        trial = await shop.begin(about=about)
        for arm in (Arm.CANARY, Arm.CONTROL):
            shop.flow(trial, arm).turns(START, 0.004)
        async with shop.watched():
            await shop.clock.sleep(15.0)
            assert shop.shown.until(trial.uid) is None
            await shop.clock.sleep(200.0)
            until = shop.shown.until(trial.uid)
            assert until is not None
            assert shop.clock.now() - 20 < until <= shop.clock.now()
            shop.flow(trial).turns(shop.clock.now(), 0.5)
            await shop.ended(trial, 60.0)
        assert outcome(shop, trial).phase is TrialPhase.INFEASIBLE
        assert shop.shown.until(trial.uid) is None

    async def test_the_gate_closes_for_a_live_trial(self) -> None:
        pairs = (BurnPair(60.0, 300.0, 14.4),)
        about = spec(budgets=(replace(spec().budgets[0], rollback_on_burn=pairs),))
        shop = Shop()
        trial = await shop.begin(about=about)
        async with shop.watched():
            await shop.clock.sleep(20.0)
            shop.store.flows["web"].turns(shop.clock.now(), 0.9)  # the service itself, not the canary
            await shop.ended(trial, 120.0)
        assert (outcome(shop, trial).phase, outcome(shop, trial).reason) == (TrialPhase.ABORTED, "BudgetBurning")
        assert outcome(shop, trial).subject == "availability"
        told = shop.stored(trial).evidence
        assert [line.split(":")[0] for line in told[:4]] == [
            f"availability over {w}" for w in ("1m", "5m", "6h", "720h")
        ]
        assert all(re.search(r": [\d,]+ of [\d,]+ events bad, burn rate \d+\.\d$", line) for line in told[:4]), told

    async def test_a_burn_that_nobody_would_notice_is_being_blind(self) -> None:
        """The store answers about the canary, and not about the hours of the whole service."""
        pairs = (BurnPair(60.0, 300.0, 14.4),)
        about = spec(budgets=(replace(spec().budgets[0], rollback_on_burn=pairs, pause_on_burn=None),))
        shop = Shop()
        state = {"budgets": (BudgetState("availability", 0.9, 0.0, 0.0, 0.0, allowed_bad=1e9),)}
        trial = await shop.begin(about=about, state=state)
        async with shop.watched():
            await shop.clock.sleep(60.0)
            shop.store.slow["web"] = 1000.0
            stale_after = about.safety.stale_after
            assert await shop.ended(trial, stale_after + 2 * SOON) >= stale_after
        assert (outcome(shop, trial).phase, outcome(shop, trial).reason) == (TrialPhase.INCONCLUSIVE, "TelemetryBlind")
        assert "availability: its last 5m are not known: no answer" in outcome(shop, trial).message

    async def test_a_gap_in_what_is_known_of_a_burn_is_bridged(self) -> None:
        pairs = (BurnPair(60.0, 300.0, 14.4),)
        about = spec(budgets=(replace(spec().budgets[0], rollback_on_burn=pairs, pause_on_burn=None),))
        shop = Shop()
        trial = await shop.begin(about=about)
        async with shop.watched():
            for _ in range(5):
                await shop.clock.sleep(30.0)
                shop.store.slow["web"] = 1000.0
                await shop.clock.sleep(about.safety.stale_after - SOON)
                shop.store.slow.clear()
            assert shop.stored(trial).outcome is None

    async def test_the_deadline(self) -> None:
        shop = Shop()
        trial = await shop.begin(deadline=START + 60.0)
        async with shop.watched():
            await shop.ended(trial, 60.0 + SOON)
        assert outcome(shop, trial).reason == "DeadlinePassed"

    @pytest.mark.parametrize(
        ("annotation", "value", "reason"),
        [
            (ANNOTATION_PAUSE, "anna: incident", "OnCallPause"),
            (ANNOTATION_ROLLBACK, "", "OnCallRollback"),
            (ANNOTATION_SKIP, "0", "Skipped"),
        ],
    )
    async def test_people_are_obeyed_while_prometheus_is_down(self, annotation: str, value: str, reason: str) -> None:
        shop = Shop()
        trial = await shop.begin()
        async with shop.watched():
            await shop.clock.sleep(20.0)
            shop.store.down = shop.clock.now()
            record = shop.rows.experiments["web"]
            shop.rows.experiments["web"] = replace(record, annotations=((annotation, value),))
            await shop.ended(trial, SOON)
        assert (outcome(shop, trial).phase, outcome(shop, trial).reason) == (TrialPhase.ABORTED, reason)

    async def test_a_kill_switch_on_the_namespace(self) -> None:
        shop = Shop()
        trial = await shop.begin()
        async with shop.watched():
            found = await shop.cluster.get(kinds.NAMESPACES, None, NAMESPACE)
            body = {**found, "metadata": {**found["metadata"], "annotations": {ANNOTATION_PAUSE: "maintenance"}}}
            await shop.cluster.replace(kinds.NAMESPACES, None, NAMESPACE, body)
            await shop.ended(trial, SOON)
        assert outcome(shop, trial).reason == "NamespacePaused"

    async def test_a_deleted_experiment(self) -> None:
        shop = Shop()
        trial = await shop.begin()
        async with shop.watched():
            shop.rows.experiments["web"] = replace(shop.rows.experiments["web"], deleting=True)
            await shop.ended(trial, SOON)
        assert outcome(shop, trial).reason == "ExperimentDeleted"

    async def test_a_spec_that_cannot_be_read_protects_nothing(self) -> None:
        shop = Shop()
        trial = await shop.begin()
        async with shop.watched():
            record = shop.rows.experiments["web"]
            shop.rows.experiments["web"] = replace(
                record, spec=None, problem_reason="InvalidSpec", problem="a downgrade"
            )
            await shop.ended(trial, SOON)
        assert (outcome(shop, trial).phase, outcome(shop, trial).reason) == (TrialPhase.STALE, "InvalidSpec")


class TestTelemetry:
    @pytest.mark.parametrize("scrape", [1.0, 15.0, 30.0])
    @pytest.mark.thorough
    async def test_a_store_that_is_well_is_never_taken_for_blind(self, scrape: float) -> None:
        """Windows of two scrapes, read a scrape later, lag behind by more than staleAfter at 20 s and more."""
        shop = Shop(scrape=scrape)
        trial = await shop.begin()
        async with shop.watched():
            await shop.clock.sleep(900.0)
            assert shop.stored(trial).outcome is None

    @pytest.mark.parametrize("scrape", [1.0, 15.0, 30.0])
    async def test_blind_for_longer_than_stale_after(self, scrape: float) -> None:
        shop = Shop(scrape=scrape)
        trial = await shop.begin()
        async with shop.watched():
            await shop.clock.sleep(200.0)
            shop.store.down = shop.clock.now()
            took = await shop.ended(trial, 60.0 + SOON)
            assert took >= 60.0 - scrape
        assert outcome(shop, trial).reason == "TelemetryBlind"
        assert "not reachable" in outcome(shop, trial).message

    async def test_a_store_that_hangs_hides_nothing(self) -> None:
        """Every answer takes until its time-out, and the canary is withdrawn in time all the same."""
        shop = Shop()
        trial = await shop.begin()
        async with shop.watched():
            await shop.clock.sleep(60.0)
            shop.store.slow[arm_name(trial.experiment_uid, 0, Arm.CANARY)] = 1000.0
            await shop.ended(trial, 60.0 + SOON)
        assert outcome(shop, trial).reason == "TelemetryBlind"

    async def test_a_canary_that_serves_before_its_control_is_watched(self) -> None:
        """The control waits for a node: half an hour of a deployment may go by."""
        shop = Shop()
        trial = await shop.begin(phase=TrialPhase.DEPLOYING)
        async with shop.watched():
            await shop.clock.sleep(120.0)
            assert shop.stored(trial).outcome is None
            shop.store.hidden.add(arm_name(trial.experiment_uid, 0, Arm.CANARY))
            await shop.ended(trial, 60.0 + SOON)
        assert outcome(shop, trial).reason == "TelemetryBlind"

    async def test_a_restart_in_the_middle_judges_the_same_windows_again(self) -> None:
        shop = Shop()
        trial = await shop.begin()
        shop.flow(trial).turns(START + 100.0, 0.5)
        async with shop.watched():
            await shop.clock.sleep(104.0)
            assert shop.stored(trial).outcome is None
        shop.loop = shop.new_loop()
        async with shop.watched():
            await shop.ended(trial, 30.0)
        assert outcome(shop, trial).reason in {"AbortRule", "WorseThanControl"}

    async def test_what_was_shown_so_far_is_kept_with_the_withdrawn_trial(self) -> None:
        shop = Shop()
        trial = await shop.begin()
        async with shop.watched():
            await shop.clock.sleep(60.0)
            await shop.pod_status(trial, Arm.CANARY, **OOM)
            await shop.ended(trial, SOON)
        ended = shop.stored(trial)
        assert {(m.sli, m.arm) for m in ended.measurements} == {("errors", Arm.CANARY), ("errors", Arm.CONTROL)}
        assert ended.spent[0].total >= 5000
        begun = ended.times.measuring
        assert begun is not None
        assert all(m.window.start >= begun for m in ended.measurements)  # a cold start is no measurement

    async def test_what_was_spent_is_written_now_and_then(self) -> None:
        shop = Shop()
        trial = await shop.begin()
        shop.flow(trial).turns(START, 0.005)
        async with shop.watched():
            await shop.clock.sleep(40.0)
            (spent,) = shop.stored(trial).spent
            assert spent.bad > 0
            assert shop.rows.writes <= 4


class TestHistory:
    """How errors cluster on the target's pods."""

    def calm(self) -> Steps:
        """20 pods, a minute's 6,000 requests each, independent errors of about 1 %."""
        rng = random.Random(5)
        return tuple(tuple((rng.gauss(60, 60**0.5), 6000.0) for _ in range(20)) for _ in range(360))

    async def found(self, past: Steps) -> tuple[Shop, float]:
        """After how many seconds a canary with nearly thrice the control's errors is withdrawn."""
        about = spec(constraints=tuple(replace(c, abort=None) for c in spec().constraints))
        shop = Shop()
        shop.store.past = past
        trial = await shop.begin(about=about)
        shop.flow(trial).turns(START, 0.03)
        shop.flow(trial, Arm.CONTROL).turns(START, 0.011)
        async with shop.watched():
            seconds = await shop.ended(trial, 300.0)
        assert outcome(shop, trial).reason == "WorseThanControl"
        assert any("overdispersion" in line for line in shop.stored(trial).evidence)
        return shop, seconds

    async def test_independent_errors_are_evidence_sooner(self) -> None:
        known, sooner = await self.found(self.calm())
        unknown, later = await self.found(())
        assert 2 * sooner < later
        assert (known.store.histories, unknown.store.histories) == (1, 1)  # not with every tick

    async def test_a_store_that_does_not_answer_is_asked_a_few_times(self) -> None:
        shop = Shop()
        shop.store.slow["web"] = 1000.0
        state = {"budgets": (BudgetState("availability", 0.9, 0.0, 0.0, 0.0, allowed_bad=1e9),)}
        never_pauses = (replace(spec().budgets[0], pause_on_burn=None),)
        trial = await shop.begin(about=spec(budgets=never_pauses), state=state)
        async with shop.watched():
            await shop.clock.sleep(120.0)
            assert shop.stored(trial).outcome is None
        assert shop.store.histories == 3


SHARE = 20_000.0  # bad events that experiments may cause


def capped(safety: SafetySpec | None = None) -> ExperimentSpec:
    """Only the cap speaks: neither a bound nor the control's errors do."""
    calm = tuple(replace(c, maximum=0.9, abort=None) for c in spec().constraints)
    share = SHARE / (SERVICE_RATE * MONTH * 0.01)  # of a budget of 1 %
    budget = replace(spec().budgets[0], experiment_share=share, pause_on_burn=None)
    return spec(constraints=calm, budgets=(budget,), safety=safety or spec().safety)


def known(allowed: float | None) -> dict[str, Any]:
    """What a status holds of the budget."""
    return {"budgets": (BudgetState("availability", 0.9, 0.0, 0.0, 0.0, allowed_bad=allowed),)}


def failing(shop: Shop, trial: Trial, at: float = START) -> None:
    for arm in (Arm.CANARY, Arm.CONTROL):
        shop.flow(trial, arm).turns(at, 0.9)


class TestCap:
    async def test_it_closes_before_the_share_is_spent(self) -> None:
        shop = Shop()
        trial = await shop.begin(about=capped())
        failing(shop, trial)
        async with shop.watched():
            await shop.ended(trial, 400.0)
        assert outcome(shop, trial).reason == "ExperimentCapReached"
        assert 0.5 * SHARE <= shop.flow(trial).bad_until(shop.clock.now()) <= SHARE

    @pytest.mark.parametrize("seed", [0, 1, 2, *(pytest.param(s, marks=pytest.mark.thorough) for s in range(3, 12))])
    async def test_it_holds_when_prometheus_stops_at_any_moment(self, seed: int) -> None:
        """A canary that turns bad, and a store that goes at about the same time; any scrape interval."""
        rng = random.Random(seed)
        shop = Shop(scrape=rng.choice([1.0, 15.0, 30.0]))
        trial = await shop.begin(about=capped(SafetySpec(0.95, rng.choice([2.0, 5.0, 10.0]), 60.0)))
        failing(shop, trial, START + rng.uniform(0, 120))
        shop.store.down = START + rng.uniform(20, 240)
        shop.store.up = shop.store.down + rng.choice([20.0, 90.0, 1e9])
        async with shop.watched():
            await shop.ended(trial, 600.0)
            await shop.clock.sleep(5.0)
        assert outcome(shop, trial).reason in {"ExperimentCapReached", "TelemetryBlind"}
        assert shop.flow(trial).bad_until(shop.clock.now()) <= SHARE, f"seed {seed}"

    async def test_a_budget_that_cannot_be_read_is_taken_as_last_known(self) -> None:
        """The month is too much for the store; the status knows what it allowed when the trial began."""
        shop = Shop()
        trial = await shop.begin(about=capped(), state=known(SERVICE_RATE * MONTH * 0.01))
        shop.store.slow["web"] = 1000.0
        failing(shop, trial)
        async with shop.watched():
            await shop.ended(trial, 400.0)
        assert outcome(shop, trial).reason == "ExperimentCapReached"
        assert shop.flow(trial).bad_until(shop.clock.now()) <= SHARE

    async def test_nobody_knows_the_share_is_being_blind(self) -> None:
        shop = Shop()
        trial = await shop.begin(about=capped(), state=known(None))
        shop.store.slow["web"] = 1000.0
        async with shop.watched():
            await shop.ended(trial, 60.0 + SOON)
        assert (outcome(shop, trial).phase, outcome(shop, trial).reason) == (TrialPhase.INCONCLUSIVE, "TelemetryBlind")
        assert "availability: nobody knows" in outcome(shop, trial).message

    async def test_an_account_that_cannot_be_read_does_not_open_the_cap(self) -> None:
        shop = Shop()
        trial = await shop.begin(about=capped(), state=known(SERVICE_RATE * MONTH * 0.01))
        body = {"metadata": {"name": account_name("target-uid")}, "data": {"spending.json": "{"}}
        await shop.cluster.create(kinds.CONFIG_MAPS, NAMESPACE, body)
        failing(shop, trial)
        async with shop.watched():
            await shop.ended(trial, 400.0)
        assert outcome(shop, trial).reason == "ExperimentCapReached"

    async def test_what_was_counted_is_on_record_at_least_once_a_minute(self) -> None:
        """What lies between the record and a crash counts as bad when the store is gone, too."""
        shop = Shop()
        trial = await shop.begin()
        async with shop.watched():
            await shop.clock.sleep(300.0)
            (spent,) = shop.stored(trial).spent
        assert (spent.bad, spent.rate) == (0.0, pytest.approx(RATE))
        assert spent.until is not None
        assert shop.clock.now() - spent.until <= 60.0 + 2 * TICK
        assert 4 <= shop.rows.writes <= 6

    async def test_from_when_on_a_canary_served_alone_is_on_record(self) -> None:
        shop = Shop()
        trial = await shop.begin(phase=TrialPhase.DEPLOYING)
        shop.store.down = START
        async with shop.watched():
            await shop.clock.sleep(20.0)
            (spent,) = shop.stored(trial).spent
        assert spent.until == START
        assert spent.rate == pytest.approx(RATE)


class TestManyTrials:
    async def test_a_slow_answer_about_one_trial_delays_no_other(self) -> None:
        """One store hangs; the OOM of another trial is found within its second, and ticks are on time."""
        shop = Shop()
        slow = await shop.begin("slow")
        shop.store.slow[arm_name(slow.experiment_uid, 0, Arm.CANARY)] = 9.0
        others = [await shop.begin(f"web-{n}", about=OFTEN) for n in range(8)]
        async with shop.watched():
            await shop.clock.sleep(20.3)
            await shop.pod_status(others[5], Arm.CANARY, **OOM)
            took = await shop.ended(others[5], 2.0)
            assert took <= 1.5
            await shop.clock.sleep(10.0)
            assert {shop.stored(t).outcome for t in (*others[:5], *others[6:], slow)} == {None}
        late = shop.metrics.registry.get_sample_value("trimtab_safety_tick_lateness_seconds_sum")
        ticks = shop.metrics.registry.get_sample_value("trimtab_safety_tick_lateness_seconds_count")
        assert ticks is not None
        assert ticks >= 25
        assert late is not None
        assert late <= 0.1

    async def test_every_trial_is_asked_about_at_its_own_interval(self) -> None:
        shop = Shop()
        calm, often = await shop.begin("calm"), await shop.begin("often", about=OFTEN)
        async with shop.watched():
            await shop.clock.sleep(100.0)
        few, many = (shop.store.asked.count(arm_name(t.experiment_uid, 0, Arm.CANARY)) for t in (calm, often))
        assert many >= 3 * few
        assert few >= 3 * 19

    async def test_a_withdrawal_that_is_stuck_stops_nothing_and_pages(self) -> None:
        """Its endpoints stay ready; meanwhile the heart beats, another trial is withdrawn, and somebody is told."""
        shop = Shop()
        stuck, other = await shop.begin("stuck"), await shop.begin("other")
        for arm in (Arm.CANARY, Arm.CONTROL):
            shop.stuck_endpoints.add(arm_name(stuck.experiment_uid, 0, arm))

        async def keep(effect: Effect) -> None:
            if effect.verb == "delete" and effect.kind is kinds.PODS and effect.name.startswith("tt-00000000"):
                raise Unavailable(0, "no answer")

        shop.cluster.before_effect = keep
        async with shop.watched():
            await shop.clock.sleep(20.0)
            await shop.pod_status(stuck, Arm.CANARY, **OOM)
            await shop.clock.sleep(STUCK_SECONDS / 2)
            assert of(shop, "rollbacks_stuck", namespace=NAMESPACE, experiment="stuck") == 0
            await shop.pod_status(other, Arm.CANARY, **OOM)
            assert await shop.ended(other, SOON) <= SOON
            await shop.clock.sleep(3 * STUCK_SECONDS)
            assert shop.loop.age() <= TICK
            assert of(shop, "rollbacks_stuck", namespace=NAMESPACE, experiment="stuck") == 1
            assert of(shop, "rollback_open_seconds", namespace=NAMESPACE, experiment="stuck") >= 3 * STUCK_SECONDS
            assert (await events(shop)).count("RollbackStuck") == 1
            assert shop.stored(stuck).outcome is None
            shop.cluster.before_effect = None
            shop.stuck_endpoints.clear()
            await shop.ended(stuck, SOON)
            await shop.clock.sleep(2 * TICK)
            assert of(shop, "rollbacks_stuck", namespace=NAMESPACE, experiment="stuck") == 0
            assert of(shop, "rollback_open_seconds", namespace=NAMESPACE, experiment="stuck") == 0
        assert outcome(shop, stuck).reason == "OOMKilled"
        assert shop.withdrawn == ["other", "stuck"]


class TestWhatIsTold:
    """The metrics of what is in the traffic, which pages are made of."""

    WEB: ClassVar[dict[str, str]] = {"namespace": NAMESPACE, "experiment": "web"}

    async def test_a_healthy_trial(self) -> None:
        shop = Shop()
        trial = await shop.begin()
        for arm in (Arm.CANARY, Arm.CONTROL):
            shop.flow(trial, arm).turns(START, 0.01)
        async with shop.watched():
            await shop.clock.sleep(60.0)
            assert of(shop, "live_trials", **self.WEB) == 1
            assert 0 < of(shop, "blind_seconds", **self.WEB) <= TICK + 2
            assert of(shop, "stale_after_seconds", **self.WEB) == 60
            for told in ("canary", "control"):
                assert of(shop, "sli_value", sli="errors", arm=told, **self.WEB) == pytest.approx(0.01, abs=1e-3)
            assert of(shop, "arms_without_trial", **self.WEB) == 0
            assert of(shop, "rollback_open_seconds", **self.WEB) == 0

    async def test_blindness_grows_until_the_canary_is_gone(self) -> None:
        shop = Shop()
        trial = await shop.begin()
        async with shop.watched():
            await shop.clock.sleep(20.0)
            shop.store.hidden.add(arm_name(trial.experiment_uid, 0, Arm.CANARY))
            await shop.clock.sleep(50.0)
            assert 40 <= of(shop, "blind_seconds", **self.WEB) <= 60
            await shop.ended(trial, spec().safety.stale_after)
            await shop.clock.sleep(2 * TICK)
            assert of(shop, "blind_seconds", **self.WEB) == 0

    async def test_what_cannot_be_listed_any_more_grows_older_all_the_same(self) -> None:
        """The API server goes away in the middle of a rollback: the page must come by the clock, not by a tick."""
        shop = Shop()
        trial = await shop.begin()
        served = shop.cluster.list

        async def keep(effect: Effect) -> None:
            if effect.verb == "delete":
                raise Unavailable(0, "no answer")

        async def away(*_: Any, **__: Any) -> Any:
            raise Unavailable(0, "no answer")

        async with shop.watched():
            await shop.clock.sleep(20.0)
            shop.cluster.before_effect = keep
            await shop.pod_status(trial, Arm.CANARY, **OOM)
            await shop.clock.sleep(2 * TICK)
            shop.cluster.list = away  # type: ignore[method-assign]
            await shop.clock.sleep(2 * STUCK_SECONDS)
            assert of(shop, "rollback_open_seconds", **self.WEB) > 2 * STUCK_SECONDS
            assert of(shop, "rollbacks_stuck", **self.WEB) == 1
            shop.cluster.before_effect, shop.cluster.list = None, served  # type: ignore[method-assign]
            await shop.ended(trial, SOON)
            await shop.clock.sleep(2 * TICK)
            assert of(shop, "rollbacks_stuck", **self.WEB) == 0
            assert shop.loop.age() <= TICK

    async def test_an_arm_whose_trial_is_gone_is_told_while_it_cannot_be_removed(self) -> None:
        shop = Shop()
        trial = await shop.begin()

        async def keep(effect: Effect) -> None:
            if effect.verb == "delete":
                raise Unavailable(0, "no answer")

        shop.cluster.before_effect = keep
        del shop.rows.trials[trial.name]
        async with shop.watched():
            await shop.clock.sleep(60.0)
            assert of(shop, "arms_without_trial", **self.WEB) == 1
            assert of(shop, "live_trials", **self.WEB) == 1  # it is in the traffic all the same
            shop.cluster.before_effect = None
            await shop.clock.sleep(2 * TICK)
            assert of(shop, "arms_without_trial", **self.WEB) == 0
            assert of(shop, "live_trials", **self.WEB) == 0


def meanwhile(shop: Shop, written: Trial) -> Callable[[Effect], Awaitable[None]]:
    """Before the first pod is deleted, somebody else writes."""

    async def write(effect: Effect) -> None:
        if effect.kind is kinds.PODS and shop.stored(written).phase is not written.phase:
            shop.rows.store(written)

    return write


class TestWrites:
    async def test_an_outcome_goes_on_top_of_what_somebody_wrote_meanwhile(self) -> None:
        shop = Shop()
        trial = await shop.begin(phase=TrialPhase.WARMING_UP)
        async with shop.watched():
            await shop.clock.sleep(7.0)
            await shop.pod_status(trial, Arm.CANARY, **OOM)
            times = replace(trial.times, measuring=shop.clock.now())
            shop.cluster.before_effect = meanwhile(shop, replace(trial, phase=TrialPhase.MEASURING, times=times))
            await shop.ended(trial, SOON)
        assert shop.stored(trial).times.measuring is not None
        assert outcome(shop, trial).reason == "OOMKilled"

    async def test_what_a_canary_spent_never_shrinks_on_record(self) -> None:
        """Somebody counted more between the decision and its record: another leader, or this one a moment later."""
        shop = Shop()
        trial = await shop.begin(phase=TrialPhase.WARMING_UP)
        async with shop.watched():
            await shop.clock.sleep(7.0)
            await shop.pod_status(trial, Arm.CANARY, **OOM)
            counted = (Spent("errors", 1e6, 1e7, until=shop.clock.now()),)
            times = replace(trial.times, measuring=shop.clock.now())
            written = replace(trial, phase=TrialPhase.MEASURING, times=times, spent=counted)
            shop.cluster.before_effect = meanwhile(shop, written)
            await shop.ended(trial, SOON)
        (spent,) = shop.stored(trial).spent
        assert (spent.bad, spent.total) == (1e6, 1e7)

    async def test_a_trial_that_ended_by_itself_keeps_its_outcome(self) -> None:
        shop = Shop()
        trial = await shop.begin()
        done = Outcome(TrialPhase.SUCCEEDED, "Measured", "fine")
        async with shop.watched():
            await shop.clock.sleep(7.0)
            await shop.pod_status(trial, Arm.CANARY, **OOM)
            shop.cluster.before_effect = meanwhile(shop, replace(trial, phase=TrialPhase.DRAINING, outcome=done))
            await shop.clock.sleep(2 * SOON)
        assert outcome(shop, trial) == done
        assert await events(shop) == []

    async def test_arms_without_a_trial_go(self) -> None:
        shop = Shop()
        trial = await shop.begin()
        del shop.rows.trials[trial.name]
        async with shop.watched():
            await shop.clock.sleep(SOON)
            assert not await shop.serves(trial)

    async def test_arms_of_an_experiment_that_is_gone_go(self) -> None:
        shop = Shop()
        trial = await shop.begin()
        del shop.rows.experiments["web"]
        async with shop.watched():
            await shop.clock.sleep(SOON)
            assert not await shop.serves(trial)


class TestApiErrors:
    async def test_one_trial_that_cannot_be_read_for_a_moment(self) -> None:
        shop = Shop()
        trial, other = await shop.begin(), await shop.begin("other")
        async with shop.watched():
            await shop.clock.sleep(6.0)
            shop.rows.problems[trial.name] = Unavailable(503, "try again")
            await shop.clock.sleep(UNREAD_SECONDS - 2 * TICK)
            assert shop.loop.age() > TICK  # not every live trial was judged
            await shop.pod_status(other, Arm.CANARY, **OOM)
            await shop.ended(other, SOON)
            shop.rows.problems.clear()
            await shop.clock.sleep(2 * TICK)
            assert shop.loop.age() <= TICK
            assert await shop.serves(trial)
            assert shop.stored(trial).outcome is None

    @pytest.mark.parametrize("what", ["trial", "experiment"])
    async def test_one_that_stays_unreadable_loses_its_arms_and_not_the_leader(self, what: str) -> None:
        shop = Shop()
        trial = await shop.begin()
        async with shop.watched() as task:
            await shop.clock.sleep(6.0)
            shop.rows.problems[trial.name if what == "trial" else "web"] = Forbidden(403, "no right")
            oldest = 0.0
            for _ in range(100):
                await shop.clock.sleep(1.0)
                oldest = max(oldest, shop.loop.age() / shop.loop.age_limit())
            assert not await shop.serves(trial)
            assert not task.done()
        assert oldest < 1

    async def test_a_corrupted_trial_loses_its_arms_at_once(self) -> None:
        shop = Shop()
        trial = await shop.begin()
        async with shop.watched():
            shop.rows.problems[trial.name] = CorruptLedger("status.phase: not one of")
            await shop.clock.sleep(SOON)
            assert not await shop.serves(trial)

    async def test_no_list_no_heartbeat(self) -> None:
        shop = Shop()
        trial = await shop.begin()
        async with shop.watched() as task:
            await shop.clock.sleep(TICK)
            listed = shop.cluster.list

            async def refused(*_: object, **__: object) -> tuple[()]:
                raise Unavailable(0, "connection refused")

            shop.cluster.list = refused  # type: ignore[method-assign]
            await shop.clock.sleep(2 * LEAST_AGE)
            assert shop.loop.age() > shop.loop.age_limit()
            shop.cluster.list = listed  # type: ignore[method-assign]
            await shop.clock.sleep(2 * TICK)
            assert shop.loop.age() <= TICK
            assert not task.done()
            assert shop.stored(trial).outcome is None  # nobody looked; that is not the canary's fault


class TestNamespaces:
    """An install of several: none of them is a reason to leave the canaries of another one alone."""

    @pytest.mark.parametrize("answer", [Forbidden(403, "no right"), NotFound(404, "gone"), Unavailable(503, "down")])
    async def test_one_that_cannot_be_read_keeps_nobody_from_judging_the_others(self, answer: ApiError) -> None:
        shop = Shop(namespaces=["billing", NAMESPACE])
        trial = await shop.begin()
        listed = shop.cluster.list

        async def refused(kind: Kind, namespace: str | None, **more: Any) -> Any:
            if namespace == "billing":
                raise answer
            return await listed(kind, namespace, **more)

        shop.cluster.list = refused  # type: ignore[method-assign]
        async with shop.watched():
            await shop.clock.sleep(2 * TICK)
            waits_for_it = isinstance(answer, Unavailable)
            assert (shop.loop.age() > TICK) == waits_for_it
            assert shop.loop.judged_once.is_set() != waits_for_it
            assert of(shop, "unread_namespaces") == 1.0
            await shop.pod_status(trial, Arm.CANARY, **OOM)
            await shop.ended(trial, SOON)
            shop.cluster.list = listed  # type: ignore[method-assign]
            await shop.clock.sleep(2 * TICK)
            assert shop.loop.age() <= TICK
            assert of(shop, "unread_namespaces") == 0.0

    async def test_what_was_live_where_nobody_can_look_any_more_is_still_told_of(self) -> None:
        shop = Shop(namespaces=["billing", NAMESPACE])
        trial = await shop.begin()
        owner = {"namespace": NAMESPACE, "experiment": trial.experiment_name}
        listed = shop.cluster.list

        async def refused(kind: Kind, namespace: str | None, **more: Any) -> Any:
            if namespace == NAMESPACE:
                raise Forbidden(403, "no right")
            return await listed(kind, namespace, **more)

        async with shop.watched():
            await shop.clock.sleep(10 * TICK)
            shop.cluster.list = refused  # type: ignore[method-assign]
            await shop.clock.sleep(60.0)
            assert of(shop, "live_trials", **owner) == 1.0
            assert of(shop, "blind_seconds", **owner) >= 55.0

    async def test_a_copy_of_an_arm_in_another_one_does_not_hide_the_trial(self) -> None:
        shop = Shop(namespaces=["aaa", NAMESPACE])
        trial = await shop.begin()
        canary = next(
            p for p in await shop.cluster.list(kinds.PODS, NAMESPACE, labels=f"{LABEL_ARM}={Arm.CANARY.value}")
        )
        copied = {key: canary["metadata"][key] for key in ("labels", "annotations")}
        held = {"name": "copy", "finalizers": ["somebody.example/holds"], **copied}
        await shop.cluster.create(kinds.PODS, "aaa", {"metadata": held, "spec": canary["spec"]})
        async with shop.watched():
            await shop.clock.sleep(30.0)
            assert await shop.serves(trial)
            assert shop.stored(trial).outcome is None
            await shop.pod_status(trial, Arm.CANARY, **OOM)
            await shop.ended(trial, SOON)
            assert outcome(shop, trial).reason == "OOMKilled"


class TestSupervision:
    async def test_a_defect_in_a_tick_ends_the_loop(self) -> None:
        shop = Shop()
        trial = await shop.begin()
        async with shop.watched() as task:
            shop.rows.problems[trial.name] = ZeroDivisionError("a defect")
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(task, 10.0)

    async def test_a_defect_in_one_of_its_tasks_ends_it_at_once(self) -> None:
        shop = Shop()
        await shop.begin()
        async with shop.watched() as task:
            await shop.clock.sleep(TICK / 2)

            async def broken(*_: object, **__: object) -> tuple[()]:
                raise ZeroDivisionError("a defect")

            shop.store.read = broken  # type: ignore[method-assign]
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(task, TICK + 0.1)

    async def test_whoever_lost_the_lead_takes_nothing_away(self) -> None:
        shop = Shop()
        trial = await shop.begin()

        def lost() -> None:
            raise LeadershipLost("the Lease is somebody else's")

        async with shop.watched() as task:
            await shop.clock.sleep(7.0)
            shop.leads = lost
            await shop.pod_status(trial, Arm.CANARY, **OOM)
            await shop.clock.sleep(60.0)
            assert await shop.serves(trial)
            assert shop.loop.age() >= 60.0
            assert not task.done()
            shop.leads = lambda: None
            await shop.ended(trial, SOON)

    async def test_its_end_leaves_no_task_behind(self) -> None:
        shop = Shop()
        trial = await shop.begin()
        shop.store.slow[arm_name(trial.experiment_uid, 0, Arm.CANARY)] = 1000.0
        before = asyncio.all_tasks()
        async with shop.watched():
            await shop.clock.sleep(7.0)
            assert len(asyncio.all_tasks() - before) > 2
        assert asyncio.all_tasks() == before

    async def test_it_says_when_all_were_judged_for_the_first_time(self) -> None:
        shop = Shop()
        trial = await shop.begin()
        shop.rows.problems[trial.name] = Unavailable(503, "starting")
        async with shop.watched():
            await shop.clock.sleep(3.0)
            assert not shop.loop.judged_once.is_set()
            shop.rows.problems.clear()
            await asyncio.wait_for(shop.loop.judged_once.wait(), 5.0)
