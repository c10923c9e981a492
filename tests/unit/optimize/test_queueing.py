"""How much a bound grows next to it when pods are driven harder."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.optimize.queueing import FEW, LEAST, Slow, rise

RHO = st.floats(0.05, 0.94)
BOUND = st.floats(0.001, 0.2)
TURNS = st.floats(1.0, 500.0)


@given(RHO, RHO, BOUND, TURNS)
def test_never_more_than_by_waiting_alone_and_never_less_than_what_grows_with_the_load(
    one: float, two: float, bound: float, turns: float
) -> None:
    low, high = sorted((one, two))
    found, waiting = (float(rise(low, high, slow)) for slow in (Slow(bound, turns), Slow(bound)))
    assert LEAST * math.log2(high / low) - 1e-9 <= found <= waiting
    if turns < FEW:
        assert found == waiting
    for slow in (Slow(bound, turns), None):
        assert 0.0 <= float(rise(high, low, slow)) < 1e-9


@given(RHO, RHO, BOUND)
def test_it_is_what_a_queue_that_reaches_the_bound_rises_by(one: float, two: float, bound: float) -> None:
    """M/M/1: P(T > t) = exp(-(1 - rho) n)."""
    low, high = sorted((one, two))
    turns = math.log(1 / bound) / (1 - high)
    before, after = (math.exp(-(1 - rho) * turns) for rho in (low, high))
    assert after == pytest.approx(bound)
    least = LEAST * math.log2(high / low)
    assert float(rise(low, high, Slow(bound))) == pytest.approx(max(math.log(after / before), least), abs=1e-9)


@given(RHO, RHO, BOUND, st.floats(1.0, FEW, exclude_max=True))
def test_what_is_measured_with_that_much_room_holds_where_pods_are_fuller(
    one: float, two: float, bound: float, turns: float
) -> None:
    """M/M/1 of few requests in the time of the bound: also where the reading is far below it, as all queues are."""
    low, high = sorted((one, two))
    before, after = (math.exp(-(1 - rho) * turns) for rho in (low, high))
    if math.log(before / bound) + float(rise(low, high, Slow(bound, turns))) <= 0:
        assert after <= bound * (1 + 1e-9)


def test_beyond_a_full_pod_it_is_as_from_so_much_less_to_one_that_is_nearly() -> None:
    for slow in (None, Slow(0.05), Slow(0.05, 300.0)):
        assert float(rise(1.6, 2.0, slow)) == pytest.approx(float(rise(0.76, 0.95, slow)))


@pytest.mark.parametrize("slow", [None, Slow(0.05), Slow(0.05, np.asarray([30.0, 300.0]))])
def test_arrays_are_taken_one_by_one(slow: Slow | None) -> None:
    low, high = np.asarray([0.4, 0.6]), np.asarray([0.5, 0.8])
    turns = [None, None] if slow is None or slow.turns is None else np.asarray(slow.turns).tolist()
    each = [None if slow is None else Slow(slow.bound, n) for n in turns]
    ones = [float(rise(a, b, one)) for a, b, one in zip(low, high, each, strict=True)]
    assert rise(low, high, slow).tolist() == [pytest.approx(one) for one in ones]
