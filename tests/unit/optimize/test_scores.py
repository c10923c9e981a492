"""The acquisition functions: tails, what each prefers, draws."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from tests.unit.optimize.test_acquisition import chosen, history, moment
from tests.unit.optimize.toy import Service, play, search, web_study

from trimtab.domain.trial import Suggestion
from trimtab.optimize import scores
from trimtab.optimize.designer import recommend, suggest
from trimtab.optimize.kernel import cross
from trimtab.optimize.safe import Belief, boxes, is_safe, reachable
from trimtab.optimize.scores import SCORES, Odds, constrained_ei, log_feasibility, log_room, readings, thompson
from trimtab.optimize.steps import within_steps

NAMES = sorted(SCORES)


def test_log_feasibility_is_finite_in_both_tails() -> None:
    mean = np.asarray([[-1e3, 0.0, 30.0, 1e3, -5.0]])
    sd = np.asarray([[1e-3, 1.0, 0.5, 1.0, 0.0]])
    found = log_feasibility(mean, sd)
    assert np.all(np.isfinite(found))
    assert found[0] == 0.0
    assert found[1] == pytest.approx(math.log(0.5))
    # Mills' ratio: log Phi(-60) is about -60^2 / 2 - log(60 sqrt(2 pi))
    assert found[2] == pytest.approx(-1800 - math.log(60 * math.sqrt(2 * math.pi)), abs=1e-3)


def test_log_feasibility_has_finite_differences_in_the_far_tail() -> None:
    at = np.linspace(20, 60, 9)[None, :]
    slope = np.diff(log_feasibility(at, np.ones_like(at)))
    assert np.all(np.isfinite(slope))
    assert np.all(slope < 0)


def odds(belief: Belief, *, safe: bool = True) -> Odds:
    """Of all that is reachable, or of what is safe and saves."""
    study = belief.study
    points = reachable(belief.grid, boxes(study, [study.baseline, *belief.evidence]), 0)
    u = belief.grid.encode(points)
    mean, sd = belief.predict(u)
    saving = 1 - belief.grid.hourly(points) / study.cost.hourly(study.baseline)
    keep = is_safe(belief, mean, sd) & (saving > 0.004) if safe else np.ones(len(points), dtype=bool)
    return Odds(belief, u[keep], saving[keep], mean[:, keep], sd[:, keep])


@pytest.mark.parametrize("name", NAMES)
def test_what_saves_nothing_is_worth_nothing(name: str) -> None:
    found = odds(moment("Improve")[0], safe=False)
    value = SCORES[name](found)
    assert np.all(value[found.saving <= 0] == -np.inf)
    assert np.isfinite(value[found.saving > 0]).sum() >= min(scores.DRAWN, 50) // 2


def test_expected_improvement_trades_saving_for_odds(monkeypatch: pytest.MonkeyPatch) -> None:
    belief = moment("Improve")[0]
    one = odds(belief)
    two = replace(one, u=one.u[:2], saving=np.asarray([0.1, 0.2]), mean=one.mean[:, :2], sd=one.sd[:, :2])
    two = replace(two, mean=np.full_like(two.mean, -1.0), sd=np.full_like(two.sd, 0.3))
    monkeypatch.setattr(scores, "log_room", lambda *_: np.log([0.5, 0.25]))
    assert constrained_ei(two)[0] == pytest.approx(constrained_ei(two)[1])  # twice the saving, half the chance


def test_each_prefers_what_it_is_known_for() -> None:
    """Of the same safe points: PI the surest, UCB the cheapest that may hold, EI something between."""
    found = odds(moment("Improve")[0])
    saving = {name: found.saving[int(np.argmax(SCORES[name](found)))] for name in NAMES}
    assert saving["PI"] <= saving["ConstrainedEI"] <= saving["UCB"]
    assert saving["PI"] < saving["UCB"]


@pytest.mark.thorough
def test_a_draw_is_of_the_joint_posterior() -> None:
    """How often a point is feasible in a draw is its own chance."""
    found = odds(moment("Improve")[0], safe=False)
    two = Odds(found.belief, found.u[-2:], np.asarray([0.3, 0.3]), found.mean[:, -2:], found.sd[:, -2:])
    mean, variance = readings(two.belief, two.u)
    draws = np.asarray([thompson(replace(two, seed=seed)) for seed in range(600)]) > scores.INFEASIBLE
    # Independent bounds, so the chance of a point is the product of theirs.
    expected = np.prod(norm.cdf(-mean / np.sqrt(variance)), axis=0)
    assert draws.mean(axis=0) == pytest.approx(expected, abs=0.08)  # 4 standard errors
    assert thompson(two).tolist() == thompson(two).tolist()


def test_of_many_points_a_joint_draw_takes_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "DRAWN", 5)
    found = odds(moment("Improve")[0])
    assert np.isfinite(thompson(found)).sum() == 5
    none = Odds(found.belief, found.u[:0], found.saving[:0], found.mean[:, :0], found.sd[:, :0])
    assert thompson(none).shape == (0,)


@pytest.mark.parametrize("name", NAMES)
def test_all_choose_from_the_same_safe_set(name: str) -> None:
    belief, members = moment("Improve")
    study = replace(belief.study, search=replace(belief.study.search, acquisition=name))
    choice = chosen(replace(belief, study=study), members)
    assert choice.rule == "Improve"
    assert choice.assignment is not None
    mean, sd = belief.predict(belief.encoder.encode([choice.assignment]))
    assert is_safe(belief, mean, sd).all()
    assert within_steps(study.space, choice.assignment, members)


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
def test_a_search_with_it_ends_safely_with_a_saving(name: str) -> None:
    study = web_study(search=replace(search(), acquisition=name))
    run = play(study, Service(), suggest, recommend, 12)
    assert run.recommended is not None
    assert not run.recommended.keep_baseline
    assert run.recommended.saving > 0.3
    assert Service().worst(run.recommended.assignment, study.peak_load or 0) <= 0
    assert run.gross == 0
    assert all(s.by_model for s in run.suggestions[5:])


def test_what_is_safe_but_leaves_no_room_for_the_peak_is_hardly_worth_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    belief, members = moment("Improve")
    u = belief.encoder.encode(members)
    usual = replace(belief, loads=replace(belief.loads, peak=belief.loads.usual))
    mean, sd = belief.predict(u, belief.loads.usual)
    without, needed = log_room(usual, u), log_room(belief, u)
    assert np.all(without <= 0)
    assert np.all(without >= np.sum(norm.logcdf(-np.maximum(mean, 0.0) / sd), axis=0) - 0.2)
    assert belief.loads.peak > belief.loads.usual
    assert np.all(needed < without)
    monkeypatch.setattr("trimtab.optimize.room.STEEPEST", 50.0)
    assert np.all(log_room(belief, u) < math.log(0.01))


def test_the_same_history_gives_the_same_suggestion_whatever_is_drawn() -> None:
    study = replace(history(7), search=replace(search(seed=1), acquisition="Thompson"))
    first, second = (suggest(study, timer=lambda: 0.0) for _ in range(2))
    assert first == second
    assert isinstance(first.answer, Suggestion)
    assert first.answer.by_model


def test_a_pending_trial_makes_its_neighbours_worth_less_and_nothing_safer() -> None:
    belief, members = moment("Improve")
    first = chosen(belief, members)
    assert first.assignment is not None
    waiting = replace(belief, study=replace(belief.study, pending=(first.assignment,)))
    expected = scores.expecting(waiting)
    u = belief.encoder.encode([first.assignment])
    (before, sd), (after, less) = belief.predict(u), expected.predict(u)
    assert np.all(less < sd)
    assert np.all(after > before)  # it is expected to come out worse, by one standard deviation
    assert scores.expecting(belief) is belief
    second = chosen(waiting, members, (first.assignment,))
    assert second.assignment is not None
    assert not belief.study.space.alike(second.assignment, first.assignment)
    # S is that of what was measured, without what is pending and what says about the same: a step in each parameter.
    assert 1 <= first.safe_points - second.safe_points <= 9


def test_rows_that_are_expected_count_like_measured_ones() -> None:
    """A posterior with a row that is expected equals one that was conditioned on it with the same scales."""
    belief = moment("Improve")[0]
    model, at = belief.models[0], belief.inputs(belief.encoder.encode([belief.study.baseline]), -0.1)
    more = model.expecting(at, np.asarray([-1.0]), np.asarray([0.04]))
    rows, query = more.rows, belief.inputs(belief.encoder.encode(list(belief.evidence)))
    whole = more.kernel_matrix() + np.diag(np.append(model.v, 0.04)) + 1e-10 * np.eye(len(rows))
    residual = np.append(model.y, -1.0) - model.prior.trend.mean(rows.at)
    k = cross(query, rows.at, model.groups, model.scales, model.prior.trend)
    assert more.predict(query)[0] == pytest.approx(model.prior.trend.mean(query) + k @ np.linalg.solve(whole, residual))
    assert len(model.rows) == len(rows) - 1
    assert model.expecting(belief.inputs(np.zeros((0, 2))), np.zeros(0), np.zeros(0)) is model
