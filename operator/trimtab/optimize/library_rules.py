"""Rules between parameters and floors, as people give them to the library: checked before the first trial is spent.

By interval arithmetic over what each parameter may be: [floor or least grid value, greatest grid value], and for one
with a condition the baseline's value, which it has while it is not active. A rule that fails at the favourable ends
holds nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from trimtab.domain.space import SLACK, Assignment, Numeric, Order, ParameterConstraint, Ratio, SearchSpace, Sum
from trimtab.optimize.library_checks import by_name, number, several, shown

Interval = tuple[float, float]


def ruled(space: SearchSpace, given: object) -> SearchSpace:
    """The space under these rules.

    Raises:
        TypeError: something is of the wrong kind.
        ValueError: names the rule that has a number that is not finite, or a parameter that is none or not numeric.
    """
    rules = tuple(_rule(each) for each in several("rules", given, "a list of Order, Sum and Ratio"))
    numeric = {p.name for p in space.parameters if isinstance(p.domain, Numeric)}
    for rule in rules:
        odd = [n for n in _names(rule) if n not in numeric]
        if odd:
            raise ValueError(f"rules: {rule.name} needs numeric parameters, {odd[0]} is none")
    return replace(space, constraints=rules)


def floors_of(space: SearchSpace, given: object) -> tuple[tuple[str, float], ...]:
    """Least values by parameter.

    Raises:
        TypeError: no dict, or a floor that is no number.
        ValueError: names a parameter that is unknown or a category, or a floor that is not finite or above the range.
    """
    greatest = {p.name: float(p.domain.grid()[-1]) for p in space.parameters if isinstance(p.domain, Numeric)}
    found = []
    for name, least in by_name("floors", given, "least values").items():
        if name not in greatest:
            raise ValueError(f"floors: {name} is no numeric parameter of this space")
        remedy = f"the values of {name} end there: raise its high or lower the floor"
        found.append((name, number(f"floors: {name}", least, most=greatest[name] * SLACK, remedy=remedy)))
    return tuple(found)


def check_rules(space: SearchSpace, baseline: Assignment, floors: tuple[tuple[str, float], ...]) -> None:
    """See that each rule can hold, and that what runs today keeps them all: every step starts there.

    Raises:
        ValueError: names the rule, with numbers.
    """
    intervals = _intervals(space, baseline, dict(floors))
    for rule in space.constraints:
        why = _impossible(rule, intervals)
        if why:
            raise ValueError(f"rules: {rule.name} holds nowhere in this space: {why}; widen the rule or a range")
    broken = space.violated(baseline)
    if broken is not None:
        today = space.describe(baseline)
        raise ValueError(f"rules: {broken.name} is broken by the baseline ({today}); widen it until that is allowed")


def _rule(given: Any) -> ParameterConstraint:
    if isinstance(given, Order):
        return given
    if isinstance(given, Ratio):
        return replace(given, maximum=number(f"rules: {given.name}: maximum", given.maximum))
    if not isinstance(given, Sum):
        raise TypeError(f"rules: {shown(given)} is no Order, Sum or Ratio")
    words, terms = 'terms like (("a", 1.0), ("b", 1.0))', []
    for term in several(f"rules: {given.name}", given.terms, words):
        pair = tuple(several(f"rules: {given.name}", term, words))
        if len(pair) != 2 or not isinstance(pair[0], str):
            raise TypeError(f"rules: {given.name}: give {words}, not {shown(given.terms)}")
        terms.append((pair[0], number(f"rules: {given.name}: the weight of {pair[0]}", pair[1])))
    return Sum(given.name, tuple(terms), number(f"rules: {given.name}: maximum", given.maximum))


def _names(rule: ParameterConstraint) -> tuple[str, ...]:
    if isinstance(rule, Sum):
        return tuple(name for name, _ in rule.terms)
    return (rule.lower, rule.upper) if isinstance(rule, Order) else (rule.of, rule.to)


def _intervals(space: SearchSpace, baseline: Assignment, floors: Mapping[str, float]) -> dict[str, Interval]:
    found = {}
    for parameter in space.parameters:
        if isinstance(parameter.domain, Numeric):
            values = [float(v) for v in (parameter.domain.minimum, parameter.domain.grid()[-1])]
            values[0] = max(values[0], floors.get(parameter.name, values[0]))
            values += [float(baseline.number(parameter.name))] if parameter.when is not None else []
            found[parameter.name] = min(values), max(values)
    return found


def _impossible(rule: ParameterConstraint, within: Mapping[str, Interval]) -> str:
    """Why it holds nowhere, "" where it may."""
    if isinstance(rule, Order):
        least, most = within[rule.lower][0], within[rule.upper][1]
        return f"{rule.lower} is at least {least:g}, {rule.upper} at most {most:g}" if least > most else ""
    if isinstance(rule, Ratio):
        least, most = within[rule.of][0], max(rule.maximum * end for end in within[rule.to])
        words = f"{rule.of} is at least {least:g}, {rule.maximum:g} x {rule.to} at most {most:g}"
        return words if least > most * SLACK else ""
    least = sum(min(weight * end for end in within[name]) for name, weight in rule.terms)
    return f"its sum is at least {least:g}, its maximum {rule.maximum:g}" if least > rule.limit else ""
