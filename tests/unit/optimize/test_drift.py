"""A service that changes under the Experiment: seen by the control, and what is done then."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.unit.optimize.test_acquisition import history
from tests.unit.optimize.test_readings import arm, outcome
from tests.unit.optimize.toy import Service, Suggest, play, search, trial, web_study

from trimtab.domain.study import Study, SymptomKind
from trimtab.domain.trial import Purpose, Suggestion
from trimtab.optimize.designer import recommend, suggest
from trimtab.optimize.drift import LIMIT, REFERENCE, _Cusum, since_change
from trimtab.optimize.readings import gather
from trimtab.optimize.safe import believe, verified

SLOWER = Service(work=0.0145, base_slow=0.008)  # a release that needs half as much CPU again


def changed(before: int, after: int, seed: int = 1, suggest: Suggest = suggest) -> Study:
    """Trials on one service, then on a slower one."""
    study = history(before, seed)
    rng = np.random.default_rng(seed)
    for index in range(before, before + after):
        answer = suggest(replace(study, index=index)).answer
        assert isinstance(answer, Suggestion), answer
        done = trial(SLOWER, study, answer, index, study.now + 60, rng)
        study = replace(study, outcomes=(*study.outcomes, done), index=index + 1, now=done.finished)
    return study


def test_a_change_is_seen_and_what_came_before_only_teaches() -> None:
    study = changed(8, 6)
    now, (symptom,) = since_change(study)
    assert symptom.kind is SymptomKind.DRIFT
    assert "the control changed at trial" in symptom.message
    begun = len(now.inherited)
    assert abs(begun - 8) <= 2
    assert now.inherited + now.outcomes == study.outcomes
    evidence = gather(now)
    assert verified(believe(now, evidence)) == [study.baseline] or len(now.outcomes) > 2
    rows = believe(now, evidence).models[0].rows
    old = rows.trial < begun
    assert np.all(np.isnan(rows.bad[old]))  # counts would claim to be exact
    assert rows.v[old].min() >= 3 * 0.1**2
    assert np.isfinite(rows.bad[~old]).any()


@pytest.mark.thorough
def test_then_the_baseline_is_measured_anew_before_anything_else() -> None:
    study, rng = history(8), np.random.default_rng(5)
    asked: list[Purpose] = []
    for index in range(8, 24):
        proposal = suggest(replace(study, index=index))
        assert isinstance(proposal.answer, Suggestion), proposal.answer
        if asked or any(s.kind is SymptomKind.DRIFT for s in proposal.diagnostics.symptoms):
            asked.append(proposal.answer.purpose)
        done = trial(SLOWER, study, proposal.answer, index, study.now + 60, rng)
        study = replace(study, outcomes=(*study.outcomes, done), now=done.finished)
    assert asked[:2] == [Purpose.BASELINE] * 2
    assert len(asked) > 8
    assert Purpose.BASELINE not in asked[2:]
    assert Purpose.SEARCH in asked


def test_what_was_recommended_before_a_change_is_not_any_more() -> None:
    before = recommend(history(8))
    study = changed(8, 7)
    now, symptoms = since_change(study)
    assert symptoms
    after = recommend(study)
    assert after.assignment in {t.canary.assignment for t in now.outcomes} | {study.baseline}  # type: ignore[union-attr]
    assert SLOWER.worst(after.assignment, study.peak_load or 0) <= 0  # type: ignore[union-attr]
    assert SLOWER.worst(before.assignment, study.peak_load or 0) > 0  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(s, marks=pytest.mark.thorough) for s in range(2, 8))])
def test_an_unchanged_service_never_alarms(seed: int) -> None:
    run = play(web_study(search=search(seed=seed)), Service(), suggest, recommend, 16)
    assert since_change(run.study) == (run.study, ())


def test_alarms_are_as_rare_as_they_are_said_to_be() -> None:
    """One standard deviation of noise, 40 trials, 300 services: a false alarm in about one of 240."""
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(300):
        cusum = _Cusum()
        alarms += any(cusum.add(i, 0.1 * rng.standard_normal(), 0.0, 0.0) is not None for i in range(40))
    assert alarms <= 5


@pytest.mark.parametrize("slope", [0.3, 1.0, 2.5])
def test_the_load_of_the_day_is_no_change(slope: float) -> None:
    """A trial each hour of a day with a swing of a third; g rises with the load, more and more steeply."""
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(100):
        cusum = _Cusum()
        for i in range(48):
            z = math.log2((1 + 0.33 * math.cos(i * math.pi / 12)) / 1.33)
            g = slope * z + 0.3 * slope * z * z + 0.1 * rng.standard_normal()
            alarms += cusum.add(i, g, 0.0, z) is not None
    assert alarms <= 3


def test_a_change_is_seen_in_spite_of_the_load() -> None:
    cusum, found = _Cusum(), None
    for number in range(40):
        z = math.log2((1 + 0.33 * math.cos(number * math.pi / 12)) / 1.33)
        found = cusum.add(number, 1.5 * z + (0.0 if number < 24 else 0.4), 0.0, z)
        if found is not None:
            break
    assert found == 24
    assert number <= 30


def test_a_shift_of_three_deviations_is_seen_in_about_four_trials() -> None:
    cusum, found = _Cusum(), None
    for number in range(20):
        found = cusum.add(number, 0.0 if number < 10 else 0.3 * 1.1, 0.0, 0.0)
        if found is not None:
            break
    assert (found, number) == (10, 13)
    assert 3.3 * 4 - 4 * REFERENCE > LIMIT > 3.3 * 3 - 3 * REFERENCE - 2


def test_without_controls_nothing_is_said() -> None:
    study = web_study(outcomes=tuple(outcome(i, arm("1.5", 20 if i < 6 else 400)) for i in range(14)))
    assert since_change(study) == (study, ())
