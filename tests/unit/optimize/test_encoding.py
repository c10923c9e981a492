"""The unit cube and the grid as arrays, against the domain's own arithmetic."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.optimize.test_steps import NODE, REPLICAS, TARGET
from tests.unit.optimize.toy import MI, WEB_COST, resource, web, web_space, web_study

from trimtab.domain.cost import CostModel, CostTerm, NodePrice, Prices
from trimtab.domain.space import (
    Assignment,
    Numeric,
    Order,
    Parameter,
    PlainValue,
    Ratio,
    ReplicaCount,
    Resource,
    Scale,
    SearchSpace,
    Sum,
)
from trimtab.domain.study import Study
from trimtab.optimize.encoding import AT_BASELINE, Encoder, Grid

MIXED = SearchSpace(
    (
        resource("cpu", Resource.CPU, "0.5", "4", "0.5"),
        resource("limit", Resource.CPU, "0.5", "4", "0.5"),
        resource("memory", Resource.MEMORY, str(512 * MI), str(4096 * MI), str(512 * MI)),
        REPLICAS,
        TARGET,
        NODE,
    ),
    constraints=(
        Order("order", "cpu", "limit"),
        Ratio("burst", "limit", "cpu", 3.0),
        Sum("budget", (("cpu", 1.0), ("memory", 0.5)), 5.0),
    ),
)
COST = CostModel(
    replicas=7,
    prices=Prices(0.03, 0.004, (NodePrice("arm", 0.02, 0.003),)),
    terms=(CostTerm("cpu", Resource.CPU, 0.5), CostTerm("memory", Resource.MEMORY, 1.25)),
    fixed_cores=0.1,
    fixed_bytes=64.0 * MI,
    replicas_parameter="replicas",
    node_parameter="node",
)
BASELINE = Assignment.of({
    "cpu": Decimal("3.3"), "limit": Decimal("3.5"), "memory": Decimal(2000 * MI),
    "replicas": Decimal(10), "target": Decimal(60), "node": "large",
})  # fmt: skip


def mixed_study() -> Study:
    floors = (("memory", 1000.0 * MI), ("elsewhere", 1.0))
    return web_study(space=MIXED, baseline=BASELINE, cost=COST, floors=floors)


def test_scales() -> None:
    encoder = Encoder(MIXED)
    u = encoder.encode([BASELINE])
    assert u.shape == (1, 8)
    assert u[0, 0] == pytest.approx(np.log(3.3 / 0.5) / np.log(8))
    logit = [np.log(v / (100 - v)) for v in (40, 60, 90)]
    assert u[0, 4] == pytest.approx((logit[1] - logit[0]) / (logit[2] - logit[0]))
    assert u[0, 5:].tolist() == [0.0, pytest.approx(1 / np.sqrt(2)), 0.0]
    assert encoder.groups.tolist() == [0, 1, 2, 3, 4, 5, 5, 5]
    assert encoder.signs.tolist() == [1, 1, 1, 1, -1, 0, 0, 0]


def test_two_categories_are_at_distance_one() -> None:
    codes = Encoder(MIXED).column(NODE, ["small", "arm"])
    assert np.linalg.norm(codes[0] - codes[1]) == pytest.approx(1.0)


def test_ends_of_the_range_are_zero_and_one() -> None:
    encoder = Encoder(web_space())
    assert encoder.encode([web("0.2", 256), web("2.5", 2560)]).tolist() == [[0.0, 0.0], [1.0, 1.0]]


def test_what_is_left_of_the_baseline() -> None:
    """u of a multiplicative resource by hand, in decades: a step is the longer the less is left, and a small one next
    to the baseline what it is on a log scale."""
    cpu = next(p for p in MIXED.parameters if p.name == "cpu")
    values = [Decimal(v) for v in ("0.825", "1.65", "3.3", "3.3033", "6.6")]  # 1/4, 1/2, 1, 1.001 and 2 baselines
    u = Encoder(MIXED, BASELINE).column(cpu, values)[:, 0]
    assert u[2] == AT_BASELINE
    assert (u - u[2]) * np.log(10) == pytest.approx([-3.0, -1.0, 0.0, np.log(1.001), 0.5], abs=1e-6)
    wide = resource("cpu", Resource.CPU, "0.01", "400", "0.01")
    assert np.array_equal(Encoder(SearchSpace((wide,)), BASELINE).column(wide, values)[:, 0], u)  # whatever the range


def test_where_less_is_safer_it_is_the_other_way_round() -> None:
    """A batch size: the cliff is above."""
    batch = Parameter("batch", PlainValue(-1), Numeric(Decimal(1), Decimal(64), Decimal(1), Scale.LOG))
    encoder = Encoder(SearchSpace((batch,)), Assignment((("batch", Decimal(8)),)))
    u = encoder.column(batch, [Decimal(4), Decimal(8), Decimal(16), Decimal(32)])[:, 0]
    assert np.diff(u) * np.log(10) == pytest.approx([0.5, 1.0, 2.0])


def test_without_a_direction_or_a_positive_baseline_the_scale_is_logarithmic() -> None:
    neutral = Parameter("n", PlainValue(0), Numeric(Decimal(1), Decimal(64), Decimal(1), Scale.LOG))
    for parameter, start in ((neutral, Decimal(8)), (replace(neutral, locus=PlainValue(1)), Decimal(0))):
        encoder = Encoder(SearchSpace((parameter,)), Assignment((("n", start),)))
        assert encoder.column(parameter, [Decimal(8)])[0, 0] == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [Scale.LOG, Scale.LOGIT])
def test_a_scale_that_the_range_does_not_allow_becomes_linear(scale: Scale) -> None:
    odd = Parameter("n", ReplicaCount(), Numeric(Decimal(-2), Decimal(200), Decimal(1), scale))
    column = Encoder(SearchSpace((odd,))).column(odd, [Decimal(99)])
    assert column[0, 0] == pytest.approx(0.5)


def test_a_grid_of_one_value_is_finite() -> None:
    one = resource("cpu", Resource.CPU, "1", "1", "0.5")
    assert Encoder(SearchSpace((one,))).column(one, [Decimal(1)]).tolist() == [[0.0]]


@settings(deadline=None)
@given(st.data())
def test_grid_arrays_agree_with_the_domain(data: st.DataObject) -> None:
    study = mixed_study()
    grid = Grid(study, Encoder(MIXED))
    point = np.asarray([[data.draw(st.integers(0, n - 1)) for n in grid.shape]])
    assignment = grid.assignment(point[0])
    assert grid.locate(assignment) == tuple(point[0])
    assert grid.hourly(point)[0] == pytest.approx(COST.hourly(assignment), rel=1e-12)
    allowed = MIXED.violated(assignment) is None and assignment.number("memory") >= Decimal(1000 * MI)
    assert grid.admissible(point)[0] == allowed
    assert np.array_equal(grid.encode(point), Encoder(MIXED).encode([assignment]))


def test_off_grid_assignments_have_no_place() -> None:
    grid = Grid(mixed_study(), Encoder(MIXED))
    assert grid.locate(BASELINE) is None
    assert grid.size == 8 * 8 * 8 * 19 * 11 * 3


def test_all_points_of_a_small_grid() -> None:
    grid = Grid(web_study(), Encoder(web_space()))
    points = grid.all_points()
    assert len(points) == grid.size == len(np.unique(points, axis=0))
    assert grid.hourly(points).min() == pytest.approx(WEB_COST.hourly(web("0.2", 256)))


def test_cost_with_fixed_replicas() -> None:
    study = replace(mixed_study(), cost=replace(COST, replicas_parameter=None, node_parameter=None))
    grid = Grid(study, Encoder(MIXED))
    point = np.zeros((1, 6), dtype=np.int64)
    assert grid.hourly(point)[0] == pytest.approx(study.cost.hourly(grid.assignment(point[0])))
