"""Conditional parameters: what is not active has no influence, and is one point whatever its value."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.optimize.toy import counts, search, web_study

from trimtab.domain.space import Assignment, Categorical, Numeric, Parameter, PlainValue, Scale, SearchSpace, When
from trimtab.domain.study import ArmOutcome, ConstraintReading, Hold, HoldReason, Study, TrialOutcome
from trimtab.domain.trial import Purpose, Suggestion
from trimtab.optimize import Bound, Choices, Optimizer, Range
from trimtab.optimize.conditional import canonical
from trimtab.optimize.designer import recommend, suggest
from trimtab.optimize.encoding import Encoder, Grid
from trimtab.optimize.readings import gather
from trimtab.optimize.safe import believe, boxes, neighbours, reachable
from trimtab.optimize.steps import within_steps


def numeric(name: str, low: str, high: str, step: str, when: When | None = None) -> Parameter:
    domain = Numeric(Decimal(low), Decimal(high), Decimal(step), Scale.LINEAR)
    return Parameter(name, PlainValue(1), domain, when=when)


# `size` counts only with kind b, and `kind` only with the parallel collector: two links of a chain.
SIZE = numeric("size", "1", "4", "1", When("kind", ("b",)))
KIND = Parameter("kind", PlainValue(), Categorical(("a", "b")), when=When("gc", ("parallel",)))
GC = Parameter("gc", PlainValue(), Categorical(("serial", "parallel")))
CPU = numeric("cpu", "1", "3", "1")
SPACE = SearchSpace((SIZE, KIND, GC, CPU))
BASELINE = Assignment.of({"size": Decimal("2.4"), "kind": "a", "gc": "serial", "cpu": Decimal(3)})


@dataclass(frozen=True)
class Price:
    """CPU, and a little for each unit of an active or inactive size."""

    def hourly(self, assignment: Assignment) -> float:
        return float(assignment.number("cpu")) + 0.01 * float(assignment.number("size"))


def at(size: str, kind: str, gc: str, cpu: int) -> Assignment:
    return Assignment.of({"size": Decimal(size), "kind": kind, "gc": gc, "cpu": Decimal(cpu)})


def study(*tried: Assignment, **changes: Any) -> Study:
    """All trials measure the same, far below both bounds."""
    readings = tuple(ConstraintReading(name, counts(4, 4000)) for name in ("slow", "errors"))
    outcomes = tuple(
        TrialOutcome(
            i,
            Purpose.BASELINE if x == BASELINE else Purpose.SEARCH,
            1.8e9 + 3600 * i,
            ArmOutcome(x, 28.0, readings),
            ArmOutcome(BASELINE, 28.0, readings),
        )
        for i, x in enumerate(tried)
    )
    made = web_study(space=SPACE, baseline=BASELINE, cost=Price(), outcomes=outcomes, search=search(initial=2))
    return replace(made, **{"index": len(tried), "now": 1.8e9 + 3600.0 * len(tried), **changes})


BEFORE = (BASELINE, BASELINE)


def test_a_parameter_is_active_with_the_whole_chain_above_it() -> None:
    assert SPACE.active("size", at("1", "b", "parallel", 1))
    assert not SPACE.active("size", at("1", "a", "parallel", 1))
    assert not SPACE.active("size", at("1", "b", "serial", 1))
    assert SPACE.canonical(at("4", "b", "serial", 1), BASELINE) == at("2.4", "a", "serial", 1)
    assert SPACE.canonical(at("4", "a", "parallel", 1), BASELINE) == at("2.4", "a", "parallel", 1)
    assert SPACE.canonical(at("4", "b", "parallel", 1), BASELINE) == at("4", "b", "parallel", 1)


def test_the_grid_has_each_assignment_once() -> None:
    """By hand: each CPU with serial, parallel a, and parallel b of four sizes."""
    grid = Grid(study(), Encoder(SPACE))
    points = grid.all_points()
    assert len(points) == 3 * (1 + 1 + 4)
    found = {grid.assignment(p) for p in points}
    sizes, kinds, collectors = ("1", "2", "3", "4"), ("a", "b"), ("serial", "parallel")
    every = [at(*x) for x in itertools.product(sizes, kinds, collectors, (1, 2, 3))]
    assert found == {SPACE.canonical(x, BASELINE) for x in every}
    assert np.array_equal(grid.canonical(points), points)


@settings(deadline=None, max_examples=60)
@given(st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 1), st.integers(0, 2)))
def test_arrays_agree_with_the_domain(indices: tuple[int, ...]) -> None:
    grid = Grid(study(), Encoder(SPACE))
    plain = Assignment(tuple((p.name, a[i]) for p, a, i in zip(SPACE.parameters, grid.axes, indices, strict=True)))
    one = SPACE.canonical(plain, BASELINE)
    point = grid.canonical(np.asarray([indices]))
    assert grid.assignment(point[0]) == one
    assert grid.locate(plain) == grid.locate(one) == tuple(point[0])
    assert np.array_equal(grid.encode(point), Encoder(SPACE).encode([one]))
    assert grid.hourly(point)[0] == pytest.approx(Price().hourly(one))


def test_what_becomes_active_starts_from_the_baseline() -> None:
    """2.4 may rise by half to 3 and fall by 30 % to 2; the grid's ends are out of reach."""
    one = study(*BEFORE)
    grid = Grid(one, Encoder(SPACE))
    for seed in range(3):
        points = reachable(grid, boxes(one, [BASELINE]), seed)
        reached = {grid.assignment(p) for p in points}
        assert {float(x.number("size")) for x in reached if SPACE.active("size", x)} == {2.0, 3.0}
        assert all(within_steps(SPACE, x, [BASELINE]) for x in reached)


def test_inactive_parameters_have_no_step_limit() -> None:
    """From size 4 with b to serial, whose size rests at 2.4, is a step of the category alone."""
    far = at("4", "b", "parallel", 2)
    one = study(*BEFORE)
    grid = Grid(one, Encoder(SPACE))
    limits = boxes(one, [far])
    points = {grid.assignment(p) for p in neighbours(np.asarray([grid.locate(far)]), limits, grid)}
    serial = {x for x in points if x["gc"] == "serial"}
    assert serial == {at("2.4", "a", "serial", 2)}
    assert within_steps(SPACE, at("2.4", "a", "serial", 2), [far])
    assert not within_steps(SPACE, at("1", "b", "parallel", 2), [far])


def test_trials_that_differ_in_inactive_values_are_of_one_assignment() -> None:
    tried = (*BEFORE, at("1", "a", "serial", 2), at("4", "b", "serial", 2))
    found = gather(canonical(study(*tried)))
    assert found[at("2.4", "a", "serial", 2)].clean == 2
    model = believe(canonical(study(*tried)), found).models[0]
    own = model.rows.at.u[model.rows.canary][2:]
    assert np.array_equal(own[0], own[1])


def test_values_that_do_not_count_change_nothing() -> None:
    one = (*BEFORE, at("2.4", "a", "serial", 2), at("3", "b", "parallel", 3))
    same = (*BEFORE, at("1", "b", "serial", 2), at("3", "b", "parallel", 3))
    first, second = suggest(study(*one), lambda: 0.0), suggest(study(*same), lambda: 0.0)
    assert first == second
    assert isinstance(first.answer, Suggestion)
    assert recommend(study(*one)) == recommend(study(*same))


@pytest.mark.parametrize("designer", ["GaussianProcess", "Sobol"])
def test_no_point_is_proposed_twice_under_another_name(designer: str) -> None:
    """Eighteen points, told apart in 20 trials: a replicate says that it is one."""
    tried: list[Assignment] = []
    seen: set[Assignment] = set()
    for _ in range(20):
        answer = suggest(study(*tried, search=search(designer, initial=2), safe=False)).answer
        if isinstance(answer, Hold):
            break
        assert isinstance(answer, Suggestion), answer
        x = answer.assignment
        assert x == SPACE.canonical(x, BASELINE)
        if answer.purpose in (Purpose.SEARCH, Purpose.INITIAL):
            assert x not in seen
        seen.add(x)
        tried.append(x)
    assert len(seen) >= 3


def test_a_condition_that_makes_no_sense_is_a_typed_answer() -> None:
    for when, words in (
        (When("missing", ("a",)), "size: when names missing, which is no category of this space"),
        (When("cpu", ("1",)), "size: when names cpu, which is no category of this space"),
        (When("gc", ("zgc",)), "size: when needs values of gc, not zgc"),
        (When("gc", ()), "size: when needs values of gc, not none"),
    ):
        space = SearchSpace((replace(SIZE, when=when), KIND, GC, CPU))
        answer = suggest(study(space=space)).answer
        assert answer == Hold(HoldReason.NUMERICAL, words)
        assert recommend(study(space=space)).message == words
    circle = SearchSpace((SIZE, KIND, replace(GC, when=When("kind", ("a",))), CPU))
    assert "when leads back to" in suggest(study(space=circle)).answer.message  # type: ignore[union-attr]


def served(x: dict[str, Any]) -> float:
    """p95: serial needs 2 CPUs; parallel with b needs 1 when it has 8 threads or more."""
    threads = float(x["threads"]) if x["gc"] == "parallel" else 1.0
    return 0.4 / float(x["cpu"]) / (1 + 0.5 * math.log2(threads))


def test_the_library_tunes_what_its_choice_makes_active() -> None:
    optimizer = Optimizer(
        {
            "gc": Choices(("serial", "parallel")),
            "threads": Range(1, 16, step=1, scale="Log", safer="Higher", when=("gc", ["parallel"])),
            "cpu": Range(0.5, 4.0, step=0.25, scale="Log", safer="Higher"),
        },
        objective=lambda x: float(x["cpu"]),
        constraints={"p95": Bound(max=0.3, kind="Latency")},
        baseline={"gc": "serial", "threads": 4, "cpu": 4.0},
        seed=2,
        safe=False,
    )
    asked = []
    for _ in range(18):
        for each in optimizer.ask():
            asked.append(each.assignment)
            optimizer.tell(each, {"p95": (served(each.assignment), 0.002)})
    assert all(x["threads"] == 4 for x in asked if x["gc"] == "serial")
    found = optimizer.recommend()
    assert found is not None
    assert found.assignment["gc"] == "parallel"
    assert served(found.assignment) <= 0.3
    assert found.assignment["cpu"] <= 0.75  # serial alone needs 1.5


def test_the_library_needs_no_values_that_do_not_count() -> None:
    space = {"gc": Choices(("serial", "parallel")), "threads": Range(1, 4, 1, when=("gc", ["parallel"]))}
    made = Optimizer(space, lambda _: 1.0, {"p95": Bound(max=1.0)}, {"gc": "serial", "threads": 2})
    made.tell({"gc": "serial"}, {"p95": (0.5, 0.01)})
    with pytest.raises(ValueError, match=r"missing \['threads'\]"):
        made.tell({"gc": "parallel"}, {"p95": (0.5, 0.01)})
    with pytest.raises(ValueError, match="threads: when names gcc"):
        Optimizer({**space, "threads": Range(1, 4, 1, when=("gcc", ["x"]))}, lambda _: 1.0, {}, {})
