"""Label selectors in the API server's text form: `a`, `!a`, `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from trimtab.domain.errors import Rejected

Matches = Callable[[Mapping[str, str]], bool]

_KEY = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_EQUAL = re.compile(rf"({_KEY})\s*(!=|==|=)\s*([-A-Za-z0-9_.]*)")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")


def parse_selector(text: str) -> Matches:
    """A predicate on labels.

    Raises:
        Rejected: the text is not a selector.
    """
    terms = [_term(part.strip()) for part in _split(text) if part.strip()]
    return lambda labels: all(term(labels) for term in terms)


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


__all__ = ["Matches", "parse_selector"]
