"""What several trials of one arm measured of an SLI, pooled. Pure."""

from __future__ import annotations

import math

from trimtab.domain.measurement import Arm, Sample
from trimtab.domain.trial import Trial


def pool(trials: tuple[Trial, ...], sli: str, arm: Arm) -> tuple[float, float] | None:
    """(value, standard error) of one SLI over several trials of one arm, or None when one lacks it."""
    samples: list[Sample] = []
    for trial in trials:
        found = trial.measurement(sli, arm)
        if found is None or not isinstance(found.reading, Sample):
            return None
        samples.append(found.reading)
    if not samples:
        return None
    if all(s.bad is not None and s.total > 0 for s in samples):
        total = sum(s.total for s in samples)
        value = sum(s.bad or 0.0 for s in samples) / total
        error = math.sqrt(sum((s.standard_error * s.total) ** 2 for s in samples)) / total
        return value, error
    weights = [1 / max(s.standard_error, 1e-12) ** 2 for s in samples]
    value = sum(w * s.value for w, s in zip(weights, samples, strict=True)) / sum(weights)
    return value, math.sqrt(1 / sum(weights))
