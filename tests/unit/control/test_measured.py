"""What several trials of one arm measured, pooled, and how sure a bound on it is."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import pytest
from scipy.stats import poisson
from tests.unit.control.builders import trial

from trimtab.control.measured import difference, limits, pool
from trimtab.control.summary import margin
from trimtab.domain.measurement import Arm, Measurement, NoData, Reading, Sample, Window
from trimtab.domain.spec import OutcomeConstraint, RelativeBound
from trimtab.domain.trial import Trial, TrialPhase
from trimtab.slo.estimate import counted_sample

Z95 = NormalDist().inv_cdf(0.95)
ERRORS = OutcomeConstraint("errors", "errors", 0.001, None, None, 0.95, None)


def replicates(*canary: Reading, control: tuple[Reading, ...] = ()) -> tuple[Trial, ...]:
    """Trials that measured so much of `errors`."""
    window = Window(0.0, 600.0)

    def measured(arm: Arm, reading: Reading) -> Measurement:
        return Measurement("errors", arm, window, reading)

    others = control or (NoData("not asked"),) * len(canary)
    return tuple(
        replace(
            trial(TrialPhase.SUCCEEDED, index),
            measurements=(measured(Arm.CANARY, one), measured(Arm.CONTROL, other)),
        )
        for index, (one, other) in enumerate(zip(canary, others, strict=True))
    )


def counted(bad: float, total: float, phi: float = 1.0) -> Sample:
    return counted_sample(bad, total, phi)


class TestCounts:
    def test_they_are_added_and_cluster_as_where_they_do_most(self) -> None:
        found = pool(replicates(counted(3, 1000, 2.5), counted(5, 3000)), "errors", Arm.CANARY)
        assert found is not None
        assert (found.bad, found.total, found.value, found.overdispersion) == (8, 4000, 0.002, 2.5)

    def test_one_that_is_missing_leaves_nothing_to_pool(self) -> None:
        assert pool(replicates(counted(3, 1000), NoData("no traffic")), "errors", Arm.CANARY) is None
        assert pool((), "errors", Arm.CANARY) is None

    @pytest.mark.parametrize("count", [1, 2, 3])
    @pytest.mark.parametrize("sign", [-1, 1])
    def test_no_bad_event_needs_299_requests_for_a_bound_of_one_percent(self, count: int, sign: int) -> None:
        bound = replace(ERRORS, maximum=0.01)
        each = (299 + sign * 5) / count
        assert margin(bound, replicates(*[counted(0, each)] * count), Z95) is (sign > 0)

    @pytest.mark.parametrize("count", [1, 2, 3])
    @pytest.mark.parametrize("expected", [1.0, 1.7, 2.5, 3.2, 4.0, 6.0, 10.0, 20.0])
    def test_what_lies_at_the_bound_passes_in_at_most_one_of_twenty(self, count: int, expected: float) -> None:
        def passed(bad: int) -> bool:
            return margin(ERRORS, replicates(*[counted(bad / count, expected / count / 0.001)] * count), Z95)

        chance = sum(poisson.pmf(k, expected) for k in range(60) if passed(k))
        assert chance <= 0.052

    def test_without_confidence_it_is_the_value_itself(self) -> None:
        assert margin(ERRORS, replicates(counted(1, 1000)), 0.0)
        assert not margin(ERRORS, replicates(counted(2, 1999)), 0.0)
        assert limits(counted(3, 1000), 0.0) == (0.003, 0.003)

    def test_events_that_cluster_threefold_need_three_times_as_many_requests(self) -> None:
        assert not margin(ERRORS, replicates(counted(0, 8000, 3.0)), Z95)
        assert margin(ERRORS, replicates(counted(0, 9000, 3.0)), Z95)

    def test_a_minimum_is_held_by_the_lower_limit(self) -> None:
        floor = replace(ERRORS, maximum=None, minimum=0.99)
        assert not margin(floor, replicates(counted(290, 290)), Z95)
        assert margin(floor, replicates(counted(310, 310)), Z95)

    def test_against_the_control_both_arms_are_unsure(self) -> None:
        near = replace(ERRORS, maximum=None, relative=RelativeBound(None, 0.003))
        quiet, loud = counted(0, 10_000), counted(20, 10_000)
        assert margin(near, replicates(quiet, control=(quiet,)), Z95)
        few = counted(0, 950)
        assert not margin(near, replicates(few, control=(few,)), Z95)
        ratio = replace(ERRORS, maximum=None, relative=RelativeBound(0.5, None))
        assert margin(ratio, replicates(quiet, control=(loud,)), Z95)
        assert not margin(ratio, replicates(loud, control=(loud,)), Z95)
        assert margin(ratio, replicates(loud, control=(loud,)), 0.0)


class TestValues:
    DEPTH = OutcomeConstraint("depth", "errors", 10.0, None, None, 0.95, None)

    def test_each_trial_counts_alike(self) -> None:
        found = pool(replicates(Sample(5.0, 0.2, 60.0), Sample(12.0, 2.0, 60.0)), "errors", Arm.CANARY)
        assert found is not None
        within, between = math.sqrt((0.2**2 + 2.0**2) / 2), 7.0 / math.sqrt(2)
        assert (found.value, found.total, found.bad) == (8.5, 120.0, None)
        assert found.standard_error == pytest.approx(math.hypot(within, between) / math.sqrt(2))

    def test_a_quiet_trial_does_not_hide_a_busy_one(self) -> None:
        assert not margin(self.DEPTH, replicates(Sample(5.0, 0.2, 60.0), Sample(12.0, 2.0, 60.0)), Z95)
        assert margin(self.DEPTH, replicates(Sample(5.0, 0.2, 60.0), Sample(5.4, 0.2, 60.0)), Z95)

    def test_nor_does_one_that_never_moved(self) -> None:
        assert not margin(self.DEPTH, replicates(Sample(0.0, 0.0, 60.0), Sample(12.0, 2.0, 60.0)), Z95)
        assert margin(self.DEPTH, replicates(*[Sample(0.0, 0.0, 60.0)] * 2), Z95)

    def test_one_trial_is_as_sure_as_itself(self) -> None:
        assert pool(replicates(Sample(4.0, 0.5, 60.0)), "errors", Arm.CANARY) == Sample(4.0, 0.5, 60.0)

    @pytest.mark.parametrize(
        "near",
        [
            RelativeBound(0.2, None),
            RelativeBound(None, 2.0),
        ],
    )
    def test_what_moves_both_arms_cancels(self, near: RelativeBound) -> None:
        bound = replace(self.DEPTH, maximum=None, relative=near)
        canary = Sample(10.5, 0.2, 60.0), Sample(21.0, 0.4, 60.0)
        control = (Sample(10.0, 0.2, 60.0), Sample(20.0, 0.4, 60.0))
        assert margin(bound, replicates(*canary, control=control), Z95)
        crossed = replicates(*canary, control=control[::-1])  # as much on average, but apart in each trial
        assert not margin(bound, crossed, Z95)
        found = difference(replicates(*canary, control=control), "errors")
        assert found is not None
        assert found.value == pytest.approx(0.75)
        assert found.standard_error < 0.5
        assert difference(replicates(*canary), "errors") is None


def test_a_value_is_as_sure_as_its_standard_error() -> None:
    low, high = limits(Sample(4.0, 0.5, 60.0), 2.0)
    assert (low, high) == pytest.approx((3.0, 5.0))
    assert math.isclose((low + high) / 2, 4.0)
