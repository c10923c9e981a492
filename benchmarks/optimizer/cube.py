"""The axes of a task as a unit cube: log scale where an axis says so."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.optimizer.contract import Axis, Point

Floats = NDArray[np.float64]


class Space:
    """The axes as a unit cube and a grid."""

    def __init__(self, axes: Sequence[Axis]) -> None:
        self.axes = tuple(axes)
        self.d = len(self.axes)
        self._counts = [math.floor((a.high - a.low) / a.step + 1e-9) for a in self.axes]

    def unit(self, point: Point) -> Floats:
        """Shape: (d,)."""
        return np.asarray([_warp(a, point[a.name]) for a in self.axes])

    def point(self, u: Sequence[float] | Floats) -> dict[str, float]:
        """The grid point nearest to u, in the parameters' units."""
        found = {}
        for axis, count, share in zip(self.axes, self._counts, u, strict=True):
            share = min(max(float(share), 0.0), 1.0)
            value = (
                axis.low * (axis.high / axis.low) ** share if axis.log else axis.low + share * (axis.high - axis.low)
            )
            found[axis.name] = round(axis.low + axis.step * min(round((value - axis.low) / axis.step), count), 12)
        return found

    def centre(self) -> dict[str, float]:
        """Where a run starts that has no baseline."""
        return self.point([0.5] * self.d)


def centre(axes: Sequence[Axis]) -> dict[str, float]:
    """The grid point in the middle."""
    return Space(axes).centre()


def _warp(axis: Axis, value: float) -> float:
    if axis.log:
        return math.log(value / axis.low) / math.log(axis.high / axis.low)
    return (value - axis.low) / (axis.high - axis.low)
