"""Seeded randomness that is a function of time and name, not of how often it was asked.

A generator's state would make the value at 12:00 depend on the values asked before; here noise at t is computed from
hashes, so any process, restarted or not, sees the same node speeds and the same load at the same instant.

Source of the hash: S. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators" (2014), SplitMix64.
"""

from __future__ import annotations

import math
import zlib
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

FloatArray = NDArray[np.float64]
UintArray = NDArray[np.uint64]

_MASK: Final = (1 << 64) - 1
_STEP: Final = np.uint64(0xD1342543DE82EF95)
_GAMMA, _FIRST, _SECOND = map(np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_FEW: Final = 8  # slots, whose normals are remembered
_11, _27, _30, _31 = map(np.uint64, (11, 27, 30, 31))


def _mix(value: UintArray) -> UintArray:
    """SplitMix64's finalizer, element by element."""
    z = value + _GAMMA
    z = (z ^ (z >> _30)) * _FIRST
    z = (z ^ (z >> _27)) * _SECOND
    return np.asarray(z ^ (z >> _31))


def uniform(seed: int, key: str, index: ArrayLike) -> FloatArray:
    """Independent uniforms in (0, 1), one per integer index; shape of `index`."""
    start = (seed * 0x2545F4914F6CDD1D + zlib.crc32(key.encode()) * 0x9E3779B97F4A7C15) & _MASK
    at = np.atleast_1d(np.asarray(index, dtype=np.int64)).astype(np.uint64)
    bits = _mix(_mix(at * _STEP + np.uint64(start)))  # arrays wrap around, as they should
    return np.asarray(((bits >> _11).astype(float) + 0.5) / 2.0**53)


def gaussian(seed: int, key: str, index: ArrayLike = 0) -> FloatArray:
    """Independent standard normals, one per integer index; shape of `index`."""
    return np.asarray(ndtri(uniform(seed, key, index)))


def smooth(seed: int, key: str, t: ArrayLike, interval_s: float) -> FloatArray:
    """Stationary standard normal noise that forgets its value after about `interval_s`; shape (m,).

    Neighbouring independent normals are blended with weights cos and sin, whose squares sum to 1, so the variance
    is 1 at every instant.
    """
    at = np.atleast_1d(np.asarray(t, dtype=float)) / interval_s
    slot = np.floor(at).astype(np.int64)
    turn = 0.5 * math.pi * (at - slot)
    if slot.size and slot.max() - slot.min() < _FEW:
        first = int(slot.min())
        known = _normals(seed, key, first, int(slot.max()) + 1)
        before, after = known[slot - first], known[slot - first + 1]
    else:
        before, after = gaussian(seed, key, np.stack((slot, slot + 1)))
    return np.asarray(np.cos(turn) * before + np.sin(turn) * after)


@lru_cache(maxsize=1024)
def _normals(seed: int, key: str, first: int, last: int) -> FloatArray:
    """The normals of these slots and all between, for whoever looks at one moment after the other."""
    return gaussian(seed, key, np.arange(first, last + 1))


def factor(seed: int, key: str, percent: float) -> float:
    """A lognormal factor around 1 that belongs to a name (a node, a pod) for ever."""
    return math.exp(percent / 100.0 * float(gaussian(seed, key)[0])) if percent else 1.0


def drift(seed: int, key: str, percent: float, interval_s: float, t: float) -> float:
    """A lognormal factor around 1 that wanders slowly."""
    return math.exp(percent / 100.0 * float(smooth(seed, key, t, interval_s)[0])) if percent else 1.0
