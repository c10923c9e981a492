"""The choice and the expander: tails, limits, Monte Carlo."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import norm
from tests.unit.optimize.toy import Service, play, search, web, web_space, web_study

from trimtab.domain.space import Assignment
from trimtab.domain.study import Study
from trimtab.optimize import acquisition
from trimtab.optimize.acquisition import Choice, choose, entry_chance
from trimtab.optimize.designer import recommend, suggest
from trimtab.optimize.readings import gather
from trimtab.optimize.recommend import recommendable
from trimtab.optimize.safe import Belief, believe, boxes, inside, is_safe, verified
from trimtab.optimize.scores import Odds, constrained_ei
from trimtab.optimize.steps import within_steps


def test_entry_chance_against_simulation() -> None:
    mean, sd, gain, widths = -0.2, 0.3, 0.6, 2.0
    rng = np.random.default_rng(0)
    new_mean = mean + sd * math.sqrt(gain) * rng.standard_normal(200_000)
    share = float(np.mean(new_mean + widths * sd * math.sqrt(1 - gain) <= 0))
    one = np.asarray([mean]), np.asarray([sd]), np.asarray([gain])
    assert entry_chance(*one, widths)[0] == pytest.approx(share, abs=0.005)


def test_entry_chance_at_its_limits() -> None:
    mean, sd = np.asarray([-0.5, -0.5]), np.asarray([0.2, 0.3])
    assert entry_chance(mean, sd, np.zeros(2), 2.0).tolist() == [1.0, 0.0]
    whole = entry_chance(mean, sd, np.ones(2), 2.0)
    assert whole == pytest.approx(norm.cdf(0.5 / sd), abs=1e-3)


@cache
def history(trials: int = 9, seed: int = 1) -> Study:
    """What is known after so many trials; played once."""
    run = play(web_study(search=search(seed=seed)), Service(), suggest, recommend, trials)
    return replace(run.study, index=trials, now=1.8e9 + 3600.0 * trials)


def answer(belief: Belief) -> Assignment:
    """What would be recommended now."""
    return next(iter(recommendable(belief)), belief.study.baseline)


def chosen(belief: Belief, members: list[Assignment], banned: Collection[Assignment] = ()) -> Choice:
    """The choice at a moment of a run."""
    return choose(belief, members, answer(belief), banned, 0)


def moment(rule: str) -> tuple[Belief, list[Assignment]]:
    """The first moment of a run at which the choice follows this rule."""
    for trials in range(5, 14):
        study = history(trials)
        belief = believe(study, gather(study))
        members = verified(belief)
        if chosen(belief, members).rule == rule:
            return belief, members
    raise AssertionError(f"no {rule} in the run")


def test_the_choice_is_the_best_safe_point_of_the_whole_reach() -> None:
    """The pool and its refinement find what an exhaustive look at C finds."""
    belief, members = moment("Improve")
    study = belief.study
    choice = chosen(belief, members)
    assert choice.assignment is not None
    grid = belief.grid
    points = grid.all_points()
    points = points[inside(points, boxes(study, members), grid.rest) & grid.admissible(points)]
    mean, sd = belief.predict(grid.encode(points))
    saving = (study.cost.hourly(answer(belief)) - grid.hourly(points)) / study.cost.hourly(study.baseline)
    values = np.where(
        is_safe(belief, mean, sd) & (saving > 0.004),
        constrained_ei(Odds(belief, grid.encode(points), saving, mean, sd)),
        -np.inf,
    )
    assert choice.assignment == grid.assignment(points[int(np.argmax(values))])
    assert choice.value == pytest.approx(values.max())


def test_a_verified_point_that_cannot_be_recommended_does_not_end_the_search() -> None:
    """What is improved is what would be recommended now: dearer than the cheapest of V, where that stays uncertain."""
    belief, members = moment("Expand")  # nothing safe is cheaper than what would be recommended
    choice = choose(belief, members, belief.study.baseline, (members[0],), 0)
    cost = belief.study.cost.hourly
    assert choice.rule == "Improve"
    assert choice.assignment is not None
    assert cost(members[0]) < cost(choice.assignment) < cost(belief.study.baseline)


def test_large_grids_are_searched_by_samples_and_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    belief, members = moment("Improve")
    study = belief.study
    whole = chosen(belief, members)
    monkeypatch.setattr("trimtab.optimize.safe.ENUMERATE", 0)
    monkeypatch.setattr("trimtab.optimize.safe.SAMPLES", 64)
    sampled = chosen(belief, members)
    assert sampled.value is not None
    assert whole.value is not None
    assert sampled.value >= whole.value - 3.0  # a few per cent of one step's saving
    assert sampled == chosen(belief, members)
    assert sampled.assignment is not None
    assert within_steps(study.space, sampled.assignment, members)


def test_banned_points_are_not_chosen() -> None:
    belief, members = moment("Improve")
    first = chosen(belief, members)
    assert first.assignment is not None
    second = chosen(belief, members, (first.assignment, web("9", 100)))
    assert second.assignment != first.assignment


def test_the_expander_measures_a_safe_point(monkeypatch: pytest.MonkeyPatch) -> None:
    belief, members = moment("Expand")
    choice = chosen(belief, members)
    assert choice.assignment is not None
    mean, sd = belief.predict(belief.encoder.encode([choice.assignment]))
    assert is_safe(belief, mean, sd)[0]
    assert choice.reason.startswith("may show that ")
    monkeypatch.setattr(acquisition, "MIN_UNLOCKED", 1.0)
    nothing = chosen(belief, members)
    assert nothing.assignment is None
    assert "unlock" in nothing.reason


def test_without_an_admissible_point_the_space_is_exhausted() -> None:
    study = history(7)
    study = replace(study, floors=(("cpu", 9.0),))
    belief = believe(study, gather(study))
    assert chosen(belief, verified(belief)).exhausted


def test_without_bounds_only_cost_counts() -> None:
    study = replace(history(2), constraints=(), space=web_space(0.5))
    belief = believe(study, {})
    choice = chosen(belief, verified(belief))
    assert choice.assignment == web("0.75", 768)


def test_a_reading_of_the_night_says_nothing_against_one_of_the_day() -> None:
    study = history(12)
    study = replace(study, usual_peak=study.peak_load)
    belief = believe(study, gather(study))
    best = recommendable(belief)[0]
    for rows in belief.evidence[best].observations.values():
        by_day = [replace(row, load=belief.loads.reference) for row in rows]
        rows[:] = [*by_day, *(replace(row, load=row.load and row.load / 8) for row in by_day)]
    assert best in recommendable(belief)
    for rows in belief.evidence[best].observations.values():
        rows[:] = rows[len(rows) // 2 :]
    assert best not in recommendable(belief)


def test_what_was_measured_must_leave_room_for_a_load_that_no_arm_saw() -> None:
    """At two per octave of load, whatever the model makes of it."""
    study = history(12)
    belief = believe(study, gather(study))
    best = recommendable(belief)[0]
    measured = [belief.evidence[best].interval(t.name) for t in belief.targets]
    octaves = -max(point[1] for point in measured if point is not None) / 2.0
    for rows in belief.evidence[best].observations.values():
        rows[:] = [replace(row, load=None) for row in rows]  # as at the usual load
    for more, holds in ((octaves - 0.01, True), (octaves + 0.01, False)):
        loads = replace(belief.loads, usual=belief.loads.peak - more)
        assert (best in recommendable(replace(belief, loads=loads))) is holds
