"""Space-filling without a model."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import qmc
from tests.unit.optimize.test_encoding import mixed_study
from tests.unit.optimize.test_readings import arm, outcome
from tests.unit.optimize.toy import MI, Service, play, search, web, web_space, web_study

from trimtab.domain.study import Hold, HoldReason, Recommended, Study
from trimtab.domain.trial import Purpose, Suggestion
from trimtab.optimize import sobol
from trimtab.optimize.readings import gather
from trimtab.optimize.steps import within_steps


def suggested(study: Study) -> Suggestion:
    answer = sobol.suggest(study).answer
    assert isinstance(answer, Suggestion)
    return answer


def baselines(study: Study) -> Study:
    own = replace(arm("1.5", 10), assignment=study.baseline)
    return replace(study, outcomes=(outcome(0, own), outcome(1, own)), index=2)


def test_points_are_sobols() -> None:
    expected = qmc.Sobol(d=12, scramble=False, bits=30).random_base2(7)
    found = np.asarray([sobol.sobol(i, 12) for i in range(128)])
    assert np.array_equal(found, expected)


def test_a_shift_keeps_the_net_and_depends_on_the_seed() -> None:
    points = np.asarray([sobol.sobol(i, 2, seed=3) for i in range(64)])
    cells = {(int(8 * x), int(8 * y)) for x, y in points}
    assert len(cells) == 64  # one in each of 8 x 8
    assert sobol.sobol(5, 2, seed=3) == sobol.sobol(5, 2, seed=3) != sobol.sobol(5, 2, seed=4)


def test_beyond_twelve_dimensions_columns_differ() -> None:
    point = sobol.sobol(7, 14, seed=1)
    assert point[0] != point[12]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 60), st.floats(0.05, 0.9))
def test_suggestions_stay_within_the_step_limits_and_cost_less(seed: int, index: int, decrease: float) -> None:
    study = baselines(web_study(space=web_space(decrease), search=search(seed=seed)))
    answer = suggested(replace(study, index=index))
    assert within_steps(study.space, answer.assignment, [study.baseline])
    assert study.cost.hourly(answer.assignment) < study.cost.hourly(study.baseline)
    assert not answer.by_model


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_mixed_spaces(seed: int) -> None:
    study = baselines(replace(mixed_study(), search=search(seed=seed)))
    answer = suggested(study)
    assert within_steps(study.space, answer.assignment, [study.baseline])
    assert study.space.violated(answer.assignment) is None


def test_the_step_shrinks_with_the_slack() -> None:
    wide, narrow = (
        baselines(web_study(space=web_space(0.5))),
        replace(
            baselines(web_study(space=web_space(0.5))),
            outcomes=(outcome(0, arm("1.5", 150)),) * 2,  # 3.75 % of at most 5 %
        ),
    )
    narrow = replace(
        narrow,
        outcomes=tuple(replace(t, canary=replace(t.canary, assignment=narrow.baseline)) for t in narrow.outcomes),
    )
    far = [study.baseline.number("cpu") - suggested(study).assignment.number("cpu") for study in (wide, narrow)]
    assert far[0] > far[1] > 0


def test_nothing_below_a_withdrawn_assignment() -> None:
    study = baselines(web_study())
    bad = outcome(2, replace(arm("1.4", 3000), assignment=web("1.4", 1472)), truncated=True)
    study = replace(study, outcomes=(*study.outcomes, bad), index=3)
    for index in range(3, 40):
        answer = sobol.suggest(replace(study, index=index)).answer
        if isinstance(answer, Suggestion):
            x = answer.assignment
            assert x.number("cpu") > Decimal("1.4") or x.number("memory") > 1472 * MI


def test_it_moves_on_from_what_it_verified() -> None:
    run = play(web_study(search=search("Sobol")), Service(), sobol.suggest, nothing, 9)
    study = run.study
    first = [t.canary.assignment for t in study.outcomes if t.purpose is Purpose.INITIAL]
    last = run.suggestions[-1].assignment
    assert len(first) == 3
    assert study.cost.hourly(last) < study.cost.hourly(first[0])
    members = sobol.verified(study, gather(study))
    assert len(members) > 3
    assert run.gross == 0


def nothing(study: Study) -> Recommended:
    return Recommended(study.baseline, True, 0.0, (), "")


def test_floors_and_excluded_assignments_are_kept() -> None:
    study = baselines(web_study(floors=(("cpu", 1.4), ("memory", 1400.0 * MI))))
    answer = suggested(study)
    assert answer.assignment.number("cpu") >= Decimal("1.4")
    assert answer.assignment.number("memory") >= 1400 * MI
    other = suggested(replace(study, excluded=(answer.assignment,)))
    assert other.assignment != answer.assignment


def test_no_room_is_a_hold() -> None:
    study = baselines(web_study(floors=(("cpu", 3.0),)))
    answer = sobol.suggest(study).answer
    assert isinstance(answer, Hold)
    assert answer.reason is HoldReason.SPACE_EXHAUSTED


def test_the_reason_for_the_fallback_is_recorded() -> None:
    assert sobol.suggest(web_study(), "no answer within 10 s").diagnostics.fallback == "no answer within 10 s"


@pytest.mark.parametrize("index", [0, 1])
def test_the_baseline_comes_first(index: int) -> None:
    answer = suggested(web_study(index=index))
    assert (answer.purpose, answer.assignment) == (Purpose.BASELINE, web("1.5", 1536))
