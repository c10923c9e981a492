"""What a trial's canary did to real requests: how long it served, how many it got, how many of them were bad.

Counted by the model without noise: the load is the one that the world offered (with its noise), and every ratio is
that of a warm pod with the trial's assignment. An injected fault is not the assignment's doing and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from trimtab.control.routing import wanted_part
from trimtab.control.scaling import autoscaler_plan, first_pods
from trimtab.domain.measurement import NoData
from trimtab.domain.space import Assignment
from trimtab.domain.spec import RatioQuery, SlowRatioQuery
from trimtab.domain.trial import Trial
from trimtab.simulate.fleet import STEP_S as SYNC_S
from trimtab.simulate.fleet import Play
from trimtab.simulate.truth import Truth, Verdict
from trimtab.workload import OfferedLoad

STEP_S: Final = 10.0


@dataclass(frozen=True)
class BadEvents:
    """Requests that were bad by one SLI, and how many of the same requests today's values would have served badly."""

    sli: str
    bad: float
    at_baseline: float


@dataclass(frozen=True)
class Exposure:
    """Of one trial. `load_rps` is the mean load per pod, or as `Truth.whole` says; None when no canary pod served.

    `verdict` is what the model says of the canary at this load; where its pods scaled, of all requests that they had by
    the whole share of the route.
    """

    seconds: float
    load_rps: float | None
    requests: float
    bad: tuple[BadEvents, ...]
    verdict: Verdict | None = None


NOT_EXPOSED: Final = Exposure(0.0, None, 0.0, ())


def exposure_of(truth: Truth, offered: OfferedLoad, trial: Trial) -> Exposure:
    """From when both arms were ready until the canary was off traffic."""
    begun, ended = trial.times.warming_up, _off_traffic(trial)
    if begun is None or ended is None or ended <= begun:
        return NOT_EXPOSED
    load, requests = _met(truth, offered, trial, begun, ended)
    if truth.autoscaler is None:
        ours, todays = truth.judge(trial.assignment, load), truth.judge(truth.baseline, load)
    else:
        canary, control = (_played(truth, offered, trial, a, begun, ended) for a in (trial.assignment, truth.baseline))
        ours, todays = truth.judge_play(load, canary, control), truth.judge_play(load, control, control)
    bad = []
    for sli in counted_slis(truth):
        ratio, usual = ours.value(sli), todays.value(sli)
        if not isinstance(ratio, NoData) and not isinstance(usual, NoData):
            bad.append(BadEvents(sli, ratio * requests, usual * requests))
    return Exposure(ended - begun, load, requests, tuple(bad), ours)


def _met(truth: Truth, offered: OfferedLoad, trial: Trial, begun: float, ended: float) -> tuple[float, float]:
    """(mean load, requests of the canary) in this time: of as many pods as there are, or by the route's weights."""
    arms, times = truth.spec.canary.replicas, np.arange(begun, ended, STEP_S)
    loads, share = offered.series(times), truth.arm_share(trial.assignment)
    if share is None:
        load = float(loads.mean()) / (trial.environment.target_replicas + 2 * arms)
        return load, load * arms * (ended - begun)
    parts = np.array([wanted_part(truth.spec, float(t - begun)) for t in times])
    load = float(loads.mean()) if truth.whole else float(loads.mean()) * share / arms
    return load, float((loads * parts).mean()) * share * (ended - begun)


def _played(
    truth: Truth, offered: OfferedLoad, trial: Trial, assignment: Assignment, begun: float, ended: float
) -> Play:
    """The pods of an arm over this time, once it had all of its share if it came to that."""
    spec, replicas = truth.spec, trial.environment.target_replicas
    share = spec.route_share(assignment)
    steps = np.arange(max(1, round((ended - begun) / SYNC_S)))
    parts = np.array([wanted_part(spec, (step + 0.5) * SYNC_S) for step in steps.tolist()])
    loads = offered.series(begun + (steps + 0.5) * SYNC_S) * parts * share
    first = first_pods(spec, autoscaler_plan(spec, truth.surroundings, assignment), replicas, assignment)
    play = truth.fleet(assignment, share).play(loads, first)
    return play.since(int(np.argmax(parts == parts.max())))


def _off_traffic(trial: Trial) -> float | None:
    """When the canary stopped to serve: draining begins with its deletion."""
    if trial.times.draining is None:
        return None
    return trial.times.draining + (trial.withdraw_seconds or 0.0)


def counted_slis(truth: Truth) -> tuple[str, ...]:
    """SLIs that count events and that a constraint or a budget bounds, in the Experiment's order."""
    bounded = {c.sli for c in truth.spec.constraints} | {b.sli for b in truth.spec.budgets}
    return tuple(
        s.name for s in truth.spec.slis if s.name in bounded and isinstance(s.query, RatioQuery | SlowRatioQuery)
    )
