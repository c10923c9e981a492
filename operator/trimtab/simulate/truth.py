"""The truth about an Experiment: what the noise-free workload model says of its assignments, and the best of them.

An assignment is *truly unsafe* when the model breaks a constraint of the Experiment at the load that is asked about,
or expects more than one OOM kill in a thousand hours of a pod. It is *gross* when latency is over 1.5 times its bound,
errors over twice theirs, another value over 1.5 times its bound, or an OOM kill is expected every hour.

Nothing that decides may import this.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import count, product
from typing import Final

from trimtab.control.arms import baseline_assignment, cost_model, pod_changes, target_settings
from trimtab.domain.cost import CostModel
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.kube import Surroundings, Target
from trimtab.domain.measurement import NoData
from trimtab.domain.space import Assignment, Categorical, ContainerResource, Numeric, Resource, Value
from trimtab.domain.spec import ExperimentSpec, OutcomeConstraint, SliKind, SlowRatioQuery
from trimtab.simulate.questions import Question, question
from trimtab.simulate.shares import Run
from trimtab.workload import UNLIMITED, PodBehaviour, Resources, WorkloadSpec, evaluate
from trimtab.workload.effects import adapted
from trimtab.workload.truth import SECONDS_PER_HOUR

MAX_OOM_PER_HOUR: Final = 0.001
GROSS_OOM_PER_HOUR: Final = 1.0
GROSS_LATENCY: Final = 1.5
GROSS_ERRORS: Final = 2.0
MOST_VISITED: Final = 500_000
MOST_CHOICES: Final = 512


@dataclass(frozen=True)
class Verdict:
    """What the model says of one assignment at one load. `values` are (SLI, value); `broken` names constraints."""

    load_rps: float
    values: tuple[tuple[str, float | NoData], ...]
    broken: tuple[str, ...]
    gross: bool
    oom_per_hour: float

    @property
    def feasible(self) -> bool:
        return not self.broken

    def value(self, sli: str) -> float | NoData:
        return dict(self.values)[sli]


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


@dataclass(frozen=True)
class Truth:
    """The noise-free model of one Experiment on one target. Pure; `target` is the Deployment as it was."""

    spec: ExperimentSpec
    target: Target
    workload: WorkloadSpec
    surroundings: Surroundings = field(default_factory=Surroundings)

    @cached_property
    def cost(self) -> CostModel:
        return cost_model(self.spec, self.target)

    @cached_property
    def baseline(self) -> Assignment:
        return baseline_assignment(self.spec, self.target, self.surroundings)

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """The Experiment's SLIs.

        Raises:
            InvalidSpec: the workload cannot answer one.
        """
        return tuple(question(sli, self.workload) for sli in self.spec.slis)

    def resources(self, assignment: Assignment) -> Resources:
        """What the workload's container gets under an assignment.

        Raises:
            InvalidSpec: the target has no such container.
        """
        name = self.workload.target.container
        view = self.target.container(name)
        if view is None:
            others = ", ".join(c.name for c in self.target.containers)
            problem = f"Deployment {self.target.name} has no container {name}"
            raise InvalidSpec("target.container", problem, f"the workload must name one of: {others}")
        requests = {resource: view.resources.request(resource) for resource in Resource}
        limits = {resource: view.resources.limit(resource) for resource in Resource}
        for setting in target_settings(self.spec, self.target, assignment):
            if setting.container == name:
                requests[setting.resource], limits[setting.resource] = setting.request, setting.limit
        limit = {resource: UNLIMITED if value is None else float(value) for resource, value in limits.items()}
        # Without a request the API server takes the limit; without either there is none.
        request = {
            resource: float(value) if value is not None else (0.0 if limits[resource] is None else limit[resource])
            for resource, value in requests.items()
        }
        return Resources(request[Resource.CPU], limit[Resource.CPU], request[Resource.MEMORY], limit[Resource.MEMORY])

    def run(self, assignment: Assignment) -> Run:
        """The workload as variables and node selectors of an assignment make it, and its resources.

        Raises:
            WorkloadError: a variable that the workload reads holds no number.
        """
        name, changes = self.workload.target.container, pod_changes(self.spec, self.target, assignment)
        view = self.target.container(name)
        env = {key: text for key, text in (view.env if view is not None else ()) if text is not None}
        env |= {e.name: e.value for e in changes.env if e.container == name}
        nodes = dict(self.target.node_selector) | dict(changes.node_selector)
        return adapted(self.workload, env, nodes), self.resources(assignment)

    def judge(self, assignment: Assignment, load_rps: float) -> Verdict:
        """Every SLI and constraint of the Experiment for an assignment, at one load per pod."""
        return self.judge_run(self.run(assignment), load_rps)

    def judge_run(self, run: Run, load_rps: float) -> Verdict:
        """The same for what no assignment may have."""
        pods = self.spec.canary.replicas
        behaviour = evaluate(*run, load_rps)
        reference = evaluate(*self.run(self.baseline), load_rps)
        values = tuple((q.sli, q.of(behaviour, pods)) for q in self.questions)
        base = {q.sli: q.of(reference, pods) for q in self.questions}
        known = dict(values)
        broken = [c.name for c in self.spec.constraints if _breaks(c, known[c.sli], base[c.sli])]
        gross = any(self._gross(c, known[c.sli], behaviour) for c in self.spec.constraints)
        oom = behaviour.oom_per_s * SECONDS_PER_HOUR
        if oom > MAX_OOM_PER_HOUR:
            broken.append("OOMKilled")
        return Verdict(load_rps, values, tuple(broken), gross or oom >= GROSS_OOM_PER_HOUR, oom)

    def _gross(self, constraint: OutcomeConstraint, value: float | NoData, behaviour: PodBehaviour) -> bool:
        if isinstance(value, NoData) or constraint.maximum is None:
            return False
        sli = self.spec.sli(constraint.sli)
        if isinstance(sli.query, SlowRatioQuery):  # the quantile behind the fraction, over 1.5 times the threshold
            return behaviour.slow_fraction(GROSS_LATENCY * sli.query.threshold) > constraint.maximum
        factor = GROSS_ERRORS if sli.kind is SliKind.ERRORS else GROSS_LATENCY
        return value > factor * constraint.maximum

    def optimum(self, load_rps: float) -> Optimum | NoOptimum:
        """The cheapest assignment of the grid that keeps every constraint at this load per pod."""
        return _optimum(self, load_rps)


def _breaks(constraint: OutcomeConstraint, value: float | NoData, base: float | NoData) -> bool:
    """Does the value break the bound? What has no value is no pass."""
    if isinstance(value, NoData):
        return True
    if constraint.maximum is not None and value > constraint.maximum:
        return True
    if constraint.minimum is not None and value < constraint.minimum:
        return True
    relative = constraint.relative
    if relative is None:
        return False
    if isinstance(base, NoData):
        return True
    if relative.max_increase_ratio is not None:
        return value > base * (1 + relative.max_increase_ratio)
    return relative.max_increase is not None and value > base + relative.max_increase


# The optimum

Axes = list[tuple[Value, ...]]
Judge = Callable[[Assignment], Verdict]
Choices = tuple[int | None, ...]
"""Per parameter the index of what is chosen, None for what is searched."""
Priced = tuple[float, tuple[int, ...], Assignment]
"""($ per hour, indices, assignment)."""


@lru_cache(maxsize=64)
def _optimum(truth: Truth, load_rps: float) -> Optimum | NoOptimum:
    axes = axes_of(truth)
    seen: dict[Run, Verdict] = {}

    def judged(assignment: Assignment) -> Verdict:
        run = truth.run(assignment)
        if run not in seen:
            seen[run] = truth.judge(assignment, load_rps)
        return seen[run]

    walks = [_walk(truth, axes, starts, at) for at, starts in _starts(truth, axes, judged)]
    if not walks:
        return NoOptimum("Infeasible", f"no assignment keeps every bound at {load_rps:.0f} requests/s a pod")
    for visited, assignment in enumerate(_by_cost(walks)):
        if visited > MOST_VISITED:
            return NoOptimum("GridTooLarge", f"none of the {MOST_VISITED:,} cheapest assignments keeps every bound")
        if truth.spec.space.violated(assignment) is None and judged(assignment).feasible:
            return Optimum(assignment, truth.cost.hourly(assignment), judged(assignment), len(seen))
    return NoOptimum("Infeasible", f"no assignment keeps every bound at {load_rps:.0f} requests/s a pod")


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
