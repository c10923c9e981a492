"""A baseline that breaks a bound: more resources until one holds, then what is cheaper."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import pytest
from tests.unit.optimize.test_readings import arm, outcome
from tests.unit.optimize.toy import MI, Run, Service, play, search, web, web_study

from trimtab.domain.space import Assignment
from trimtab.domain.study import Hold, HoldReason, Recommended, Study, TrialOutcome
from trimtab.domain.trial import Purpose, Suggestion
from trimtab.optimize import sobol
from trimtab.optimize.designer import digest, recommend, suggest
from trimtab.optimize.readings import gather
from trimtab.optimize.safe import believe, verified
from trimtab.optimize.steps import no_more

REPAIR = replace(search(), repair=True)
BASE = web("0.4", 1024)


def measured(index: int, cpu: str, slow: int, mebibytes: int = 1024, purpose: Purpose = Purpose.SEARCH) -> TrialOutcome:
    """Of 4,000 requests so many were slow; the bound is 5 %."""
    canary = replace(arm(cpu, slow), assignment=web(cpu, mebibytes))
    return outcome(index, canary, purpose=purpose, control=None)


def study(*tried: TrialOutcome, **changes: object) -> Study:
    """Two trials of a baseline at 10 % slow requests, then these."""
    first = tuple(measured(i, "0.4", 400, purpose=Purpose.BASELINE) for i in range(2))
    outcomes = (*first, *tried)
    made = web_study(baseline=BASE, search=REPAIR, outcomes=outcomes, index=len(outcomes), peak_load=None)
    return replace(made, **changes)  # type: ignore[arg-type]


def proposed(of: Study) -> Suggestion:
    answer = suggest(of).answer
    assert isinstance(answer, Suggestion), answer
    return answer


def test_nothing_is_verified_then() -> None:
    told = study()
    assert verified(believe(told, gather(told))) == []
    refused = replace(told, search=search())
    assert verified(believe(refused, gather(refused))) == [BASE]


def test_the_first_trial_has_more_of_everything_within_one_step() -> None:
    """50 % more of both: from 0.4 cores to 0.6, from 1,024 MiB to 1,536."""
    found = proposed(study())
    assert found.assignment == web("0.6", 1536)
    assert found.purpose is Purpose.SEARCH
    assert found.by_model
    assert "costs 50.0% more than the baseline, which breaks a bound" in found.reason


def test_a_step_may_start_from_what_was_measured_and_did_not_hold_yet() -> None:
    found = proposed(study(measured(2, "0.6", 300, 1536))).assignment
    assert found.number("cpu") > Decimal("0.6") or found.number("memory") > 1536 * MI
    assert found.number("cpu") <= Decimal("0.9")
    assert no_more(web_study().space, BASE, found)


def test_nothing_under_what_failed_is_tried() -> None:
    """The greatest values of the space break the bound, so every increase does."""
    top = study(measured(2, "2.5", 400, 2560))
    answer = suggest(top).answer
    assert isinstance(answer, Hold)
    assert answer.reason is HoldReason.SPACE_EXHAUSTED
    assert answer.message.startswith("no increase is left")
    kept = recommend(top)
    assert isinstance(kept, Recommended)
    assert kept.keep_baseline
    assert "none of 2 evaluated assignments holds every bound at peak" in kept.message


def test_one_that_holds_is_recommended_though_it_costs_more() -> None:
    told = study(*(measured(i, "0.6", 40, 1536) for i in (2, 3)))
    found = recommend(told)
    assert isinstance(found, Recommended)
    assert (found.keep_baseline, found.assignment) == (False, web("0.6", 1536))
    assert found.saving == pytest.approx(-0.5)


def test_from_there_the_search_goes_down_again() -> None:
    found = proposed(study(*(measured(i, "0.6", 40, 1536) for i in (2, 3)), max_trials=40))
    cost = web_study().cost
    assert cost.hourly(found.assignment) < cost.hourly(web("0.6", 1536))


def test_without_a_model_the_first_step_is_the_same_and_nothing_goes_under_the_baseline() -> None:
    told = study()
    answer = sobol.without_model(told, "no model").answer
    assert isinstance(answer, Suggestion)
    assert answer.assignment == web("0.6", 1536)
    assert sobol.verified(told, gather(told)) == []


def test_the_digest_tells_them_apart() -> None:
    told = study()
    plain = replace(told, search=search())
    assert digest(believe(told, gather(told))) != digest(believe(plain, gather(told)))
    assert repr(plain.search) == repr(search())  # what does not repair is the same as before


def run_of(baseline: Assignment, seed: int) -> tuple[Run, Study, Service]:
    service, settings = Service(), replace(search(seed=seed), repair=True)
    made = web_study(baseline=baseline, search=settings, max_trials=14)
    return play(made, service, suggest, recommend, 14), made, service


@pytest.mark.parametrize("seed", [0, 1])
def test_a_whole_run_repairs_and_never_recommends_what_breaks(seed: int) -> None:
    run, made, service = run_of(BASE, seed)
    answer = run.recommended
    assert answer is not None
    assert not answer.keep_baseline
    assert made.peak_load is not None
    assert service.worst(answer.assignment, made.peak_load) <= 0
    assert made.cost.hourly(answer.assignment) <= 1.2 * service.optimum(made)
    assert all(s.explores == s.reason.startswith("may show that ") for s in run.suggestions)
    for each, after in zip(run.suggestions, range(len(run.suggestions)), strict=True):
        known = (o.canary.assignment for o in run.study.outcomes[:after])
        if not any(service.worst(x, made.peak_load) <= math.log(1.0) for x in known):
            assert no_more(made.space, made.baseline, each.assignment)


@pytest.mark.thorough
@pytest.mark.parametrize("baseline", [BASE, web("0.45", 512), web("0.35", 640)])
def test_many_runs(baseline: Assignment) -> None:
    """Fourteen trials find a truly feasible assignment within 16 % of the optimum's cost in all of 8 runs."""
    for seed in range(8):
        run, made, service = run_of(baseline, seed)
        assert run.recommended is not None
        assert made.peak_load is not None
        assert service.worst(run.recommended.assignment, made.peak_load) <= 0
        assert made.cost.hourly(run.recommended.assignment) <= 1.16 * service.optimum(made)
