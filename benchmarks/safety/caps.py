"""Whole Experiments against the experiments' share of an error budget, through the operator's own rules of the cap.

Only the cap may withdraw here: what else would find such a canary is left out, so that the cap meets the worst. A
trial starts when `Cap.start_refused` lets it, is judged at every tick by `runtime.caps.judge_cap` on what
`slo.spending` counts, and is gone up to `GONE_S` after its withdrawal. Its canary gets 0.8 to 1.25 of the requests that
were expected. Prometheus scrapes every 15 s, and does not answer for a while in a tenth of the trials.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.safety.cells import SLO_PERCENT, manifest
from benchmarks.safety.play import TRIAL
from benchmarks.safety.series import BASE_POINT
from trimtab.api.convert_spec import parse_spec
from trimtab.control.gates import cap_of
from trimtab.control.snapshot import BudgetReadings, BudgetWindow
from trimtab.domain.measurement import Sample
from trimtab.domain.state import ExperimentState
from trimtab.domain.trial import PhaseTimes, Spent
from trimtab.ports import ExperimentRecord
from trimtab.runtime.caps import expected_load, judge_cap
from trimtab.slo.budget import Cap, allowed_bad
from trimtab.slo.safety import SafetyView
from trimtab.slo.spending import closed, counted, pace
from trimtab.slo.watching import RATE_SECONDS, WatchState

TICK_S, SCRAPE_S, GONE_S = 10.0, 15.0, 5.0
TRIAL_S = 720.0
PODS = 20
MAX_TRIALS = 10
AWAY = 0.1  # of the trials meet a Prometheus that does not answer for a while
SPEC = parse_spec(manifest(None, SLO_PERCENT))
BUDGET = SPEC.budgets[0]


@dataclass(frozen=True)
class Plan:
    """One kind of Experiment: the canaries' bad ratio, requests/s of the target, and how many bad events the share
    allows, in reserves of one trial."""

    name: str
    bad_ratio: float
    target_rps: float
    reserves: float
    starts_bad: float = 0.0  # seconds after which a trial's canary is bad


@dataclass(frozen=True)
class Spending:
    """What one Experiment came to: bad events of all its canaries, those that were booked, the cap, one tick's requests
    of a canary, and trials that ran, and that ran to their end."""

    bad: float
    booked: float
    limit: float
    tick: float
    trials: int
    whole: int

    @property
    def over(self) -> float:
        """By how many ticks of the canary's traffic the cap was exceeded; 0 when it was not."""
        return max(self.bad - self.limit, 0.0) / self.tick


PLANS = tuple(
    Plan(f"{words}, {rps:g} requests/s, {size}", ratio, rps, reserves, begin)
    for words, ratio, begin in (
        ("all bad", 1.0, 0.0),
        ("all bad after five minutes", 1.0, 300.0),
        ("half bad", 0.5, 0.0),
        ("5 % bad", 0.05, 0.0),
    )
    for rps in (40.0, 440.0, 4400.0)
    for size, reserves in (("tight cap", 1.3), ("cap of five reserves", 5.0))
)
AMPLE = Plan("equal arms, 440 requests/s, ample cap", 0.01, 440.0, 100.0)


def play(plan: Plan, seed: int) -> Spending:
    """One Experiment until its trials are through or the cap lets none start."""
    rng = np.random.default_rng(seed)
    load = plan.target_rps * float(rng.uniform(0.7, 1.3))
    record = _record(load)
    rate = expected_load(record, TRIAL)
    assert rate is not None
    wanted = plan.reserves * _cap(1e9, 0.0, rate).reserve  # the cap holds that many reserves
    total = wanted / BUDGET.experiment_share / (1 - BUDGET.objective)
    bad = booked = 0.0
    whole = trials = 0
    for _ in range(MAX_TRIALS):
        readings = _readings(total, booked)
        allowed = allowed_bad(BUDGET, {BUDGET.window: readings.windows[0].reading})
        assert allowed is not None
        if _cap(allowed, booked, rate).start_refused():
            break
        seen, cost, ended = _trial(rng, plan, record, readings, rate)
        bad, booked, trials, whole = bad + seen, booked + cost, trials + 1, whole + ended
    return Spending(bad, booked, BUDGET.experiment_share * (1 - BUDGET.objective) * total, rate * TICK_S, trials, whole)


def _trial(
    rng: np.random.Generator, plan: Plan, record: ExperimentRecord, readings: BudgetReadings, rate: float
) -> tuple[float, float, bool]:
    """(bad events that the canary really served, what was booked, whether it ran to its end)."""
    seconds = int(TRIAL_S + GONE_S) + 1
    bad_ratio = np.where(np.arange(seconds) >= plan.starts_bad, plan.bad_ratio, 0.01)
    requests = rng.poisson(rate * float(rng.uniform(0.8, 1.25)), seconds)
    sums = [np.concatenate([[0], np.cumsum(each)]) for each in (rng.binomial(requests, bad_ratio), requests)]
    phase, away = float(rng.uniform(0, SCRAPE_S)), _away(rng)
    spent, now, measured = Spent(BUDGET.sli, 0.0, 0.0, until=BASE_POINT), 0.0, None
    while now < TRIAL_S:
        now += TICK_S
        newest = np.floor((now - phase) / SCRAPE_S) * SCRAPE_S + phase
        if newest > 0 and not away[0] <= now < away[1]:
            at = int(newest)
            sample = Sample(0.0, 0.0, float(sums[1][at]), float(sums[0][at]), newest=BASE_POINT + at)
            spent = counted(spent, sample, BASE_POINT + now)
            before = max(at - int(RATE_SECONDS), 0)
            measured = float(sums[1][at] - sums[1][before]) / (at - before) if at > before else None
        spent = replace(spent, rate=pace(spent, BASE_POINT, measured, rate))
        view = SafetyView(
            BASE_POINT + now, SPEC, replace(TRIAL, spent=(spent,), times=TIMES), None, None, WatchState(),
            scrape_interval=SCRAPE_S,
        )  # fmt: skip
        if judge_cap(record, readings, view).exceeded is not None:
            end = now + float(rng.uniform(0, GONE_S))
            booked = closed(spent, BASE_POINT + end, spent.rate or rate)
            return float(sums[0][int(np.ceil(end))]), booked.cost, False
    booked = closed(spent, BASE_POINT + TRIAL_S, spent.rate or rate)
    return float(sums[0][int(TRIAL_S)]), booked.cost, True


TIMES = PhaseTimes(
    created=BASE_POINT - 30, deploying=BASE_POINT - 20, warming_up=BASE_POINT, measuring=BASE_POINT + 120
)


def _away(rng: np.random.Generator) -> tuple[float, float]:
    """When Prometheus does not answer, in seconds of the trial: for `staleAfter`, as blindness withdraws then."""
    begin = float(rng.uniform(0, TRIAL_S))
    return (begin, begin + SPEC.safety.stale_after) if rng.uniform() < AWAY else (np.inf, np.inf)


def _cap(allowed: float, spent: float, rate: float) -> Cap:
    return cap_of(SPEC, BUDGET, allowed, spent, SCRAPE_S, rate)


def _readings(total: float, spent: float) -> BudgetReadings:
    window = BudgetWindow(BUDGET.name, BUDGET.window, Sample(0.0, 0.0, total, 0.0))
    return BudgetReadings((window,), ((BUDGET.sli, spent),))


def _record(load: float) -> ExperimentRecord:
    state = ExperimentState(requests_per_second=load, scrape_interval=SCRAPE_S)
    return ExperimentRecord("web", "shop", "experiment", "1", 1, BASE_POINT, False, True, (), (), SPEC, state=state)


__all__ = ["AMPLE", "MAX_TRIALS", "PLANS", "Plan", "Spending", "play"]
