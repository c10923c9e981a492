"""Trials beside trials: what starts a further one, what holds it back, and that each live one is looked after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from tests.unit.control.builders import (
    BASELINE,
    CHEAPER,
    GIB,
    NOW,
    ROUTE,
    arm,
    both_arms,
    budgets,
    counted_again,
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
    surroundings,
    target,
    trial,
    written,
)

from trimtab.control.actions import CreateTrial, Decision
from trimtab.control.snapshot import AskAlerts, AskBudgets, AskLoads, AskProposal, Inquiry, LoadHistory
from trimtab.control.study import build_study
from trimtab.domain.kube import ArmView, QuotaView
from trimtab.domain.measurement import AlertSeen, Arm, Window
from trimtab.domain.names import ANNOTATION_ROLLBACK
from trimtab.domain.space import Assignment
from trimtab.domain.spec import CanarySpec, ExperimentSpec, SafetySpec, Stopping, TrialTiming
from trimtab.domain.state import ConditionType
from trimtab.domain.study import Hold, HoldReason, Proposal, Study
from trimtab.domain.trial import Purpose, Spent, Trial, TrialPhase

OTHER = Assignment((("cpu", Decimal("1.5")), ("memory", GIB)))
THIRD = Assignment((("cpu", Decimal("1.5")), ("memory", 2 * GIB)))
P = TrialPhase


def allowed(**changes: Any) -> ExperimentSpec:
    """Three trials at a time, by share and by time."""
    made = spec(trial=TrialTiming(10.0, 60.0, 600.0, parallel=3), canary=CanarySpec(1, 0.3))
    return replace(made, **changes)


def live(index: int, phase: TrialPhase = P.MEASURING, assignment: Assignment = CHEAPER, **changes: Any) -> Trial:
    """One whose window is not over yet."""
    purpose = changes.pop("purpose", Purpose.SEARCH)
    made = trial(phase, index, suggestion=suggestion(assignment=assignment, purpose=purpose), **changes)
    return replace(made, window=Window(NOW - 20, NOW + 40)) if phase is P.MEASURING else made


def past() -> tuple[Trial, ...]:
    found = (
        ended(P.SUCCEEDED, i, suggestion=suggestion(assignment=BASELINE, purpose=Purpose.BASELINE)) for i in (0, 1)
    )
    return tuple(found)


def asked(seen_spec: ExperimentSpec, trials: tuple[Trial, ...]) -> Study:
    """The question for one more trial."""
    record = running().target
    assert record is not None
    return build_study(seen_spec, target(), record, trials, NOW - 100)


def further(
    *trials: Trial,
    answer: Proposal | None = None,
    of: ExperimentSpec | None = None,
    answers: Mapping[Inquiry, Any] | None = None,
    state: Any = None,
    arms: tuple[ArmView, ...] = (),
    **changes: Any,
) -> Decision:
    """What is decided while these live, with the Designer's answer to the question for one more."""
    known, of = (*past(), *trials), of or allowed()
    found = answer or proposal(suggestion(assignment=OTHER))
    told = {AskProposal(asked(of, known)): found, AskLoads(): LoadHistory()}
    record = experiment(state, spec=of, **changes.pop("record", {}))
    views = arms or tuple(view for t in trials for view in both_arms(t))
    return decided(snapshot(record, known, views, {**told, **(answers or {})}, **changes))


def test_one_more_starts_beside_what_measures_and_says_which_those_were() -> None:
    decision = further(live(2), live(3, assignment=THIRD))
    new = created(decision)
    assert (new.index, new.suggestion.assignment, new.suggestion.beside) == (4, OTHER, (2, 3))
    assert decision.state.active == (live(2).name, live(3).name)


def test_the_designer_is_told_what_is_pending_and_what_for() -> None:
    of, trials = allowed(), (*past(), live(2), live(3, assignment=THIRD, purpose=Purpose.REPLICATE))
    record = experiment(spec=of)
    views = tuple(view for t in trials[2:] for view in both_arms(t))
    decision = decided(snapshot(record, trials, views, {AskLoads(): LoadHistory()}))
    (ask,) = decision.inquiries
    assert isinstance(ask, AskProposal)
    assert ask.study.pending == (CHEAPER, THIRD)
    assert ask.study.waiting == (Purpose.SEARCH, Purpose.REPLICATE)
    assert [o.index for o in ask.study.outcomes] == [0, 1]


def test_with_one_at_a_time_nothing_is_asked_while_one_lives() -> None:
    decision = further(live(2), of=spec())
    assert (decision.actions, decision.inquiries) == ((), ())
    assert decision.requeue_after is not None


def test_no_more_than_allowed_run_side_by_side() -> None:
    assert kinds(further(live(2), live(3, assignment=OTHER), live(4, assignment=THIRD))) == []


@pytest.mark.parametrize("phase", [P.DEPLOYING, P.WARMING_UP])
def test_a_further_one_waits_until_the_youngest_has_come_through_its_warm_up(phase: TrialPhase) -> None:
    young = live(3, phase, THIRD, times=replace(trial().times, warming_up=NOW - 1, measuring=None))
    decision = further(live(2), young)
    assert not any(isinstance(a, CreateTrial) for a in decision.actions)
    assert decision.inquiries == ()


@pytest.mark.parametrize("purpose", [Purpose.BASELINE, Purpose.VERIFICATION])
def test_baseline_and_verification_run_alone(purpose: Purpose) -> None:
    assert kinds(further(live(2, purpose=purpose))) == []
    assert kinds(further(live(2), answer=proposal(suggestion(assignment=OTHER, purpose=purpose)))) == []


def test_none_joins_one_that_is_being_withdrawn_or_drains() -> None:
    going = live(2)
    assert kinds(further(going, withdrawing=frozenset({going.uid}))) == []
    draining = live(3, P.DRAINING, THIRD, outcome=ended(P.SUCCEEDED).outcome)
    arms = (*both_arms(live(2)), arm(draining, Arm.CANARY, uid=None, ready_endpoints=0))
    leaving = replace(arms[2], pods=tuple(replace(p, deleting=True, ready=False) for p in arms[2].pods))
    decision = further(live(2), draining, arms=(*arms[:2], leaving))
    assert kinds(decision) == []
    assert decision.requeue_after == 1.0  # for the pods that end


def test_none_that_says_about_the_same_as_a_live_one() -> None:
    near = CHEAPER.replace("cpu", CHEAPER.number("cpu") + Decimal("0.05"))
    assert kinds(further(live(2), answer=proposal(suggestion(assignment=near)))) == []


def test_a_hold_of_the_designer_ends_nothing_while_one_lives() -> None:
    decision = further(live(2), answer=proposal(Hold(HoldReason.CONVERGED, "no improvement")))
    assert kinds(decision) == []
    assert decision.state.candidate is None


def test_the_share_of_all_arms_keeps_its_cap() -> None:
    two = allowed(canary=CanarySpec(1, 0.17))  # four arm pods beside twenty are 16.7 %, six are 23 %
    assert created(further(live(2), of=two)).suggestion.beside == (2,)
    assert kinds(further(live(2), live(3, assignment=THIRD), of=two)) == []


def test_a_quota_without_room_for_two_more_arms_holds_it_back() -> None:
    def left(pods: int) -> Any:
        return surroundings(quotas=(QuotaView("q", (("pods", Decimal(pods)),)),))

    assert created(further(live(2), surroundings=left(2)))
    assert kinds(further(live(2), surroundings=left(1))) == []


def test_the_youngest_goes_when_the_target_has_fewer_pods_than_the_arms_need() -> None:
    small = {"target": target(replicas=10, ready_replicas=10), "surroundings": surroundings(ready_service_endpoints=10)}
    decision = further(live(2), live(3, assignment=THIRD), live(4, assignment=OTHER), **small)
    assert kinds(decision) == ["DeleteArms", "WriteTrial"]
    gone = written(decision, P.DRAINING)
    assert (gone.index, outcome(decision).phase, outcome(decision).reason) == (4, P.STALE, "ShareTooLarge")


def test_what_live_trials_may_still_spend_of_a_budget_is_kept_for_them() -> None:
    def left(bad: float) -> Decision:
        """With so many bad events of experiments on record; the share is 5 % of 10,000."""
        return further(live(2), answers={AskBudgets(): budgets(spent=bad)})

    assert created(left(470.0))  # a reserve of 10 each
    assert kinds(left(485.0)) == []


def test_what_a_live_trial_has_spent_counts() -> None:
    spendthrift = live(2, spent=(Spent("errors", 400.0, 4000.0, until=NOW),))
    assert kinds(further(spendthrift, answers={AskBudgets(): budgets(spent=95.0)})) == []


def test_alerts_hold_it_back() -> None:
    of = allowed(safety=SafetySpec(0.95, 5.0, 60.0, pause_on_alerts=("Down",)))
    assert created(further(live(2), of=of, answers={AskAlerts(): ()}))
    firing = (AlertSeen("Down", NOW - 5.0, True),)
    assert kinds(further(live(2), of=of, answers={AskAlerts(): firing})) == []


def test_trials_that_may_still_end_count_towards_every_cap() -> None:
    for stopping in (Stopping(3, 1e9, 8, 8, 10, 0.01), Stopping(14, 1e9, 1, 8, 10, 0.01)):
        assert kinds(further(live(2), of=allowed(stopping=stopping))) == []
    assert created(further(live(2), of=allowed(stopping=Stopping(4, 1e9, 8, 8, 10, 0.01))))


def test_trials_that_disturb_each_other_run_one_at_a_time() -> None:
    state = running().with_condition(ConditionType.PARALLEL, False, "NodeShared", "", NOW - 5, 1)
    assert kinds(further(live(2), state=state)) == []


def test_a_route_holds_the_weights_of_one_trial() -> None:
    assert kinds(further(live(2), of=allowed(route=ROUTE))) == []


def test_every_live_trial_is_moved_the_furthest_first() -> None:
    young = live(2, P.DEPLOYING)
    warm = live(3, P.WARMING_UP, OTHER, times=replace(trial().times, measuring=None))
    decision = further(young, warm, arms=both_arms(warm))
    assert written(decision, P.MEASURING).index == 3
    waiting = replace(warm, times=replace(warm.times, warming_up=NOW - 1))
    decision = further(young, waiting, arms=both_arms(waiting))
    assert kinds(decision) == ["CreateArms"]


def test_nobody_waits_behind_one_whose_arms_cannot_be_made() -> None:
    stuck = live(2, P.DEPLOYING)
    due = replace(live(3, assignment=OTHER), window=Window(NOW - 90, NOW - 20))
    decision = further(stuck, due, arms=both_arms(due))
    assert kinds(decision) == []
    assert decision.inquiries  # the readings of the other's window


def test_a_trial_that_drains_keeps_no_other_from_being_moved() -> None:
    draining = live(2, P.DRAINING, outcome=ended(P.SUCCEEDED).outcome, times=replace(trial().times, draining=NOW - 1))
    going = arm(draining, Arm.CANARY, uid=None, ready_endpoints=0)
    going = replace(going, pods=tuple(replace(p, deleting=True, ready=False) for p in going.pods))
    warm = live(3, P.WARMING_UP, OTHER, times=replace(trial().times, measuring=None))
    decision = further(draining, warm, arms=(going, *both_arms(warm)), answers=counted_again(draining))
    assert written(decision, P.MEASURING).index == 3


def test_a_rollback_withdraws_all_of_them() -> None:
    record = {"annotations": ((ANNOTATION_ROLLBACK, "it hurts"),)}
    decision = further(live(2), live(3, assignment=OTHER), live(4, P.DEPLOYING, THIRD), record=record)
    assert kinds(decision) == ["DeleteArms", "WriteTrial"] * 3
    assert events(decision).count("TrialWithdrawn") == 3
