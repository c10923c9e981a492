"""Queueing formulas against textbook values and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.workload.queueing import (
    bounded_pool,
    erlang_b,
    erlang_c,
    pool_wait_nodes,
    pool_wait_tail,
    wait_tail,
)


def erlang_b_by_definition(workers: int, offered: float) -> float:
    terms = [offered**n / math.factorial(n) for n in range(workers + 1)]
    return terms[-1] / sum(terms)


@pytest.mark.parametrize(("workers", "offered"), [(1, 0.5), (2, 1.0), (5, 3.0), (10, 8.0), (20, 30.0)])
def test_erlang_b_equals_its_definition(workers: int, offered: float) -> None:
    assert erlang_b(workers, offered) == pytest.approx(erlang_b_by_definition(workers, offered), rel=1e-12)


@pytest.mark.parametrize(
    ("workers", "offered", "expected"),
    [(1, 0.7, 0.7), (2, 1.0, 1 / 3), (3, 2.0, 4 / 9), (10, 8.0, 0.409180), (5, 5.0, 1.0), (5, 9.0, 1.0)],
)
def test_erlang_c_has_its_textbook_values(workers: int, offered: float, expected: float) -> None:
    assert erlang_c(workers, offered) == pytest.approx(expected, rel=1e-5)


def test_wait_tail_of_one_exponential_server() -> None:
    t = np.array([0.0, 0.1, 0.5, 2.0])
    expected = 0.8 * np.exp(-(1.0 - 0.8) / 0.05 * t)  # M/M/1: rho exp(-(mu - lambda) t)
    assert wait_tail(1, 0.8, 0.05, 1.0, t) == pytest.approx(expected, rel=1e-12)


def test_mean_wait_is_that_of_pollaczek_khinchine() -> None:
    rho, holding, cv2 = 0.6, 0.02, 2.5
    t = np.linspace(0.0, 5.0, 500_001)
    mean = float(np.trapezoid(wait_tail(1, rho, holding, 0.5 * (1.0 + cv2), t), t))
    assert mean == pytest.approx(rho / (1.0 - rho) * holding * (1.0 + cv2) / 2.0, rel=1e-5)


@pytest.mark.parametrize(("places", "offered"), [(5, 0.5), (10, 1.0), (20, 1.7)])
def test_loss_of_one_worker_with_places(places: int, offered: float) -> None:
    weights = [offered**n for n in range(places + 2)]
    state = bounded_pool(1, places, offered)
    assert state.lost == pytest.approx(weights[-1] / sum(weights), rel=1e-10)


def test_many_places_are_an_endless_queue() -> None:
    state = bounded_pool(8, 2000, 6.5)
    assert state.lost < 1e-12
    assert state.waits == pytest.approx(erlang_c(8, 6.5), rel=1e-9)
    t = np.array([0.001, 0.01, 0.05])
    assert pool_wait_tail(state, 8, 0.04, 1.0, t) == pytest.approx(wait_tail(8, 6.5, 0.04, 1.0, t), rel=1e-6)


def test_wait_nodes_keep_the_probability_and_the_mean_of_waiting() -> None:
    state = bounded_pool(8, 2000, 7.0)
    values, weights = pool_wait_nodes(state, 8, 0.04, 1.0)
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-9)
    assert weights[0] == pytest.approx(1.0 - erlang_c(8, 7.0), rel=1e-9)
    assert float(values @ weights) == pytest.approx(erlang_c(8, 7.0) * 0.04 / (8 - 7.0), rel=0.01)


def test_an_idle_pool_makes_nobody_wait() -> None:
    values, weights = pool_wait_nodes(bounded_pool(8, 10, 0.0), 8, 0.04, 1.0)
    assert values.tolist() == [0.0]
    assert weights.tolist() == [1.0]


@settings(max_examples=60, deadline=None)
@given(workers=st.integers(1, 80), offered=st.floats(0.01, 200.0), factor=st.floats(1.001, 3.0))
def test_more_offered_load_means_more_waiting_and_more_loss(workers: int, offered: float, factor: float) -> None:
    less, more = bounded_pool(workers, 50, offered), bounded_pool(workers, 50, offered * factor)
    assert less.lost <= more.lost + 1e-12
    assert less.waits <= more.waits + 1e-9
    assert erlang_c(workers, offered) <= erlang_c(workers, offered * factor) + 1e-12
