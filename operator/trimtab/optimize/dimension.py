"""Too many parameters for the trials there are: what is said, and which parameters are held still.

Groups that move by a common factor are in `grouping.py`. Here: a parameter that neither the cost nor any bound depends
on only costs trials, so it is held where the incumbent has it. It is idle when
  what its cheapest value would save is less than 1 % of the baseline's cost, and
  e_ji^2 < 0.01 sum_k e_jk^2 for every bound j, with e_ji the change of bound j's mean over the values of parameter i
  that were tried: its share of what the bound's mean varies by (a first-order index as in Sobol 1993, around the
  incumbent)
after at least 15 measured canaries and three different values of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trimtab.domain.space import TRIALS_EACH, Assignment, Parameter, Value, crowded
from trimtab.domain.study import Study, Symptom, SymptomKind
from trimtab.optimize.grouping import MOST, grouped, groups
from trimtab.optimize.safe import Belief
from trimtab.optimize.steps import axis

Floats = NDArray[np.float64]

WORTHLESS = 0.01
LEAST_ROWS, LEAST_VALUES = 15, 3
SLOW_SECONDS = 2.0  # a suggestion takes a tenth of a second


def idle(belief: Belief, incumbent: Assignment) -> tuple[str, ...]:
    """Parameters that had better stay where the incumbent has them; none where the trials are enough for all, nor where
    a measured objective may depend on what no bound does."""
    study = belief.study
    if not too_many(study) or not belief.models or belief.aims.models:
        return ()
    rows = min(int(np.sum(model.rows.canary)) for model in belief.models)
    if rows < LEAST_ROWS:
        return ()
    tried = [_tried(belief, p) for p in study.space.parameters]
    effects = np.asarray(
        [_effects(belief, incumbent, p, v) for p, v in zip(study.space.parameters, tried, strict=True)]
    )
    shares = effects**2 / np.maximum(np.sum(effects**2, axis=0), 1e-12)
    small = np.all(shares < WORTHLESS, axis=1)
    return tuple(
        p.name
        for p, values, flat in zip(study.space.parameters, tried, small, strict=True)
        if flat and len(values) >= LEAST_VALUES and _to_save(belief, incumbent, p) < WORTHLESS
    )


def too_many(study: Study) -> bool:
    """Whether there are more parameters than the trials are good for."""
    return crowded(len(study.space.parameters), study.max_trials)


def told(study: Study, held: Sequence[str] = (), seconds: float = 0.0) -> tuple[Symptom, ...]:
    """The symptom, with what is done about it; `seconds` is how long the suggestion took."""
    d = len(study.space.parameters)
    words = []
    if too_many(study):
        words.append(f"{d} parameters for {study.max_trials} trials, {TRIALS_EACH} each are advised")
        several = d - len(set(groups(study.space)))
        if grouped(study) and several:
            words.append("those of one resource move by a common factor of the baseline first")
        elif d > MOST and several:
            words.append("each moves by itself now")
        else:
            words.append("tune fewer at a time, or raise maxTrials")
    if held:
        words.append(f"holds {', '.join(held)}, on which less than 1 % of the cost and of any bound depends")
    if seconds > SLOW_SECONDS:
        words.append(f"a suggestion took {seconds:.0f} s; tune fewer at a time")
    return (Symptom(SymptomKind.DIMENSIONALITY, "", "; ".join(words)),) if words else ()


def _tried(belief: Belief, parameter: Parameter) -> tuple[Value, ...]:
    study = belief.study
    found = {
        t.canary.assignment[parameter.name]
        for t in (*study.inherited, *study.outcomes)
        if t.learnable and study.space.active(parameter.name, t.canary.assignment)
    }
    return tuple(sorted(found, key=lambda v: (isinstance(v, str), v)))


def _effects(belief: Belief, incumbent: Assignment, parameter: Parameter, values: tuple[Value, ...]) -> Floats:
    """Change of each bound's mean over the values, all else as the incumbent has it. Shape: (m,)."""
    space, baseline = belief.study.space, belief.study.baseline
    line = [space.canonical(incumbent.replace(parameter.name, v), baseline) for v in values]
    mean, _ = belief.predict(belief.encoder.encode(line))
    return np.asarray(np.ptp(mean, axis=1))


def _to_save(belief: Belief, incumbent: Assignment, parameter: Parameter) -> float:
    """What the parameter's cheapest value would save, as a fraction of the baseline's cost."""
    study = belief.study
    costs = [study.cost.hourly(incumbent.replace(parameter.name, v)) for v in axis(parameter.domain)]
    return (study.cost.hourly(incumbent) - min(costs)) / study.cost.hourly(study.baseline)


__all__ = ["idle", "told", "too_many"]
