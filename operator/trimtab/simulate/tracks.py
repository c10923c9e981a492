"""Series of a simulated metrics store: samples of one counter or gauge, cheap to append, to cut and to sum up."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Labels = tuple[tuple[str, str], ...]
Point = tuple[float, float]

LOOKBACK = 300.0  # an instant value is at most this old, in seconds


class Growth(NamedTuple):
    """What `increase()` needs of a counter over one range: its ends, how many samples, and what resets took away."""

    samples: int
    first: Point
    last: Point
    lost: float


class Track:
    """One series. `times` may be shared by all series of one target: they are scraped together.

    `past` are samples before the first of `times`, shared and never changed; the live ones go on from their last
    value. `ended` (unix seconds) is when the target vanished: no instant value is answered from then on.
    """

    __slots__ = ("_drops", "ended", "labels", "nameless", "past", "times", "values")

    def __init__(self, labels: Labels, times: list[float], values: list[float], past: Past | None = None) -> None:
        self.labels, self.times, self.values, self.past = labels, times, values, past
        self.nameless = without_name(labels)
        self.ended: float | None = None
        self._drops: list[Point] = []  # (time, value before) of each reset, ascending

    @property
    def name(self) -> str:
        """The metric's name."""
        return dict(self.labels).get("__name__", "")

    def extend(self, values: list[float], times: list[float]) -> None:
        """Add samples, of `times` (which the caller adds). Only the first may be of a counter that started again."""
        before = self.values[-1] if self.values else self.past.values[-1] if self.past is not None else 0.0
        if values and values[0] < before:
            self._drops.append((times[-len(values)], before))
        self.values += values

    def between(self, start: float, end: float) -> list[Point]:
        """Samples in (start, end]."""
        low, high = bisect_right(self.times, start), bisect_right(self.times, end)
        found = list(zip(self.times[low:high], self.values[low:high], strict=True))
        if self.past is None or (self.times and start >= self.past.times[-1]):
            return found
        return self.past.between(start, end) + found

    def at(self, moment: float, lookback: float = LOOKBACK) -> Point | None:
        """The newest sample that an instant query sees."""
        if self.ended is not None and moment >= self.ended:
            return None
        index = bisect_right(self.times, moment) - 1
        found = (self.times[index], self.values[index]) if index >= 0 else None
        if found is None and self.past is not None:
            found = self.past.at(moment)
        return found if found is not None and found[0] > moment - lookback else None

    def at_each(self, moments: NDArray[np.float64]) -> list[float | None]:
        """The values that instant queries see at these moments (unix seconds, ascending); None where they see none."""
        found = _newest(np.array(self.times), self.values, moments)
        if self.past is not None:
            before = int(np.searchsorted(moments, self.times[0])) if self.times else len(moments)
            found[:before] = _newest(self.past.moments, self.past.values, moments[:before])
        if self.ended is not None:
            end = int(np.searchsorted(moments, self.ended))
            found[end:] = [None] * (len(found) - end)
        return found

    def growth(self, start: float, end: float) -> Growth | None:
        """Over (start, end]; None with fewer than two samples."""
        times, values, past = self.times, self.values, self.past
        low, high = bisect_right(times, start), bisect_right(times, end)
        count, first, last = high - low, None, None
        if count:
            first, last = (times[low], values[low]), (times[high - 1], values[high - 1])
        if past is not None and start < past.times[-1]:
            low, high = bisect_right(past.times, start), bisect_right(past.times, end)
            if high > low:
                count += high - low
                first, last = past.point(low), last or past.point(high - 1)
        if count < 2 or first is None or last is None:
            return None
        lost = sum(value for time, value in self._drops if first[0] < time <= last[0]) if self._drops else 0.0
        return Growth(count, first, last, lost)

    def forget(self, resets_before: float) -> None:
        """Resets before this time are not asked for any more."""
        self._drops = [d for d in self._drops if d[0] >= resets_before]


@dataclass(frozen=True, eq=False)
class Past:
    """Samples that nobody adds to any more; shared by all who have the same past."""

    times: Sequence[float]
    values: Sequence[float]

    @cached_property
    def moments(self) -> NDArray[np.float64]:
        """The times as an array, shape (len(times),)."""
        return np.array(self.times)

    def between(self, start: float, end: float) -> list[Point]:
        """Samples in (start, end]."""
        low, high = bisect_right(self.times, start), bisect_right(self.times, end)
        return list(zip(self.times[low:high], self.values[low:high], strict=True))

    def at(self, moment: float) -> Point | None:
        """The newest sample at or before this moment."""
        index = bisect_right(self.times, moment) - 1
        return self.point(index) if index >= 0 else None

    def point(self, index: int) -> Point:
        """One sample."""
        return self.times[index], self.values[index]


def without_name(labels: Labels) -> Labels:
    """The labels of what is reckoned from a series."""
    return tuple(pair for pair in labels if pair[0] != "__name__")


def _newest(times: NDArray[np.float64], values: Sequence[float], moments: NDArray[np.float64]) -> list[float | None]:
    """The newest of these values at each moment, unless it is too old."""
    if not len(times):
        return [None] * len(moments)
    index = np.searchsorted(times, moments, side="right") - 1
    seen = (index >= 0) & (times[index] > moments - LOOKBACK)
    return [values[i] if fresh else None for i, fresh in zip(index.tolist(), seen.tolist(), strict=True)]


__all__ = ["LOOKBACK", "Growth", "Labels", "Past", "Point", "Track", "without_name"]
