"""What the safety loop remembers of a live trial, put to what is on record of it."""

from __future__ import annotations

import math
from dataclasses import replace

from trimtab.domain.measurement import Measurement, Sample, Window
from trimtab.domain.trial import Spent, Trial, TrialPhase
from trimtab.slo.pooling import pooled_sample
from trimtab.slo.spending import merged
from trimtab.slo.watching import WatchState


def tested_from(trial: Trial) -> float:
    """Unix seconds from which on windows are tested: the end of the warm-up, which a trial that warms up does not know
    yet. Budgets and hard signals count from the first request."""
    return trial.times.measuring if trial.times.measuring is not None else math.inf


def with_spent(trial: Trial, spent: tuple[Spent, ...]) -> Trial:
    return replace(trial, spent=merged(trial.spent, spent)) if spent else trial


def with_measurements(trial: Trial, watch: WatchState) -> Trial:
    """What the windows so far add up to: the truncated measurement that a withdrawn trial keeps."""
    begun = tested_from(trial)
    windows = tuple(w for w in watch.windows if w.window.start >= begun)
    if trial.phase is not TrialPhase.MEASURING or not windows:
        return trial
    whole = Window(windows[0].window.start, windows[-1].window.end)
    found = []
    for sli, arm in sorted({(m.sli, m.arm) for w in windows for m in w.measurements}):
        pooled = pooled_sample([r for w in windows if isinstance(r := w.reading(sli, arm), Sample)])
        if pooled is not None:
            found.append(Measurement(sli, arm, whole, pooled))
    return replace(trial, measurements=tuple(found))


__all__ = ["tested_from", "with_measurements", "with_spent"]
