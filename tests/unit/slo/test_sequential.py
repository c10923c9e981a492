"""The test against the control: exact where it can be, and its error rates in seeded simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trimtab.slo.estimate import overdispersion_between
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
@pytest.mark.thorough
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


# Overdispersion from the service's past

PODS, MINUTES = 20, 360


def past(rng: np.random.Generator, phi: float, base: float, pods: int = PODS) -> list[list[tuple[float, float]]]:
    """Six hours of a service whose load doubles and that has one bad half hour, both on all pods alike."""
    load = 60 * PER_TICK / 10 * (1 + 0.5 * np.sin(np.arange(MINUTES) / 120))
    ratio = np.where((np.arange(MINUTES) >= 100) & (np.arange(MINUTES) < 130), 5 * base, base)
    total = np.repeat(load[:, None], pods, axis=1)
    bad = np.minimum(clustered(rng, total * ratio[:, None], phi), total)
    return [[(float(k), float(n)) for k, n in zip(ks, ns, strict=True)] for ks, ns in zip(bad, total, strict=True)]


@pytest.mark.parametrize("pods", [PODS, 4, 1])
@pytest.mark.parametrize("phi", [1.0, 3.0])
def test_how_errors_cluster_on_pods_is_found_beside_what_hits_all_of_them(phi: float, pods: int) -> None:
    """The variance of the service's counts over their mean would say 100 and more."""
    rng = np.random.default_rng(7)
    found = [overdispersion_between(past(rng, phi, BASE, pods)) for _ in range(10)]
    assert np.mean([estimate for estimate, _ in found]) == pytest.approx(phi, rel=0.12)
    assert {steps for _, steps in found} == {MINUTES if pods > 1 else MINUTES // 2}
    counts = [sum(k for k, _ in pods_) for pods_ in past(rng, phi, BASE)]
    assert np.var(counts) / np.mean(counts) > 100


def test_a_past_without_errors_says_nothing() -> None:
    assert overdispersion_between([[(0.0, 100.0)] * 5] * 400) == (1.0, 0)
    assert overdispersion_between([]) == (1.0, 0)
    assert overdispersion_bound(*overdispersion_between([[(1.0, 100.0), (0.0, 100.0)]] * 59)) == 3.0


@pytest.mark.thorough
@pytest.mark.parametrize(("phi", "seconds"), [(1.0, 120), (2.0, 220), (5.0, 480)])
def test_with_the_bound_from_the_past_it_is_as_sure_and_faster_where_errors_do_not_cluster(
    phi: float, seconds: float
) -> None:
    """With 3 for want of a past, a threefold ratio takes 240 s where errors are independent, and where they cluster
    fivefold 2.5 % of trials are withdrawn for nothing."""
    rng, alarms, found = np.random.default_rng(11), [], []
    for _ in range(20):
        used = overdispersion_bound(*overdispersion_between(past(rng, phi, BASE)))
        even = np.full((500, TICKS), PER_TICK)
        for ratio, into in ((1.2, alarms), (3.0, found)):
            bad, other = clustered(rng, ratio * BASE * even, phi), clustered(rng, BASE * even, phi)
            fired = e_values(bad, even, other, even, 1.2, used) >= 100
            into += [int(f.argmax()) + 1 if f.any() else 10**6 for f in fired]
    rate = float((np.array(alarms) <= TICKS).mean())
    assert rate + 1.645 * math.sqrt(rate * (1 - rate) / len(alarms)) <= 0.01
    assert np.median(found) * 10 <= seconds
