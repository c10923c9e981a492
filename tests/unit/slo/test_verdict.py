"""The end of a window: every row of the table of outcomes."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from tests.unit.control.builders import ROUTE, measured, spec, suggestion, trial

from trimtab.domain.measurement import (
    Ambiguous,
    Arm,
    Measurement,
    NoData,
    Reading,
    Sample,
    Stale,
    TelemetryError,
)
from trimtab.domain.space import Assignment, Numeric, Parameter, ReplicaCount, Scale, SearchSpace
from trimtab.domain.spec import (
    ExperimentSpec,
    ObjectiveTerm,
    OnMissing,
    OutcomeConstraint,
    RelativeBound,
    Sli,
    SliKind,
    ValueQuery,
)
from trimtab.domain.trial import Load, Outcome, Trial, TrialPhase
from trimtab.slo.verdict import NeedsExtension, judge_screen, judge_trial, needed_slis


def sample(bad: float, total: float = 5000.0) -> Sample:
    p = bad / total
    return Sample(p, max((p * (1 - p) / total) ** 0.5, 1e-6), total, bad)


def after(canary: Reading | None, control: Reading | None, **changes: object) -> Trial:
    """A trial whose window is complete."""
    made = trial(TrialPhase.MEASURING)
    assert made.window is not None
    arms = ((Arm.CANARY, canary), (Arm.CONTROL, control))
    found = tuple(Measurement("errors", a, made.window, r) for a, r in arms if r is not None)
    return replace(made, measurements=found, **changes)  # type: ignore[arg-type]


def outcome(of: Trial, about: ExperimentSpec | None = None) -> Outcome:
    found = judge_trial(about or spec(), of)
    assert isinstance(found, Outcome)
    assert "\n" not in found.message
    return found


def test_a_pass_and_an_open_question_are_both_data() -> None:
    kept = outcome(after(sample(10), sample(12)))
    assert (kept.phase, kept.reason) == (TrialPhase.SUCCEEDED, "Measured")
    assert "(kept)" in kept.message
    straddling = outcome(after(sample(52), sample(20)))
    assert straddling.phase is TrialPhase.SUCCEEDED
    assert "(open)" in straddling.message


def test_clearly_over_the_bound_is_infeasible_with_numbers() -> None:
    found = outcome(after(sample(150), sample(12)))
    assert (found.phase, found.reason) == (TrialPhase.INFEASIBLE, "BoundBroken")
    assert "errors 3 % [2.61 %, 3.43 %] > 1 %" in found.message


def test_a_control_in_breach_blames_nobody() -> None:
    found = outcome(after(sample(150), sample(150)))
    assert (found.phase, found.reason) == (TrialPhase.INCONCLUSIVE, "ControlInBreach")


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        (NoData("no traffic"), "NoData"),
        (Ambiguous("two series"), "Ambiguous"),
        (Stale("pod x", 99.0), "StaleTelemetry"),
        (TelemetryError("503"), "TelemetryError"),
        (None, "NoData"),
    ],
)
@pytest.mark.parametrize("arm", [Arm.CANARY, Arm.CONTROL])
def test_absence_is_neither_pass_nor_violation(arm: Arm, reading: Reading | None, reason: str) -> None:
    readings = {Arm.CANARY: sample(150), Arm.CONTROL: sample(1)} | {arm: reading}
    found = outcome(after(readings[Arm.CANARY], readings[Arm.CONTROL]))
    assert (found.phase, found.reason) == (TrialPhase.INCONCLUSIVE, reason)
    assert arm.value in found.message


def test_on_missing_fail_is_the_users_wish_unless_the_store_lacks_both() -> None:
    strict = spec(slis=(replace(spec().slis[0], on_missing=OnMissing.FAIL),))
    assert outcome(after(NoData("none"), sample(1)), strict).reason == "MissingFails"
    assert outcome(after(NoData("none"), NoData("none")), strict).phase is TrialPhase.INCONCLUSIVE
    assert outcome(after(TelemetryError("503"), sample(1)), strict).phase is TrialPhase.INCONCLUSIVE


def test_too_few_samples_extend_once() -> None:
    few = after(sample(0, 60), sample(0, 5000))
    found = judge_trial(spec(), few)
    assert isinstance(found, NeedsExtension)
    assert "60 samples, 100 are needed" in found.message
    again = outcome(replace(few, extended=True))
    assert (again.phase, again.reason) == (TrialPhase.INCONCLUSIVE, "TooFewSamples")


def loads(canary: float, control: float, error: float | None, target: float | None = None) -> tuple[Load, ...]:
    found = (Load(Arm.CANARY, canary, error), Load(Arm.CONTROL, control, error))
    return found if target is None else (*found, Load(Arm.TARGET, target))


@pytest.mark.parametrize(
    ("load", "compared"),
    [
        (loads(100, 100, 1.0), True),
        (loads(100, 85, 1.0), True),  # within a fifth
        (loads(100, 75, 1.0), False),
        (loads(75, 100, 1.0), False),
        (loads(100, 75, 10.0), True),  # within chance
        (loads(100, 75, None), True),  # nothing is known of chance
        (loads(100, 45, None), False),
        (loads(45, 100, None), False),
        (loads(0, 0, None), True),
        (loads(40, 42, 1.0, target=100), False),
        (loads(80, 82, 1.0, target=100), True),
        ((), True),
    ],
)
def test_arms_with_other_traffic_are_not_compared(load: tuple[Load, ...], compared: bool) -> None:
    found = outcome(after(sample(10), sample(10), load=load))
    assert found.reason == ("Measured" if compared else "ShareNotAchieved")


def totals(canary: float, control: float, target: float | None = None, pods: float = 2.0) -> tuple[Load, ...]:
    """Requests per second of whole arms, each of so many pods on average, beside ten of the target."""
    arms = (Load(Arm.CANARY, canary / pods, 0.1, pods), Load(Arm.CONTROL, control / pods, 0.1, pods))
    return arms if target is None else (*arms, Load(Arm.TARGET, target / 10, 0.1, 10.0))


@pytest.mark.parametrize(
    ("load", "compared"),
    [
        (totals(50, 50, 900), True),  # as the weights say
        (totals(50, 50, 900, pods=20), True),  # however many pods share it
        ((Load(Arm.CANARY, 50.0), Load(Arm.CONTROL, 50.0), Load(Arm.TARGET, 45.0)), True),  # of one and of 20 pods
        (totals(26, 26, 948), True),  # half of the target's traffic comes another way
        (totals(20, 20, 960), False),
        (totals(50, 20, 930), False),
        (totals(50, 38, 912), False),
        (totals(50, 45, 905), True),
        (totals(50, 50), True),
        (totals(50, 20), False),
    ],
)
def test_weights_give_arms_a_part_of_the_traffic_whatever_their_size(load: tuple[Load, ...], compared: bool) -> None:
    found = outcome(after(sample(10), sample(10), load=load), spec(route=ROUTE))
    assert found.reason == ("Measured" if compared else "ShareNotAchieved")


def test_an_sli_that_nothing_uses_may_be_missing() -> None:
    watched = Sli("memory", SliKind.VALUE, ValueQuery("max(m{$selector})", "B"), 8)
    about = spec(slis=(*spec().slis, watched))
    assert needed_slis(about) == spec().slis
    assert outcome(after(sample(10), sample(10)), about).phase is TrialPhase.SUCCEEDED
    objective = replace(spec().objectives[0], terms=(ObjectiveTerm(1.0, "memory"),))
    assert needed_slis(replace(about, objectives=(objective,))) == about.slis


def test_a_relative_bound_needs_no_absolute_one() -> None:
    relative = OutcomeConstraint("errors", "errors", None, None, RelativeBound(max_increase_ratio=0.5), 0.95, None)
    about = spec(constraints=(relative,))
    assert outcome(after(sample(300), sample(100)), about).reason == "BoundBroken"
    assert outcome(after(sample(100), sample(100)), about).phase is TrialPhase.SUCCEEDED


def test_the_builders_trial_passes() -> None:
    of = trial(TrialPhase.MEASURING)
    assert outcome(replace(of, measurements=measured(of, 10))).phase is TrialPhase.SUCCEEDED


def test_in_repair_a_control_in_breach_is_what_is_to_be_repaired() -> None:
    repairing = spec(search=replace(spec().search, repair=True))
    assert outcome(after(sample(10), sample(150))).reason == "ControlInBreach"
    assert outcome(after(sample(10), sample(150)), repairing).phase is TrialPhase.SUCCEEDED
    assert outcome(after(sample(150), sample(150)), repairing).reason == "BoundBroken"


def screen(canary: Reading, control: Reading, promising: bool = False) -> tuple[str, str]:
    """(reason, message) of the end of a screen; "" and why where it goes on."""
    found = judge_screen(spec(), after(canary, control), promising)
    return (found.reason, found.message) if isinstance(found, Outcome) else ("", found.message)


def test_a_screen_ends_where_a_bound_is_surely_broken() -> None:
    """3 % of 5,000 against a bound of 1 %; also when it was to be recommended."""
    for promising in (True, False):
        reason, message = screen(sample(150), sample(12), promising)
        assert (reason, message[:8]) == ("ScreenedOut", "errors: ")


def test_a_screen_whose_interval_straddles_the_bound_goes_on() -> None:
    reason, message = screen(sample(52), sample(20))
    assert reason == ""
    assert message.startswith("undecided after the screen: errors 1.04 %")


def test_a_screen_that_holds_goes_on_only_when_it_is_promising() -> None:
    assert screen(sample(10), sample(12), True)[1].startswith("promising after the screen: errors 0.2 %")
    reason, message = screen(sample(10), sample(12), False)
    assert reason == "Screened"
    assert message.startswith("explored enough; errors 0.2 %")


@pytest.mark.parametrize(
    ("canary", "control"),
    [(sample(1, 50), sample(1, 50)), (NoData("no traffic"), sample(12)), (sample(10), sample(150))],
)
def test_what_a_screen_cannot_tell_a_full_window_may(canary: Reading, control: Reading) -> None:
    """Too few samples, no data, a control in breach."""
    assert screen(canary, control)[0] == ""


def test_a_bound_that_only_guards_keeps_no_screen_going() -> None:
    (bound,) = spec().constraints
    guarding = spec(constraints=(replace(bound, guard_only=True),))
    found = judge_screen(guarding, after(sample(52), sample(20)), False)
    assert isinstance(found, Outcome)
    assert found.reason == "Screened"


def test_where_replicas_are_tuned_each_arm_is_held_to_its_own_share() -> None:
    space = SearchSpace((Parameter("n", ReplicaCount(), Numeric(Decimal(5), Decimal(20), Decimal(1), Scale.LINEAR)),))
    about, few = spec(route=ROUTE, space=space), suggestion(assignment=Assignment.of({"n": Decimal(10)}))
    loads = (Load(Arm.CANARY, 100.0, 0.1), Load(Arm.CONTROL, 50.0, 0.1), Load(Arm.TARGET, 42.5))
    assert outcome(after(sample(10), sample(10), load=loads, suggestion=few), about).reason == "Measured"
    same = (replace(loads[0], rps_per_pod=50.0), *loads[1:])
    assert outcome(after(sample(10), sample(10), load=same, suggestion=few), about).reason == "ShareNotAchieved"
