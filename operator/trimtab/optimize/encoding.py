"""Assignments as points of the unit cube, and the grid as arrays.

Notation: N points, d parameters, D >= d encoded columns (a category takes one column per value), u in [0, 1]^D.
Log scale for multiplicative quantities, logit for percentages; a baseline off the grid, or outside of its range, is
encoded by the same map without clipping.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from trimtab.domain.cost import COST_SLACK, CostModel
from trimtab.domain.space import (
    Assignment,
    Categorical,
    Numeric,
    Order,
    Parameter,
    ParameterConstraint,
    Ratio,
    Resource,
    Scale,
    SearchSpace,
)
from trimtab.domain.study import Study
from trimtab.optimize.readings import broken_below
from trimtab.optimize.steps import axis, more_is_better, nearest

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

GIB = float(2**30)
_PERCENT_EDGE = 1e-3


class Encoder:
    """Maps assignments to the unit cube.

    `groups` (D,) is the parameter of each column: columns of one group share a lengthscale. `signs` (D,) is +1 where
    a larger u is more resource, -1 where it is less, 0 where nothing is known.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        widths = [len(p.domain.values) if isinstance(p.domain, Categorical) else 1 for p in space.parameters]
        self.groups: Ints = np.repeat(np.arange(len(widths)), widths)
        signs = [float(more_is_better(p)) for p in space.parameters]
        self.signs: Floats = np.repeat(np.asarray(signs), widths)

    @property
    def names(self) -> tuple[str, ...]:
        return self.space.names

    def column(self, parameter: Parameter, values: Sequence[Decimal | str]) -> Floats:
        """Encoded columns of one parameter. Shape: (N, 1), or (N, k) for k categories."""
        domain = parameter.domain
        if isinstance(domain, Categorical):
            # Two different categories lie at distance 1.
            return np.asarray([[float(v == c) / math.sqrt(2.0) for c in domain.values] for v in values])
        numbers = np.asarray([float(v) for v in values])
        low, high = _warp(domain, np.asarray([float(domain.minimum), float(domain.maximum)]))
        width = high - low if high > low else 1.0
        return np.asarray((_warp(domain, numbers) - low) / width)[:, None]

    def encode(self, assignments: Sequence[Assignment]) -> Floats:
        """Shape: (N, D)."""
        parts = [self.column(p, [a[p.name] for a in assignments]) for p in self.space.parameters]
        return np.hstack(parts).reshape(len(assignments), len(self.groups))


class Grid:
    """The real grid that is searched. A point is a row of d indices into the parameters' axes."""

    def __init__(self, study: Study, encoder: Encoder) -> None:
        self.space = study.space
        self.parameters = study.space.parameters
        self.axes = tuple(axis(p.domain) for p in self.parameters)
        self.shape = tuple(len(a) for a in self.axes)
        self._codes = [encoder.column(p, a) for p, a in zip(self.parameters, self.axes, strict=True)]
        self._numbers = [
            np.full(len(a), np.nan) if isinstance(p.domain, Categorical) else np.asarray([float(v) for v in a])
            for p, a in zip(self.parameters, self.axes, strict=True)
        ]
        self._cost, self._cost_limit = study.cost, study.cost_limit
        self._floors = study.floors
        self._corners = broken_below(study)
        self._at = {p.name: i for i, p in enumerate(self.parameters)}

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def all_points(self) -> Ints:
        """Every grid point. Shape: (size, d)."""
        return np.argwhere(np.ones(self.shape, dtype=bool))

    def encode(self, points: Ints) -> Floats:
        """(N, d) indices to (N, D) unit-cube coordinates."""
        return np.hstack([code[points[:, i]] for i, code in enumerate(self._codes)])

    def assignment(self, point: Ints) -> Assignment:
        """The assignment of one row of indices, shape (d,)."""
        return Assignment(tuple((p.name, a[int(i)]) for p, a, i in zip(self.parameters, self.axes, point, strict=True)))

    def locate(self, assignment: Assignment) -> tuple[int, ...] | None:
        """Indices of an assignment, None when it lies off the grid."""
        point = tuple(nearest(p, assignment[p.name]) for p in self.parameters)
        on = all(a[i] == assignment[p.name] for p, a, i in zip(self.parameters, self.axes, point, strict=True))
        return point if on else None

    def number(self, name: str, points: Ints) -> Floats:
        """Values of a numeric parameter in base units. Shape: (N,)."""
        i = self._at[name]
        return self._numbers[i][points[:, i]]

    def hourly(self, points: Ints) -> Floats:
        """$ per hour of each point: `CostModel.hourly`, vectorized. Shape: (N,)."""
        cost = self._cost
        if not isinstance(cost, CostModel):
            return np.asarray([cost.hourly(self.assignment(point)) for point in points], dtype=np.float64)
        cores = np.full(len(points), cost.fixed_cores)
        size = np.full(len(points), cost.fixed_bytes)
        for term in cost.terms:
            amount = self.number(term.parameter, points) * term.factor
            if term.resource is Resource.CPU:
                cores = cores + amount
            else:
                size = size + amount
        core_price, gib_price = self._prices(cost, points)
        replicas = self.number(cost.replicas_parameter, points) if cost.replicas_parameter else float(cost.replicas)
        return np.asarray(replicas * (cores * core_price + size / GIB * gib_price))

    def admissible(self, points: Ints) -> Bools:
        """Points that break no parameter constraint, no floor and no bound on the cost, and lie above every known OOM.
        Shape: (N,)."""
        ok = np.ones(len(points), dtype=bool)
        if self._cost_limit is not None:
            ok &= self.hourly(points) <= self._cost_limit * COST_SLACK
        for name, floor in self._floors:
            if name in self._at:
                ok &= ~(self.number(name, points) < floor * (1 - 1e-9))
        for rule in self.space.constraints:
            ok &= self._holds(rule, points)
        for corner in self._corners:
            below = np.ones(len(points), dtype=bool)
            for name, value in corner:
                below &= self.number(name, points) <= value * (1 + 1e-9)
            ok &= ~below
        return ok

    def _prices(self, cost: CostModel, points: Ints) -> tuple[Floats, Floats]:
        core = np.full(len(points), cost.prices.cpu_core_hour)
        gib = np.full(len(points), cost.prices.memory_gib_hour)
        if cost.node_parameter is not None:
            i = self._at[cost.node_parameter]
            for node in cost.prices.nodes:
                if node.value in self.axes[i]:
                    rows = points[:, i] == self.axes[i].index(node.value)
                    core[rows], gib[rows] = node.cpu_core_hour, node.memory_gib_hour
        return core, gib

    def _holds(self, rule: ParameterConstraint, points: Ints) -> Bools:
        slack = 1 + 1e-9
        if isinstance(rule, Order):
            return self.number(rule.lower, points) <= self.number(rule.upper, points)
        if isinstance(rule, Ratio):
            return self.number(rule.of, points) <= rule.maximum * self.number(rule.to, points) * slack
        total = np.zeros(len(points))
        for name, weight in rule.terms:
            unit = self.space.human(name, Decimal(1))
            total = total + weight * unit * self.number(name, points)
        return np.asarray(total <= rule.maximum * slack)


def _warp(domain: Numeric, values: Floats) -> Floats:
    """The parameter's scale; log and logit fall back to linear where the range does not allow them."""
    if domain.scale is Scale.LOG and domain.minimum > 0:
        return np.asarray(np.log(np.maximum(values, float(domain.minimum) * 1e-3)))
    if domain.scale is Scale.LOGIT and domain.minimum >= 0 and domain.maximum <= 100:
        share = np.clip(values / 100.0, _PERCENT_EDGE, 1 - _PERCENT_EDGE)
        return np.asarray(np.log(share / (1 - share)))
    return values


__all__ = ["Encoder", "Grid"]
