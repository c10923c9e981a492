"""Trials through the operator's own rules: `judge_tick` at every tick, over windows taken in by `WatchState`.

Error budgets' own rules (gate and cap) judge the service's past and the account of earlier trials, which a single trial
has none of: `caps.py` plays the cap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.safety.cells import Cell
from benchmarks.safety.series import (
    BASE_POINT,
    SCRAPE_S,
    TICK_S,
    TICKS,
    WARM_TICKS,
    ArmSeries,
    Level,
    Noise,
    Trials,
    draw,
    history,
)
from trimtab.domain.kube import ArmView, ContainerStatus, PodView
from trimtab.domain.measurement import Arm, Measurement, Reading, Window
from trimtab.domain.space import Assignment
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.trial import Environment, PhaseTimes, Purpose, Suggestion, Trial, TrialPhase
from trimtab.slo.estimate import overdispersion_between, ratio_sample, value_sample
from trimtab.slo.evidence import tested_slis
from trimtab.slo.safety import SafetyView, SafetyWindow, WatchState, Withdraw, judge_tick
from trimtab.slo.sequential import overdispersion_bound

BEGUN = BASE_POINT + WARM_TICKS * TICK_S
HISTORIES = 20
LAG_S = 5.25
ARMS = (Arm.CANARY, Arm.CONTROL)


@dataclass(frozen=True)
class Ended:
    """How one trial ended: the tick (from 1) at which a rule withdrew it, None when none did, with the rule and the
    outcome's reason."""

    tick: int | None
    rule: str = ""
    reason: str = ""


def play(cell: Cell, trials: int, seed: int) -> tuple[Trials, list[Ended]]:
    """So many trials of a cell. The same seed gives the same."""
    rng = np.random.default_rng(seed)
    drawn = draw(rng, cell.noise, cell.position.canary, cell.position.control, trials)
    phis = [phi_of(rng, cell.noise, cell.position.control) for _ in range(histories(trials))]
    return drawn, [trial(cell.position.spec, drawn, row, phis[row % len(phis)]) for row in range(trials)]


def histories(trials: int) -> int:
    """How many pasts so many trials share: one for ten, and at most 20."""
    return max(1, min(HISTORIES, trials // 10))


def phi_of(rng: np.random.Generator, noise: Noise, level: Level) -> float:
    """How events cluster, as the operator reads it from the six hours before."""
    return overdispersion_bound(*overdispersion_between(history(rng, noise, level)))


def trial(spec: ExperimentSpec, drawn: Trials, row: int, phi: float) -> Ended:
    """One trial from the end of its warm-up to its end or its withdrawal."""
    watch = WatchState()
    canary, control = _rows(drawn.canary, row), _rows(drawn.control, row)
    for tick in range(WARM_TICKS + TICKS):
        window = SafetyWindow(
            _span(tick), (*_measured(spec, tick, Arm.CANARY, canary), *_measured(spec, tick, Arm.CONTROL, control))
        )
        watch = watch.with_window(window, spec, since=BEGUN)
        if tick < WARM_TICKS:
            continue
        if tick == WARM_TICKS:
            watch = watch.tempered(dict.fromkeys(tested_slis(spec), phi))
        found = judge_tick(_view(spec, watch, window.window.end))
        if isinstance(found, Withdraw):
            return Ended(tick - WARM_TICKS + 1, found.rule, found.outcome.reason)
    return Ended(None)


Row = tuple[list[float], list[float], list[float], list[list[float]]]


def _rows(arm: ArmSeries, row: int) -> Row:
    return arm.total[row].tolist(), arm.errors[row].tolist(), arm.slow[row].tolist(), arm.gauge[row].tolist()


def _span(tick: int) -> Window:
    return Window(BASE_POINT + tick * TICK_S, BASE_POINT + (tick + 1) * TICK_S)


def _measured(spec: ExperimentSpec, tick: int, arm: Arm, row: Row) -> Sequence[Measurement]:
    total, errors, slow, gauge = row
    span = _span(tick)
    found: list[tuple[str, Reading]] = [
        ("errors", ratio_sample([errors[tick]], [total[tick]])),
        ("slow", ratio_sample([slow[tick]], [total[tick]])),
    ]
    if len(spec.slis) > len(found):
        found.append(("gauge", value_sample(gauge[tick], None)))
    return [Measurement(sli, arm, span, reading) for sli, reading in found]


def _view(spec: ExperimentSpec, watch: WatchState, now: float) -> SafetyView:
    last = now if watch.last_good is None else watch.last_good
    canary, control = ARM_VIEWS
    return SafetyView(now + LAG_S, spec, TRIAL, canary, control, watch, blind_since=last, scrape_interval=SCRAPE_S)


def _arm(which: Arm) -> ArmView:
    name = f"tt-00000000-0-{which.value[:2]}"
    status = ContainerStatus("web", True, 0)
    pod = PodView(f"{name}-1", f"uid-{name}", "Running", "", True, BASE_POINT, "node-1", False, "", (status,), ())
    return ArmView(
        arm=which, name=name, namespace="shop", experiment_uid="experiment", experiment_name="web", trial_uid="trial",
        trial_name="web-0", uid=f"uid-{name}", spec_digest="plan", observed_digest="plan", deadline=TRIAL.deadline,
        deleting=False, replicas=1, failure="", pods=(pod,), ready_endpoints=1,
    )  # fmt: skip


TRIAL = Trial(
    name="web-0",
    namespace="shop",
    uid="trial",
    resource_version="1",
    experiment_uid="experiment",
    experiment_name="web",
    index=0,
    suggestion=Suggestion(Assignment(()), Purpose.SEARCH, 1, True, 0.99, 0.1, (), "digest", 0.0, 0.0),
    spec_digest="spec",
    environment=Environment("hash", "target", "image", 20),
    phase=TrialPhase.MEASURING,
    times=PhaseTimes(created=BASE_POINT - 30, deploying=BASE_POINT - 20, warming_up=BASE_POINT, measuring=BEGUN),
    deadline=BEGUN + 2 * TICKS * TICK_S,
    window=Window(BEGUN, BEGUN + TICKS * TICK_S),
)
ARM_VIEWS = tuple(_arm(which) for which in ARMS)
__all__ = ["Ended", "histories", "phi_of", "play", "trial"]
