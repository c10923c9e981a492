"""From a study to the training rows of each constraint: what each outcome teaches, as numbers.

Each complete trial adds two rows per absolute bound (canary at x, control at its own assignment, each at its own load)
and one row per relative bound. A withdrawn trial adds its canary only, where g > 0, as min(g, ln 3) with
se >= min(g, 1): its window was cut short, and the further it went over the bound, the likelier its cause is elsewhere.
When this assignment, or one with less of everything, held at such a load in complete trials, resources do not explain
the withdrawal (a slow dependency, a bad node), and se is 2. An OOM adds g = ln 3, se 0.5 at the baseline with only that
resource lowered.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trimtab.domain.space import Assignment
from trimtab.domain.study import ArmOutcome, ConstraintTarget, Study, TrialOutcome
from trimtab.optimize.encoding import Encoder
from trimtab.optimize.kernel import Inputs
from trimtab.optimize.readings import (
    FAILURE_G,
    FAILURE_SE,
    SE_FLOOR,
    TRUNCATED_SE,
    UNEXPLAINED_SE,
    Observation,
    observe_trial,
)
from trimtab.optimize.steps import no_more, resource_parameters
from trimtab.optimize.surrogate import Rows

Floats = NDArray[np.float64]
Z_LIMIT = 6.0
LOG_PHI_VARIANCE, LEAST_POOLED = 0.33, 4
INHERITED = 3.0  # variances between trials more than another trial has
ALIKE_LOAD = 0.95  # of another load is about as much


@dataclass(frozen=True)
class LoadScale:
    """z = log2(load / reference); `peak` is z at the load for which a recommendation must hold, `ahead` that of the
    next trial at most, `usual` the median trial's, `seen` that of the highest load that an arm had."""

    reference: float | None
    peak: float
    usual: float
    seen: float = 0.0
    ahead: float = 0.0

    def z(self, load: float | None) -> float:
        """An unmeasured load counts as the usual one."""
        if self.reference is None or not _positive(load):
            return self.usual
        assert load is not None
        return _octaves(load, self.reference)


def load_scale(study: Study) -> LoadScale:
    """The reference is the peak, so the trend's prior is centred where safety is asked; z = 0 when load is unknown."""
    loads = [
        arm.load
        for trial in study.outcomes
        for arm in (trial.canary, trial.control)
        if trial.learnable and arm is not None and arm.load is not None and _positive(arm.load)
    ]
    peak = study.peak_load
    if peak is None or not _positive(peak):
        peak = max(loads, default=None)
    if peak is None:
        return LoadScale(None, 0.0, 0.0)
    expected = study.expected_load
    peak = max([peak, *(load for load in (study.usual_peak, expected) if load is not None and _positive(load))])
    octaves = [_octaves(v, peak) for v in loads] or [0.0]
    ahead = _octaves(expected, peak) if expected is not None and _positive(expected) else 0.0
    return LoadScale(peak, 0.0, float(np.median(octaves)), max(octaves), ahead)


@dataclass(frozen=True)
class _Row:
    assignment: Assignment
    z: float
    finished: float
    seen: Observation
    trial: int
    canary: bool


def build_rows(
    study: Study,
    target: ConstraintTarget,
    encoder: Encoder,
    loads: LoadScale,
    held: Sequence[Assignment],
    between: float = 0.0,
    least: float = SE_FLOOR,
) -> Rows:
    """All rows of one constraint, in the order of the ledger, the canary before its control; inherited ones first.

    `held` are the assignments whose complete trials kept every bound. `between` is the variance between trials to
    expect: an inherited trial has four times of it, so its rows carry three more of their own, and as values, since
    counts would claim to be exact. `least` is the least standard error of a value, in g.
    """
    found = [
        row
        for number, trial in enumerate((*study.inherited, *study.outcomes))
        for row in _of_trial(study, target, trial, number, loads, held, least)
    ]
    found = [_aged(row, between) if row.trial < len(study.inherited) else row for row in found]
    u = encoder.encode([r.assignment for r in found]) if found else np.zeros((0, len(encoder.groups)))
    counts = [r.seen.bad is not None and r.seen.expected is not None for r in found]
    return Rows(
        at=Inputs(u, np.asarray([r.z for r in found], float), np.asarray([r.finished for r in found], float)),
        y=np.asarray([r.seen.g for r in found], float),
        v=np.asarray([r.seen.se**2 for r in found], float),
        bad=np.asarray([_or_nan(r.seen.bad) if c else math.nan for r, c in zip(found, counts, strict=True)], float),
        expected=np.asarray([_or_nan(r.seen.expected) for r in found], float),
        phi=pooled_overdispersion(np.asarray([r.seen.overdispersion for r in found], float)),
        trial=np.asarray([r.trial for r in found], dtype=np.int64),
        canary=np.asarray([r.canary for r in found], dtype=bool),
    )


def hinted_rows(
    study: Study, target: ConstraintTarget, encoder: Encoder, loads: LoadScale, tau: tuple[float, float]
) -> Rows:
    """Rows of the hints alone, with four times the variance between trials that the prior `tau` (mean and sd of its
    log) expects."""
    alone = replace(study, inherited=study.hints, outcomes=(), hints=())
    return build_rows(alone, target, encoder, loads, (), math.exp(2 * tau[0]))


def _aged(row: _Row, between: float) -> _Row:
    return replace(row, seen=Observation(row.seen.g, math.sqrt(row.seen.se**2 + INHERITED * between)))


def pooled_overdispersion(found: Floats) -> Floats:
    """Each row's phi drawn towards their median, by as much as their spread is explained by how roughly they are known.

    A phi from the sub-windows of one trial has a log variance of about 0.33 (trigamma(d / 2) at 7 degrees of freedom),
    while all rows are of one service. Weights that are mostly noise waste trials. Empirical Bayes: Efron and Morris
    1975. Shape: (n,) -> (n,).
    """
    if len(found) < LEAST_POOLED:
        return found
    logs = np.log(np.maximum(found, 1.0))
    middle = float(np.median(logs))
    own = max(0.0, 1.0 - LOG_PHI_VARIANCE / max(float(np.mean((logs - middle) ** 2)), LOG_PHI_VARIANCE))
    return np.asarray(np.exp(middle + own * (logs - middle)))


def has_counts(study: Study, target: ConstraintTarget) -> bool:
    """Whether the SLI of an absolute bound is a ratio of counts."""
    return any(
        r.constraint == target.name and r.sample.bad is not None
        for trial in study.outcomes
        for arm in (trial.canary, trial.control)
        if arm is not None
        for r in arm.readings
    )


def _of_trial(
    study: Study,
    target: ConstraintTarget,
    trial: TrialOutcome,
    number: int,
    loads: LoadScale,
    held: Sequence[Assignment],
    least: float,
) -> Iterator[_Row]:
    if not trial.learnable or not math.isfinite(trial.finished):
        return
    canary = trial.canary
    if trial.failure is not None:
        seen = Observation(FAILURE_G, FAILURE_SE)
        yield _Row(_broken(study, trial), loads.z(canary.load), trial.finished, seen, number, True)
        return
    own = observe_trial(target, trial, canary, least)
    if trial.truncated:
        if own is not None and own.g > 0:
            explained = not any(
                no_more(study.space, x, canary.assignment) and _saw(study, x, canary.load) for x in held
            )
            se = max(own.se, min(own.g, TRUNCATED_SE) if explained else UNEXPLAINED_SE)
            seen = Observation(min(own.g, FAILURE_G), se)
            yield _Row(canary.assignment, loads.z(canary.load), trial.finished, seen, number, True)
        return
    if own is not None:
        yield _Row(canary.assignment, loads.z(canary.load), trial.finished, own, number, True)
    control: ArmOutcome | None = trial.control
    if control is not None:
        seen_control = observe_trial(target, trial, control, least)
        if seen_control is not None:
            yield _Row(control.assignment, loads.z(control.load), trial.finished, seen_control, number, False)


def _saw(study: Study, assignment: Assignment, load: float | None) -> bool:
    """Whether a complete trial of it saw about such a load; a load that was not measured counts as seen."""
    seen = [
        arm.load
        for trial in study.outcomes
        if trial.learnable and not trial.truncated and trial.failure is None
        for arm in (trial.canary, trial.control)
        if arm is not None and arm.assignment == assignment and arm.load is not None
    ]
    return load is None or not seen or max(seen) >= ALIKE_LOAD * load


def _broken(study: Study, trial: TrialOutcome) -> Assignment:
    """Where a hard failure is learned: at the baseline with only the failing resource changed."""
    broken = trial.canary.assignment
    if trial.failure is None or trial.failure.resource is None:
        return broken
    place = study.baseline
    for name in resource_parameters(study.space, trial.failure.resource):
        place = place.replace(name, broken[name])
    # What is not active under the baseline can only be learned where it broke.
    return place if study.space.canonical(place, study.baseline) == place else broken


def _positive(load: float | None) -> bool:
    return load is not None and math.isfinite(load) and load > 0


def _octaves(load: float, reference: float) -> float:
    ratio = load / reference
    return min(max(math.log2(ratio), -Z_LIMIT), Z_LIMIT) if ratio > 0 else -Z_LIMIT


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
