"""One run: a method tunes one drawn service; what it did is judged by the noise-free truth.

Each trial runs a canary with the method's point and a control with the baseline beside it, for 600 s every hour. Both
are read as the operator would read them: counts of requests, of slow and of failed ones, drawn around the truth at the
trial's load with differences between trials and clustered counts. Trials are not cut short, for no method, so what a
bad point costs is comparable. A trial is truly unsafe when a bound is broken without noise AT THE TRIAL'S LOAD, which
is what its canary's users felt; how many would be unsafe at the peak is counted beside it. Gross is more than twice a
bound, or an OOM kill. The recommendation is judged at the peak, in the regime in which the run ended: nobody can
foresee the release after it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from benchmarks.optimizer.contract import Counted, Entry, Measured, Method, Point, Releasing, Result
from benchmarks.optimizer.scenarios import SPACING_S, WINDOW_S, Draw
from benchmarks.optimizer.services import ERRORS, MAX_KILLS_PER_HOUR, SLOW, Regime, Truth
from trimtab.workload.sampling import clustered

GROSS = 2.0
PHI_FREEDOM = 7  # of the sub-windows from which overdispersion is estimated
KILLED_S = 10.0  # of requests that a kill costs
LEVELS = (0.50, 0.90, 0.95, 0.99)
LEAST_BAD = 10  # events for which a normal interval of a logarithm is fair


@runtime_checkable
class Forecasting(Protocol):
    """A method that says what it expects before it is told."""

    def forecast(self, point: Point, load: float) -> Mapping[str, tuple[float, float, float]]:
        """(median of value / bound, sd of its logarithm, sd between trials) by bound, at a load."""


@dataclass(frozen=True)
class Row:
    """One trial. `severity` is the greatest ln(value / bound) at its load, `burned` the canary's bad requests.
    `outcomes` and `truths` are standardized residuals of what had been expected, of what was measured and of the
    truth."""

    index: int
    cost: float
    unsafe: bool
    gross: bool
    unsafe_at_peak: bool
    severity: float
    burned: float
    feasible: bool
    seconds: float
    outcomes: tuple[float, ...] = ()
    truths: tuple[float, ...] = ()


@dataclass(frozen=True)
class Run:
    """One method on one service. Costs are fractions of the optimum's; `recommended` is the baseline's when it is kept.
    `feasible` says whether the recommendation truly holds at the peak."""

    method: str
    track: str
    scenario: str
    dimensions: int
    seed: int
    rows: tuple[Row, ...]
    baseline: float
    recommended: float
    kept: bool
    feasible: bool
    stopped: bool
    seconds: float


@dataclass(frozen=True)
class Where:
    """Which run this is."""

    scenario: str
    dimensions: int
    seed: int


def play(entry: Entry, draw: Draw, optima: Mapping[Regime, float], where: Where) -> Run:
    """Play a run to its end. `optima` has the least cost at the peak in each of the draw's regimes."""
    begun = time.perf_counter()
    method = entry.make(draw.task, where.seed)
    noise = np.random.default_rng([where.seed, 9, where.dimensions])
    rows: list[Row] = []
    points: list[dict[str, float]] = []
    stopped = False
    for trial in range(draw.task.trials):
        if draw.released_at(trial) and isinstance(method, Releasing):
            method.released()
        asked = time.process_time()
        point = method.ask()
        seconds = time.process_time() - asked
        if point is None:
            stopped = True
            break
        points.append(dict(point))
        rows.append(_trial(draw, method, trial, points[-1], np.random.default_rng(noise.integers(2**63)), seconds))
    answer = method.recommend()
    final = draw.baseline if answer is None else answer
    end, cost = draw.regime_at(max(len(rows) - 1, 0)), draw.task.cost
    least = optima[end]
    judged = tuple(
        replace(row, cost=row.cost / least, feasible=_holds(draw, point, end))
        for row, point in zip(rows, points, strict=True)
    )
    return Run(
        entry.name,
        entry.track,
        where.scenario,
        where.dimensions,
        where.seed,
        judged,
        cost(draw.baseline) / least,
        cost(final) / least,
        answer is None or dict(answer) == dict(draw.baseline),
        _holds(draw, final, end),
        stopped,
        time.perf_counter() - begun,
    )


def _holds(draw: Draw, point: Point, regime: Regime) -> bool:
    return draw.pod.feasible(draw.pod.truth(point, draw.peak, regime))


def _trial(
    draw: Draw, method: Method, trial: int, point: dict[str, float], rng: np.random.Generator, seconds: float
) -> Row:
    load, regime = draw.load_at(trial, rng), draw.regime_at(trial)
    requests = load * WINDOW_S * draw.arm_pods
    truth = draw.pod.truth(point, load, regime)
    common = draw.noise.common * rng.standard_normal()
    control = measure(draw, draw.pod.truth(draw.baseline, load, regime), requests, common, rng)
    canary = measure(draw, truth, requests, common, rng)
    hours = WINDOW_S / 3600.0 * draw.arm_pods
    killed = bool(rng.random() < -math.expm1(-truth.kills_per_hour * hours))
    expected = method.forecast(point, load) if isinstance(method, Forecasting) else {}
    method.tell(
        point,
        Result(
            measured={} if killed else values_of(canary),
            control=values_of(control),
            load=load,
            at=1.8e9 + trial * SPACING_S,
            failed="OOMKilled" if killed else "",
            counts={} if killed else canary,
            control_counts=control,
        ),
    )
    ratios = truth.ratios(draw.pod.limits)
    worst = max(ratios.values())
    burned = requests * min(truth.slow + truth.errors, 1.0) + killed * load * KILLED_S
    return Row(
        index=trial,
        cost=draw.task.cost(point),
        unsafe=worst > 1.0 or truth.kills_per_hour > MAX_KILLS_PER_HOUR,
        gross=worst > GROSS or killed,
        unsafe_at_peak=not _holds(draw, point, regime),
        severity=math.log(max(worst, 1e-9)),
        burned=burned,
        feasible=False,  # judged when it is known how the run ended
        seconds=seconds,
        outcomes=() if killed else _outcomes(expected, canary, draw.pod.limits),
        truths=tuple(math.log(max(ratios[n], 1e-9) / m) / sd for n, (m, sd, _) in expected.items()),
    )


def measure(draw: Draw, truth: Truth, requests: float, common: float, rng: np.random.Generator) -> dict[str, Counted]:
    """What one arm counted: (bad, total, overdispersion as estimated from sub-windows) by bound."""
    total = int(rng.poisson(requests))
    found: dict[str, Counted] = {}
    for name, ratio in ((SLOW, truth.slow), (ERRORS, truth.errors)):
        shifted = min(ratio * math.exp(common + draw.noise.own * float(rng.standard_normal())), 1.0)
        bad = min(int(clustered(rng, max(total * shifted, 1e-9), draw.noise.dispersion)), total)
        spread = draw.noise.dispersion * float(rng.chisquare(PHI_FREEDOM)) / PHI_FREEDOM
        found[name] = (float(bad), float(max(total, 1)), max(spread, 1.0))
    return found


def values_of(counts: Mapping[str, Counted]) -> dict[str, Measured]:
    """The same as (value, standard error), for methods that do not know counts; half an event more keeps it above 0."""
    found = {}
    for name, (bad, total, spread) in counts.items():
        value = (bad + 0.5) / (total + 1.0)
        found[name] = (value, value * math.sqrt(spread / (bad + 0.5)))
    return found


def _outcomes(
    expected: Mapping[str, tuple[float, float, float]], seen: Mapping[str, Counted], limits: Mapping[str, float]
) -> tuple[float, ...]:
    found = []
    for name, (median, sd, between) in expected.items():
        bad, total, spread = seen[name]
        if bad >= LEAST_BAD:
            wide = math.sqrt(sd**2 + between**2 + spread / bad)
            found.append(math.log(bad / total / limits[name] / median) / wide)
    return tuple(found)
