"""Two objectives: areas by hand, domination, tails."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.optimize.pareto import (
    SMOOTH,
    front,
    hypervolume,
    hypervolume_gain,
    log_hypervolume_gain,
    log_positive,
)

STAIRS = np.asarray([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])
REFERENCE = np.asarray([4.0, 4.0])


def test_the_area_of_three_stairs_by_hand() -> None:
    """Columns of width 1 under the reference: heights 1, 2 and 3."""
    assert hypervolume(STAIRS, REFERENCE) == 6.0
    assert hypervolume(STAIRS[:1], REFERENCE) == 3.0
    assert hypervolume(np.asarray([[4.0, 1.0], [5.0, 0.0]]), REFERENCE) == 0.0
    assert hypervolume(np.zeros((0, 2)), REFERENCE) == 0.0


def test_what_a_point_adds_by_hand() -> None:
    """(1.5, 2.5) adds (2 - 1.5) (3 - 2.5), (0, 0) 16 - 6, (0.5, 3.5) (1 - 0.5) (4 - 3.5). What is dominated adds
    nothing."""
    points = np.asarray([[1.5, 2.5], [0.0, 0.0], [2.5, 2.5], [2.0, 2.0], [0.5, 3.5], [5.0, 0.0]])
    assert hypervolume_gain(points, STAIRS, REFERENCE).tolist() == [0.25, 10.0, 0.0, 0.0, 0.25, 0.0]


def test_the_front_is_sorted_and_keeps_the_first_of_equals() -> None:
    points = np.asarray([[3.0, 1.0], [1.0, 3.0], [2.0, 3.0], [2.0, 2.0], [2.0, 2.0], [1.0, 4.0]])
    assert front(points).tolist() == [1, 3, 0]
    assert front(np.zeros((0, 2))).tolist() == []


coordinates = st.integers(0, 6).map(float)
sets = st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=8).map(np.asarray)


@settings(max_examples=60, deadline=None)
@given(sets, sets)
def test_gains_are_differences_of_areas_and_the_front_is_what_nothing_beats(
    found: np.ndarray, points: np.ndarray
) -> None:
    reference = np.asarray([5.0, 5.0])
    before = hypervolume(found, reference)
    after = [hypervolume(np.vstack([found, p]), reference) for p in points]
    assert hypervolume_gain(points, found, reference) == pytest.approx(np.asarray(after) - before)
    beaten = [any((q <= p).all() and (q < p).any() for q in found) for p in found]
    kept = {tuple(p) for p in found[front(found)]}
    assert kept == {tuple(p) for p, out in zip(found, beaten, strict=True) if not out}


def test_cells_counted_give_the_same_area() -> None:
    """The front's area, cell by cell of a fine grid."""
    rng = np.random.default_rng(3)
    points = rng.uniform(0, 1, (12, 2))
    n = 400
    middle = (np.arange(n) + 0.5) / n
    covered = np.zeros((n, n), dtype=bool)
    for a, b in points:
        covered |= (middle[:, None] >= a) & (middle[None, :] >= b)
    assert hypervolume(points, np.ones(2)) == pytest.approx(covered.mean(), abs=2.0 / n)


def test_the_smooth_logarithm_is_that_of_the_positive_part_and_has_tails() -> None:
    value = np.asarray([0.5, 0.05, 0.0, -0.02, -50.0])
    logs = log_positive(value)
    assert logs[:2] == pytest.approx(np.log(value[:2]), abs=1e-9)
    assert logs[2] == pytest.approx(math.log(SMOOTH * math.log(2)))
    assert logs[3] == pytest.approx(math.log(SMOOTH) - 20, abs=1e-8)
    assert logs[4] == pytest.approx(-50.0 / SMOOTH + math.log(SMOOTH))
    assert np.all(np.diff(logs) < 0)


def test_the_smooth_gain_is_near_the_gain_and_ranks_where_there_is_none() -> None:
    points = np.asarray([[1.5, 2.5], [0.0, 0.0], [2.5, 2.5], [3.5, 3.5]])
    logs = log_hypervolume_gain(points, STAIRS, REFERENCE)
    assert np.exp(logs[:2]) == pytest.approx([0.25, 10.0], rel=0.02)
    assert np.all(np.isfinite(logs))
    assert logs[2] > logs[3]  # both add nothing; one is nearer to the front
