"""What a recommendation says of each SLI: predictions in its own unit, and what fresh trials measured."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from scipy.stats import beta
from tests.unit.control.builders import measured, spec, trial

from trimtab.control.outlook import TWO_SIDED_95, outlook
from trimtab.domain.measurement import Arm
from trimtab.domain.spec import OutcomeConstraint, RelativeBound, Sli, SliKind, ValueQuery
from trimtab.domain.study import ConstraintTarget
from trimtab.domain.trial import Prediction, Trial, TrialPhase

ERRORS = ConstraintTarget("errors", SliKind.ERRORS, 0.01)


def fresh(*bad: float) -> tuple[Trial, ...]:
    trials = [trial(TrialPhase.SUCCEEDED, index) for index in range(len(bad))]
    return tuple(replace(t, measurements=measured(t, b)) for t, b in zip(trials, bad, strict=True))


def test_a_prediction_is_told_in_the_unit_of_the_sli() -> None:
    (found,) = outlook(spec(), (ERRORS,), (Prediction("errors", math.log(0.5), 0.1),), ())
    assert found.predicted is not None
    assert found.predicted.value == pytest.approx(0.005)
    assert found.predicted.low == pytest.approx(0.005 * math.exp(-TWO_SIDED_95 * 0.1))
    assert found.predicted.high == pytest.approx(0.005 * math.exp(TWO_SIDED_95 * 0.1))
    assert (found.verified, found.control) == (None, None)


def test_a_fraction_stays_a_fraction() -> None:
    (found,) = outlook(spec(), (ERRORS,), (Prediction("errors", 0.0, 9.0),), ())
    assert found.predicted is not None
    assert (found.predicted.low > 0, found.predicted.high) == (True, 1.0)


def test_of_a_minimum_the_smaller_value_is_the_worse_one() -> None:
    rate = Sli("rate", SliKind.VALUE, ValueQuery("avg(r{$selector})", "1"), 1)
    bound = OutcomeConstraint("floor", "rate", None, 100.0, None, 0.95, None)
    target = ConstraintTarget("floor", SliKind.VALUE, 100.0, upper=False)
    (found,) = outlook(
        spec(slis=(rate,), constraints=(bound,)), (target,), (Prediction("floor", math.log(0.5), 0.2),), ()
    )
    assert found.predicted is not None
    assert found.predicted.value == pytest.approx(200.0)
    assert found.predicted.low < 200.0 < found.predicted.high


def test_a_bound_relative_to_the_control_predicts_no_value() -> None:
    bound = OutcomeConstraint("errors", "errors", 0.01, None, RelativeBound(0.1, None), 0.95, None)
    targets = (ERRORS, ConstraintTarget("errors/relative", SliKind.ERRORS, 1.0, True, 0.1))
    predictions = (Prediction("errors", math.log(0.5), 0.1), Prediction("errors/relative", -0.05, 0.1))
    (found,) = outlook(spec(constraints=(bound,)), targets, predictions, ())
    assert found.predicted is not None
    assert found.predicted.value == pytest.approx(0.005)
    assert outlook(spec(constraints=(bound,)), targets[1:], predictions[1:], ()) == ()


def test_fresh_trials_are_pooled_canary_beside_control() -> None:
    trials = fresh(10, 30)
    control = [replace(m, reading=replace(m.reading, bad=5.0)) for m in trials[0].measurements if m.arm is Arm.CONTROL]
    trials = (replace(trials[0], measurements=(trials[0].measurements[0], *control)), trials[1])
    (found,) = outlook(spec(), (ERRORS,), (), trials)
    assert found.verified is not None
    assert found.control is not None
    assert found.verified.value == pytest.approx(40 / 10_000)
    assert found.control.value == pytest.approx(35 / 10_000)
    assert found.verified.low == pytest.approx(beta.ppf(0.025, 40, 9961), rel=0.01)  # Clopper and Pearson
    assert found.verified.high == pytest.approx(beta.ppf(0.975, 41, 9960), rel=0.01)


def test_what_one_trial_could_not_measure_is_not_claimed() -> None:
    lacking = replace(fresh(10)[0], measurements=())
    assert outlook(spec(), (ERRORS,), (), (*fresh(10), lacking)) == ()
