"""Whether what a person gives is of the kind and of the size that it must be. Every message names the argument."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from numbers import Integral, Real
from typing import TypeGuard

MOST_SHOWN = 80  # letters


def is_number(given: object) -> TypeGuard[Real | Decimal]:
    """A number, be it none of its size; True and False are none."""
    return isinstance(given, Real | Decimal) and not isinstance(given, bool)


def as_float(given: Real | Decimal) -> float:
    """The nearest float, infinite where there is none."""
    try:
        return float(given)
    except OverflowError:
        return math.inf


def number(
    what: str,
    given: object,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
    remedy: str = "",
) -> float:
    """A finite number > `above`, >= `least`, < `below` and <= `most`.

    Raises:
        TypeError: no number.
        ValueError: not finite, or of another size.
    """
    if not is_number(given):
        raise TypeError(f"{what}: {shown(given)} is not a number")
    found = as_float(given)
    if not math.isfinite(found):
        raise ValueError(f"{what}: {shown(given)} is not a finite number")
    if not (above < found < below and least <= found <= most):
        wanted = (("above", above), ("at least", least), ("below", below), ("at most", most))
        words = " and ".join(f"{word} {limit:g}" for word, limit in wanted if math.isfinite(limit))
        raise ValueError(f"{what}: {shown(given)} is not {words}{f'; {remedy}' if remedy else ''}")
    return found


def whole(what: str, given: object, least: int) -> int:
    """A whole number of at least `least`.

    Raises:
        TypeError: no whole number.
        ValueError: less.
    """
    if not isinstance(given, Integral) or isinstance(given, bool):
        raise TypeError(f"{what}: {shown(given)} is not a whole number")
    if given < least:
        raise ValueError(f"{what}: {given} is not at least {least}")
    return int(given)


def chosen(what: str, given: object, choices: Sequence[str]) -> str:
    """One of the choices.

    Raises:
        ValueError: none of them; says which there are.
    """
    if not isinstance(given, str) or given not in choices:
        meant = [f"; write {c!r}" for c in choices if isinstance(given, str) and c.lower() == given.lower()]
        raise ValueError(f"{what}: {shown(given)} is none of {', '.join(choices)}{''.join(meant)}")
    return given


def by_name(what: str, given: object, words: str) -> Mapping[str, object]:
    """A mapping whose keys are names.

    Raises:
        TypeError: something else.
    """
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise TypeError(f"{what}: give a dict of {words} by name, not {shown(given)}")
    return given


def several(what: str, given: object, words: str) -> Iterable[object]:
    """A list or a tuple; of a text the letters are not meant.

    Raises:
        TypeError: something else.
    """
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise TypeError(f"{what}: give {words}, not {shown(given)}")
    return given


def shown(given: object) -> str:
    """As much of it as fits into a message."""
    text = repr(given)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…"
