"""The best assignment of an Experiment's grid by the noise-free model: the cheapest that keeps every bound.

Nothing that decides may import this.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, product
from typing import Final

import numpy as np

from trimtab.domain.space import (
    Assignment,
    AutoscalerField,
    Categorical,
    ContainerResource,
    Locus,
    Numeric,
    Resource,
    Value,
)
from trimtab.domain.spec import SliKind
from trimtab.simulate.fleet import STEP_S, FloatArray, IntArray
from trimtab.simulate.scaling import Period, loads_of
from trimtab.simulate.shares import Run
from trimtab.simulate.truth import Truth, Verdict
from trimtab.workload import WorkloadSpec
from trimtab.workload.batching import least_cpu
from trimtab.workload.hpa import ROUNDING
from trimtab.workload.model import GRID

MOST_VISITED: Final = 500_000
MOST_CHOICES: Final = 512
MOST_SCALED: Final = 20_000
LAG: Final = 0.99
"""There are at least so many of the pods that are kept at each load on average, whatever the delays."""
BEGUN, SETTLED, PLAYED = range(3)


@dataclass(frozen=True)
class Optimum:
    """The cheapest feasible assignment of the Experiment's grid. `evaluated` counts the assignments looked at."""

    assignment: Assignment
    cost: float
    verdict: Verdict
    evaluated: int


@dataclass(frozen=True)
class NoOptimum:
    """There is none, or it was not found: CamelCase reason, and words."""

    reason: str
    detail: str


Axes = list[tuple[Value, ...]]
Judge = Callable[[Assignment], Verdict]
Choices = tuple[int | None, ...]
"""Per parameter the index of what is chosen, None for what is searched."""
Place = tuple[int, ...]
Priced = tuple[float, tuple[int, ...], Assignment]
"""($ per hour, indices, assignment)."""


@lru_cache(maxsize=64)
def optimum_of(truth: Truth, load_rps: float) -> Optimum | NoOptimum:
    """The cheapest assignment of the grid that keeps every bound at this load."""
    return _walked(truth, load_rps) if truth.autoscaler is None else _scaled(truth, load_rps)


def _infeasible(truth: Truth, load_rps: float) -> NoOptimum:
    return NoOptimum("Infeasible", f"no assignment keeps every bound at {load_rps:.0f} {truth.load_unit}")


def _walked(truth: Truth, load_rps: float) -> Optimum | NoOptimum:
    """From cheap to dear; what is infeasible with less is left out where more is safer."""
    axes = axes_of(truth)
    seen: dict[tuple[Run, float], Verdict] = {}

    def judged(assignment: Assignment) -> Verdict:
        key = (truth.run(assignment), truth.load_of_pod(assignment, load_rps))
        if key not in seen:
            seen[key] = truth.judge(assignment, load_rps)
        return seen[key]

    walks = [_walk(truth, axes, starts, at) for at, starts in _starts(truth, axes, judged)]
    if not walks:
        return _infeasible(truth, load_rps)
    for visited, assignment in enumerate(_by_cost(walks)):
        if visited > MOST_VISITED:
            return NoOptimum("GridTooLarge", f"none of the {MOST_VISITED:,} cheapest assignments keeps every bound")
        if truth.spec.space.violated(assignment) is None and judged(assignment).feasible:
            return Optimum(assignment, truth.cost.hourly(assignment), judged(assignment), len(seen))
    return _infeasible(truth, load_rps)


def axes_of(truth: Truth) -> Axes:
    """The values of each parameter, ascending."""
    return [_axis(truth, parameter.name) for parameter in truth.spec.space.parameters]


def _axis(truth: Truth, name: str) -> tuple[Value, ...]:
    """The values of a parameter, ascending."""
    domain = truth.spec.space[name].domain
    return domain.grid() if isinstance(domain, Numeric) else domain.values


def _starts(truth: Truth, axes: Axes, judged: Judge) -> Iterator[tuple[Choices, list[int]]]:
    """Every choice of what has no order of safety (categories, variables), with the least indices that may be feasible
    with it; choices of which nothing is feasible are left out."""
    ordered = _more_is_safer(truth)
    choosing = [not isinstance(p.locus, ContainerResource) for p in truth.spec.space.parameters]
    if math.prod(len(axis) for axis, chosen in zip(axes, choosing, strict=True) if chosen) > MOST_CHOICES:
        ordered, choosing = False, [isinstance(p.domain, Categorical) for p in truth.spec.space.parameters]
    for at in product(*(range(len(axis)) if chosen else (None,) for axis, chosen in zip(axes, choosing, strict=True))):
        starts = _floors(truth, axes, judged, at) if ordered else [0 if i is None else i for i in at]
        if starts is not None:
            yield at, starts


def _more_is_safer(truth: Truth) -> bool:
    """More resources never break a bound: true of errors and latency, which is what the model promises."""
    kinds = {truth.spec.sli(c.sli).kind for c in truth.spec.constraints}
    bounded_below = any(c.minimum is not None for c in truth.spec.constraints)
    return not bounded_below and SliKind.VALUE not in kinds


def _floors(truth: Truth, axes: Axes, judged: Judge, choice: Choices) -> list[int] | None:
    """Per resource the least index that is feasible with all others at their most; None when not even that is."""
    names = truth.spec.space.names
    top = [len(axis) - 1 if i is None else i for axis, i in zip(axes, choice, strict=True)]
    if not judged(_point(names, axes, top)).feasible:
        return None
    floors = []
    for position in range(len(axes)):
        low, high = 0 if choice[position] is None else top[position], top[position]
        while low < high:
            middle = (low + high) // 2
            at = [*top[:position], middle, *top[position + 1 :]]
            if judged(_point(names, axes, at)).feasible:
                high = middle
            else:
                low = middle + 1
        floors.append(low)
    return floors


def _point(names: tuple[str, ...], axes: Axes, at: Sequence[int]) -> Assignment:
    return Assignment(tuple((name, axis[index]) for name, axis, index in zip(names, axes, at, strict=True)))


def _by_cost(walks: Sequence[Iterator[Priced]]) -> Iterator[Assignment]:
    """All assignments of the walks, cheapest first."""
    yield from (assignment for _, _, assignment in heapq.merge(*walks, key=lambda found: found[:2]))


def _walk(truth: Truth, axes: Axes, starts: list[int], choice: Choices) -> Iterator[Priced]:
    """Those with this choice at or above `starts`, cheapest first: a heap walks the grid, as cost grows with every
    number."""
    names = truth.spec.space.names
    order = count()
    first = tuple(starts)
    heap = [(truth.cost.hourly(_point(names, axes, first)), next(order), first)]
    seen = {first}
    while heap:
        cost, _, at = heapq.heappop(heap)
        yield cost, at, _point(names, axes, at)
        for position, axis in enumerate(axes):
            if choice[position] is not None or at[position] + 1 >= len(axis):
                continue
            following = (*at[:position], at[position] + 1, *at[position + 1 :])
            if following not in seen:
                seen.add(following)
                price = truth.cost.hourly(_point(names, axes, following))
                heapq.heappush(heap, (price, next(order), following))


# Where an autoscaler decides how many pods there are


def _scaled(truth: Truth, load_rps: float) -> Optimum | NoOptimum:
    """Best first by bounds of the cost that get tighter: reckoned, then settled at each load, then played.

    No assignment that keeps its bounds needs less CPU than its requests do, nor has the autoscaler fewer pods on
    average than it would keep (`LAG`). The grid is walked in lines along which memory grows, and the cost with it.
    """
    axes = axes_of(truth)
    size = math.prod(len(axis) for axis in axes)
    if size > MOST_SCALED:
        return NoOptimum("GridTooLarge", f"{size:,} assignments of an autoscaled target, {MOST_SCALED:,} are looked at")
    names, safety = truth.spec.space.names, _Safety(truth, axes, load_rps)
    starts = product(*(range(1 if i == safety.line else len(axis)) for i, axis in enumerate(axes)))
    heap = [(_reckoned(truth, _point(names, axes, at)), BEGUN, at) for at in starts]
    heapq.heapify(heap)
    while heap:
        cost, stage, at = heapq.heappop(heap)
        assignment = _point(names, axes, at)
        if stage == PLAYED:
            return Optimum(assignment, cost, truth.judge(assignment, load_rps), safety.evaluated)
        if stage == SETTLED:
            heapq.heappush(heap, (truth.hourly(assignment), PLAYED, at))
            continue
        if truth.spec.space.violated(assignment) is None and safety.keeps(at):
            heapq.heappush(heap, (max(cost, _settled(truth, assignment)), SETTLED, at))
        if safety.line is not None and at[safety.line] + 1 < len(axes[safety.line]):
            following = _moved(at, safety.line, at[safety.line] + 1)
            heapq.heappush(heap, (_reckoned(truth, _point(names, axes, following)), BEGUN, following))
    return _infeasible(truth, load_rps)


def _moved(at: Place, line: int, index: int) -> Place:
    return (*at[:line], index, *at[line + 1 :])


class _Safety:
    """Which places of the grid keep every bound at a load of the service.

    The autoscaler's fields matter by the load that they leave to a pod alone, and at one load more resources are safer,
    as less load is. So what has less than something that broke a bound breaks it, and what has more than something that
    kept them keeps them; only what no other place tells of is evaluated, and with it the memory that it takes.
    """

    def __init__(self, truth: Truth, axes: Axes, load_rps: float) -> None:
        self._truth, self._axes, self._load = truth, axes, load_rps
        loci = [p.locus for p in truth.spec.space.parameters]
        self.line = next((i for i, at in enumerate(loci) if _is_memory(at)), None)
        self._ordered = _more_is_safer(truth)
        self._more = [i for i, at in enumerate(loci) if isinstance(at, ContainerResource)]
        self._apart = [i for i, at in enumerate(loci) if not isinstance(at, ContainerResource | AutoscalerField)]
        self._known: dict[Place, dict[tuple[float, ...], bool]] = {}
        self.evaluated = 0

    def keeps(self, at: Place) -> bool:
        """Whether this one keeps every bound."""
        assignment, load = self._point(at), np.array([self._load])
        if self._ordered and self._told(at, self._load / int(self._truth.fleet(assignment).no_fewer(load)[0])) is False:
            return False
        each = self._truth.load_of_pod(assignment, self._load)
        kept = self._at_load(at, each)
        if not kept and self._ordered and self.line is not None:
            low, high = at[self.line] + 1, len(self._axes[self.line])
            while low < high:
                middle = (low + high) // 2
                found = self._at_load(_moved(at, self.line, middle), each)
                low, high = (low, middle) if found else (middle + 1, high)
        return kept

    def _at_load(self, at: Place, each: float) -> bool:
        told = self._told(at, each) if self._ordered else None
        if told is None:
            self.evaluated += 1
            told = self._truth.holds(self._point(at), self._load, each)
            self._alike(at)[self._safety(at, each)] = told
        return told

    def _told(self, at: Place, each: float) -> bool | None:
        """What others tell of this place at this load of a pod."""
        mine = self._safety(at, each)
        for other, kept in self._alike(at).items():
            pairs = zip(mine, other, strict=True)
            if all(a >= b for a, b in pairs) if kept else all(a <= b for a, b in pairs):
                return kept
        return None

    def _alike(self, at: Place) -> dict[tuple[float, ...], bool]:
        return self._known.setdefault(tuple(at[i] for i in self._apart), {})

    def _safety(self, at: Place, each: float) -> tuple[float, ...]:
        return (*(at[i] for i in self._more), -each)

    def _point(self, at: Place) -> Assignment:
        return _point(self._truth.spec.space.names, self._axes, at)


def _is_memory(locus: Locus) -> bool:
    return isinstance(locus, ContainerResource) and locus.resource is Resource.MEMORY


@dataclass(frozen=True)
class _Loads:
    """The different loads of a period (requests/s) and what part of the time each is there; shape (m,)."""

    values: FloatArray
    parts: FloatArray


@lru_cache(maxsize=64)
def _highest(workload: WorkloadSpec, period: Period, steps: int) -> _Loads:
    """The highest load of the last so many steps: no pod that it needs is taken away within the window."""
    loads = loads_of(workload, period)
    if steps > 1:
        padded = np.concatenate([np.full(steps - 1, loads[0]), loads])
        loads = np.lib.stride_tricks.sliding_window_view(padded, steps).max(axis=1)
    levels, counts = np.unique(np.floor(np.log(loads) / GRID), return_counts=True)
    return _Loads(np.exp(levels * GRID), counts / counts.sum())


def _loads(truth: Truth, assignment: Assignment) -> _Loads:
    steps = math.ceil(truth.fleet(assignment).hpa.down.window / STEP_S)
    return _highest(truth.workload, truth.period, max(steps, 1))


def _reckoned(truth: Truth, assignment: Assignment) -> float:
    """$ per hour if requests were all that uses CPU, up to what the autoscaler tolerates."""
    fleet, loads = truth.fleet(assignment), _loads(truth, assignment)
    workload, hpa = fleet.run[0], fleet.hpa
    pods = np.full(len(loads.values), float(hpa.least))
    for aim, limit in fleet.limits:
        free = limit - workload.cpu.background
        if aim.resource is Resource.CPU and limit < fleet.run[1].cpu_limit and free > 0:
            pods = np.maximum(pods, np.ceil(loads.values * least_cpu(workload) / free - ROUNDING))
    return _priced(truth, assignment, np.minimum(pods, hpa.most), loads)


def _settled(truth: Truth, assignment: Assignment) -> float:
    """$ per hour with the fewest pods that are kept at each load."""
    loads = _loads(truth, assignment)
    return _priced(truth, assignment, truth.fleet(assignment).fewest(loads.values), loads)


def _priced(truth: Truth, assignment: Assignment, pods: FloatArray | IntArray, loads: _Loads) -> float:
    return LAG * float(pods @ loads.parts) * truth.cost.pod_hourly(assignment)
