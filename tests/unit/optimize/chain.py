"""A chain of containers: each request passes all of them, and any may be the narrow one. Truth for d up to 12."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.unit.optimize.toy import MI, Service, search, web_study

from trimtab.domain.cost import CostModel, CostTerm, Prices
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
from trimtab.domain.study import Study

# Per container: CPU seconds per request, memory (MiB) where pressure sets in, and what it runs with today.
CONTAINERS = (
    (0.0092, 400.0, "1.2", 1024),
    (0.0040, 200.0, "0.6", 640),
    (0.0070, 300.0, "1.0", 896),
    (0.0020, 150.0, "0.3", 448),
    (0.0055, 250.0, "0.8", 640),
    (0.0030, 350.0, "0.4", 960),
)


def resource(name: str, container: str, kind: Resource, low: str, high: str, step: str) -> Parameter:
    locus = ContainerResource(container, kind, Apply.REQUESTS, LimitsRule.RATIO)
    return Parameter(name, locus, Numeric(Decimal(low), Decimal(high), Decimal(step), Scale.LOG))


def chain_study(containers: int, seed: int = 0, **changes: Any) -> Study:
    """CPU and memory of each container: d = 2 x containers."""
    parameters: list[Parameter] = []
    baseline: list[tuple[str, Decimal]] = []
    for i, (_, _, cpu, size) in enumerate(CONTAINERS[:containers]):
        parameters += [
            resource(f"cpu{i}", f"c{i}", Resource.CPU, "0.05", "2", "0.05"),
            resource(f"mem{i}", f"c{i}", Resource.MEMORY, str(64 * MI), str(2048 * MI), str(64 * MI)),
        ]
        baseline += [(f"cpu{i}", Decimal(cpu)), (f"mem{i}", Decimal(size * MI))]
    terms = tuple(CostTerm(p.name, Resource.CPU if "cpu" in p.name else Resource.MEMORY) for p in parameters)
    return web_study(
        space=SearchSpace(tuple(parameters)),
        baseline=Assignment(tuple(baseline)),
        cost=CostModel(10, Prices(0.04, 0.005), terms),
        search=search(seed=seed),
        **changes,
    )


@dataclass(frozen=True)
class Chain(Service):
    """Slow and failed requests of all containers add up."""

    containers: int = len(CONTAINERS)
    idle: tuple[int, ...] = ()  # containers whose CPU does nothing

    def ratios(self, assignment: Assignment, load: float) -> tuple[float, float]:
        slow, errors = self.base_slow, self.base_errors
        for i, (work, need, _, _) in enumerate(CONTAINERS[: self.containers]):
            mib = float(assignment.number(f"mem{i}")) / MI
            rate = math.inf
            if i not in self.idle:
                rate = float(assignment.number(f"cpu{i}")) / (work * (1.0 + (need / mib) ** 6)) - load
            slow += math.exp(-max(rate, 0.0) * self.threshold) / self.containers
            errors += (0.01 * math.exp(-(mib - need) / 40.0) + (0.05 if rate <= 0 else 0.0)) / self.containers
        return min(slow, 1.0), min(errors, 1.0)

    def broken(self, assignment: Assignment) -> bool:
        needs = [need for _, need, _, _ in CONTAINERS[: self.containers]]
        return any(float(assignment.number(f"mem{i}")) / MI < 0.7 * need for i, need in enumerate(needs))


def best_found(study: Study, service: Chain) -> float:
    """Saving of a coordinate search on the noise-free truth at the peak, from the baseline down: no proof of the
    optimum, but independent of the optimizer."""
    assert study.peak_load is not None
    x, moved = study.baseline, True
    while moved:
        moved, options = False, []
        for parameter in study.space.parameters:
            assert isinstance(parameter.domain, Numeric)
            lower = x.number(parameter.name) - parameter.domain.step
            y = x.replace(parameter.name, lower)
            if lower < parameter.domain.minimum or service.broken(y):
                continue
            rise = service.worst(y, study.peak_load)
            if rise <= 0:
                paid = study.cost.hourly(x) - study.cost.hourly(y)
                options.append((paid / max(rise - service.worst(x, study.peak_load), 1e-6), parameter.name, y))
        if options:
            moved, x = True, max(options)[2]
    return 1 - study.cost.hourly(x) / study.cost.hourly(study.baseline)
