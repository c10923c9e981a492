"""Collector and OOM hazard against their formulas."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.workload import WorkloadSpec
from trimtab.workload.memory import memory_state, oom_hazard
from trimtab.workload.units import GIB, MIB


def test_hazard_is_rices_crossing_rate() -> None:
    assert oom_hazard(120.0 * MIB, 100.0 * MIB, 0.1, 0.5) == pytest.approx(0.5 * math.exp(-2.0))


@pytest.mark.parametrize("limit", [50.0, 100.0])
def test_a_limit_below_the_need_is_hit_at_once(limit: float) -> None:
    assert oom_hazard(limit, 100.0, 0.05, 0.25) == 0.25


def test_cycles_are_allocation_over_headroom(web: WorkloadSpec) -> None:
    spec = web.memory
    state = memory_state(spec, 1e6 * GIB, 800.0, 0.0)  # no limit in sight: the headroom is the natural one
    allocated = 800.0 * spec.allocated_per_request
    assert state.gc_cycles_per_s == pytest.approx(allocated / spec.live_set, rel=1e-3)
    assert state.gc_cores == pytest.approx(state.gc_cycles_per_s * 0.6 * spec.live_set / GIB)
    assert state.pause_s == pytest.approx(0.15 * spec.live_set / GIB)
    assert state.working_set_bytes == pytest.approx(spec.runtime + 1.75 * spec.live_set, rel=1e-3)
    assert state.oom_per_s == 0.0


def test_latency_suffers_from_the_collector_long_before_oom(web: WorkloadSpec) -> None:
    ample, tight = (memory_state(web.memory, m * MIB, 800.0, 24.0) for m in (2048, 512))
    assert tight.gc_cores > 3.0 * ample.gc_cores
    assert tight.oom_per_s * 3600.0 < 1e-3
    assert memory_state(web.memory, 400 * MIB, 800.0, 24.0).oom_per_s * 60.0 > 0.5


@given(limit=st.floats(50.0, 8192.0), factor=st.floats(1.0, 4.0), load=st.floats(0.0, 2000.0))
def test_more_memory_means_less_of_everything_bad(limit: float, factor: float, load: float) -> None:
    from tests.unit.workload.test_model import WEB

    here = memory_state(WEB.memory, limit * MIB, load, 10.0)
    more = memory_state(WEB.memory, limit * factor * MIB, load, 10.0)
    assert more.gc_cores <= here.gc_cores + 1e-12
    assert more.gc_cycles_per_s <= here.gc_cycles_per_s + 1e-12
    assert more.oom_per_s <= here.oom_per_s
    assert here.working_set_bytes <= limit * MIB
