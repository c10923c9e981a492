"""What others do with the same series of errors: one test at the end, and counting failed checks.

Flagger withdraws when a number of checks has failed (`analysis.threshold`), Argo Rollouts when more than `failureLimit`
have; both compare a ratio with a fixed threshold, or with the stable version's by a query. Here a check is a tick of
ten seconds. A threshold is calibrated for each kind of noise on series of its own, so that 0.5 % of trials at the
tolerated ratio are withdrawn: that is more than anybody can know who sets one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.safety.cells import BASE, ERRORS_MAX, TOLERATED
from benchmarks.safety.series import PER_TICK, PHI, TICK_S, TICKS, WARM_TICKS, Array, Level, Noise, Trials, draw
from trimtab.slo.student import z_of

Flags = NDArray[np.bool_]

CALIBRATED = 0.005
ALPHA = 0.01
POWER = 0.9
IN_A_ROW, IN_TOTAL = 3, 5
NEVER = 10**6
SEED, HALVINGS = 77_000, 10


@dataclass(frozen=True)
class Errors:
    """Bad and total requests of both arms after the warm-up, shape (R, T)."""

    bad: Array
    total: Array
    control_bad: Array
    control_total: Array

    @classmethod
    def of(cls, drawn: Trials) -> Errors:
        own = slice(WARM_TICKS, None)
        canary, control = drawn.canary, drawn.control
        return cls(canary.errors[:, own], canary.total[:, own], control.errors[:, own], control.total[:, own])


@dataclass(frozen=True)
class Thresholds:
    """Of the ratio of errors in a tick, and of its multiple of the control's: three in a row, five in total."""

    absolute_row: float
    absolute_total: float
    relative_row: float


def calibrated(noise: Noise, trials: int = 2000) -> Thresholds:
    """The lowest thresholds at which few enough trials at the tolerated ratio are withdrawn, while the base stays."""
    canary = Level(TOLERATED * BASE.errors, BASE.slow, BASE.gauge)
    drawn = draw(np.random.default_rng(SEED), replace(noise, outage=False, rise=False), canary, BASE, trials)
    errors = Errors.of(drawn)
    return Thresholds(
        _least(lambda x: in_a_row(above(errors, x)), 0.2),
        _least(lambda x: in_total(above(errors, x)), 0.2),
        _least(lambda x: in_a_row(times(errors, x)), 60.0),
    )


def _least(rule: Callable[[float], Array], most: float) -> float:
    """By halving: the higher the threshold, the fewer are withdrawn."""
    low, high = 0.0, most
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if (rule(middle) < NEVER).mean() <= CALIBRATED else (middle, high)
    return high


def ways(errors: Errors, thresholds: Thresholds, phi: float) -> dict[str, Array]:
    """Name to seconds until each trial is withdrawn, shape (R,); `NEVER` where it is not."""
    return {
        "one test at the end": at_the_end(errors, 1.0),
        "one test at the end, phi known": at_the_end(errors, phi),
        "the same test at every tick, phi known": peeked(errors, phi),
        f"{IN_A_ROW} in a row over a calibrated ratio": in_a_row(above(errors, thresholds.absolute_row)),
        f"{IN_TOTAL} in total over a calibrated ratio": in_total(above(errors, thresholds.absolute_total)),
        f"{IN_A_ROW} in a row over a calibrated multiple": in_a_row(times(errors, thresholds.relative_row)),
        f"{IN_TOTAL} in total over the bound": in_total(above(errors, ERRORS_MAX)),
    }


def above(errors: Errors, threshold: float) -> Flags:
    """Ticks whose ratio is above a threshold."""
    return np.asarray(errors.bad > threshold * errors.total)


def times(errors: Errors, multiple: float) -> Flags:
    """Ticks whose ratio is above a multiple of the control's; a control without errors is taken for half an error."""
    control = np.maximum(errors.control_bad, 0.5)
    return np.asarray(errors.bad * errors.control_total > multiple * control * errors.total)


def in_a_row(failed: Flags, count: int = IN_A_ROW) -> Array:
    """Seconds until so many ticks in a row have failed."""
    row: Flags = np.asarray(np.lib.stride_tricks.sliding_window_view(failed, count, axis=1).all(axis=2), dtype=bool)
    return _first(row, count)


def in_total(failed: Flags, count: int = IN_TOTAL) -> Array:
    """Seconds until so many ticks have failed."""
    return _first(np.asarray(np.cumsum(failed, axis=1) >= count, dtype=bool), 1)


def at_the_end(errors: Errors, phi: float) -> Array:
    """One-sided test of the whole trial's counts against the tolerated ratio, at 1 %."""
    late = _z(errors, phi)[:, -1] > z_of(1 - ALPHA)
    return np.where(late, TICKS * TICK_S, NEVER)


def peeked(errors: Errors, phi: float) -> Array:
    """The same at every tick: not valid, and often done."""
    return _first(np.asarray(_z(errors, phi) > z_of(1 - ALPHA), dtype=bool), 1)


def seconds_needed(ratio: float, phi: float) -> float:
    """After how long one test has 90 % power against a ratio of errors."""
    base, bad = BASE.errors, ratio * BASE.errors
    spread = bad * (1 - bad) + TOLERATED**2 * base * (1 - base)
    need = phi * spread * ((z_of(1 - ALPHA) + z_of(POWER)) / (bad - TOLERATED * base)) ** 2
    return math.ceil(need / PER_TICK) * TICK_S


def _z(errors: Errors, phi: float) -> Array:
    k, n, m, b = (np.cumsum(x, axis=1) for x in (errors.bad, errors.total, errors.control_bad, errors.control_total))
    p, q = (k + 0.5) / (n + 1), (m + 0.5) / (b + 1)
    error = np.sqrt(phi * (p * (1 - p) / n + TOLERATED**2 * q * (1 - q) / b))
    return np.asarray((k / n - TOLERATED * m / b) / error)


def _first(fired: Flags, offset: int) -> Array:
    return np.where(fired.any(axis=1), (fired.argmax(axis=1) + offset) * TICK_S, NEVER)


__all__ = ["NEVER", "PHI", "Errors", "Thresholds", "calibrated", "seconds_needed", "ways"]
