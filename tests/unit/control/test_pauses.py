"""What makes an Experiment wait by its own spec: its schedule, and alerts that it names."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.unit.control.builders import (
    CHEAPER,
    NOW,
    both_arms,
    condition,
    created,
    decided,
    ended,
    events,
    experiment,
    kinds,
    outcome,
    proposal,
    running,
    snapshot,
    spec,
    suggestion,
    trial,
)

from trimtab.control.actions import Decision
from trimtab.control.decide import decide
from trimtab.control.snapshot import (
    AskAlerts,
    AskBudgets,
    AskLoads,
    AskProbes,
    AskProposal,
    AskRecommendation,
    AskUsage,
    LoadHistory,
    Snapshot,
)
from trimtab.domain.cron import parse_cron
from trimtab.domain.measurement import AlertSeen, TelemetryError, Window
from trimtab.domain.schedule import Freeze, Schedule, ScheduleWindow
from trimtab.domain.spec import ExperimentSpec, Mode, Stopping, TrialTiming, Verification
from trimtab.domain.state import ConditionType, ExperimentPhase, ExperimentState
from trimtab.domain.study import Recommended
from trimtab.domain.trial import ASKED_FOR, Purpose, TrialPhase
from trimtab.ports import SliProbe

UTC_ZONE = ZoneInfo("UTC")
HOUR = 3600.0
TODAY = datetime.fromtimestamp(NOW, UTC)  # a Monday, 14:13:20
PHASE, PAUSED = ExperimentPhase, ConditionType.PAUSED


def window(cron: str, seconds: float) -> ScheduleWindow:
    return ScheduleWindow(parse_cron(cron, "cron"), seconds)


def timed(
    *windows: ScheduleWindow, freezes: tuple[Freeze, ...] = (), withdraw: bool = False, **changes: Any
) -> ExperimentSpec:
    return spec(schedule=Schedule(UTC_ZONE, windows, freezes, withdraw), **changes)


OPEN = window("0 14 * * *", HOUR)
CLOSED = window("0 9 * * *", HOUR)
TOMORROW_NINE = NOW + 86400 - (TODAY - TODAY.replace(hour=9, minute=0, second=0)).total_seconds()


def searching(of: ExperimentSpec, state: ExperimentState | None = None, **changes: Any) -> Snapshot:
    """Nothing is live, and the Designer has something to propose."""
    return snapshot(experiment(state, spec=of, finalized=False), **changes)


def through(seen: Snapshot, state: ExperimentState | None = None) -> Decision:
    """The rounds of one pass, with every question answered."""
    state = state if state is not None else (seen.experiment.state or ExperimentState())
    for _ in range(5):
        decision = decide(state, seen)
        if not decision.inquiries:
            return decision
        state, answers = decision.state, dict(seen.answers)
        for inquiry in decision.inquiries:
            if isinstance(inquiry, AskProposal):
                answers[inquiry] = proposal(suggestion())
            elif isinstance(inquiry, AskRecommendation):
                answers[inquiry] = Recommended(CHEAPER, False, 0.4, (), "the cheapest")
            elif isinstance(inquiry, AskLoads):
                answers[inquiry] = LoadHistory()
            else:
                raise AssertionError(inquiry)
        seen = replace(seen, experiment=replace(seen.experiment, state=state), answers=answers)
    raise AssertionError("no end of questions")


def test_the_clock_of_these_tests() -> None:
    assert f"{TODAY:%a %H:%M:%S}" == "Mon 14:13:20"


class TestSchedule:
    def test_inside_a_window_a_trial_starts(self) -> None:
        assert created(through(searching(timed(OPEN)))).suggestion.assignment == CHEAPER

    def test_outside_it_is_paused_and_says_until_when(self) -> None:
        decision = through(searching(timed(CLOSED)))
        assert kinds(decision) == []
        assert decision.state.phase is PHASE.PAUSED
        assert decision.state.message == "outside its schedule until Tue 2026-09-22 09:00 UTC"
        assert condition(decision, PAUSED).status is True
        assert condition(decision, PAUSED).reason == "OutsideSchedule"
        assert decision.requeue_after == pytest.approx(TOMORROW_NINE - NOW)
        assert events(decision) == ["ExperimentPaused"]

    def test_the_next_pass_changes_nothing_and_tells_nothing(self) -> None:
        first = through(searching(timed(CLOSED)))
        first = through(searching(timed(CLOSED), first.state, now=NOW + 30))  # what follows from the first is written
        again = through(searching(timed(CLOSED), first.state, now=NOW + 59))
        assert again.state == first.state
        assert events(again) == []

    def test_it_goes_on_when_the_window_opens(self) -> None:
        waiting = through(searching(timed(CLOSED))).state
        decision = through(searching(timed(CLOSED), waiting, now=TOMORROW_NINE))
        assert created(decision)
        assert decision.state.phase is PHASE.RUNNING
        assert condition(decision, PAUSED).status is False

    def test_a_freeze_says_why(self) -> None:
        frozen = timed(freezes=(Freeze(NOW - 60, NOW + 2 * 86400, "release 7"),))
        decision = through(searching(frozen))
        assert condition(decision, PAUSED).reason == "Frozen"
        assert decision.state.message == "frozen until Wed 2026-09-23 14:13 UTC: release 7"

    def test_what_lasts_for_days_is_looked_at_once_a_day(self) -> None:
        frozen = timed(freezes=(Freeze(NOW - 60, NOW + 9 * 86400),))
        assert through(searching(frozen)).requeue_after == 86400.0

    def test_no_trial_starts_that_would_be_withdrawn(self) -> None:
        """2,800 s are left; it takes 60 s until arms serve, 1.5 scrapes to be read, 10 s until they are gone."""
        long = TrialTiming(warm_up=120.0, duration=2609.0, deadline=5000.0)
        shorter = replace(long, duration=2608.0)
        assert created(through(searching(timed(OPEN, trial=long))))
        assert created(through(searching(timed(OPEN, withdraw=True, trial=shorter))))
        decision = through(searching(timed(OPEN, withdraw=True, trial=long)))
        assert decision.state.phase is PHASE.PAUSED
        assert "too little time before its window's end at Mon 2026-09-21 15:00 UTC" in decision.state.message
        assert decision.requeue_after == pytest.approx(86400 - 800)

    def test_how_long_arms_take_is_learned_from_the_trials(self) -> None:
        timing = TrialTiming(warm_up=120.0, duration=2500.0, deadline=5000.0)
        slow = ended(TrialPhase.SUCCEEDED)
        slow = replace(slow, times=replace(slow.times, created=NOW - 1000, warming_up=NOW - 800, finished=NOW - 700))
        decision = through(searching(timed(OPEN, withdraw=True, trial=timing), trials=(slow,)))
        assert decision.state.phase is PHASE.PAUSED

    def test_arms_that_took_very_long_once_do_not_end_the_search(self) -> None:
        """They waited for a node for 50 minutes: no window is open for so long and a trial."""
        slow = ended(TrialPhase.SUCCEEDED)
        slow = replace(slow, times=replace(slow.times, created=NOW - 4000, warming_up=NOW - 1000, finished=NOW - 700))
        timing = TrialTiming(warm_up=120.0, duration=2000.0, deadline=5000.0)
        assert created(through(searching(timed(OPEN, withdraw=True, trial=timing), trials=(slow,))))

    def test_verification_obeys_it_too(self) -> None:
        """The recommendation is chosen outside the schedule; its fresh trials wait for the window."""
        done = timed(CLOSED, stopping=Stopping(0, 1e9, 8, 8, 10, 0.01))
        decision = through(searching(done))
        assert kinds(decision) == []
        assert decision.state.phase is PHASE.PAUSED
        assert decision.state.candidate == CHEAPER
        assert condition(decision, PAUSED).reason == "OutsideSchedule"
        opened = through(searching(done, decision.state, now=TOMORROW_NINE))
        assert opened.state.phase is PHASE.VERIFYING
        assert created(opened).suggestion.purpose is Purpose.VERIFICATION

    def test_a_verification_takes_its_own_time(self) -> None:
        done = timed(
            OPEN, withdraw=True, stopping=Stopping(0, 1e9, 8, 8, 10, 0.01), verification=Verification(2750.0, 2)
        )
        done = replace(done, trial=TrialTiming(10.0, 60.0, 5000.0))
        assert created(through(searching(replace(done, stopping=spec().stopping))))
        assert through(searching(done)).state.phase is PHASE.PAUSED

    def test_the_end_does_not_wait_for_a_window(self) -> None:
        """Gates hold trials back, never the end; and an Experiment that is over is not paused any more."""
        done = timed(CLOSED, stopping=Stopping(0, 1e9, 8, 8, 10, 0.01), verification=Verification(60.0, 0))
        paused = through(searching(timed(CLOSED))).state
        decision = through(searching(done, replace(paused, spec_digest=done.digest)))
        assert decision.state.phase is PHASE.COMPLETED
        assert condition(decision, PAUSED).status is False
        assert condition(decision, PAUSED).reason == "Ended"

    def test_an_experiment_that_only_observes_is_not_paused(self) -> None:
        decision = through(searching(timed(CLOSED, mode=Mode.OBSERVE)))
        assert decision.state.phase is PHASE.RUNNING
        assert decision.state.message.startswith("observing web")

    def test_people_come_first_and_it_waits_on_afterwards(self) -> None:
        waiting = through(searching(timed(CLOSED))).state
        asked = decided(searching(timed(CLOSED, paused=True), waiting))
        assert asked.state.phase is PHASE.PAUSED
        assert condition(asked, PAUSED).reason == "SpecPaused"
        after = through(searching(timed(CLOSED), asked.state))
        assert condition(after, PAUSED).reason == "OutsideSchedule"
        assert after.state.phase is PHASE.PAUSED


class TestLiveTrials:
    def live(self, of: ExperimentSpec, phase: TrialPhase) -> Decision:
        lives = trial(phase, window=Window(NOW - 10, NOW + 50))
        arms = both_arms(lives) if phase not in {TrialPhase.PENDING} else ()
        return decided(snapshot(experiment(spec=of), (lives,), arms, now=NOW))

    @pytest.mark.parametrize("phase", [TrialPhase.DEPLOYING, TrialPhase.WARMING_UP, TrialPhase.MEASURING])
    def test_when_a_window_has_closed_a_live_trial_is_finished(self, phase: TrialPhase) -> None:
        decision = self.live(timed(CLOSED), phase)
        assert "DeleteArms" not in kinds(decision)
        assert decision.state.phase is PHASE.RUNNING

    @pytest.mark.parametrize("phase", [TrialPhase.DEPLOYING, TrialPhase.WARMING_UP, TrialPhase.MEASURING])
    def test_or_withdrawn(self, phase: TrialPhase) -> None:
        decision = self.live(timed(CLOSED, withdraw=True), phase)
        assert kinds(decision) == ["DeleteArms", "WriteTrial"]
        assert outcome(decision).phase is TrialPhase.ABORTED
        assert outcome(decision).reason == "OutsideSchedule"
        assert outcome(decision).message == "outside its schedule until Tue 2026-09-22 09:00 UTC"

    @pytest.mark.parametrize("withdraw", [True, False])
    def test_a_trial_without_arms_never_gets_any(self, withdraw: bool) -> None:
        """An operator that was away over the close finds it on record."""
        decision = self.live(timed(freezes=(Freeze(NOW, NOW + 60),), withdraw=withdraw), TrialPhase.PENDING)
        assert outcome(decision).reason == "Frozen"

    def test_the_reconciler_comes_back_at_the_close(self) -> None:
        closing = window("0 14 * * *", 805.0)  # 5 s from now
        assert self.live(timed(closing, withdraw=True), TrialPhase.MEASURING).requeue_after == pytest.approx(5.0)
        assert self.live(timed(closing), TrialPhase.MEASURING).requeue_after == pytest.approx(20.0)

    def test_that_was_asked_for_and_is_no_attempt_in_vain(self) -> None:
        assert {"OutsideSchedule", "Frozen"} <= ASKED_FOR
        aborted = tuple(ended(TrialPhase.ABORTED, i, "OutsideSchedule") for i in range(9))
        assert created(through(searching(timed(OPEN), trials=aborted))).index == 9


class TestMaxDuration:
    def test_verification_gets_its_time_within_the_schedule(self) -> None:
        """maxDuration ends at night: what was found may still be verified in the windows of the next days."""
        over = timed(CLOSED, stopping=Stopping(14, 100.0, 8, 8, 10, 0.01))
        late = NOW + 12 * HOUR
        decision = decided(searching(over, running(started=NOW - 100), now=late))
        assert decision.state.phase is not PHASE.STOPPED
        always = spec(stopping=over.stopping)
        assert decided(searching(always, running(started=NOW - 100), now=late)).state.phase is PHASE.STOPPED

    def test_but_not_without_end(self) -> None:
        over = timed(CLOSED, stopping=Stopping(14, 100.0, 8, 8, 10, 0.01))
        late = NOW + 4 * 86400  # 70 minutes at an hour a day
        assert decided(searching(over, running(started=NOW - 100), now=late)).state.phase is PHASE.STOPPED


class TestPreflight:
    def examined(self, of: ExperimentSpec) -> Decision:
        fresh = ExperimentState().with_condition(ConditionType.TARGET_LOCKED, True, "Acquired", "", NOW, 1)
        probe = SliProbe("errors", scrape_interval=1.0, requests_per_second=4000.0, bad_ratio=0.001, history=1e7)
        answers = {AskProbes(): (probe,), AskUsage(("web",)): ()}
        return decided(snapshot(experiment(fresh, spec=of), answers=answers))

    def test_a_schedule_is_examined_whatever_the_hour(self) -> None:
        assert self.examined(timed(CLOSED)).state.is_true(ConditionType.PREFLIGHT)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"freezes": (Freeze(NOW - 60, NOW + 2e9),)}, "spec.schedule: no time for a trial within"),
            (
                {"windows": (window("0 9 * * *", 120.0),)},
                "spec.schedule.windows: no window is open for 2m22s, which a trial",
            ),
        ],
    )
    def test_one_without_any_time_for_a_trial_is_refused(self, changes: dict[str, Any], words: str) -> None:
        decision = self.examined(spec(schedule=Schedule(UTC_ZONE, **changes, withdraw=True)))
        assert condition(decision, ConditionType.STALLED).reason == "ScheduleTooTight"
        assert words in condition(decision, ConditionType.STALLED).message

    def test_one_that_leaves_none_for_verification_is_refused(self) -> None:
        tight = timed(window("0 9 * * *", 600.0), withdraw=True, verification=Verification(900.0, 2))
        message = condition(self.examined(replace(tight, trial=TrialTiming(10.0, 60.0, 2000.0))), ConditionType.STALLED)
        assert "which a verification trial takes" in message.message


DOWN = AlertSeen("CheckoutDown", NOW - 3, firing=True)


def watched(**changes: Any) -> ExperimentSpec:
    return spec(safety=replace(spec().safety, pause_on_alerts=("CheckoutDown", "ShopDown")), **changes)


def told(*seen: AlertSeen) -> dict[Any, Any]:
    return {AskAlerts(): seen}


class TestAlerts:
    def test_they_are_asked_for_before_a_trial_starts(self) -> None:
        decision = decided(searching(watched()))
        assert decision.inquiries == (AskBudgets(), AskAlerts())
        assert AskAlerts() not in decided(searching(spec())).inquiries

    def test_silence_lets_one_start(self) -> None:
        assert created(through(searching(watched(), answers=told())))

    def test_one_that_fires_pauses(self) -> None:
        decision = through(searching(watched(), answers=told(DOWN)))
        assert kinds(decision) == []
        assert decision.state.phase is PHASE.PAUSED
        assert condition(decision, PAUSED).reason == "AlertFiring"
        assert decision.state.message == "alert CheckoutDown fires; trials start 15m after it is over"
        assert decision.requeue_after == 10.0

    def test_while_it_fires_the_status_stays_the_same(self) -> None:
        first = through(searching(watched(), answers=told(DOWN)))
        first = through(searching(watched(), first.state, answers=told(DOWN), now=NOW + 30))
        later = replace(DOWN, last=NOW + 57)
        again = through(searching(watched(), first.state, answers=told(later), now=NOW + 59))
        assert again.state == first.state

    def test_it_stays_closed_for_a_quarter_of_an_hour_after(self) -> None:
        over = AlertSeen("CheckoutDown", NOW - 300, firing=False)
        decision = through(searching(watched(), answers=told(over)))
        assert decision.state.phase is PHASE.PAUSED
        assert decision.state.message == (
            "alert CheckoutDown fired until 2026-09-21 14:08:20 UTC; trials start at 2026-09-21 14:23:20 UTC"
        )
        assert decision.requeue_after == pytest.approx(600.0)
        woken = through(searching(watched(), decision.state, answers=told(over), now=NOW + 600))
        assert created(woken)
        assert condition(woken, PAUSED).status is False

    def test_silence_that_cannot_be_read_is_none(self) -> None:
        unread = {AskAlerts(): TelemetryError("no answer within 10 s")}
        decision = through(searching(watched(), answers=unread))
        assert kinds(decision) == []
        assert "cannot be read: no answer within 10 s" in decision.state.message
        assert condition(decision, ConditionType.TELEMETRY_HEALTHY).status is False
        assert decision.state.phase is PHASE.RUNNING
        firing = through(searching(watched(), answers=told(DOWN))).state
        still = through(searching(watched(), firing, answers=unread))
        assert still.state.phase is PHASE.PAUSED
        assert condition(still, PAUSED).reason == "AlertFiring"

    def test_what_lasts_longer_is_told(self) -> None:
        both = replace(watched(), schedule=timed(CLOSED).schedule)
        assert condition(through(searching(both, answers=told(DOWN))), PAUSED).reason == "OutsideSchedule"

    def test_it_holds_verification_back_and_not_the_end(self) -> None:
        done = watched(stopping=Stopping(0, 1e9, 8, 8, 10, 0.01))
        waits = through(searching(done, running(candidate=CHEAPER), answers=told(DOWN)))
        assert (waits.state.phase, kinds(waits)) == (PHASE.PAUSED, [])
        unverified = replace(done, verification=Verification(60.0, 0))
        assert through(searching(unverified, answers=told(DOWN))).state.phase is PHASE.COMPLETED

    @pytest.mark.parametrize("phase", [TrialPhase.PENDING, TrialPhase.DEPLOYING])
    def test_a_trial_whose_arms_do_not_serve_is_withdrawn_by_the_reconciler(self, phase: TrialPhase) -> None:
        live = trial(phase)
        asks = decided(snapshot(experiment(spec=watched()), (live,)))
        assert AskAlerts() in asks.inquiries
        decision = decided(snapshot(experiment(spec=watched()), (live,), answers=told(DOWN)))
        assert outcome(decision).reason == "AlertFiring"
        assert outcome(decision).phase is TrialPhase.ABORTED

    def test_no_arm_is_made_while_they_cannot_be_read(self) -> None:
        unread = {AskAlerts(): TelemetryError("down")}
        decision = decided(snapshot(experiment(spec=watched()), (trial(TrialPhase.PENDING),), answers=unread))
        assert kinds(decision) == []
        assert "alerts cannot be read: down" in decision.state.message

    def test_it_counts_as_an_attempt_in_vain(self) -> None:
        """As with an error budget: an alert that ends trial after trial is for somebody to look at."""
        aborted = tuple(ended(TrialPhase.ABORTED, i, "AlertFiring") for i in range(8))
        decision = through(searching(watched(), trials=aborted, answers=told()))
        assert decision.state.phase is PHASE.STOPPED
