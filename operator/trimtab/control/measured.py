"""What several trials of one arm measured of an SLI, pooled. Pure."""

from __future__ import annotations

import math
from statistics import fmean, stdev

from trimtab.domain.limits import ratio_limits
from trimtab.domain.measurement import Arm, Sample
from trimtab.domain.trial import Trial


def pool(trials: tuple[Trial, ...], sli: str, arm: Arm) -> Sample | None:
    """One SLI over several trials of one arm, or None when one lacks it. Counts are added, and cluster as in the trial
    where they do so most; of other values it is the mean (`_mean`)."""
    samples = _samples(trials, sli, arm)
    return _pooled(samples) if samples else None


def difference(trials: tuple[Trial, ...], sli: str, times: float = 1.0) -> Sample | None:
    """What the canary has more than so many times the control; None when a trial lacks either. Values are compared
    trial by trial, so what moved both arms from one trial to the next cancels."""
    canary, control = (_samples(trials, sli, arm) for arm in (Arm.CANARY, Arm.CONTROL))
    if not canary or not control:
        return None
    if _counted(canary) and _counted(control):
        return _apart(_pooled(canary), _pooled(control), times)
    return _mean([_apart(one, other, times) for one, other in zip(canary, control, strict=True)])


def _pooled(samples: list[Sample]) -> Sample:
    if not _counted(samples):
        return _mean(samples)
    total, bad = sum(s.total for s in samples), sum(s.bad or 0.0 for s in samples)
    error = math.sqrt(sum((s.standard_error * s.total) ** 2 for s in samples)) / total
    return Sample(bad / total, error, total, bad, max(s.overdispersion for s in samples))


def _counted(samples: list[Sample]) -> bool:
    return all(s.bad is not None and s.total > 0 for s in samples)


def _samples(trials: tuple[Trial, ...], sli: str, arm: Arm) -> list[Sample]:
    """Of each trial; none when one lacks it."""
    found = [trial.measurement(sli, arm) for trial in trials]
    samples = [m.reading for m in found if m is not None and isinstance(m.reading, Sample)]
    return samples if len(samples) == len(trials) else []


def _apart(canary: Sample, control: Sample, times: float) -> Sample:
    error = math.hypot(canary.standard_error, times * control.standard_error)
    return Sample(canary.value - times * control.value, error, min(canary.total, control.total))


def _mean(samples: list[Sample]) -> Sample:
    """Their mean, each counting alike: a standard error grows with its level, so weights by precision would hide the
    trial that was busy behind a quiet one. The error has what each is unsure of and how they differ (Cochran 1954),
    se^2 = (mean of se_i^2 + s^2) / R.

    A value at its bound passes with two trials in 2.4 % where they differ by chance alone, 6 % where the hours move it
    by a standard error, and 15 % by five (37 % with weights); Student's factor of one degree of freedom would make it
    5 %, and refuse half of the values that lie three standard errors within.
    """
    count, values = len(samples), [s.value for s in samples]
    spread = stdev(values) if count > 1 else 0.0
    within = math.sqrt(sum(s.standard_error**2 for s in samples) / count)
    return Sample(fmean(values), math.hypot(within, spread) / math.sqrt(count), sum(s.total for s in samples))


def limits(pooled: Sample, z: float) -> tuple[float, float]:
    """(lower, upper) limit of the pooled value, one-sided, `z` the normal quantile of the confidence; the value itself
    for 0. Ratios have those of rare events: a normal interval of no bad event holds in 69 % instead of 95 %."""
    if pooled.bad is not None and z > 0:
        return ratio_limits(pooled.bad, pooled.total, pooled.overdispersion, z)
    return pooled.value - z * pooled.standard_error, pooled.value + z * pooled.standard_error
