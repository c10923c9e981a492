"""Which trial is due, and when the search ends."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.unit.optimize.test_readings import arm, outcome
from tests.unit.optimize.toy import SLOW, WEB_COST, search, web, web_space, web_study

from trimtab.domain.cost import Prices
from trimtab.domain.space import SearchSpace
from trimtab.domain.study import FailureKind, HardFailure, HoldReason, Study, TrialOutcome
from trimtab.domain.trial import Purpose
from trimtab.optimize.readings import gather
from trimtab.optimize.schedule import banned, baseline_infeasible, next_purpose, repairing, suggestion_seed, unusable
from trimtab.optimize.stopping import nothing_left, out_of_patience, out_of_trials, searches_since

B, I, S, R = Purpose.BASELINE, Purpose.INITIAL, Purpose.SEARCH, Purpose.REPLICATE  # noqa: E741


def ledger(*purposes: Purpose, **changes: object) -> Study:
    """Complete trials of these purposes at ever cheaper places."""
    outcomes = []
    for index, purpose in enumerate(purposes):
        place = web("1.5", 1536) if purpose is B else web(f"{1.4 - index / 20:.2f}", 1024)
        outcomes.append(outcome(index, replace(arm("1", 10), assignment=place), purpose=purpose))
    return web_study(outcomes=tuple(outcomes), index=len(outcomes), **changes)


@pytest.mark.parametrize(
    ("past", "due"),
    [
        ((), B),
        ((B,), B),
        ((B, B), I),
        ((B, B, I, I), I),
        ((B, B, I, I, I), S),
        ((B, B, I, I, I, S, S, S), S),
        ((B, B, I, I, I, S, S, S, S), R),
        ((B, B, I, I, I, S, S, S, S, R), S),
        ((B, B, I, I, I, S, S, S, S, R, S, S, S, S), R),
    ],
)
def test_the_order_of_purposes(past: tuple[Purpose, ...], due: Purpose) -> None:
    assert next_purpose(ledger(*past), web("0.7", 1024)) is due


def test_the_baseline_is_not_replicated() -> None:
    study = ledger(B, B, I, I, I, S, S, S, S)
    assert next_purpose(study, study.baseline) is S


def test_initial_trials_include_the_baselines() -> None:
    assert next_purpose(ledger(B, B, search=search(initial=2)), web("1", 1024)) is S
    assert next_purpose(ledger(B, B, search=search(initial=3)), web("1", 1024)) is I


def test_an_incomplete_baseline_is_measured_again() -> None:
    study = ledger(B, B)
    torn = replace(study.outcomes[1], learnable=False)
    assert next_purpose(replace(study, outcomes=(study.outcomes[0], torn)), study.baseline) is B


def test_what_is_banned() -> None:
    study = ledger(B, B, S, S)
    once = study.outcomes[2].canary.assignment
    last = study.outcomes[3]
    assert banned(study, gather(study)) == set()
    twice = replace(study, outcomes=(*study.outcomes, replace(last, index=4)))
    assert banned(twice, gather(twice)) == {last.canary.assignment}
    waiting = replace(study, pending=(web("1", 512), study.baseline), excluded=(web("1", 576),))
    assert banned(waiting, gather(waiting)) == {web("1", 512), web("1", 576)}
    withdrawn = replace(study.outcomes[2], truncated=True)
    again = replace(study, outcomes=(withdrawn, study.outcomes[3], replace(withdrawn, index=4), last))
    assert once in banned(again, gather(again))
    crashed = replace(
        study, outcomes=(replace(last, failure=HardFailure(FailureKind.CRASH, None)), *study.outcomes[:2])
    )
    assert last.canary.assignment in banned(crashed, gather(crashed))


def test_seeds_differ_by_trial_and_stay_small() -> None:
    seeds = {suggestion_seed(web_study(index=i, search=search(seed=s))) for i in range(20) for s in range(20)}
    assert len(seeds) == 400
    assert 0 <= suggestion_seed(web_study(search=search(seed=2**31 - 1), index=40)) < 2**31


def bad_baselines(**changes: object) -> tuple[TrialOutcome, ...]:
    return tuple(
        replace(outcome(i, replace(arm("1.5", 10), assignment=web("1.5", 1536)), purpose=B), **changes)  # type: ignore[arg-type]
        for i in range(5)
    )


@pytest.mark.parametrize(
    ("study", "reason", "words"),
    [
        (web_study(constraints=(replace(SLOW, bound=0.0),)), HoldReason.NUMERICAL, "bound of slow"),
        (web_study(constraints=(replace(SLOW, bound=math.nan),)), HoldReason.NUMERICAL, "bound of slow"),
        (web_study(now=math.inf), HoldReason.NUMERICAL, "finite"),
        (web_study(probability=math.nan), HoldReason.NUMERICAL, "finite"),
        (web_study(cost=replace(WEB_COST, prices=Prices(0, 0))), HoldReason.NUMERICAL, "cost must be positive"),
        (web_study(space=SearchSpace(())), HoldReason.SPACE_EXHAUSTED, "0 points"),
        (web_study(outcomes=bad_baselines(learnable=False)), HoldReason.BASELINE_UNREADABLE, "5 baseline trials ended"),
        (web_study(outcomes=bad_baselines(truncated=True)), HoldReason.BASELINE_INFEASIBLE, "5 baseline trials"),
    ],
)
def test_unusable_studies(study: Study, reason: HoldReason, words: str) -> None:
    if not study.space.parameters:
        study = replace(study, cost=replace(WEB_COST, terms=(), fixed_cores=1.0))
    hold = unusable(study)
    assert hold is not None
    assert hold.reason is reason
    assert words in hold.message


def test_attempts_that_were_lost_are_none_at_a_reading() -> None:
    """Nor is the one that succeeded: what counts are those that ran and could not be read."""
    unread, lost = bad_baselines(learnable=False), bad_baselines(learnable=False, lost=True)
    assert unusable(web_study(outcomes=lost * 4)) is None
    assert unusable(web_study(outcomes=(*unread[:4], *lost))) is None
    read = bad_baselines()[:1]
    assert unusable(web_study(outcomes=(*read, *unread[:4]))) is None
    for outcomes in ((*lost, *unread), (*read, *lost, *unread)):
        hold = unusable(web_study(outcomes=outcomes))
        assert hold is not None
        assert hold.reason is HoldReason.BASELINE_UNREADABLE


def test_usable_studies() -> None:
    assert unusable(web_study()) is None
    assert unusable(ledger(B, B, S)) is None


def test_a_grid_of_one_point_is_exhausted() -> None:
    one = SearchSpace(
        tuple(replace(p, domain=replace(p.domain, maximum=p.domain.minimum)) for p in web_space().parameters)
    )  # type: ignore[type-var, union-attr]
    hold = unusable(web_study(space=one))
    assert hold is not None
    assert hold.reason is HoldReason.SPACE_EXHAUSTED


def test_an_infeasible_baseline_is_named_with_numbers() -> None:
    study = web_study()
    own = tuple(outcome(i, replace(arm("1.5", 300), assignment=study.baseline), control=None) for i in range(2))
    hold = baseline_infeasible(study, gather(replace(study, outcomes=own)))
    assert hold is not None
    assert hold.reason is HoldReason.BASELINE_INFEASIBLE
    assert "1.50 x the bound of slow" in hold.message
    close = tuple(outcome(i, replace(arm("1.5", 205), assignment=study.baseline), control=None) for i in range(2))
    assert baseline_infeasible(study, gather(replace(study, outcomes=close))) is None
    assert baseline_infeasible(study, {}) is None


def test_trials_run_out() -> None:
    assert out_of_trials(web_study(index=39)) is None
    hold = out_of_trials(web_study(index=40))
    assert hold is not None
    assert hold.message == "40 of 40 trials used"


def test_patience_counts_learnable_search_trials_since_the_incumbent() -> None:
    study = ledger(B, B, I, S, S, R, S, patience=3)
    first = study.outcomes[2].canary.assignment
    assert searches_since(study, first) == 3
    assert searches_since(study, study.baseline) == 4
    assert searches_since(study, study.outcomes[6].canary.assignment) == 0
    hold = out_of_patience(study, first)
    assert hold is not None
    assert hold.reason is HoldReason.CONVERGED
    assert out_of_patience(replace(study, patience=4), first) is None
    assert out_of_patience(replace(study, patience=0), first) is None
    silent = replace(study, outcomes=tuple(replace(t, learnable=t.purpose is not S) for t in study.outcomes))
    assert searches_since(silent, first) == 0


def test_nothing_left_to_save() -> None:
    assert nothing_left(web_study(), 0.02) is None
    hold = nothing_left(web_study(), 0.004)
    assert hold is not None
    assert "0.40%" in hold.message


def test_a_baseline_that_breaks_a_bound_is_repaired_when_that_is_asked_for() -> None:
    study = web_study(search=replace(search(), repair=True))
    for slow, broken in ((300, True), (205, True), (195, False)):  # of 4,000, the bound is 5 %
        own = tuple(
            outcome(i, replace(arm("1.5", slow), assignment=study.baseline), purpose=B, control=None) for i in range(2)
        )
        told = replace(study, outcomes=own)
        assert repairing(told, gather(told)) is broken
        assert not repairing(replace(told, search=search()), gather(told))
        assert not repairing(replace(told, outcomes=own[:1]), gather(told))  # one trial may be an accident
