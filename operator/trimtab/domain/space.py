"""The search space: parameters, their grids, and assignments.

Values are exact: a `Decimal` in base units (cores, bytes, seconds, percent, plain numbers) or a category's `str`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from enum import StrEnum
from types import MappingProxyType

from trimtab.domain.errors import InvalidSpec
from trimtab.domain.quantity import format_cpu, format_memory, parse_quantity

Value = Decimal | str


class Scale(StrEnum):
    """How a numeric parameter maps to the unit interval."""

    LINEAR = "Linear"
    LOG = "Log"
    LOGIT = "Logit"


class Resource(StrEnum):
    CPU = "cpu"
    MEMORY = "memory"


class Apply(StrEnum):
    """Which side of a container's resources the parameter sets."""

    REQUESTS = "Requests"
    LIMITS = "Limits"
    BOTH = "Both"


class LimitsRule(StrEnum):
    """What happens to the limit when only the request is set: keep the ratio, keep it, make it equal, remove it."""

    RATIO = "Ratio"
    KEEP = "Keep"
    EQUAL = "Equal"
    NONE = "None"


@dataclass(frozen=True)
class ContainerResource:
    """A container's CPU (cores) or memory (bytes)."""

    container: str
    resource: Resource
    apply: Apply
    limits: LimitsRule


@dataclass(frozen=True)
class AutoscalerField:
    """A field of the target's HorizontalPodAutoscaler, e.g. `CPUUtilization` (percent)."""

    field: str
    name: str = ""
    metric_container: str = ""


@dataclass(frozen=True)
class ReplicaCount:
    """`spec.replicas` of a fixed-size target."""


@dataclass(frozen=True)
class EnvValue:
    """An environment variable; `format` holds one `{}` for the value."""

    container: str
    name: str
    format: str = "{}"


@dataclass(frozen=True)
class NodeSelectorKey:
    """A node selector's value: a category with its own price."""

    key: str


@dataclass(frozen=True)
class PlainValue:
    """A value of a program that uses the optimizer as a library: no manifest has it.

    `direction` is +1 when a larger value is safer, -1 when a smaller one is, 0 when that is not known.
    """

    direction: int = 0


Locus = ContainerResource | AutoscalerField | ReplicaCount | EnvValue | NodeSelectorKey | PlainValue


FEW_VALUES = 8
SLACK = 1 + 1e-9  # of a rule that is met but for rounding
MAX_GRID = 10_000  # steps of one parameter's range


@dataclass(frozen=True)
class Numeric:
    """A grid `minimum, minimum + step, ..., <= maximum`; bounds and step in base units."""

    minimum: Decimal
    maximum: Decimal
    step: Decimal
    scale: Scale
    integer: bool = False

    def grid(self) -> tuple[Decimal, ...]:
        """All values, ascending. Shape: (k,)."""
        return tuple(self.minimum + self.step * i for i in range(self.count))

    @property
    def count(self) -> int:
        """How many values there are."""
        return int(((self.maximum - self.minimum) / self.step).to_integral_value(rounding=ROUND_FLOOR)) + 1

    @property
    def near(self) -> int:
        """By how many steps values differ that say about the same: one, or none where there are only a few values."""
        return int(self.count >= FEW_VALUES)


@dataclass(frozen=True)
class Categorical:
    values: tuple[str, ...]


@dataclass(frozen=True)
class When:
    """A parameter is active only while another one, a category that is active itself, has one of these values.

    While it is not, it keeps the baseline's value everywhere: in manifests, in the cost and in constraints.
    """

    parameter: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Parameter:
    """One thing that is tuned.

    `max_decrease` and `max_increase` are fractions of a verified value (0.3 = 30 %) or None for the defaults of the
    optimizer.
    """

    name: str
    locus: Locus
    domain: Numeric | Categorical
    max_decrease: float | None = None
    max_increase: float | None = None
    when: When | None = None

    def format(self, value: Value) -> str:
        """Write a value the way a manifest does: `250m`, `512Mi`, `70`, `m5.large`."""
        if isinstance(value, str):
            return value
        if isinstance(self.locus, ContainerResource):
            return format_cpu(value) if self.locus.resource is Resource.CPU else format_memory(value)
        return format(value.normalize(), "f")

    def parse(self, text: str) -> Value:
        """Read back what `format` wrote.

        Raises:
            InvalidSpec: not a value of this parameter's kind (membership in the grid is not asked: the baseline may
                lie between grid points).
        """
        if isinstance(self.domain, Categorical):
            if text not in self.domain.values:
                raise InvalidSpec(self.name, f"{text!r} is none of {', '.join(self.domain.values)}")
            return text
        return parse_quantity(text, self.name)


@dataclass(frozen=True)
class Assignment(Mapping[str, Value]):
    """One value for each parameter, hashable, in the order of the search space."""

    items_: tuple[tuple[str, Value], ...]
    _index: Mapping[str, Value] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", MappingProxyType(dict(self.items_)))

    @classmethod
    def of(cls, values: Mapping[str, Value]) -> Assignment:
        return cls(tuple(values.items()))

    def __getitem__(self, name: str) -> Value:
        return self._index[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self.items_)

    def number(self, name: str) -> Decimal:
        """The numeric value of a parameter that is known to be numeric."""
        value = self._index[name]
        if isinstance(value, str):
            raise TypeError(f"{name} is a category")
        return value

    def replace(self, name: str, value: Value) -> Assignment:
        return Assignment(tuple((n, value if n == name else v) for n, v in self.items_))

    def __reduce__(self) -> tuple[type[Assignment], tuple[tuple[tuple[str, Value], ...]]]:
        return (Assignment, (self.items_,))


@dataclass(frozen=True)
class Order:
    """`lower <= upper`, both in base units."""

    name: str
    lower: str
    upper: str


@dataclass(frozen=True)
class Sum:
    """sum(weight x value) <= maximum; CPU in cores, memory in GiB, others plain (the units a person writes)."""

    name: str
    terms: tuple[tuple[str, float], ...]
    maximum: float

    @property
    def limit(self) -> float:
        """The maximum, which may be met exactly but for rounding; below zero more room is towards zero, too."""
        return self.maximum + abs(self.maximum) * 1e-9


@dataclass(frozen=True)
class Ratio:
    """`of / to <= maximum`, both in base units."""

    name: str
    of: str
    to: str
    maximum: float


ParameterConstraint = Order | Sum | Ratio

MOST_PARAMETERS = 8  # that are tuned each by itself
TRIALS_EACH = 10
FEW_PARAMETERS = 2  # need no more than some 14 trials in all (tests/unit/optimize/test_designer.py)


def crowded(parameters: int, trials: int) -> bool:
    """Whether there are more parameters than so many trials are good for."""
    return parameters > MOST_PARAMETERS or (parameters > FEW_PARAMETERS and TRIALS_EACH * parameters > trials)


def crowd(parameters: int, trials: int) -> tuple[str, str]:
    """The same in words: (problem, remedy)."""
    few = f"tune {FEW_PARAMETERS} to {MOST_PARAMETERS} at a time"
    if parameters > MOST_PARAMETERS:
        return f"{parameters} are tuned in groups first, each by itself only then", few
    problem = f"{parameters} for {trials} trials, {TRIALS_EACH} each are advised"
    return problem, f"tune fewer at a time, or set stopping.maxTrials to {TRIALS_EACH * parameters}"


@dataclass(frozen=True)
class SearchSpace:
    parameters: tuple[Parameter, ...]
    constraints: tuple[ParameterConstraint, ...] = ()

    def __getitem__(self, name: str) -> Parameter:
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters)

    def format(self, assignment: Assignment) -> tuple[tuple[str, str], ...]:
        """The wire form: (name, text) in the order of the space."""
        return tuple((p.name, p.format(assignment[p.name])) for p in self.parameters)

    def parse(self, texts: Mapping[str, str]) -> Assignment:
        """Read the wire form.

        Raises:
            InvalidSpec: a parameter is missing, unknown, or its text cannot be read.
        """
        unknown = [name for name in texts if name not in self.names]
        missing = [name for name in self.names if name not in texts]
        if unknown or missing:
            raise InvalidSpec("assignment", f"unknown: {unknown or 'none'}, missing: {missing or 'none'}")
        return Assignment(tuple((p.name, p.parse(texts[p.name])) for p in self.parameters))

    def describe(self, assignment: Assignment) -> str:
        """One line for people: `cpu=500m memory=768Mi`."""
        return " ".join(f"{name}={text}" for name, text in self.format(assignment))

    def human(self, name: str, value: Decimal) -> float:
        """A value in the units of a `Sum` constraint: memory in GiB, everything else as it is."""
        locus = self[name].locus
        memory = isinstance(locus, ContainerResource) and locus.resource is Resource.MEMORY
        return float(value) / 2**30 if memory else float(value)

    @property
    def conditional(self) -> bool:
        """Whether any parameter is active only under another one's value."""
        return any(p.when is not None for p in self.parameters)

    def misplaced(self) -> str:
        """What is wrong with the conditions, in one line that names the parameter; "" when nothing is."""
        known = {p.name: p for p in self.parameters}
        for parameter in self.parameters:
            seen, at = {parameter.name}, parameter
            while at.when is not None:
                above = known.get(at.when.parameter)
                if above is None or not isinstance(above.domain, Categorical):
                    return f"{at.name}: when names {at.when.parameter}, which is no category of this space"
                foreign = [v for v in at.when.values if v not in above.domain.values]
                if foreign or not at.when.values:
                    return f"{at.name}: when needs values of {above.name}, not {', '.join(foreign) or 'none'}"
                if above.name in seen:
                    return f"{at.name}: when leads back to {above.name}"
                seen.add(above.name)
                at = above
        return ""

    def active(self, name: str, assignment: Assignment) -> bool:
        """Whether a parameter has an effect under this assignment. Nothing may be `misplaced`."""
        when = self[name].when
        if when is None:
            return True
        return assignment[when.parameter] in when.values and self.active(when.parameter, assignment)

    def canonical(self, assignment: Assignment, baseline: Assignment) -> Assignment:
        """The one form of all assignments that differ in inactive parameters only: these have the baseline's value."""
        if not self.conditional:
            return assignment
        return Assignment(tuple((n, v if self.active(n, assignment) else baseline[n]) for n, v in assignment.items_))

    def alike(self, one: Assignment, other: Assignment) -> bool:
        """Do they say about the same: no parameter differs by more than a step, and no category?"""
        for parameter in self.parameters:
            name, domain = parameter.name, parameter.domain
            if isinstance(domain, Categorical):
                if one[name] != other[name]:
                    return False
            elif abs(one.number(name) - other.number(name)) > domain.near * domain.step:
                return False
        return True

    def violated(self, assignment: Assignment) -> ParameterConstraint | None:
        """The first parameter constraint that the assignment breaks, or None."""
        for rule in self.constraints:
            if not self._holds(rule, assignment):
                return rule
        return None

    def _holds(self, rule: ParameterConstraint, a: Assignment) -> bool:
        if isinstance(rule, Order):
            return a.number(rule.lower) <= a.number(rule.upper)
        if isinstance(rule, Ratio):
            return float(a.number(rule.of)) <= rule.maximum * float(a.number(rule.to)) * SLACK
        return sum(w * self.human(n, a.number(n)) for n, w in rule.terms) <= rule.limit
