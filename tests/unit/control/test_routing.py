"""A trial's traffic by weights: step by step while it warms up, and over when somebody else writes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.control.builders import (
    NOW,
    ROUTE,
    both_arms,
    claim,
    condition,
    decided,
    experiment,
    kinds,
    outcome,
    route,
    running,
    snapshot,
    spec,
    trial,
    written,
)

from trimtab.control.actions import Decision, DeleteArms, SetRoute
from trimtab.control.routing import RAMP, next_step, wanted_part
from trimtab.domain.route import RouteMissing, RouteView, Standing
from trimtab.domain.state import ConditionType
from trimtab.domain.trial import PhaseTimes, Trial, TrialPhase

WARM_UP = 40.0
SPEC = spec(route=ROUTE, trial=replace(spec().trial, warm_up=WARM_UP))
FREE = route()


def warming(elapsed: float) -> Trial:
    times = PhaseTimes(created=NOW - 500, deploying=NOW - 400, warming_up=NOW - elapsed)
    return trial(TrialPhase.WARMING_UP, times=times, window=None)


def look(of: Trial, seen: RouteView | RouteMissing = FREE, **changes: Any) -> Decision:
    record = experiment(running(), spec=SPEC)
    return decided(snapshot(record, (of,), both_arms(of), route=seen, **changes))


def plan(decision: Decision) -> SetRoute:
    (action,) = [a for a in decision.actions if isinstance(a, SetRoute)]
    return action


class TestRamp:
    @pytest.mark.parametrize(("elapsed", "part"), [(0, 0.25), (9, 0.25), (10, 0.5), (19, 0.5), (20, 1), (1000, 1)])
    def test_the_share_is_a_function_of_time(self, elapsed: float, part: float) -> None:
        assert wanted_part(SPEC, elapsed) == part

    def test_it_only_grows_and_ends_at_all_of_it(self) -> None:
        shares = [wanted_part(SPEC, t) for t in range(60)]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        assert RAMP[-1][0] < 1, "some of the warm-up is for all of the share"

    def test_when_to_look_again(self) -> None:
        assert [next_step(SPEC, t) for t in (0.0, 10.0, 20.0)] == [10.0, 10.0, 0.0]


class TestWarmUp:
    def test_weights_come_only_once_both_arms_are_ready(self) -> None:
        deploying = trial(TrialPhase.DEPLOYING, window=None)
        assert "SetRoute" not in kinds(look(deploying))

    @pytest.mark.parametrize(("elapsed", "part"), [(1.0, 0.25), (12.0, 0.5), (30.0, 1.0)])
    def test_each_step_is_written_for_both_arms(self, elapsed: float, part: float) -> None:
        action = plan(look(warming(elapsed)))
        assert action.plan.shares == (part * ROUTE.share, part * ROUTE.share)
        assert (action.plan.canary, action.plan.control) == ("tt-0f0e0d0c-0-c", "tt-0f0e0d0c-0-b")
        assert (action.plan.route, action.plan.rule, action.plan.backend) == ("web", "pages", "web")
        assert action.plan.deadline == NOW + 500
        assert action.trial.leader == "leader-1"

    def test_a_step_that_is_there_is_not_written_again(self) -> None:
        of = warming(5.0)
        decision = look(of, replace(FREE, claim=claim(of, shares=(0.25 * ROUTE.share, 0.25 * ROUTE.share))))
        assert kinds(decision) == []
        assert decision.requeue_after == pytest.approx(5.0)

    def test_measuring_begins_after_all_of_the_share_and_the_rest_of_the_warm_up(self) -> None:
        of = warming(WARM_UP + 5)
        late = look(of, replace(FREE, claim=claim(of, since=NOW - 15)))
        assert kinds(late) == []
        assert late.requeue_after == pytest.approx(5.0)
        ready = look(of, replace(FREE, claim=claim(of, since=NOW - 20)))
        assert written(ready, TrialPhase.MEASURING).times.measuring == NOW


class TestForeignHands:
    @pytest.mark.parametrize("phase", [TrialPhase.WARMING_UP, TrialPhase.MEASURING])
    @pytest.mark.parametrize("standing", [Standing.EDITED, Standing.FREE])
    def test_an_edited_rule_makes_the_trial_stale(self, phase: TrialPhase, standing: Standing) -> None:
        of = trial(phase)
        decision = look(of, replace(FREE, claim=claim(of, standing=standing)))
        found = outcome(decision)
        assert (found.phase, found.reason) == (TrialPhase.STALE, "RouteEdited")
        assert kinds(decision)[0] == "DeleteArms"

    def test_a_record_that_was_taken_does_too(self) -> None:
        assert outcome(look(trial(TrialPhase.MEASURING))).reason == "RouteEdited"
        broken = replace(FREE, claim_problem="cannot be read")
        assert outcome(look(trial(TrialPhase.MEASURING), broken)).phase is TrialPhase.STALE

    def test_a_route_that_is_gone(self) -> None:
        found = outcome(look(trial(TrialPhase.MEASURING), RouteMissing("web")))
        assert (found.phase, found.reason) == (TrialPhase.STALE, "RouteNotFound")

    def test_a_trial_goes_on_while_they_are_as_written(self) -> None:
        of = trial(TrialPhase.MEASURING)
        of = replace(of, window=replace(of.window, end=NOW + 60))  # type: ignore[type-var]
        decision = look(of, replace(FREE, claim=claim(of)))
        assert kinds(decision) == []
        assert decision.requeue_after == 5.0


class TestOthers:
    def test_a_route_that_another_experiment_uses_is_waited_for(self) -> None:
        of = trial(TrialPhase.DEPLOYING, window=None)
        taken = replace(FREE, claim=claim(of, trial_uid="theirs", experiment_uid="theirs", experiment_name="api"))
        decision = look(of, taken)
        found = outcome(decision)
        assert (found.phase, found.reason) == (TrialPhase.STALE, "RouteInUse")
        assert "Experiment api" in found.message
        preflight = condition(decision, ConditionType.PREFLIGHT)
        assert (preflight.status, preflight.reason) == (False, "RouteInUse")
        stalled = decision.state.condition(ConditionType.STALLED)
        assert stalled is None or stalled.status is not True

    def test_weights_of_a_trial_that_is_over_are_taken_out(self) -> None:
        over = trial(TrialPhase.SUCCEEDED, finalized=False)
        left = replace(FREE, claim=claim(over))
        decision = decided(snapshot(experiment(running(), spec=SPEC), (over,), route=left))
        assert decision.actions[0] == DeleteArms(over.uid, verify=True)
