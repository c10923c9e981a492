"""The safety tick: every rule, their order, what each blames, and false alarms of the abort rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.unit.control.builders import NOW, ROUTE, arm, pod, spec, trial

from trimtab.domain.kube import ArmView, ContainerStatus, PodView
from trimtab.domain.measurement import (
    Arm,
    Measurement,
    NoData,
    Reading,
    Sample,
    Stale,
    TelemetryError,
    Window,
)
from trimtab.domain.spec import ExperimentSpec, OutcomeConstraint, RelativeBound
from trimtab.domain.trial import Trial, TrialPhase
from trimtab.slo.alerts import Alarm
from trimtab.slo.estimate import ratio_sample
from trimtab.slo.evidence import tested_slis as slis_under_test
from trimtab.slo.safety import (
    CLOCK_SLACK,
    RULES,
    Closed,
    Continue,
    SafetyView,
    SafetyWindow,
    StopRequest,
    WatchState,
    Withdraw,
    judge_tick,
)
from trimtab.slo.traces import MOST
from trimtab.slo.watching import watched_slis

LIVE = trial(TrialPhase.MEASURING)
BEGUN = LIVE.times.measuring or 0.0
SECONDS = 5.0


def view(of: Trial = LIVE, watch: WatchState | None = None, **changes: Any) -> SafetyView:
    watch = watch or WatchState()
    judged = [window.window.end for window in watch.windows]
    made = SafetyView(max((NOW, *judged)), spec(), of, arm(of, Arm.CANARY), arm(of, Arm.CONTROL), watch)
    return replace(made, **changes)


def window(number: int, canary: Reading, control: Reading, begin: float = BEGUN) -> SafetyWindow:
    span = Window(begin + SECONDS * number, begin + SECONDS * (number + 1))
    readings = ((Arm.CANARY, canary), (Arm.CONTROL, control))
    return SafetyWindow(span, tuple(Measurement("errors", a, span, r) for a, r in readings))


def counts(bad: float, total: float = 1000.0, newest: float | None = None) -> Sample:
    found = ratio_sample([bad], [total])
    assert isinstance(found, Sample)
    return replace(found, newest=newest)


def watched(*pairs: tuple[Reading, Reading], about: ExperimentSpec | None = None) -> WatchState:
    state = WatchState()
    for number, (canary, control) in enumerate(pairs):
        state = state.with_window(window(number, canary, control), about or spec())
    return state


def withdrawal(of: SafetyView) -> Withdraw:
    found = judge_tick(of)
    assert isinstance(found, Withdraw)
    assert "\n" not in found.outcome.message
    assert len(found.evidence) <= MOST
    return found


def status(**changes: Any) -> tuple[ContainerStatus, ...]:
    return (replace(ContainerStatus("web", True, 0), **changes),)


def arm_with(which: Arm, **changes: Any) -> ArmView:
    return arm(LIVE, which, pods=(pod(f"{which.value}-1", **changes),))


OOM = {"containers": status(last_terminated_reason="OOMKilled", restarts=1)}
LOOP = {"containers": status(waiting_reason="CrashLoopBackOff", restarts=3)}
RESTART = {"containers": status(last_terminated_reason="Error", restarts=1)}
UNREADY: dict[str, Any] = {"ready": False}
GOOD, BAD = counts(2), counts(100)


def test_nothing_wrong() -> None:
    assert judge_tick(view()) == Continue()
    assert judge_tick(view(watch=watched(*[(GOOD, GOOD)] * 20))) == Continue()


def test_the_order_of_the_rules() -> None:
    assert [name for name, _ in RULES] == [
        "request", "edited", "infrastructure", "hardSignal", "resourceGuard", "abortRule", "sequentialTest",
        "budgetCap", "budgetGate", "alert", "blind", "clock", "deadline",
    ]  # fmt: skip


FIRING = Alarm("alert CheckoutDown fires", None)


def test_an_alert_that_fires_is_nobodys_fault() -> None:
    found = withdrawal(view(alert=FIRING))
    assert (found.rule, found.outcome.phase, found.outcome.reason) == ("alert", TrialPhase.ABORTED, "AlertFiring")
    assert withdrawal(view(alert=FIRING, canary=arm_with(Arm.CANARY, **OOM))).rule == "hardSignal"


def test_people_come_first() -> None:
    asked = StopRequest("RolledBack", "rollback on call")
    found = withdrawal(view(request=asked, canary=arm_with(Arm.CANARY, **OOM)))
    assert (found.rule, found.outcome.phase, found.outcome.reason) == ("request", TrialPhase.ABORTED, "RolledBack")


@pytest.mark.parametrize(
    ("signal", "reason"),
    [(OOM, "OOMKilled"), (LOOP, "CrashLoop"), (RESTART, "CrashLoop"), (UNREADY, "ReadinessLost")],
)
def test_hard_signals_blame_the_canary_alone(signal: dict[str, Any], reason: str) -> None:
    alone = withdrawal(view(canary=arm_with(Arm.CANARY, **signal)))
    assert (alone.rule, alone.outcome.phase, alone.outcome.reason) == ("hardSignal", TrialPhase.INFEASIBLE, reason)
    both = withdrawal(view(canary=arm_with(Arm.CANARY, **signal), control=arm_with(Arm.CONTROL, **LOOP)))
    assert (both.outcome.phase, both.outcome.reason) == (TrialPhase.ABORTED, "ControlFailedToo")
    other = withdrawal(view(control=arm_with(Arm.CONTROL, **signal)))
    assert (other.outcome.phase, other.outcome.reason) == (TrialPhase.ABORTED, "ControlFailed")


def test_a_pod_that_was_never_ready_has_lost_nothing() -> None:
    deploying = trial(TrialPhase.DEPLOYING)
    assert judge_tick(view(deploying, canary=arm_with(Arm.CANARY, **UNREADY))) == Continue()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"reason": "Evicted", **OOM}, "Disrupted"),
        ({"reason": "NodeLost", "ready": False}, "Disrupted"),
        ({"deleting": True}, "Disrupted"),
        (
            {"containers": status(waiting_reason="ImagePullBackOff", message="not found"), "ready": False},
            "ImagePullBackOff",
        ),
        ({"init_containers": status(waiting_reason="ErrImagePull", ready=False), "ready": False}, "ErrImagePull"),
        (
            {"init_containers": status(waiting_reason="CrashLoopBackOff", ready=False), "ready": False},
            "InitContainerFailed",
        ),
        (
            {"init_containers": status(last_terminated_reason="OOMKilled", ready=False), "ready": False},
            "InitContainerFailed",
        ),
    ],
)
@pytest.mark.parametrize("which", [Arm.CANARY, Arm.CONTROL])
def test_what_the_cluster_did_teaches_nothing(which: Arm, changes: dict[str, Any], reason: str) -> None:
    found = withdrawal(view(**{which.value: arm_with(which, **changes)}))
    assert (found.rule, found.outcome.phase, found.outcome.reason) == (
        "infrastructure", TrialPhase.INFRA_FAILED, reason,
    )  # fmt: skip


@pytest.mark.parametrize("which", [Arm.CANARY, Arm.CONTROL])
def test_an_arm_behind_a_route_that_gets_nothing_of_its_share_is_taken_away(which: Arm) -> None:
    def judged(since: float, **of_spec: Any) -> Any:
        there = arm(LIVE, which)
        pods = tuple(replace(p, ready=True, ready_since=NOW - since) for p in there.pods)
        lost = {which.value: replace(there, pods=pods, ready_endpoints=0)}
        return judge_tick(view(spec=spec(**of_spec), **lost))

    found = judged(6.0, route=ROUTE)
    assert isinstance(found, Withdraw)
    assert (found.rule, found.outcome.phase, found.outcome.reason) == ("edited", TrialPhase.ABORTED, "ArmEdited")
    assert found.outcome.message.startswith(f"Service {arm(LIVE, which).name}, which leads to none of 1 ready pods")
    assert isinstance(judged(4.0, route=ROUTE), Continue)  # it has just become ready
    assert isinstance(judged(6.0), Continue)  # without a route its share goes to the others


@pytest.mark.parametrize("which", [Arm.CANARY, Arm.CONTROL])
def test_an_arm_that_somebody_changed_is_no_disruption_though_its_pods_go(which: Arm) -> None:
    changed = replace(arm_with(which, deleting=True), observed_digest="another")
    found = withdrawal(view(**{which.value: changed}))
    assert (found.rule, found.outcome.phase, found.outcome.reason) == ("edited", TrialPhase.ABORTED, "ArmEdited")
    assert changed.name in found.outcome.message


WHEN_READY = LIVE.times.warming_up or 0.0


@pytest.mark.parametrize(
    "pods",
    [
        (),
        (pod("canary-2", created=WHEN_READY + 1),),
        (pod("canary-2", ready=False, created=WHEN_READY + 1),),
    ],
)
def test_a_pod_that_ended_between_two_ticks_is_a_disruption_too(pods: tuple[PodView, ...]) -> None:
    """What took its place has lost no readiness: it never had any."""
    found = withdrawal(view(canary=arm(LIVE, Arm.CANARY, pods=pods)))
    assert (found.outcome.phase, found.outcome.reason) == (TrialPhase.INFRA_FAILED, "Disrupted")
    assert judge_tick(view(canary=arm(LIVE, Arm.CANARY, pods=(pod("x", created=WHEN_READY - 1),)))) == Continue()
    deploying = trial(TrialPhase.DEPLOYING)
    assert judge_tick(view(deploying, canary=arm(deploying, Arm.CANARY, pods=pods))) == Continue()


@pytest.mark.parametrize(
    "done", [status(restarts=2, last_terminated_reason="Error"), status(last_terminated_reason="OOMKilled")]
)
def test_an_init_container_that_succeeded_in_the_end_is_no_failure(done: tuple[ContainerStatus, ...]) -> None:
    assert isinstance(judge_tick(view(canary=arm_with(Arm.CANARY, init_containers=done))), Continue)


@pytest.mark.parametrize("gone", [{"deleting": True}, {"uid": None}])
def test_pods_that_leave_with_their_arm_are_no_disruption(gone: dict[str, Any]) -> None:
    leaving = replace(arm_with(Arm.CANARY, deleting=True), **gone)
    assert judge_tick(view(canary=leaving)) == Continue()


# The abort rule

ABORT_ONLY = spec(budgets=())  # without a budget no sequential test runs


def test_three_of_four_windows_withdraw_with_numbers() -> None:
    two = watched((BAD, GOOD), (BAD, GOOD), (GOOD, GOOD), about=ABORT_ONLY)
    assert judge_tick(view(watch=two, spec=ABORT_ONLY)) == Continue()
    third = two.with_window(window(3, BAD, GOOD), ABORT_ONLY)
    found = withdrawal(view(watch=third, spec=ABORT_ONLY))
    assert (found.rule, found.outcome.phase, found.outcome.reason) == ("abortRule", TrialPhase.INFEASIBLE, "AbortRule")
    assert "> 1 % in 3 of 4 windows, control 0.2 %" in found.outcome.message
    assert any("(broken)" in line for line in found.evidence)


def test_old_breaches_are_forgotten() -> None:
    calm = [(GOOD, GOOD)] * 2
    state = watched((BAD, GOOD), (BAD, GOOD), *calm, (BAD, GOOD), *calm, (BAD, GOOD), about=ABORT_ONLY)
    assert judge_tick(view(watch=state, spec=ABORT_ONLY)) == Continue()


def test_a_bound_must_clearly_be_broken() -> None:
    near = counts(12)  # 1.2 % of 1,000 against 1 %
    assert judge_tick(view(watch=watched(*[(near, GOOD)] * 12, about=ABORT_ONLY), spec=ABORT_ONLY)) == Continue()


def test_a_control_that_breaks_it_too_blames_nobody() -> None:
    found = withdrawal(view(watch=watched(*[(BAD, BAD)] * 4)))
    assert (found.outcome.phase, found.outcome.reason) == (TrialPhase.ABORTED, "ControlFailedToo")


def test_windows_without_a_reading_are_not_counted_as_kept() -> None:
    lost = NoData("no traffic", newest=NOW)
    state = watched((BAD, GOOD), (lost, GOOD), (BAD, GOOD), (lost, GOOD), (BAD, GOOD))
    assert withdrawal(view(watch=state)).rule == "abortRule"


def test_the_warm_up_is_not_judged_by_bounds() -> None:
    state, cold = WatchState(), BEGUN - 6 * SECONDS
    for number in range(6):
        state = state.with_window(window(number, BAD, GOOD, cold), spec(), since=BEGUN)
    assert state.tests == ()
    assert judge_tick(view(watch=state)) == Continue()
    warming = replace(LIVE, phase=TrialPhase.WARMING_UP, times=replace(LIVE.times, measuring=None))
    assert judge_tick(view(warming, watch=state)) == Continue()


def test_minimum_and_relative_bounds_abort_too() -> None:
    relative = OutcomeConstraint(
        "errors", "errors", None, None, RelativeBound(max_increase_ratio=0.5), 0.95, spec().constraints[0].abort
    )
    about = spec(constraints=(relative,), budgets=())
    state = watched(*[(counts(90), counts(20))] * 4, about=about)
    assert withdrawal(view(watch=state, spec=about)).rule == "abortRule"
    worse_together = watched(*[(counts(90), counts(85))] * 4, about=about)
    assert judge_tick(view(watch=worse_together, spec=about)) == Continue()


@pytest.mark.parametrize(
    ("bound", "requests", "variance"),
    [
        pytest.param(0.01, 600, 3, marks=pytest.mark.thorough),
        pytest.param(0.05, 600, 3, marks=pytest.mark.thorough),
        pytest.param(0.01, 600, 1, marks=pytest.mark.thorough),
        pytest.param(0.001, 800, 3, marks=pytest.mark.thorough),
    ],
)
def test_canaries_at_95_percent_of_the_bound_are_left_alone(bound: float, requests: int, variance: int) -> None:
    """20 windows of one trial each time; errors may come in clusters (variance 3 x mean). At most 2 % of trials."""
    rng = np.random.default_rng(31)
    constraint = replace(spec().constraints[0], maximum=bound)
    about, runs = spec(constraints=(constraint,), budgets=()), 300
    withdrawn = 0
    for _ in range(runs):
        state = WatchState()
        for number in range(20):
            arms = [_draw(rng, factor * bound, requests, variance) for factor in (0.95, 0.5)]
            state = state.with_window(window(number, arms[0], arms[1]), about)
            if isinstance(judge_tick(view(watch=state, spec=about)), Withdraw):
                withdrawn += 1
                break
    assert withdrawn / runs <= 0.02


def _draw(rng: np.random.Generator, ratio: float, requests: int, variance: int) -> Sample:
    mean = ratio * requests
    bad = rng.poisson(mean) if variance == 1 else rng.negative_binomial(mean / (variance - 1), 1 / variance)
    return counts(float(min(bad, requests)), float(requests))


# The sequential test


def test_evidence_against_the_control_withdraws() -> None:
    about = spec(constraints=(replace(spec().constraints[0], abort=None),))
    state = watched(*[(counts(30), counts(5))] * 12, about=about)
    found = withdrawal(view(watch=state, spec=about))
    assert (found.rule, found.outcome.reason) == ("sequentialTest", "WorseThanControl")
    assert "3 % of 12,000 against 0.5 % of 12,000 in the control" in found.outcome.message


def test_worse_than_the_control_but_within_the_objective_is_no_harm() -> None:
    about = spec(constraints=(replace(spec().constraints[0], abort=None),))
    pairs = [(counts(8), counts(0))] * 20
    assert judge_tick(view(watch=watched(*pairs, about=about), spec=about)) == Continue()
    named = spec(constraints=(replace(spec().constraints[0], abort=None, max_error_ratio=1.2),))
    assert slis_under_test(named) == {"errors": 1.2}
    assert withdrawal(view(watch=watched(*pairs, about=named), spec=named)).rule == "sequentialTest"


def test_nothing_is_tested_that_nobody_asked_for() -> None:
    assert watched(*[(BAD, GOOD)] * 8, about=spec(budgets=())).tests == ()


# Budgets, blindness, deadline


def test_budget_rules_abort_and_blame_nobody() -> None:
    burning = Closed("availability", "BudgetBurning", "availability: burn rate 20 over 5m")
    found = withdrawal(view(gate=burning))
    assert (found.rule, found.outcome.reason, found.outcome.subject) == ("budgetGate", "BudgetBurning", "availability")
    found = withdrawal(view(cap=Closed("availability", "ExperimentCapReached", "10 left"), gate=burning))
    assert (found.rule, found.outcome.phase) == ("budgetCap", TrialPhase.ABORTED)


def test_blind_for_longer_than_stale_after() -> None:
    assert judge_tick(view(blind_since=NOW - 60.0)) == Continue()
    found = withdrawal(view(blind_since=NOW - 60.5, absent="errors: no answer within 2 s"))
    assert (found.rule, found.outcome.phase, found.outcome.reason) == (
        "blind",
        TrialPhase.INCONCLUSIVE,
        "TelemetryBlind",
    )
    assert "staleAfter is 60 s: errors: no answer within 2 s" in found.outcome.message


def test_a_bad_canary_is_blamed_before_blindness_is() -> None:
    state = watched(*[(BAD, GOOD)] * 4)
    assert withdrawal(view(watch=state, blind_since=NOW - 600)).outcome.phase is TrialPhase.INFEASIBLE


@pytest.mark.parametrize(
    ("reading", "seen"),
    [
        (counts(1), BEGUN + SECONDS),
        (counts(1, newest=BEGUN + 2.0), BEGUN + 2.0),
        (counts(1, newest=BEGUN + 99.0), BEGUN + SECONDS),
        (NoData("no traffic", newest=BEGUN + 4.0), BEGUN + 4.0),  # scraped, and nothing to count
        (NoData("no series of these pods"), None),
        (Stale("pod x", 20.0), None),
        (TelemetryError("503"), None),
    ],
)
def test_when_the_canary_was_last_seen(reading: Reading, seen: float | None) -> None:
    assert WatchState().looked([("errors", reading)], BEGUN + SECONDS).last_good == seen


def test_last_seen_never_goes_back_and_every_sli_counts() -> None:
    state = WatchState().looked([("errors", counts(1, newest=BEGUN + 4.5))], BEGUN + 5)
    assert state.looked([("errors", TelemetryError("503"))], BEGUN + 9).last_good == BEGUN + 4.5
    assert state.looked([("errors", counts(1, newest=BEGUN + 1))], BEGUN + 9).last_good == BEGUN + 4.5
    both = [("errors", counts(1, newest=BEGUN + 8)), ("slow", counts(1, newest=BEGUN + 6))]
    assert state.looked(both, BEGUN + 9).last_good == BEGUN + 6
    lost = state.looked([both[0], ("slow", NoData("no series of these pods"))], BEGUN + 9)
    assert (lost.last_good, lost.absent) == (BEGUN + 4.5, "slow: no series of these pods")
    assert lost.looked(both, BEGUN + 9).absent == ""


def test_how_many_requests_a_canary_gets() -> None:
    lost = (NoData("no series"), GOOD)
    assert WatchState().rate("errors") is None
    assert watched(lost).rate("errors") is None
    assert watched((counts(0, 1000), GOOD), (NoData("no traffic", newest=NOW), GOOD), lost).rate("errors") == 100.0
    growing = watched(*[(counts(0, 100.0 * n), GOOD) for n in range(1, 13)])  # windows of five seconds
    assert growing.rate("errors") == pytest.approx(100 * (7 + 8 + 9 + 10 + 11 + 12) / 30)


def test_a_canary_is_watched_by_bounds_and_budgets() -> None:
    latency = replace(spec().slis[0], name="slow")
    unused = replace(spec().slis[0], name="unused")
    about = spec(slis=(latency, unused, *spec().slis), constraints=(replace(spec().constraints[0], sli="slow"),))
    assert [s.name for s in watched_slis(about)] == ["slow", "errors"]


def test_the_deadline_ends_every_trial() -> None:
    late = replace(LIVE, deadline=NOW)
    assert withdrawal(view(late)).outcome.reason == "DeadlinePassed"
    deploying = replace(trial(TrialPhase.DEPLOYING), deadline=NOW)
    stuck = arm(deploying, Arm.CANARY, pods=(pod("x", ready=False, unschedulable="0/3 nodes: insufficient cpu"),))
    found = withdrawal(view(deploying, canary=stuck))
    assert (found.outcome.phase, found.outcome.reason) == (TrialPhase.INFRA_FAILED, "DeployTimeout")
    assert "insufficient cpu" in found.outcome.message


def test_a_clock_that_was_set_back_does_not_keep_a_canary_alive() -> None:
    """Its window and its deadline would lie hours ahead."""
    ahead = NOW + 3600
    times = replace(LIVE.times, measuring=ahead)
    jumped = replace(LIVE, times=times, window=Window(ahead, ahead + 60), deadline=ahead + 600)
    found = withdrawal(view(jumped))
    assert (found.rule, found.outcome.phase) == ("clock", TrialPhase.INCONCLUSIVE)
    assert found.outcome.reason == "ClockSetBack"
    skewed = replace(LIVE, times=replace(LIVE.times, measuring=NOW + 59))
    assert judge_tick(view(skewed)) == Continue()


@pytest.mark.parametrize("seconds", [59.0, 61.0])
@pytest.mark.parametrize("what", ["window", "look", "pod", "trial"])
def test_whatever_is_on_record_shows_a_clock_that_is_behind(what: str, seconds: float) -> None:
    """No window would become due, and the newest that is asked for would be old: nobody would see a canary turn bad."""
    live, canary, state = LIVE, None, watched((counts(1), counts(1)))
    match what:
        case "window":
            state = replace(state, judged_until=NOW + seconds)
        case "look":
            state = replace(state, last_good=NOW + seconds)
        case "pod":
            canary = arm(LIVE, Arm.CANARY, pods=(pod("x", created=NOW + seconds),))
            live = replace(LIVE, times=replace(LIVE.times, warming_up=NOW + seconds))
        case "trial":
            live = replace(LIVE, times=replace(LIVE.times, created=NOW + seconds))
    judged = judge_tick(view(live, watch=state) if canary is None else view(live, canary=canary, watch=state))
    if seconds < CLOCK_SLACK:
        assert judged == Continue()
    else:
        assert isinstance(judged, Withdraw)
        assert (judged.rule, judged.outcome.reason) == ("clock", "ClockSetBack")
        assert "61 s behind" in judged.outcome.message


def test_a_watch_state_is_bounded_and_the_same_after_a_restart() -> None:
    pairs = [(counts(i % 5), counts(i % 3)) for i in range(60)]
    state = watched(*pairs)
    assert len(state.windows) == 24
    assert state == watched(*pairs)
    assert state.judged_until == BEGUN + 60 * SECONDS


REPAIRING = spec(search=replace(spec().search, repair=True))


def test_in_repair_a_canary_no_worse_than_its_control_stays() -> None:
    """Both at 5 %, the bound is 1 %."""
    watch = watched(*[(counts(50), counts(52))] * 4)
    assert withdrawal(view(watch=watch)).outcome.reason == "ControlFailedToo"
    assert isinstance(judge_tick(view(watch=watch, spec=REPAIRING)), Continue)


def test_in_repair_a_canary_that_is_worse_than_its_control_goes() -> None:
    found = withdrawal(view(watch=watched(*[(counts(300), counts(50))] * 4), spec=REPAIRING)).outcome
    assert (found.phase, found.reason) == (TrialPhase.INFEASIBLE, "AbortRule")
    assert "in 4 of 4 windows, control 5 %" in found.message


def test_in_repair_a_control_that_cannot_be_read_excuses_nothing() -> None:
    watch = watched(*[(counts(50), NoData("no traffic"))] * 4)
    assert withdrawal(view(watch=watch, spec=REPAIRING)).outcome.reason == "AbortRule"


def test_in_repair_budgets_guard_as_ever() -> None:
    closed = Closed("availability", "BudgetBurning", "burns")
    watch = watched(*[(counts(50), counts(52))] * 4)
    assert withdrawal(view(watch=watch, spec=REPAIRING, gate=closed)).outcome.reason == "BudgetBurning"
