"""CFS bandwidth control: exact duty cycles, and the period model against a simulation of the kernel's rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.workload.cfs import PERIOD_S, Stall, duty_cycle, quota_stall, wall_seconds


@pytest.mark.parametrize(
    ("limit", "threads", "expected"),
    [(0.5, 1, 0.5), (1.0, 4, 0.25), (2.0, 2, 1.0), (3.0, 2, 1.0), (0.1, 8, 0.0125), (1.0, 0, 1.0)],
)
def test_duty_cycle_is_limit_over_threads(limit: float, threads: int, expected: float) -> None:
    assert duty_cycle(limit, threads) == pytest.approx(expected)


def kernel_wall_ms(work_ms: int, quota_ms: int, threads: int) -> float:
    """Millisecond by millisecond: threads run while the period's quota lasts."""
    done, now, left = 0.0, 0, float(quota_ms)
    while done < work_ms - 1e-9:
        if now % 100 == 0:
            left = float(quota_ms)
        run = min(float(threads), left, work_ms - done)
        done, left, now = done + run, left - run, now + 1
    return now


@pytest.mark.parametrize("work_ms", [10, 50, 60, 100, 101, 250, 990])
@pytest.mark.parametrize("quota_ms", [10, 25, 50, 70])
def test_wall_time_of_one_thread_is_what_the_kernel_gives(work_ms: int, quota_ms: int) -> None:
    expected = kernel_wall_ms(work_ms, quota_ms, 1) / 1000.0
    assert wall_seconds(work_ms / 1000.0, quota_ms / 100.0) == pytest.approx(expected, abs=1e-9)


def test_wall_time_of_several_threads() -> None:
    # 4 threads use up a quota of 200 ms in 50 ms; 500 ms of work are two full quotas and 100 ms on 4 threads.
    assert wall_seconds(0.5, 2.0, 4) == pytest.approx(0.2 + 0.025)
    assert wall_seconds(0.5, 4.0, 4) == pytest.approx(0.125)
    assert wall_seconds(0.0, 0.5) == 0.0


def test_a_cpu_bound_pod_runs_its_duty_cycle_in_the_long_run() -> None:
    work = 40.0
    assert work / wall_seconds(work, 0.3) == pytest.approx(duty_cycle(0.3, 1), rel=0.01)


def simulate_stalls(rate: float, batch: float, quota: float, periods: int, seed: int) -> tuple[np.ndarray, float]:
    """Stall of each request and the throttled ratio: batches at Poisson times, exponential work, FIFO quota.

    Work is in units of a request's mean; `quota` is what one period serves. Returns stalls in periods.
    """
    rng = np.random.default_rng(seed)
    backlog: list[tuple[float, float]] = []  # (arrival, work) that waits for quota
    stalls: list[float] = []
    throttled = 0
    for period in range(periods):
        arrivals = []
        for _ in range(rng.poisson(rate / batch)):
            at = period + rng.random()
            arrivals += [(at, w) for w in rng.exponential(1.0, rng.geometric(1.0 / batch))]
        left, waiting = quota, backlog + sorted(arrivals, key=lambda arrival: arrival[0])
        backlog = []
        for arrival, work in waiting:
            if work <= left and not backlog:
                left -= work
                stalls.append(max(period - arrival, 0.0))
            else:
                backlog.append((arrival, work - left))
                left = 0.0
        throttled += bool(backlog)
    return np.array(stalls), throttled / periods


@pytest.mark.parametrize(
    ("rate", "batch", "quota"),
    [
        (40.0, 8.0, 60.0),
        pytest.param(40.0, 16.0, 80.0, marks=pytest.mark.thorough),
        pytest.param(30.0, 4.0, 36.0, marks=pytest.mark.thorough),
    ],
)
def test_stalls_agree_with_a_simulation_of_the_kernels_rule(rate: float, batch: float, quota: float) -> None:
    stalls, throttled = simulate_stalls(rate, batch, quota, 20_000, seed=1)
    burstiness = 2.0 * batch - 1.0  # geometric batches
    model = quota_stall(rate / PERIOD_S, burstiness, 1.0, quota / PERIOD_S, 400, 60.0)
    assert model.throttled == pytest.approx(throttled, rel=0.15)
    assert float(model.weights[1:].sum()) == pytest.approx(float((stalls > 0).mean()), rel=0.15)
    assert model.mean_s / PERIOD_S == pytest.approx(float(stalls.mean()), rel=0.2)
    late = float(model.weights[model.delays_s > PERIOD_S].sum())
    assert late == pytest.approx(float((stalls > 1.0).mean()), rel=0.4)


def test_overload_loses_what_cannot_be_served() -> None:
    for load in (1.5, 2.0, 4.0):
        model = quota_stall(400.0 * load, 1.0, 1.0, 400.0, 200, 60.0)
        assert model.lost == pytest.approx(1.0 - 1.0 / load, abs=0.02)
        assert model.throttled == pytest.approx(1.0, abs=1e-6)


def test_without_load_nobody_waits() -> None:
    model = quota_stall(0.0, 1.0, 1.0, 100.0, 100, 60.0)
    assert model.lost == pytest.approx(0.0, abs=1e-12)
    assert model.throttled == pytest.approx(0.0, abs=1e-9)
    assert model.mean_s == pytest.approx(0.0, abs=1e-9)


def test_a_request_larger_than_the_quota_takes_several_periods() -> None:
    # 250 ms of CPU at a limit of half a core: five quotas of 50 ms.
    model = quota_stall(0.001, 1.0, 0.0, 0.5 / 0.25, 100, 60.0)
    assert model.mean_s == pytest.approx(wall_seconds(0.25, 0.5) - 0.05, abs=0.06)


def dominated(faster: Stall, slower: Stall) -> bool:
    """Whether every stall is at least as likely to be exceeded in the slower one, losses counting as endless."""
    at = np.union1d(faster.delays_s, slower.delays_s)

    def beyond(stall: Stall) -> np.ndarray:
        order = np.argsort(stall.delays_s)
        below = np.concatenate(([0.0], np.cumsum(stall.weights[order])))
        tail = 1.0 - below[np.searchsorted(stall.delays_s[order], at, side="right")]
        return np.asarray(stall.lost + (1.0 - stall.lost) * tail)

    return bool(np.all(beyond(faster) <= beyond(slower) + 1e-9))


@settings(max_examples=60, deadline=None)
@given(
    rate=st.floats(1.0, 2000.0),
    burstiness=st.floats(1.0, 60.0),
    served=st.floats(5.0, 3000.0),
    factor=st.floats(1.001, 3.0),
)
def test_more_quota_or_less_load_never_stalls_more(
    rate: float, burstiness: float, served: float, factor: float
) -> None:
    here = quota_stall(rate, burstiness, 1.0, served, 300, 5.0)
    assert dominated(quota_stall(rate, burstiness, 1.0, served * factor, 300, 5.0), here)
    assert dominated(quota_stall(rate / factor, burstiness, 1.0, served, 300, 5.0), here)
    assert math.isclose(float(here.weights.sum()), 1.0, abs_tol=1e-9)
