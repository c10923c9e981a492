"""What measurements say without a model."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from scipy.stats import chi2
from tests.unit.optimize.toy import ERRORS, SLOW, counts, web, web_study

from trimtab.domain.measurement import Sample
from trimtab.domain.space import Resource
from trimtab.domain.spec import SliKind
from trimtab.domain.study import (
    ArmOutcome,
    ConstraintReading,
    ConstraintTarget,
    FailureKind,
    HardFailure,
    TrialOutcome,
)
from trimtab.domain.trial import Purpose
from trimtab.optimize.readings import (
    Evidence,
    Observation,
    broken_below,
    complete,
    gather,
    observe,
    observe_relative,
    observe_trial,
    usable,
)

P95 = ConstraintTarget("p95", SliKind.LATENCY, bound=0.2)
NAN = math.nan


def test_values_by_the_delta_method() -> None:
    seen = observe(P95, Sample(0.1, 0.005, 1000))
    assert seen is not None
    assert seen.g == pytest.approx(math.log(0.5))
    assert seen.se == pytest.approx(0.05)
    assert seen.bad is None


def test_a_lower_bound_turns_the_sign() -> None:
    least = ConstraintTarget("rate", SliKind.VALUE, bound=100, upper=False)
    seen = observe(least, Sample(50.0, 1.0, 10))
    assert seen is not None
    assert seen.g == pytest.approx(math.log(2))


def test_counts_keep_their_counts() -> None:
    seen = observe(SLOW, Sample(0.02, 0.002, 5000, bad=100, overdispersion=2.0))
    assert seen is not None
    assert (seen.bad, seen.expected, seen.overdispersion) == (100, pytest.approx(250), 2.0)
    assert seen.g == pytest.approx(math.log(100.5 / (5001 * 0.05)))
    assert seen.se == pytest.approx(math.sqrt(2 / 100.5))


def test_a_ratio_with_a_lower_bound_is_not_poisson() -> None:
    least = ConstraintTarget("ok", SliKind.VALUE, bound=0.99, upper=False)
    seen = observe(least, Sample(0.995, 0.001, 1000, bad=995))
    assert seen is not None
    assert seen.bad is None
    assert seen.g < 0


def test_zero_has_the_width_of_its_error() -> None:
    seen = observe(P95, Sample(0.0, 0.02, 100))
    assert seen is not None
    assert seen.g == pytest.approx(math.log(0.1))
    assert seen.se == pytest.approx(1.0)


@pytest.mark.parametrize("sample", [Sample(0.0, 0.0, 100), Sample(0.0, 1e-4, 100), Sample(1e-4, 2e-4, 100)])
def test_what_is_none_is_no_certainty(sample: Sample) -> None:
    seen = observe(P95, sample)
    assert seen is not None
    assert (seen.g, seen.se) == (-3.0, 1.5)
    low = observe(P95, Sample(1e-4, 5e-5, 100))  # little, and told from none
    assert low is not None
    assert low.g == pytest.approx(math.log(1e-4 / 0.2))


def test_zero_is_a_value_where_trials_repeat_themselves() -> None:
    seen = observe(P95, Sample(0.0, 0.0, 100), 1e-3)
    assert seen is not None
    assert (seen.g, seen.se) == (-12.0, 1e-3)


def test_zero_is_far_below_a_lower_bound() -> None:
    seen = observe(ConstraintTarget("rate", SliKind.VALUE, bound=100, upper=False), Sample(0.0, 0.0, 10))
    assert seen is not None
    assert (seen.g, seen.se) == (12.0, 0.01)


@pytest.mark.parametrize(
    "sample",
    [
        Sample(NAN, 0.1, 100),
        Sample(0.1, NAN, 100),
        Sample(math.inf, 0.1, 100),
        Sample(0.1, -1.0, 100),
        Sample(-0.1, 0.1, 100),
        Sample(0.1, 0.1, 0, bad=0),
        Sample(0.1, 0.1, 100, bad=NAN),
        Sample(0.1, 0.1, NAN, bad=1),
        Sample(0.1, 0.1, 100, bad=-1),
        Sample(0.1, 0.1, 100, bad=101),
    ],
)
def test_what_cannot_be_used_is_none(sample: Sample) -> None:
    assert observe(P95, sample) is None


def test_overdispersion_is_at_least_one() -> None:
    for spread in (0.2, NAN, 1.0):
        seen = observe(SLOW, Sample(0.02, 0.002, 5000, bad=100, overdispersion=spread))
        assert seen is not None
        assert seen.overdispersion == 1.0


def test_relative_bound() -> None:
    target = ConstraintTarget("p95", SliKind.LATENCY, bound=0, relative_margin=0.1)
    seen = observe_relative(target, Sample(0.22, 0.011, 100), Sample(0.2, 0.01, 100))
    assert seen is not None
    assert seen.g == pytest.approx(0.0, abs=1e-12)
    assert seen.se == pytest.approx(math.hypot(0.05, 0.05))
    assert observe_relative(target, Sample(0.0, 0.0, 100), Sample(0.2, 0.01, 100)) is None
    assert observe_relative(target, Sample(0.1, 0.0, 0, bad=0), Sample(0.2, 0.01, 100)) is None
    ratio = observe_relative(target, counts(20, 1000), counts(10, 1000))
    assert ratio is not None
    assert ratio.g == pytest.approx(math.log(20.5 / 10.5) - math.log(1.1))


def test_an_increase_over_the_control() -> None:
    """At most 0.01 more than the control's."""
    target = ConstraintTarget("errors", SliKind.ERRORS, bound=0, relative_increase=0.01)
    at_the_bound = observe_relative(target, Sample(0.03, 0.003, 100), Sample(0.02, 0.002, 100))
    assert at_the_bound is not None
    assert at_the_bound.g == pytest.approx(0.0, abs=1e-12)
    assert at_the_bound.se == pytest.approx(math.hypot(0.1, 0.002 / 0.03))
    ratio = observe_relative(target, counts(20, 1000), counts(10, 1000))
    assert ratio is not None
    assert ratio.g == pytest.approx(math.log(20.5 / 1001 / (10.5 / 1001 + 0.01)))


def test_an_increase_over_a_control_without_errors() -> None:
    """A percentage of nothing would be noise; this is not."""
    target = ConstraintTarget("errors", SliKind.ERRORS, bound=0, relative_increase=0.01)
    none = observe_relative(target, counts(0, 5000), counts(0, 5000))
    some = observe_relative(target, counts(100, 5000), counts(0, 5000))
    assert none is not None
    assert some is not None
    assert none.g < math.log(0.02)
    assert some.g == pytest.approx(math.log(2), abs=0.02)
    nothing = observe_relative(target, Sample(0.0, 0.0, 100), Sample(0.0, 0.0, 100))
    assert nothing is not None
    assert (nothing.g, nothing.se) == (-3.0, 1.5)  # a value, and no count of what there was to fail
    assert observe_relative(replace(target, relative_increase=0.0), Sample(1, 1, 1), Sample(0.0, 0.0, 1)) is None
    assert observe_relative(target, Sample(NAN, 0.1, 1), Sample(0.1, 0.1, 1)) is None


def test_usable_bounds() -> None:
    assert usable(SLOW)
    assert not usable(replace(SLOW, bound=0.0))
    assert not usable(replace(SLOW, bound=NAN))
    assert usable(replace(SLOW, bound=0.0, relative_margin=0.1))
    assert not usable(replace(SLOW, relative_margin=-1.0))
    assert usable(replace(SLOW, bound=0.0, relative_increase=0.0))
    assert not usable(replace(SLOW, relative_increase=-0.1))
    assert not usable(replace(SLOW, relative_increase=NAN))


@pytest.mark.parametrize("bad", [0, 1, 3, 10, 100, 2000])
def test_poisson_limits_are_close_to_the_exact_ones(bad: int) -> None:
    own = Evidence(observations={"slow": [Observation(0.0, 0.1, bad, 50.0)]})
    interval = own.interval("slow")
    assert interval is not None
    exact_upper = math.log(chi2.ppf(0.95, 2 * bad + 2) / 2 / 50)
    assert interval[2] == pytest.approx(exact_upper, abs=0.02)
    if bad:
        exact_lower = math.log(chi2.ppf(0.05, 2 * bad) / 2 / 50)
        assert interval[0] == pytest.approx(exact_lower, abs=0.3 if bad < 3 else 0.02)
        assert interval[1] == pytest.approx(math.log(bad / 50))


def test_values_are_pooled_by_precision() -> None:
    own = Evidence(observations={"p95": [Observation(-0.2, 0.1), Observation(-0.4, 0.2)]})
    interval = own.interval("p95")
    assert interval is not None
    assert interval[1] == pytest.approx((-0.2 * 100 - 0.4 * 25) / 125)
    assert interval[2] - interval[1] == pytest.approx(1.6448536 / math.sqrt(125))
    assert own.interval("other") is None


def arm(cpu: str, slow: int, total: int = 4000, errors: int = 0) -> ArmOutcome:
    readings = (
        ConstraintReading("slow", counts(slow, total)),
        ConstraintReading("errors", counts(errors, total)),
    )
    return ArmOutcome(web(cpu, 1024), 30.0, readings)


def outcome(index: int, canary: ArmOutcome, **changes: object) -> TrialOutcome:
    control = replace(arm("1.5", 10), assignment=web("1.5", 1536))
    base = TrialOutcome(index, Purpose.SEARCH, 1.8e9 + index, canary, control)
    return replace(base, **changes)  # type: ignore[arg-type]


def test_own_evidence_verifies_or_contradicts() -> None:
    study = web_study(outcomes=(outcome(0, arm("1", 20)), outcome(1, arm("0.5", 400)), outcome(2, arm("0.7", 195))))
    evidence = gather(study)
    assert evidence[web("1", 1024)].verifies(study.constraints)
    assert evidence[web("0.5", 1024)].contradicts(study.constraints)
    near = evidence[web("0.7", 1024)]  # 4.9 %: neither
    assert not near.verifies(study.constraints)
    assert not near.contradicts(study.constraints)
    assert evidence[web("1.5", 1536)].interval("slow") is not None  # the control


def test_a_withdrawal_needs_two_clean_trials_to_be_forgiven() -> None:
    history = [outcome(0, arm("1", 20), truncated=True), outcome(1, arm("1", 20)), outcome(2, arm("1", 20))]
    for count, contradicted in ((1, True), (2, True), (3, False)):
        study = web_study(outcomes=tuple(history[:count]))
        assert gather(study)[web("1", 1024)].contradicts(study.constraints) is contradicted


def test_trials_that_ended_early_verify_nothing_alone() -> None:
    first = outcome(0, arm("1", 20), early=True)
    for others, verified in (
        ((), False),
        ((outcome(1, arm("1", 20), early=True),), False),
        ((outcome(1, arm("1", 20)),), True),
    ):
        study = web_study(outcomes=(first, *others))
        own = gather(study)[web("1", 1024)]
        assert own.full == 1 + len(others)
        assert own.held(study.constraints)
        assert own.verifies(study.constraints) is verified


def test_what_teaches_nothing_adds_nothing() -> None:
    study = web_study(outcomes=(outcome(0, arm("1", 4000), learnable=False, truncated=True),))
    own = gather(study)[web("1", 1024)]
    assert (own.clean, own.withdrawn, own.observations) == (0, 0, {})


def test_guard_only_bounds_contradict_only_when_clear() -> None:
    guards = (SLOW, replace(ERRORS, guard_only=True))
    for errors, contradicted in ((22, False), (60, True)):  # 20 expected at the bound
        study = web_study(constraints=guards, outcomes=(outcome(0, arm("1", 20, errors=errors)),))
        own = gather(study)[web("1", 1024)]
        assert own.contradicts(guards) is contradicted
        assert own.verifies(guards) is not contradicted


def test_complete_needs_every_bound_of_the_safe_set() -> None:
    study = web_study()
    whole = outcome(0, arm("1", 20))
    assert complete(study, whole)
    half = replace(whole, canary=replace(whole.canary, readings=whole.canary.readings[:1]))
    assert not complete(study, half)
    assert complete(replace(study, constraints=(SLOW, replace(ERRORS, guard_only=True))), half)
    assert not complete(study, replace(whole, truncated=True))
    assert not complete(study, replace(whole, learnable=False))


def test_a_trial_that_did_not_read_every_bound_counts_for_none_but_teaches_what_it_read() -> None:
    whole = outcome(0, arm("1", 20))
    half = replace(whole, canary=replace(whole.canary, readings=whole.canary.readings[:1]))
    study = web_study(outcomes=(half, replace(half, index=1)))
    own = gather(study)[web("1", 1024)]
    assert (own.clean, own.full, len(own.observations["slow"])) == (0, 0, 2)
    assert not own.verifies(study.constraints)
    withdrawn = replace(whole, truncated=True)  # two complete trials clear it, two of half a reading do not
    for others, cleared in (((half, half), False), ((whole, whole), True)):
        own = gather(web_study(outcomes=(withdrawn, *others)))[web("1", 1024)]
        assert own.contradicts(study.constraints) is not cleared
    guards = web_study(constraints=(SLOW, replace(ERRORS, guard_only=True)), outcomes=(half,))
    assert gather(guards)[web("1", 1024)].full == 1


def test_relative_bounds_have_a_row_for_the_canary_only() -> None:
    trial = outcome(0, arm("1", 20))
    assert trial.control is not None
    for target in (replace(SLOW, relative_margin=0.5), replace(SLOW, relative_increase=0.01)):
        assert observe_trial(target, trial, trial.canary) is not None
        assert observe_trial(target, trial, trial.control) is None
        assert observe_trial(target, replace(trial, control=None), trial.canary) is None


def test_an_oom_excludes_what_lies_below() -> None:
    failed = outcome(0, arm("0.5", 20), failure=HardFailure(FailureKind.OOM, Resource.MEMORY))
    crashed = outcome(1, arm("0.5", 20), failure=HardFailure(FailureKind.CRASH, None))
    assert broken_below(web_study(outcomes=(failed, crashed))) == ((("memory", 1024.0 * 2**20),),)
