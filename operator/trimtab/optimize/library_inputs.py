"""What people give to the library, checked and turned into what the optimizer knows."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from numbers import Integral
from typing import Any, Literal, get_args

from trimtab.domain.measurement import Sample
from trimtab.domain.space import (
    MAX_GRID,
    Assignment,
    Categorical,
    Numeric,
    Parameter,
    PlainValue,
    Scale,
    SearchSpace,
    Value,
    When,
)
from trimtab.domain.spec import Objective as Aim
from trimtab.domain.spec import ObjectiveTerm, SliKind
from trimtab.domain.study import ConstraintTarget, ObjectiveValue, measured_name
from trimtab.optimize.library_checks import as_float, by_name, chosen, is_number, number, several, shown

Plain = float | int | str
Measured = tuple[float, float]
"""(value, standard error), both in the unit of the bound."""
Known = Callable[[dict[str, Plain]], float]
Objective = Known | str
"""A known cost of an assignment, or the name of a quantity that is measured; less is better."""
Acquisition = Literal["ConstrainedEI", "UCB", "PI", "Thompson", "NoisyEI", "HypervolumeEI"]
ScaleName = Literal["Linear", "Log", "Logit"]
Kind = Literal["Errors", "Latency", "Value"]
Failure = Literal["OOMKilled", "CrashLoop", "ReadinessLost"]
COST = "cost"
LARGEST = sys.float_info.max / 2
"""As a limit on the cost: what the objective has no finite number for is not admissible."""
_DIRECTIONS = {"Higher": 1, "Lower": -1, "Unknown": 0}
_NO_LIMIT = 1e12
_MOST_INCREASE = 10.0


@dataclass(frozen=True)
class Range:
    """A numeric parameter: `low, low + step, ..., <= high`, of at most 10,000 steps. With whole `low` and `step`
    (`Range(1, 16, step=1)`) its values are integers.

    `scale` is Log for what acts by its ratio, Logit for percentages from 0 to 100. `safer` says which way the bounds
    gain room, if that is known. `max_decrease` (at most 1) and `max_increase` (at most 10) are the fractions of a
    verified value by which one trial may go down or up (0.3 and 0.5 when None); where `low` is not above 0, of the
    width of the range. `when=("gc", ["parallel"])` makes it active only while that choice has one of these values;
    otherwise it keeps the baseline's.
    """

    low: float
    high: float
    step: float
    scale: ScaleName = "Linear"
    safer: Literal["Higher", "Lower", "Unknown"] = "Unknown"
    max_decrease: float | None = None
    max_increase: float | None = None
    when: tuple[str, Sequence[Plain]] | None = None


@dataclass(frozen=True)
class Choices:
    """A parameter with one of these values: texts, numbers, or True and False. Nothing says how one of them compares
    with another, so with `safe` a value that was never tried is only tried where the bounds are far. `when` as for a
    `Range`."""

    values: Sequence[Plain]
    when: tuple[str, Sequence[Plain]] | None = None


@dataclass(frozen=True)
class Bound:
    """A measured quantity > 0 must stay at or below `max`, or at or above `min`; exactly one of them, > 0.

    `kind` chooses the priors: Errors range over orders of magnitude, Latency and Value over less.
    """

    max: float | None = None
    min: float | None = None
    kind: Kind = "Value"


@dataclass(frozen=True)
class Counts:
    """A ratio as it was counted: `bad` of `total` events. Few events say more this way than as a value with a standard
    error: no bad event at all is evidence too. `overdispersion` is their variance / binomial variance, >= 1."""

    bad: float
    total: float
    overdispersion: float = 1.0


@dataclass(frozen=True)
class Chosen(Categorical):
    """Choices as they were given; the model knows each by its text."""

    originals: tuple[Plain, ...] = ()

    def text(self, given: object) -> str | None:
        """The text of a value, None of what is no choice. 1 and True are equal to Python, but not meant alike."""
        if not isinstance(given, str | bool) and not is_number(given):
            return None
        for text, original in zip(self.values, self.originals, strict=True):
            if original == given and isinstance(original, bool) == isinstance(given, bool):
                return text
        return None

    def original(self, text: str) -> Plain:
        """The value of a text."""
        return self.originals[self.values.index(text)]


@dataclass(frozen=True)
class FunctionCost:
    """Any known cost of an assignment. The function's address is not part of the repr, of which digests are made.

    `odd` is the first place that was met where the function gives no finite number, in words; it decides nothing.
    """

    function: Known = field(repr=False)
    space: SearchSpace
    odd: list[str] = field(default_factory=list, repr=False, compare=False)

    def hourly(self, assignment: Assignment) -> float:
        """Infinite where the function gives no finite number or raises: under `LARGEST` that is never tried."""
        why, found = self.value(assignment)
        if why and not self.odd:
            self.odd.append(f"the objective {why} at {self.space.describe(assignment)}")
        return math.inf if why else found

    def value(self, assignment: Assignment) -> tuple[str, float]:
        """(what is wrong with it, its value); "" where nothing is."""
        try:
            given = self.function(plain(self.space, assignment))
        except Exception as error:  # a person's own function: it may be undefined somewhere in the space
            return f"raised {type(error).__name__}: {error}", math.inf
        found = as_float(given) if is_number(given) else math.nan
        return ("", found) if math.isfinite(found) else (f"is {shown(given)}", math.inf)


def space_of(given: Mapping[str, Range | Choices], safe: bool) -> SearchSpace:
    """The space of these parameters; without `safe` steps have no limit.

    Raises:
        TypeError: something is of the wrong kind.
        ValueError: names the parameter or its condition that makes no sense.
    """
    if not by_name("space", given, "Range and Choices"):
        raise ValueError("space: give at least one parameter")
    space = SearchSpace(tuple(_parameter(name, each, safe) for name, each in given.items()))
    if space.misplaced():
        raise ValueError(space.misplaced())
    return space


def _parameter(name: str, given: object, safe: bool) -> Parameter:
    if isinstance(given, Choices):
        return Parameter(name, PlainValue(), _choices(name, given), when=_when(name, given))
    if not isinstance(given, Range):
        raise TypeError(f"{name}: give a Range or Choices, not {shown(given)}")
    domain = _grid(name, given)
    safer = chosen(f"{name}: safer", given.safer, tuple(_DIRECTIONS))
    down = _limit(f"{name}: max_decrease", given.max_decrease, 1.0)
    up = _limit(f"{name}: max_increase", given.max_increase, _MOST_INCREASE)
    down, up = (down, up) if safe else (_NO_LIMIT, _NO_LIMIT)
    return Parameter(name, PlainValue(_DIRECTIONS[safer]), domain, down, up, _when(name, given))


def _choices(name: str, given: Choices) -> Chosen:
    values = tuple(several(f"{name}: choices", given.values, "a tuple of values"))
    for value in values:
        if not isinstance(value, str | bool) and not is_number(value):
            raise TypeError(f"{name}: the choice {shown(value)} is no text, number, True or False")
    texts = tuple(str(value) for value in values)
    if len(set(texts)) != len(texts) or not texts:
        raise ValueError(f"{name}: choices must be given, each once; these are {', '.join(texts) or 'none'}")
    return Chosen(texts, values)  # type: ignore[arg-type]  # as the loop has seen


def _grid(name: str, given: Range) -> Numeric:
    low, high = number(f"{name}: low", given.low), number(f"{name}: high", given.high)
    step = number(f"{name}: step", given.step, above=0)
    scale = Scale(chosen(f"{name}: scale", given.scale, get_args(ScaleName)))
    if low > high:
        raise ValueError(f"{name}: low {low} must not be above high {high}")
    if scale is Scale.LOG and low <= 0:
        raise ValueError(f"{name}: a Log scale begins above 0, not at {low}")
    if scale is Scale.LOGIT and not 0 <= low <= high <= 100:
        raise ValueError(f"{name}: a Logit scale is for percentages from 0 to 100, not from {low} to {high}")
    integer = isinstance(given.low, Integral) and isinstance(given.step, Integral)
    domain = Numeric(_exact(low), _exact(high), _exact(step), scale, integer)
    if domain.maximum - domain.minimum > MAX_GRID * domain.step:
        raise ValueError(f"{name}: step {step} divides the range into more than {MAX_GRID}; give a larger step")
    return domain


def _limit(what: str, given: float | None, most: float) -> float | None:
    return None if given is None else number(what, given, above=0, most=most, remedy="it is a fraction: 0.3 is 30 %")


def _when(name: str, given: Range | Choices) -> When | None:
    if given.when is None:
        return None
    words = 'a pair like ("gc", ["parallel"])'
    pair = tuple(several(f"{name}: when", given.when, words))
    if len(pair) != 2 or not isinstance(pair[0], str):
        raise TypeError(f"{name}: when: give {words}, not {shown(given.when)}")
    return When(pair[0], tuple(map(str, several(f"{name}: when", pair[1], words))))


def target_of(name: str, bound: object) -> ConstraintTarget:
    """A bound as the model learns it.

    Raises:
        TypeError: no `Bound`, or a limit that is no number.
        ValueError: names the bound that has none of min and max, both, or one that is not above 0.
    """
    if not isinstance(bound, Bound):
        raise TypeError(f"{name}: give a Bound like Bound(max=0.3), not {shown(bound)}")
    given = bound.max if bound.max is not None else bound.min
    if given is None or (bound.max is not None and bound.min is not None):
        raise ValueError(f"{name}: give one of max and min, above 0")
    limit = number(f"{name}: {'min' if bound.max is None else 'max'}", given, above=0)
    kind = chosen(f"{name}: kind", bound.kind, get_args(Kind))
    return ConstraintTarget(name, SliKind(kind), limit, upper=bound.max is not None)


def objectives_of(given: object, acquisition: str) -> tuple[Objective, ...]:
    """One or two, which the acquisition function fits.

    Raises:
        TypeError: neither a function nor a name, nor a tuple of these.
        ValueError: says what does not fit, and what would.
    """
    wanted = given if isinstance(given, tuple) else (given,)
    for each in wanted:
        if not isinstance(each, str) and not callable(each):
            words = "a function of an assignment, the name of a measured quantity, or a tuple of two of these"
            raise TypeError(f"objective: give {words}, not {shown(each)}")
    chosen("acquisition", acquisition, get_args(Acquisition))
    _check_objectives(wanted, acquisition)
    return wanted


def _check_objectives(wanted: tuple[Objective, ...], acquisition: str) -> None:
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
        TypeError: no dict, or a value of the wrong kind.
        ValueError: a parameter is unknown or missing, or its value is none that it has.
    """
    by_name("assignment" if baseline is not None else "baseline", given, "values")
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
    if isinstance(parameter.domain, Chosen):
        text = parameter.domain.text(given)
        if text is None:
            raise ValueError(f"{parameter.name}: {given!r} is none of {', '.join(parameter.domain.values)}")
        return text
    return _exact(number(parameter.name, given))


def plain(space: SearchSpace, assignment: Assignment) -> dict[str, Plain]:
    """An assignment as people write it: choices as they were given, whole numbers of a range of them as integers."""
    return {p.name: _written(p.domain, assignment[p.name]) for p in space.parameters}


def _written(domain: Numeric | Categorical, value: Value) -> Plain:
    if isinstance(value, str):
        return domain.original(value) if isinstance(domain, Chosen) else value
    whole = isinstance(domain, Numeric) and domain.integer and value == value.to_integral_value()
    return int(value) if whole else float(value)


def sample_of(name: str, given: object) -> Sample:
    """A reading of the quantity of this name.

    Raises:
        TypeError: neither a pair of numbers nor `Counts`.
        ValueError: numbers that are not finite, below 0, or counts that contradict each other.
    """
    if isinstance(given, Counts):
        return _counted(name, given)
    value, error = _pair(name, given)
    if not (math.isfinite(value) and math.isfinite(error)) or value < 0 or error < 0:
        raise ValueError(f"{name}: ({value}, {error}) is not a value >= 0 with a standard error >= 0")
    return Sample(value, error, 1.0)


def _counted(name: str, given: Counts) -> Sample:
    numbers = [each for each in (given.bad, given.total, given.overdispersion) if is_number(each)]
    if len(numbers) < 3:
        raise TypeError(f"{name}: {given} has what is not a number")
    bad, total, spread = map(as_float, numbers)
    if not (all(map(math.isfinite, (bad, total, spread))) and 0 <= bad <= total and total > 0 and spread >= 1):
        raise ValueError(f"{name}: {given} is not 0 <= bad <= total, total > 0, overdispersion >= 1")
    share = bad / total
    return Sample(share, math.sqrt(spread * share * (1 - share) / total), total, bad, spread)


def _pair(name: str, given: Any) -> tuple[float, float]:
    try:
        value, error = given
    except (TypeError, ValueError):
        value = error = None
    if not (is_number(value) and is_number(error)):
        raise TypeError(f"{name}: give (value, standard error) in numbers, or Counts, not {shown(given)}")
    return as_float(value), as_float(error)


def load_of(context: Mapping[str, float] | None) -> float | None:
    """The load of a context, None where it is not given.

    Raises:
        TypeError: no dict, or a load that is no number.
        ValueError: another name, or a load that is not above 0.
    """
    if context is None:
        return None
    for name in by_name("context", context, "a load"):
        if name != "load":
            raise ValueError(f"context: {name!r} is not known; give load")
    return number("context: load", context["load"], above=0) if "load" in context else None


def _exact(value: float) -> Decimal:
    return Decimal(repr(value))
