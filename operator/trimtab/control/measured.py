"""What several trials of one arm measured of an SLI, pooled. Pure."""

from __future__ import annotations

import math

from trimtab.domain.limits import ratio_limits
from trimtab.domain.measurement import Arm, Sample
from trimtab.domain.trial import Trial


def pool(trials: tuple[Trial, ...], sli: str, arm: Arm) -> Sample | None:
    """One SLI over several trials of one arm, or None when one lacks it. Counts are added, and cluster as in the trial
    where they do so most; other values are pooled by inverse variance."""
    samples: list[Sample] = []
    for trial in trials:
        found = trial.measurement(sli, arm)
        if found is None or not isinstance(found.reading, Sample):
            return None
        samples.append(found.reading)
    if not samples:
        return None
    total = sum(s.total for s in samples)
    if all(s.bad is not None and s.total > 0 for s in samples):
        bad = sum(s.bad or 0.0 for s in samples)
        error = math.sqrt(sum((s.standard_error * s.total) ** 2 for s in samples)) / total
        return Sample(bad / total, error, total, bad, max(s.overdispersion for s in samples))
    weights = [1 / max(s.standard_error, 1e-12) ** 2 for s in samples]
    value = sum(w * s.value for w, s in zip(weights, samples, strict=True)) / sum(weights)
    return Sample(value, math.sqrt(1 / sum(weights)), total)


def limits(pooled: Sample, z: float) -> tuple[float, float]:
    """(lower, upper) limit of the pooled value, one-sided, `z` the normal quantile of the confidence; the value itself
    for 0. Ratios have those of rare events: a normal interval of no bad event holds in 69 % instead of 95 %."""
    if pooled.bad is not None and z > 0:
        return ratio_limits(pooled.bad, pooled.total, pooled.overdispersion, z)
    return pooled.value - z * pooled.standard_error, pooled.value + z * pooled.standard_error
