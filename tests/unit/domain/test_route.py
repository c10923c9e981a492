"""The arithmetic of weights: exact, and nobody else's share changes."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.domain.route import FINENESS, MOST_WEIGHT, coarseness, fineness, split


@pytest.mark.parametrize(
    ("weights", "at", "share", "made"),
    [
        ([1], 0, 0.05, (900, 50, 50)),
        ([1], 0, 0.5, (0, 500, 500)),
        ([1], 0, 0.0001, (998, 1, 1)),
        ([3, 1], 0, 0.1, (2400, 1000, 300, 300)),
        ([90, 10], 1, 0.05, (90000, 9000, 500, 500)),
        ([0, 2], 1, 0.25, (0, 1000, 500, 500)),
        ([MOST_WEIGHT], 0, 0.05, (900_000, 50_000, 50_000)),
        ([5000, 100], 1, 0.05, (1_000_000, 18_000, 1000, 1000)),
    ],
)
def test_examples(weights: list[int], at: int, share: float, made: tuple[int, ...]) -> None:
    assert split(weights, at, (share, share)) == made


@given(
    weights=st.lists(st.integers(0, MOST_WEIGHT), min_size=1, max_size=14),
    data=st.data(),
    share=st.floats(0.001, 0.5),
)
def test_nobody_elses_fraction_changes(weights: list[int], data: st.DataObject, share: float) -> None:
    at = data.draw(st.integers(0, len(weights) - 1))
    weights[at] = max(2, weights[at])
    made = split(weights, at, (share, share))
    assert all(0 <= w <= MOST_WEIGHT for w in made)
    total, before = sum(made), sum(weights)
    for i, weight in enumerate(weights):
        if i != at:
            assert Fraction(made[i], total) == Fraction(weight, before)
    assert made[-1] == made[-2] > 0
    assert Fraction(made[at] + made[-1] + made[-2], total) == Fraction(weights[at], before)


def test_arms_may_get_different_shares() -> None:
    assert split([3, 1], 1, (0.2, 0.05)) == (3000, 750, 200, 50)


@given(weight=st.integers(1, 1000), percent=st.integers(1, 50))
def test_whole_percents_of_usual_weights_are_exact(weight: int, percent: int) -> None:
    assert coarseness([weight], 0, (percent / 100, percent / 100)) == pytest.approx(0.0, abs=1e-12)


def test_how_fine_weights_can_be_made() -> None:
    assert fineness([1, 1000]) == FINENESS
    assert fineness([1001]) == 999
    assert fineness([MOST_WEIGHT, 1]) == 1


def test_a_share_that_whole_numbers_cannot_hold_is_told() -> None:
    assert coarseness([MOST_WEIGHT, 10], 1, (0.05, 0.05)) == pytest.approx(1.0)
