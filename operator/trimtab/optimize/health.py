"""When a model should not be trusted as it is: symptoms, and what is done about each.

Miscalibrated   of 15 canary rows or more, outliers aside, the variance of the leave-one-out z is above 2, or fewer than
                80 % of the last 15 are within 1.96: prior mode, kappa >= 1.5, half steps. A model that is less sure
                than it might be (a variance below 0.5, which ordinary searches show: ADR 3) harms nobody
ScaleAtBound    a lengthscale, or the sd between trials, is 3 prior sds from its prior mode: the same
Outlier         a canary row with a z beyond 3.5: its assignment is measured once more, if it would be safe were the row
                a fluke; then the row's standard error counts four times. It is never deleted
Noisy           the sd between trials is above half the range of g: told, since only more requests per trial help
z are standardized leave-one-out residuals, noise included (Rasmussen and Williams 2006, eq. 5.12).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trimtab.domain.study import Symptom, SymptomKind
from trimtab.optimize.surrogate import THETA_LIMIT, Posterior, Prior, Rows, fit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_ROWS = 15
MOST_VARIANCE = 2.0
WITHIN, LEAST_COVERAGE = 1.96, 0.8
FAR, WIDER = 3.5, 4.0
LEAST_SEEN = 8  # rows before anything is odd
DISTRUSTED = frozenset({SymptomKind.MISCALIBRATED, SymptomKind.SCALE_AT_BOUND})

Fit = Callable[[Rows, bool], Posterior]
"""Fits rows; True asks for the prior mode."""


def fitter(groups: Ints, prior: Prior, evaluations: int) -> Fit:
    """Fits by MAP with at most so many evaluations of the evidence."""
    return lambda rows, prior_mode: fit(rows, groups, prior, 0 if prior_mode else evaluations)


@dataclass(frozen=True)
class Checked:
    """A model that may be used, what was wrong with it, and the row that is to be measured once more, if any, with what
    would be believed if that row were a fluke."""

    model: Posterior
    symptoms: tuple[Symptom, ...] = ()
    doubtful: int | None = None
    if_fluke: Posterior | None = None


def checked(bound: str, rows: Rows, fit: Fit, indices: Sequence[int] = ()) -> Checked:
    """Fit, look, and treat what is wrong. `indices` are the Trials' own, by the number of a row's trial.

    Raises:
        NumericalFailure: not even the prior mode can be conditioned.
    """
    model, found, doubtful = fit(rows, False), [], None
    far = _far(model)
    for row in far:
        z = float(model.leave_one_out()[row])
        again = _measured_again(rows, row)
        words = "counts with four times its standard error" if again else "is measured once more"
        number = int(rows.trial[row])
        index = indices[number] if number < len(indices) else number
        found.append(Symptom(SymptomKind.OUTLIER, bound, f"trial {index} lies {z:+.1f} sd off and {words}"))
        if again:
            rows = _wider(rows, row)
        elif doubtful is None:
            doubtful = row
    if rows is not model.rows:
        model = fit(rows, False)
    wrong = _miscalibrated(bound, model, far) or _at_bound(bound, model)
    if wrong is not None:
        found.append(wrong)
        model = replace(fit(rows, True), fallback=f"prior mode: {wrong.kind.value}")
    noisy = _noisy(bound, model)
    symptoms = (*found, noisy) if noisy is not None else tuple(found)
    return Checked(model, symptoms, doubtful, None if doubtful is None else fit(_wider(rows, doubtful), False))


def _far(model: Posterior) -> list[int]:
    """Canary rows that the others do not explain, the worst first; withdrawn trials are too uncertain to be any."""
    if len(model.rows) < LEAST_SEEN:
        return []
    z = np.where(model.rows.canary, model.leave_one_out(), 0.0)
    return [int(i) for i in np.argsort(-np.abs(z), kind="stable") if abs(z[i]) > FAR]


def _measured_again(rows: Rows, row: int) -> bool:
    """Whether a later trial measured the same assignment."""
    same = np.all(rows.at.u == rows.at.u[row], axis=1) & rows.canary & (rows.trial > rows.trial[row])
    return bool(same.any())


def _wider(rows: Rows, row: int) -> Rows:
    v, phi = rows.v.copy(), rows.phi.copy()
    v[row] *= WIDER**2
    phi[row] *= WIDER**2
    return replace(rows, v=v, phi=phi)


def _miscalibrated(bound: str, model: Posterior, outliers: list[int]) -> Symptom | None:
    counted = model.rows.canary.copy()
    counted[outliers] = False
    z = model.leave_one_out()[counted]
    if len(z) < LEAST_ROWS:
        return None
    variance, coverage = float(np.var(z)), float(np.mean(np.abs(z[-LEAST_ROWS:]) <= WITHIN))
    if variance <= MOST_VARIANCE and coverage >= LEAST_COVERAGE:
        return None
    words = f"variance of z {variance:.2f}, {coverage:.0%} of the last {LEAST_ROWS} within 1.96"
    return Symptom(SymptomKind.MISCALIBRATED, bound, words)


def _at_bound(bound: str, model: Posterior) -> Symptom | None:
    """Lengthscales and tau; load lengthscale and amplitude are hardly identified and may be anywhere."""
    if len(model.rows) < LEAST_ROWS:
        return None
    scales = np.append(model.theta[:-3], model.theta[-1])
    at = np.flatnonzero(np.abs(scales) >= THETA_LIMIT - 1e-6)
    if not len(at):
        return None
    what = "the sd between trials" if at[-1] == len(scales) - 1 else f"lengthscale {at[0]}"
    return Symptom(SymptomKind.SCALE_AT_BOUND, bound, f"{what} is {THETA_LIMIT:.0f} prior sds from its prior mode")


def _noisy(bound: str, model: Posterior) -> Symptom | None:
    g = model.y[model.rows.canary]
    if len(g) < LEAST_SEEN or model.scales.tau <= 0.5 * float(np.ptp(g)):
        return None
    words = f"trials differ by {model.scales.tau:.2f} by themselves, assignments by {float(np.ptp(g)):.2f} (in ln)"
    return Symptom(SymptomKind.NOISY, bound, f"{words}: measure longer, or more requests")


__all__ = ["DISTRUSTED", "Checked", "checked", "fitter"]
