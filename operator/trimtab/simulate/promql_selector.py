"""Vector selectors of PromQL: which series they mean."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import promql_parser as promql

from trimtab.simulate.tracks import Labels


class Selector:
    """A vector selector, read once. `key` identifies it."""

    __slots__ = ("key", "matchers", "name")

    def __init__(self, node: Any) -> None:
        self.name: str = node.name or ""
        self.matchers = tuple((m.name, _test(m)) for m in node.matchers.matchers)
        self.key: str = node.prettify()

    def matches(self, labels: Labels) -> bool:
        """Does a series with these labels match?"""
        if self.name and ("__name__", self.name) not in labels:
            return False
        found = dict(labels)
        return all(test(found.get(name, "")) for name, test in self.matchers)


def _test(matcher: Any) -> Callable[[str], bool]:
    value = matcher.value
    match matcher.op:
        case promql.MatchOp.Equal:
            return lambda text: bool(text == value)
        case promql.MatchOp.NotEqual:
            return lambda text: bool(text != value)
        case promql.MatchOp.Re:
            wanted = re.compile(value)
            return lambda text: wanted.fullmatch(text) is not None
        case _:
            unwanted = re.compile(value)
            return lambda text: unwanted.fullmatch(text) is None


__all__ = ["Selector"]
