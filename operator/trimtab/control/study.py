"""The ledger turned into the Designer's question: the model's data comes from the Trials alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import fmean

from trimtab.control.arms import cost_model
from trimtab.control.company import spoilt
from trimtab.control.driving import by_use, driven, filling, hardest_driven
from trimtab.control.forecast import CROWD, peak_of, whole
from trimtab.control.pods import against_control, hardest, load_context, load_of
from trimtab.domain.cost import CostModel, Filling
from trimtab.domain.kube import Target
from trimtab.domain.measurement import Arm, Sample
from trimtab.domain.space import Assignment, Resource
from trimtab.domain.spec import ExperimentSpec, OutcomeConstraint, SliKind
from trimtab.domain.state import Floor, TargetRecord
from trimtab.domain.study import (
    PODS,
    ArmOutcome,
    ConstraintReading,
    ConstraintTarget,
    FailureKind,
    HardFailure,
    Study,
    TrialOutcome,
    measured_name,
)
from trimtab.domain.trial import ENDED_EARLY, SCREENED, SCREENED_OUT, TERMINAL_PHASES, Purpose, Trial, TrialPhase
from trimtab.slo.verdict import BOUND_BROKEN

COUNTED = frozenset({TrialPhase.SUCCEEDED, TrialPhase.INFEASIBLE, TrialPhase.INCONCLUSIVE})
LEARNABLE = frozenset({TrialPhase.SUCCEEDED, TrialPhase.INFEASIBLE})
LOST = TERMINAL_PHASES - COUNTED
HARD_FAILURES = {
    "OOMKilled": HardFailure(FailureKind.OOM, Resource.MEMORY),
    "CrashLoop": HardFailure(FailureKind.CRASH, None),
    "ReadinessLost": HardFailure(FailureKind.UNREADY, None),
    "CpuThrottled": HardFailure(FailureKind.STRAINED, Resource.CPU),
    "CpuStarved": HardFailure(FailureKind.STRAINED, Resource.CPU),
    "MemoryNearLimit": HardFailure(FailureKind.STRAINED, Resource.MEMORY),
    "MemoryStalled": HardFailure(FailureKind.STRAINED, Resource.MEMORY),
}


def build_study(
    spec: ExperimentSpec,
    target: Target,
    record: TargetRecord,
    trials: tuple[Trial, ...],
    started: float,
    floors: tuple[Floor, ...] = (),
    excluded: tuple[Assignment, ...] = (),
    earlier: tuple[Trial, ...] = (),
    spoilt_before: int | None = None,
) -> Study:
    """The study of the next suggestion. Trials on another template of the target teach, but show nothing safe, and
    its baseline is measured anew. `earlier` are those of a warm start. Of a lower index than `spoilt_before` what had
    company teaches nothing.

    `now` is the end of the last trial, not the clock, so that a stored history replays to the same suggestion.
    """
    done = tuple(t for t in trials if t.phase.terminal)
    here = tuple(t for t in done if t.environment.template_hash == record.template_hash)
    cost = cost_model(spec, target, record)
    # All loads of a study are of one kind. Of a trial that lacks its use, in one where others have it, none is known.
    full = filling(spec, target, cost, here) if any(by_use(t) for t in done) else None
    by = _By(spec, cost, full is not None)
    known = ((t, _outcome(by, record.baseline, t)) for t in here)
    outcomes = tuple(replace(o, learnable=False) if spoilt(t, trials, spoilt_before) else o for t, o in known)
    inherited = _taught(by, tuple(t for t in done if t.environment.template_hash != record.template_hash))
    peak = peak_of(trials)
    usual = None if peak is None else peak[0]
    return Study(
        space=spec.space,
        baseline=record.baseline,
        cost=cost,
        constraints=tuple(c for constraint in spec.constraints for c in _targets(spec, constraint)),
        outcomes=outcomes,
        pending=tuple(t.assignment for t in trials if t.live),
        waiting=tuple(t.purpose for t in trials if t.live),
        search=spec.search,
        probability=spec.safety.probability,
        index=max((t.index + 1 for t in trials), default=0),
        now=max((o.finished for o in (*inherited, *outcomes)), default=started),
        floors=tuple((f.parameter, f.value) for f in floors),
        peak_load=_peak(spec, cost, record, outcomes, target.ready_replicas, trials, full, usual),
        min_improvement=spec.stopping.min_improvement,
        # `index` counts every Trial, maxTrials only those that reached a verdict, or may still.
        max_trials=spec.stopping.max_trials + sum(1 for t in trials if t.phase.terminal and not counts(t)),
        patience=spec.stopping.patience,
        excluded=excluded,
        inherited=inherited,
        hints=_hints(by, earlier, started),
        wanted=_wanted(spec, record.baseline),
        objectives=() if spec.is_cost and cost.known else spec.objectives,
        measured=_measured(spec, cost),
        usual_peak=usual,
        cost_limit=min((limit.maximum for limit in spec.cost_limits), default=None),
        driven=full,
    )


def _measured(spec: ExperimentSpec, cost: CostModel) -> tuple[ConstraintTarget, ...]:
    """The SLIs that objectives count, each once, in the direction in which the first of them wants it; and the pods,
    where an autoscaler decides about them and an objective counts the cost."""
    found: dict[str, ConstraintTarget] = {}
    for objective in spec.objectives:
        for term in objective.terms:
            if term.sli is not None and term.sli not in found:
                less = (term.weight >= 0) != objective.maximize
                kind = spec.sli(term.sli).kind
                found[term.sli] = ConstraintTarget(measured_name(term.sli), kind, 1.0, upper=less)
    costs = any(term.sli is None for objective in spec.objectives for term in objective.terms)
    pods = (ConstraintTarget(PODS, SliKind.VALUE, 1.0),) if costs and not cost.known else ()
    return (*found.values(), *pods)


def _wanted(spec: ExperimentSpec, baseline: Assignment) -> tuple[Assignment, ...]:
    given = spec.warm_start.assignments if spec.warm_start is not None else ()
    return tuple(Assignment.of({**baseline, **each}) for each in given)


@dataclass(frozen=True)
class _By:
    """What trials become outcomes by; `use`: their loads are how hard their pods were driven."""

    spec: ExperimentSpec
    cost: CostModel
    use: bool

    def load(self, trial: Trial, arm: Arm, assignment: Assignment) -> float | None:
        found = load_of(trial, arm)
        if found is None:
            return None
        return (driven if self.use else load_context)(self.cost, assignment, found)


def _hints(by: _By, earlier: tuple[Trial, ...], started: float) -> tuple[TrialOutcome, ...]:
    """What Trials of a warm start taught, those that are not too old when the Experiment starts."""
    if by.spec.warm_start is None:
        return ()
    oldest = started - by.spec.warm_start.max_age
    return tuple(o for o in _taught(by, earlier) if o.finished >= oldest)


def _taught(by: _By, trials: tuple[Trial, ...]) -> tuple[TrialOutcome, ...]:
    """What Trials on other targets or templates taught. Their controls ran what the target was then: that is what a
    Baseline trial of the same target ran, or nobody knows."""
    ran = {_target_of(t): t.assignment for t in trials if t.purpose is Purpose.BASELINE}
    found = []
    for trial in trials:
        outcome = _outcome(by, ran.get(_target_of(trial), trial.assignment), trial)
        if outcome.learnable:
            found.append(outcome if _target_of(trial) in ran else replace(outcome, control=None))
    return tuple(found)


def _target_of(trial: Trial) -> tuple[str, str]:
    return trial.experiment_uid, trial.environment.template_hash


def _load(outcome: TrialOutcome) -> float | None:
    """Requests per second per pod in one trial. The Service spreads them evenly over both arms, so their mean tells it
    with less noise than either: the highest of many single readings would be a peak that no pod ever had."""
    loads = [arm.load for arm in (outcome.canary, outcome.control) if arm is not None and arm.load is not None]
    return fmean(loads) if loads else None


def _peak(
    spec: ExperimentSpec,
    cost: CostModel,
    record: TargetRecord,
    outcomes: tuple[TrialOutcome, ...],
    ready: int,
    trials: tuple[Trial, ...],
    full: Filling | None,
    usual: float | None,
) -> float | None:
    """The load for which safety is asked: the highest that a trial saw outside of crowds, which are far beyond the
    `usual` peak of the days before, and what each pod gets of that once the arms are gone. That of the whole service is
    what it is, and what an autoscaler drives pods to has no peak but its tolerance."""
    most = math.inf if usual is None else CROWD * usual
    seen = [(o.index, load) for o in outcomes if (load := _load(o)) is not None and load <= most]
    loads = [load for _, load in seen]
    if record.scaled is not None and full is not None:
        return hardest_driven(record.scaled, loads)
    if record.scaled is not None:
        controls = [o.control.load for o in outcomes if o.control is not None and o.control.load is not None]
        return hardest(controls, loads, record.scaled.tolerance)
    if not loads or not cost.fixed:
        return max(loads, default=None)
    by_index = {t.index: t for t in trials}
    return max(whole(spec, ready, load, by_index[i], trials) for i, load in seen) / max(ready, 1)


def counts(trial: Trial) -> bool:
    """Does it count towards maxTrials? Search trials that reached a verdict do; verification has its own number."""
    return trial.purpose is not Purpose.VERIFICATION and trial.phase in COUNTED


def _targets(spec: ExperimentSpec, constraint: OutcomeConstraint) -> tuple[ConstraintTarget, ...]:
    kind = spec.sli(constraint.sli).kind
    found: list[ConstraintTarget] = []
    if constraint.maximum is not None:
        found.append(ConstraintTarget(constraint.name, kind, constraint.maximum, True, None, constraint.guard_only))
    if constraint.minimum is not None:
        name = constraint.name if constraint.maximum is None else f"{constraint.name}/min"
        found.append(ConstraintTarget(name, kind, constraint.minimum, False, None, constraint.guard_only))
    relative = constraint.relative
    if relative is not None:
        name, ratio, increase = constraint.name, relative.max_increase_ratio, relative.max_increase
        name = f"{name}/relative" if found else name
        found.append(ConstraintTarget(name, kind, 1.0, True, ratio, constraint.guard_only, increase))
    return tuple(found)


def _outcome(by: _By, baseline: Assignment, trial: Trial) -> TrialOutcome:
    finished = trial.times.finished if trial.times.finished is not None else trial.times.created
    control = _arm(by, trial, Arm.CONTROL, baseline)
    canary, ratio = _arm(by, trial, Arm.CANARY, trial.assignment), None
    if not by.cost.known:
        ratio = against_control(by.cost, trial.assignment, baseline, trial)
    if ratio is not None:
        canary = replace(canary, readings=(*canary.readings, ConstraintReading(PODS, ratio)))
    return TrialOutcome(
        index=trial.index,
        purpose=_purpose(trial),
        finished=finished,
        canary=canary,
        control=control if control.readings else None,
        failure=HARD_FAILURES.get(trial.outcome.reason) if trial.outcome is not None else None,
        truncated=_truncated(trial),
        learnable=trial.phase in LEARNABLE,
        lost=trial.phase in LOST,
        early=trial.outcome is not None and trial.outcome.reason == ENDED_EARLY,
    )


def _purpose(trial: Trial) -> Purpose:
    """A Screen that went on beyond its short window is a search trial like any other."""
    short = trial.outcome is not None and trial.outcome.reason in (SCREENED, SCREENED_OUT)
    return Purpose.SEARCH if trial.purpose is Purpose.SCREEN and not short else trial.purpose


def _truncated(trial: Trial) -> bool:
    """Withdrawn before it was judged, be it at the last moment: the windows that showed it were chosen for what they
    showed, so they are no measurement of the whole trial."""
    judged = trial.outcome is not None and trial.outcome.reason in (BOUND_BROKEN, SCREENED_OUT)
    return trial.phase is TrialPhase.INFEASIBLE and not judged


def _arm(by: _By, trial: Trial, arm: Arm, assignment: Assignment) -> ArmOutcome:
    readings: list[ConstraintReading] = []
    spec = by.spec
    for constraint in spec.constraints:
        measurement = trial.measurement(constraint.sli, arm)
        if measurement is None or not isinstance(measurement.reading, Sample):
            continue
        readings += [ConstraintReading(t.name, measurement.reading) for t in _targets(spec, constraint)]
    for sli in dict.fromkeys(term.sli for objective in spec.objectives for term in objective.terms):
        measurement = trial.measurement(sli, arm) if sli is not None else None
        if sli is not None and measurement is not None and isinstance(measurement.reading, Sample):
            readings.append(ConstraintReading(measured_name(sli), measurement.reading))
    return ArmOutcome(assignment, by.load(trial, arm, assignment), tuple(readings))
