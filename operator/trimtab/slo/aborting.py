"""The abort rule of a bound: broken in several of the last windows, and by all of them together beyond doubt. Pure.

Each window is judged at the constraint's own confidence, so three of four may be broken by chance at one of the sixty
looks of a trial. Therefore the same windows taken together must break the bound, too, at z = 4.5 for values and 4 for
counts, whose limits are exact for few events (`benchmarks/safety`): clusters have heavy tails. For a canary that is bad
all the time this is hardly a delay, as four windows together say more than each of them.

Windows are too short to tell how their events cluster, or for how long a value stays high. Both are taken from the
control: phi from the counts of its windows, and of the history where that is known; for values the spread of its
windows, as what is alike for a minute is not averaged away by four windows of ten seconds. The canary's own spread
would hide a fault that began in between.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from statistics import NormalDist, fmean

from trimtab.domain.measurement import Arm, Reading, Sample
from trimtab.domain.spec import ExperimentSpec, OutcomeConstraint, Sli
from trimtab.domain.trial import Outcome, TrialPhase
from trimtab.slo.bounds import BoundCheck, Standing, beyond, check, no_worse
from trimtab.slo.estimate import ASSUMED, PRIOR_OVERDISPERSION, counted_sample, shrunk_overdispersion
from trimtab.slo.watching import SafetyWindow, WatchState
from trimtab.slo.words import show

BEYOND_DOUBT, COUNTED_BEYOND_DOUBT = NormalDist().cdf(4.5), NormalDist().cdf(4.0)
PRIOR_SPREAD, SPREAD_WEIGHT = 0.08, 8.0  # of the values of windows, relative; as many windows as it counts for


def aborts(
    spec: ExperimentSpec, constraint: OutcomeConstraint, watch: WatchState, begun: float | None
) -> Outcome | None:
    """Why the trial is withdrawn for this bound, None when it is not.

    Args:
        begun: unix seconds at which the measurement began; windows that lie mostly before it do not count. None: all
            do.
    """
    rule = constraint.abort
    if rule is None:
        return None
    recent = [*islice(_readable(watch, constraint.sli, begun), rule.out_of)][::-1]
    if sum(beyond(constraint, canary, control) for _, canary, control in recent) < rule.breaches:
        return None
    windows = tuple(w for w, _, _ in recent)
    phi = overdispersion(watch, constraint.sli)
    checks = ((w, window_check(spec, constraint, w, phi)) for w in windows)
    broken = [(w, found.words) for w, found in checks if found is not None and found.standing is Standing.BROKEN]
    if len(broken) < rule.breaches or not _together(spec, constraint, watch, windows, phi):
        return None
    window, words = broken[-1]
    message = f"{constraint.name}: {words} in {len(broken)} of {len(windows)} windows"
    message += _control_words(spec.sli(constraint.sli), window)
    if _control_breaks_too(spec, constraint, windows, phi):
        return Outcome(TrialPhase.ABORTED, "ControlFailedToo", f"{message}: it broke the bound too", constraint.name)
    return Outcome(TrialPhase.INFEASIBLE, "AbortRule", message, constraint.name)


def window_check(
    spec: ExperimentSpec, constraint: OutcomeConstraint, window: SafetyWindow, phi: float
) -> BoundCheck | None:
    """One window against the bound; None when the canary was not measured. In an Experiment that repairs, only what is
    worse than the control is broken."""
    canary, control = (_widened(window.reading(constraint.sli, arm), phi) for arm in (Arm.CANARY, Arm.CONTROL))
    if not isinstance(canary, Sample):
        return None
    return _checked(spec, constraint, canary, control)


def overdispersion(watch: WatchState, sli: str) -> float:
    """phi of counts, as the control's windows and the target's history show it."""
    readings = [w.reading(sli, Arm.CONTROL) for w in watch.windows]
    counted = [(r.bad, r.total) for r in readings if isinstance(r, Sample) and r.bad is not None]
    phi = shrunk_overdispersion([bad for bad, _ in counted], [total for _, total in counted])
    return max([phi, *(test.ratio.phi for name, test in watch.tests if name == sli)])


def _checked(
    spec: ExperimentSpec, constraint: OutcomeConstraint, canary: Sample, control: Reading | None
) -> BoundCheck:
    sli = spec.sli(constraint.sli)
    found = check(sli, constraint, canary, control)
    if found.standing is Standing.BROKEN and spec.search.repair and no_worse(sli, constraint, canary, control):
        return BoundCheck(Standing.OPEN, f"{found.words}, no worse than the control")
    return found


def _readable(
    watch: WatchState, sli: str, begun: float | None
) -> Iterator[tuple[SafetyWindow, Sample, Reading | None]]:
    """Windows in which the canary was measured, newest first, as far as they lie at least half in the measurement."""
    for window in reversed(watch.windows):
        if not window.mostly_since(begun):
            return
        canary = window.reading(sli, Arm.CANARY)
        if isinstance(canary, Sample):
            yield window, canary, window.reading(sli, Arm.CONTROL)


def _together(
    spec: ExperimentSpec, constraint: OutcomeConstraint, watch: WatchState, windows: Sequence[SafetyWindow], phi: float
) -> bool:
    """Whether these windows break the bound when they are taken as one."""
    spread = _spread(watch, constraint.sli)
    canary, control = (
        _pooled([r for w in windows if isinstance(r := w.reading(constraint.sli, arm), Sample)], phi, spread)
        for arm in (Arm.CANARY, Arm.CONTROL)
    )
    if canary is None:
        return False
    doubt = BEYOND_DOUBT if canary.bad is None else COUNTED_BEYOND_DOUBT
    strict = replace(constraint, confidence=max(constraint.confidence, doubt))
    return _checked(spec, strict, canary, control).standing is Standing.BROKEN


def _pooled(samples: Sequence[Sample], phi: float, spread: float) -> Sample | None:
    """Several windows of one arm as one: counts added up, values averaged. None without any.

    Args:
        phi: overdispersion of counts.
        spread: standard deviation of values of windows, relative.
    """
    if not samples:
        return None
    total = sum(s.total for s in samples)
    counts = [s.bad for s in samples if s.bad is not None]
    if len(counts) < len(samples):
        value = fmean(s.value for s in samples)
        least = abs(value) * spread
        error = max(least, math.hypot(*(s.standard_error for s in samples)) / len(samples))
        if all(s.below is None for s in samples):
            return Sample(value, error, total)
        down = math.hypot(*(s.standard_error if s.below is None else s.below for s in samples)) / len(samples)
        return Sample(value, error, total, below=max(least, down))  # the mean of lower limits is one
    return counted_sample(sum(counts), total, phi)


def _spread(watch: WatchState, sli: str) -> float:
    """Relative standard deviation of the values of windows, shrunk to 8 % while the control has shown few."""
    readings = [w.reading(sli, Arm.CONTROL) for w in watch.windows]
    values = [r.value for r in readings if isinstance(r, Sample) and r.bad is None]
    mean = fmean(values) if values else 0.0
    if not mean:
        return PRIOR_SPREAD
    square = sum((v / mean - 1) ** 2 for v in values)
    return math.sqrt((SPREAD_WEIGHT * PRIOR_SPREAD**2 + square) / (SPREAD_WEIGHT + len(values) - 1))


def _widened(reading: Reading | None, phi: float) -> Reading | None:
    """Counts with at least this overdispersion. What the window's own was assumed to be, the control tells better."""
    if not isinstance(reading, Sample) or reading.bad is None:
        return reading
    assumed = reading.degrees == ASSUMED
    own = reading.overdispersion * (phi / PRIOR_OVERDISPERSION if assumed else 1.0)
    if phi <= own and not assumed:
        return reading
    error = reading.standard_error * math.sqrt(max(phi, own) / reading.overdispersion)
    return replace(reading, overdispersion=max(phi, own), standard_error=error, degrees=None)


def _control_words(sli: Sli, window: SafetyWindow) -> str:
    control = window.reading(sli.name, Arm.CONTROL)
    return f", control {show(sli, control.value)}" if isinstance(control, Sample) else ""


def _control_breaks_too(
    spec: ExperimentSpec, constraint: OutcomeConstraint, windows: Sequence[SafetyWindow], phi: float
) -> bool:
    """Whether the control broke the same bound in as many of the same windows."""
    absolute = replace(constraint, relative=None)
    if spec.search.repair or constraint.abort is None or (absolute.maximum is None and absolute.minimum is None):
        return False
    readings = [_widened(w.reading(constraint.sli, Arm.CONTROL), phi) for w in windows]
    samples = [r for r in readings if isinstance(r, Sample)]
    sli = spec.sli(constraint.sli)
    broken = sum(check(sli, absolute, s, None).standing is Standing.BROKEN for s in samples)
    return broken >= constraint.abort.breaches


__all__ = ["aborts", "overdispersion", "window_check"]
