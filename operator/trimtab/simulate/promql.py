"""As much of PromQL as SLIs are written in, evaluated over tracks the way Prometheus 3 does.

Ranges are left-open, an instant value is at most five minutes old and gone with its target, `rate` and `increase`
extrapolate as Prometheus' `extrapolatedRate` does. What is not here raises `NotSimulated` with its name: a simulation
that guessed would be worse than one that refuses.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from trimtab.simulate.promql_selector import Selector
from trimtab.simulate.promql_tree import Node, NotSimulated, parsed, range_vector
from trimtab.simulate.tracks import Labels, Point, Track, without_name

Row = tuple[Labels, float]
Value = list[Row] | float


class Source(Protocol):
    """Where series come from."""

    def matching(self, selector: Selector) -> Iterable[Track]:
        """Series that match, complete up to now."""
        ...


def instant(source: Source, expression: str, at: float) -> list[Row]:
    """An instant vector; a scalar is one row without labels.

    Raises:
        ValueError: it is not PromQL.
        NotSimulated: it is, but not of the part that is here.
    """
    found = _value(parsed(expression), source, at)
    return [((), found)] if isinstance(found, float) else found


def matrix(source: Source, expression: str, at: float) -> list[tuple[Labels, list[Point]]] | None:
    """Raw samples of a range vector (`metric[10s]`); None when the expression is none."""
    asked = range_vector(expression)
    if asked is None:
        return None
    selector, seconds = asked
    found = ((t.labels, t.between(at - seconds, at)) for t in source.matching(selector))
    return [(labels, points) for labels, points in found if points]


def _value(node: Node, source: Source, at: float) -> Value:
    match node.kind:
        case "VectorSelector":
            assert node.selector is not None
            found = ((t.labels, t.at(at)) for t in source.matching(node.selector))
            return [(labels, point[1]) for labels, point in found if point is not None]
        case "NumberLiteral":
            return float(node.words)
        case "ParenExpr":
            return _value(node.parts[0], source, at)
        case "UnaryExpr":
            inner = _value(node.parts[0], source, at)
            return -inner if isinstance(inner, float) else [(without_name(labels), -v) for labels, v in inner]
        case "Call":
            return _call(node, source, at)
        case "AggregateExpr":
            return _aggregated(node, _value(node.parts[0], source, at))
        case "BinaryExpr":
            return _binary(node, _value(node.parts[0], source, at), _value(node.parts[1], source, at))
    raise NotSimulated(node.kind)


# Functions


def _call(node: Node, source: Source, at: float) -> Value:
    name, args = node.words, node.parts
    if name in RANGED:
        return _ranged(name, args[-1], source, at)
    if name == "timestamp" and args[0].selector is not None:
        found = ((t.labels, t.at(at)) for t in source.matching(args[0].selector))
        return [(without_name(labels), point[0]) for labels, point in found if point is not None]
    if name == "label_replace":
        return _labelled(_value(args[0], source, at), *(str(a.words) for a in args[1:]))
    if name not in KNOWN:
        raise NotSimulated(f"{name}()")
    values = [_value(a, source, at) for a in args]
    if name == "scalar" and isinstance(values[0], list):
        return values[0][0][1] if len(values[0]) == 1 else math.nan
    if name == "vector" and isinstance(values[0], float):
        return [((), values[0])]
    if name == "histogram_quantile" and isinstance(values[0], float) and isinstance(values[1], list):
        return _histogram_quantile(values[0], values[1])
    if name in NATIVE and isinstance(values[-1], list):
        return []  # of native histograms, which nothing here exposes: Prometheus leaves plain numbers out
    if name in PLAIN and isinstance(values[0], list):
        rest = [v for v in values[1:] if isinstance(v, float)]
        return [(without_name(labels), PLAIN[name](v, *rest)) for labels, v in values[0]]
    raise NotSimulated(f"{name}()")


def _labelled(rows: Value, label: str, value: str, source: str, pattern: str) -> Value:
    """`label_replace` where it gives every row one label."""
    if isinstance(rows, float) or source or pattern:
        raise NotSimulated("label_replace() from another label")
    return [(tuple(sorted({**dict(labels), label: value}.items())), v) for labels, v in rows]


PLAIN: dict[str, Callable[..., float]] = {
    "abs": abs,
    "ceil": lambda v: float(math.ceil(v)) if math.isfinite(v) else v,
    "floor": lambda v: float(math.floor(v)) if math.isfinite(v) else v,
    "clamp_min": lambda v, low: max(v, low),
    "clamp_max": lambda v, high: min(v, high),
    "sqrt": lambda v: math.sqrt(v) if v >= 0 else math.nan,
    "ln": lambda v: math.log(v) if v > 0 else (-math.inf if v == 0 else math.nan),
}

OVER_TIME: dict[str, Callable[[Sequence[float]], float]] = {
    "avg_over_time": lambda v: math.fsum(v) / len(v),
    "min_over_time": min,
    "max_over_time": max,
    "sum_over_time": math.fsum,
    "count_over_time": lambda v: float(len(v)),
    "last_over_time": lambda v: v[-1],
    "present_over_time": lambda _: 1.0,
}

RANGED = frozenset({"rate", "increase", "delta", "irate", *OVER_TIME})


def _ranged(name: str, node: Node, source: Source, at: float) -> list[Row]:
    if node.kind != "MatrixSelector" or node.selector is None:
        raise NotSimulated(f"{name}() of anything but a range of samples")
    start, rows = at - node.seconds, []
    for track in source.matching(node.selector):
        if name in ("rate", "increase"):
            value = _increase(track, start, at)
            value = None if value is None else value / node.seconds if name == "rate" else value
        else:
            value = _over(name, track.between(start, at))
        if value is not None:
            rows.append((track.nameless, value))
    return rows


def _over(name: str, points: list[Point]) -> float | None:
    values = [v for _, v in points]
    if name in OVER_TIME:
        return OVER_TIME[name](values) if values else None
    if len(points) < 2:
        return None
    if name == "delta":
        return values[-1] - values[0]
    (t0, v0), (t1, v1) = points[-2:]  # irate
    return (v1 - v0 if v1 >= v0 else v1) / (t1 - t0)


def _increase(track: Track, start: float, end: float) -> float | None:
    """Prometheus' extrapolatedRate for a counter: to the range's edges where samples come near them, else by half of
    their distance, and never to below zero."""
    grown = track.growth(start, end)
    if grown is None:
        return None
    (first_time, first), (last_time, last) = grown.first, grown.last
    increase, sampled = last - first + grown.lost, last_time - first_time
    between = sampled / (grown.samples - 1)
    before, after = first_time - start, end - last_time
    if before >= 1.1 * between:
        before = between / 2
    if increase > 0 and first >= 0:
        before = min(before, sampled * first / increase)
    if after >= 1.1 * between:
        after = between / 2
    return increase * (sampled + before + after) / sampled


def _histogram_quantile(q: float, rows: list[Row]) -> list[Row]:
    """Interpolated within its bucket, as Prometheus does for classic histograms."""
    groups: dict[Labels, list[tuple[float, float]]] = {}
    for labels, value in rows:
        bound = dict(labels).get("le")
        if bound is not None:
            rest = tuple(pair for pair in labels if pair[0] not in ("le", "__name__"))
            groups.setdefault(rest, []).append((float(bound), value))
    return [(labels, _quantile(q, sorted(buckets))) for labels, buckets in groups.items()]


def _quantile(q: float, buckets: list[tuple[float, float]]) -> float:
    total = buckets[-1][1]
    if not math.isinf(buckets[-1][0]) or len(buckets) < 2 or not total > 0:
        return math.nan
    rank = q * total
    index = next((i for i, (_, count) in enumerate(buckets) if count >= rank), len(buckets) - 1)
    if math.isinf(buckets[index][0]):
        return buckets[-2][0]
    low, below = buckets[index - 1] if index else (0.0, 0.0)
    high, count = buckets[index]
    return low + (high - low) * (rank - below) / (count - below) if count > below else high


# Aggregations and operators


def _aggregated(node: Node, value: Value) -> list[Row]:
    if isinstance(value, float):
        raise NotSimulated("an aggregation of a scalar")
    aggregate = aggregation(node)
    groups: dict[Labels, list[float]] = {}
    for labels, number in value:
        groups.setdefault(group_of(node, labels), []).append(number)
    return [(labels, aggregate(values)) for labels, values in groups.items()]


def aggregation(node: Node) -> Callable[[Sequence[float]], float]:
    """What an aggregation makes of the numbers of one group.

    Raises:
        NotSimulated: it is not here.
    """
    found = AGGREGATIONS.get(node.words[0])
    if found is None:
        raise NotSimulated(node.words[0])
    return found


def group_of(node: Node, labels: Labels) -> Labels:
    """The labels that an aggregation leaves of these."""
    _, (by, names), _ = node.words
    if not names:
        return ()
    return tuple(p for p in labels if p[0] != "__name__" and (p[0] in names) == by)


AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "sum": math.fsum,
    "count": lambda v: float(len(v)),
    "max": max,
    "min": min,
    "avg": lambda v: math.fsum(v) / len(v),
    "group": lambda _: 1.0,
}


def _divided(a: float, b: float) -> float:
    if b == 0:
        return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a)
    return a / b


ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divided,
}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}


def _binary(node: Node, left: Value, right: Value) -> Value:
    sign, modifier = node.words
    if sign == "or" and isinstance(left, list) and isinstance(right, list) and _plain(modifier):
        mine = {without_name(labels) for labels, _ in left}
        return left + [row for row in right if without_name(row[0]) not in mine]
    if not _plain(modifier) or sign not in ARITHMETIC | COMPARISONS:
        raise NotSimulated(f"operator {sign} with on, ignoring or group" if sign in ARITHMETIC else f"operator {sign}")
    if isinstance(left, float) and isinstance(right, float):
        return _scalars(sign, left, right)
    if isinstance(right, float):
        pairs = [(labels, v, right) for labels, v in _rows(left)]
    elif isinstance(left, float):
        pairs = [(labels, left, v) for labels, v in right]
    else:
        other = {without_name(labels): v for labels, v in right}
        pairs = [(labels, v, other[without_name(labels)]) for labels, v in left if without_name(labels) in other]
    if sign in ARITHMETIC:
        return [(without_name(labels), ARITHMETIC[sign](a, b)) for labels, a, b in pairs]
    wants_bool = modifier is not None and modifier.return_bool
    kept = [(labels, a, COMPARISONS[sign](a, b)) for labels, a, b in pairs]
    if wants_bool:
        return [(without_name(labels), float(holds)) for labels, _, holds in kept]
    return [(labels, a) for labels, a, holds in kept if holds]


def _scalars(sign: str, left: float, right: float) -> float:
    return ARITHMETIC[sign](left, right) if sign in ARITHMETIC else float(COMPARISONS[sign](left, right))


def _rows(value: Value) -> list[Row]:
    return [((), value)] if isinstance(value, float) else value


def _plain(modifier: Any) -> bool:
    return modifier is None or (modifier.matching is None and not modifier.group_labels)


def selectors(expression: str) -> tuple[Selector, ...]:
    """Every vector selector in an expression; the names of functions that are not here raise.

    Raises:
        ValueError, NotSimulated: as `instant`.
    """
    found: list[Selector] = []

    def visit(node: Node) -> None:
        if node.selector is not None:
            found.append(node.selector)
        if node.kind == "Call" and node.words not in KNOWN:
            raise NotSimulated(f"{node.words}()")
        if node.kind == "AggregateExpr" and node.words[0] not in AGGREGATIONS:
            raise NotSimulated(node.words[0])
        if node.kind == "BinaryExpr" and not (_plain(node.words[1]) and node.words[0] in SIGNS):
            raise NotSimulated(f"operator {node.words[0]}")
        for part in node.parts:
            visit(part)

    visit(parsed(expression))
    return tuple(found)


NATIVE = frozenset({"histogram_count", "histogram_sum", "histogram_avg", "histogram_fraction"})
KNOWN = RANGED | PLAIN.keys() | NATIVE | {"timestamp", "scalar", "vector", "histogram_quantile"}
SIGNS = ARITHMETIC.keys() | COMPARISONS.keys() | {"or"}

__all__ = [
    "NotSimulated", "Row", "Selector", "Source", "aggregation", "group_of", "instant", "matrix", "selectors",
]  # fmt: skip
