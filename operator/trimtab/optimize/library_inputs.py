"""What people give to the library, checked and turned into what the optimizer knows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from trimtab.domain.measurement import Sample
from trimtab.domain.space import (
    Assignment,
    Categorical,
    Numeric,
    Order,
    Parameter,
    ParameterConstraint,
    PlainValue,
    Ratio,
    Scale,
    SearchSpace,
    Sum,
    Value,
    When,
)
from trimtab.domain.spec import Objective as Aim
from trimtab.domain.spec import ObjectiveTerm, SliKind
from trimtab.domain.study import ConstraintTarget, ObjectiveValue, measured_name
from trimtab.optimize.steps import axis

Plain = float | int | str
Measured = tuple[float, float]
"""(value, standard error), both in the unit of the bound."""
Known = Callable[[dict[str, Plain]], float]
Objective = Known | str
"""A known cost of an assignment, or the name of a quantity that is measured; less is better."""
COST = "cost"
_DIRECTIONS = {"Higher": 1, "Lower": -1, "Unknown": 0}
_NO_LIMIT = 1e12


@dataclass(frozen=True)
class Range:
    """A numeric parameter: `low, low + step, ..., <= high`.

    `safer` says which way the bounds gain room, if that is known. `max_decrease` and `max_increase` are the fractions
    of a verified value by which one trial may go down or up (30 % and 50 % when None). `when=("gc", ["parallel"])`
    makes it active only while that choice has one of these values; otherwise it keeps the baseline's.
    """

    low: float
    high: float
    step: float
    scale: Literal["Linear", "Log", "Logit"] = "Linear"
    safer: Literal["Higher", "Lower", "Unknown"] = "Unknown"
    max_decrease: float | None = None
    max_increase: float | None = None
    when: tuple[str, Sequence[str]] | None = None


@dataclass(frozen=True)
class Choices:
    """A parameter with one of these values. Nothing says how one of them compares with another, so with `safe` a value
    that was never tried is only tried where the bounds are far. `when` as for a `Range`."""

    values: tuple[str, ...]
    when: tuple[str, Sequence[str]] | None = None


@dataclass(frozen=True)
class Bound:
    """A measured quantity > 0 must stay at or below `max`, or at or above `min`; exactly one of them, > 0.

    `kind` chooses the priors: Errors range over orders of magnitude, Latency and Value over less.
    """

    max: float | None = None
    min: float | None = None
    kind: Literal["Errors", "Latency", "Value"] = "Value"


@dataclass(frozen=True)
class Counts:
    """A ratio as it was counted: `bad` of `total` events. Few events say more this way than as a value with a standard
    error: no bad event at all is evidence too. `overdispersion` is their variance / binomial variance, >= 1."""

    bad: float
    total: float
    overdispersion: float = 1.0


@dataclass(frozen=True)
class FunctionCost:
    """Any known cost of an assignment."""

    function: Known
    space: SearchSpace

    def hourly(self, assignment: Assignment) -> float:
        return float(self.function(plain(self.space, assignment)))


def space_of(given: Mapping[str, Range | Choices], rules: Sequence[ParameterConstraint], safe: bool) -> SearchSpace:
    """The space of these parameters under the rules; without `safe` steps have no limit.

    Raises:
        ValueError: names the parameter, its condition or the rule that makes no sense.
    """
    space = SearchSpace(tuple(_parameter(name, each, safe) for name, each in given.items()), tuple(rules))
    if space.misplaced():
        raise ValueError(space.misplaced())
    numeric = {p.name for p in space.parameters if isinstance(p.domain, Numeric)}
    for rule in rules:
        names = [n for n, _ in rule.terms] if isinstance(rule, Sum) else [*_both(rule)]
        odd = [n for n in names if n not in numeric]
        if odd:
            raise ValueError(f"rules: {rule.name} needs numeric parameters, {odd[0]} is none")
    return space


def floors_of(space: SearchSpace, given: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Least values by parameter.

    Raises:
        ValueError: names a parameter that is unknown or a category, or a floor that is no finite number.
    """
    numeric = {p.name for p in space.parameters if isinstance(p.domain, Numeric)}
    for name, least in given.items():
        if name not in numeric or not math.isfinite(least):
            raise ValueError(f"floors: {name}: {least} is not a finite number for a numeric parameter")
    return tuple((name, float(least)) for name, least in given.items())


def _both(rule: Order | Ratio) -> tuple[str, str]:
    return (rule.lower, rule.upper) if isinstance(rule, Order) else (rule.of, rule.to)


def _parameter(name: str, given: Range | Choices, safe: bool) -> Parameter:
    if isinstance(given, Choices):
        if len(set(given.values)) != len(given.values) or not given.values:
            raise ValueError(f"{name}: choices must be given, each once")
        return Parameter(name, PlainValue(), Categorical(tuple(given.values)), when=_when(given))
    if not (given.low < given.high and given.step > 0 and all(map(math.isfinite, (given.low, given.high, given.step)))):
        raise ValueError(f"{name}: low {given.low} must be below high {given.high}, and step {given.step} above 0")
    if given.scale == "Log" and given.low <= 0:
        raise ValueError(f"{name}: a Log scale begins above 0, not at {given.low}")
    domain = Numeric(_exact(given.low), _exact(given.high), _exact(given.step), Scale(given.scale))
    down, up = (given.max_decrease, given.max_increase) if safe else (_NO_LIMIT, _NO_LIMIT)
    return Parameter(name, PlainValue(_DIRECTIONS[given.safer]), domain, down, up, _when(given))


def _when(given: Range | Choices) -> When | None:
    return None if given.when is None else When(given.when[0], tuple(given.when[1]))


def target_of(name: str, bound: Bound) -> ConstraintTarget:
    """A bound as the model learns it.

    Raises:
        ValueError: names the bound that has none of min and max, both, or one that is not above 0.
    """
    limit = bound.max if bound.max is not None else bound.min
    if limit is None or (bound.max is not None and bound.min is not None) or not (math.isfinite(limit) and limit > 0):
        raise ValueError(f"{name}: give one of max and min, above 0")
    return ConstraintTarget(name, SliKind(bound.kind), float(limit), upper=bound.max is not None)


def check_objectives(wanted: tuple[Objective, ...], acquisition: str) -> None:
    """See that there are one or two, which the acquisition function fits.

    Raises:
        ValueError: says what does not fit, and what would.
    """
    if len(wanted) not in (1, 2) or len(set(wanted)) != len(wanted):
        raise ValueError("objective: give one, or a pair of two that differ")
    known = sum(not isinstance(o, str) for o in wanted)
    if known == 2:
        raise ValueError("objective: of a pair at least one must be measured: give its name")
    if known and COST in wanted:
        raise ValueError(f"objective: {COST!r} is the name of the known cost beside it; rename the measured one")
    fits = {"ConstrainedEI", "HypervolumeEI"} if len(wanted) == 2 else {"ConstrainedEI", "NoisyEI"}
    if not (known and len(wanted) == 1):
        if acquisition not in fits:
            raise ValueError(f"acquisition: {acquisition} does not fit this objective; use {' or '.join(sorted(fits))}")
    elif acquisition in ("NoisyEI", "HypervolumeEI"):
        raise ValueError(f"acquisition: {acquisition} is for measured objectives; use ConstrainedEI")


def aims_of(wanted: tuple[Objective, ...]) -> tuple[Aim, ...]:
    """Empty where a known cost alone is minimized."""
    if len(wanted) == 1 and not isinstance(wanted[0], str):
        return ()
    names = [o if isinstance(o, str) else None for o in wanted]
    return tuple(Aim(name or COST, False, (ObjectiveTerm(1.0, name),)) for name in names)


def measured_of(name: str, constraints: Mapping[str, Bound]) -> ConstraintTarget:
    """A quantity that is bounded, too, is of the kind that its bound says."""
    kind = constraints[name].kind if name in constraints else "Value"
    return ConstraintTarget(measured_name(name), SliKind(kind), 1.0)


def no_cost(_: dict[str, Plain]) -> float:
    """The same for every assignment: where only what is measured counts."""
    return 1.0


def amounts(values: tuple[ObjectiveValue, ...]) -> dict[str, Measured]:
    """(mean, standard deviation) by name."""
    return {v.name: (v.value, v.sd) for v in values}


def assignment_of(space: SearchSpace, given: Mapping[str, Plain], baseline: Assignment | None = None) -> Assignment:
    """In canonical form; what is not active may be left out. A baseline (`baseline` None) has a value for each.

    Raises:
        ValueError: a parameter is unknown or missing, or its value is none that it has.
    """
    unknown, missing = set(given) - set(space.names), set(space.names) - set(given)
    found = {p.name: _value(p, given[p.name]) for p in space.parameters if p.name in given}
    others: Mapping[str, Value] = {} if baseline is None else baseline
    whole = Assignment.of({n: found[n] if n in found else others[n] for n in space.names if n in found or n in others})
    if baseline is not None:
        missing = {n for n in missing if space.active(n, whole)}
    if unknown or missing:
        raise ValueError(f"assignment: unknown {sorted(unknown) or 'none'}, missing {sorted(missing) or 'none'}")
    return whole if baseline is None else space.canonical(whole, baseline)


def _value(parameter: Parameter, given: Plain) -> Value:
    values = axis(parameter.domain)
    if isinstance(parameter.domain, Categorical):
        if given not in values:
            raise ValueError(f"{parameter.name}: {given!r} is none of {', '.join(map(str, values))}")
        return str(given)
    if isinstance(given, str) or not math.isfinite(given):
        raise ValueError(f"{parameter.name}: {given!r} is not a finite number")
    return _exact(given)


def plain(space: SearchSpace, assignment: Assignment) -> dict[str, Plain]:
    """An assignment as people write it."""
    return {p.name: v if isinstance(v := assignment[p.name], str) else float(v) for p in space.parameters}


def sample_of(name: str, given: Measured | Counts) -> Sample:
    """A reading of the quantity of this name.

    Raises:
        ValueError: numbers that are not finite, below 0, or counts that contradict each other.
    """
    if isinstance(given, Counts):
        bad, total, spread = given.bad, given.total, given.overdispersion
        if not (all(map(math.isfinite, (bad, total, spread))) and 0 <= bad <= total and total > 0 and spread >= 1):
            raise ValueError(f"{name}: {given} is not 0 <= bad <= total, total > 0, overdispersion >= 1")
        share = bad / total
        return Sample(share, math.sqrt(spread * share * (1 - share) / total), total, bad, spread)
    value, error = given
    if not (math.isfinite(value) and math.isfinite(error)) or value < 0 or error < 0:
        raise ValueError(f"{name}: ({value}, {error}) is not a value >= 0 with a standard error >= 0")
    return Sample(float(value), float(error), 1.0)


def load_of(context: Mapping[str, float] | None) -> float | None:
    """The load of a context, None where it is not given.

    Raises:
        ValueError: another name, or a load that is not above 0.
    """
    for name in context or {}:
        if name != "load":
            raise ValueError(f"context: {name!r} is not known; give load")
    load = (context or {}).get("load")
    if load is not None and not (math.isfinite(load) and load > 0):
        raise ValueError(f"context: load {load} is not above 0")
    return load


def _exact(number: float) -> Decimal:
    return Decimal(repr(float(number)))
