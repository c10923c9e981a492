"""The ledger turned into the Designer's question."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from tests.unit.control.builders import (
    CHEAPER,
    NOW,
    ended,
    measured,
    running,
    spec,
    suggestion,
    target,
    trial,
)

from trimtab.control.study import build_study
from trimtab.domain.measurement import Arm
from trimtab.domain.space import Assignment
from trimtab.domain.spec import OutcomeConstraint, RelativeBound, WarmStart
from trimtab.domain.study import Recommended, TrialOutcome
from trimtab.domain.trial import Load, Outcome, Purpose, Suggestion, Trial, TrialPhase
from trimtab.optimize.designer import recommend, suggest


def targets(bound: OutcomeConstraint) -> list[tuple[str, float | None, float | None]]:
    state = running()
    assert state.target is not None
    study = build_study(spec(constraints=(bound,)), target(), state.target, (), NOW)
    return [(t.name, t.relative_margin, t.relative_increase) for t in study.constraints]


def test_no_bound_is_left_out() -> None:
    """What the model does not know, it holds safe."""
    bound = replace(spec().constraints[0], maximum=None)
    assert targets(replace(bound, relative=RelativeBound(max_increase_ratio=0.1))) == [("errors", 0.1, None)]
    assert targets(replace(bound, relative=RelativeBound(max_increase=0.001))) == [("errors", None, 0.001)]
    both = replace(bound, maximum=0.01, minimum=0.001, relative=RelativeBound(max_increase=0.001))
    assert [name for name, _, _ in targets(both)] == ["errors", "errors/min", "errors/relative"]


def test_safety_is_asked_for_the_load_that_pods_get_once_the_arms_are_gone() -> None:
    done = trial(TrialPhase.SUCCEEDED, finalized=False, load=(Load(Arm.CANARY, 100.0), Load(Arm.CONTROL, 110.0)))
    done = replace(done, measurements=measured(done, 5))
    state = running()
    assert state.target is not None
    study = build_study(spec(), target(), state.target, (done,), NOW)
    assert study.peak_load == pytest.approx(105.0 * 22 / 20)  # both arms together tell the load of their Service


@pytest.mark.parametrize(("usual", "peak"), [(None, 105.0 * 1.1), (85.0, 105.0 * 1.1), (80.0, None)])
def test_what_a_trial_saw_in_a_crowd_is_no_peak(usual: float | None, peak: float | None) -> None:
    done = trial(TrialPhase.SUCCEEDED, finalized=False, load=(Load(Arm.CANARY, 105.0), Load(Arm.CONTROL, 105.0)))
    done = replace(done, measurements=measured(done, 5), suggestion=replace(done.suggestion, usual_peak=usual))
    state = running()
    assert state.target is not None
    study = build_study(spec(), target(), state.target, (done,), NOW)
    assert study.usual_peak == usual
    assert study.peak_load == (None if peak is None else pytest.approx(peak))


def test_beside_trials_of_an_ordinary_day_one_in_a_crowd_is_no_peak_either() -> None:
    seen = []
    for index, rate in enumerate((105.0, 250.0)):
        load = (Load(Arm.CANARY, rate), Load(Arm.CONTROL, rate))
        done = trial(TrialPhase.SUCCEEDED, index=index, finalized=False, load=load)
        done = replace(done, measurements=measured(done, 5), suggestion=replace(done.suggestion, usual_peak=100.0))
        seen.append(replace(done, window=None))  # nobody can tell what ran beside it
    state = running()
    assert state.target is not None
    study = build_study(spec(), target(), state.target, tuple(seen), NOW)
    assert study.peak_load == pytest.approx(105.0 * 1.1)


@pytest.mark.parametrize(
    ("reason", "truncated"), [("AbortRule", True), ("WorseThanControl", True), ("BoundBroken", False)]
)
def test_a_withdrawal_at_the_last_moment_is_no_measurement(reason: str, truncated: bool) -> None:
    state = running()
    assert state.target is not None
    late = trial(TrialPhase.INFEASIBLE, outcome=Outcome(TrialPhase.INFEASIBLE, reason, "slow"))
    assert late.window is not None
    late = replace(late, times=replace(late.times, draining=late.window.end + 1, finished=late.window.end + 9))
    late = replace(late, environment=replace(late.environment, template_hash=state.target.template_hash))
    (outcome,) = build_study(spec(), target(), state.target, (late,), NOW).outcomes
    assert outcome.truncated is truncated


def hints(*earlier: Trial, max_age: float = 1e6) -> tuple[TrialOutcome, ...]:
    state = running()
    assert state.target is not None
    warm = spec(warm_start=WarmStart("old", "", max_age))
    return build_study(warm, target(), state.target, (), NOW, earlier=earlier).hints


def test_earlier_trials_are_hints_with_the_baseline_that_their_control_ran() -> None:
    first = ended(TrialPhase.SUCCEEDED, 0, suggestion=suggestion(purpose=Purpose.BASELINE, assignment=CHEAPER))
    first, later = (replace(t, measurements=measured(t, 5)) for t in (first, ended(TrialPhase.SUCCEEDED, 1)))
    alone = replace(later, experiment_uid="another")
    told = hints(first, later, alone, ended(TrialPhase.ABORTED, 2))
    assert [h.index for h in told] == [0, 1, 1]
    assert [h.control.assignment if h.control is not None else None for h in told] == [CHEAPER, CHEAPER, None]
    assert hints(first, later, max_age=0.5) == ()  # they ended a second before


def test_given_assignments_leave_the_rest_as_it_is_today() -> None:
    state = running()
    assert state.target is not None
    warm = spec(warm_start=WarmStart("", "", 1e6, (Assignment.of({"cpu": Decimal("0.5")}),)))
    (wanted,) = build_study(warm, target(), state.target, (), NOW).wanted
    assert wanted == state.target.baseline.replace("cpu", Decimal("0.5"))


def on(template: str, *trials: Trial) -> tuple[Trial, ...]:
    return tuple(
        replace(t, measurements=measured(t, 5), environment=replace(t.environment, template_hash=template))
        for t in trials
    )


def test_trials_of_another_template_are_inherited_and_nothing_else() -> None:
    """They teach; the search begins with the baseline, and counts of trials stay what they are."""
    state = running()
    assert state.target is not None
    now = state.target.template_hash
    first = suggestion(purpose=Purpose.BASELINE, assignment=CHEAPER)
    before = (ended(TrialPhase.SUCCEEDED, 0, suggestion=first), ended(TrialPhase.SUCCEEDED, 1))
    wasted = ended(TrialPhase.STALE, 2)
    after = on(now, ended(TrialPhase.SUCCEEDED, 3))
    study = build_study(spec(), target(), state.target, (*on("old", *before, wasted), *after), NOW)
    assert [o.index for o in study.inherited] == [0, 1]
    assert [o.index for o in study.outcomes] == [3]
    # The controls of then ran what the target was then, the one of now what it is now.
    controls = [o.control.assignment for o in (*study.inherited, *study.outcomes) if o.control is not None]
    assert controls == [CHEAPER, CHEAPER, state.target.baseline]
    assert (study.index, study.max_trials) == (4, spec().stopping.max_trials + 1)
    alone = build_study(spec(), target(), state.target, on("old", before[1]), NOW)
    assert alone.outcomes == ()
    assert [o.control for o in alone.inherited] == [None]  # nobody knows what it ran
    assert alone.now == before[1].times.finished
    assert study.baseline == state.target.baseline


def test_a_new_template_is_measured_anew_before_anything_is_tried() -> None:
    state = running()
    assert state.target is not None
    old = on("old", *(ended(TrialPhase.SUCCEEDED, i, suggestion=suggestion(assignment=CHEAPER)) for i in range(6)))
    study = build_study(spec(), target(), state.target, old, NOW)
    answer = suggest(study).answer
    assert isinstance(answer, Suggestion)
    assert (answer.purpose, answer.assignment) == (Purpose.BASELINE, study.baseline)
    recommended = recommend(study)
    assert isinstance(recommended, Recommended)
    assert recommended.keep_baseline
