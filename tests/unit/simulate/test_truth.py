"""The truth about assignments: against the plain brute force, and against hand-made bounds."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from tests.unit.simulate.stories import place, web_truth

from trimtab.domain.errors import InvalidSpec
from trimtab.domain.space import Numeric, Ratio, SearchSpace
from trimtab.domain.spec import OutcomeConstraint, QuantileQuery, RelativeBound, Sli, SliKind, ValueQuery
from trimtab.simulate.optimum import NoOptimum, Optimum, optimum_of
from trimtab.simulate.truth import Truth
from trimtab.workload import UNLIMITED, Prices, TruthConstraints, cheapest_feasible, resource_grid, steps
from trimtab.workload.units import MIB


def bounded(truth: Truth, *constraints: OutcomeConstraint) -> Truth:
    return replace(truth, spec=replace(truth.spec, constraints=constraints))


def at_most(sli: str, maximum: float) -> OutcomeConstraint:
    return OutcomeConstraint(sli, sli, maximum, None, None, 0.95, None)


def best(truth: Truth, load: float) -> Optimum:
    found = optimum_of(truth, load)
    assert isinstance(found, Optimum)
    return found


@pytest.mark.thorough
@pytest.mark.parametrize("load", [880.0, 700.0, 800.0])
def test_the_optimum_is_that_of_trying_everything(load: float) -> None:
    truth = web_truth()
    sizes = [m * MIB for m in range(384, 2049, 64)]
    grid = resource_grid(steps(0.25, 2.0, 0.05), sizes)
    slow = cheapest_feasible(truth.workload, grid, load, TruthConstraints.of(truth.workload), Prices())
    assert slow is not None
    quick = best(truth, load)
    assert truth.resources(quick.assignment) == slow.resources
    assert quick.cost == pytest.approx(20 * slow.cost_per_hour)
    assert quick.evaluated < 60 < slow.evaluated


@pytest.mark.thorough
def test_without_monotone_bounds_every_cheaper_point_is_looked_at() -> None:
    query = ValueQuery("avg(container_memory_working_set_bytes{$selector}) / 1048576", "MiB")
    truth = web_truth()
    spec = replace(truth.spec, slis=(*truth.spec.slis, Sli("memory", SliKind.VALUE, query, 1)))
    low = OutcomeConstraint("memory", "memory", None, 510.0, None, 0.95, None)
    wasteful = replace(truth, spec=replace(spec, constraints=(*spec.constraints, low)))
    found = best(wasteful, 880.0)
    value = found.verdict.value("memory")
    assert isinstance(value, float)
    assert value >= 510.0
    assert found.cost > best(truth, 880.0).cost


def test_parameter_constraints_bind_the_optimum() -> None:
    truth = web_truth()
    tied = SearchSpace(truth.spec.space.parameters, (Ratio("a GiB per core", "cpu", "memory", 1 / 2.0**30),))
    bound = replace(truth, spec=replace(truth.spec, space=tied))
    found = best(bound, 880.0)
    assert tied.violated(found.assignment) is None
    assert tied.violated(best(truth, 880.0).assignment) is not None
    assert found.cost > best(truth, 880.0).cost


def test_a_load_that_nothing_serves_has_no_optimum() -> None:
    found = optimum_of(web_truth(), 20_000.0)
    assert isinstance(found, NoOptimum)
    assert found.reason == "Infeasible"


def test_a_verdict_names_what_is_broken() -> None:
    truth = web_truth()
    assert truth.judge(truth.baseline, 880.0).broken == ()
    tight = truth.judge(place("0.7", 576), 880.0)
    assert tight.broken == ("p95-under-100ms",)
    assert not tight.feasible


def test_too_little_memory_is_unsafe_whatever_the_latency() -> None:
    broken = web_truth().judge(place("2", 384), 880.0)
    assert "OOMKilled" in broken.broken
    assert broken.gross


def test_gross_is_far_beyond_a_bound() -> None:
    truth = web_truth()
    near = truth.judge(place("0.7", 704), 880.0)
    far = truth.judge(place("0.4", 2048), 880.0)
    assert (near.feasible, near.gross) == (False, False)
    assert (far.feasible, far.gross) == (False, True)


def test_errors_are_gross_at_twice_their_bound() -> None:
    verdicts = [bounded(web_truth(), at_most("errors", bound)).judge(place("2", 2048), 880.0) for bound in (6e-5, 4e-5)]
    assert [(v.feasible, v.gross) for v in verdicts] == [(False, False), (False, True)]


def test_quantiles_and_bounds_relative_to_today() -> None:
    truth = web_truth()
    quantile = Sli("p95", SliKind.LATENCY, QuantileQuery(("http_request_duration_seconds",), 0.95), 1)
    spec = replace(truth.spec, slis=(*truth.spec.slis, quantile))
    relative = OutcomeConstraint("p95", "p95", None, None, RelativeBound(max_increase_ratio=0.05), 0.95, None)
    close = replace(truth, spec=replace(spec, constraints=(relative,)))
    assert close.judge(truth.baseline, 880.0).feasible
    assert not close.judge(place("0.8", 768), 880.0).feasible
    absolute = replace(relative, relative=RelativeBound(max_increase=0.2))
    assert replace(truth, spec=replace(spec, constraints=(absolute,))).judge(place("0.8", 768), 880.0).feasible


def test_resources_follow_the_parameters_rules() -> None:
    truth = web_truth()
    assert truth.resources(place("0.5", 512)).cpu_limit == 0.5
    container = replace(
        truth.target.containers[0], resources=replace(truth.target.containers[0].resources, cpu_limit=None)
    )
    free = replace(truth, target=replace(truth.target, containers=(container,)))
    assert free.resources(place("0.5", 512)).cpu_limit == UNLIMITED
    assert free.resources(place("0.5", 512)).cpu_request == 0.5


def test_a_workload_of_another_container_is_refused() -> None:
    truth = web_truth()
    played = truth.workload.target.model_copy(update={"container": "api"})
    other = replace(truth, workload=truth.workload.model_copy(update={"target": played}))
    with pytest.raises(InvalidSpec, match="has no container api; the workload must name one of: web"):
        other.resources(truth.baseline)


def test_a_grid_of_one_point() -> None:
    truth = web_truth()
    cpu, memory = truth.spec.space.parameters
    assert isinstance(cpu.domain, Numeric)
    only = replace(cpu, domain=replace(cpu.domain, minimum=Decimal("2"), maximum=Decimal("2")))
    small = replace(truth, spec=replace(truth.spec, space=SearchSpace((only, memory))))
    assert small.judge(best(small, 880.0).assignment, 880.0).feasible
    assert best(small, 880.0).assignment["cpu"] == Decimal("2")
