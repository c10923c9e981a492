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
from trimtab.domain.trial import SEARCHES, Purpose
from trimtab.optimize.encoding import Encoder
from trimtab.optimize.safe import Belief
from trimtab.optimize.steps import axis

Floats = NDArray[np.float64]

SEARCHED = SEARCHES | {Purpose.INITIAL}
LEAST_SCORES = 5
TWO_SIDED_95 = 1.959964
AXIS_POINTS = 9


def diagnose(belief: Belief, members: list[Assignment], safe_points: int) -> Diagnostics:
    """At one suggestion; `members` is V, the best first; without any the bounds are looked at around the baseline."""
    scores: list[bool] = []
    lengths: list[tuple[str, str, float]] = []
    notes: list[str] = []
    targets, models = (*belief.targets, *belief.study.measured), (*belief.models, *belief.aims.models)
    for target, model in zip(targets, models, strict=True):
        if len(model.rows):
            z = model.leave_one_out()[model.rows.canary]
            scores += [bool(abs(v) <= TWO_SIDED_95) for v in z]
        own = belief.encoder.per_parameter(model.scales.l)
        lengths += [(target.name, n, float(v)) for n, v in zip(belief.encoder.names, own, strict=True)]
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
        effective_dimension=effective_dimension(belief, members[0] if members else belief.study.baseline),
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
    effects = _effects(belief, centre)
    total = float(np.sum(effects**4))
    return _finite(float(np.sum(effects**2)) ** 2 / total) if total > 0 else None


def _effects(belief: Belief, centre: Assignment) -> Floats:
    """The largest change of any bound's mean along each parameter's axis. Shape: (d,)."""
    space, effects = belief.study.space, np.zeros(len(belief.study.space.parameters))
    if not belief.models:
        return effects
    lines: list[Assignment] = []
    ends: list[tuple[int, int]] = []
    for parameter in space.parameters:
        begin = len(lines)
        if space.active(parameter.name, centre):
            values = axis(parameter.domain)
            chosen = sorted({round(k * (len(values) - 1) / (AXIS_POINTS - 1)) for k in range(AXIS_POINTS)})
            moved = (centre.replace(parameter.name, values[i]) for i in chosen)
            lines += [space.canonical(x, belief.study.baseline) for x in moved]
        ends.append((begin, len(lines)))
    mean, _ = belief.predict(belief.encoder.encode(lines))
    for i, (begin, end) in enumerate(ends):
        if end > begin:
            effects[i] = np.max(np.ptp(mean[:, begin:end], axis=1))
    return effects


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


__all__ = ["diagnose", "diversity", "effective_dimension"]
