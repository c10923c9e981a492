"""A category that nobody tried gets one trial, alone, at the baseline; then the model knows it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest
from tests.unit.optimize.toy import counts, search, web_study

from trimtab.domain.space import (
    Assignment,
    Categorical,
    Numeric,
    Parameter,
    PlainValue,
    Ratio,
    Scale,
    SearchSpace,
    When,
)
from trimtab.domain.study import ArmOutcome, ConstraintReading, FailureKind, HardFailure, Study, TrialOutcome
from trimtab.domain.trial import Purpose, Suggestion
from trimtab.optimize.categories import untried
from trimtab.optimize.designer import suggest

CPU = Parameter("cpu", PlainValue(1), Numeric(Decimal(1), Decimal(3), Decimal("0.5"), Scale.LINEAR))
NODE = Parameter("node", PlainValue(), Categorical(("old", "new", "cheap")))
TURBO = Parameter("turbo", PlainValue(), Categorical(("off", "on")), when=When("node", ("new",)))
SPACE = SearchSpace((CPU, NODE, TURBO))
BASELINE = Assignment.of({"cpu": Decimal(3), "node": "old", "turbo": "off"})


@dataclass(frozen=True)
class Price:
    """CPU, at a price by the node."""

    def hourly(self, assignment: Assignment) -> float:
        return float(assignment.number("cpu")) * {"old": 1.0, "new": 1.2, "cheap": 0.7}[str(assignment["node"])]


def at(cpu: str = "3", node: str = "old", turbo: str = "off") -> Assignment:
    return Assignment.of({"cpu": Decimal(cpu), "node": node, "turbo": turbo})


def study(*tried: Assignment, bad: int = 4, **changes: Any) -> Study:
    readings = tuple(ConstraintReading(name, counts(bad, 4000)) for name in ("slow", "errors"))
    outcomes = tuple(
        TrialOutcome(
            i,
            Purpose.BASELINE if x == BASELINE else Purpose.INITIAL,
            1.8e9 + 3600 * i,
            ArmOutcome(x, 28.0, readings),
            ArmOutcome(BASELINE, 28.0, readings),
        )
        for i, x in enumerate(tried)
    )
    made = web_study(space=SPACE, baseline=BASELINE, cost=Price(), outcomes=outcomes, search=search(initial=3))
    return replace(made, **{"index": len(tried), "now": 1.8e9 + 3600.0 * len(tried), **changes})


BEFORE = (BASELINE, BASELINE)


def lost(made: Study, last: int) -> Study:
    """The last so many trials ended before there was anything to read."""
    keep = len(made.outcomes) - last
    gone = tuple(replace(t, learnable=False, lost=True) for t in made.outcomes[keep:])
    return replace(made, outcomes=(*made.outcomes[:keep], *gone))


def test_each_once_in_their_order_with_what_they_need() -> None:
    seen = list(BEFORE)
    while (found := untried(study(*seen), ())) is not None:
        seen.append(found)
    assert seen[2:] == [at(node="new"), at(node="cheap"), at(node="new", turbo="on")]


def test_what_may_not_be_tried_is_passed_over() -> None:
    assert untried(study(*BEFORE), {at(node="new")}) == at(node="cheap")
    ruled = SearchSpace((CPU, replace(NODE, name="cores", domain=CPU.domain)), (Ratio("r", "cpu", "cores", 1.0),))
    assert untried(study(space=ruled, baseline=Assignment.of({"cpu": Decimal(3), "cores": Decimal(3)})), ()) is None
    assert untried(study(*BEFORE, cost_limit=3.0), ()) == at(node="cheap")


def test_one_that_is_lost_again_is_not_asked_for_for_ever() -> None:
    once = lost(study(*BEFORE, at(node="new")), 1)
    assert untried(once, ()) == at(node="new")
    twice = lost(study(*BEFORE, at(node="new"), at(node="new")), 2)
    assert untried(twice, ()) == at(node="cheap")


def test_one_that_broke_is_known() -> None:
    made = study(*BEFORE, at(node="new"))
    crashed = replace(made.outcomes[-1], failure=HardFailure(FailureKind.CRASH, None))
    assert untried(replace(made, outcomes=(*made.outcomes[:-1], crashed)), ()) == at(node="cheap")


def test_where_nothing_has_to_be_safe_there_is_no_such_rule() -> None:
    assert untried(study(*BEFORE, safe=False), ()) is None


@pytest.mark.parametrize("designer", ["GaussianProcess", "Sobol"])
def test_both_designers_ask_for_it_after_the_baseline(designer: str) -> None:
    made = study(*BEFORE)
    answer = suggest(replace(made, search=replace(made.search, designer=designer))).answer
    assert isinstance(answer, Suggestion)
    assert (answer.assignment, answer.purpose, answer.by_model) == (at(node="new"), Purpose.INITIAL, False)
    assert "not tried yet" in answer.reason


@pytest.mark.parametrize("designer", ["GaussianProcess", "Sobol"])
def test_one_that_broke_a_bound_is_left_alone(designer: str) -> None:
    """Without a model nothing else says that it is bad with less CPU, too."""
    good = study(*BEFORE, at(node="new"), at(node="cheap"))
    slow = tuple(ConstraintReading(name, counts(800, 4000)) for name in ("slow", "errors"))
    broken = replace(good.outcomes[-1], canary=replace(good.outcomes[-1].canary, readings=slow))
    made = replace(good, outcomes=(*good.outcomes[:-1], broken), search=replace(good.search, designer=designer))
    for index in range(4, 10):
        answer = suggest(replace(made, index=index)).answer
        assert not isinstance(answer, Suggestion) or answer.assignment["node"] != "cheap"
