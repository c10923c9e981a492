"""The ways to tune: all parameters in one Experiment, or one Experiment after the other.

Each way has the same number of trials. One after the other is what people do by hand: an Experiment of some parameters
with half of the trials, then, on a service that runs with what that recommended, an Experiment of the others with what
is left (with more than half where the first one held nothing to be worth a further trial). Both measure their baseline
anew, as the operator does. The recommendation is the one that it would verify.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.joint.services import JOINT, REQUESTS, TARGET, Deployed, Service, scenario_of
from benchmarks.joint.trials import Bench
from trimtab.control.study import build_study
from trimtab.domain.study import Recommended, Study
from trimtab.domain.trial import Suggestion, Trial
from trimtab.optimize.designer import recommend, suggest
from trimtab.simulate.scenario import START

WAYS: Final = {
    "joint": (JOINT,),
    "requests first": (REQUESTS, TARGET),
    "target first": (TARGET, REQUESTS),
}


@dataclass(frozen=True)
class Tuned:
    """What a study came to: `final` is what it recommends to run, `tried` all that was served, stage by stage."""

    service: str
    way: str
    seed: int
    final: Deployed
    stages: tuple[Deployed, ...]
    tried: tuple[Deployed, ...]
    trials: int


def tune(service: Service, way: str, seed: int, trials: int) -> Tuned:
    """One study."""
    now, number, start = service.today, 0, START
    stages: list[Deployed] = []
    tried: list[Deployed] = []
    for at, names in enumerate(WAYS[way]):
        share = trials - number if at + 1 == len(WAYS[way]) else trials // len(WAYS[way])
        bench = Bench(scenario_of(service, names, now, seed, share, start), seed)
        ledger = _searched(bench, share, number, start)
        answer = recommend(_study(bench, ledger, start))
        tried += [now.changed(t.assignment) for t in ledger]
        if isinstance(answer, Recommended):
            now = now.changed(answer.assignment)
        stages.append(now)
        number, start = number + len(ledger), start + bench.seconds * len(ledger)
    return Tuned(service.name, way, seed, now, tuple(stages), tuple(tried), number)


def _searched(bench: Bench, trials: int, number: int, start: float) -> tuple[Trial, ...]:
    """The ledger of one Experiment; `number` trials of the study came before."""
    ledger: tuple[Trial, ...] = ()
    while len(ledger) < trials:
        answer = suggest(_study(bench, ledger, start), timer=lambda: 0.0).answer
        if not isinstance(answer, Suggestion):
            break
        begun = start + bench.seconds * len(ledger)
        ledger = (*ledger, bench.trial(answer, len(ledger), number + len(ledger), begun))
    return ledger


def _study(bench: Bench, ledger: tuple[Trial, ...], start: float) -> Study:
    truth = bench.scenario.truth
    return build_study(truth.spec, truth.target, bench.record, ledger, start, bench.floors)


__all__ = ["WAYS", "Tuned", "tune"]
