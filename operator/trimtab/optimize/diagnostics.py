"""The model's health in a few numbers, for people: calibration, diversity, how many parameters matter.

Notation: d parameters; e_i is the effect of parameter i, the largest change of any bound's mean along its axis.
  effective dimension = (sum_i e_i^2)^2 / sum_i e_i^4, the participation ratio (Bell and Dean, Discuss. Faraday Soc. 50
  (1970) 55): d when all parameters matter alike, 1 when one alone does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab.domain.space import Assignment
from trimtab.domain.study import Diagnostics, Study
from trimtab.domain.trial import Purpose
from trimtab.optimize.encoding import Encoder
from trimtab.optimize.safe import Belief
from trimtab.optimize.steps import axis

Floats = NDArray[np.float64]

SEARCHED = (Purpose.INITIAL, Purpose.SEARCH)
LEAST_SCORES = 5
TWO_SIDED_95 = 1.959964
AXIS_POINTS = 9


def diagnose(belief: Belief, members: list[Assignment], safe_points: int) -> Diagnostics:
    """At one suggestion; `members` is V, the best first."""
    scores: list[bool] = []
    lengths: list[tuple[str, str, float]] = []
    notes: list[str] = []
    targets, models = (*belief.targets, *belief.study.measured), (*belief.models, *belief.aims.models)
    for target, model in zip(targets, models, strict=True):
        if len(model.rows):
            z = model.leave_one_out()[model.rows.canary]
            scores += [bool(abs(v) <= TWO_SIDED_95) for v in z]
        lengths += [(target.name, n, float(v)) for n, v in zip(belief.encoder.names, model.scales.l, strict=True)]
        if model.fallback:
            notes.append(f"{target.name}: {model.fallback}")
    return Diagnostics(
        outcomes=len(belief.study.outcomes),
        verified_points=len(members),
        safe_points=safe_points,
        kappa=belief.kappa,
        coverage=sum(scores) / len(scores) if len(scores) >= LEAST_SCORES else None,
        lengthscales=tuple(lengths),
        fallback="; ".join(notes),
        effective_dimension=effective_dimension(belief, members[0]),
        symptoms=belief.symptoms,
    )


def diversity(study: Study) -> float | None:
    """Mean distance between the assignments that were searched, over the unit cube's diagonal; None below two."""
    tried = {t.canary.assignment for t in study.outcomes if t.purpose in SEARCHED}
    if len(tried) < 2:
        return None
    u = Encoder(study.space).encode(sorted(tried, key=study.space.format))
    distances = np.sqrt(np.sum((u[:, None, :] - u[None, :, :]) ** 2, axis=-1))
    pairs = len(tried) * (len(tried) - 1)
    return _finite(float(np.sum(distances) / pairs / np.sqrt(len(study.space.parameters))))


def effective_dimension(belief: Belief, centre: Assignment) -> float | None:
    """How many parameters the bounds depend on around `centre`, in [1, d]; None where none has any effect."""
    effects = np.asarray([_effect(belief, centre, i) for i in range(len(belief.study.space.parameters))])
    total = float(np.sum(effects**4))
    return _finite(float(np.sum(effects**2)) ** 2 / total) if total > 0 else None


def _effect(belief: Belief, centre: Assignment, index: int) -> float:
    """The largest change of any bound's mean along one parameter's axis."""
    if not belief.models:
        return 0.0
    parameter = belief.study.space.parameters[index]
    values = axis(parameter.domain)
    chosen = sorted({round(k * (len(values) - 1) / (AXIS_POINTS - 1)) for k in range(AXIS_POINTS)})
    line = [centre.replace(parameter.name, values[i]) for i in chosen]
    mean, _ = belief.predict(belief.encoder.encode(line))
    return float(np.max(np.ptp(mean, axis=1)))


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


__all__ = ["diagnose", "diversity", "effective_dimension"]
