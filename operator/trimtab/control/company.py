"""Trials that ran side by side, as the ledger tells it: for how much of its window a trial had others beside it. Pure.

Everything follows from times on record, so that a stored history tells the same as it did then.
"""

from __future__ import annotations

from collections.abc import Iterable

from trimtab.domain.trial import Trial

PART = 0.25  # of a window


def at_a_time(trial: Trial, trials: Iterable[Trial]) -> float:
    """How many trials had arms in the traffic while this one measured, on average, itself included; 1 when it was
    alone, or was never measured."""
    span = _measured(trial)
    if span is None:
        return 1.0
    begin, end = span
    beside = sum(_overlap(begin, end, other) for other in trials if other.index != trial.index)
    return 1.0 + beside / (end - begin)


def alone(trial: Trial, trials: Iterable[Trial]) -> bool:
    """It was measured, and no other trial had arms in the traffic meanwhile."""
    return _measured(trial) is not None and at_a_time(trial, trials) == 1.0


def accompanied(trial: Trial, trials: Iterable[Trial]) -> bool:
    """Others had arms in the traffic for a good part of its window."""
    return at_a_time(trial, trials) >= 1.0 + PART


def spoilt(trial: Trial, trials: Iterable[Trial], before: int | None) -> bool:
    """It had company before it was found, at the trial of this index, that trials side by side disturb each other."""
    return before is not None and trial.index < before and accompanied(trial, trials)


def _measured(trial: Trial) -> tuple[float, float] | None:
    """From when until when it was measured (unix seconds): a withdrawal ends a window before its time."""
    if trial.window is None:
        return None
    left = trial.times.draining if trial.times.draining is not None else trial.window.end
    begin, end = trial.window.start, min(trial.window.end, left)
    return (begin, end) if end > begin else None


def _overlap(begin: float, end: float, other: Trial) -> float:
    """Seconds of the time in which the arms of the other one served."""
    if other.times.warming_up is None:
        return 0.0
    until = other.times.draining if other.times.draining is not None else end
    return max(min(end, until) - max(begin, other.times.warming_up), 0.0)


__all__ = ["accompanied", "alone", "at_a_time", "spoilt"]
