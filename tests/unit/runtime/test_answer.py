"""Answers to what `decide` asks: loads with their errors, and one look at telemetry where no budget takes one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.control.builders import (
    BASELINE,
    NOW,
    arm,
    both_arms,
    experiment,
    measured,
    pod,
    proposal,
    running,
    snapshot,
    spec,
    study,
    trial,
)
from tests.unit.runtime.telemetry import Told
from tests.virtual import passes

from trimtab.adapters.clock import LoopClock
from trimtab.adapters.executor import InlineDesigner
from trimtab.adapters.ledger import KubernetesLedger
from trimtab.control.snapshot import (
    AskBudgets,
    AskLoads,
    AskMeasurements,
    AskProposal,
    BudgetReadings,
    LoadHistory,
    PresentLoad,
    Snapshot,
    TrialReadings,
)
from trimtab.domain.measurement import Absence, Arm, NoData, Reading, Sample, TelemetryError, Window
from trimtab.domain.names import arm_name
from trimtab.domain.space import Resource
from trimtab.domain.spec import ScalingQuery
from trimtab.domain.state import ScaledBy, TargetRecord
from trimtab.domain.study import Hold, HoldReason, NoAnswer, Proposal, Study
from trimtab.domain.trial import Load, Trial, TrialPhase
from trimtab.ports import Designer, PodSet, Steps, UseOf
from trimtab.runtime.answer import DAY, LATELY, PROBE_EVERY, Answerer, trial_pods
from trimtab.runtime.earlier import Earlier
from trimtab.runtime.spending import SpendingAccount
from trimtab.simulate.cluster import InMemoryCluster
from trimtab.slo.verdict import judge_trial

pytestmark = pytest.mark.looptime

LIVE = trial(TrialPhase.MEASURING)
NAMES = {arm: arm_name(LIVE.experiment_uid, LIVE.index, arm) for arm in (Arm.CANARY, Arm.CONTROL)}


def answerer(telemetry: Told, designer: Designer | None = None) -> Answerer:
    clock = LoopClock()
    cluster = InMemoryCluster(clock)
    earlier = Earlier(cluster, KubernetesLedger(cluster))
    return Answerer(telemetry, designer or InlineDesigner(), SpendingAccount(cluster), earlier, clock)


def served(canary: float, control: float, target: float, error: float) -> Told:
    """Requests per second of one canary pod, one control pod and the target's twenty."""

    def loads(pods: PodSet) -> Reading:
        rates = {NAMES[Arm.CANARY]: canary, NAMES[Arm.CONTROL]: control, "web": 20 * target}
        rate = rates[pods.workloads[0]]
        return Sample(rate, error * rate, 100 * rate)

    return Told(loads=loads)


async def measured_by(telemetry: Told) -> Trial:
    assert LIVE.window is not None
    seen = snapshot(None, (LIVE,), both_arms(LIVE))
    found = await answerer(telemetry).answer(AskMeasurements(LIVE.name, LIVE.window, False), seen)
    assert isinstance(found, TrialReadings)
    return replace(LIVE, measurements=measured(LIVE, 5), load=found.load)


class TestLoads:
    async def test_both_arms_and_the_target_with_their_errors(self) -> None:
        found = await measured_by(served(50.0, 52.0, 51.0, error=0.02))
        loads = {load.arm: load for load in found.load}
        assert {arm: load.rps_per_pod for arm, load in loads.items()} == {
            Arm.CANARY: 50.0,
            Arm.CONTROL: 52.0,
            Arm.TARGET: 51.0,
        }
        assert loads[Arm.CANARY].standard_error == pytest.approx(1.0)
        assert loads[Arm.TARGET].standard_error == pytest.approx(0.02 * 51)

    async def test_arms_whose_loads_differ_by_more_than_chance_are_not_compared(self) -> None:
        verdict = judge_trial(spec(), await measured_by(served(50.0, 70.0, 60.0, error=0.02)))
        assert getattr(verdict, "reason", "") == "ShareNotAchieved"

    async def test_by_chance_they_may_differ(self) -> None:
        verdict = judge_trial(spec(), await measured_by(served(50.0, 70.0, 60.0, error=0.15)))
        assert getattr(verdict, "reason", "") == "Measured"

    async def test_arms_that_get_little_beside_the_targets_pods_are_not_trusted(self) -> None:
        verdict = judge_trial(spec(), await measured_by(served(20.0, 20.0, 60.0, error=0.02)))
        assert getattr(verdict, "reason", "") == "ShareNotAchieved"

    async def test_what_cannot_be_read_is_left_out(self) -> None:
        assert (await measured_by(Told())).load == ()


class TestCountedPods:
    """An autoscaler decides how many pods an arm has: they are counted over the window."""

    def seen(self) -> Snapshot:
        assert LIVE.window is not None
        record = TargetRecord("target-uid", "hash-1", BASELINE, ScaledBy("web", 20, Resource.CPU, "", 0.6))
        return snapshot(experiment(running(target=record)), (LIVE,), both_arms(LIVE))

    async def loads(self, pods: Reading, *used: Reading) -> dict[Arm, Load]:
        told = served(60.0, 60.0, 50.0, error=0.02)
        answers, asked = iter(used), list[UseOf]()

        def use(_: PodSet, of: UseOf) -> Reading:
            asked.append(of)
            return next(answers, NoData("not told"))

        told.used = use
        told.reads = lambda r: pods if isinstance(r.sli.query, ScalingQuery) else NoData("not asked here")
        assert LIVE.window is not None
        found = await answerer(told).answer(AskMeasurements(LIVE.name, LIVE.window, False), self.seen())
        assert isinstance(found, TrialReadings)
        assert set(asked) <= {UseOf(Resource.CPU, "", spec().store)}
        return {load.arm: load for load in found.load}

    async def test_what_a_pod_used_of_what_the_autoscaler_goes_by(self) -> None:
        found = await self.loads(Sample(1.5, 0.2, 60.0), Sample(0.6, 0.01, 2.0), NoData("no cAdvisor"))
        assert (found[Arm.CANARY].use, found[Arm.CANARY].use_error) == (0.6, 0.01)
        assert (found[Arm.CONTROL].use, found[Arm.CONTROL].use_error) == (None, None)
        assert found[Arm.TARGET].use is None
        assert found[Arm.CANARY].pods == 1.5

    async def test_the_same_requests_by_more_pods_than_there_are_now(self) -> None:
        found = await self.loads(Sample(1.5, 0.2, 60.0))
        canary = found[Arm.CANARY]
        assert (canary.rps_per_pod, canary.pods, canary.pods_error) == (pytest.approx(40.0), 1.5, 0.2)
        assert canary.standard_error == pytest.approx(0.02 * 40.0)
        assert (found[Arm.TARGET].rps_per_pod, found[Arm.TARGET].pods) == (50.0, None)

    async def test_an_arm_that_cannot_be_counted_has_no_load(self) -> None:
        assert set(await self.loads(NoData("nothing"))) == {Arm.TARGET}


class TestProbe:
    def without_budgets(self) -> Snapshot:
        return snapshot(experiment(running(scrape_interval=20.0), spec=spec(budgets=())))

    async def asked(self, by: Answerer, seen: Snapshot) -> Reading | None:
        found = await by.answer(AskBudgets(), seen)
        assert isinstance(found, BudgetReadings)
        return found.probe

    async def test_without_budgets_one_sli_of_the_target_is_read(self) -> None:
        telemetry = Told(reads=lambda _: TelemetryError("down"))
        assert await self.asked(answerer(telemetry), self.without_budgets()) == TelemetryError("down")
        (request,) = telemetry.asked
        assert request.pods == PodSet("shop", ("web",))
        assert request.window.seconds == 80.0  # four scrapes

    async def test_with_budgets_too_as_their_sums_may_be_minutes_old(self) -> None:
        telemetry = Told(sums=lambda *_: Sample(0.001, 0.0001, 1e6, 1e3), reads=lambda _: TelemetryError("down"))
        by = answerer(telemetry)
        for _ in range(2):
            found = await by.answer(AskBudgets(), snapshot())
            assert all(isinstance(window.reading, Sample) for window in found.windows)
            assert found.probe == TelemetryError("down")

    async def test_passes_in_a_row_share_one_query_and_later_ones_ask_again(self) -> None:
        telemetry = Told()
        by, seen = answerer(telemetry), self.without_budgets()
        for _ in range(20):
            assert await self.asked(by, seen) == NoData("not told")
        assert len(telemetry.asked) == 1
        await passes(PROBE_EVERY + 0.1)
        await self.asked(by, seen)
        assert len(telemetry.asked) == 2


class TestHistory:
    """How much load the target had, now and at this time of the days before."""

    async def told(self, by: Told) -> LoadHistory:
        found = await answerer(by).answer(AskLoads(), snapshot())
        assert isinstance(found, LoadHistory)
        return found

    async def test_each_day_has_what_came_before_and_after_this_time_of_it(self) -> None:
        timing = spec().trial
        end = timing.warm_up + timing.duration
        rates = {(-LATELY, 0.0): 0.0, (-60.0, 0.0): 5.0, (0.0, end): 1.0, (end, end + timing.duration): 2.0}

        def sums(pods: PodSet, window: Window) -> Reading:
            assert pods == PodSet("shop", ("web",))
            day = round((NOW - window.start) / DAY)
            span = (round(window.start - NOW + day * DAY, 3), round(window.end - NOW + day * DAY, 3))
            return Sample(0.01, 0.001, (100.0 + 10 * day + rates[span]) * window.seconds, 1.0)

        found = await self.told(Told(sums=sums))
        assert found.now == pytest.approx(100.0)
        assert found.present == PresentLoad(pytest.approx(105.0), pytest.approx(105.0 - 3 * (105.0 / 60) ** 0.5))
        assert [pair for day in found.days for pair in day] == pytest.approx(
            [rate for day in range(1, 8) for rate in (100.0 + 10 * day, 102.0 + 10 * day)]
        )

    async def test_days_of_which_nothing_is_known_are_left_out(self) -> None:
        def sums(_: PodSet, window: Window) -> Reading:
            day = round((NOW - window.start) / DAY)
            return Sample(0.01, 0.001, 50.0 * window.seconds, 1.0) if day in (0, 2, 5) else NoData("not yet scraped")

        found = await self.told(Told(sums=sums))
        assert replace(found, present=PresentLoad()) == LoadHistory(50.0, ((50.0, 50.0), (50.0, 50.0)))
        assert await self.told(Told()) == LoadHistory()

    async def test_the_highest_ten_minutes_of_each_day_are_read_once_in_some_hours(self) -> None:
        asked: list[int] = []

        def past(window: Window) -> Steps | Absence:
            day = round((NOW - window.end) / DAY)
            asked.append(day)
            if day == 3:
                return NoData("not yet scraped")
            return (((0.0, 600.0), (0.0, 1200.0)), ((1.0, 6000.0 * (day + 1)),))  # two pods, then one

        told = answerer(Told(past=past))
        for _ in range(2):
            found = await told.answer(AskLoads(), snapshot())
            assert found.highest == tuple(10.0 * (day + 1) for day in (0, 1, 2, 4, 5, 6))
        assert sorted(asked) == [*range(7)]

    async def test_a_peak_that_could_not_be_read_is_asked_for_again(self) -> None:
        answers = iter([*[TelemetryError("down")] * 7, *[(((0.0, 600.0),),)] * 7])
        told = answerer(Told(past=lambda _: next(answers)))
        assert (await told.answer(AskLoads(), snapshot())).highest == ()
        assert (await told.answer(AskLoads(), snapshot())).highest == (1.0,) * 7


class TestWhoMustBeScraped:
    """A pod that an autoscaler has just added is Ready before its first scrape."""

    LIVE = replace(LIVE, times=replace(LIVE.times, warming_up=NOW - 300))

    def names(self, until: float | None, scaled_by: str = "hpa") -> set[str]:
        pods = (
            pod("first", created=NOW - 400, ready_since=NOW - 310),
            pod("added", created=NOW - 200, ready_since=NOW - 190),
            pod("fresh", created=NOW - 40, ready_since=NOW - 30),
            pod("starting", ready=False, created=NOW - 10),
            pod("leaving", deleting=True, created=NOW - 400),
        )
        view = arm(self.LIVE, Arm.CANARY, pods=pods, scaled_by=scaled_by)
        return set(trial_pods(self.LIVE, Arm.CANARY, view, until).live)

    def test_of_an_arm_that_scales(self) -> None:
        assert self.names(NOW) == {"first", "added"}
        assert self.names(NOW + 60) == {"first", "added", "fresh"}
        assert self.names(NOW - 180) == {"first"}

    def test_of_a_fixed_one(self) -> None:
        assert self.names(NOW, scaled_by="") == {"first", "added", "fresh"}

    def test_nobody_of_an_arm_that_is_gone(self) -> None:
        assert trial_pods(self.LIVE, Arm.CANARY, None).live == ()


class Holding:
    """A Designer that has nothing more to propose, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def suggest(self, study: Study) -> Proposal:
        self.asked += 1
        return proposal(Hold(HoldReason.CONVERGED, f"{study.index} trials"))

    async def recommend(self, study: Study) -> NoAnswer:
        raise AssertionError(study)


async def test_a_hold_beside_what_is_pending_stands_until_that_ends() -> None:
    designer = Holding()
    asked, pending = answerer(Told(), designer), study((LIVE,))
    for load in (1.0, 2.0, None):
        await asked.answer(AskProposal(replace(pending, expected_load=load)), snapshot())
    assert designer.asked == 1
    for alone in (study(), study(), pending):
        await asked.answer(AskProposal(alone), snapshot())
    assert designer.asked == 4


async def test_a_hold_of_an_experiment_that_is_gone_is_let_go() -> None:
    designer, seen = Holding(), snapshot()
    asked, pending = answerer(Told(), designer), AskProposal(study((LIVE,)))
    await asked.answer(pending, seen)
    asked.forget("another", seen.experiment.name)
    await asked.answer(pending, seen)
    assert designer.asked == 1
    asked.forget(seen.experiment.namespace, seen.experiment.name)
    asked.forget(seen.experiment.namespace, seen.experiment.name)
    await asked.answer(pending, seen)
    assert designer.asked == 2
