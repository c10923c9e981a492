"""The abort rule beside `test_safety`: several windows together, and what the control tells of how they vary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.unit.control.builders import spec

from trimtab.domain.measurement import Arm, Measurement, Reading, Sample, Window
from trimtab.domain.spec import ExperimentSpec, OutcomeConstraint, Sli, SliKind, ValueQuery
from trimtab.domain.trial import TrialPhase
from trimtab.slo.aborting import aborts, overdispersion, window_check
from trimtab.slo.bounds import Standing, check
from trimtab.slo.estimate import ASSUMED, ratio_sample, value_sample
from trimtab.slo.quantiles import quantile_sample
from trimtab.slo.safety import SafetyWindow, WatchState

GAUGE = Sli("depth", SliKind.VALUE, ValueQuery("avg(queue_depth{$selector})", "1"), 8)
DEPTH = replace(spec().constraints[0], name="depth", sli="depth", maximum=100.0)
VALUES = spec(slis=(GAUGE,), constraints=(DEPTH,), budgets=())
COUNTS = spec(budgets=())
ERRORS = COUNTS.constraints[0]


def counted(bad: float, total: float = 200.0) -> Reading:
    return ratio_sample([bad], [total])


def gauge(value: float) -> Reading:
    return value_sample([value] * 8, None)


def watched(about: ExperimentSpec, sli: str, pairs: Sequence[tuple[Reading, Reading]]) -> WatchState:
    state = WatchState()
    for number, pair in enumerate(pairs):
        span = Window(10.0 * number, 10.0 * (number + 1))
        arms = zip((Arm.CANARY, Arm.CONTROL), pair, strict=True)
        state = state.with_window(SafetyWindow(span, tuple(Measurement(sli, a, span, r) for a, r in arms)), about)
    return state


def depths(canary: Sequence[float], control: Sequence[float]) -> WatchState:
    return watched(VALUES, "depth", [(gauge(a), gauge(b)) for a, b in zip(canary, control, strict=True)])


STEADY, WANDERING = [80.0, 81.0] * 12, [64.0, 70.0, 80.0, 88.0, 96.0, 88.0, 80.0, 74.0] * 3


@pytest.mark.parametrize(
    ("last", "control", "withdrawn"),
    [
        (130.0, STEADY, True),
        (110.0, STEADY, False),  # a spell of a minute tells little of the whole trial
        (130.0, WANDERING, False),  # the control goes up and down as much
        (220.0, WANDERING, True),
    ],
)
def test_a_value_is_judged_by_how_the_controls_windows_vary(last: float, control: list[float], withdrawn: bool) -> None:
    found = aborts(VALUES, DEPTH, depths([90.0] * 20 + [last] * 4, control), None)
    assert (found is not None) == withdrawn
    if found is not None:
        assert (found.phase, found.reason, found.subject) == (TrialPhase.INFEASIBLE, "AbortRule", "depth")
        assert "in 4 of 4 windows, control " in found.message


def test_a_control_at_zero_tells_nothing_of_the_spread() -> None:
    assert aborts(VALUES, DEPTH, depths([90.0] * 8 + [110.0] * 4, [0.0] * 12), None) is None
    assert aborts(VALUES, DEPTH, depths([90.0] * 8 + [200.0] * 4, [0.0] * 12), None) is not None


def test_a_minimum_on_a_value() -> None:
    least = replace(DEPTH, maximum=None, minimum=100.0)
    assert aborts(VALUES, least, depths([50.0] * 6, [120.0, 121.0] * 3), None) is not None
    assert aborts(VALUES, least, depths([95.0] * 6, [120.0, 121.0] * 3), None) is None


def test_windows_that_are_broken_each_are_not_enough_when_the_bound_is_not_broken_by_all() -> None:
    """Windows of 200 requests against a bound of 2 %, in which two or three errors are usual."""
    strict: OutcomeConstraint = replace(ERRORS, maximum=0.02)
    quiet = [(counted(2), counted(2))] * 8
    assert aborts(COUNTS, strict, watched(COUNTS, "errors", quiet + [(counted(13), counted(2))] * 3), None) is None
    assert aborts(COUNTS, strict, watched(COUNTS, "errors", quiet + [(counted(13), counted(2))] * 4), None) is not None
    assert aborts(COUNTS, strict, watched(COUNTS, "errors", quiet + [(counted(16), counted(2))] * 3), None) is not None


def test_the_history_of_the_target_counts_too() -> None:
    state = watched(spec(), "errors", [(counted(2), counted(2))] * 24)
    calm = overdispersion(state.tempered({"errors": 1.0}), "errors")
    assert calm < 3.0
    assert overdispersion(state.tempered({"errors": 6.0}), "errors") == 6.0
    assert overdispersion(state.tempered({"errors": 6.0}), "slow") == 3.0  # nothing known: the prior


def test_without_an_abort_rule_nothing_is_withdrawn() -> None:
    state = depths([500.0] * 12, STEADY[:12])
    assert aborts(VALUES, replace(DEPTH, abort=None), state, None) is None


def test_a_quantile_beyond_all_buckets_is_withdrawn() -> None:
    """98 % of requests take longer than the last bucket's bound of 100."""
    bounds = [50.0, 100.0, math.inf]
    worst, usual = (quantile_sample(bounds, [counts], 0.95) for counts in ([2.0, 2.0, 196.0], [196.0, 4.0, 0.0]))
    seen = watched(VALUES, "depth", [(worst, usual)] * 6)
    found = aborts(VALUES, replace(DEPTH, maximum=60.0), seen, None)
    assert found is not None
    assert found.phase is TrialPhase.INFEASIBLE
    assert aborts(VALUES, replace(DEPTH, maximum=100.0), seen, None) is None  # nobody knows by how much it is beyond
    both = watched(VALUES, "depth", [(worst, worst)] * 6)
    found = aborts(VALUES, replace(DEPTH, maximum=60.0), both, None)
    assert found is not None
    assert found.reason == "ControlFailedToo"


def test_what_a_windows_own_clusters_were_assumed_to_be_the_control_tells_better() -> None:
    """Windows of two parts each, in which errors are independent."""
    many = [(counted(2), counted(2))] * 200
    two = ratio_sample([11, 10], [100, 100])
    assert isinstance(two, Sample)
    assert two.degrees == ASSUMED
    state = watched(COUNTS, "errors", [*many, (two, counted(2))])
    strict = replace(ERRORS, maximum=0.07)
    judged = window_check(COUNTS, strict, state.windows[-1], 1.0)
    assert judged is not None
    assert judged.standing is Standing.BROKEN
    assert check(COUNTS.slis[0], strict, two, None).standing is Standing.OPEN


def test_counts_beside_values_are_taken_as_values() -> None:
    """A reading that lost its counts, as another kind of store gives it."""
    bare = [(Sample(0.12, 0.01, 200.0), Sample(0.01, 0.001, 200.0))] * 6
    assert aborts(COUNTS, ERRORS, watched(COUNTS, "errors", [(counted(24), counted(2)), *bare]), None) is not None
