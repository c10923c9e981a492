"""Objectives other than the cost: draws and expected improvement against integration, and whole searches."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import norm
from tests.unit.optimize.toy import P95, SLOW, Run, Service, play, search, web, web_study

from trimtab.domain.measurement import Sample
from trimtab.domain.space import Assignment
from trimtab.domain.spec import Objective, ObjectiveTerm, SliKind
from trimtab.domain.study import (
    ArmOutcome,
    ConstraintReading,
    ConstraintTarget,
    Hold,
    HoldReason,
    Recommended,
    Study,
    TrialOutcome,
    measured_name,
)
from trimtab.domain.trial import Purpose, Suggestion
from trimtab.optimize import crosscheck, sobol
from trimtab.optimize.aims import DRAWS, Draws, hypercube
from trimtab.optimize.designer import MODEL_VERSION, digest, recommend, suggest
from trimtab.optimize.improvement import improving
from trimtab.optimize.objective import referenced
from trimtab.optimize.pareto import hypervolume
from trimtab.optimize.readings import gather
from trimtab.optimize.recommend import MARGIN, WIDTHS, recommendable
from trimtab.optimize.safe import Belief, believe, upper_limits, verified

LATENCY = (Objective("p95", False, (ObjectiveTerm(1.0, "p95"),)),)
BOTH = (Objective("both", False, (ObjectiveTerm(1.0), ObjectiveTerm(5.0, "p95"))),)
PAIR = (Objective("cost", False, (ObjectiveTerm(1.0),)), LATENCY[0])
MEASURED = Service(p95_error=0.02)


def wanting(objectives: tuple[Objective, ...], acquisition: str = "ConstrainedEI", **changes: object) -> Study:
    settings = replace(search(seed=1), acquisition=acquisition)
    return web_study(objectives=objectives, measured=(P95,), search=settings, **changes)


@cache
def run(kind: str, trials: int) -> Run:
    """A search; played once."""
    objectives, acquisition = {"both": (BOTH, "NoisyEI"), "pair": (PAIR, "HypervolumeEI")}[kind]
    return play(wanting(objectives, acquisition), MEASURED, suggest, recommend, trials)


def belief_of(played: Run) -> Belief:
    study = referenced(replace(played.study, index=len(played.study.outcomes), now=1.8e9 + 1e5))
    return believe(study, gather(study))


# What nobody asked for stays as it was


def test_the_cost_alone_is_the_path_that_it_was() -> None:
    """The digest is that of the repr without the new fields, and the model has nothing to learn of an objective."""
    study = play(web_study(search=search(seed=1)), Service(), suggest, recommend, 6).study
    belief = believe(study, gather(study))
    old = [MODEL_VERSION, study, [tuple(float(t) + 0.0 for t in model.theta) for model in belief.models]]
    assert digest(belief) == hashlib.sha256(repr(old).encode()).hexdigest()[:32]
    assert not {"objectives", "measured", "cost_limit"} & set(repr(study).replace("=", " ").replace("(", " ").split())
    assert belief.aims.known
    assert belief.aims.models == ()
    x = web("0.7", 1024)
    assert belief.aims.value(x) == study.cost.hourly(x)
    assert belief.aims.saving(x) == 1 - study.cost.hourly(x) / study.cost.hourly(study.baseline)


def test_an_objective_is_part_of_the_digest() -> None:
    belief = belief_of(run("both", 7))
    other = replace(belief.study, objectives=LATENCY)
    assert digest(belief) != digest(replace(belief, study=other))


# Draws


def test_a_hypercube_has_each_quantile_once() -> None:
    found = hypercube(64, 3, seed=1)
    quantiles = norm.ppf((np.arange(64) + 0.5) / 64)
    assert np.sort(found, axis=0) == pytest.approx(np.tile(quantiles[:, None], 3))
    assert hypercube(64, 3, seed=1).tolist() == found.tolist()
    assert hypercube(8, 0, seed=1).shape == (8, 0)


def test_draws_have_the_posteriors_moments() -> None:
    belief = belief_of(run("both", 7))
    aims, places = belief.aims, [belief.study.baseline, web("0.9", 1024)]
    draws = Draws(aims, places, seed=3)
    point = web("0.75", 896)
    at = draws.of([point])[0, :, 0]
    mean, sd = aims.moments([*places, point])
    assert draws.at_places[0].mean(axis=0) == pytest.approx(mean[0, :2], abs=0.15 * sd[0].max())
    assert at.mean() == pytest.approx(mean[0, 2], abs=0.2 * sd[0, 2])
    assert at.std() == pytest.approx(sd[0, 2], rel=0.2)
    # A place drawn again as a point is the same draw.
    assert draws.of(places)[0] == pytest.approx(draws.at_places[0], abs=1e-4)


def integrated(belief: Belief, x: Assignment) -> float:
    """E (o(baseline) - o(x))+ / scale of LATENCY by Gauss-Hermite quadrature of the two latent values."""
    (model,), aims = belief.aims.models, belief.aims
    at = aims.inputs(belief.encoder.encode([belief.study.baseline, x]))
    (mean, _), cov = model.predict(at), model.covariance(at, at)
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()
    one = mean[0] + math.sqrt(cov[0, 0]) * nodes
    slope, left = cov[0, 1] / cov[0, 0], math.sqrt(max(cov[1, 1] - cov[0, 1] ** 2 / cov[0, 0], 0.0))
    other = mean[1] + slope * (one - mean[0])[:, None] + left * nodes[None, :]
    gain = np.maximum(np.exp(one)[:, None] - np.exp(other), 0.0)
    return float(weights @ gain @ weights)


def test_noisy_improvement_against_integration() -> None:
    """Only the baseline is known: two latent values, so the expectation is a double integral."""
    study = wanting(LATENCY)
    study = play(study, MEASURED, suggest, recommend, 2).study
    study = referenced(replace(study, index=2, now=1.8e9 + 1e4))
    belief = believe(study, gather(study))
    points = belief.grid.all_points()[::97]
    found = improving(belief, study.baseline, seed=5)(points)
    expected = np.asarray([integrated(belief, belief.grid.assignment(p)) for p in points])
    assert found.expected == pytest.approx(expected, rel=0.04, abs=2e-3)
    assert found.log_expected is not None
    large = expected > 0.02
    assert np.exp(found.log_expected[large]) == pytest.approx(found.expected[large], rel=0.02)
    assert np.all(np.isfinite(found.log_expected))
    assert np.all(found.optimistic >= 0)
    again = improving(belief, study.baseline, seed=5)(points)
    assert again.expected.tolist() == found.expected.tolist()


def test_noise_does_not_pass_for_progress() -> None:
    """Where everything was measured exactly to be alike, nothing is expected to improve on itself."""
    belief = belief_of(run("both", 9))
    places = verified(belief)
    points = np.asarray([belief.grid.locate(x) for x in places if belief.grid.locate(x)])
    best = belief.aims.ranked(places)[0]
    found = improving(belief, best, seed=1)(points)
    beyond = belief.aims.means([belief.grid.assignment(p) for p in points])[0] > belief.aims.value(best) * 1.1
    assert found.expected[beyond] == pytest.approx(0.0, abs=2e-3)


def test_the_expected_area_of_two_objectives_is_that_of_its_draws() -> None:
    """Draw by draw with the plain hypervolume of the places and a point together."""
    belief = belief_of(run("pair", 7))
    point = belief.grid.locate(web("0.85", 896))
    assert point is not None
    found = improving(belief, belief.study.baseline, seed=2)(np.asarray([point]))
    draws = Draws(belief.aims, [belief.study.baseline, *_places_of(belief)], seed=2)
    scales = belief.aims.scales[:, None, None]
    at, there = draws.of([web("0.85", 896)]) / scales, draws.at_places / scales
    corner = there.mean(axis=1).max(axis=1) + 1.0
    areas = [
        hypervolume(np.vstack([there[:, s].T, at[:, s].T]), corner) - hypervolume(there[:, s].T, corner)
        for s in range(DRAWS)
    ]
    assert found.expected[0] == pytest.approx(np.mean(areas), rel=1e-6)


def _places_of(belief: Belief) -> list[Assignment]:
    from trimtab.optimize.recommend import holding

    tried = [x for x, own in belief.evidence.items() if x != belief.study.baseline and own.clean > 0]
    return holding(belief, tried)


# Searches


@pytest.mark.thorough
def test_a_weighted_sum_finds_its_optimum() -> None:
    """cost + 5 p95 over the whole grid, in truth and without noise: the recommendation is within 3 % of the best."""
    played = run("both", 12)
    answer, study = played.recommended, played.study
    assert answer is not None
    assert not answer.keep_baseline
    assert played.unsafe == 0

    def value(x: Assignment) -> float:
        return study.cost.hourly(x) + 5 * MEASURED.p95(x, MEASURED.load)

    best = optimum(study, value)
    assert value(answer.assignment) <= 1.03 * best
    (told,) = answer.objectives
    assert told.name == "both"
    assert told.value == pytest.approx(value(answer.assignment), rel=0.05)
    assert told.baseline == pytest.approx(value(study.baseline), rel=0.05)
    assert told.low <= told.improvement <= told.high
    assert answer.saving == pytest.approx(told.improvement, abs=0.02)


def optimum(study: Study, value: Callable[[Assignment], float]) -> float:
    """The least value among the grid points that are feasible at peak."""
    grid = believe(study, gather(study)).grid
    assert study.peak_load is not None
    points = [grid.assignment(p) for p in grid.all_points()]
    safe = [x for x in points if not MEASURED.broken(x) and MEASURED.worst(x, study.peak_load) <= 0]
    return min(map(value, safe))


@pytest.mark.thorough
def test_a_front_is_recommendable_and_nothing_in_it_is_beaten() -> None:
    played = run("pair", 12)
    answer, belief = played.recommended, belief_of(played)
    assert answer is not None
    assert len(answer.front) >= 3
    limits = upper_limits(belief, [m.assignment for m in answer.front], WIDTHS)
    assert np.all(limits <= -MARGIN)
    values = [tuple(v.value for v in m.values) for m in answer.front]
    assert values == sorted(values)
    assert [p95 for _, p95 in values] == sorted((p95 for _, p95 in values), reverse=True)
    assert answer.assignment == answer.front[0].assignment  # the best in the first objective is the one that is named
    assert all(m.values[0].sd == 0 and m.values[1].sd > 0 for m in answer.front)
    assert "the best in cost of a front of" in answer.message


def test_nothing_above_a_bound_on_the_cost_is_tried() -> None:
    limit = 0.7  # of $ 0.675 today
    played = play(wanting(LATENCY, cost_limit=limit), MEASURED, suggest, recommend, 9)
    costs = [played.study.cost.hourly(s.assignment) for s in played.suggestions]
    assert max(costs) <= limit
    simple = replace(wanting(LATENCY, cost_limit=limit), search=search(designer="Sobol"))
    played = play(simple, MEASURED, suggest, recommend, 8)
    assert max(played.study.cost.hourly(s.assignment) for s in played.suggestions) <= limit


def test_more_is_better_where_an_objective_is_maximized() -> None:
    """Requests per second that a pod could serve: 1 / p95, to be maximized, wants more CPU."""
    name = measured_name("capacity")
    target = ConstraintTarget(name, SliKind.VALUE, 1.0, upper=False)
    goal = (Objective("capacity", True, (ObjectiveTerm(1.0, "capacity"),)),)
    study = web_study(objectives=goal, measured=(target,), search=search(seed=1))
    outcomes = [paired(i, x, {name: 1 / MEASURED.p95(x, 28.0)}) for i, x in enumerate(TRIED)]
    study = replace(study, outcomes=tuple(outcomes), index=len(outcomes), now=1.8e9 + 1e5)
    belief = believe(referenced(study), gather(referenced(study)))
    assert belief.aims.ranked(TRIED)[0] == web("1.8", 1792)
    answer = recommend(study)
    assert isinstance(answer, Recommended)
    assert answer.assignment.number("cpu") > study.baseline.number("cpu")
    assert answer.objectives[0].value > answer.objectives[0].baseline > 0


TRIED = [web("1.5", 1536), web("1.5", 1536), web("1.2", 1280), web("1.8", 1792), web("1.8", 1792), web("1", 1024)]


def paired(index: int, x: Assignment, values: dict[str, float], error: float = 0.02) -> TrialOutcome:
    """A trial whose bounds are far off and whose SLIs read so, beside a baseline that reads as the first one did."""
    bounds = (
        ConstraintReading("slow", Sample(0.001, 0.0005, 4000.0, 4.0)),
        ConstraintReading("errors", Sample(0.0005, 0.0003, 4000.0, 2.0)),
    )

    def arm(assignment: Assignment, factor: float) -> ArmOutcome:
        own = (ConstraintReading(n, Sample(v * factor, abs(v) * factor * error, 4000.0)) for n, v in values.items())
        return ArmOutcome(assignment, 33.0, (*bounds, *own))

    base = web("1.5", 1536)
    ratio = MEASURED.p95(x, 28.0) / MEASURED.p95(base, 28.0) if values and x != base else 1.0
    purpose = Purpose.BASELINE if x == base else Purpose.SEARCH
    return TrialOutcome(index, purpose, 1.8e9 + 3600.0 * index, arm(x, 1.0), arm(base, ratio))


# Doubt, absence and sameness


def flat(values: list[float], error: float) -> Study:
    """An objective that reads these values at TRIED, whatever the assignment, and 1 at each control."""
    name = P95.name
    outcomes = []
    for index, (x, value) in enumerate(zip(TRIED, values, strict=True)):
        trial = paired(index, x, {})
        canary = replace(trial.canary, readings=(*trial.canary.readings, reading(name, value, error)))
        assert trial.control is not None
        control = replace(trial.control, readings=(*trial.control.readings, reading(name, 1.0, error)))
        outcomes.append(replace(trial, canary=canary, control=control))
    return replace(wanting(LATENCY), outcomes=tuple(outcomes), index=len(outcomes), now=1.8e9 + 1e5)


def reading(name: str, value: float, error: float) -> ConstraintReading:
    return ConstraintReading(name, Sample(value, error, 4000.0))


def test_a_constant_objective_keeps_the_baseline() -> None:
    study = flat([1.0] * 6, 0.01)
    answer = recommend(study)
    assert isinstance(answer, Recommended)
    assert answer.keep_baseline
    assert "improves p95 by 1% or more beyond doubt" in answer.message
    found = suggest(study)
    assert "failed" not in found.diagnostics.fallback


def test_what_is_better_by_no_more_than_its_noise_keeps_the_baseline() -> None:
    """3 % better with 3 % noise is no improvement beyond doubt; with 0.3 % it is."""
    values = [1.0, 1.0, 1.0, 0.97, 0.97, 1.0]
    doubtful, sure = recommend(flat(values, 0.03)), recommend(flat([1.0, 1.0, 1.0, 0.8, 0.8, 1.0], 0.003))
    assert isinstance(doubtful, Recommended)
    assert doubtful.keep_baseline
    assert isinstance(sure, Recommended)
    assert not sure.keep_baseline
    assert sure.assignment == TRIED[3]


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_readings_that_cannot_be_used_end_in_a_typed_answer(value: float) -> None:
    study = flat([value] * 6, 0.01)
    for each in (study, replace(study, outcomes=study.outcomes[:1], index=1)):
        found = suggest(each)
        assert isinstance(found.answer, Suggestion | Hold)
        assert "failed" not in found.diagnostics.fallback
        assert isinstance(recommend(each), Recommended)


def test_a_baseline_that_never_reads_the_objective_ends_the_search() -> None:
    outcomes = tuple(paired(i, web("1.5", 1536), {}) for i in range(5))
    found = suggest(replace(wanting(LATENCY), outcomes=outcomes, index=5, now=1.8e9 + 1e5))
    assert isinstance(found.answer, Hold)
    assert found.answer.reason is HoldReason.BASELINE_UNREADABLE


def test_an_objective_of_zero_is_named() -> None:
    outcomes = tuple(paired(i, web("1.5", 1536), {P95.name: 0.0}) for i in range(2))
    found = suggest(replace(wanting(LATENCY), outcomes=outcomes, index=2, now=1.8e9 + 1e5))
    assert isinstance(found.answer, Hold)
    assert found.answer.message == "the baseline reads 0 for p95: an objective needs an SLI above 0 there"


def test_withdrawn_trials_teach_nothing_of_the_objective() -> None:
    study = referenced(flat([1.0, 1.0, 1.0, 5.0, 1.0, 1.0], 0.01))
    before = believe(study, gather(study)).aims.models[0]
    outcomes = tuple(replace(t, truncated=True) if t.index == 3 else t for t in study.outcomes)
    after = believe(replace(study, outcomes=outcomes), gather(study)).aims.models[0]
    assert len(after.rows) == len(before.rows) - 2
    assert SLOW.name not in {P95.name}


def test_both_implementations_agree_on_the_objectives_model() -> None:
    belief = belief_of(run("both", 7))
    assert crosscheck.disagreement(belief, web("0.9", 1024)) == ""
    (model,) = belief.aims.models
    off = replace(belief, aims=replace(belief.aims, models=(replace(model, alpha=model.alpha * 1.01),)))
    assert crosscheck.disagreement(off, web("0.9", 1024)).startswith(f"{P95.name}: ")


def test_without_a_model_both_directions_are_tried() -> None:
    study = replace(wanting(LATENCY), outcomes=tuple(paired(i, web("1.5", 1536), {P95.name: 0.02}) for i in range(2)))
    places = [x for _, x in zip(range(12), sobol.spread(study, study.baseline), strict=False)]
    cpus = {x.number("cpu") for x in places}
    assert min(cpus) < study.baseline.number("cpu") < max(cpus)


@pytest.mark.thorough
def test_recommendable_needs_an_improvement_of_the_first_objective() -> None:
    belief = belief_of(run("pair", 12))
    dear = [x for x in belief.evidence if belief.study.cost.hourly(x) > belief.study.cost.hourly(belief.study.baseline)]
    assert dear  # the front was explored on its other side, too
    assert not set(recommendable(belief)) & set(dear)
