"""The cost of an assignment: a known function, so no model is spent on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from trimtab.domain.space import Assignment, Resource

GIB = float(2**30)
COST_SLACK = 1 + 1e-9  # a bound on the cost may be met exactly, but for rounding


@dataclass(frozen=True)
class NodePrice:
    value: str
    cpu_core_hour: float
    memory_gib_hour: float


@dataclass(frozen=True)
class Prices:
    """$ per core-hour and per GiB-hour; a node type (category) may have its own."""

    cpu_core_hour: float
    memory_gib_hour: float
    nodes: tuple[NodePrice, ...] = ()


@dataclass(frozen=True)
class CostTerm:
    """A parameter that sets a request: request = value x factor, in cores or bytes."""

    parameter: str
    resource: Resource
    factor: float = 1.0


class Cost(Protocol):
    """A known cost of an assignment, positive, in $ per hour or in any unit of the caller's."""

    def hourly(self, assignment: Assignment) -> float: ...


@dataclass(frozen=True)
class CostModel:
    """$ per hour of the whole target: replicas x (fixed + tuned requests) x prices.

    `fixed_cores` and `fixed_bytes` are the requests per pod that no parameter sets (side-cars included).
    """

    replicas: int
    prices: Prices
    terms: tuple[CostTerm, ...]
    fixed_cores: float = 0.0
    fixed_bytes: float = 0.0
    replicas_parameter: str | None = None
    node_parameter: str | None = None

    def hourly(self, assignment: Assignment) -> float:
        """$ per hour of the target under this assignment."""
        replicas = float(assignment.number(self.replicas_parameter)) if self.replicas_parameter else self.replicas
        return replicas * self.pod_hourly(assignment)

    def pod_hourly(self, assignment: Assignment) -> float:
        """$ per hour of one pod under this assignment."""
        cores, size = self.fixed_cores, self.fixed_bytes
        for term in self.terms:
            amount = float(assignment.number(term.parameter)) * term.factor
            if term.resource is Resource.CPU:
                cores += amount
            else:
                size += amount
        prices = self._prices(assignment)
        return cores * prices.cpu_core_hour + size / GIB * prices.memory_gib_hour

    def _prices(self, assignment: Assignment) -> Prices | NodePrice:
        if self.node_parameter is None:
            return self.prices
        value = assignment[self.node_parameter]
        return next((n for n in self.prices.nodes if n.value == value), self.prices)
