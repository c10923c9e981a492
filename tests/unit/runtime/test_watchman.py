"""One live trial under watch: what is tested from when on, and what the cap is reckoned from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from tests.unit.control.builders import both_arms, decided, events, experiment, running, snapshot, spec, trial
from tests.unit.runtime.telemetry import Told

from trimtab.adapters.clock import LoopClock
from trimtab.domain import kinds
from trimtab.domain.cron import parse_cron
from trimtab.domain.kinds import Kind
from trimtab.domain.kube import Manifest
from trimtab.domain.measurement import AlertSeen, Arm, Reading, Sample, TelemetryError, Window
from trimtab.domain.names import ANNOTATION_SKIP, arm_name
from trimtab.domain.schedule import Freeze, Schedule, ScheduleWindow
from trimtab.domain.state import BudgetState, ExperimentState
from trimtab.domain.trial import PhaseTimes, Spent, Trial, TrialPhase
from trimtab.ports import ExperimentRecord, PodSet, SliRequest
from trimtab.runtime.killswitch import KillSwitches
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.spending import SpendingAccount
from trimtab.runtime.watch import Watchman
from trimtab.simulate.cluster import InMemoryCluster
from trimtab.slo.safety import Continue, Judgement, Withdraw

pytestmark = pytest.mark.looptime

START = 1_700_000_000.0  # of the clock
RATE = 100.0  # requests per second of each arm
CANARY = arm_name(experiment().uid, 0, Arm.CANARY)
NO_ABORT_RULES = spec(constraints=tuple(replace(c, abort=None) for c in spec().constraints))


class Written:
    """A ledger of which only this is asked."""

    async def write_trial(self, of: Trial) -> Trial:
        return of


def watchman_of(telemetry: Told, cluster: InMemoryCluster | None = None) -> Watchman:
    clock = LoopClock(START)
    cluster = cluster or InMemoryCluster(clock, namespaces=["shop"])
    switches, spending = KillSwitches(cluster, None), SpendingAccount(cluster)
    return Watchman(switches, Written(), telemetry, spending, clock, Metrics())  # type: ignore[arg-type]


async def judged(
    telemetry: Told, of: Trial, about: ExperimentRecord, cluster: InMemoryCluster | None = None
) -> Judgement:
    watchman = watchman_of(telemetry, cluster)
    first = await watchman.at_once(about, of, both_arms(of), 0.0)
    if isinstance(first, Withdraw):
        return first
    await watchman.read_budgets(about, of)
    return await watchman.by_telemetry(about, of, both_arms(of))


def serving(phase: TrialPhase, *, deployed: float, warm: float, measuring: float | None) -> Trial:
    """A trial whose phases began so many seconds ago."""
    times = PhaseTimes(
        created=START - deployed - 5,
        deploying=START - deployed,
        warming_up=START - warm,
        measuring=None if measuring is None else START - measuring,
    )
    return trial(phase, times=times, deadline=START + 500, window=None)


def failing_until(end: float) -> Told:
    """A canary of which half of all requests fail until `end` (seconds ago); the control and the target are well."""

    def reads(request: SliRequest) -> Reading:
        canary = request.pods.workloads == (CANARY,)
        ratio = 0.5 if canary and request.window.start < START - end else 0.001
        total = RATE * request.window.seconds
        return Sample(ratio, 0.01, total, ratio * total)

    return Told(reads=reads, sums=sums(canary_bad=0.0, service=2.4e7))


def sums(canary_bad: float, service: float) -> Callable[[PodSet, Window], Reading]:
    """So many bad ones of the canary's requests, and so many requests of the service, none of them bad."""

    def told(pods: PodSet, window: Window) -> Reading:
        if pods.workloads != (CANARY,):
            return Sample(0.0, 0.0, service, 0.0)
        total = RATE * window.seconds
        return Sample(canary_bad / total, 0.0, total, canary_bad)

    return told


class TestSkip:
    @pytest.mark.parametrize("wanted", ["5", "web-5", "5, dave: too slow"])
    async def test_what_was_refused_is_not_obeyed_when_another_trial_bears_that_name(self, wanted: str) -> None:
        now = trial(TrialPhase.MEASURING, 4)
        asked = experiment(running(), annotations=((ANNOTATION_SKIP, wanted),))
        refused = decided(snapshot(asked, (now,), both_arms(now)))
        assert events(refused) == ["SkipRefused"]
        later = replace(serving(TrialPhase.MEASURING, deployed=70, warm=60, measuring=30), index=5, name="web-5")
        watchman = watchman_of(Told())
        assert isinstance(await watchman.at_once(asked, later, both_arms(later), 0.0), Withdraw)
        answered = replace(asked, state=refused.state)
        assert not isinstance(await watchman.at_once(answered, later, both_arms(later), 0.0), Withdraw)


class TestWarmUp:
    def about(self) -> ExperimentRecord:
        return experiment(running(), spec=NO_ABORT_RULES)

    async def test_a_cold_start_says_nothing_about_the_assignment(self) -> None:
        cold = serving(TrialPhase.MEASURING, deployed=70, warm=60, measuring=30)
        assert isinstance(await judged(failing_until(30), cold, self.about()), Continue)

    async def test_nor_is_it_tested_while_it_lasts(self) -> None:
        cold = serving(TrialPhase.WARMING_UP, deployed=70, warm=60, measuring=None)
        assert isinstance(await judged(failing_until(0), cold, self.about()), Continue)

    async def test_what_fails_afterwards_is(self) -> None:
        warm = serving(TrialPhase.MEASURING, deployed=70, warm=60, measuring=30)
        judgement = await judged(failing_until(0), warm, self.about())
        assert isinstance(judgement, Withdraw)
        assert judgement.outcome.reason == "WorseThanControl"

    async def test_budgets_count_from_the_first_request(self) -> None:
        """What the canary failed during its warm-up is spent all the same."""
        cold = serving(TrialPhase.WARMING_UP, deployed=70, warm=60, measuring=None)
        telemetry = replace(failing_until(0), sums=sums(canary_bad=6500.0, service=2.4e7))
        judgement = await judged(telemetry, cold, self.about())
        assert isinstance(judgement, Withdraw)
        assert judgement.outcome.reason == "ExperimentCapReached"


class Leaving(InMemoryCluster):
    """The Namespace is being deleted."""

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest:
        found = await super().get(kind, namespace, name)
        if kind is not kinds.NAMESPACES:
            return found
        return {**found, "metadata": {**found["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}


class TestCompany:
    """240 million requests a month: of 2.4 million bad ones that the budget allows, experiments may spend 120,000."""

    async def looked(self, *spent: float) -> list[Judgement]:
        """Two trials of one Experiment are looked at, one after the other; each has failed so many requests."""
        about = experiment(running(), spec=NO_ABORT_RULES)
        trials = [
            replace(
                serving(TrialPhase.MEASURING, deployed=70, warm=60, measuring=30),
                index=index,
                uid=f"trial-{index}",
                name=f"web-{index}",
                spent=(Spent("errors", bad, RATE * 60, rate=1.0, until=START),),
            )
            for index, bad in enumerate(spent)
        ]
        telemetry = replace(failing_until(1000), sums=sums(canary_bad=0.0, service=2.4e8))
        watchman = watchman_of(telemetry)
        found: list[Judgement] = []
        for _ in range(2):
            found = []
            for live in trials:
                arms = both_arms(live)
                await watchman.at_once(about, live, arms, 0.0)
                await watchman.read_budgets(about, live)
                found.append(await watchman.by_telemetry(about, live, arms))
        return found

    async def test_what_all_of_them_spent_is_held_against_the_cap(self) -> None:
        assert all(isinstance(j, Continue) for j in await self.looked(45_000.0, 45_000.0))
        both = await self.looked(70_000.0, 70_000.0)
        assert all(isinstance(j, Withdraw) and j.outcome.reason == "ExperimentCapReached" for j in both)
        told = [line for line in both[0].evidence if "bad" in line] if isinstance(both[0], Withdraw) else []
        assert told[0] == "availability: canaries may cause 120,000 bad events, earlier ones caused 0"
        assert len([line for line in told if "events bad and 0 not counted, seen until 20" in line]) == 2, told

    async def test_one_alone_may_spend_as_much_as_both(self) -> None:
        (alone,) = await self.looked(90_000.0)
        assert isinstance(alone, Continue)


async def test_a_namespace_that_is_deleted_ends_its_trials() -> None:
    clock = LoopClock(START)
    leaving, gone = Leaving(clock, namespaces=["shop"]), InMemoryCluster(clock)
    live = serving(TrialPhase.MEASURING, deployed=70, warm=60, measuring=30)
    for cluster in (leaving, gone):
        assert (await KillSwitches(cluster, None).namespace("shop")).leaving
        judgement = await judged(Told(), live, experiment(), cluster)
        assert isinstance(judgement, Withdraw)
        assert judgement.outcome.reason == "NamespaceDeleted"


class TestYoungService:
    """A minute old: 60 s x 1,000 requests/s are 60,000 requests, of which experiments may spoil 0.05 x 1 %."""

    def telemetry(self) -> Told:
        return replace(failing_until(1000), sums=sums(canary_bad=2.0, service=60_000.0))

    def about(self, since: float | None) -> ExperimentRecord:
        state = BudgetState("availability", None, None, 0.0, 0.0, metrics_since=since)
        stored: ExperimentState = running(budgets=(state,))
        return experiment(stored, spec=NO_ABORT_RULES)

    async def test_its_cap_is_that_of_its_rate(self) -> None:
        live = serving(TrialPhase.MEASURING, deployed=50, warm=40, measuring=30)
        assert isinstance(await judged(self.telemetry(), live, self.about(START - 60)), Continue)

    async def test_of_unknown_age_its_requests_are_all_there_is(self) -> None:
        live = serving(TrialPhase.MEASURING, deployed=50, warm=40, measuring=30)
        judgement = await judged(self.telemetry(), live, self.about(None))
        assert isinstance(judgement, Withdraw)
        assert judgement.outcome.reason == "ExperimentCapReached"


class TestAlerts:
    """Alerts that the Experiment names, looked at together with the SLIs."""

    def about(self) -> ExperimentRecord:
        safety = replace(spec().safety, pause_on_alerts=("CheckoutDown",))
        return experiment(running(), spec=replace(NO_ABORT_RULES, safety=safety))

    def live(self) -> Trial:
        return serving(TrialPhase.MEASURING, deployed=70, warm=60, measuring=30)

    def telemetry(self, *seen: AlertSeen) -> Told:
        return replace(failing_until(1000), sums=sums(0.0, 2.4e7), firing=lambda _: seen)

    async def test_silence_changes_nothing(self) -> None:
        assert isinstance(await judged(self.telemetry(), self.live(), self.about()), Continue)

    @pytest.mark.parametrize("firing", [True, False])
    async def test_one_that_fires_or_did_meanwhile_withdraws_in_the_same_look(self, firing: bool) -> None:
        judgement = await judged(
            self.telemetry(AlertSeen("CheckoutDown", START - 5, firing)), self.live(), self.about()
        )
        assert isinstance(judgement, Withdraw)
        assert (judgement.rule, judgement.outcome.phase) == ("alert", TrialPhase.ABORTED)
        assert judgement.outcome.reason == "AlertFiring"
        assert judgement.outcome.message.startswith("alert CheckoutDown fire")

    async def test_one_that_nobody_named_is_not_asked_for(self) -> None:
        asked: list[Window] = []

        def firing(window: Window) -> tuple[AlertSeen, ...]:
            asked.append(window)
            return (AlertSeen("CheckoutDown", START, True),)

        telemetry = replace(self.telemetry(), firing=firing)
        assert isinstance(await judged(telemetry, self.live(), experiment(running(), spec=NO_ABORT_RULES)), Continue)
        assert asked == []
        assert isinstance(await judged(telemetry, self.live(), self.about()), Withdraw)
        assert asked == [Window(START - 900, START)]

    async def test_alerts_that_cannot_be_read_make_a_canary_blind(self) -> None:
        """Whatever its SLIs say: after staleAfter it goes, and nobody is blamed."""
        telemetry = replace(self.telemetry(), firing=lambda _: TelemetryError("no answer within 5 s"))
        fresh = serving(TrialPhase.MEASURING, deployed=70, warm=50, measuring=30)
        blind = serving(TrialPhase.MEASURING, deployed=90, warm=80, measuring=30)
        assert isinstance(await judged(telemetry, fresh, self.about()), Continue)
        judgement = await judged(telemetry, blind, self.about())
        assert isinstance(judgement, Withdraw)
        assert (judgement.outcome.phase, judgement.outcome.reason) == (TrialPhase.INCONCLUSIVE, "TelemetryBlind")
        assert "pauseOnAlerts: no answer within 5 s" in judgement.outcome.message


class TestSchedule:
    """A tick needs no telemetry to see that a window has closed."""

    def about(self, *, withdraw: bool, seconds: float) -> ExperimentRecord:
        began = ScheduleWindow(parse_cron("13 22 * * *", "cron"), seconds)  # 22:13:20 UTC is now
        made = Schedule(ZoneInfo("UTC"), (began,), (Freeze(START + 1e6, START + 2e6),), withdraw)
        return experiment(running(), spec=replace(NO_ABORT_RULES, schedule=made))

    async def withdrawn(self, *, withdraw: bool, seconds: float) -> str:
        live = serving(TrialPhase.MEASURING, deployed=70, warm=60, measuring=30)
        telemetry = replace(failing_until(1000), sums=sums(0.0, 2.4e7))
        found = await judged(telemetry, live, self.about(withdraw=withdraw, seconds=seconds))
        return found.outcome.reason if isinstance(found, Withdraw) else ""

    async def test_at_the_close_it_is_withdrawn_if_so_asked(self) -> None:
        assert await self.withdrawn(withdraw=True, seconds=20.0) == "OutsideSchedule"
        assert await self.withdrawn(withdraw=True, seconds=21.0) == ""
        assert await self.withdrawn(withdraw=False, seconds=20.0) == ""
