"""Another category that promises more has every other search trial, from its own cheapest verified member."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from tests.unit.optimize.test_categories import BASELINE, SPACE, at
from tests.unit.optimize.toy import counts, search, web_study

from trimtab.domain.space import Assignment
from trimtab.domain.study import ArmOutcome, ConstraintReading, Study, TrialOutcome
from trimtab.domain.trial import Purpose, Suggestion
from trimtab.optimize.branches import REASON, other_branches
from trimtab.optimize.designer import suggest
from trimtab.optimize.readings import gather
from trimtab.optimize.safe import believe, verified


@dataclass(frozen=True)
class Nearly:
    """CPU, a tenth less on cheap nodes."""

    def hourly(self, assignment: Assignment) -> float:
        return float(assignment.number("cpu")) * (0.9 if assignment["node"] == "cheap" else 1.0)


PLAIN = replace(SPACE, parameters=SPACE.parameters[:2])


def cut(assignment: Assignment) -> Assignment:
    return Assignment.of({name: assignment[name] for name in ("cpu", "node")})


def study(*tried: tuple[Assignment, float, Purpose], **changes: Any) -> Study:
    """Trials with this share of slow requests; the bound is 5 %."""
    base = cut(BASELINE)
    outcomes = tuple(
        TrialOutcome(
            i, purpose, 1.8e9 + 3600 * i,
            ArmOutcome(cut(x), 28.0, readings(share)), ArmOutcome(base, 28.0, readings(0.005)),
        )
        for i, (x, share, purpose) in enumerate(tried)
    )  # fmt: skip
    made = web_study(space=PLAIN, baseline=base, cost=Nearly(), outcomes=outcomes, search=search(initial=3))
    return replace(made, **{"index": len(tried), "now": 1.8e9 + 3600.0 * len(tried), **changes})


def readings(share: float) -> tuple[ConstraintReading, ...]:
    found = [ConstraintReading("slow", counts(round(share * 8000), 8000))]
    return (*found, ConstraintReading("errors", counts(2, 8000)))


START = (
    (BASELINE, 0.005, Purpose.BASELINE),
    (BASELINE, 0.005, Purpose.BASELINE),
    (at(node="new"), 0.004, Purpose.INITIAL),
    (at(node="cheap"), 0.012, Purpose.INITIAL),
)
DOWN = ((at("2.5", "cheap"), 0.03, Purpose.SEARCH), (at("2.5", "cheap"), 0.03, Purpose.REPLICATE))
AWAY = ((at("2.5", "new"), 0.004, Purpose.SEARCH),)


def away(made: Study) -> list[list[Assignment]]:
    belief = believe(made, gather(made))
    return other_branches(belief, verified(belief), 7)


def test_it_is_the_turn_of_what_promises_more_than_the_incumbents() -> None:
    found = away(study(*START, *DOWN))
    assert [{m["node"] for m in members} for members in found] == [{"new"}, {"old"}]


def test_every_other_search_trial() -> None:
    assert away(study(*START, *DOWN, *AWAY)) == []


def test_a_branch_that_was_looked_at_and_is_no_better_is_left() -> None:
    seen = [(at(cpu, node), 0.049, Purpose.REPLICATE) for node in ("new", "old") for cpu in ("3", "2.5", "2")]
    assert away(study(*START, *DOWN, *seen * 2)) == []


def test_without_categories_or_with_one_branch_there_is_nothing_to_choose() -> None:
    assert away(study(*START[:2])) == []


def test_the_suggestion_is_of_that_branch_and_says_so() -> None:
    shares = (0.0005, 0.0005, 0.0004, 0.02, 0.035, 0.035)  # with room at the baseline, but for the cheap nodes
    trials = [(x, share, purpose) for (x, _, purpose), share in zip((*START, *DOWN), shares, strict=True)]
    answer = suggest(study(*trials)).answer
    assert isinstance(answer, Suggestion)
    assert answer.assignment["node"] in {"old", "new"}
    assert answer.reason.startswith((REASON, "may show that"))
    assert (answer.purpose, answer.by_model) == (Purpose.SEARCH, True)


@pytest.mark.parametrize("changes", [{"objectives": ()}, {}])
def test_the_same_study_gives_the_same_answer(changes: dict[str, Any]) -> None:
    first, second = (suggest(study(*START, *DOWN, **changes)).answer for _ in range(2))
    assert isinstance(first, Suggestion)
    assert isinstance(second, Suggestion)
    assert (first.assignment, first.model_digest) == (second.assignment, second.model_digest)
    assert np.isfinite(first.acquisition or 0.0)
