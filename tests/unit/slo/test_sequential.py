"""The test against the control: exact where it can be, and its error rates in seeded simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trimtab.slo.sequential import RATIOS, EProcess, overdispersion_bound

TICKS, PER_TICK, BASE = 60, 200.0, 0.01  # ten minutes of ten seconds, 20 requests/s an arm, 1 % errors


def clustered(rng: np.random.Generator, mean: np.ndarray, phi: float) -> np.ndarray:
    return rng.poisson(mean) if phi == 1 else rng.negative_binomial(mean / (phi - 1), 1 / phi)


def crossings(
    ratio: float, phi: float, *, used: float, runs: int, moving: bool = False, outage: float = 1.0, delta: float = 1.2
) -> np.ndarray:
    """Tick of the first E >= 100 in each run, or a large number. The same formula as EProcess, over all runs at once:
    `test_the_vectorised_formula_is_the_product_code` holds both together."""
    rng = np.random.default_rng(23)
    canary, control = np.full((runs, TICKS), PER_TICK), np.full((runs, TICKS), PER_TICK)
    if moving:
        factor = np.where(np.arange(TICKS) % 20 < 10, 0.5, 1.5)
        canary, control = canary * factor, control * (2 - factor)
    base = BASE * np.where(np.arange(TICKS) >= TICKS // 2, outage, 1.0)
    evidence = e_values(
        clustered(rng, ratio * base * canary, phi), canary, clustered(rng, base * control, phi), control, delta, used
    )
    fired = evidence >= 100
    return np.where(fired.any(axis=1), fired.argmax(axis=1) + 1, 10**6)


def e_values(
    bad: np.ndarray, total: np.ndarray, other_bad: np.ndarray, other: np.ndarray, delta: float, phi: float
) -> np.ndarray:
    null = delta * total / (delta * total + other)
    logs = []
    for ratio in RATIOS:
        theta = delta * ratio * total / (delta * ratio * total + other)
        logs.append(np.cumsum(bad * np.log(theta / null) + other_bad * np.log((1 - theta) / (1 - null)), axis=1) / phi)
    return np.exp(np.minimum(np.array(logs), 700)).mean(axis=0)


def test_the_vectorised_formula_is_the_product_code() -> None:
    rng = np.random.default_rng(1)
    bad, other_bad = rng.poisson(4.0, (1, 30)), rng.poisson(2.0, (1, 30))
    total, other = rng.uniform(50, 300, (1, 30)), rng.uniform(50, 300, (1, 30))
    process = EProcess(delta=1.2, phi=2.0)
    for k, n, m, o in zip(bad[0], total[0], other_bad[0], other[0], strict=True):
        process = process.add(float(k), float(n), float(m), float(o))
    assert process.value == pytest.approx(e_values(bad, total, other_bad, other, 1.2, 2.0)[0, -1])
    assert process.canary_bad == bad.sum()


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("phi", [1.0, 3.0])
def test_false_alarms_at_the_tolerated_ratio(phi: float, moving: bool) -> None:
    runs = 20_000
    rate = float((crossings(1.2, phi, used=phi, runs=runs, moving=moving) <= TICKS).mean())
    assert rate + 1.645 * math.sqrt(rate * (1 - rate) / runs) <= 0.01


def test_no_alarm_when_both_arms_get_worse_together() -> None:
    assert float((crossings(1.0, 3.0, used=3.0, runs=5000, outage=5.0) <= TICKS).mean()) <= 0.005


def test_clusters_must_be_allowed_for() -> None:
    assert float((crossings(1.2, 3.0, used=1.0, runs=5000) <= TICKS).mean()) > 0.08


@pytest.mark.parametrize(("ratio", "phi", "seconds"), [(3, 1, 200), (3, 3, 400), (5, 1, 60), (5, 3, 120)])
def test_a_bad_canary_is_found_in_time(ratio: float, phi: float, seconds: float) -> None:
    assert np.median(crossings(ratio, phi, used=phi, runs=2000)) * 10 <= seconds


def test_evidence_of_nothing_is_one() -> None:
    process = EProcess()
    assert process.value == 1.0
    assert process.add(0, 100, 0, 100).value == 1.0
    assert process.add(5, 0, 5, 100) is process
    assert process.add(5, 100, 5, 0) is process


def test_a_good_canary_gathers_evidence_against_the_alarm() -> None:
    null, theta = 1.2 / 2.2, 1.5 / 2.5  # the mildest alternative, 1.25 x the tolerance, weighs most
    mildest = math.exp(100 / 3 * math.log((1 - theta) / (1 - null))) / len(RATIOS)
    assert EProcess().add(0, 10_000, 100, 10_000).value == pytest.approx(mildest, rel=0.05)


def test_huge_evidence_does_not_overflow() -> None:
    process = EProcess(phi=1.0)
    for _ in range(50):
        process = process.add(1e6, 1e6, 1.0, 1e6)
    assert math.isfinite(process.value)
    assert process.rejects(1e-9)


def test_the_overdispersion_of_a_history() -> None:
    assert overdispersion_bound(1.0, 10) == 3.0  # no history: the default
    assert overdispersion_bound(0.5, 360) == 1.0
    assert overdispersion_bound(3.0, 360) == pytest.approx(3.0 * (1 + 1.28 * math.sqrt(2 / 359)))
