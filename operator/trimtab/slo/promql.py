"""PromQL: the queries that Trimtab builds, and the bounds on those that people write.

Arms are told apart by pod name: `$selector` becomes `namespace="...",pod=~"<arm>-[a-z0-9]+-[a-z0-9]+"`. A person's
query is parsed, never pattern-matched.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import promql_parser

from trimtab.domain.errors import InvalidSpec
from trimtab.domain.names import pod_pattern
from trimtab.ports import PodSet

PLACEHOLDER = "$selector"
MAX_RANGE_SECONDS = 3600.0
STAND_IN = 'namespace="n",pod="p"'


def selector(pods: PodSet) -> str:
    """The matchers that pick these pods."""
    return f'namespace="{pods.namespace}",pod=~"{pod_pattern(pods.workloads)}"'


def inject(query: str, pods: PodSet) -> str:
    """Put the matchers where `$selector` stands."""
    return query.replace(PLACEHOLDER, selector(pods))


def with_matchers(metric: str, pods: PodSet, *more: str) -> str:
    """`metric{namespace=...,pod=~...,more}`."""
    return f"{metric}{{{','.join([selector(pods), *(m for m in more if m)])}}}"


def le_pattern(threshold: float) -> str:
    """Both spellings of a bucket bound: Prometheus 3 writes `1.0` where a program exposes `1`."""
    text = format(threshold, "g")
    spellings = {text, repr(float(threshold))}
    return "|".join(sorted(s.replace(".", "\\\\.").replace("+", "\\\\+") for s in spellings))


def check_query(field: str, query: str, *, plain_selector: bool = False) -> None:
    """Refuse what cannot be bounded: no `$selector`, `@`, `offset`, subqueries, long ranges.

    Args:
        field: for the message, e.g. `spec.slis[errors].ratio.bad`.
        plain_selector: only a vector selector is allowed; rate and sum are added by Trimtab.

    Raises:
        InvalidSpec: names the field, what is wrong and where.
    """
    if PLACEHOLDER not in query:
        raise InvalidSpec(field, "it has no $selector, so it would mix both arms", "write metric{$selector,...}")
    try:
        tree = promql_parser.parse(query.replace(PLACEHOLDER, STAND_IN))
    except ValueError as error:
        words = " ".join(str(error).split())[:200]
        raise InvalidSpec(field, f"not PromQL: {words}", "try it in Prometheus with $selector replaced") from None
    if plain_selector and not isinstance(tree, promql_parser.VectorSelector):
        raise InvalidSpec(field, "only a vector selector is allowed here", "remove functions; rate and sum are added")
    for node in walk(tree):
        _bounded(field, node)


def _bounded(field: str, node: Any) -> None:
    if isinstance(node, promql_parser.SubqueryExpr):
        raise InvalidSpec(field, "a subquery is not bounded", "use a recording rule instead")
    if getattr(node, "offset", None) is not None or getattr(node, "at", None) is not None:
        raise InvalidSpec(field, "offset and @ are not allowed", "Trimtab asks for absolute windows itself")
    if isinstance(node, promql_parser.MatrixSelector):
        selector_ = getattr(node, "vector_selector", None) or getattr(node, "vs", None)
        if selector_ is not None:
            _bounded(field, selector_)
        if node.range.total_seconds() > MAX_RANGE_SECONDS:
            raise InvalidSpec(field, f"range {node.range} is too long", "use at most 1h, or a recording rule")


def walk(node: Any) -> Iterator[Any]:
    """The node and everything below it."""
    yield node
    for name in ("expr", "lhs", "rhs", "args", "param"):
        child = getattr(node, name, None)
        if child is None:
            continue
        for each in child if isinstance(child, list | tuple) else (child,):
            if type(each).__module__.startswith("promql_parser"):
                yield from walk(each)


def label_names(query: str) -> tuple[str, ...]:
    """Labels that a vector selector matches on, without those of `$selector`."""
    tree = promql_parser.parse(query.replace(PLACEHOLDER, STAND_IN))
    if not isinstance(tree, promql_parser.VectorSelector):
        return ()
    return tuple(m.name for m in tree.matchers.matchers if m.name not in {"namespace", "pod"})
