"""What trials may cost, against sums that can be done by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.control import scaled
from tests.unit.control.builders import (
    BASELINE,
    CHEAPER,
    NOW,
    condition,
    created,
    decided,
    ended,
    experiment,
    measured,
    proposal,
    running,
    snapshot,
    spec,
    study,
    suggestion,
    surroundings,
    target,
    verified,
)

from trimtab.control.actions import Decision
from trimtab.control.arms import cost_model
from trimtab.control.expense import dollars, most, spent_by, too_small
from trimtab.control.scaling import most_pods
from trimtab.control.snapshot import AskProposal, AskRecommendation
from trimtab.domain.cost import CostModel
from trimtab.domain.measurement import Arm
from trimtab.domain.space import Resource
from trimtab.domain.spec import ExperimentSpec, Mode
from trimtab.domain.state import ConditionType, ExperimentPhase, ScaledBy, TargetRecord
from trimtab.domain.study import Recommended
from trimtab.domain.trial import Load, PhaseTimes, Trial, TrialPhase

# A pod of the baseline costs 2 x $0.03 + 2 x $0.004 an hour, one of the cheaper assignment half of that. The longest
# trial is its deadline of 600 s, the target's grace of 10 s and 5 s of slack.
POD, HALF, LONGEST = 0.068, 0.034, 615 / 3600
SEARCH = (POD + HALF) * LONGEST  # the most that a trial of the cheaper assignment can cost
VERIFY = 2 * (POD + POD) * LONGEST  # two verifications, as dear as the baseline
HOUR = POD + HALF  # what one hour of such a trial cost


def capped(most: float) -> ExperimentSpec:
    return spec(stopping=replace(spec().stopping, max_cost=most))


def done(hours: float, index: int = 0, phase: TrialPhase = TrialPhase.SUCCEEDED) -> Trial:
    made = ended(phase, index)
    times = PhaseTimes(NOW - 1 - 3600 * hours, deploying=NOW - 1 - 3600 * hours, finished=NOW - 1)
    return replace(made, times=times, measurements=measured(made, 5))


def asked(most: float, *trials: Trial) -> Decision:
    """What is decided when the model proposes the cheaper assignment."""
    record = experiment(running(trials_created=len(trials)), spec=capped(most))
    answers = {AskProposal(study(trials)): proposal(suggestion())}
    return decided(snapshot(record, trials, answers=answers))


def test_a_trial_starts_while_it_and_the_verification_fit() -> None:
    assert created(asked(HOUR + SEARCH + VERIFY + 1e-6, done(1.0))).index == 1


def test_a_trial_that_could_exceed_the_cap_ends_the_search() -> None:
    decision = asked(HOUR + SEARCH + VERIFY - 1e-6, done(1.0))
    assert isinstance(decision.inquiries[0], AskRecommendation)
    assert decision.state.message == (
        "search over (maxCost: $0.102 of $0.166 spent, the next trial could cost up to $0.0174, its verification "
        "$0.0465): choosing a recommendation"
    )


def test_a_trial_costs_whatever_became_of_it() -> None:
    gone = done(1.0, phase=TrialPhase.ABORTED)
    assert isinstance(asked(HOUR, gone).inquiries[0], AskRecommendation)


def test_once_it_is_spent_the_optimizer_is_not_asked() -> None:
    decision = decided(snapshot(experiment(running(), spec=capped(HOUR)), (done(1.0),)))
    assert isinstance(decision.inquiries[0], AskRecommendation)
    assert "maxCost: $0.102 of $0.102 spent" in decision.state.message


def test_the_answer_says_what_the_trials_cost() -> None:
    trials = tuple(replace(t, times=done(1.0).times) for t in verified(10))
    state = running(candidate=CHEAPER, phase=ExperimentPhase.VERIFYING, trials_created=2)
    chosen = Recommended(CHEAPER, False, 0.4, (), "best")
    answers = {AskRecommendation(study(trials)): chosen}
    decision = decided(snapshot(experiment(state, spec=capped(5.0)), trials, answers=answers))
    assert decision.state.phase is ExperimentPhase.COMPLETED
    assert decision.state.message.endswith("; best; trials cost $0.204 of $5.00 (maxCost)")
    assert decision.state.figures is not None
    assert decision.state.figures.experiment_cost == pytest.approx(0.204)


def test_what_can_no_longer_be_verified_is_not_recommended() -> None:
    one = replace(verified(10)[0], times=done(1.0).times)
    state = running(candidate=CHEAPER, phase=ExperimentPhase.VERIFYING, trials_created=1)
    chosen = Recommended(CHEAPER, False, 0.4, (), "best")
    answers = {AskRecommendation(study((one,))): chosen}
    decision = decided(snapshot(experiment(state, spec=capped(HOUR + SEARCH - 1e-6)), (one,), answers=answers))
    answer = decision.state.recommendation
    assert answer is not None
    assert answer.assignment == BASELINE
    assert "cpu=1 memory=1Gi could not be verified: maxCost: $0.102 of $0.119 spent" in decision.state.message


def test_a_cap_that_no_trial_fits_is_refused_before_the_first() -> None:
    least = 3 * 2 * POD * LONGEST  # the first trial and two verifications
    assert too_small(capped(least + 1e-9), target(), surroundings(), BASELINE) is None
    assert too_small(replace(capped(0.01), mode=Mode.OBSERVE), target(), surroundings(), BASELINE) is None
    found = too_small(capped(least - 1e-9), target(), surroundings(), BASELINE)
    assert found is not None
    assert found.message == (
        "spec.stopping.maxCost: 3 trials at the present settings could cost $0.0697 until their deadlines; raise it, "
        "or shorten spec.trial.deadline"
    )


def test_preflight_says_so() -> None:
    state = replace(running(), phase=ExperimentPhase.PENDING, spec_digest="", target=None)
    seen = snapshot(experiment(state, spec=capped(0.01)))
    answers = dict.fromkeys(decided(seen).inquiries, ())
    decision = decided(replace(seen, answers={**seen.answers, **answers}))
    assert condition(decision, ConditionType.STALLED).reason == "MaxCostTooSmall"


@pytest.mark.parametrize(
    ("amount", "words"), [(0.0, "$0.00"), (0.0071, "$0.0071"), (12.345, "$12.35"), (1e4, "$10,000.00")]
)
def test_money_in_words(amount: float, words: str) -> None:
    assert dollars(amount) == words


class TestArmsThatScale:
    """An arm of 5 % has up to 10 pods, of $0.068 an hour like those of the baseline."""

    SPEC = scaled.spec(scaled.UTILIZATION)
    NOW_ = scaled.assigned(target=70)

    def cost(self) -> CostModel:
        record = TargetRecord("target-uid", "hash-1", self.NOW_, ScaledBy("web-hpa", 100, Resource.CPU, "", 0.7))
        return cost_model(self.SPEC, scaled.target(), record)

    def test_the_most_counts_all_pods_that_they_may_have(self) -> None:
        pod = self.cost().pod_hourly(self.NOW_)
        found = most(
            self.SPEC, scaled.target(), self.cost(), self.NOW_, self.NOW_, most_pods(self.SPEC, scaled.around())
        )
        assert found == pytest.approx(10 * 2 * pod * 615 / 3600)

    def test_what_was_spent_counts_those_that_they_had(self) -> None:
        pod = self.cost().pod_hourly(self.NOW_)
        ended = replace(done(1.0), suggestion=suggestion(assignment=self.NOW_))
        loads = (Load(Arm.CANARY, 10.0, pods=4.0), Load(Arm.CONTROL, 10.0, pods=5.5))
        counted = replace(ended, load=loads)
        assert spent_by(self.SPEC, self.cost(), self.NOW_, (counted,)) == pytest.approx(9.5 * pod)
        assert spent_by(self.SPEC, self.cost(), self.NOW_, (ended,)) == pytest.approx(2 * 5 * pod)
