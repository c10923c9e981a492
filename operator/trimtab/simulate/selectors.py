"""Label selectors in the API server's text form: `a`, `!a`, `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from trimtab.domain.errors import Rejected

Matches = Callable[[Mapping[str, str]], bool]

_KEY = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_EQUAL = re.compile(rf"({_KEY})\s*(!=|==|=)\s*([-A-Za-z0-9_.]*)")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")


@dataclass(frozen=True)
class Selector:
    """A parsed selector. `equal` are the labels that it demands by value, by which an index can be asked first."""

    terms: tuple[Matches, ...]
    equal: tuple[tuple[str, str], ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Do these labels fulfil all terms?"""
        return all(term(labels) for term in self.terms)


@lru_cache(maxsize=4096)
def parse_selector(text: str) -> Selector:
    """Read a selector.

    Raises:
        Rejected: the text is not a selector.
    """
    parts = [part.strip() for part in _split(text) if part.strip()]
    found = [match for part in parts if (match := _EQUAL.fullmatch(part)) is not None]
    equal = tuple((match[1], match[4]) for match in found if match[3] != "!=")
    return Selector(tuple(_term(part) for part in parts), equal)


def _split(text: str) -> list[str]:
    """Split at the commas outside of parentheses."""
    return re.split(r",(?![^()]*\))", text)


def _term(text: str) -> Matches:
    if found := _SET.fullmatch(text):
        key, wanted = found[1], {value.strip() for value in found[4].split(",")}
        if found[3] == "in":
            return lambda labels: labels.get(key) in wanted
        return lambda labels: labels.get(key) not in wanted
    if found := _EQUAL.fullmatch(text):
        key, value = found[1], found[4]
        if found[3] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTS.fullmatch(text):
        key = found[2]
        return (lambda labels: key not in labels) if found[1] else (lambda labels: key in labels)
    raise Rejected(400, f"unable to parse requirement: {text!r}")


__all__ = ["Selector", "parse_selector"]
