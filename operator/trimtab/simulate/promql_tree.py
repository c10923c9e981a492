"""Syntax trees of PromQL, as the simulated store evaluates them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import promql_parser as promql

from trimtab.simulate.promql_selector import Selector

WHOLE_SECONDS = re.compile(r"[1-9]\d*s\]", re.ASCII)


class NotSimulated(Exception):
    """A function or an operator that this evaluator does not have; the message names it."""


@lru_cache(maxsize=4096)
def parsed(expression: str) -> Node:
    """The syntax tree, with every vector selector read.

    Raises:
        ValueError: it is not PromQL.
    """
    return Node.of(promql.parse(expression))


class Node:
    """A syntax tree in Python: looking into the parser's own costs a copy each time."""

    __slots__ = ("kind", "parts", "seconds", "selector", "words")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.parts: list[Node] = []
        self.words: Any = None
        self.selector: Selector | None = None
        self.seconds = 0.0

    @classmethod
    def of(cls, tree: Any) -> Node:
        node = cls(type(tree).__name__)
        match tree:
            case promql.VectorSelector():
                node.selector = Selector(tree)
            case promql.MatrixSelector():
                node.selector, node.seconds = Selector(tree.vector_selector), tree.range.total_seconds()
            case promql.Call():
                node.words, node.parts = tree.func.name, [cls.of(a) for a in tree.args]
            case promql.AggregateExpr():
                node.words = (str(tree.op), _grouping(tree.modifier), tree.param)
                node.parts = [cls.of(tree.expr)]
            case promql.BinaryExpr():
                node.words, node.parts = (str(tree.op), tree.modifier), [cls.of(tree.lhs), cls.of(tree.rhs)]
            case promql.ParenExpr() | promql.UnaryExpr():
                node.parts = [cls.of(tree.expr)]
            case promql.NumberLiteral() | promql.StringLiteral():
                node.words = tree.val
            case _:
                raise NotSimulated(type(tree).__name__)
        return node


def _grouping(modifier: Any) -> tuple[bool, frozenset[str]]:
    """(by rather than without, labels)."""
    if modifier is None:
        return True, frozenset()
    return modifier.type == promql.AggModifierType.By, frozenset(modifier.labels)


def range_vector(expression: str) -> tuple[Selector, float] | None:
    """Selector and seconds of a range vector, None of anything else. The seconds differ at each
    look at a growing window, so the selector is parsed, and remembered, without them.

    Raises:
        ValueError: it is not PromQL.
    """
    before, _, length = expression.rpartition("[")
    if WHOLE_SECONDS.fullmatch(length):
        node = parsed(before)
        if node.kind == "VectorSelector" and node.selector is not None:
            return node.selector, float(length.removesuffix("s]"))
    node = parsed(expression)
    return (node.selector, node.seconds) if node.kind == "MatrixSelector" and node.selector is not None else None


__all__ = ["Node", "NotSimulated", "parsed", "range_vector"]
