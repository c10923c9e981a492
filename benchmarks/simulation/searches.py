"""Searches of the examples whose pods an autoscaler scales, over many seeds, in seconds each: no cluster, no operator.

`python -m benchmarks.simulation.searches [--seeds 10] [--by-requests] [EXAMPLE ...]`, with PYTHONPATH=operator:hack.
Arms are played as the truth of `trimtab simulate` is, over the same windows and loads, and read with noise; what comes
next is asked of the optimizer as the operator asks. There is no withdrawal and no verification. What is recommended is
judged without noise at the peak, and priced over a day; `expected` is the improvement of the objective as promised.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import yaml

from stack.paths import EXAMPLES
from trimtab.control.scaling import scaled_by
from trimtab.control.study import build_study
from trimtab.domain.measurement import Arm, Measurement, Reading, Sample, Window
from trimtab.domain.space import Assignment
from trimtab.domain.spec import RatioQuery, SlowRatioQuery
from trimtab.domain.state import TargetRecord
from trimtab.domain.study import Recommended, Study
from trimtab.domain.trial import Environment, Load, Outcome, PhaseTimes, Suggestion, Trial, TrialPhase
from trimtab.optimize.designer import recommend, suggest
from trimtab.simulate.fleet import STEP_S, FloatArray, used
from trimtab.simulate.scaling import Period, loads_of
from trimtab.simulate.scenario import Scenario, scenario
from trimtab.slo.verdict import BOUND_BROKEN

NAMES = ("scaled-web-service", "function", "inference")
OWN, SHARED = 0.04, 0.015  # noise of an arm's ratios, and of both arms of a trial (log)
NODES, WEIGHTS, VALUES = 0.02, 0.003, 0.01  # of the use of a pod, of an arm's share, of a value
CLUSTERED = 1.5  # times the standard error of independent events
BETWEEN = 120.0  # seconds between two trials


@dataclass
class Search:
    """One search in the making."""

    made: Scenario
    by_use: bool
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        truth = self.made.truth
        by = scaled_by(truth.spec, truth.target, truth.surroundings)
        self._record = TargetRecord("uid", "hash", truth.baseline, by)
        self._rng = np.random.default_rng(self.made.seed)
        self._now = self.made.start

    @property
    def study(self) -> Study:
        """What the operator would ask now."""
        truth = self.made.truth
        return build_study(truth.spec, truth.target, self._record, tuple(self.trials), self.made.start)

    def run(self) -> Recommended:
        """Until the optimizer has enough, or maxTrials."""
        for _ in range(self.made.truth.spec.stopping.max_trials):
            answer = suggest(self.study).answer
            if not isinstance(answer, Suggestion):
                break
            self.trials.append(self._trial(answer))
        found = recommend(self.study)
        assert isinstance(found, Recommended)
        return found

    def _trial(self, suggestion: Suggestion) -> Trial:
        truth = self.made.truth
        begin, index = self._now + truth.spec.trial.warm_up, len(self.trials)
        window = Window(begin, begin + truth.spec.trial.duration)
        loads, drift = loads_of(truth.workload, Period(self._now, window.end)), SHARED * self._rng.standard_normal()
        arms = ((Arm.CANARY, suggestion.assignment), (Arm.CONTROL, truth.baseline))
        seen = [(arm, *self._arm(arm, x, loads, drift)) for arm, x in arms]
        bad = self._broken(seen[0][1])
        phase = TrialPhase.INFEASIBLE if bad else TrialPhase.SUCCEEDED
        times = PhaseTimes(self._now, self._now, self._now, begin, window.end, window.end)
        self._now = window.end + BETWEEN
        return Trial(
            f"t{index}", "default", f"uid-{index}", "1", "uid", "played", index, suggestion, "digest",
            Environment("hash", "uid", "image", truth.target.replicas), phase, times, window=window,
            outcome=Outcome(phase, BOUND_BROKEN if bad else "Measured", ""),
            measurements=tuple(Measurement(sli, arm, window, r) for arm, rows, _ in seen for sli, r in rows.items()),
            load=tuple(load for _, _, load in seen),
        )  # fmt: skip

    def _arm(self, arm: Arm, x: Assignment, loads: FloatArray, drift: float) -> tuple[dict[str, Sample], Load]:
        """Its SLIs and its load, as they are read."""
        truth, rng = self.made.truth, self._rng
        assert truth.spec.route is not None
        share = truth.spec.route.share
        fleet, first = truth.fleet(x, share), max(truth.spec.canary.replicas, round(truth.target.replicas * share))
        own = loads * share * math.exp(WEIGHTS * rng.standard_normal())
        play = fleet.play(own, first).since(round(truth.spec.trial.warm_up / STEP_S))
        requests, rows = float(play.loads.sum() * STEP_S), dict[str, Sample]()
        for question in truth.questions:
            value = play.ratio(lambda b, of=question.of: _number(of(b, 1)))  # type: ignore[misc]
            if isinstance(truth.spec.sli(question.sli).query, SlowRatioQuery | RatioQuery):
                rows[question.sli] = self._counted(value, requests, drift)
            else:
                rows[question.sli] = Sample(value * math.exp(VALUES * rng.standard_normal()), VALUES * value, 60.0)
        (aim, _), *_ = fleet.limits
        use = play.seconds(lambda b: used(b, aim.resource)) / float(play.serving.sum() * STEP_S)
        use *= math.exp(NODES / math.sqrt(play.mean_pods) * rng.standard_normal())
        load = Load(arm, float(play.loads.mean()) / play.mean_pods, None, play.mean_pods, 0.1)
        return rows, replace(load, use=use, use_error=NODES / math.sqrt(play.mean_pods) * use) if self.by_use else load

    def _counted(self, ratio: float, requests: float, drift: float) -> Sample:
        ratio = min(ratio * math.exp(OWN * self._rng.standard_normal() + drift), 1.0)
        bad = float(self._rng.binomial(int(requests), ratio))
        error = CLUSTERED * math.sqrt(max(bad, 1.0)) / requests
        return Sample(bad / requests, error, requests, bad, overdispersion=CLUSTERED**2)

    def _broken(self, rows: dict[str, Sample]) -> bool:
        """Surely beyond a bound."""
        found = [(c.maximum, rows[c.sli]) for c in self.made.truth.spec.constraints if c.maximum is not None]
        return any(seen.value - 2 * seen.standard_error > bound for bound, seen in found)


def _number(value: Reading | float) -> float:
    return value if isinstance(value, float) else 0.0


def example(name: str, seed: int) -> Scenario:
    """An example, at full length."""
    folder = EXAMPLES / name
    (experiment,) = [d for d in yaml.safe_load_all((folder / "experiment.yaml").read_text()) if d]
    spec: dict[str, Any] = {**experiment["spec"], "search": {**experiment["spec"].get("search", {}), "seed": seed}}
    deployment = [d for d in yaml.safe_load_all((folder / "deployment.yaml").read_text()) if d]
    text = (folder / "workload.yaml").read_text()
    return scenario({**experiment, "spec": spec}, deployment, text, seed=seed, days=1.0)


def rows(name: str, seeds: int, by_use: bool) -> Iterator[str]:
    """Of a table in Markdown, one for each seed."""
    for seed in range(1, seeds + 1):
        search = Search(example(name, seed), by_use)
        found, truth = search.run(), search.made.truth
        chosen, holds = found.assignment, truth.holds(found.assignment, search.made.peak_rps)
        saved = 1 - truth.hourly(chosen) / truth.hourly(truth.baseline)
        figures = f"{100 * saved:.1f} | {100 * found.saving:.1f} | {'yes' if holds else 'no'}"
        yield f"| {seed} | {len(search.trials)} | {truth.spec.space.describe(chosen)} | {figures} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--by-requests", action="store_true", help="without measured use")
    given = parser.parse_args()
    for name in given.names:
        print(f"\n{name}\n\n| seed | trials | recommended | cost saved, % | expected, % | holds at peak |")
        print("|--:|--:|---|--:|--:|---|", flush=True)
        for row in rows(name, given.seeds, not given.by_requests):
            print(row, flush=True)


if __name__ == "__main__":
    main()
