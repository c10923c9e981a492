"""Several windows of one arm as one sample: what is left of a trial that was withdrawn before it was measured. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trimtab.domain.measurement import Sample
from trimtab.slo.estimate import counted_sample, value_sample


def pooled_sample(samples: Sequence[Sample]) -> Sample | None:
    """Counts are added up; of values the mean is taken, as wide as the windows differ and as the widest is known.
    None without windows, without requests, or where some windows have counts and others have not."""
    counts = [s.bad for s in samples if s.bad is not None]
    if not samples or len(counts) not in (0, len(samples)):
        return None
    return _counted(samples, sum(counts)) if counts else _averaged(samples)


def _counted(samples: Sequence[Sample], bad: float) -> Sample | None:
    total = sum(s.total for s in samples)
    if total <= 0:
        return None
    return counted_sample(bad, total, max(s.overdispersion for s in samples))


def _averaged(samples: Sequence[Sample]) -> Sample | None:
    found = value_sample([s.value for s in samples], sum(s.total for s in samples))
    if not isinstance(found, Sample):
        return None
    below = None
    if any(s.below is not None for s in samples):  # the mean of lower limits is one
        below = max(found.standard_error, *(s.standard_error if s.below is None else s.below for s in samples))
    return replace(found, standard_error=max(found.standard_error, *(s.standard_error for s in samples)), below=below)


__all__ = ["pooled_sample"]
