"""The last account of a canary: its pods end first, it is counted once more, and what nobody saw is bad."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.control.builders import NOW, arm, decided, experiment, kinds, pod, running, snapshot, spec, trial

from trimtab.control.actions import Decision, RecordSpending
from trimtab.control.settle import GRACE_SLACK, PATIENCE
from trimtab.control.snapshot import AskSpent, SpentReadings
from trimtab.domain.kube import ArmView
from trimtab.domain.measurement import Arm, NoData, Reading, Sample, TelemetryError
from trimtab.domain.trial import Outcome, PhaseTimes, Spent, Trial, TrialPhase

TIMES = PhaseTimes(created=NOW - 100, deploying=NOW - 90, warming_up=NOW - 80, measuring=NOW - 60, draining=NOW - 2)
DONE = Outcome(TrialPhase.INFEASIBLE, "AbortRule", "too slow")
DRAINING = trial(TrialPhase.DRAINING, times=TIMES, outcome=DONE)
STORED = Spent("errors", 7.0, 2000.0, rate=25.0, until=NOW - 20)
PODS = (replace(pod("tt-0f0e0d0c-0-c-abc-12345"), deleting=True, ready=False),)
ENDING = arm(DRAINING, Arm.CANARY, uid=None, replicas=0, ready_endpoints=0, pods=PODS)


def drained(
    of: Trial,
    reading: Reading | None = None,
    arms: tuple[ArmView, ...] = (),
    at_most: tuple[tuple[str, float], ...] = (),
    **changes: Any,
) -> Decision:
    """What is decided once telemetry has answered."""
    answers = {} if reading is None else {AskSpent(of.name, NOW): SpentReadings((("errors", reading),), at_most)}
    record = changes.pop("record", experiment(running(requests_per_second=1100.0)))
    return decided(snapshot(record, (of,), arms, answers=answers, **changes))


def spent(decision: Decision) -> Spent:
    """What goes into the account."""
    (recorded,) = [a for a in decision.actions if isinstance(a, RecordSpending)]
    (found,) = recorded.spent
    return found


def late(seconds: float) -> Trial:
    return replace(DRAINING, times=replace(TIMES, draining=NOW - seconds), spent=(STORED,))


def test_arms_that_are_left_go_first() -> None:
    decision = drained(DRAINING, arms=(arm(DRAINING, Arm.CANARY),))
    assert kinds(decision) == ["DeleteArms"]
    assert decision.requeue_after == 0.0


def test_pods_that_end_serve_the_connections_that_they_have() -> None:
    waiting = drained(DRAINING, arms=(ENDING,))
    assert kinds(waiting) == []
    assert "ending" in waiting.state.message
    assert waiting.requeue_after == 1.0


def test_but_not_for_ever() -> None:
    """The target gives its pods ten seconds; a node that is lost lets none of them go."""
    assert drained(late(10.0 + GRACE_SLACK), arms=(ENDING,)).inquiries == (AskSpent(DRAINING.name, NOW),)


def test_then_telemetry_is_asked_until_now() -> None:
    assert drained(DRAINING).inquiries == (AskSpent(DRAINING.name, NOW),)


def test_what_was_counted_and_what_came_after_the_last_scrape() -> None:
    decision = drained(replace(DRAINING, spent=(STORED,)), Sample(0.004, 0.001, 2300.0, 9.0, newest=NOW - 4))
    assert kinds(decision) == ["DeleteArms", "RecordSpending", "WriteTrial", "ReleaseTrial"]
    assert spent(decision) == Spent("errors", 9.0, 2300.0, unseen=4 * 25.0, rate=25.0, until=NOW - 4)


def test_telemetry_is_given_a_moment() -> None:
    assert drained(late(2.0), TelemetryError("down")).requeue_after == 1.0


@pytest.mark.parametrize("deleting", [False, True])
def test_what_cannot_be_read_is_bad_from_the_last_look_on(deleting: bool) -> None:
    """A deletion does not wait for it."""
    record = experiment(running(), deleting=deleting)
    decision = drained(late(2.0 if deleting else PATIENCE), TelemetryError("down"), record=record)
    assert spent(decision) == replace(STORED, unseen=20 * 25.0)


def test_arms_that_were_ready_and_never_scraped_cost_their_share_of_the_load() -> None:
    """50 requests a second, of 1,100 for twenty pods and two arms, for eighty seconds."""
    assert spent(drained(DRAINING, NoData("no series of these pods"))).unseen == pytest.approx(80 * 50.0)


def test_time_that_a_clock_jumped_over_never_passed_for_the_canary() -> None:
    """By the monotonic clock six seconds passed since the last count; the wall clock says twenty. And the other way
    round: what the wall clock rules out is not booked, however long ago the last note is."""
    blind = NoData("no series of these pods")
    assert spent(drained(late(2.0), blind, at_most=(("errors", 6.0),))).unseen == 6 * 25.0
    assert spent(drained(late(2.0), blind, at_most=(("errors", 600.0),))).unseen == 20 * 25.0


def test_arms_that_never_served_cost_nothing() -> None:
    never = replace(DRAINING, times=replace(TIMES, warming_up=None, measuring=None))
    decision = drained(never, NoData("no series of these pods"))
    assert kinds(decision) == ["DeleteArms", "WriteTrial", "ReleaseTrial"]


def test_a_canary_that_served_before_its_control_was_ready() -> None:
    """The safety loop saw it serve, and wrote it down."""
    early = replace(
        DRAINING,
        times=replace(TIMES, warming_up=None, measuring=None),
        spent=(Spent("errors", 0.0, 0.0, rate=30.0, until=NOW - 50),),
    )
    assert spent(drained(early, NoData("no series of these pods"))).unseen == 50 * 30.0


def test_without_a_spec_the_account_is_settled_all_the_same() -> None:
    record = experiment(running(), spec=None, problem_reason="InvalidSpec", problem="a downgrade")
    assert spent(drained(late(2.0), record=record)).unseen == 20 * 25.0


def test_without_budgets_nothing_is_asked() -> None:
    decision = drained(DRAINING, record=experiment(spec=spec(budgets=())))
    assert kinds(decision) == ["DeleteArms", "WriteTrial", "ReleaseTrial"]
