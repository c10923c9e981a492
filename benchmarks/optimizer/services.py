"""Pods of one, two or four containers that a request passes one after the other, and their truth without noise.

d = 2 tunes CPU and memory of one container, d = 4 of two, d = 8 of four; requests equal limits. As an Experiment has
one target, the bounds are of the pod as a whole, as its callers see it: the fraction of requests slower than a
threshold from end to end, and the fraction that fails. Two bounds for any d keep the sizes comparable, and containers
share the room below them, so no axis can be tuned without regard to the others. A third bound, on OOM kills, cannot be
measured before it is broken.

The end-to-end time is the sum of the containers' times (independent, `trimtab.workload`), added up on `CELLS` cells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.optimizer.contract import Point
from trimtab.workload import Conditions, PodBehaviour, Resources, WorkloadSpec, evaluate
from trimtab.workload.units import GIB

Floats = NDArray[np.float64]
CELLS: Final = 128
MAX_KILLS_PER_HOUR: Final = 0.001
SLOW, ERRORS = "slow", "errors"


@dataclass(frozen=True)
class Regime:
    """What a container's CPU time and its dependencies' time are multiplied by."""

    cpu: float = 1.0
    dependency: float = 1.0


ORDINARY: Final = Regime()


@dataclass(frozen=True)
class Truth:
    """Noise-free ratios of the pod at one load. `kills_per_hour` are OOM kills."""

    slow: float
    errors: float
    kills_per_hour: float

    def ratios(self, limits: Mapping[str, float]) -> dict[str, float]:
        """Value / bound of what can be measured."""
        return {SLOW: self.slow / limits[SLOW], ERRORS: self.errors / limits[ERRORS]}


@dataclass(frozen=True)
class Parts:
    """One container at one load, prepared for sums; what is not asked for is not computed."""

    behaviour: PodBehaviour
    threshold: float

    @cached_property
    def mass(self) -> Floats:
        """Probability of each cell of [0, threshold). Shape: (CELLS,)."""
        return np.diff(self.behaviour.latency.cdf(np.linspace(0.0, self.threshold, CELLS + 1)))

    @cached_property
    def below(self) -> Floats:
        """P(time <= threshold - middle of the cell). Shape: (CELLS,)."""
        return self.behaviour.latency.cdf(self.threshold * (1.0 - (np.arange(CELLS) + 0.5) / CELLS))

    @cached_property
    def exact(self) -> float:
        """P(time <= threshold)."""
        return 1.0 - self.behaviour.slow_fraction(self.threshold)

    @property
    def served(self) -> float:
        return max(1.0 - self.behaviour.error_ratio, 1e-12)

    @property
    def kills_per_hour(self) -> float:
        return self.behaviour.oom_per_s * 3600.0


@dataclass(frozen=True)
class Pod:
    """Containers in the order in which a request passes them, and the threshold (seconds) of a slow request."""

    containers: tuple[WorkloadSpec, ...]
    threshold: float
    limits: Mapping[str, float]

    def truth(self, point: Point, load: float, regime: Regime = ORDINARY) -> Truth:
        """At `load` requests per second per pod."""
        parts = [self.part(i, *settings(point, i), load, regime) for i in range(len(self.containers))]
        slow = 1.0 - fast(parts)
        failed = -math.expm1(sum(math.log(p.served) for p in parts))
        return Truth(slow, failed, sum(p.kills_per_hour for p in parts))

    def part(self, container: int, cpu: float, memory: float, load: float, regime: Regime) -> Parts:
        """One container with `cpu` cores and `memory` GiB."""
        return part_of(self.containers[container], self.threshold, cpu, memory, load, regime)

    def feasible(self, truth: Truth) -> bool:
        """Whether every bound is kept, the kills' included."""
        return max(truth.ratios(self.limits).values()) <= 1.0 and truth.kills_per_hour <= MAX_KILLS_PER_HOUR


def settings(point: Point, container: int) -> tuple[float, float]:
    """(cores, GiB) of a container."""
    return point[f"cpu{container}"], point[f"memory{container}"]


def fast(parts: Sequence[Parts]) -> float:
    """P(sum of the times <= threshold): all but the last are added as lattice laws at their cells' middles."""
    if len(parts) == 1:
        return parts[0].exact
    mass = parts[0].mass
    for part in parts[1:-1]:
        mass = np.convolve(mass, part.mass)[:CELLS]
    return float(mass @ shifted(parts[-1].below, len(parts) - 2))


def shifted(below: Floats, halves: int) -> Floats:
    """`below` at points that lie `halves` half cells lower: each sum of two cells' middles is half a cell up.
    Shape: (..., CELLS) -> (..., CELLS)."""
    whole, half = divmod(halves, 2)
    padded = np.concatenate([below, np.zeros((*below.shape[:-1], whole + 1))], axis=-1)
    at = padded[..., whole : whole + CELLS]
    return 0.5 * (at + padded[..., whole + 1 : whole + 1 + CELLS]) if half else at


@lru_cache(maxsize=1024)
def part_of(workload: WorkloadSpec, threshold: float, cpu: float, memory: float, load: float, regime: Regime) -> Parts:
    """One container with `cpu` cores and `memory` GiB."""
    return Parts(behave(workload, cpu, memory, load, regime), threshold)


@lru_cache(maxsize=4096)
def behave(workload: WorkloadSpec, cpu: float, memory: float, load: float, regime: Regime) -> PodBehaviour:
    """A container's behaviour; requests equal limits."""
    conditions = Conditions(cpu_slowdown=regime.cpu, dependency_factor=regime.dependency)
    return evaluate(workload, Resources.equal(cpu, memory * GIB), load, conditions)


def quantile(pod: Pod, point: Point, load: float, regime: Regime, slow: float) -> float:
    """The threshold (seconds) at which the fraction `slow` of requests is slower, by bisection."""
    low, high = 0.0, 4.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        if Pod(pod.containers, middle, pod.limits).truth(point, load, regime).slow > slow:
            low = middle
        else:
            high = middle
    return high


def shrunk(point: Point, factor: float) -> dict[str, float]:
    """The point with every value multiplied."""
    return {name: value * factor for name, value in point.items()}


def tightest(pod: Pod, point: Point, load: float, regime: Regime) -> float:
    """The least factor in [0.1, 1] by which all values of a feasible point may shrink together, by bisection."""
    low, high = 0.1, 1.0
    for _ in range(20):
        middle = 0.5 * (low + high)
        if pod.feasible(pod.truth(shrunk(point, middle), load, regime)):
            high = middle
        else:
            low = middle
    return high
