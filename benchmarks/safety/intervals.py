"""How often the intervals of a trial's readings hold the truth, and how wide they are: nominal 95 %, over whole windows
of ten minutes.

The samples come from `slo.estimate`, as the adapter calls it: counts of 16 sub-windows, 64 values of a query, the
buckets of a histogram. Load and ratios are alike over about a minute, where it says so. Two-sided at 95 %.

What a reading identifies must be held by 92 to 98 % of intervals. A quantile in a wide bucket is identified to that
bucket only, whatever the number of requests: an interval that holds it at any place holds most places always, so there
is only a lower limit (Imbens and Manski 2004), and the width shows the price.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.safety.measure import Rate
from benchmarks.safety.series import (
    PER_TICK,
    TICK_S,
    WANDER_S,
    Array,
    Draw,
    autoregressive,
    heavy,
    independent,
    negative_binomial,
    spread,
    wandering,
)
from trimtab.domain.measurement import Reading, Sample
from trimtab.slo.estimate import interval, ratio_sample, value_sample
from trimtab.slo.quantiles import quantile_sample

SUB_WINDOWS, SUB_S, VALUES = 16, 37.5, 64
STEPS = 5  # draws per sub-window
STEP_S = SUB_S / STEPS
CONFIDENCE = 0.975  # on either side
LOW, HIGH = 0.92, 0.98
LOAD_SD, LATENCY_SD = 0.3, 0.1
MEDIAN_S, SIGMA = 0.1, 0.6  # log-normal latency
COARSE = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
FINE = tuple(float(x) for x in 0.001 * 2 ** (np.arange(0, 100) / 8))


@dataclass(frozen=True)
class Covered:
    """One kind of SLI under one kind of noise."""

    name: str
    inside: Rate
    width: float  # median width, relative to the truth
    most: float | None = HIGH  # None where only a set of values is identified

    @property
    def promised(self) -> str:
        return f"{100 * LOW:g} to {100 * self.most:g}" if self.most is not None else f"at least {100 * LOW:g}"

    @property
    def verdict(self) -> str:
        return "kept" if LOW <= self.inside.value <= (1.0 if self.most is None else self.most) else "MISSED"


def measure(trials: int, seed: int) -> list[Covered]:
    """Every kind."""
    found = []
    for number, (name, truth, most, readings) in enumerate(_kinds()):
        rng = np.random.default_rng((seed, number))
        ends = [_ends(readings(rng)) for _ in range(trials)]
        inside = sum(low <= truth <= high for low, high in ends)
        width = float(np.median([high - low for low, high in ends])) / truth
        found.append(Covered(name, Rate(inside, trials), width, most))
    return found


def _ends(reading: Reading) -> tuple[float, float]:
    """Of the interval; one that holds nothing where there is no reading."""
    return interval(reading, CONFIDENCE) if isinstance(reading, Sample) else (math.inf, math.inf)


Kind = tuple[str, float, float | None, Callable[[np.random.Generator], Reading]]


def _kinds() -> Iterator[Kind]:
    shapes: tuple[tuple[str, Draw], ...] = (
        ("independent", independent),
        ("clustered: every tick", negative_binomial),
        ("clustered: rare nines", heavy),
        ("clustered: over 30 s", partial(spread, step=STEP_S)),
        ("alike for 60 s", partial(wandering, step=STEP_S)),
    )
    for ratio in (0.01, 0.05):
        for name, shape in shapes:
            yield f"ratio {ratio:.0%}, load and errors {name}", ratio, HIGH, _ratio(ratio, shape)
    for alike in (0.0, 10.0, 30.0, WANDER_S, 2 * WANDER_S):
        yield f"value, alike for {alike:g} s", 1.0, HIGH, _value(alike)
    for words, bounds, most in (("usual buckets", COARSE, None), ("buckets 9 % wide", FINE, HIGH)):
        for alike in (0.0, WANDER_S):
            truth = _quantile_of_all(0.95, LATENCY_SD if alike else 0.0)
            yield f"p95, {words}, latency alike for {alike:g} s", truth, most, _quantile(bounds, alike)


def _ratio(ratio: float, shape: Draw) -> Callable[[np.random.Generator], Reading]:
    def draw(rng: np.random.Generator) -> Reading:
        total = rng.poisson(_load(rng))
        bad = np.minimum(shape(rng, ratio * total.astype(float)), total)
        sums = [x.reshape(SUB_WINDOWS, -1).sum(axis=1).tolist() for x in (bad[0], total[0].astype(float))]
        return ratio_sample(sums[0], sums[1])

    return draw


def _load(rng: np.random.Generator) -> Array:
    """Requests per step of a load that is alike for a minute. Shape (1, steps)."""
    log = LOAD_SD * autoregressive(rng, (1, SUB_WINDOWS * STEPS), STEP_S / WANDER_S)
    return np.asarray(PER_TICK / TICK_S * STEP_S * np.exp(log - LOAD_SD**2 / 2))


def _value(alike: float) -> Callable[[np.random.Generator], Reading]:
    step = SUB_WINDOWS * SUB_S / VALUES / alike if alike else np.inf
    return lambda rng: value_sample((1 + 0.1 * autoregressive(rng, (1, VALUES), step))[0].tolist(), None)


def _quantile(bounds: tuple[float, ...], alike: float) -> Callable[[np.random.Generator], Reading]:
    edges = np.array([*bounds, np.inf])

    def draw(rng: np.random.Generator) -> Reading:
        total = rng.poisson(_load(rng))[0]
        shift = LATENCY_SD * autoregressive(rng, (1, len(total)), STEP_S / WANDER_S)[0] if alike else 0 * total
        scale = np.repeat(MEDIAN_S * np.exp(shift), total)
        latency = scale * np.exp(SIGMA * rng.standard_normal(len(scale)))
        counts = np.zeros((SUB_WINDOWS, len(edges)))
        np.add.at(counts, (np.repeat(np.arange(len(total)) // STEPS, total), np.searchsorted(edges, latency)), 1)
        return quantile_sample(edges.tolist(), counts.tolist(), 0.95)

    return draw


def _quantile_of_all(q: float, wander: float) -> float:
    """The quantile over all time: of log-normals whose scale is log-normal."""
    z = 1.6448536269514722 if q == 0.95 else float("nan")
    return float(MEDIAN_S * np.exp(z * np.hypot(SIGMA, wander)))
