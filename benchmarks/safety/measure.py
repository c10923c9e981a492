"""One cell played and counted, with an interval around every figure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.safety.cells import Cell
from benchmarks.safety.play import play
from benchmarks.safety.rivals import NEVER, Errors, calibrated, ways
from benchmarks.safety.series import PHI, TICK_S
from trimtab.slo.student import z_of

Z = z_of(0.975)
OWN = "Trimtab, all rules"


@dataclass(frozen=True)
class Rate:
    """`count` of `of` trials, with Wilson's 95 % interval."""

    count: int
    of: int

    @property
    def value(self) -> float:
        return self.count / self.of

    @property
    def interval(self) -> tuple[float, float]:
        p, n, square = self.value, self.of, Z * Z
        centre = (p + square / (2 * n)) / (1 + square / n)
        half = Z / (1 + square / n) * math.sqrt(p * (1 - p) / n + square / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class Median:
    """Median of seconds, with the order statistics that hold it in 95 of 100 samples; None: never."""

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Median:
        ordered, n = sorted(seconds), len(seconds)
        half = Z * math.sqrt(n) / 2
        places = (n // 2, max(math.floor(n / 2 - half), 0), min(math.ceil(n / 2 + half), n - 1))
        return cls(*(None if ordered[i] >= NEVER else ordered[i] for i in places))


@dataclass(frozen=True)
class Way:
    """What one way of judging did with the trials of a cell."""

    name: str
    withdrawn: Rate
    median: Median


@dataclass(frozen=True)
class Found:
    """One cell: Trimtab first, then the rivals where the errors decide; `by` tells which rules withdrew how many."""

    position: str
    noise: str
    most: float | None
    median_s: float | None
    ways: tuple[Way, ...]
    by: tuple[tuple[str, int], ...]

    @property
    def verdict(self) -> str:
        """Of Trimtab's figure against what is promised."""
        own = self.ways[0]
        if self.median_s is not None:
            kept = own.median.value is not None and own.median.value <= self.median_s
            return "kept" if kept else "MISSED"
        if self.most is None:
            return ""
        if own.withdrawn.value > self.most:
            return "MISSED"
        return "kept" if own.withdrawn.interval[1] <= self.most else "kept, not beyond doubt"


def measure(cell: Cell, trials: int, seed: int) -> Found:
    """Play a cell, and give the same series to the rivals."""
    drawn, ended = play(cell, trials, seed)
    seconds = np.array([NEVER if e.tick is None else e.tick * TICK_S for e in ended])
    found = {OWN: seconds}
    if not cell.position.name.startswith(("slow", "gauge")) and cell.noise.gauge_s == 0:
        phi = PHI if cell.noise.clustered else 1.0
        found |= ways(Errors.of(drawn), calibrated(cell.noise), phi)
    by = Counter(f"{e.rule} {e.reason}" for e in ended if e.tick is not None)
    return Found(
        cell.position.name,
        cell.noise.name,
        cell.position.most,
        cell.median_s,
        tuple(
            Way(name, Rate(int((each < NEVER).sum()), len(each)), Median.of(each.tolist()))
            for name, each in found.items()
        ),
        tuple(sorted(by.items())),
    )
