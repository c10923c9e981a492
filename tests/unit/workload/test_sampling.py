"""Counts drawn from a behaviour have its moments, and the same seed draws the same counts."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.workload import Conditions, Resources, WorkloadSpec, evaluate, noise, sample_tick
from trimtab.workload.sampling import clustered
from trimtab.workload.units import MIB

TIGHT = Resources.equal(0.7, 768 * MIB)


def test_counts_follow_the_probabilities(web: WorkloadSpec) -> None:
    behaviour = evaluate(web, TIGHT, 800.0)
    counts = sample_tick(np.random.default_rng(1), web, behaviour, 20_000.0)
    assert counts.requests == pytest.approx(16_000_000, rel=0.01)
    assert counts.requests == int(counts.buckets.sum())
    slow = counts.buckets[web.buckets.index(web.slo.latency_threshold) + 1 :].sum() / counts.requests
    assert slow == pytest.approx(behaviour.slow_fraction(web.slo.latency_threshold), rel=0.01)
    assert counts.failed / counts.requests == pytest.approx(web.request.error_percent / 100.0, rel=0.15)
    assert counts.throttled / counts.periods == pytest.approx(behaviour.throttled_ratio, rel=0.02)
    assert counts.latency_sum_s / counts.requests == pytest.approx(behaviour.latency.mean_s, rel=0.01)
    assert counts.cpu_seconds / 20_000.0 == pytest.approx(behaviour.cpu_usage_cores, rel=0.05)
    assert not counts.oom


def test_injected_errors_and_another_load(web: WorkloadSpec) -> None:
    conditions = Conditions(error_ratio=0.3)
    behaviour = evaluate(web, TIGHT, 800.0, conditions)
    counts = sample_tick(np.random.default_rng(1), web, behaviour, 100.0, conditions, load_rps=100.0)
    assert counts.requests == pytest.approx(10_000, rel=0.05)
    assert counts.failed / counts.requests == pytest.approx(0.3, rel=0.05)


def test_too_little_memory_kills(web: WorkloadSpec) -> None:
    behaviour = evaluate(web, Resources.equal(2.0, 300 * MIB), 800.0)
    assert sample_tick(np.random.default_rng(1), web, behaviour, 3600.0).oom


def test_the_same_seed_draws_the_same(web: WorkloadSpec) -> None:
    behaviour = evaluate(web, TIGHT, 800.0)
    first, again = (sample_tick(np.random.default_rng(5), web, behaviour, 10.0) for _ in range(2))
    assert first.succeeded == again.succeeded
    assert np.array_equal(first.buckets, again.buckets)


@pytest.mark.parametrize("dispersion", [1.0, 3.0])
def test_errors_are_clustered_as_told(dispersion: float) -> None:
    rng = np.random.default_rng(2)
    drawn = np.array([clustered(rng, 5.0, dispersion) for _ in range(40_000)])
    assert drawn.mean() == pytest.approx(5.0, rel=0.02)
    assert drawn.var() / drawn.mean() == pytest.approx(dispersion, rel=0.05)
    assert clustered(rng, 0.0, dispersion) == 0


def test_hashed_noise_is_uniform_and_independent_of_its_neighbours() -> None:
    values = noise.uniform(3, "key", np.arange(100_000))
    assert values.mean() == pytest.approx(0.5, abs=0.005)
    assert np.histogram(values, 10, (0, 1))[0].min() > 9_600
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.01
    assert noise.uniform(3, "other", 0) != noise.uniform(3, "key", 0)
    assert noise.uniform(4, "key", 0) != noise.uniform(3, "key", 0)
    assert noise.uniform(3, "key", -1)[0] > 0.0


def test_named_factors_are_fixed_and_drift_is_stationary() -> None:
    assert noise.factor(1, "node a", 0.0) == 1.0
    assert noise.factor(1, "node a", 5.0) == noise.factor(1, "node a", 5.0) != noise.factor(1, "node b", 5.0)
    many = np.log([noise.factor(1, f"node {i}", 5.0) for i in range(2000)])
    assert many.std() == pytest.approx(0.05, rel=0.1)
    wander = noise.smooth(1, "d", np.linspace(0.0, 1e6, 20_000), 10.0)
    assert wander.std() == pytest.approx(1.0, rel=0.05)
    assert noise.drift(1, "d", 0.0, 10.0, 5.0) == 1.0
    assert noise.drift(1, "d", 2.0, 10.0, 5.0) != 1.0
