"""How much a bound grows next to it when pods are driven harder."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trimtab.optimize.queueing import IRREGULAR, OTHERWISE, Slow, rise

RHO = st.floats(0.05, 0.94)
BOUND = st.floats(0.001, 0.2)
TURNS = st.floats(1.0, 500.0)


@given(RHO, RHO, BOUND, TURNS)
def test_never_more_than_by_waiting_alone_and_never_below_zero(
    one: float, two: float, bound: float, turns: float
) -> None:
    low, high = sorted((one, two))
    found = float(rise(low, high, Slow(bound, turns)))
    assert 0.0 <= found <= float(rise(low, high, Slow(bound, None)))
    assert float(rise(high, low, Slow(bound, turns))) == 0.0


@given(RHO, RHO, BOUND)
def test_it_is_what_a_queue_that_reaches_the_bound_rises_by(one: float, two: float, bound: float) -> None:
    """M/M/1: P(T > t) = exp(-(1 - rho) n)."""
    low, high = sorted((one, two))
    turns = math.log(1 / bound) / (1 - high)
    before, after = (math.exp(-(1 - rho) * turns) for rho in (low, high))
    assert after == pytest.approx(bound)
    least = OTHERWISE * math.log2(high / low)
    assert float(rise(low, high, Slow(bound, None))) == pytest.approx(max(math.log(after / before), least), abs=1e-9)


@given(RHO, RHO, BOUND, TURNS, st.floats(1.0, IRREGULAR), st.floats(0.0, 1.0))
def test_what_is_measured_with_that_much_room_holds_where_pods_are_fuller(
    one: float, two: float, bound: float, turns: float, varies: float, part: float
) -> None:
    """A queue no more irregular than is taken for, beside other slow requests that grow by no more than `OTHERWISE`."""
    low, high = sorted((one, two))
    assume(2 * (1 - high) * turns / IRREGULAR >= 1)  # long waits are rare: else waiting alone is the limit
    waits = [math.exp(-2 * (1 - rho) * turns / varies) for rho in (low, high)]
    allowed = bound * math.exp(-float(rise(low, high, Slow(bound, turns))))
    mixed = -math.log(allowed / bound) < float(rise(low, high, Slow(bound, None)))
    assume(mixed and waits[0] <= allowed)
    others = part * (allowed - waits[0])
    after = others * math.exp(OTHERWISE * math.log2(high / low)) + waits[1]
    assert after <= bound * (1 + 1e-9)


def test_beyond_a_full_pod_it_is_as_from_so_much_less_to_one_that_is_nearly() -> None:
    slow = Slow(0.05, None)
    assert float(rise(1.6, 2.0, slow)) == pytest.approx(float(rise(0.76, 0.95, slow)))
    assert float(rise(1.6, 2.0, None)) == pytest.approx(float(rise(0.76, 0.95, None)))


def test_what_does_not_wait_grows_with_the_load() -> None:
    assert float(rise(0.6, 0.8, Slow(0.05, 1e6))) == pytest.approx(OTHERWISE * math.log2(0.8 / 0.6))


@pytest.mark.parametrize("slow", [None, Slow(0.05, None), Slow(0.05, np.asarray([30.0, 300.0]))])
def test_arrays_are_taken_one_by_one(slow: Slow | None) -> None:
    low, high = np.asarray([0.4, 0.6]), np.asarray([0.5, 0.8])
    turns = [None, None] if slow is None or slow.turns is None else np.asarray(slow.turns).tolist()
    each = [None if slow is None else Slow(slow.bound, n) for n in turns]
    ones = [float(rise(a, b, one)) for a, b, one in zip(low, high, each, strict=True)]
    assert rise(low, high, slow).tolist() == [pytest.approx(one) for one in ones]
