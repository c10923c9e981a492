"""The end of a trial's window: what was measured becomes an outcome. Pure.

Missing data is never a pass and never a violation; a control in breach says that the environment is bad, not the
assignment. The order of the questions is the table `QUESTIONS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from trimtab.domain.measurement import Absence, Ambiguous, Arm, NoData, NotAsked, Sample, Stale, TelemetryError
from trimtab.domain.quantity import format_duration
from trimtab.domain.spec import ExperimentSpec, OnMissing, OutcomeConstraint, Sli
from trimtab.domain.trial import ENDED_EARLY, SCREENED, SCREENED_OUT, Load, Outcome, Trial, TrialPhase, pods_behind
from trimtab.slo.bounds import Standing, check

BOUND_BROKEN = "BoundBroken"  # measured to the end, and a bound is surely broken
SHARE_LEAST = 0.5  # of what an arm should get
LOAD_DIFFERENCE = 0.2
LOAD_STANDARD_ERRORS = 3.0


@dataclass(frozen=True)
class NeedsExtension:
    """Too few samples: measure once more as long; after a screen: measure in full."""

    message: str


Verdict = Outcome | NeedsExtension


def judge_trial(spec: ExperimentSpec, trial: Trial) -> Verdict:
    """Judge a complete window."""
    for question in QUESTIONS:
        answer = question(spec, trial)
        if answer is not None:
            return answer
    return _judged(spec, trial)


def judge_screen(spec: ExperimentSpec, trial: Trial, promising: bool) -> Verdict:
    """Judge the short window of a Screen: it ends there when a bound is surely broken, or when every modelled bound is
    surely kept and nobody means to recommend its assignment; all else is measured in full.

    Args:
        promising: it was proposed to be recommended, or costs less than the incumbent.
    """
    verdict = judge_trial(spec, trial)
    if isinstance(verdict, NeedsExtension):
        return verdict
    if verdict.reason == BOUND_BROKEN:
        return replace(verdict, reason=SCREENED_OUT)
    if verdict.phase is not TrialPhase.SUCCEEDED:  # absent, no share, a control in breach: a longer window may tell
        return NeedsExtension(f"undecided after the screen: {verdict.message}")
    open_ = [words for c in spec.constraints if not c.guard_only and (words := _open(spec, c, trial))]
    if open_:
        return NeedsExtension(f"undecided after the screen: {open_[0]}")
    if promising:
        return NeedsExtension(f"promising after the screen: {verdict.message}")
    return replace(verdict, reason=SCREENED, message=f"explored enough; {verdict.message}")


def judge_early(spec: ExperimentSpec, trial: Trial) -> Outcome | None:
    """Judge a window that ends before its time, as the tests have shown the canary to be good: an outcome only where
    the measurement itself says so as clearly, None where the whole window is to be measured.

    Args:
        trial: with the measurements of the shortened window.
    """
    verdict = judge_trial(spec, trial)
    if isinstance(verdict, NeedsExtension) or verdict.phase is not TrialPhase.SUCCEEDED or trial.window is None:
        return None
    if any(_open(spec, c, trial) for c in spec.constraints if not c.guard_only):
        return None
    took, whole = format_duration(round(trial.window.seconds)), format_duration(round(spec.trial.duration))
    return replace(verdict, reason=ENDED_EARLY, message=f"clearly good after {took} of {whole}; {verdict.message}")


def _open(spec: ExperimentSpec, constraint: OutcomeConstraint, trial: Trial) -> str:
    """Words when the interval straddles the bound, "" when it does not."""
    canary, control = (_sample(trial, constraint.sli, arm) for arm in (Arm.CANARY, Arm.CONTROL))
    assert canary is not None
    found = check(spec.sli(constraint.sli), constraint, canary, control)
    return found.words if found.standing is Standing.OPEN else ""


def needed_slis(spec: ExperimentSpec) -> tuple[Sli, ...]:
    """The SLIs that a constraint bounds or an objective counts: a trial is worth nothing without them."""
    names = {c.sli for c in spec.constraints} | {t.sli for o in spec.objectives for t in o.terms}
    return tuple(s for s in spec.slis if s.name in names)


def _absent(spec: ExperimentSpec, trial: Trial) -> Verdict | None:
    """Every constraint needs a sample of both arms. `onMissing: Fail` blames the canary only while the control's can be
    read: what both lack is missing in the store."""
    for sli in needed_slis(spec):
        for arm in (Arm.CANARY, Arm.CONTROL):
            found = trial.measurement(sli.name, arm)
            if found is None:
                return Outcome(TrialPhase.INCONCLUSIVE, "NoData", f"{sli.name}: the {arm} was not measured")
            if isinstance(found.reading, Sample):
                continue
            there = _sample(trial, sli.name, Arm.CONTROL) is not None
            if arm is Arm.CANARY and there and sli.on_missing is OnMissing.FAIL and isinstance(found.reading, NoData):
                message = f"{sli.name}: {found.reading.detail}; onMissing is Fail"
                return Outcome(TrialPhase.INFEASIBLE, "MissingFails", message)
            message = f"{sli.name} of the {arm}: {found.reading.detail}"
            return Outcome(TrialPhase.INCONCLUSIVE, absence_reason(found.reading), message)
    return None


def absence_reason(reading: Absence) -> str:
    """The CamelCase reason of an absence."""
    match reading:
        case NoData():
            return "NoData"
        case Ambiguous():
            return "Ambiguous"
        case Stale():
            return "StaleTelemetry"
        case NotAsked():
            return "QueryLimit"
        case TelemetryError():
            return "TelemetryError"


def _too_few(spec: ExperimentSpec, trial: Trial) -> Verdict | None:
    for sli in needed_slis(spec):
        for arm in (Arm.CANARY, Arm.CONTROL):
            sample = _sample(trial, sli.name, arm)
            if sample is None or sample.total >= sli.min_samples:
                continue
            message = f"{sli.name} of the {arm}: {sample.total:,.0f} samples, {sli.min_samples:,} are needed"
            if not trial.extended:
                return NeedsExtension(message)
            return Outcome(TrialPhase.INCONCLUSIVE, "TooFewSamples", f"{message} even in a doubled window")
    return None


def _share(spec: ExperimentSpec, trial: Trial) -> Verdict | None:
    """Arms that did not get their traffic, or not the same, cannot be compared."""
    loads = {load.arm: load for load in trial.load}
    if spec.route is not None:
        return _share_of_route(spec, trial, loads)
    canary, control, target = (loads.get(arm) for arm in (Arm.CANARY, Arm.CONTROL, Arm.TARGET))
    if canary is None or control is None:
        return None
    words = f"canary {canary.rps_per_pod:.3g} and control {control.rps_per_pod:.3g} requests/s a pod"
    expected = max(canary.rps_per_pod, control.rps_per_pod)
    if target is not None:
        words += f", the target's pods {target.rps_per_pod:.3g}"
        expected = max(expected, target.rps_per_pod)
    if min(canary.rps_per_pod, control.rps_per_pod) < SHARE_LEAST * expected:
        return Outcome(TrialPhase.INCONCLUSIVE, "ShareNotAchieved", f"{words}: the share was not achieved")
    if _differ(canary, control):
        return Outcome(TrialPhase.INCONCLUSIVE, "ShareNotAchieved", f"{words}: too different to compare")
    return None


def _share_of_route(spec: ExperimentSpec, trial: Trial, loads: Mapping[Arm, Load]) -> Verdict | None:
    """By weights each arm gets a part of the traffic whatever its size: what all of it is must come to the same,
    reckoned from either.

    What reaches the target by other ways than the rule makes the arms' part of it all smaller, and is allowed for to a
    half, as it is in the other mode.
    """
    if not {Arm.CANARY, Arm.CONTROL} <= loads.keys():
        return None
    shares = {arm: _route_share(spec, trial, arm) for arm in (Arm.CANARY, Arm.CONTROL)}
    whole = {arm: _times(loads[arm], _pods(spec, trial, loads[arm]) / share) for arm, share in shares.items()}
    got = {arm: whole[arm].rps_per_pod * share for arm, share in shares.items()}
    words = f"canary {got[Arm.CANARY]:.3g} and control {got[Arm.CONTROL]:.3g} requests/s"
    words += f", meant as {100 * shares[Arm.CANARY]:.3g} and {100 * shares[Arm.CONTROL]:.3g} % of the rule's"
    least, most = sorted(load.rps_per_pod for load in whole.values())
    target = loads.get(Arm.TARGET)
    if target is not None:
        everything = sum(got.values()) + target.rps_per_pod * _pods(spec, trial, target)
        words += f", of {everything:.3g} in all"
        if least < SHARE_LEAST * everything:
            return Outcome(TrialPhase.INCONCLUSIVE, "ShareNotAchieved", f"{words}: the share was not achieved")
    if least < SHARE_LEAST * most or _differ(whole[Arm.CANARY], whole[Arm.CONTROL]):
        return Outcome(TrialPhase.INCONCLUSIVE, "ShareNotAchieved", f"{words}: too different to compare")
    return None


def _route_share(spec: ExperimentSpec, trial: Trial, arm: Arm) -> float:
    """What an arm was to get; where replicas are tuned, the control's is that of as many as the target had."""
    assert spec.route is not None
    if arm is Arm.CANARY:
        return spec.route_share(trial.assignment)
    if spec.replicas_parameter is None:
        return spec.route.share
    return spec.canary.replicas / max(trial.environment.target_replicas, 1)


def _pods(spec: ExperimentSpec, trial: Trial, load: Load) -> float:
    """Of how many pods this load is the mean."""
    fixed = trial.environment.target_replicas if load.arm is Arm.TARGET else spec.canary.replicas
    return pods_behind(load, float(fixed))


def _times(load: Load, factor: float) -> Load:
    error = load.standard_error
    return replace(
        load, rps_per_pod=load.rps_per_pod * factor, standard_error=None if error is None else error * factor
    )


def _differ(one: Load, other: Load) -> bool:
    """By more than a fifth, and by more than chance: arrivals come in bursts, and windows may be short."""
    if one.standard_error is None or other.standard_error is None:
        return False
    difference = abs(one.rps_per_pod - other.rps_per_pod)
    noise = math.hypot(one.standard_error, other.standard_error)
    larger = max(one.rps_per_pod, other.rps_per_pod)
    return difference > LOAD_DIFFERENCE * larger and difference > LOAD_STANDARD_ERRORS * noise


def _control_broken(spec: ExperimentSpec, trial: Trial) -> Verdict | None:
    """The control runs what is known to work, unless the Experiment is there to repair it."""
    if spec.search.repair:
        return None
    for constraint in spec.constraints:
        control = _sample(trial, constraint.sli, Arm.CONTROL)
        if control is None or (constraint.maximum is None and constraint.minimum is None):
            continue
        found = check(spec.sli(constraint.sli), _absolute(constraint), control, None)
        if found.standing is Standing.BROKEN:
            message = f"the control itself broke {constraint.name}: {found.words}; the environment is bad"
            return Outcome(TrialPhase.INCONCLUSIVE, "ControlInBreach", message)
    return None


def _absolute(constraint: OutcomeConstraint) -> OutcomeConstraint:
    return replace(constraint, relative=None)


def _sample(trial: Trial, sli: str, arm: Arm) -> Sample | None:
    found = trial.measurement(sli, arm)
    return found.reading if found is not None and isinstance(found.reading, Sample) else None


def _judged(spec: ExperimentSpec, trial: Trial) -> Outcome:
    words = []
    for constraint in spec.constraints:
        canary, control = (_sample(trial, constraint.sli, arm) for arm in (Arm.CANARY, Arm.CONTROL))
        assert canary is not None
        found = check(spec.sli(constraint.sli), constraint, canary, control)
        if found.standing is Standing.BROKEN:
            return Outcome(TrialPhase.INFEASIBLE, BOUND_BROKEN, f"{constraint.name}: {found.words}")
        words.append(f"{found.words} ({found.standing})")
    return Outcome(TrialPhase.SUCCEEDED, "Measured", "; ".join(words) or "nothing is bounded")


QUESTIONS: tuple[Callable[[ExperimentSpec, Trial], Verdict | None], ...] = (
    _absent,
    _too_few,
    _share,
    _control_broken,
)
