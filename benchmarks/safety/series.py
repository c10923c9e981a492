"""Prepared series of a canary and its control: counts of events per tick, values of a gauge per scrape. numpy alone.

Notation
    R, T      trials and ticks; arrays of counts have the shape (R, T)
    n, k      requests and bad events of one arm in one tick
    mean      expected bad events, n p
All clustered shapes have a variance of 3 x mean over a minute or longer, but lay it out differently.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, Array], Array]

TICK_S, TICKS, WARM_TICKS = 10.0, 60, 12  # a trial of ten minutes after two of warm-up
PER_TICK = 200.0  # 20 requests/s an arm
SCRAPE_S = 5.0
PHI = 3.0
SPREAD_S = 30.0  # a cluster's events come within about so long
LAST_S = 80.0  # after which none of them comes any more
WANDER_S = 60.0  # how long a slow spell lasts
SLOW_WANDER = 0.2  # sd of ln(slow ratio) where latency wanders
HEAVY = 9  # events of a rare large cluster
BASE_POINT = 1_790_000_000.0  # unix seconds at which the warm-up begins
POINTS = 8  # evaluations of a value query in a window
GAUGE_SD = 0.1  # of the gauge, relative


def independent(rng: np.random.Generator, mean: Array) -> Array:
    """Poisson."""
    return rng.poisson(mean).astype(float)


def negative_binomial(rng: np.random.Generator, mean: Array) -> Array:
    """Each tick by itself has a variance of 3 x mean."""
    return rng.negative_binomial(np.maximum(mean, 1e-12) / (PHI - 1), 1 / PHI).astype(float)


def batches(rng: np.random.Generator, mean: Array) -> Array:
    """Events come three at a time: a failed request is tried three times."""
    return np.asarray(PHI * rng.poisson(mean / PHI), dtype=float)


def heavy(rng: np.random.Generator, mean: Array) -> Array:
    """Most events are single, some come nine at a time: E[size^2] / E[size] = 3."""
    part = (PHI - 1) / (HEAVY**2 - 1 - PHI * (HEAVY - 1))
    clusters = mean / (1 - part + part * HEAVY)
    single, together = rng.poisson(clusters * (1 - part)), rng.poisson(clusters * part)
    return np.asarray(single + HEAVY * together, dtype=float)


def spread(rng: np.random.Generator, mean: Array, step: float = TICK_S) -> Array:
    """Clusters of 3 events whose times are spread over half a minute, so neighbours of a `step` (seconds) are alike."""
    lags = np.arange(math.ceil(LAST_S / step))
    shares = np.exp(-lags * step / SPREAD_S)
    shares /= shares.sum()
    before = np.repeat(mean[:, :1], len(lags), axis=1)
    clusters = rng.poisson(np.concatenate([before, mean], axis=1) / PHI)
    found = np.zeros_like(clusters)
    for _ in range(int(PHI)):  # one event of each cluster after the other finds its tick
        left, chance = clusters.copy(), 1.0
        for lag, share in zip(lags, shares, strict=True):
            here = rng.binomial(left, min(share / chance, 1.0))
            found[:, lag:] += here[:, : found.shape[1] - lag]
            left, chance = left - here, chance - share
    return found[:, len(lags) :].astype(float)


def wandering(rng: np.random.Generator, mean: Array, step: float = TICK_S) -> Array:
    """Poisson about a ratio whose logarithm wanders, alike over about a minute. `step` in seconds."""
    log = SLOW_WANDER * autoregressive(rng, mean.shape, step / WANDER_S)
    return rng.poisson(mean * np.exp(log - SLOW_WANDER**2 / 2)).astype(float)


def autoregressive(rng: np.random.Generator, shape: tuple[int, ...], step: float) -> Array:
    """Stationary AR(1) of unit variance; `step` is the time between neighbours over the time for which it is alike."""
    memory = np.exp(-step) if np.isfinite(step) else 0.0
    noise = rng.standard_normal(shape)
    found = np.empty(shape)
    found[:, 0] = noise[:, 0]
    for t in range(1, shape[1]):
        found[:, t] = memory * found[:, t - 1] + np.sqrt(1 - memory**2) * noise[:, t]
    return found


@dataclass(frozen=True)
class Noise:
    """How events come: errors, slow requests, and a gauge that is alike for `gauge_s` seconds (0: independent scrapes).

    `moving`: traffic swings between the arms. `outage`: the errors of both arms double half-way, to the level that is
    given; `rise`: from there to twice of it.
    """

    name: str
    errors: Draw = independent
    slow: Draw = independent
    gauge_s: float = 0.0
    moving: bool = False
    outage: bool = False
    rise: bool = False
    clustered: bool = False


NOISES: tuple[Noise, ...] = (
    Noise("independent"),
    Noise("clustered: every tick", negative_binomial, negative_binomial, clustered=True),
    Noise("clustered: rare nines", heavy, heavy, clustered=True),
    Noise("clustered: over 30 s", spread, spread, clustered=True),
    Noise("moving split", moving=True),
    Noise("latency alike for 60 s", slow=wandering, gauge_s=WANDER_S),
    Noise("both double", batches, batches, outage=True, clustered=True),
    Noise("base doubles", rise=True),
    Noise("base doubles, in threes", batches, batches, rise=True, clustered=True),
)


@dataclass(frozen=True)
class Level:
    """The truth of one arm: ratios of errors and of slow requests, and the gauge's mean in seconds."""

    errors: float
    slow: float
    gauge: float


@dataclass(frozen=True)
class ArmSeries:
    """One arm of all trials: shape (R, T); the gauge's values as a window's queries see them (R, T, POINTS)."""

    total: Array
    errors: Array
    slow: Array
    gauge: Array


@dataclass(frozen=True)
class Trials:
    """Canary and control; the first `WARM_TICKS` ticks are the warm-up."""

    canary: ArmSeries
    control: ArmSeries


def draw(rng: np.random.Generator, noise: Noise, canary: Level, control: Level, trials: int) -> Trials:
    """So many trials."""
    shape = (trials, WARM_TICKS + TICKS)
    total = np.full(shape, PER_TICK)
    swing = np.where(np.arange(shape[1]) % 20 < 10, 0.5, 1.5) if noise.moving else np.ones(shape[1])
    return Trials(
        _arm(rng, noise, canary, rng.poisson(total * swing).astype(float)),
        _arm(rng, noise, control, rng.poisson(total * (2 - swing)).astype(float)),
    )


def _arm(rng: np.random.Generator, noise: Noise, level: Level, total: Array) -> ArmSeries:
    early = np.arange(total.shape[1]) < WARM_TICKS + TICKS // 2
    errors = level.errors * np.where(early & noise.outage, 0.5, 1.0) * np.where(~early & noise.rise, 2.0, 1.0)
    return ArmSeries(
        total,
        np.minimum(noise.errors(rng, errors * total), total),
        np.minimum(noise.slow(rng, level.slow * total), total),
        gauge(rng, noise.gauge_s, level.gauge, total.shape),
    )


def gauge(rng: np.random.Generator, alike_s: float, mean: float, shape: tuple[int, ...]) -> Array:
    """A gauge that is scraped every 5 s and asked for every 1.25 s: the newest scrape answers. Shape (R, T, POINTS)."""
    trials, ticks = shape[0], shape[1]
    per_tick = int(TICK_S / SCRAPE_S)
    scrapes = mean * (1 + GAUGE_SD * autoregressive(rng, (trials, ticks * per_tick + 1), step_of(alike_s)))
    asked = (np.arange(ticks)[:, None] * TICK_S + (np.arange(POINTS) + 1) * TICK_S / POINTS) / SCRAPE_S
    return np.asarray(scrapes[:, np.floor(asked).astype(int)])


def step_of(alike_s: float) -> float:
    """Time between scrapes over the time for which the gauge is alike."""
    return SCRAPE_S / alike_s if alike_s > 0 else np.inf


def history(rng: np.random.Generator, noise: Noise, level: Level, pods: int = 20) -> list[list[tuple[float, float]]]:
    """Six hours of errors before the trial: per minute (bad, total) of each pod of the target."""
    ticks = 6 * 360
    total = rng.poisson(np.full((pods, ticks), PER_TICK)).astype(float)
    bad = np.minimum(noise.errors(rng, level.errors * total), total)
    per_minute = [a.reshape(pods, -1, 6).sum(axis=2).T for a in (bad, total)]
    pairs = np.stack(per_minute, axis=2).tolist()
    return [[(k, n) for k, n in row] for row in pairs]
