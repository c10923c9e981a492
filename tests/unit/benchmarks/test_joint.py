"""The benchmark of joint tuning: what it draws, and how it compares."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from benchmarks.joint.measure import Outcome, difference
from benchmarks.joint.principle import Reached
from benchmarks.joint.services import JOINT, REQUESTS, SERVICES, TARGET, Deployed, scenario_of
from benchmarks.joint.trials import Bench
from benchmarks.joint.ways import Tuned, tune

from trimtab.domain.measurement import Arm, Sample
from trimtab.domain.space import Assignment
from trimtab.domain.trial import Purpose, Suggestion, Trial, TrialPhase
from trimtab.simulate.scenario import START

(STOREFRONT, *_) = SERVICES
TODAY = STOREFRONT.today


def suggested(assignment: Assignment) -> Suggestion:
    return Suggestion(assignment, Purpose.SEARCH, 1, True, None, None, (), "", 0.0, 0.0)


def drawn(names: tuple[str, ...], number: int = 3, seed: int = 5, **changes: str) -> Trial:
    bench = Bench(scenario_of(STOREFRONT, names, TODAY, seed, 12), seed)
    values = {**bench.record.baseline, **{name: Decimal(value) for name, value in changes.items()}}
    return bench.trial(suggested(Assignment.of(values)), 0, number, START)


def slow(trial: Trial, arm: Arm) -> float:
    found = trial.measurement("slow", arm)
    assert found is not None
    assert isinstance(found.reading, Sample)
    return found.reading.value


def test_two_ways_that_try_the_same_at_the_same_time_see_the_same() -> None:
    one, other = drawn(TARGET, target="60"), drawn(JOINT, target="60")
    assert [m.reading for m in one.measurements] == [m.reading for m in other.measurements]
    assert one.load == other.load
    assert slow(drawn(TARGET, number=4, target="60"), Arm.CANARY) != slow(one, Arm.CANARY)


def test_a_trial_is_near_what_the_model_says_of_its_arms() -> None:
    made = scenario_of(STOREFRONT, JOINT, TODAY, 5, 12)
    trial = drawn(JOINT)
    expected = made.truth.judge(made.truth.baseline, made.offered.at(START), 0.045).value("slow")
    assert slow(trial, Arm.CONTROL) == pytest.approx(expected, rel=0.15)
    assert trial.phase is TrialPhase.SUCCEEDED
    assert all(load.pods is not None and 5 <= load.pods <= 12 for load in trial.load)
    driven = [load.use / (0.45 * TODAY.cpu) for load in trial.load if load.use is not None]
    assert driven == pytest.approx([1.0, 1.0], abs=0.12)  # of its target, as the autoscaler keeps it


def test_what_breaks_the_bound_is_judged_as_the_operator_does() -> None:
    trial = drawn(REQUESTS, cpu="0.5", memory=str(1280 * 2**20))
    assert trial.phase is TrialPhase.INFEASIBLE
    assert trial.outcome is not None


def test_one_after_the_other_has_as_many_trials_and_goes_on_from_what_came_out() -> None:
    tuned = tune(STOREFRONT, "requests first", 5, 6)
    assert tuned.trials == len(tuned.tried) <= 6
    assert len(tuned.stages) == 2
    assert tuned.stages[0].target == TODAY.target
    assert (tuned.stages[1].cpu, tuned.stages[1].memory) == (tuned.stages[0].cpu, tuned.stages[0].memory)
    assert tuned.final == tuned.stages[-1]


def outcome(seed: int, cost: float, holds: bool = True) -> Outcome:
    tuned = Tuned("storefront", "joint", seed, TODAY, (TODAY,), (), 24)
    return Outcome(tuned, Reached(TODAY, cost, holds, 0.01), 10.0, 0)


def test_what_does_not_hold_costs_what_runs_today() -> None:
    assert outcome(1, 6.0).score == pytest.approx(0.6)
    assert outcome(1, 6.0, holds=False).score == 1.0


def test_differences_are_paired_and_their_intervals_hold_the_mean() -> None:
    joint = [outcome(seed, 6.0 + seed) for seed in range(4)]
    other = [outcome(seed, cost) for seed, cost in enumerate((8.0, 8.5, 8.0, 8.5))]
    found = difference(joint, other)
    assert found.mean == pytest.approx((0.2 + 0.15 + 0.0 - 0.05) / 4)
    assert (found.joint_cheaper, found.other_cheaper, found.equal) == (2, 1, 1)
    assert found.low < found.mean < found.high
    assert found.t_low < found.low
    assert found.sign_p == pytest.approx(1.0)
    with pytest.raises(AssertionError):
        difference(joint, [replace(o, tuned=replace(o.tuned, seed=9)) for o in other])


def test_a_deployment_takes_over_what_an_experiment_has() -> None:
    assert TODAY.changed(Assignment.of({"target": Decimal(70)})) == Deployed(TODAY.cpu, TODAY.memory, 70)
    assert dict(TODAY.assignment) == {"cpu": Decimal("2.5"), "memory": Decimal(2**32), "target": Decimal(45)}
