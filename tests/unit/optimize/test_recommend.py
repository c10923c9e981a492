"""What is recommended, and what never is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.unit.optimize.test_acquisition import history
from tests.unit.optimize.test_readings import arm, outcome
from tests.unit.optimize.toy import Service, web, web_study

from trimtab.domain.space import Assignment
from trimtab.domain.study import NoAnswer, Study
from trimtab.optimize import crosscheck
from trimtab.optimize.crosscheck import disagreement
from trimtab.optimize.designer import recommend
from trimtab.optimize.readings import gather
from trimtab.optimize.recommend import MARGIN, WIDTHS, recommendable
from trimtab.optimize.safe import believe, upper_limits, verified
from trimtab.optimize.steps import no_more


def saving(study: Study, assignment: Assignment) -> float:
    """Fraction of the baseline's cost that the assignment saves."""
    baseline = study.cost.hourly(study.baseline)
    return (baseline - study.cost.hourly(assignment)) / baseline


@pytest.fixture(scope="module")
def study() -> Study:
    return history(12)


def test_the_cheapest_evaluated_assignment_with_a_margin(study: Study) -> None:
    answer = recommend(study)
    belief = believe(study, gather(study))
    assert not answer.keep_baseline
    assert answer.assignment in {t.canary.assignment for t in study.outcomes}
    assert upper_limits(belief, [answer.assignment], WIDTHS)[0] <= -MARGIN
    assert answer.assignment == recommendable(belief)[0]
    assert answer.saving == pytest.approx(saving(study, answer.assignment))
    assert [p.constraint for p in answer.predictions] == ["slow", "errors"]
    assert answer.message.endswith("every bound holds at peak with a margin of 2.0%")
    assert Service().worst(answer.assignment, study.peak_load or 0) <= 0


def test_its_own_evidence_has_a_veto(study: Study) -> None:
    first = recommend(study).assignment
    withdrawn = replace(outcome(50, arm("1", 10), truncated=True), finished=study.now)
    withdrawn = replace(withdrawn, canary=replace(withdrawn.canary, assignment=first))
    second = recommend(replace(study, outcomes=(*study.outcomes, withdrawn)))
    assert second.assignment != first
    # Slow in one of two trials by so much that the two together are above the bound.
    slow = replace(withdrawn, truncated=False, canary=replace(arm("1", 1200), assignment=first))
    assert recommend(replace(study, outcomes=(*study.outcomes, slow))).assignment != first


def test_what_never_read_a_bound_is_neither_verified_nor_recommended(study: Study) -> None:
    first = recommend(study).assignment
    trials = tuple(
        replace(t, canary=replace(t.canary, readings=t.canary.readings[:1])) if t.canary.assignment == first else t
        for t in study.outcomes
    )
    blind = replace(study, outcomes=trials)
    belief = believe(blind, gather(blind))
    assert first not in verified(belief)
    assert recommend(blind).assignment != first


def test_a_failed_verification_has_a_veto(study: Study) -> None:
    first = recommend(study).assignment
    second = recommend(replace(study, excluded=(first,)))
    assert second.assignment != first


def test_a_rule_that_was_added_later_has_a_veto(study: Study) -> None:
    first = recommend(study).assignment
    low = replace(study, floors=(("cpu", 0.1),))
    assert recommend(low).assignment == first
    high = replace(study, floors=(("memory", float(first.number("memory")) * 1.01),))
    second = recommend(high)
    assert not second.keep_baseline
    assert second.assignment.number("memory") > first.number("memory")


class TestLoadWithoutArms:
    """The arms took so much of the load that nothing holds for what each pod gets once they are gone."""

    SHARE = "let them take a smaller share"

    def test_it_is_said_when_it_binds(self, study: Study) -> None:
        loaded = replace(study, peak_load=80.0)
        answer, belief = recommend(loaded), believe(loaded, gather(loaded))
        assert answer.keep_baseline
        assert self.SHARE in answer.message
        assert "% more once they are gone" in answer.message
        assert study.space.describe(recommendable(belief, belief.loads.seen)[0]) in answer.message

    def test_also_when_nothing_could_even_be_tried(self) -> None:
        answer = recommend(replace(history(2), peak_load=60.0))
        assert answer.keep_baseline
        assert "something cheaper would" in answer.message
        assert self.SHARE in answer.message

    def test_not_when_something_else_binds(self, study: Study) -> None:
        assert self.SHARE not in recommend(study).message
        assert self.SHARE not in recommend(replace(study, min_improvement=0.99, peak_load=80.0)).message
        unloaded = replace(study, peak_load=None, min_improvement=0.99)
        assert self.SHARE not in recommend(unloaded).message


def test_too_little_to_gain_keeps_the_baseline(study: Study) -> None:
    answer = recommend(replace(study, min_improvement=0.99))
    assert answer.keep_baseline
    assert answer.assignment == study.baseline
    assert answer.saving == 0.0
    assert "99%" in answer.message


@pytest.mark.parametrize("trials", [0, 1, 2])
def test_nothing_evaluated_keeps_the_baseline(trials: int) -> None:
    answer = recommend(history(trials))
    assert answer.keep_baseline
    assert answer.message.startswith("keep the baseline")


def test_bad_input_recommends_nothing(study: Study) -> None:
    """What cannot be reckoned with is no answer, which people are told; it is no reason to keep the baseline."""
    assert isinstance(recommend(replace(study, now=float("nan"))), NoAnswer)
    elsewhere = outcome(0, replace(arm("1", 10), assignment=web("1", 1024).of({"other": "thing"})))
    broken = recommend(web_study(outcomes=(elsewhere,)))
    assert isinstance(broken, NoAnswer)
    assert "KeyError" in broken.message


def test_scikit_learn_confirms_what_is_recommended(study: Study) -> None:
    belief = believe(study, gather(study))
    assert disagreement(belief, recommend(study).assignment) == ""


def test_a_disagreement_keeps_the_baseline(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = crosscheck.oracle

    class Shifted:
        def __init__(self, model: object) -> None:
            self.regressor = honest(model)  # type: ignore[arg-type]

        def predict(self, points: np.ndarray, return_std: bool) -> tuple[np.ndarray, np.ndarray]:
            mean, sd = self.regressor.predict(points, return_std=return_std)
            return mean + 0.01, sd

    monkeypatch.setattr(crosscheck, "oracle", Shifted)
    answer = recommend(study)
    assert answer.keep_baseline
    assert "two implementations disagree on slow" in answer.message


def test_the_cross_checks_kernel_has_fixed_scales() -> None:
    belief = believe(history(3), gather(history(3)))
    regressor = crosscheck.oracle(belief.models[0])
    assert not regressor.kernel_.is_stationary()
    with pytest.raises(ValueError, match="fixed scales"):
        regressor.kernel_(regressor.X_train_, eval_gradient=True)


class TestPruning:
    """Changes that bring next to nothing are undone."""

    @staticmethod
    def cheap(study: Study, memory_price: float) -> Study:
        prices = replace(study.cost.prices, memory_gib_hour=memory_price)
        return replace(study, cost=replace(study.cost, prices=prices))

    def test_a_change_of_no_worth_is_undone(self, study: Study) -> None:
        nearly_free = self.cheap(study, 1e-5)
        answer = recommend(nearly_free)
        belief = believe(nearly_free, gather(nearly_free))
        best = recommendable(belief)[0]
        assert best.number("memory") < study.baseline.number("memory")
        assert answer.assignment == best.replace("memory", study.baseline["memory"])
        assert answer.saving == pytest.approx(saving(nearly_free, answer.assignment))
        assert answer.saving >= 0.99 * saving(nearly_free, best)
        assert "memory left as it is, since changing it saves no more than 0.0" in answer.message
        assert no_more(study.space, best, answer.assignment)  # so what holds there holds here, too

    def test_a_change_of_worth_is_not(self, study: Study) -> None:
        assert "left as it is" not in recommend(study).message

    def test_nor_one_whose_undoing_would_break_a_rule(self, study: Study) -> None:
        nearly_free = self.cheap(study, 1e-5)
        undone = recommend(nearly_free).assignment
        kept = recommend(replace(nearly_free, excluded=(undone,))).assignment  # its verification failed
        assert kept.number("memory") < study.baseline.number("memory")
