"""The cost of an assignment: a known function, so no model is spent on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from trimtab.domain.space import Assignment, Resource

GIB = float(2**30)
Number = Callable[[str], Any]
"""The value of a numeric parameter in base units."""
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
    """A parameter that sets a request of a container: request = value x factor, in cores or bytes."""

    parameter: str
    resource: Resource
    factor: float = 1.0
    container: str = field(default="", repr=False)


@dataclass(frozen=True)
class ScalePoint:
    """What a pod uses when its autoscaler keeps the number of pods: utilization x request, in cores or bytes.

    The utilization is a parameter (percent) or `utilization` (a fraction). The request is that of one container or,
    with "", of the whole pod, of which `fixed` is what no parameter sets.
    """

    resource: Resource
    container: str = ""
    parameter: str | None = None
    utilization: float = 1.0
    fixed: float = 0.0

    def of(self, assignment: Assignment, terms: tuple[CostTerm, ...]) -> float:
        """Cores or bytes a pod under this assignment."""
        return float(self.at(_numbers(assignment), terms))

    def at(self, number: Number, terms: tuple[CostTerm, ...]) -> Any:
        """The same where parameters have these numbers, one of each or an array."""
        request: Any = self.fixed
        for term in terms:
            if term.resource is self.resource and self.container in ("", term.container):
                request = request + number(term.parameter) * term.factor
        share = number(self.parameter) / 100 if self.parameter is not None else self.utilization
        return share * request


@dataclass(frozen=True)
class Filling:
    """How full a pod is at its scale point: that over the CPU limit of what is counted, `limits` and `fixed` cores
    (None where something has no limit). Queues grow by it. `turns` says of bounds on slow requests, by their names, how
    many requests a core gets through in the time that the bound counts, None where that is not known."""

    scale: ScalePoint
    requests: tuple[CostTerm, ...]
    limits: tuple[CostTerm, ...] = ()
    fixed: float | None = None
    turns: tuple[tuple[str, float | None], ...] = ()

    def of(self, assignment: Assignment) -> float | None:
        """A fraction; None where there is no limit."""
        return None if self.fixed is None else float(self.at(_numbers(assignment)))

    def at(self, number: Number) -> Any:
        """The same where there is a limit and parameters have these numbers, one of each or an array."""
        return self.scale.at(number, self.requests) / self.cores_at(number)

    def cores(self, assignment: Assignment) -> float | None:
        """The CPU limit of what is counted; None where there is none."""
        return None if self.fixed is None else float(self.cores_at(_numbers(assignment)))

    def cores_at(self, number: Number) -> Any:
        """The same where there is one and parameters have these numbers."""
        limit: Any = self.fixed
        for term in self.limits:
            limit = limit + number(term.parameter) * term.factor
        return limit

    @property
    def slow(self) -> frozenset[str]:
        """The bounds on slow requests."""
        return frozenset(name for name, _ in self.turns)

    def turns_of(self, bound: str) -> float | None:
        """Of one of these; None where that is not known."""
        return dict(self.turns)[bound]


def _numbers(assignment: Assignment) -> Number:
    return lambda name: float(assignment.number(name))


@dataclass(frozen=True)
class PodBounds:
    """The fewest and most pods that an autoscaler keeps: numbers, or the parameters that set them."""

    minimum: float
    maximum: float
    minimum_parameter: str | None = None
    maximum_parameter: str | None = None

    def within(self, pods: float, assignment: Assignment) -> float:
        """As many of these as it keeps under this assignment."""
        least, most = (
            value if name is None else float(assignment.number(name))
            for value, name in ((self.minimum, self.minimum_parameter), (self.maximum, self.maximum_parameter))
        )
        return max(min(pods, most), least)


class Cost(Protocol):
    """A known cost of an assignment, positive, in $ per hour or in any unit of the caller's."""

    def hourly(self, assignment: Assignment) -> float: ...


@dataclass(frozen=True)
class CostModel:
    """$ per hour of the whole target: replicas x (fixed + tuned requests) x prices.

    `fixed_cores` and `fixed_bytes` are the requests per pod that no parameter sets (side-cars included).

    With an autoscaler, `replicas` is their number under an assignment whose scale point is `usual`, and under another
    one it is expected to be as much larger as the scale point is smaller: that is what the autoscaler aims at. Bounds,
    tolerance and swings make the truth another one, which trials measure (ADR 19).
    """

    replicas: int
    prices: Prices
    terms: tuple[CostTerm, ...]
    fixed_cores: float = 0.0
    fixed_bytes: float = 0.0
    replicas_parameter: str | None = None
    node_parameter: str | None = None
    scale: ScalePoint | None = field(default=None, repr=False)
    usual: float = field(default=1.0, repr=False)
    share: float | None = field(default=None, repr=False)  # of the load that an arm gets, where its pods are counted
    bounds: PodBounds | None = field(default=None, repr=False)  # where the use of its pods says how many it asks for

    @property
    def known(self) -> bool:
        """The cost follows from the values; else the pods of an arm have to be counted."""
        return self.share is None

    @property
    def fixed(self) -> bool:
        """How many pods there are has nothing to do with the assignment."""
        return self.share is None and self.replicas_parameter is None

    def hourly(self, assignment: Assignment) -> float:
        """$ per hour of the target under this assignment."""
        return self.pods(assignment) * self.pod_hourly(assignment)

    def pods(self, assignment: Assignment) -> float:
        """How many pods there are, or are expected to be."""
        if self.replicas_parameter:
            return float(assignment.number(self.replicas_parameter))
        if self.scale is None:
            return float(self.replicas)
        return self.replicas * self.usual / self.scale.of(assignment, self.terms)

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
