"""Objectives beside the truth: the model without noise, and the best of a grid by trying everything."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from tests.unit.simulate.stories import place, result, story, web_truth

from trimtab.domain.space import Numeric, SearchSpace
from trimtab.domain.spec import CostLimit, Objective, ObjectiveTerm
from trimtab.domain.state import FrontPoint, FrontValue
from trimtab.report.facts import Tone, facts
from trimtab.report.html import page
from trimtab.report.words import Files, first_objective, objective
from trimtab.simulate.collect import simulation
from trimtab.simulate.objectives import objective_results, true_value
from trimtab.simulate.results import Simulation, from_json, to_json
from trimtab.simulate.truth import Truth

COST = Objective("cost", False, (ObjectiveTerm(1.0),))
SLOW = Objective("slow", False, (ObjectiveTerm(1.0, "slow"),))
SUM = Objective("both", False, (ObjectiveTerm(1.0), ObjectiveTerm(20.0, "slow")))


def wanting(*objectives: Objective, coarse: bool = True, **changes: object) -> Truth:
    truth = web_truth()
    space = truth.spec.space
    if coarse:  # 8 x 7 points
        cpu, memory = space.parameters
        assert isinstance(cpu.domain, Numeric)
        assert isinstance(memory.domain, Numeric)
        wide = replace(memory.domain, step=Decimal(256 * 2**20))
        fewer = replace(cpu, domain=replace(cpu.domain, step=Decimal("0.25"))), replace(memory, domain=wide)
        space = SearchSpace(fewer)
    return replace(truth, spec=replace(truth.spec, objectives=objectives, space=space, **changes))


def test_a_weighted_sum_in_the_model_without_noise() -> None:
    truth, x = wanting(SUM), place("1", 1024)
    slow = truth.judge(x, 700.0).value("slow")
    assert isinstance(slow, float)
    assert true_value(truth, SUM, x, 700.0) == pytest.approx(truth.cost.hourly(x) + 20 * slow)


def test_the_cost_alone_has_no_objectives() -> None:
    assert objective_results(web_truth(), None, (700.0,), 880.0) == ()
    assert result().summary.objectives == ()


def test_the_best_of_the_grid_by_trying_everything() -> None:
    truth = wanting(SUM)
    (found,) = objective_results(truth, None, (690.0, 700.0, 710.0), 880.0)
    assert (found.load, found.unit, found.goal) == (700.0, "1", "Minimize")
    cpu, memory = (p.domain.grid() for p in truth.spec.space.parameters if isinstance(p.domain, Numeric))
    points = [place(str(c), int(m) // 2**20) for c in cpu for m in memory]
    safe = [x for x in points if truth.judge(x, 880.0).feasible]
    values = [value for x in safe if isinstance(value := true_value(truth, SUM, x, 700.0), float)]
    assert found.optimum == pytest.approx(min(values))
    assert 0 < len(safe) < len(points)
    limited = wanting(SLOW, cost_limits=(CostLimit("spend", 0.9),))
    (slow,) = objective_results(limited, None, (700.0,), 880.0)
    dear = [truth.cost.hourly(x) > 0.9 for x in safe]
    assert any(dear)
    cheap = [x for x, out in zip(safe, dear, strict=True) if not out]
    kept = [value for x in cheap if isinstance(value := true_value(limited, SLOW, x, 700.0), float)]
    assert slow.optimum == pytest.approx(min(kept))


def told(*objectives: Objective, front: bool = False) -> Simulation:
    """The story with other objectives, as a result."""
    _, finished = story()
    truth = wanting(*objectives)
    answer = finished.state.recommendation
    assert answer is not None
    if front:
        values = (FrontValue("cost", 0.6, 0.0), FrontValue("slow", 0.03, 0.002))
        answer = replace(answer, front=(FrontPoint(answer.assignment, values), FrontPoint(place("0.25", 512), values)))
    done = replace(finished, state=replace(finished.state, recommendation=answer))
    return simulation(truth, result().inputs, done)


def test_a_front_is_shown_beside_the_truth() -> None:
    found = told(COST, SLOW, front=True)
    assert from_json(to_json(found)) == found
    shown = [fact for fact in facts(found) if fact.label == "front"]
    assert shown[0].text.endswith("cost $0.600, slow 3.00 %")
    assert (shown[0].tone, shown[1].tone) == (Tone.PLAIN, Tone.BAD)
    assert "BREAKS A BOUND" in shown[1].text
    assert first_objective(found.summary) is None  # the cost decides, and its saving is shown
    assert "objective slow" in page(found, Files())


def test_another_first_objective_is_the_headline() -> None:
    found = told(SLOW)
    first = first_objective(found.summary)
    assert first is not None
    assert objective(first).replace(">", "&gt;") in page(found, Files())
    assert "saved of the request cost" not in page(found, Files())
    assert "saving" not in {fact.label for fact in facts(found)}
