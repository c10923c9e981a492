"""Random services by (scenario, number of parameters, seed): what is drawn, within which ranges.

Seeds below 100 are for tuning; figures are reported on 100 and up. The draw of a seed is the same for each method.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

import numpy as np

from benchmarks.optimizer.contract import Axis, Limit, Point, Task
from benchmarks.optimizer.services import (
    ERRORS,
    ORDINARY,
    SLOW,
    Pod,
    Regime,
    behave,
    quantile,
    settings,
    tightest,
)
from trimtab.workload import WorkloadSpec
from trimtab.workload.cfs import PERIOD_S
from trimtab.workload.units import GIB

Scenario = Literal[
    "stationary", "diurnal", "regime-change", "low-traffic", "interior-optimum", "barely-feasible", "infeasible-start"
]
SCENARIOS: Final[tuple[Scenario, ...]] = get_args(Scenario)
FEASIBLE: Final = tuple(s for s in SCENARIOS if s != "infeasible-start")
DIMENSIONS: Final = (2, 4, 8)
TRIALS: Final = 40
WINDOW_S: Final = 600.0
SPACING_S: Final = 3600.0
LOAD_STEP: Final = 0.005
LOAD_SD: Final = 0.02  # of the logarithm of a trial's load
Z95: Final = 1.645
STEPS_TO_BASELINE: Final = 20
CPU_HOUR, GIB_HOUR = 0.0316, 0.0042
DAY_HOURS, PEAK_HOUR = 24.0, 14.0
ATTEMPTS: Final = 200
FLOOR: Final = 1.15


@dataclass(frozen=True)
class Noise:
    """`common` and `own`: standard deviation of the logarithm of a bad ratio between trials, shared by both arms of a
    trial, and of one arm alone. `dispersion`: variance / mean of the counts within a window."""

    common: float
    own: float
    dispersion: float


@dataclass(frozen=True)
class Days:
    """How the load goes. `load` is the usual one (requests per second per pod), `swing` of the day; until trial
    `change` it is multiplied with `before`."""

    load: float
    swing: float
    seed: int
    change: int = TRIALS
    before: float = 1.0

    def usual(self, trial: int) -> float:
        """The load of a trial without chance, as a fraction of `load`."""
        hour = (self.seed * 7 + trial * SPACING_S / 3600.0) % DAY_HOURS
        day = 1.0 + self.swing * math.cos((hour - PEAK_HOUR) / DAY_HOURS * 2.0 * math.pi)
        return day * (self.before if trial < self.change else 1.0)

    def __call__(self, trial: int) -> float:
        """95 % of the trials at this hour see no more than this many requests per second per pod."""
        return self.load * self.usual(trial) * math.exp(Z95 * LOAD_SD)


@dataclass(frozen=True)
class Draw:
    """One service to tune, with `arm_pods` pods in each arm. Until trial `change` the regime `before` holds, then
    `after`."""

    name: str
    pod: Pod
    task: Task
    cost: Cost
    baseline: Point
    days: Days
    peak: float
    arm_pods: int
    noise: Noise
    before: Regime = ORDINARY
    after: Regime = ORDINARY

    def load_at(self, trial: int, rng: np.random.Generator) -> float:
        """Requests per second per pod while a trial is measured, in steps of half a percent."""
        logarithm = math.log(self.days.usual(trial)) + LOAD_SD * float(np.clip(rng.standard_normal(), -3.0, 3.0))
        return self.days.load * math.exp(LOAD_STEP * round(logarithm / LOAD_STEP))

    def regime_at(self, trial: int) -> Regime:
        return self.before if trial < self.days.change else self.after

    def released_at(self, trial: int) -> bool:
        """Whether this is the first trial of a new version."""
        return trial == self.days.change and self.before != self.after


@dataclass(frozen=True)
class Cost:
    """$ per hour: requests at their prices, and what being small costs, inversely to its cube (waiting for start-up,
    for the collector): price x (value + best^4 / (3 value^3)), least at `best`, which is 0 where that costs nothing."""

    prices: Mapping[str, float]
    best: Mapping[str, float]

    def __call__(self, point: Point) -> float:
        return sum(self.of(name, point[name]) for name in self.prices)

    def partial(self, point: Point) -> float:
        """What the parameters of a part of a point add."""
        return sum(self.of(name, value) for name, value in point.items())

    def of(self, name: str, value: float) -> float:
        """What one parameter adds."""
        return self.prices[name] * (value + self.best[name] ** 4 / (3.0 * value**3))


def draw(scenario: Scenario, dimensions: int, seed: int) -> Draw:
    """The service of a seed; services that would be out of place in their scenario are drawn again.

    Raises:
        ValueError: an unknown scenario, a number of parameters that is not even, or no fitting service was found.
    """
    if scenario not in SCENARIOS or dimensions < 2 or dimensions % 2:
        raise ValueError(f"{scenario}, d={dimensions}: give one of {', '.join(SCENARIOS)} and an even d")
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([zlib.crc32(scenario.encode()), dimensions, seed, attempt])
        found = _drawn(scenario, dimensions, seed, rng)
        if found is not None:
            return found
    raise ValueError(f"{scenario}, d={dimensions}, seed {seed}: no fitting service in {ATTEMPTS} draws")


def _drawn(scenario: Scenario, dimensions: int, seed: int, rng: np.random.Generator) -> Draw | None:
    rare = scenario == "low-traffic"
    load = _log(rng, 2.0, 8.0) if rare else _log(rng, 100.0, 800.0)
    swing = float(rng.uniform(0.15, 0.35)) if scenario == "diurnal" else 0.0
    peak = load * (1.0 + swing) * 1.06
    before, after, early, change = _change(scenario, rng)
    containers = tuple(_container(i, load, rare, rng) for i in range(dimensions // 2))
    limits = {SLOW: float(rng.choice([0.02, 0.05])), ERRORS: _error_bound(containers, rare, rng)}
    tight = scenario in ("barely-feasible", "infeasible-start")
    axes = tuple(_axis(n, v) for n, v in _today(containers, peak, tight, rng).items())
    baseline = {a.name: round(a.low + a.step * (STEPS_TO_BASELINE - 3), 9) for a in axes}
    loaded, strain = load if scenario == "infeasible-start" else peak, _strain(scenario, rng)
    pod = Pod(containers, 1.0, limits)
    pod = Pod(containers, quantile(pod, baseline, loaded, after, limits[SLOW] * strain), limits)
    axes = tuple(_floored(a, pod, baseline, peak, after) for a in axes)
    cost = _cost(scenario, pod, baseline, peak, after, rng)
    noise = Noise(float(rng.uniform(0.02, 0.07)), float(rng.uniform(0.01, 0.04)), float(rng.uniform(1.0, 2.5)))
    known = tuple(Limit(n, b, "Errors" if n == ERRORS else "Latency") for n, b in limits.items())
    days = Days(load, swing, seed, change, early)
    task = Task(axes, known, cost, baseline, TRIALS, peak, days)
    name = f"{scenario}-d{dimensions}-{seed}"
    pods = 1 if rare else int(rng.integers(1, 4))
    made = Draw(name, pod, task, cost, baseline, days, peak, pods, noise, before, after)
    return made if _fits(scenario, made) else None


def _cost(scenario: Scenario, pod: Pod, baseline: Point, peak: float, after: Regime, rng: np.random.Generator) -> Cost:
    """OpenCost's prices, memory four times of it so that neither resource is negligible, each by a random factor. With
    an interior optimum the cheapest value of each is somewhat above where the bounds would stop a joint descent."""
    prices = {n: (CPU_HOUR if n.startswith("cpu") else GIB_HOUR * 4.0) * _log(rng, 0.6, 1.6) for n in baseline}
    if scenario != "interior-optimum":
        return Cost(prices, dict.fromkeys(baseline, 0.0))
    edge = tightest(pod, baseline, peak, after)
    return Cost(prices, {n: min(v * edge * float(rng.uniform(1.08, 1.25)), 0.8 * v) for n, v in baseline.items()})


def _fits(scenario: Scenario, made: Draw) -> bool:
    """Whether the baseline is as the scenario says, and there is something to find: a service that can be repaired, or
    one of which everything may shrink by a tenth (interior optimum: by 0.35; barely feasible: need not)."""
    pod, task = made.pod, made.task
    if scenario == "infeasible-start":
        top = {a.name: a.high for a in task.axes}
        now = pod.truth(made.baseline, made.days.load, made.after)
        return now.slow > pod.limits[SLOW] and pod.feasible(pod.truth(top, made.peak, made.after))
    if not pod.feasible(pod.truth(made.baseline, made.peak, made.after)):
        return False
    room = 0.65 if scenario == "interior-optimum" else 0.9
    return scenario == "barely-feasible" or tightest(pod, made.baseline, made.peak, made.after) <= room


def _change(scenario: Scenario, rng: np.random.Generator) -> tuple[Regime, Regime, float, int]:
    """(regime before, after, load before / after, first trial after). The bound and the peak are set for what comes
    after: half of the draws have a release that takes more CPU time, half a rise of load that was planned for."""
    if scenario != "regime-change":
        return Regime(), Regime(), 1.0, TRIALS
    at, release = int(rng.integers(10, 21)), bool(rng.random() < 0.5)
    slower = Regime(float(rng.uniform(1.12, 1.35)), float(rng.uniform(1.0, 1.08))) if release else Regime()
    return Regime(), slower, 1.0 if release else float(rng.uniform(0.7, 0.85)), at


def _container(index: int, load: float, rare: bool, rng: np.random.Generator) -> WorkloadSpec:
    used = load * _log(rng, 0.005, 0.02) if rare else _log(rng, 0.15, 0.8)
    live = _log(rng, 96.0, 320.0)
    allocated = _log(rng, 20.0, 150.0) / load
    document = {
        "name": f"c{index}",
        "target": {"deployment": "d", "service": "s", "container": f"c{index}", "selector": {"app": "d"}},
        "load": {"requestsPerSecond": load},
        "request": {
            "cpu": f"{used / load * 1e6:.1f}us",
            "cpuCv": float(rng.uniform(0.6, 1.2)),
            "burstiness": float(rng.uniform(1.0, 3.0) if rare else rng.uniform(5.0, 60.0)),
            "dependency": {"mean": f"{_log(rng, 8e3, 5e4):.0f}us", "cv": float(rng.uniform(0.4, 0.8))},
            "concurrency": 256,
            "queue": 1024,
            "timeout": "5s",
            "errorPercent": 100.0 * (_log(rng, 5e-4, 1.5e-3) if rare else _log(rng, 5e-5, 3e-4)),
        },
        "cpu": {"background": "20m", "nodeCores": "32"},
        "memory": {
            "runtime": f"{_log(rng, 64.0, 192.0):.0f}Mi",
            "liveSet": f"{live:.0f}Mi",
            "perRequest": f"{_log(rng, 64.0, 512.0):.0f}Ki",
            "allocatedPerRequest": f"{allocated * 1024:.0f}Ki",
            "usablePercent": 92,
            "tracePerGib": f"{rng.uniform(300.0, 900.0):.0f}ms",
            "pausePerGib": f"{rng.uniform(20.0, 100.0):.0f}ms",
            "spikePercent": float(rng.uniform(1.0, 2.0)),
        },
        "slo": {"latencyThreshold": "100ms", "maxSlowPercent": 5, "maxErrorPercent": 1},
        "buckets": ["100ms", "1s"],
    }
    return WorkloadSpec.model_validate(document)


def _strain(scenario: Scenario, rng: np.random.Generator) -> float:
    """Slow requests / bound of the baseline, at the peak (infeasible start: at the usual load)."""
    if scenario == "infeasible-start":
        return float(rng.uniform(1.15, 2.0))
    return float(rng.uniform(0.93, 0.98)) if scenario == "barely-feasible" else _log(rng, 0.1, 0.5)


def _today(
    containers: tuple[WorkloadSpec, ...], peak: float, tight: bool, rng: np.random.Generator
) -> dict[str, float]:
    """The baseline: CPU a few times what is used at the peak (and some requests in each period), memory a few times
    what is needed; where it is `tight`, some of it has little to spare."""
    found = {}
    for index, each in enumerate(containers):
        used = peak * each.request.cpu
        burst = each.request.cpu / PERIOD_S * float(rng.uniform(1.5, 4.0))
        need = (each.memory.runtime + each.memory.live_set + each.memory.per_request * _in_flight(each, peak)) / GIB
        found[f"cpu{index}"] = used * (_log(rng, 1.8, 4.0) if tight else _log(rng, 2.5, 6.0)) + burst
        found[f"memory{index}"] = need * (_log(rng, 1.3, 3.0) if tight else _log(rng, 1.8, 4.0))
    return found


def _in_flight(container: WorkloadSpec, load: float) -> float:
    return load * (container.request.dependency.mean + container.request.cpu)


def _error_bound(containers: tuple[WorkloadSpec, ...], rare: bool, rng: np.random.Generator) -> float:
    """A few times the base ratio; with little traffic at least what 600 s can decide (0.5 %)."""
    base = sum(c.request.error_percent for c in containers) / 100.0
    return max(base * float(rng.uniform(3.0, 6.0)), 0.005 if rare else 0.0)


def _axis(name: str, baseline: float) -> Axis:
    """20 steps to the baseline: from 3 of them to 30, so a whole box holds much that is unsafe."""
    cpu = name.startswith("cpu")
    quantum = 0.001 if cpu else 1.0 / 1024
    step = max(round(baseline / STEPS_TO_BASELINE / quantum), 1) * quantum
    low, high = round(3 * step, 9), round(30 * step, 9)
    return Axis(name, low, high, round(step, 9), log=True, safer=1, decrease=0.3 if cpu else 0.2, increase=0.5)


def _floored(axis: Axis, pod: Pod, baseline: Point, peak: float, regime: Regime) -> Axis:
    """Memory with the floor that the operator sets: 1.15 times the highest working set of the baseline, as it would be
    read from seven days before."""
    if axis.name.startswith("cpu"):
        return axis
    container = int(axis.name.removeprefix("memory"))
    used = behave(pod.containers[container], *settings(baseline, container), peak, regime).working_set_bytes
    return replace(axis, floor=min(FLOOR * used / GIB, baseline[axis.name]))


def _log(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))
