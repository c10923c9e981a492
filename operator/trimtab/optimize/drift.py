"""Has the service changed under the Experiment? The control arm runs the same assignment in every trial, so it tells.

Notation, per absolute bound: g_i is ln(SLI / bound) of the i-th trial's control and se_i its standard error, both from
its own reading; z_i its load in octaves, h_i = (1, z_i, z_i^2). What was seen since the last change makes a Bayesian
linear regression of g on h with prior b ~ N(b0, B0), posterior N(b, B): a day's load is no change. The next trial's
deviation is
  d_i = (g_i - h_i b) / sqrt(se_i^2 + tau^2 + h_i B h_i')
and two CUSUMs (Page 1954) look for a shift of one standard deviation, up and down:
  C_i = max(0, C_{i-1} +- d_i - 1/2), alarm at C_i > 8.
With that limit an unchanged service alarms once in some 9,500 trials (Siegmund 1985, both directions), and a shift of
three standard deviations is seen in four. Only what came before decides, so a later trial never moves an earlier alarm.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from trimtab.domain.study import ConstraintTarget, Study, Symptom, SymptomKind
from trimtab.optimize.data import LoadScale, load_scale
from trimtab.optimize.readings import observe_trial
from trimtab.optimize.surrogate import SLOW_RATIO

REFERENCE, LIMIT = 0.5, 8.0
LEAST = 3  # trials that say how it was
TAU = SLOW_RATIO.tau  # sd between trials, in ln: the prior's
COEFFICIENTS = np.asarray([0.0, SLOW_RATIO.load, 0.0])  # b0; g per octave of load as the prior of the surrogate
COEFFICIENT_SDS = np.asarray([10.0, 1.0, 1.0])


class _Cusum:
    """Deviations since the last change, and where the present rise began."""

    def __init__(self) -> None:
        self._precision = np.diag(1 / COEFFICIENT_SDS**2)
        self._moment = self._precision @ COEFFICIENTS
        self.seen = 0
        self.up = self.down = 0.0
        self.up_from = self.down_from = 0

    def add(self, number: int, g: float, se: float, z: float) -> int | None:
        """Take the next trial; returns the number of the first trial that belongs to a change, if it alarms."""
        own, h = se**2 + TAU**2, np.asarray([1.0, z, z * z])
        if self.seen >= LEAST:
            covariance = np.linalg.inv(self._precision)
            d = (g - float(h @ covariance @ self._moment)) / math.sqrt(own + float(h @ covariance @ h))
            self.up_from = self.up_from if self.up > 0 else number
            self.down_from = self.down_from if self.down > 0 else number
            self.up, self.down = max(0.0, self.up + d - REFERENCE), max(0.0, self.down - d - REFERENCE)
            if max(self.up, self.down) > LIMIT:
                return self.up_from if self.up > self.down else self.down_from
        self.seen += 1
        self._precision = self._precision + np.outer(h, h) / own
        self._moment = self._moment + h * g / own
        return None


def since_change(study: Study) -> tuple[Study, tuple[Symptom, ...]]:
    """The study with everything before the last change as inherited: it weighs less, and shows nobody safe any more."""
    loads, begun, symptoms = load_scale(study), 0, []
    for target in study.constraints:
        if target.guard_only or target.relative:
            continue
        found = _last_change(study, target, loads)
        if found:
            first = study.outcomes[found].index
            words = (
                f"the control changed at trial {first}: what came before weighs less, and the baseline is measured anew"
            )
            symptoms.append(Symptom(SymptomKind.DRIFT, target.name, words))
        begun = max(begun, found)
    if not begun:
        return study, ()
    before, after = study.outcomes[:begun], study.outcomes[begun:]
    return replace(study, inherited=(*study.inherited, *before), outcomes=after), tuple(symptoms)


def _last_change(study: Study, target: ConstraintTarget, loads: LoadScale) -> int:
    """Number of the first outcome of the present regime; 0 when there was no change."""
    begun, cusum = 0, _Cusum()
    numbers = range(len(study.outcomes))
    readings = [seen for n in numbers if (seen := _control(study, target, n, loads)) is not None]
    at = 0
    while at < len(readings):
        change = cusum.add(*readings[at])
        at += 1
        if change is not None:
            begun, cusum = change, _Cusum()
            at = next(i for i, (number, *_) in enumerate(readings) if number >= change)
    return begun


def _control(
    study: Study, target: ConstraintTarget, number: int, loads: LoadScale
) -> tuple[int, float, float, float] | None:
    """(number, g, se, z) of a trial's control."""
    trial = study.outcomes[number]
    if trial.control is None or not trial.learnable or trial.control.assignment != study.baseline:
        return None
    seen = observe_trial(target, trial, trial.control)
    if seen is None:
        return None
    return number, seen.g, seen.se, loads.z(trial.control.load)


__all__ = ["since_change"]
