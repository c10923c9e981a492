"""Studies of any size for timing: d resources, two bounds (a slow ratio and an error ratio), n rows of history."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np

from trimtab.domain.cost import CostModel, CostTerm, Prices
from trimtab.domain.measurement import Sample
from trimtab.domain.space import (
    Apply,
    Assignment,
    ContainerResource,
    LimitsRule,
    Numeric,
    Parameter,
    Resource,
    Scale,
    SearchSpace,
)
from trimtab.domain.spec import SearchSettings, SliKind
from trimtab.domain.study import ArmOutcome, ConstraintReading, ConstraintTarget, Study, TrialOutcome
from trimtab.domain.trial import Purpose

MI = 2**20
HOUR = 3600.0
REQUESTS = 4000
BOUNDS = (
    ConstraintTarget("slow", SliKind.LATENCY, bound=0.05),
    ConstraintTarget("errors", SliKind.ERRORS, bound=0.005),
)


def space(dimensions: int) -> SearchSpace:
    """CPU and memory of d / 2 containers (of one more container's CPU when d is odd)."""
    parameters = []
    for i in range(dimensions):
        cpu = i % 2 == 0
        kind = Resource.CPU if cpu else Resource.MEMORY
        bounds = ("0.2", "2.5", "0.05") if cpu else (str(256 * MI), str(2560 * MI), str(64 * MI))
        low, high, step = (Decimal(text) for text in bounds)
        locus = ContainerResource(f"c{i // 2}", kind, Apply.BOTH, LimitsRule.RATIO)
        parameters.append(Parameter(f"p{i}", locus, Numeric(low, high, step, Scale.LOG)))
    return SearchSpace(tuple(parameters))


def study(dimensions: int, rows: int, seed: int) -> Study:
    """A study with `rows` rows per bound (two per trial) along a plausible descent from the baseline."""
    rng = np.random.default_rng(seed)
    where = space(dimensions)
    baseline = _at(where, np.full(dimensions, 0.75))
    terms = tuple(
        CostTerm(p.name, p.locus.resource) for p in where.parameters if isinstance(p.locus, ContainerResource)
    )
    outcomes = []
    trials = math.ceil(rows / 2)
    for index in range(trials):
        depth = 0.0 if index < 2 else 0.35 * min(1.0, index / 12)
        point = 0.75 - depth * rng.uniform(0.3, 1.0, dimensions)
        assignment = baseline if index < 2 else _at(where, point)
        last = index == trials - 1  # a replicate, so that the next trial is a search
        purpose = Purpose.BASELINE if index < 2 else Purpose.REPLICATE if last else Purpose.SEARCH
        load = 30 * math.exp(0.1 * rng.standard_normal())
        arms = [_arm(a, u, load, rng) for a, u in ((assignment, point), (baseline, np.full(dimensions, 0.75)))]
        outcomes.append(TrialOutcome(index, purpose, 1.8e9 + HOUR * index, arms[0], arms[1]))
    return Study(
        space=where,
        baseline=baseline,
        cost=CostModel(replicas=10, prices=Prices(0.04, 0.005), terms=terms),
        constraints=BOUNDS,
        outcomes=tuple(outcomes),
        pending=(),
        search=SearchSettings("GaussianProcess", "ConstrainedEI", seed, 5),
        probability=0.95,
        index=trials,
        now=1.8e9 + HOUR * trials,
        peak_load=33.0,
        max_trials=10_000,
        patience=10_000,
    )


def _at(where: SearchSpace, u: np.ndarray) -> Assignment:
    values = []
    for parameter, share in zip(where.parameters, u, strict=True):
        assert isinstance(parameter.domain, Numeric)
        grid = parameter.domain.grid()
        target = math.log(float(grid[0])) + share * (math.log(float(grid[-1])) - math.log(float(grid[0])))
        values.append((parameter.name, min(grid, key=lambda v: abs(math.log(float(v)) - target))))
    return Assignment(tuple(values))


def _arm(assignment: Assignment, u: np.ndarray, load: float, rng: np.random.Generator) -> ArmOutcome:
    strain = 6.0 * float(np.mean((0.75 - u) ** 2)) * len(u) ** 0.5 + 0.8 * math.log(load / 30)
    readings = []
    for bound, base in zip(BOUNDS, (-2.5, -2.0), strict=True):
        ratio = min(bound.bound * math.exp(base + strain + 0.05 * rng.standard_normal()), 0.5)
        bad = int(rng.binomial(REQUESTS, ratio))
        share = bad / REQUESTS
        sample = Sample(share, math.sqrt(share * (1 - share) / REQUESTS), REQUESTS, bad)
        readings.append(ConstraintReading(bound.name, sample))
    return ArmOutcome(assignment, load, tuple(readings))
