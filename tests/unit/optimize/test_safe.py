"""The sets V, C and S, and kappa."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from tests.unit.optimize.test_acquisition import history
from tests.unit.optimize.test_readings import arm, outcome
from tests.unit.optimize.toy import MI, web, web_space, web_study

from trimtab.domain.measurement import Sample
from trimtab.domain.space import Order, Ratio, Resource, SearchSpace, Sum
from trimtab.domain.spec import SliKind
from trimtab.domain.study import (
    ArmOutcome,
    ConstraintReading,
    ConstraintTarget,
    FailureKind,
    HardFailure,
    SymptomKind,
    TrialOutcome,
)
from trimtab.domain.trial import Purpose
from trimtab.optimize import safe
from trimtab.optimize.readings import gather
from trimtab.optimize.recommend import recommendable
from trimtab.optimize.safe import (
    adaptive_kappa,
    believe,
    boxes,
    inside,
    is_safe,
    neighbours,
    reachable,
    upper_limits,
    verified,
)
from trimtab.optimize.steps import below_floor, within_steps


def belief_of(study):  # type: ignore[no-untyped-def]
    return believe(study, gather(study))


def test_beta_shares_delta_over_the_bounds() -> None:
    study = history(3)
    assert belief_of(study).beta == pytest.approx(norm.ppf(1 - 0.05 / 2))
    guarded = replace(study, constraints=(study.constraints[0], replace(study.constraints[1], guard_only=True)))
    belief = belief_of(guarded)
    assert belief.beta == pytest.approx(norm.ppf(0.95))
    assert [t.name for t in belief.targets] == ["slow"]


def test_v_has_the_baseline_and_what_holds_at_peak() -> None:
    study = history(9)
    belief = belief_of(study)
    members = verified(belief)
    assert study.baseline in members
    costs = [study.cost.hourly(x) for x in members]
    assert costs == sorted(costs)
    others = [x for x in members if x != study.baseline]
    assert others
    assert np.all(upper_limits(belief, others, 1.64) <= 0)


def test_v_leaves_out_what_was_withdrawn_or_failed_verification() -> None:
    study = history(9)
    cheapest = verified(belief_of(study))[0]
    assert cheapest not in verified(belief_of(replace(study, excluded=(cheapest,))))
    again = outcome(99, arm("1", 20), truncated=True)
    again = replace(again, canary=replace(again.canary, assignment=cheapest))
    assert cheapest not in verified(belief_of(replace(study, outcomes=(*study.outcomes, again))))
    assert verified(belief_of(replace(study, excluded=(study.baseline,))))[-1] == study.baseline


def test_s_is_below_every_bound_by_kappa_beta() -> None:
    belief = belief_of(history(7))
    width = belief.kappa * belief.beta
    mean = np.asarray([[-1.0, -1.0, 0.1], [-2.0, -0.1, -3.0]])
    sd = np.asarray([[0.9 / width, 0.1, 0.0], [0.1, 0.5, 0.1]])
    assert is_safe(belief, mean, sd).tolist() == [True, False, False]


def test_a_queue_that_was_empty_makes_nothing_far_off_safe() -> None:
    """Ten trials with at least 0.8 cores read a depth of 0; the first that holds something is no outlier."""
    depth = ConstraintTarget("depth", SliKind.VALUE, bound=100.0)

    def run(index: int, cpu: str, canary: Sample) -> TrialOutcome:
        arms = ((web(cpu, 1280), canary), (web("1.5", 1536), Sample(0.0, 0.0, 60.0)))
        one, other = (ArmOutcome(x, 30.0, (ConstraintReading("depth", seen),)) for x, seen in arms)
        return TrialOutcome(index, Purpose.SEARCH, 1.8e9 + 600 * index, one, other)

    empty = [run(i, f"{1.4 - 0.06 * i:.2f}", Sample(0.0, 0.0, 60.0)) for i in range(10)]
    study = web_study(constraints=(depth,), outcomes=tuple(empty), now=1.8e9 + 9000)
    belief = belief_of(study)
    assert np.all(upper_limits(belief, [web("1.4", 1280), web("0.86", 1280)], 1.64) <= 0)
    assert np.all(upper_limits(belief, [web("0.3", 512)], 1.64) > 0)
    some = belief_of(replace(study, outcomes=(*empty, run(10, "0.8", Sample(5.0, 0.5, 60.0)))))
    assert SymptomKind.OUTLIER not in [s.kind for s in some.symptoms]


RULES = (Order("order", "cpu", "memory"), Ratio("burst", "memory", "cpu", 1.2e9), Sum("sum", (("cpu", 1.0),), 1.2))


def test_trials_side_by_side_share_delta_too() -> None:
    """Chosen by the same evidence they may be wrong together: the chance that any of them is unsafe stays delta."""
    belief = belief_of(history(7))
    beside = replace(belief, study=replace(belief.study, pending=(web("0.9", 896), web("0.8", 960))))
    bounds = len(belief.targets)
    widths = belief.kappa * norm.ppf(1 - 0.05 / (3 * bounds))
    sd = np.full((bounds, 2), 1.0)
    mean = np.tile([-widths - 1e-9, -widths + 1e-9], (bounds, 1))
    assert is_safe(belief, mean, sd).tolist() == [True, True]
    assert is_safe(beside, mean, sd).tolist() == [True, False]
    baseline = replace(belief, study=replace(belief.study, pending=(belief.study.baseline,)))
    assert is_safe(baseline, mean, sd).tolist() == [True, True]


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 6), st.floats(0.2, 2.0), st.integers(256, 2048), st.booleans(), st.integers(0, 2**31), st.booleans()
)
def test_c_never_leaves_the_limits(
    trials: int, floor_cpu: float, floor_mib: int, ruled: bool, seed: int, large: bool
) -> None:
    """Whatever the history, floors and rules: C breaks no floor and no rule and stays within one step limit."""
    places = [
        web("1.5", 1536),
        web("1.1", 1536),
        web("1.45", 1216),
        web("0.9", 1024),
        web("0.25", 320),
        web("1.13", 999),
    ]
    outcomes = tuple(
        replace(outcome(i, arm("1", 10)), canary=replace(arm("1", 10), assignment=places[i])) for i in range(trials)
    )
    space = SearchSpace(web_space().parameters, RULES if ruled else ())
    floors = (("cpu", floor_cpu), ("memory", float(floor_mib * MI)))
    study = web_study(space=space, outcomes=outcomes, floors=floors)
    belief = belief_of(study)
    members = verified(belief)
    limits = boxes(study, members)
    enumerate_up_to, safe.ENUMERATE = safe.ENUMERATE, 0 if large else safe.ENUMERATE
    try:
        points = reachable(belief.grid, limits, seed)
    finally:
        safe.ENUMERATE = enumerate_up_to
    points = np.concatenate([points, neighbours(points[:3], limits, belief.grid)])
    for point in points[:: max(1, len(points) // 40)]:
        assignment = belief.grid.assignment(point)
        assert within_steps(space, assignment, members)
        assert not below_floor(study, assignment)
        assert space.violated(assignment) is None


def test_nothing_at_or_below_an_oom_is_reachable() -> None:
    failure = HardFailure(FailureKind.OOM, Resource.MEMORY)
    study = web_study(outcomes=(outcome(0, replace(arm("1", 10), assignment=web("1", 1344)), failure=failure),))
    belief = belief_of(study)
    points = reachable(belief.grid, boxes(study, verified(belief)), 0)
    assert len(points)
    assert belief.grid.number("memory", points).min() > 1344 * MI


def test_inside_needs_one_box() -> None:
    limits = np.asarray([[[0, 2], [5, 9]], [[4, 6], [0, 1]]])
    points = np.asarray([[1, 7], [5, 1], [1, 1], [5, 7], [2, 9]])
    assert inside(points, limits, np.asarray([-1, -1])).tolist() == [True, True, False, False, True]
    assert inside(points, limits, np.asarray([5, -1])).tolist() == [True, True, False, True, True]


def test_kappa_rises_when_surprised_and_relaxes_when_not() -> None:
    study = history(12)
    calm = belief_of(study)
    expected = safe.KAPPA_START
    for _ in study.outcomes[2:]:
        expected = max(expected - 0.25 * 0.05, 1.0)
    assert calm.kappa == pytest.approx(expected)
    bad = outcome(50, replace(arm("1", 3500), assignment=web("1.45", 1536)))
    shocked = belief_of(replace(study, outcomes=(*study.outcomes, bad)))
    assert shocked.kappa > calm.kappa
    assert shocked.kappa <= 2.0


def test_kappa_stays_within_its_limits() -> None:
    class Fake:
        def __init__(self, z: float, n: int) -> None:
            self.rows = type("R", (), {"trial": np.arange(n), "canary": np.ones(n, bool), "__len__": lambda _: n})()
            self._z = np.full(n, z)

        def residuals(self) -> np.ndarray:
            return self._z

    assert adaptive_kappa((Fake(99.0, 30),), 2.0, 0.05) == 2.0  # type: ignore[arg-type]
    assert adaptive_kappa((Fake(0.0, 200),), 2.0, 0.05) == 1.0  # type: ignore[arg-type]
    assert adaptive_kappa((Fake(99.0, 2),), 2.0, 0.05) == safe.KAPPA_START  # type: ignore[arg-type]
    assert adaptive_kappa((), 2.0, 0.05) == safe.KAPPA_START


def test_peak_load_makes_it_careful() -> None:
    study = history(8)
    usual, peak = belief_of(replace(study, peak_load=28.0)), belief_of(replace(study, peak_load=60.0))
    points = usual.grid.all_points()
    counts = [int(is_safe(b, *b.predict(b.grid.encode(points))).sum()) for b in (usual, peak)]
    assert counts[0] > counts[1]


def test_purpose_does_not_matter_for_evidence() -> None:
    study = history(8)
    renamed = replace(study, outcomes=tuple(replace(t, purpose=Purpose.VERIFICATION) for t in study.outcomes))
    assert verified(belief_of(renamed)) == verified(belief_of(study))


def test_a_screen_alone_verifies_nothing() -> None:
    """Of 4,000 requests 10 were slow, of 5 % that may be: a short window does not show what a long one does."""
    near = web("1.2", 1024)
    sure = [outcome(i, replace(arm("1", 10), assignment=web("1.3", 1024))) for i in range(4)]
    short = outcome(9, replace(arm("1", 10, 4000), assignment=near), purpose=Purpose.SCREEN)
    whole = replace(short, purpose=Purpose.SEARCH)
    member = [near in verified(belief_of(web_study(outcomes=(*sure, each)))) for each in (short, whole)]
    assert member == [False, True]


def test_a_screen_alone_is_never_recommended() -> None:
    place = web("1.2", 1024)
    whole = [outcome(i, replace(arm("1", 10), assignment=place)) for i in range(3)]
    short = [replace(each, purpose=Purpose.SCREEN) for each in whole]
    assert recommendable(belief_of(web_study(outcomes=tuple(whole), peak_load=None))) == [place]
    assert recommendable(belief_of(web_study(outcomes=tuple(short), peak_load=None))) == []
