"""One trial as the operator would have it on record, drawn from the workload model: what both arms served, and with
how many pods.

Both arms are played with their autoscalers over the load that the world offers at the time (`simulate.fleet`), with
whole pods, tolerance and stabilization. On top comes what `trimtab simulate` has beside: nodes and pods differ in
speed, of which an arm has the mean of its pods; the dependency drifts, for both arms alike; requests are counted. How
an arm's slow requests answer to both is read off the model at the load that its pods had. Noise is a function of seed,
time, arm and the trial's number, so two ways that try the same at the same time see the same.

A trial is not cut short: what breaks a bound is served to the end, and judged by the operator's own verdict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from trimtab.control.floors import memory_floors
from trimtab.control.scaling import context_hash, scaled_by
from trimtab.control.snapshot import Usage
from trimtab.domain.measurement import Arm, Measurement, NoData, Sample, Window
from trimtab.domain.space import Assignment
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.state import Floor, TargetRecord
from trimtab.domain.trial import Environment, Load, Outcome, PhaseTimes, Suggestion, Trial, TrialPhase
from trimtab.simulate.fleet import STEP_S, Play
from trimtab.simulate.questions import Question
from trimtab.simulate.scenario import Scenario
from trimtab.slo.estimate import ratio_sample, value_sample
from trimtab.slo.series import SUB_WINDOWS
from trimtab.slo.verdict import NeedsExtension, judge_trial
from trimtab.workload import Conditions, PodBehaviour, evaluate, noise
from trimtab.workload.model import GRID

BEGINS_S: Final = 120.0
"""Until an arm's pods are ready, and the route has moved its weights."""
LEAST_RATIO: Final = 1e-6


@dataclass(frozen=True)
class Bench:
    """One Experiment on the workload model; `seed` is that of all noise."""

    scenario: Scenario
    seed: int

    @cached_property
    def record(self) -> TargetRecord:
        """What preflight writes down."""
        truth = self.scenario.truth
        around = truth.surroundings
        scaled = scaled_by(truth.spec, truth.target, around)
        return TargetRecord("target", context_hash(truth.spec, truth.target, around), truth.baseline, scaled)

    @cached_property
    def floors(self) -> tuple[Floor, ...]:
        """Memory that today's pods have needed at the peak."""
        truth, peak = self.scenario.truth, self.scenario.peak_rps
        run = truth.run(truth.baseline)
        highest = evaluate(*run, truth.load_of_pod(truth.baseline, peak)).working_set_bytes
        usage = (Usage(truth.workload.target.container, Sample(highest, 0.0, 1.0)),)
        return memory_floors(truth.spec, truth.baseline, usage)[0]

    @property
    def _each_pod(self) -> float:
        """The standard deviation of ln of the CPU time of one pod, by its node and by itself."""
        spread = self.scenario.workload.noise
        return math.hypot(spread.node_percent, spread.pod_percent) / 100.0

    @property
    def seconds(self) -> float:
        """That a trial takes."""
        trial = self.scenario.spec.trial
        return BEGINS_S + trial.warm_up + trial.duration

    def trial(self, suggestion: Suggestion, index: int, number: int, begun: float) -> Trial:
        """The trial of this index of its Experiment, the study's `number`-th."""
        spec, served = self.scenario.spec, begun + BEGINS_S
        window = Window(served + spec.trial.warm_up, served + spec.trial.warm_up + spec.trial.duration)
        arms = ((Arm.CANARY, suggestion.assignment), (Arm.CONTROL, self.record.baseline))
        seen = [self._arm(arm, assignment, number, served, window) for arm, assignment in arms]
        made = Trial(
            name=f"t{index}",
            namespace="default",
            uid=f"t{index}",
            resource_version="1",
            experiment_uid="experiment",
            experiment_name=self.scenario.name,
            index=index,
            suggestion=suggestion,
            spec_digest="",
            environment=Environment(self.record.template_hash, "target", "", self.scenario.truth.target.replicas),
            phase=TrialPhase.DRAINING,
            times=PhaseTimes(created=begun, finished=window.end),
            window=window,
            measurements=tuple(m for measured, _, _ in seen for m in measured),
            load=tuple(load for _, load, _ in seen),
        )
        return _ended(made, spec=self.scenario.spec, killed=seen[0][2])

    def _arm(
        self, arm: Arm, assignment: Assignment, number: int, served: float, window: Window
    ) -> tuple[list[Measurement], Load, bool]:
        """(what was measured, its load, whether a pod was killed)."""
        truth = self.scenario.truth
        share = truth.spec.route_share(assignment)
        fleet = truth.fleet(assignment, share)
        steps = round((window.end - served) / STEP_S)
        loads = self.scenario.offered.series(served + STEP_S * (np.arange(steps) + 0.5)) * share
        play = fleet.play(loads, first=self._first(assignment, share, served))
        play = play.since(round((window.start - served) / STEP_S))
        pods = value_sample([float(n) for n in play.pods], None)
        assert isinstance(pods, Sample)
        speed, drift = self._noise(arm, number, play.mean_pods, window)
        rng = np.random.default_rng((self.seed, number, int(arm is Arm.CANARY)))
        measured = [
            Measurement(q.sli, arm, window, self._counted(q, assignment, play, (speed, drift), rng))
            for q in truth.questions
        ]
        per_pod = float(play.loads.mean()) / pods.value
        killed = bool(rng.random() < -math.expm1(-play.seconds(lambda b: b.oom_per_s)))
        used = play.seconds(lambda b: b.cpu_usage_cores) / (float(play.serving.sum()) * STEP_S) * math.exp(speed)
        unsure = used * self._each_pod / math.sqrt(pods.value)
        load = Load(arm, per_pod, per_pod * 1e-3, pods.value, pods.standard_error, used, unsure)
        return measured, load, killed

    def _first(self, assignment: Assignment, share: float, served: float) -> int:
        """The pods that an arm begins with: its share of today's, within its autoscaler's bounds."""
        truth = self.scenario.truth
        today = int(truth.fleet(truth.baseline).usual(self.scenario.offered.series(served))[0])
        hpa, least = truth.fleet(assignment, share).hpa, truth.spec.canary.replicas
        return min(max(least, round(today * share), hpa.least), hpa.most)

    def _noise(self, arm: Arm, number: int, pods: float, window: Window) -> tuple[float, float]:
        """ln of the factors on the CPU time of an arm's pods, and on the dependency's time."""
        spread = self.scenario.workload.noise
        speed = self._each_pod / math.sqrt(pods) * float(noise.gaussian(self.seed, f"speed {arm}", number)[0])
        middle = 0.5 * (window.start + window.end)
        return speed, math.log(noise.drift(self.seed, "drift", spread.drift_percent, spread.drift_interval, middle))

    def _counted(
        self, q: Question, assignment: Assignment, play: Play, factors: tuple[float, float], rng: np.random.Generator
    ) -> Sample | NoData:
        """Bad requests of all, from counts in as many sub-windows as the operator takes."""
        ratios = play.ratios(lambda b: _part(q, b))
        ratios = np.clip(ratios * math.exp(self._answer(q, assignment, play, factors)), 0.0, 1.0)
        total = rng.poisson(play.loads * STEP_S)
        bad = rng.binomial(total, ratios)
        edges = np.linspace(0, len(total), SUB_WINDOWS + 1).round().astype(int)[:-1]
        found = ratio_sample(np.add.reduceat(bad, edges).tolist(), np.add.reduceat(total, edges).tolist())
        assert isinstance(found, Sample | NoData)
        return found

    def _answer(self, q: Question, assignment: Assignment, play: Play, factors: tuple[float, float]) -> float:
        """By how much ln of the ratio moves, to first order, at the load that pods had on average."""
        run = self.scenario.truth.run(assignment)
        level = math.exp(round(math.log(float((play.loads / play.serving).mean())) / GRID) * GRID)
        step = math.exp(GRID)
        changed = (Conditions(cpu_slowdown=step), Conditions(dependency_factor=step))
        before = _log(_part(q, evaluate(*run, level)))
        slopes = [(_log(_part(q, evaluate(*run, level, each))) - before) / GRID for each in changed]
        return sum(slope * factor for slope, factor in zip(slopes, factors, strict=True))


def _part(q: Question, behaviour: PodBehaviour) -> float:
    value = q.of(behaviour, 1)
    assert not isinstance(value, NoData)
    return value


def _log(ratio: float) -> float:
    return math.log(max(ratio, LEAST_RATIO))


def _ended(trial: Trial, spec: ExperimentSpec, killed: bool) -> Trial:
    """As the operator judges it."""
    verdict = judge_trial(spec, trial)
    if killed:
        outcome = Outcome(TrialPhase.INFEASIBLE, "OOMKilled", "a pod of the canary was killed")
    elif isinstance(verdict, NeedsExtension):
        outcome = Outcome(TrialPhase.INCONCLUSIVE, "TooFewSamples", verdict.message)
    else:
        outcome = verdict
    return replace(trial, phase=outcome.phase, outcome=outcome)


__all__ = ["Bench"]
