"""What each outcome becomes as training rows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.unit.optimize.test_readings import arm, outcome
from tests.unit.optimize.toy import ERRORS, SLOW, web, web_study

from trimtab.domain.measurement import Sample
from trimtab.domain.space import Resource
from trimtab.domain.study import ConstraintReading, FailureKind, HardFailure, Study
from trimtab.optimize.data import build_rows, has_counts, load_scale, pooled_overdispersion
from trimtab.optimize.encoding import Encoder
from trimtab.optimize.readings import gather
from trimtab.optimize.surrogate import Rows


def rows(study: Study, target=SLOW, held=()) -> Rows:  # type: ignore[no-untyped-def]
    return build_rows(study, target, Encoder(study.space), load_scale(study), held)


def test_a_trial_gives_its_canary_and_its_control() -> None:
    study = web_study(outcomes=(outcome(0, arm("1", 20)), outcome(1, arm("0.7", 30))))
    found = rows(study)
    assert found.canary.tolist() == [True, False, True, False]
    assert found.trial.tolist() == [0, 0, 1, 1]
    assert found.bad.tolist() == [20, 10, 30, 10]
    assert found.expected.tolist() == [200.0] * 4
    assert np.array_equal(found.at.u[1], Encoder(study.space).encode([study.baseline])[0])


def test_a_relative_bound_has_canary_rows_only_and_no_counts() -> None:
    study = web_study(outcomes=(outcome(0, arm("1", 20)),))
    found = rows(study, replace(SLOW, relative_margin=0.5))
    assert found.canary.tolist() == [True]
    assert math.isnan(found.bad[0])


def test_load_is_measured_from_the_peak() -> None:
    study = web_study(outcomes=(outcome(0, arm("1", 20)),), peak_load=60.0)
    scale = load_scale(study)
    assert (scale.peak, scale.usual) == (0.0, pytest.approx(-1.0))
    assert rows(study).at.z.tolist() == [pytest.approx(-1.0)] * 2
    assert scale.z(None) == scale.z(math.nan) == scale.z(0.0) == pytest.approx(-1.0)
    assert scale.z(1e-30) == -6.0


@pytest.mark.parametrize("name", ["usual_peak", "expected_load"])
def test_the_peak_is_no_less_than_that_of_the_days_before_and_what_is_expected(name: str) -> None:
    study = web_study(outcomes=(outcome(0, arm("1", 20)),), peak_load=60.0)
    assert load_scale(replace(study, **{name: 120.0})).reference == 120.0
    assert load_scale(replace(study, **{name: 50.0})).reference == 60.0


def test_without_a_peak_the_highest_load_seen_stands_in() -> None:
    trial = outcome(0, replace(arm("1", 20), load=45.0))
    scale = load_scale(web_study(outcomes=(trial,), peak_load=None))
    assert scale.reference == 45.0
    assert load_scale(web_study(peak_load=None)).z(10.0) == 0.0
    assert load_scale(web_study(peak_load=math.nan)).reference is None


def test_a_withdrawn_trial_is_a_wide_row_where_it_was_bad_and_none_where_it_was_not() -> None:
    bad = outcome(0, arm("0.5", 3000), truncated=True)  # 75 % slow, no errors
    found = rows(web_study(outcomes=(bad,)))
    assert found.y.tolist() == [pytest.approx(math.log(3))]
    assert found.v.tolist() == [pytest.approx(1.0)]
    assert math.isnan(found.bad[0])
    assert len(rows(web_study(outcomes=(bad,)), ERRORS)) == 0


def test_a_withdrawal_just_over_the_bound_teaches_just_that() -> None:
    """Else the same edge is tried again and again, each time at the cost of requests."""
    found = rows(web_study(outcomes=(outcome(0, arm("0.5", 240), truncated=True),)))  # 6 % slow
    assert found.y.tolist() == [pytest.approx(math.log(1.2), abs=0.01)]
    assert 0.1 < math.sqrt(found.v[0]) < 0.3


def test_a_withdrawal_that_resources_do_not_explain_weighs_little() -> None:
    bad = outcome(0, arm("0.7", 3000), truncated=True)
    study = web_study(outcomes=(bad,))
    assert rows(study, held=(web("0.5", 1024),)).v[0] == pytest.approx(4.0)
    assert rows(study, held=(web("0.5", 1088),)).v[0] == pytest.approx(1.0)


@pytest.mark.parametrize(("load", "variance"), [(30.0, 4.0), (29.0, 4.0), (20.0, 1.0)])
def test_what_held_before_is_not_to_blame_unless_it_held_at_less_load(load: float, variance: float) -> None:
    good = outcome(0, replace(arm("0.5", 20), load=load))
    bad = outcome(1, replace(arm("0.5", 3000), load=30.0), truncated=True)
    study = web_study(outcomes=(good, bad))
    (held,) = (x for x, own in gather(study).items() if own.held(study.constraints))
    assert not gather(study)[held].verifies(study.constraints)
    found = rows(study, held=(held,))
    assert found.v[found.trial == 1].tolist() == [pytest.approx(variance)]


def test_a_withdrawal_for_a_value_is_a_bound_on_one_side_too() -> None:
    """Only the windows up to the withdrawal, chosen for what they showed: never more than three times the bound."""
    latency = replace(SLOW, bound=0.3)
    for value, expected in ((0.9, math.log(3)), (5.0, math.log(3)), (0.36, math.log(1.2)), (0.2, None)):
        told = ConstraintReading("slow", Sample(value, 0.02, 500.0))
        bad = outcome(0, replace(arm("0.5", 20), readings=(told,)), truncated=True)
        found = rows(web_study(outcomes=(bad,)), latency)
        assert found.y.tolist() == ([] if expected is None else [pytest.approx(expected)])
        assert len(found.v) == 0 or found.v[0] >= 0.02**2


@pytest.mark.parametrize(("bad", "expected"), [(30, [math.log(2.0)]), (10, [])])
def test_a_withdrawal_for_a_relative_bound_speaks_only_against_it(bad: int, expected: list[float]) -> None:
    """The control of `outcome` has 10 slow requests; half as many again are allowed."""
    study = web_study(outcomes=(outcome(0, arm("0.5", bad), truncated=True),))
    found = rows(study, replace(SLOW, relative_margin=0.5))
    assert found.y.tolist() == [pytest.approx(g, abs=0.05) for g in expected]
    assert all(found.canary)


def test_an_oom_is_learned_on_its_resource() -> None:
    failed = outcome(0, arm("0.5", 20), failure=HardFailure(FailureKind.OOM, Resource.MEMORY))
    study = web_study(outcomes=(failed,))
    found = rows(study)
    assert (found.y[0], found.v[0]) == (pytest.approx(math.log(3)), pytest.approx(0.25))
    assert np.array_equal(found.at.u, Encoder(study.space).encode([web("1.5", 1024)]))
    crashed = outcome(0, arm("0.5", 20), failure=HardFailure(FailureKind.CRASH, None))
    found = rows(web_study(outcomes=(crashed,)))
    assert np.array_equal(found.at.u, Encoder(study.space).encode([web("0.5", 1024)]))


def test_what_teaches_nothing_has_no_rows() -> None:
    silent = outcome(0, arm("1", 20), learnable=False)
    undated = outcome(1, arm("1", 20), finished=math.nan)
    unread = outcome(2, replace(arm("1", 20), readings=()), control=None)
    assert len(rows(web_study(outcomes=(silent, undated, unread)))) == 0


def test_counts_are_recognized() -> None:
    study = web_study(outcomes=(outcome(0, arm("1", 20)),))
    assert has_counts(study, SLOW)
    assert not has_counts(study, replace(SLOW, name="other"))


def test_what_is_only_roughly_known_of_clustering_is_shared_by_all_trials() -> None:
    """Of one true phi, estimates from eight sub-windows: drawn together, and nearer to it than they were."""
    rng = np.random.default_rng(5)
    for true in (1.5, 4.0):
        runs = [np.maximum(1.0, true * rng.chisquare(7, 26) / 7) for _ in range(50)]
        before, after = (
            np.mean([np.log(each / true) ** 2 for each in found])
            for found in (runs, [pooled_overdispersion(each) for each in runs])
        )
        assert after < 0.4 * before


def test_clustering_that_truly_differs_between_trials_stays_apart() -> None:
    found = np.asarray([1.0, 1.1, 1.0, 1.2, 40.0, 50.0, 45.0, 1.1])
    shared = pooled_overdispersion(found)
    assert shared[4:7].min() > 20
    assert shared[[0, 1, 2, 3, 7]].max() < 2


def test_few_trials_keep_their_own_clustering() -> None:
    few = np.asarray([1.0, 5.0, 2.0])
    assert pooled_overdispersion(few).tolist() == few.tolist()
