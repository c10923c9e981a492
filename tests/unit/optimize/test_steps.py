"""Grids and step limits."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.optimize.toy import MI, resource, web, web_space, web_study

from trimtab.api.parameters import AutoscalerFieldName
from trimtab.domain.space import (
    AutoscalerField,
    Categorical,
    EnvValue,
    NodeSelectorKey,
    Numeric,
    Parameter,
    PlainValue,
    ReplicaCount,
    Resource,
    Scale,
    SearchSpace,
)
from trimtab.optimize.steps import (
    axis,
    below_floor,
    bounds,
    grid_size,
    more_is_better,
    nearest,
    no_more,
    reach,
    resource_parameters,
    within_steps,
)

CPU = resource("cpu", Resource.CPU, "0.2", "2.5", "0.05")
MEMORY = resource("memory", Resource.MEMORY, str(256 * MI), str(2560 * MI), str(64 * MI))
TARGET = Parameter(
    "target",
    AutoscalerField("CPUUtilization"),
    Numeric(Decimal(40), Decimal(90), Decimal(5), Scale.LOGIT, integer=True),
)
REPLICAS = Parameter("replicas", ReplicaCount(), Numeric(Decimal(2), Decimal(20), Decimal(1), Scale.LOG, integer=True))
NODE = Parameter("node", NodeSelectorKey("type"), Categorical(("small", "large", "arm")))
WORKERS = Parameter("workers", EnvValue("app", "WORKERS"), Numeric(Decimal(1), Decimal(9), Decimal(2), Scale.LINEAR))


WAIT = Parameter(
    "wait",
    AutoscalerField("ScaleDownStabilizationSeconds"),
    Numeric(Decimal(0), Decimal(600), Decimal(30), Scale.LINEAR, integer=True),
)


def values(parameter: Parameter, value: Decimal | str) -> tuple[Decimal | str, ...]:
    first, last = reach(parameter, value)
    return axis(parameter.domain)[first : last + 1]


@pytest.mark.parametrize(
    ("parameter", "value", "least", "greatest"),
    [
        (CPU, Decimal("1"), Decimal("0.7"), Decimal("1.5")),
        (MEMORY, Decimal(1280 * MI), Decimal(1024 * MI), Decimal(1920 * MI)),
        (TARGET, Decimal(60), Decimal(45), Decimal(70)),
        (REPLICAS, Decimal(10), Decimal(9), Decimal(15)),
        (WORKERS, Decimal(5), Decimal(3), Decimal(7)),
        (WAIT, Decimal(300), Decimal(120), Decimal(600)),
        (WAIT, Decimal(0), Decimal(0), Decimal(300)),
    ],
)
def test_default_limits(parameter: Parameter, value: Decimal, least: Decimal, greatest: Decimal) -> None:
    found = values(parameter, value)
    assert (found[0], found[-1]) == (least, greatest)


def test_a_parameters_own_limits_win() -> None:
    own = replace(CPU, max_decrease=0.5, max_increase=0.1)
    assert values(own, Decimal("1")) == axis(CPU.domain)[6:19]  # 0.50 .. 1.10


def test_one_grid_step_is_always_allowed() -> None:
    coarse = resource("cpu", Resource.CPU, "0.5", "8", "0.5", decrease=0.01)
    assert values(replace(coarse, max_increase=0.01), Decimal("2")) == (Decimal("1.5"), Decimal("2.0"), Decimal("2.5"))


def test_a_value_between_grid_points_may_go_to_both_neighbours() -> None:
    coarse = replace(resource("cpu", Resource.CPU, "0.5", "8", "0.5", decrease=0.01), max_increase=0.01)
    assert values(coarse, Decimal("1.7")) == (Decimal("1.5"), Decimal("2.0"))


def test_a_value_outside_of_the_range_reaches_the_nearest_end() -> None:
    assert values(replace(CPU, max_decrease=0.1), Decimal("4")) == (Decimal("2.50"),)
    assert values(CPU, Decimal("0.01")) == (Decimal("0.20"),)


def test_categories_are_all_within_reach() -> None:
    assert values(NODE, "large") == ("small", "large", "arm")
    assert nearest(NODE, "arm") == 2


@settings(deadline=None)
@given(st.decimals(min_value="0.05", max_value="4", places=3), st.floats(0.01, 0.9), st.floats(0.01, 2.0))
def test_reach_is_the_limit_or_one_step(value: Decimal, down: float, up: float) -> None:
    parameter = replace(CPU, max_decrease=down, max_increase=up)
    grid = axis(parameter.domain)
    low, high = bounds(parameter, value)
    first, last = reach(parameter, value)
    assert 0 <= first <= last < len(grid)
    below = [i for i, v in enumerate(grid) if isinstance(v, Decimal) and v < value]
    above = [i for i, v in enumerate(grid) if isinstance(v, Decimal) and v > value]
    nearest_two = {below[-1] if below else 0, above[0] if above else len(grid) - 1}
    for i in range(first, last + 1):
        assert low - 1e-6 <= float(grid[i]) <= high + 1e-6 or i in nearest_two


@settings(deadline=None)
@given(st.decimals(min_value="0.05", max_value="4", places=3))
def test_nearest_is_nearest(value: Decimal) -> None:
    grid = [v for v in axis(CPU.domain) if isinstance(v, Decimal)]
    assert abs(grid[nearest(CPU, value)] - value) == min(abs(v - value) for v in grid)


def test_within_steps_needs_one_start_for_all_parameters() -> None:
    space = web_space()
    one, two = web("1.5", 512), web("0.5", 1536)
    both = web("0.5", 512)
    assert within_steps(space, web("1.05", 512), [one, two])
    assert not within_steps(space, both, [one, two])
    assert within_steps(space, both, [one, both])


def test_signs() -> None:
    assert [more_is_better(p) for p in (CPU, MEMORY, REPLICAS, TARGET, WORKERS, NODE)] == [1, 1, 1, -1, 0, 0]
    fields = get_args(AutoscalerFieldName)
    signs = [more_is_better(replace(WAIT, locus=AutoscalerField(field))) for field in fields]
    assert dict(zip(fields, signs, strict=True)) == {
        "CPUUtilization": -1,
        "MemoryUtilization": -1,
        "MinReplicas": 1,
        "MaxReplicas": 1,
        "ScaleDownStabilizationSeconds": 1,
        "ScaleUpStabilizationSeconds": -1,
        "ScaleDownTolerancePercent": 1,
        "ScaleUpTolerancePercent": -1,
    }


def test_no_more_looks_at_resource_not_at_numbers() -> None:
    space = SearchSpace((CPU, TARGET, NODE))

    def at(cpu: str, target: int, node: str):  # type: ignore[no-untyped-def]
        return web("1", 1024).of({"cpu": Decimal(cpu), "target": Decimal(target), "node": node})

    assert no_more(space, at("1", 70, "arm"), at("1", 60, "arm"))
    assert not no_more(space, at("1", 50, "arm"), at("1", 60, "arm"))
    assert not no_more(space, at("0.5", 70, "small"), at("1", 60, "arm"))


def test_small_helpers() -> None:
    assert grid_size(web_space()) == 47 * 37
    assert resource_parameters(web_space(), Resource.MEMORY) == ("memory",)
    assert resource_parameters(web_space(), None) == ("cpu", "memory")
    study = web_study(floors=(("memory", 512.0 * MI), ("unknown", 1.0)))
    assert below_floor(study, web("1", 448))
    assert not below_floor(study, web("1", 512))


@pytest.mark.parametrize(
    ("value", "least"),
    [("2", 1.4), ("4", 2.8), ("1", 2 / (2 + 3 / 7)), ("0.5", 2 / (4 + 3 / 7))],  # 30 % of the baseline: 3/7 of 2 / x
)
def test_below_the_baseline_a_step_is_as_long_in_what_is_left(value: str, least: float) -> None:
    cpu = replace(resource("cpu", Resource.CPU, "0.01", "8", "0.01"), max_decrease=0.3)
    low, high = bounds(cpu, Decimal(value), Decimal(2))
    assert low == pytest.approx(least)
    assert high == bounds(cpu, Decimal(value))[1]


def test_where_less_is_safer_a_step_up_is() -> None:
    batch = Parameter("batch", PlainValue(-1), Numeric(Decimal(1), Decimal(64), Decimal(1), Scale.LOG))
    assert [bounds(batch, Decimal(v), Decimal(8))[1] for v in (4, 8, 16)] == [6.0, 12.0, 20.0]
    assert bounds(batch, Decimal(16), Decimal(8))[0] == bounds(batch, Decimal(16))[0]


def test_one_grid_step_is_always_allowed_and_a_linear_scale_has_no_cliff() -> None:
    coarse = replace(resource("cpu", Resource.CPU, "0.5", "4", "0.5"), max_decrease=0.3)
    assert reach(coarse, Decimal("1"), Decimal(4))[0] == 0
    linear = replace(coarse, domain=replace(coarse.domain, scale=Scale.LINEAR))
    assert bounds(linear, Decimal(1), Decimal(4)) == bounds(linear, Decimal(1))
