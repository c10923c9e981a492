"""The true optimum of a workload, by brute force on the noise-free model.

Benchmarks, the demo and `trimtab simulate` measure an optimizer against it; nothing that decides may import it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from .model import PodBehaviour, Resources, evaluate
from .spec import WorkloadSpec
from .units import GIB

SECONDS_PER_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of requested resources, in dollars; the defaults are OpenCost's."""

    cpu_core_hour: float = 0.031611
    memory_gib_hour: float = 0.004237

    def per_hour(self, resources: Resources, replicas: int = 1) -> float:
        """Dollars per hour of the resource REQUESTS of `replicas` pods."""
        per_pod = resources.cpu_request * self.cpu_core_hour + resources.memory_request / GIB * self.memory_gib_hour
        return replicas * per_pod


@dataclass(frozen=True, slots=True)
class TruthConstraints:
    """What an assignment must keep to be feasible."""

    latency_threshold_s: float
    max_slow_ratio: float
    max_error_ratio: float
    max_oom_per_hour: float = 0.001
    """OOM kills per pod and hour."""

    @classmethod
    def of(cls, workload: WorkloadSpec) -> TruthConstraints:
        """The workload's own SLO."""
        slo = workload.slo
        return cls(slo.latency_threshold, slo.max_slow_percent / 100.0, slo.max_error_percent / 100.0)

    def margin(self, behaviour: PodBehaviour) -> float:
        """Worst value / bound of the constraints; at most 1 is feasible."""
        return max(
            behaviour.slow_fraction(self.latency_threshold_s) / self.max_slow_ratio,
            behaviour.error_ratio / self.max_error_ratio,
            behaviour.oom_per_s * SECONDS_PER_HOUR / self.max_oom_per_hour,
        )


@dataclass(frozen=True)
class Optimum:
    """The cheapest feasible resources of a grid."""

    resources: Resources
    cost_per_hour: float
    """Dollars per hour of one pod."""
    behaviour: PodBehaviour
    feasible: int
    """How many of the grid's points are feasible."""
    evaluated: int


def resource_grid(cpu_cores: Iterable[float], memory_bytes: Iterable[float]) -> tuple[Resources, ...]:
    """All combinations, with requests equal to limits."""
    memory = tuple(memory_bytes)
    return tuple(Resources.equal(cpu, size) for cpu in cpu_cores for size in memory)


def steps(low: float, high: float, step: float) -> tuple[float, ...]:
    """low, low + step, ..., at most high: the grid of a parameter with min, max and step."""
    count = int((high - low) / step + 1e-9)
    return tuple(round(low + i * step, 9) for i in range(count + 1))


def cheapest_feasible(
    workload: WorkloadSpec,
    grid: Iterable[Resources],
    load_rps_per_pod: float,
    constraints: TruthConstraints,
    prices: Prices,
) -> Optimum | None:
    """The cheapest point of the grid that keeps every constraint at this load; None when there is none.

    Points are visited from cheap to dear; ALL are evaluated so that `feasible` can be reported.
    """
    best: Optimum | None = None
    feasible = evaluated = 0
    for resources in sorted(grid, key=lambda r: (prices.per_hour(r), r.cpu_limit)):
        behaviour = evaluate(workload, resources, load_rps_per_pod)
        evaluated += 1
        if constraints.margin(behaviour) <= 1.0:
            feasible += 1
            if best is None:
                best = Optimum(resources, prices.per_hour(resources), behaviour, 0, 0)
    if best is None:
        return None
    return Optimum(best.resources, best.cost_per_hour, best.behaviour, feasible, evaluated)
