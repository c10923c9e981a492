"""The arithmetic of a HorizontalPodAutoscaler, by the examples of its documentation."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.workload.hpa import DOWN, UP, Hpa, Memory, Policy, Rules, Seen, Select, decide, proposal

HPA = Hpa(1, 100)


def at(utilization: float, pods: int, target: float = 0.5) -> Seen:
    """Pods of one core each at a utilization."""
    return Seen(target, utilization * pods, float(pods), pods)


@pytest.mark.parametrize(
    ("utilization", "pods", "wanted"),
    [(1.0, 4, 8), (0.25, 4, 2), (0.54, 4, 4), (0.46, 4, 4), (0.56, 10, 12), (0.44, 10, 9), (0.55, 4, 4)],
)
def test_pods_follow_the_ratio_beyond_the_tolerance(utilization: float, pods: int, wanted: int) -> None:
    assert proposal(HPA, at(utilization, pods), pods) == wanted


def test_each_direction_has_its_tolerance() -> None:
    strict = replace(HPA, up=replace(UP, tolerance=0.0), down=replace(DOWN, tolerance=0.3))
    assert proposal(strict, at(0.51, 10), 10) == 11
    assert proposal(strict, at(0.40, 10), 10) == 10


def test_no_metric_is_no_proposal() -> None:
    assert proposal(HPA, Seen(0.5, 0.0, 0.0, 0), 3) is None
    assert decide(HPA, [Seen(0.5, 0.0, 0.0, 0)], 3, Memory(), 0.0) == 3


def test_pods_without_metrics_hold_it_back_in_both_directions() -> None:
    low = Seen(0.5, 0.4, 2.0, 2, missing=(1.0, 1.0))  # 20 %, with the missing at 100 %: 60 %
    assert proposal(HPA, low, 4) == 4
    high = Seen(0.5, 2.0, 2.0, 2, missing=(1.0, 1.0))  # 100 %, with the missing at 0: 50 %
    assert proposal(HPA, high, 4) == 4


def test_pods_without_metrics_count_as_on_target_where_that_is_more_than_their_request() -> None:
    low = Seen(3.0, 2.0, 2.0, 2, missing=(1.0,))  # 100 % of a target of 300 %; the missing at 300 %: 166 %
    assert proposal(HPA, low, 3) == 2


def test_without_behavior_it_doubles_or_grows_to_four_and_remembers_the_most_of_five_minutes() -> None:
    plain, memory = replace(HPA, plain=True), Memory()
    assert decide(plain, [at(5.0, 1)], 1, memory, 0.0) == 4  # wants ten
    assert decide(plain, [at(0.5, 4)], 4, memory, 15.0) == 8  # content with four, but ten is what was wanted lately
    assert decide(plain, [at(0.5, 8)], 8, memory, 301.0) == 8
    assert decide(plain, [at(0.25, 8)], 8, memory, 602.0) == 4


def test_new_pods_dampen_a_rise() -> None:
    assert proposal(HPA, Seen(0.5, 4.0, 4.0, 4, unready=(1.0,) * 4), 8) == 8
    assert proposal(HPA, Seen(0.5, 4.0, 4.0, 4), 4) == 8


def test_the_largest_proposal_wins_and_an_unknown_one_keeps_from_scaling_down() -> None:
    assert decide(HPA, [at(1.0, 4), at(0.75, 4)], 4, Memory(), 0.0) == 8
    low, unknown = at(0.1, 4), Seen(0.5, 0.0, 0.0, 0)
    assert decide(replace(HPA, down=replace(DOWN, window=0.0)), [low, unknown], 4, Memory(), 0.0) == 4


def test_down_waits_for_its_window() -> None:
    memory = Memory()
    assert decide(HPA, [at(0.5, 10)], 10, memory, 0.0) == 10
    assert decide(HPA, [at(0.25, 10)], 10, memory, 299.0) == 10
    assert decide(HPA, [at(0.25, 10)], 10, memory, 301.0) == 5


def test_up_waits_for_its_window_when_it_has_one() -> None:
    hpa, memory = replace(HPA, up=replace(UP, window=60.0)), Memory()
    assert decide(hpa, [at(0.5, 4)], 4, memory, 0.0) == 4
    assert decide(hpa, [at(1.0, 4)], 4, memory, 30.0) == 4
    assert decide(hpa, [at(1.0, 4)], 4, memory, 91.0) == 8


def test_default_policies_double_or_add_four_in_a_quarter_of_a_minute() -> None:
    assert decide(HPA, [at(5.0, 2)], 2, Memory(), 0.0) == 6
    assert decide(HPA, [at(5.0, 10)], 10, Memory(), 0.0) == 20


def test_policies_count_what_was_changed_within_their_period() -> None:
    slow = Rules(0.0, (Policy(False, 1, 60.0),))
    hpa, memory = replace(HPA, down=slow), Memory()
    assert decide(hpa, [at(0.05, 10)], 10, memory, 0.0) == 9
    assert decide(hpa, [at(0.05, 9)], 9, memory, 30.0) == 9
    assert decide(hpa, [at(0.05, 9)], 9, memory, 61.0) == 8


@pytest.mark.parametrize(("select", "wanted"), [(Select.MAX, 5), (Select.MIN, 9), (Select.DISABLED, 10)])
def test_which_policy_counts(select: Select, wanted: int) -> None:
    rules = Rules(0.0, (Policy(False, 1, 60.0), Policy(True, 50, 60.0)), select)
    assert decide(replace(HPA, down=rules), [at(0.01, 10)], 10, Memory(), 0.0) == wanted


def test_bounds_hold_at_once() -> None:
    assert decide(Hpa(3, 5), [at(0.5, 1)], 1, Memory(), 0.0) == 3
    assert decide(Hpa(3, 5), [at(0.5, 9)], 9, Memory(), 0.0) == 5
    assert decide(Hpa(0, 5), [at(0.5, 1)], 0, Memory(), 0.0) == 0


@given(
    st.lists(st.floats(0.0, 5.0), min_size=1, max_size=60),
    st.integers(1, 5),
    st.integers(0, 40),
    st.floats(0.05, 0.95),
)
def test_never_beyond_the_bounds_once_within(uses: list[float], least: int, more: int, target: float) -> None:
    hpa, memory, pods = Hpa(least, least + more), Memory(), least
    for number, use in enumerate(uses):
        pods = decide(hpa, [at(use, pods, target)], pods, memory, 15.0 * number)
        assert hpa.least <= pods <= hpa.most
