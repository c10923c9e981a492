"""Range queries: one expression at many times. An aggregation of plain series, which is asked for hundreds of times at
once, looks through each series a single time; everything else is evaluated time by time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trimtab.simulate.promql import Source, aggregation, group_of, instant
from trimtab.simulate.promql_tree import Node, parsed
from trimtab.simulate.tracks import Labels, Point, Track


def over(source: Source, expression: str, times: Sequence[float]) -> dict[Labels, list[Point]]:
    """What `instant` says at each of these times, ascending, by series.

    Raises:
        ValueError, NotSimulated: as `instant`.
    """
    node, rows = parsed(expression), dict[Labels, list[Point]]()
    inner = node.parts[0] if node.kind == "AggregateExpr" else None
    if inner is not None and inner.selector is not None and inner.kind == "VectorSelector":
        return _aggregated(node, list(source.matching(inner.selector)), times)
    if inner is not None and inner.kind == "Call" and inner.words == "timestamp":
        (of,) = inner.parts
        if of.selector is not None and not any(True for _ in source.matching(of.selector)):
            return rows  # hundreds of looks at nothing, as when no alert fires
    for at in times:
        for labels, value in instant(source, expression, at):
            rows.setdefault(labels, []).append((at, value))
    return rows


def _aggregated(node: Node, tracks: Sequence[Track], times: Sequence[float]) -> dict[Labels, list[Point]]:
    """An aggregation of a selector at each time, with each series looked through once."""
    aggregate, moments = aggregation(node), np.asarray(times)
    groups: dict[Labels, list[list[float | None]]] = {}
    for track in tracks:
        groups.setdefault(group_of(node, track.labels), []).append(track.at_each(moments))
    rows: dict[Labels, list[Point]] = {}
    for group, columns in groups.items():
        there = [[v for v in row if v is not None] for row in zip(*columns, strict=True)]
        points = [(at, aggregate(values)) for at, values in zip(times, there, strict=True) if values]
        if points:
            rows[group] = points
    return rows


__all__ = ["over"]
