"""The truth about an Experiment: what the noise-free workload model says of its assignments, and the best of them.

An assignment is *truly unsafe* when the model breaks a constraint of the Experiment at the load that is asked about,
or expects more than one OOM kill in a thousand hours of a pod. It is *gross* when latency is over 1.5 times its bound,
errors over twice theirs, another value over 1.5 times its bound, or an OOM kill is expected every hour.

Loads are requests/s of one pod, but of the whole service where the assignment, or an autoscaler that arms have a copy
of, decides how many pods share them (`Truth.whole`). At a load the autoscaler is judged by the fewest pods that it
would keep; what it costs, and how often it scales, is played over the days of the period with all of their load.

Nothing that decides may import this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Final

import numpy as np

from trimtab.control.arms import baseline_assignment, cost_model, pod_changes, target_settings
from trimtab.control.preflight_capacity import resized
from trimtab.control.scaling import arms_autoscaler, autoscaler_changes
from trimtab.domain.autoscaler import AutoscalerView
from trimtab.domain.cost import CostModel
from trimtab.domain.errors import InvalidSpec
from trimtab.domain.kube import Surroundings, Target
from trimtab.domain.measurement import NoData
from trimtab.domain.space import Assignment, Resource
from trimtab.domain.spec import ExperimentSpec, OutcomeConstraint, ScalingQuery, SliKind, SlowRatioQuery
from trimtab.simulate.fleet import Fleet, Play
from trimtab.simulate.questions import Question, question, unscaled
from trimtab.simulate.scaling import Period, ScalingQuestion, fleet_of, hpa_of, loads_of
from trimtab.simulate.shares import Run
from trimtab.workload import UNLIMITED, PodBehaviour, Resources, WorkloadSpec, evaluate
from trimtab.workload.effects import adapted
from trimtab.workload.truth import SECONDS_PER_HOUR

MAX_OOM_PER_HOUR: Final = 0.001
GROSS_OOM_PER_HOUR: Final = 1.0
GROSS_LATENCY: Final = 1.5
GROSS_ERRORS: Final = 2.0


Values = tuple[tuple[str, float | NoData], ...]
"""(SLI, value)."""
Mixture = Sequence[tuple[PodBehaviour, float]]
"""What requests meet, and which part of them; together 1."""


@dataclass(frozen=True)
class Verdict:
    """What the model says of one assignment at one load. `broken` names constraints."""

    load_rps: float
    values: Values
    broken: tuple[str, ...]
    gross: bool
    oom_per_hour: float

    @property
    def feasible(self) -> bool:
        return not self.broken

    def value(self, sli: str) -> float | NoData:
        return dict(self.values)[sli]


@dataclass(frozen=True)
class Truth:
    """The noise-free model of one Experiment on one target. Pure; `target` is the Deployment as it was."""

    spec: ExperimentSpec
    target: Target
    workload: WorkloadSpec
    surroundings: Surroundings = field(default_factory=Surroundings)
    period: Period = field(default_factory=Period)

    @cached_property
    def cost(self) -> CostModel:
        return cost_model(self.spec, self.target)

    @cached_property
    def baseline(self) -> Assignment:
        return baseline_assignment(self.spec, self.target, self.surroundings)

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """The Experiment's SLIs that single pods answer.

        Raises:
            InvalidSpec: the workload cannot answer one.
        """
        slis = (sli for sli in self.spec.slis if not isinstance(sli.query, ScalingQuery))
        return tuple(question(sli, self.workload) for sli in slis)

    @cached_property
    def scaling(self) -> tuple[ScalingQuestion, ...]:
        """Those that ask how pods scale.

        Raises:
            InvalidSpec: no autoscaler does, or the workload cannot answer the SLI behind one.
        """
        found = []
        for sli in self.spec.slis:
            if isinstance(sli.query, ScalingQuery):
                if self.autoscaler is None:
                    raise unscaled(sli, self.target.name)
                counting = question(replace(sli, query=sli.query.counting), self.workload)
                found.append(ScalingQuestion(sli.name, sli.query, counting))
        return tuple(found)

    @cached_property
    def autoscaler(self) -> AutoscalerView | None:
        """The autoscaler that arms have a copy of; None where the number of pods is fixed while trials run."""
        return arms_autoscaler(self.spec, self.surroundings)

    @property
    def whole(self) -> bool:
        """Loads are those of the whole service, not of one pod."""
        return self.autoscaler is not None or not self.cost.fixed

    @property
    def load_unit(self) -> str:
        """Of loads, in words."""
        return "requests/s" if self.whole else "requests/s a pod"

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
        image = view.image if view is not None else ""
        return adapted(self.workload, env, nodes, image), self.resources(assignment)

    def released(self, image: str) -> Truth:
        """The same of the target with another image of the workload's container."""
        name = self.workload.target.container
        containers = (replace(c, image=image) if c.name == name else c for c in self.target.containers)
        return replace(self, target=replace(self.target, containers=tuple(containers)))

    # How many pods

    def fleet(self, assignment: Assignment, share: float = 1.0) -> Fleet:
        """The pods of an assignment and their autoscaler, of the size that fits a share of the load."""
        key = (assignment, share)
        if key not in self._fleets:
            assert self.autoscaler is not None
            changes = autoscaler_changes(self.spec, self.autoscaler, assignment)
            sidecars = (c for c in self.target.init_containers if c.sidecar)
            containers = (*resized(self.spec, self.target, assignment), *sidecars)
            hpa = hpa_of(self.autoscaler, changes, share)
            self._fleets[key] = fleet_of(self.autoscaler, changes, self.run(assignment), containers, hpa)
        return self._fleets[key]

    @cached_property
    def _fleets(self) -> dict[tuple[Assignment, float], Fleet]:
        return {}

    def arm_share(self, assignment: Assignment) -> float | None:
        """The fraction of the service's load that an arm of this assignment gets by the route's weights; None where
        there is no route."""
        return self.spec.route_share(assignment) if self.spec.route is not None else None

    def load_of_pod(self, assignment: Assignment, load_rps: float, share: float = 1.0) -> float:
        """Requests/s of each pod at a load: with an autoscaler of the fewest pods that it would keep."""
        if self.autoscaler is not None:
            load = load_rps * share
            return load / int(self.fleet(assignment, share).fewest(np.array([load]))[0])
        return load_rps if self.cost.fixed else load_rps / self.cost.pods(assignment)

    def hourly(self, assignment: Assignment) -> float:
        """$ per hour of the whole target."""
        if self.autoscaler is None:
            return self.cost.hourly(assignment)
        fleet = self.fleet(assignment)
        return mean_pods(fleet, self.workload, self.period) * self.cost.pod_hourly(assignment)

    # Verdicts

    def judge(self, assignment: Assignment, load_rps: float, share: float = 1.0) -> Verdict:
        """Every SLI and constraint of the Experiment for an assignment at one load; `share` is less than 1 for an
        arm."""
        behaviour = self._behaviour(assignment, load_rps, share)
        found = self._verdict(load_rps, ((behaviour, 1.0),), self._usual(load_rps, share))
        if not self.scaling:
            return found
        play = played(self.fleet(assignment, share), share, self.workload, self.period)
        return replace(found, values=(*found.values, *((q.sli, q.of(play)) for q in self.scaling)))

    def judge_play(self, load_rps: float, play: Play, usual: Play) -> Verdict:
        """The same of pods that were played, and with today's values: by all requests that they had."""
        found = self._verdict(load_rps, _mixture(play), self._values(_mixture(usual)))
        return replace(found, values=(*found.values, *((q.sli, q.of(play)) for q in self.scaling)))

    def holds(self, assignment: Assignment, load_rps: float, each: float | None = None) -> bool:
        """Whether every bound is kept at this load: what `judge` says, but no more of it than that takes. `each` is the
        load of a pod where that is another one."""
        each = self.load_of_pod(assignment, load_rps) if each is None else each
        behaviour, usual = evaluate(*self.run(assignment), each), dict(self._usual(load_rps))
        if behaviour.oom_per_s * SECONDS_PER_HOUR > MAX_OOM_PER_HOUR:
            return False
        asked = {q.sli: q for q in self.questions}
        values = ((c, asked[c.sli].of(behaviour, self.spec.canary.replicas)) for c in self.spec.constraints)
        return not any(_breaks(c, value, usual[c.sli]) for c, value in values)

    def judge_run(self, run: Run, load_rps: float) -> Verdict:
        """The same for what no assignment may have, at one load per pod."""
        usual = self._values(((evaluate(*self.run(self.baseline), load_rps), 1.0),))
        return self._verdict(load_rps, ((evaluate(*run, load_rps), 1.0),), usual)

    def _behaviour(self, assignment: Assignment, load_rps: float, share: float = 1.0) -> PodBehaviour:
        return evaluate(*self.run(assignment), self.load_of_pod(assignment, load_rps, share))

    def _usual(self, load_rps: float, share: float = 1.0) -> Values:
        """What today's values do at this load."""
        key = (load_rps, share)
        if key not in self._today:
            self._today[key] = self._values(((self._behaviour(self.baseline, load_rps, share), 1.0),))
        return self._today[key]

    @cached_property
    def _today(self) -> dict[tuple[float, float], Values]:
        return {}

    def _values(self, mixture: Mixture) -> Values:
        pods = self.spec.canary.replicas
        return tuple(
            (q.sli, _mean([(q.of(behaviour, pods), part) for behaviour, part in mixture])) for q in self.questions
        )

    def _verdict(self, load_rps: float, mixture: Mixture, usual: Values) -> Verdict:
        values = self._values(mixture)
        known, base = dict(values), dict(usual)
        broken = [c.name for c in self.spec.constraints if _breaks(c, known[c.sli], base[c.sli])]
        gross = any(self._gross(c, known[c.sli], mixture) for c in self.spec.constraints)
        oom = sum(part * behaviour.oom_per_s for behaviour, part in mixture) * SECONDS_PER_HOUR
        if oom > MAX_OOM_PER_HOUR:
            broken.append("OOMKilled")
        return Verdict(load_rps, values, tuple(broken), gross or oom >= GROSS_OOM_PER_HOUR, oom)

    def _gross(self, constraint: OutcomeConstraint, value: float | NoData, mixture: Mixture) -> bool:
        if isinstance(value, NoData) or constraint.maximum is None:
            return False
        sli = self.spec.sli(constraint.sli)
        if isinstance(sli.query, SlowRatioQuery):  # the quantile behind the fraction, over 1.5 times the threshold
            late = GROSS_LATENCY * sli.query.threshold
            return sum(part * b.slow_fraction(late) for b, part in mixture) > constraint.maximum
        factor = GROSS_ERRORS if sli.kind is SliKind.ERRORS else GROSS_LATENCY
        return value > factor * constraint.maximum


def _mixture(play: Play) -> Mixture:
    """What requests met."""
    parts = np.bincount(play.which, play.requests, len(play.behaviours)) / play.requests.sum()
    return tuple((b, float(part)) for b, part in zip(play.behaviours, parts, strict=True) if part > 0)


def _mean(values: Sequence[tuple[float | NoData, float]]) -> float | NoData:
    """Of values, each of a part of the requests; nothing where one has none."""
    total = 0.0
    for value, part in values:
        if isinstance(value, NoData):
            return value
        total += value * part
    return total


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


@lru_cache(maxsize=8)
def played(fleet: Fleet, share: float, workload: WorkloadSpec, period: Period) -> Play:
    """The period with a share of its load."""
    return fleet.play(loads_of(workload, period) * share)


@lru_cache(maxsize=8192)
def mean_pods(fleet: Fleet, workload: WorkloadSpec, period: Period) -> float:
    """Pods of the whole service over the period."""
    return played(fleet, 1.0, workload, period).mean_pods
