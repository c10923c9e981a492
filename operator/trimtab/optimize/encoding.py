"""Assignments as points of the unit cube, and the grid as arrays.

Notation: N points, d parameters, D >= d encoded columns (a category takes one column per value), u in [0, 1]^D but for
resources below the baseline, which may lie outside. Log scale for multiplicative quantities, logit for percentages; a
baseline off the grid, or outside of its range, is encoded by the same map without clipping.

A multiplicative quantity x of which more (or less) is known to give room is encoded by what is left of the baseline's
b: with s = +1 (or -1),
  u = u_b + s (1 - (b / x)^s) / ln 10
At the baseline it has the slope of the logarithm, a decade being 1 whatever the range. Below, a step of some per cent
is the longer the less is left, and above the shorter: queues, throttling and garbage collection are flat where there is
plenty, and a cliff where there is little, so in this coordinate a bound is nearly a line and one lengthscale serves
all of it (measured: ADR 13).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from trimtab.domain.cost import COST_SLACK, CostModel, Filling
from trimtab.domain.space import (
    SLACK,
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
from trimtab.optimize.grouping import groups
from trimtab.optimize.queueing import Pods
from trimtab.optimize.readings import broken_below
from trimtab.optimize.steps import axis, more_is_better, nearest, reference

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

GIB = float(2**30)
DECADE = math.log(10.0)
AT_BASELINE = 0.824  # u_b: of a range from 15 % to 150 % of the baseline on a log scale
_PERCENT_EDGE = 1e-3


class Encoder:
    """Maps assignments to the unit cube.

    `groups` (D,) is the parameter of each column, or above 8 parameters its group: columns of one group share a
    lengthscale. `signs` (D,) is +1 where a larger u is more resource, -1 where it is less, 0 where nothing is known.
    Without a `baseline` everything multiplicative is on a log scale.
    """

    def __init__(self, space: SearchSpace, baseline: Assignment | None = None) -> None:
        self.space, self._baseline = space, baseline
        widths = [len(p.domain.values) if isinstance(p.domain, Categorical) else 1 for p in space.parameters]
        self.groups: Ints = np.repeat(np.asarray(groups(space), dtype=np.int64), widths)
        self.first: Ints = np.cumsum([0, *widths[:-1]])
        signs = [float(more_is_better(p)) for p in space.parameters]
        self.signs: Floats = np.repeat(np.asarray(signs), widths)

    @property
    def names(self) -> tuple[str, ...]:
        return self.space.names

    def per_parameter(self, lengths: Floats) -> Floats:
        """Each parameter's own of the lengthscales (G,). Shape: (d,)."""
        return np.asarray(lengths[self.groups[self.first]])

    def column(self, parameter: Parameter, values: Sequence[Decimal | str]) -> Floats:
        """Encoded columns of one parameter. Shape: (N, 1), or (N, k) for k categories."""
        domain = parameter.domain
        if isinstance(domain, Categorical):
            # Two different categories lie at distance 1.
            return np.asarray([[float(v == c) / math.sqrt(2.0) for c in domain.values] for v in values])
        numbers = _warp(domain, np.asarray([float(v) for v in values]))
        start = reference(parameter, self._baseline[parameter.name]) if self._baseline is not None else None
        if start is not None:
            sign = more_is_better(parameter)
            left = np.exp(sign * (math.log(start) - numbers))
            return np.asarray(AT_BASELINE + sign * (1 - left) / DECADE)[:, None]
        low, high = _warp(domain, np.asarray([float(domain.minimum), float(domain.maximum)]))
        width = high - low if high > low else 1.0
        return np.asarray((numbers - low) / width)[:, None]

    def encode(self, assignments: Sequence[Assignment]) -> Floats:
        """Shape: (N, D)."""
        parts = [self.column(p, [a[p.name] for a in assignments]) for p in self.space.parameters]
        return np.hstack(parts).reshape(len(assignments), len(self.groups))


class Grid:
    """The real grid that is searched. A point is a row of d indices into the parameters' axes.

    One index beyond its axis, `rest`, stands for a parameter that is not active: it has the baseline's value, on the
    grid or not. `rest` is -1, which no point has, for parameters without a condition.
    """

    def __init__(self, study: Study, encoder: Encoder) -> None:
        self.space = study.space
        self.parameters = study.space.parameters
        self.axes = tuple(axis(p.domain) for p in self.parameters)
        self.shape = tuple(len(a) for a in self.axes)
        conditional = [p.when is not None for p in self.parameters]
        self.rest: Ints = np.asarray([n if c else -1 for n, c in zip(self.shape, conditional, strict=True)])
        self.near: Ints = np.asarray(
            [
                0 if c or isinstance(p.domain, Categorical) else p.domain.near
                for p, c in zip(self.parameters, conditional, strict=True)
            ]
        )
        self._values = tuple(
            (*a, study.baseline[p.name]) if c else a
            for p, a, c in zip(self.parameters, self.axes, conditional, strict=True)
        )
        self._first = encoder.first
        self._codes = [encoder.column(p, a) for p, a in zip(self.parameters, self._values, strict=True)]
        self._numbers = [
            np.full(len(a), np.nan) if isinstance(p.domain, Categorical) else np.asarray([float(v) for v in a])
            for p, a in zip(self.parameters, self._values, strict=True)
        ]
        self._baseline = study.baseline
        self._cost, self._cost_limit = study.cost, study.cost_limit
        self._floors = study.floors
        self._groups = groups(study.space)
        self._corners = broken_below(study)
        self._at = {p.name: i for i, p in enumerate(self.parameters)}
        self._conditions = self._ordered()

    @property
    def size(self) -> int:
        """Number of grid points, those that differ in inactive parameters only counted each."""
        return math.prod(self.shape)

    def all_points(self) -> Ints:
        """Every grid point, in its canonical form. Shape: (N, d), N <= size."""
        points = np.argwhere(np.ones(self.shape, dtype=bool))
        return self.distinct(points) if self._conditions else points

    def distinct(self, points: Ints) -> Ints:
        """The canonical forms, each once, in the order of their indices. Shape: (N', d)."""
        points, sizes = self.canonical(points), tuple(n + 1 for n in self.shape)
        if math.prod(sizes) >= 2**63:
            return np.unique(points, axis=0)
        numbers = np.unique(np.ravel_multi_index(tuple(points.T), sizes))  # sorts numbers instead of rows
        return np.column_stack(np.unravel_index(numbers, sizes)).astype(np.int64, copy=False)

    def canonical(self, points: Ints) -> Ints:
        """The points with every inactive parameter at rest, and every newly active one where the baseline has it.
        Shape: (N, d)."""
        if not self._conditions:
            return points
        points = points.copy()
        for i, parent, allowed, start in self._conditions:
            active = np.isin(points[:, parent], allowed)
            there = np.where(points[:, i] == self.rest[i], start, points[:, i])
            points[:, i] = np.where(active, there, self.rest[i])
        return points

    def _ordered(self) -> list[tuple[int, int, list[int], int]]:
        """(parameter, the one that it depends on, indices that make it active, the baseline's nearest), what others
        depend on first."""
        found: list[tuple[int, int, list[int], int]] = []
        waiting = [p for p in self.parameters if p.when is not None]
        done = {p.name for p in self.parameters if p.when is None}
        while waiting:
            ready = [p for p in waiting if p.when is not None and p.when.parameter in done]
            if not ready:
                raise ValueError(self.space.misplaced())
            for p in ready:
                assert p.when is not None
                parent = self._at[p.when.parameter]
                allowed = [k for k, v in enumerate(self.axes[parent]) if v in p.when.values]
                found.append((self._at[p.name], parent, allowed, nearest(p, self._baseline[p.name])))
            done |= {p.name for p in ready}
            waiting = [p for p in waiting if p.name not in done]
        return found

    def encode(self, points: Ints) -> Floats:
        """(N, d) indices to (N, D) unit-cube coordinates."""
        return np.hstack([code[points[:, i]] for i, code in enumerate(self._codes)])

    def assignment(self, point: Ints) -> Assignment:
        """The assignment of one row of indices, shape (d,)."""
        rows = zip(self.parameters, self._values, point, strict=True)
        return Assignment(tuple((p.name, a[int(i)]) for p, a, i in rows))

    def locate(self, assignment: Assignment) -> tuple[int, ...] | None:
        """Indices of an assignment, in canonical form, None when it lies off the grid."""
        if self._conditions:
            return self._locate(assignment)
        point = tuple(nearest(p, assignment[p.name]) for p in self.parameters)
        on = all(a[i] == assignment[p.name] for p, a, i in zip(self.parameters, self.axes, point, strict=True))
        return point if on else None

    def _locate(self, assignment: Assignment) -> tuple[int, ...] | None:
        """The same where some parameters may be inactive: these are at rest, whatever their value."""
        point = []
        for i, (p, values) in enumerate(zip(self.parameters, self.axes, strict=True)):
            if not self.space.active(p.name, assignment):
                point.append(int(self.rest[i]))
            elif values[at := nearest(p, assignment[p.name])] == assignment[p.name]:
                point.append(at)
            else:
                return None
        return tuple(point)

    def lines(self, factors: Floats) -> list[tuple[Ints, Ints]]:
        """Per group of several parameters: their indices (k,), and the distinct rows (F, k) of grid indices where all
        have the same factor of the baseline, as near as the grid, its ends and the floors allow."""
        floors, found = dict(self._floors), []
        for group in sorted(set(self._groups)):
            members = [i for i, g in enumerate(self._groups) if g == group]
            if len(members) < 2:
                continue
            columns = []
            for i in members:
                name, numbers = self.parameters[i].name, self._numbers[i]
                wished = factors * float(self._baseline.number(name))
                near = np.argmin(np.abs(numbers[None, :] - wished[:, None]), axis=1)
                least = int(np.searchsorted(numbers, floors.get(name, 0.0) * (1 - 1e-9)))
                columns.append(np.clip(near, least, len(numbers) - 1))
            found.append((np.asarray(members), np.unique(np.column_stack(columns), axis=0)))
        return found

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
        return np.asarray(self._pods(cost, points) * (cores * core_price + size / GIB * gib_price))

    def _pods(self, cost: CostModel, points: Ints) -> Floats | float:
        """`CostModel.pods`, vectorized. Shape: (N,)."""
        if cost.replicas_parameter:
            return self.number(cost.replicas_parameter, points)
        if cost.scale is None:
            return float(cost.replicas)
        use = cost.scale.at(lambda name: self.number(name, points), cost.terms)
        return np.asarray(cost.replicas * cost.usual / use)

    def pods(self, filling: Filling, u: Floats) -> Pods | None:
        """Pods at their scale point at encoded points (N, D), arrays (N,); None where they have no limit."""
        if filling.fixed is None:
            return None

        def number(name: str) -> Floats:
            i = self._at[name]
            codes, numbers = self._codes[i][:, 0], self._numbers[i]
            order = np.argsort(codes)
            return np.asarray(np.interp(u[:, self._first[i]], codes[order], numbers[order]))

        full, cores = (np.asarray(found, dtype=np.float64) for found in (filling.at(number), filling.cores_at(number)))
        return Pods(np.broadcast_to(full, (len(u),)), np.broadcast_to(cores, (len(u),)))

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
        if isinstance(rule, Order):
            return self.number(rule.lower, points) <= self.number(rule.upper, points)
        if isinstance(rule, Ratio):
            return self.number(rule.of, points) <= rule.maximum * self.number(rule.to, points) * SLACK
        total = np.zeros(len(points))
        for name, weight in rule.terms:
            unit = self.space.human(name, Decimal(1))
            total = total + weight * unit * self.number(name, points)
        return np.asarray(total <= rule.limit)


def _warp(domain: Numeric, values: Floats) -> Floats:
    """The parameter's scale; log and logit fall back to linear where the range does not allow them."""
    if domain.scale is Scale.LOG and domain.minimum > 0:
        return np.asarray(np.log(np.maximum(values, float(domain.minimum) * 1e-3)))
    if domain.scale is Scale.LOGIT and domain.minimum >= 0 and domain.maximum <= 100:
        share = np.clip(values / 100.0, _PERCENT_EDGE, 1 - _PERCENT_EDGE)
        return np.asarray(np.log(share / (1 - share)))
    return values


__all__ = ["Encoder", "Grid"]
