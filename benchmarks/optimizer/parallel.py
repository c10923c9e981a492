"""Trials side by side: how long until a point near the optimum is found, one at a time against several.

`python -m benchmarks.optimizer.parallel [--dims 4] [--seeds 100-107] [--parallel 3]`, with PYTHONPATH=operator:hack.
The services and their noise are those of the safety benchmark (stationary). The clock is virtual, with the operator's
times: a trial takes TRIAL_S, a further one starts once the youngest has come through its warm-up (SETTLED_S), and the
baseline is measured alone. What is pending is told to the optimizer and nothing else; each trial reads what it would
have read at any other time. Regret is the cost of the cheapest point tried so far that truly holds at the peak, over
the optimum's, less 1, by the end of the trial that measured it; told is also the time to the least regret that both
ways reach on a service.
"""

from __future__ import annotations

import argparse
import heapq
import math
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median

import numpy as np

from benchmarks.optimizer.contract import Point, Result
from benchmarks.optimizer.methods.trimtab import Trimtab
from benchmarks.optimizer.optimum import optimum_cached
from benchmarks.optimizer.safety import measure, values_of
from benchmarks.optimizer.scenarios import WINDOW_S, Draw, draw

TRIAL_S = 745.0
"""From a Trial's creation to its end with `warmUp: 2m` and `duration: 10m`, as the simulator plays the web service."""
SETTLED_S = 125.0
"""From its creation until it measures."""
REGRETS = (0.05, 0.02)
OPTIMA = Path("build/bench/optimizer/optima")


@dataclass(frozen=True)
class Tried:
    """One trial: when it ended (s), its cost over the optimum's, and the truth at the peak and at its load."""

    ended: float
    cost: float
    holds: bool
    unsafe: bool
    burned: float


@dataclass
class Course:
    """One run on one service, in virtual time."""

    service: Draw
    seed: int
    parallel: int
    least: float
    now: float = 0.0
    begun: float = -math.inf  # the youngest trial
    live: list[tuple[float, int, dict[str, float], bool]] = field(default_factory=list)
    found: list[Tried] = field(default_factory=list)
    number: int = 0

    def __post_init__(self) -> None:
        self._method = Trimtab(self.service.task, self.seed)
        self._noise = np.random.default_rng([self.seed, 9, len(self.service.task.axes)])

    def play(self) -> list[Tried]:
        """Until every trial was made, or the optimizer wants no more."""
        wants = True
        while wants or self.live:
            wants = self._start() if wants or self.live else False
            if not self.live:
                break
            settled = self.begun + SETTLED_S
            if wants and self._room() and settled < self.live[0][0]:
                self.now = settled
            else:
                self._end()
                wants = self.number < self.service.task.trials
        return self.found

    def _room(self) -> bool:
        return len(self.live) < self.parallel and not any(alone for *_, alone in self.live)

    def _start(self) -> bool:
        """Start what may start now; whether another one may later."""
        if self.number >= self.service.task.trials:
            return False
        if not self._room() or self.now < self.begun + SETTLED_S:
            return True
        point = self._method.ask()
        if point is None:
            return False
        alone = dict(point) == dict(self.service.baseline)
        heapq.heappush(self.live, (self.now + TRIAL_S, self.number, dict(point), alone))
        self.begun, self.number = self.now, self.number + 1
        return True

    def _end(self) -> None:
        self.now, index, point, _ = heapq.heappop(self.live)
        rng = np.random.default_rng([self.seed, 9, index])
        load = self.service.load_at(index, rng)
        requests = load * WINDOW_S * self.service.arm_pods
        common = self.service.noise.common * float(rng.standard_normal())
        truth = self.service.pod.truth(point, load)
        canary = measure(self.service, truth, requests, common, rng)
        control = measure(self.service, self.service.pod.truth(self.service.baseline, load), requests, common, rng)
        told = Result(
            values_of(canary), values_of(control), load, 1.8e9 + self.now, counts=canary, control_counts=control
        )
        self._method.tell(point, told)
        self.found.append(self._judged(point, truth.slow + truth.errors, requests, load))

    def _judged(self, point: Point, bad: float, requests: float, load: float) -> Tried:
        pod, peak = self.service.pod, self.service.peak
        holds, unsafe = pod.feasible(pod.truth(point, peak)), not pod.feasible(pod.truth(point, load))
        return Tried(self.now, self.service.task.cost(point) / self.least, holds, unsafe, requests * min(bad, 1.0))


def until(found: list[Tried], regret: float) -> float:
    """Seconds until a point within this regret was measured; inf when none was."""
    return next((t.ended for t in found if t.holds and t.cost <= 1.0 + regret), math.inf)


def best(found: list[Tried]) -> float:
    """The regret of a whole run; inf when nothing held."""
    return min((t.cost - 1.0 for t in found if t.holds), default=math.inf)


def main() -> None:
    """Print the medians and their ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.optimizer.parallel")
    parser.add_argument("--dims", type=int, default=4)
    parser.add_argument("--seeds", default="100-107")
    parser.add_argument("--parallel", type=int, default=3)
    given = parser.parse_args()
    first, last = (int(x) for x in given.seeds.split("-"))
    rows: dict[int, list[list[Tried]]] = {1: [], given.parallel: []}
    for seed in range(first, last + 1):
        service = draw("stationary", given.dims, seed)
        least = optimum_cached(service, OPTIMA, "parallel").cost
        for parallel, found in rows.items():
            found.append(Course(service, seed, parallel, least).play())
            told = " ".join(f"{r:.0%}:{until(found[-1], r) / 60:.0f}min" for r in REGRETS)
            print(f"seed {seed} parallel {parallel}: {len(found[-1])} trials, {told}", flush=True)
    for regret in REGRETS:
        times = {p: [until(f, regret) / 60.0 for f in found] for p, found in rows.items()}
        middle = {p: median(t) for p, t in times.items()}
        told = ", ".join(f"{p} at a time {m:.0f} min ({_reached(times[p])})" for p, m in middle.items())
        print(f"regret {regret:.0%}: {told}, ratio {middle[given.parallel] / middle[1]:.2f}")
    finals = [max(best(one), best(other)) for one, other in zip(*rows.values(), strict=True)]
    same = {p: [until(f, r + 1e-9) / 60 for f, r in zip(found, finals, strict=True)] for p, found in rows.items()}
    told = ", ".join(f"{p} at a time {median(t):.0f} min" for p, t in same.items())
    ratio = median(same[given.parallel]) / median(same[1])
    print(f"the regret that both reach in the end, median {median(finals):.1%}: {told}, ratio {ratio:.2f}")
    for p, found in rows.items():
        unsafe, ended = mean(sum(t.unsafe for t in f) for f in found), median(f[-1].ended / 60 for f in found)
        trials = mean(len(f) for f in found)
        print(f"{p} at a time: {unsafe:.2f} truly unsafe of {trials:.1f} trials a run, over after {ended:.0f} min")


def _reached(times: list[float]) -> str:
    return f"{sum(map(math.isfinite, times))} of {len(times)} runs"


if __name__ == "__main__":
    main()
