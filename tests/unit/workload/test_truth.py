"""The true optimum, and that the example is the problem it claims to be."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import yaml
from tests.unit.workload.conftest import EXAMPLE

from trimtab.workload import (
    Conditions,
    OfferedLoad,
    Prices,
    Resources,
    TruthConstraints,
    WorkloadSpec,
    cheapest_feasible,
    evaluate,
    resource_grid,
    steps,
)
from trimtab.workload.units import GIB, MIB, parse_bytes, parse_cores

PRICES = Prices()
GRID = resource_grid(steps(0.4, 2.0, 0.05), steps(512 * MIB, 2048 * MIB, 64 * MIB))
PRODUCTION = Resources.equal(2.0, 2 * GIB)
REPLICAS = 20


def test_prices_are_of_requests() -> None:
    assert PRICES.per_hour(Resources(1.0, 4.0, 2 * GIB, 4 * GIB), 3) == pytest.approx(3 * (0.031611 + 2 * 0.004237))


def test_steps_include_both_ends() -> None:
    assert steps(0.25, 0.5, 0.05) == (0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
    assert steps(1.0, 1.09, 0.05) == (1.0, 1.05)


@pytest.mark.thorough
@pytest.mark.parametrize("peak", [False, True])
def test_the_examples_optimum_is_inside_the_grid_and_saves_three_fifths(web: WorkloadSpec, peak: bool) -> None:
    load = OfferedLoad.of(web)
    rps = (load.peak_rps if peak else web.load.requests_per_second) / REPLICAS
    best = cheapest_feasible(web, GRID, rps, TruthConstraints.of(web), PRICES)
    assert best is not None
    share = best.cost_per_hour / PRICES.per_hour(PRODUCTION)
    assert 0.34 <= share <= 0.40
    assert best.resources.cpu_limit == pytest.approx(0.75 if peak else 0.7)
    assert 512 * MIB < best.resources.memory_limit < 1024 * MIB
    assert 0.6 * len(GRID) < best.feasible < 0.9 * len(GRID)
    assert best.evaluated == len(GRID)


def test_the_optimum_is_cheaper_than_every_other_feasible_point(web: WorkloadSpec) -> None:
    constraints, grid = TruthConstraints.of(web), resource_grid((0.6, 0.7, 0.8, 1.2), (640 * MIB, GIB))
    best = cheapest_feasible(web, grid, 800.0, constraints, PRICES)
    feasible = [r for r in grid if constraints.margin(evaluate(web, r, 800.0)) <= 1.0]
    assert best is not None
    assert best.resources == min(feasible, key=PRICES.per_hour)
    assert best.feasible == len(feasible)


def test_nothing_feasible_is_no_optimum(web: WorkloadSpec) -> None:
    grid = resource_grid((0.1, 0.2), (256 * MIB,))
    assert cheapest_feasible(web, grid, 800.0, TruthConstraints.of(web), PRICES) is None


def test_latency_degrades_gradually_towards_the_boundary(web: WorkloadSpec) -> None:
    """No cliff: between production and a fifth below the boundary no step of 50m doubles the slow fraction."""
    threshold = web.slo.latency_threshold
    cores = steps(0.55, 2.0, 0.05)
    slow = [evaluate(web, Resources.equal(cpu, 768 * MIB), 800.0).slow_fraction(threshold) for cpu in cores]
    assert all(0.0 <= math.log(tight / ample) < math.log(2.0) for tight, ample in itertools.pairwise(slow))
    assert slow[-1] < 0.02
    assert slow[0] > 0.10
    half_way = [cpu for cpu, s in zip(cores, slow, strict=True) if 0.02 < s < 0.05]
    assert len(half_way) >= 3


def test_memory_costs_latency_before_it_kills(web: WorkloadSpec) -> None:
    threshold, slo = web.slo.latency_threshold, web.slo.max_slow_percent / 100.0
    tight = evaluate(web, Resources.equal(0.75, 512 * MIB), 880.0)
    assert tight.slow_fraction(threshold) > 1.4 * slo
    assert tight.oom_per_s * 3600.0 < 0.001
    assert evaluate(web, Resources.equal(0.75, 416 * MIB), 880.0).oom_per_s * 3600.0 > 1.0


def test_a_slow_dependency_breaks_the_slo_grossly(web: WorkloadSpec) -> None:
    slow = evaluate(web, PRODUCTION, 800.0, Conditions(dependency_factor=3.0))
    assert slow.slow_fraction(web.slo.latency_threshold) > 0.2


def test_the_deployment_of_the_example_is_production(web: WorkloadSpec) -> None:
    path = Path(EXAMPLE).with_name("deployment.yaml")
    deployment, service = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    limits = container["resources"]["limits"]
    assert container["resources"]["requests"] == limits
    assert Resources.equal(parse_cores(limits["cpu"]), parse_bytes(limits["memory"])) == PRODUCTION
    assert deployment["spec"]["replicas"] == REPLICAS
    assert deployment["metadata"]["name"] == web.target.deployment
    assert container["name"] == web.target.container
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    own = deployment["spec"]["selector"]["matchLabels"]
    assert service["spec"]["selector"] == web.target.selector
    assert web.target.selector.items() <= labels.items()
    assert set(own) - set(service["spec"]["selector"]), "a canary needs a label that no Service uses"
