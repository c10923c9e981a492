"""The load offered to a service: daily and weekly shape, slow noise, flash crowds.

`OfferedLoad.at(t)` is a pure function of the time and a seed (noise.py), so a program that was restarted, a
simulation in virtual time and a backfilled past all see the same load at the same instant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from . import noise
from .noise import FloatArray
from .spec import FlashCrowd, LoadSpec, WorkloadSpec

DAY_S: Final = 86400.0
_HOUR_S: Final = 3600.0
_SLOTS_PER_DAY: Final = 24
_NO_CROWD: Final = np.ones(1)
_EPOCH: Final = date(1970, 1, 1)
_EPOCH_WEEKDAY: Final = 3
"""1970-01-01 was a Thursday; Monday is 0."""


@dataclass(frozen=True, slots=True)
class OfferedLoad:
    """Requests per second offered to the whole service, by time."""

    spec: LoadSpec
    seed: int

    @classmethod
    def of(cls, workload: WorkloadSpec, seed: int | None = None) -> OfferedLoad:
        """Load of a workload, with its own seed unless another is given."""
        return cls(workload.load, workload.seed if seed is None else seed)

    def at(self, t: float) -> float:
        """Requests per second at t (seconds since the epoch, UTC)."""
        return float(self.series(t)[0])

    def expected(self, t: float) -> float:
        """Requests per second at t without noise and crowds of one day: what a forecast could know."""
        return float(self._shape(np.array([t]))[0])

    def series(self, t: ArrayLike) -> FloatArray:
        """Requests per second at each t, shape (m,)."""
        at = np.atleast_1d(np.asarray(t, dtype=float))
        rate = self._shape(at) * self._surprises(at) * self._random_crowds(at)
        sigma = self.spec.noise_percent / 100.0
        if sigma:
            wander = noise.smooth(self.seed, "load", at, self.spec.noise_interval)
            rate = rate * np.exp(sigma * wander - 0.5 * sigma * sigma)
        return np.asarray(rate)

    @property
    def peak_rps(self) -> float:
        """Highest expected load of a weekday, daily flash crowds included."""
        return float(self._shape(np.arange(0.0, DAY_S, 60.0) + 4 * DAY_S).max())

    def _shape(self, t: FloatArray) -> FloatArray:
        """Daily and weekly shape with the daily flash crowds; shape (m,)."""
        spec = self.spec
        hour = np.mod(t, DAY_S) / _HOUR_S
        swing = spec.daily_swing_percent / 100.0
        rate = spec.requests_per_second * (1.0 + swing * np.cos((hour - spec.peak_hour) / 24.0 * 2.0 * math.pi))
        weekday = np.mod(np.floor_divide(t, DAY_S) + _EPOCH_WEEKDAY, 7)
        rate = np.where(weekday >= 5, rate * spec.weekend_percent / 100.0, rate)
        for crowd in spec.flash_crowds:
            if crowd.date is None:
                rate = rate * _crowd(crowd, np.mod(t - crowd.at_hour * _HOUR_S, DAY_S))
        return np.asarray(rate)

    def _surprises(self, t: FloatArray) -> FloatArray:
        """Factor of the flash crowds of one day; shape (m,), or (1,) where there are none."""
        result = _NO_CROWD
        for crowd in self.spec.flash_crowds:
            if crowd.date is not None:
                begun = (crowd.date - _EPOCH).days * DAY_S + crowd.at_hour * _HOUR_S
                result = result * _crowd(crowd, t - begun)
        return result

    def _random_crowds(self, t: FloatArray) -> FloatArray:
        """Factor of random flash crowds: at most one begins in each hour, at a random instant of it; shape (m,), or
        (1,) where there are none."""
        crowds = self.spec.random_crowds
        if crowds is None or crowds.per_day == 0.0:
            return _NO_CROWD
        result = np.ones_like(t)
        slot_s = DAY_S / _SLOTS_PER_DAY
        reach = int((crowds.duration + 2.0 * crowds.ramp) // slot_s) + 1
        for back in range(reach + 1):
            slot = np.floor(t / slot_s).astype(np.int64) - back
            begins = noise.uniform(self.seed, "crowd", slot) < crowds.per_day / _SLOTS_PER_DAY
            start = (slot + noise.uniform(self.seed, "crowd-start", slot)) * slot_s
            size = noise.uniform(self.seed, "crowd-size", slot)
            rise = (crowds.factor - 1.0) * size * _trapezoid(t - start, crowds.ramp, crowds.duration)
            result = result + np.where(begins, rise, 0.0)
        return result


def _crowd(crowd: FlashCrowd, since: FloatArray) -> FloatArray:
    """Factor on the load so many seconds after a crowd begins to come; shape of `since`."""
    return np.asarray(1.0 + (crowd.factor - 1.0) * _trapezoid(since, crowd.ramp, crowd.duration))


def _trapezoid(since: FloatArray, ramp: float, duration: float) -> FloatArray:
    """0 before, rising over `ramp` to 1, 1 for `duration`, falling over `ramp`; shape of `since`."""
    rise = np.clip(since / max(ramp, 1e-9), 0.0, 1.0)
    fall = np.clip((duration + 2.0 * ramp - since) / max(ramp, 1e-9), 0.0, 1.0)
    return np.where(since < 0.0, 0.0, np.minimum(rise, fall))
