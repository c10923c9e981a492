"""The pod model: exact where theory is, monotone everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.workload.conftest import EXAMPLE

from trimtab.workload import (
    Conditions,
    PodBehaviour,
    Resources,
    WorkloadSpec,
    cold_slowdown,
    effective_cores,
    evaluate,
    load_workload,
    startup_seconds,
)
from trimtab.workload.queueing import erlang_c
from trimtab.workload.units import GIB, MIB

WEB = load_workload(EXAMPLE)
AT = np.concatenate([np.array(WEB.buckets), np.geomspace(2e-3, 4.9, 25)])


def mmc_sojourn_cdf(t: np.ndarray, workers: int, offered: float, holding: float) -> np.ndarray:
    """P(T <= t) of M/M/c (Gross et al., section 2.3): the service time plus an exponential wait."""
    mu, rate = 1.0 / holding, (workers - offered) / holding
    waits = erlang_c(workers, offered)
    both = 1.0 - (rate * np.exp(-mu * t) - mu * np.exp(-rate * t)) / (rate - mu)
    return (1.0 - waits) * (1.0 - np.exp(-mu * t)) + waits * both


@pytest.mark.parametrize("rps", [40.0, 120.0, 145.0])
def test_exponential_service_gives_the_sojourn_time_of_mmc(bare: WorkloadSpec, rps: float) -> None:
    behaviour = evaluate(bare, Resources.equal(4.0, GIB), rps)
    t = np.array([0.01, 0.05, 0.1, 0.2, 0.5, 1.0])
    assert behaviour.latency.cdf(t) == pytest.approx(mmc_sojourn_cdf(t, 8, rps * 0.05, 0.05), abs=2e-3)
    assert behaviour.latency.mean_s == pytest.approx(0.05 + erlang_c(8, rps * 0.05) * 0.05 / (8 - rps * 0.05), rel=0.01)


def not_worse(better: PodBehaviour, worse: PodBehaviour) -> bool:
    """Better at every latency, in errors and in OOM."""
    return bool(
        np.all(better.latency.cdf(AT) >= worse.latency.cdf(AT) - 1e-9)
        and better.error_ratio <= worse.error_ratio + 1e-9
        and better.oom_per_s <= worse.oom_per_s + 1e-12
    )


CPU = st.floats(0.1, 4.0)
MEMORY = st.floats(300.0, 4096.0).map(lambda mib: mib * MIB)
LOAD = st.floats(1.0, 2400.0)
FACTOR = st.floats(1.001, 3.0)


@settings(max_examples=80, deadline=None)
@given(cpu=CPU, memory=MEMORY, load=LOAD, factor=FACTOR)
@pytest.mark.thorough
def test_more_cpu_is_never_slower(cpu: float, memory: float, load: float, factor: float) -> None:
    here = evaluate(WEB, Resources.equal(cpu, memory), load)
    assert not_worse(evaluate(WEB, Resources.equal(cpu * factor, memory), load), here)
    assert not_worse(evaluate(WEB, Resources(cpu, cpu * factor, memory, memory), load), here)


@settings(max_examples=80, deadline=None)
@given(cpu=CPU, memory=MEMORY, load=LOAD, factor=FACTOR)
def test_more_memory_is_never_slower_nor_killed_more(cpu: float, memory: float, load: float, factor: float) -> None:
    here = evaluate(WEB, Resources.equal(cpu, memory), load)
    assert not_worse(evaluate(WEB, Resources.equal(cpu, memory * factor), load), here)


@settings(max_examples=80, deadline=None)
@given(cpu=CPU, memory=MEMORY, load=LOAD, factor=FACTOR)
def test_more_load_is_never_faster(cpu: float, memory: float, load: float, factor: float) -> None:
    resources = Resources.equal(cpu, memory)
    assert not_worse(evaluate(WEB, resources, load), evaluate(WEB, resources, load * factor))


@settings(max_examples=40, deadline=None)
@given(cpu=CPU, memory=MEMORY, load=LOAD, factor=FACTOR, addend=st.floats(0.0, 0.5))
def test_worse_surroundings_are_never_faster(
    cpu: float, memory: float, load: float, factor: float, addend: float
) -> None:
    resources = Resources.equal(cpu, memory)
    here = evaluate(WEB, resources, load)
    assert not_worse(here, evaluate(WEB, resources, load, Conditions(cpu_slowdown=factor)))
    slow = Conditions(dependency_factor=factor, dependency_addend_s=addend)
    assert not_worse(here, evaluate(WEB, resources, load, slow))
    assert not_worse(here, evaluate(WEB, resources, load, Conditions(memory_addend=64 * MIB)))


def test_a_contended_node_gives_only_the_request(web: WorkloadSpec) -> None:
    contended = web.cpu.contended_percent / 100.0
    assert effective_cores(web, Resources(0.5, 2.0, GIB, GIB)) == pytest.approx(2.0 - contended * 1.5)
    assert effective_cores(web, Resources.equal(2.0, GIB)) == pytest.approx(2.0)


def test_an_unlimited_pod_is_not_throttled(web: WorkloadSpec) -> None:
    behaviour = evaluate(web, Resources(2.0, float("inf"), GIB, GIB), 800.0)
    assert behaviour.throttled_ratio == 0.0
    assert behaviour.slow_fraction(0.1) < 0.02


def test_a_pod_without_load_is_idle(web: WorkloadSpec) -> None:
    behaviour = evaluate(web, Resources.equal(1.0, GIB), 0.0)
    assert behaviour.cpu_usage_cores == pytest.approx(web.cpu.background)
    assert behaviour.throttled_ratio == pytest.approx(0.0, abs=1e-6)
    assert behaviour.error_ratio == pytest.approx(web.request.error_percent / 100.0, abs=1e-9)


def test_usage_is_work_plus_collector_plus_background_and_never_above_the_limit(web: WorkloadSpec) -> None:
    ample = evaluate(web, Resources.equal(2.0, 2 * GIB), 800.0)
    expected = 0.02 + 800.0 * 0.000375 + ample.gc_cores
    assert ample.cpu_usage_cores == pytest.approx(expected, rel=1e-6)
    assert evaluate(web, Resources.equal(0.3, 2 * GIB), 800.0).cpu_usage_cores <= 0.3


def test_an_overloaded_pod_uses_all_of_its_cpu(web: WorkloadSpec) -> None:
    uses = [evaluate(web, Resources.equal(1.0, GIB), load).cpu_usage_cores for load in (1600.0, 2200.0, 2800.0, 4000.0)]
    assert uses[0] < 0.8
    assert uses[1:] == pytest.approx([1.0] * 3, rel=0.01)


def test_saturation_ends_in_errors(web: WorkloadSpec) -> None:
    behaviour = evaluate(web, Resources.equal(0.2, GIB), 800.0)
    assert behaviour.error_ratio > 0.3
    assert behaviour.slow_fraction(0.1) > 0.9
    assert behaviour.throttled_ratio > 0.99


def test_quantiles_invert_the_distribution(web: WorkloadSpec) -> None:
    behaviour = evaluate(web, Resources.equal(0.8, GIB), 800.0)
    assert behaviour.p50_s < behaviour.p95_s < behaviour.p99_s
    for q, value in ((0.5, behaviour.p50_s), (0.95, behaviour.p95_s), (0.99, behaviour.p99_s)):
        assert behaviour.latency.cdf(value)[0] == pytest.approx(q, abs=1e-6)
    assert behaviour.slow_fraction(behaviour.p95_s) == pytest.approx(0.05, abs=1e-6)


def test_errors_of_the_surroundings_come_on_top(web: WorkloadSpec) -> None:
    resources = Resources.equal(2.0, 2 * GIB)
    assert evaluate(web, resources, 800.0, Conditions(error_ratio=0.05)).error_ratio == pytest.approx(0.0501, abs=1e-4)


def test_start_up_takes_longer_under_a_small_limit(web: WorkloadSpec) -> None:
    assert startup_seconds(web, Resources.equal(2.0, GIB)) == pytest.approx(1.0 + 0.5)
    # 500 ms of work with a quota of 20 ms per period: 24 whole periods and 20 ms.
    assert startup_seconds(web, Resources.equal(0.2, GIB)) == pytest.approx(1.0 + 24 * 0.1 + 0.02)


def test_a_cold_pod_warms_up(web: WorkloadSpec) -> None:
    values = [cold_slowdown(web, t) for t in (0.0, 2.0, 20.0)]
    assert values[0] == pytest.approx(1.2)
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(1.0, abs=1e-3)
