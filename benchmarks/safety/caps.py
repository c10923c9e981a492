"""Whole Experiments against the experiments' share of an error budget, through the operator's own rules of the cap.

Only the cap may withdraw here: what else would find such a canary is left out, so that the cap meets the worst. A
trial starts when `Cap.start_refused` lets it, is judged at every tick by `runtime.caps.judge_cap` on what
`slo.spending` counts, beside the others that are live then, and is gone up to `GONE_S` after its withdrawal. Its canary
gets 0.8 to 1.25 of the requests that were expected. Prometheus scrapes every 15 s, and does not answer for a while in a
tenth of the trials.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from trimtab.domain.trial import PhaseTimes, Spent, Trial
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
    """One kind of Experiment: the canaries' bad ratio, requests/s of the target, how many bad events the share allows,
    in reserves of one trial, and how many trials may be live at a time."""

    name: str
    bad_ratio: float
    target_rps: float
    reserves: float
    starts_bad: float = 0.0  # seconds after which a trial's canary is bad
    parallel: int = 1


@dataclass(frozen=True)
class Spending:
    """What one Experiment came to: bad events of all its canaries, those that were booked, the cap, one tick's requests
    of the canaries that may be live at a time, trials that ran, and that ran to their end."""

    bad: float
    booked: float
    limit: float
    tick: float
    trials: int
    whole: int

    @property
    def over(self) -> float:
        """By how many ticks of the canaries' traffic the cap was exceeded; 0 when it was not."""
        return max(self.bad - self.limit, 0.0) / self.tick


ALONE = tuple(
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
BESIDE = tuple(
    Plan(f"three at a time, {words}, {rps:g} requests/s, cap of {reserves:g} reserves", ratio, rps, reserves, begin, 3)
    for words, ratio, begin in (
        ("all bad", 1.0, 0.0),
        ("all bad after five minutes", 1.0, 300.0),
        ("5 % bad", 0.05, 0.0),
    )
    for rps in (40.0, 440.0, 4400.0)
    for reserves in (3.3, 6.0)
)
PLANS = (*ALONE, *BESIDE)
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
    tick = plan.parallel * rate * TICK_S
    bad = booked = now = 0.0
    whole = trials = 0
    live: list[_Canary] = []
    while True:
        readings = _readings(total, booked)
        allowed = allowed_bad(BUDGET, {BUDGET.window: readings.windows[0].reading})
        assert allowed is not None
        while len(live) < plan.parallel and trials < MAX_TRIALS:
            spent = booked + sum(each.spent.cost for each in live)
            if _cap(allowed, spent, rate).start_refused([each.spent.cost for each in live]):
                break
            trials += 1
            live.append(_Canary(rng, plan, rate, now, f"trial-{trials}"))
        if not live:
            break
        now += TICK_S
        for each in live:
            each.look(now)
        ended = {id(each): end for each in live if (end := _end(rng, each, live, record, readings, now)) is not None}
        for each in [each for each in live if id(each) in ended]:
            seen, cost = each.close(ended[id(each)])
            bad, booked, whole = bad + seen, booked + cost, whole + (ended[id(each)] == each.begun + TRIAL_S)
        live = [each for each in live if id(each) not in ended]
    return Spending(bad, booked, BUDGET.experiment_share * (1 - BUDGET.objective) * total, tick, trials, whole)


def _end(
    rng: np.random.Generator,
    mine: _Canary,
    live: Sequence[_Canary],
    record: ExperimentRecord,
    readings: BudgetReadings,
    now: float,
) -> float | None:
    """When the canary is gone, in seconds since the beginning: at its withdrawal or at its end; None while it stays."""
    view = SafetyView(BASE_POINT + now, SPEC, mine.trial, None, None, WatchState(), scrape_interval=SCRAPE_S)
    others = tuple(each.trial for each in live if each is not mine)
    if judge_cap(record, readings, view, others).exceeded is not None:
        return now + float(rng.uniform(0, GONE_S))
    return now if now >= mine.begun + TRIAL_S else None


class _Canary:
    """A live trial that began so many seconds after the beginning, and what is counted of it."""

    def __init__(self, rng: np.random.Generator, plan: Plan, rate: float, begun: float, uid: str) -> None:
        seconds = int(TRIAL_S + GONE_S) + 1
        bad_ratio = np.where(np.arange(seconds) >= plan.starts_bad, plan.bad_ratio, 0.01)
        requests = rng.poisson(rate * float(rng.uniform(0.8, 1.25)), seconds)
        self._bad, self._total = (
            np.concatenate([[0], np.cumsum(each)]) for each in (rng.binomial(requests, bad_ratio), requests)
        )
        self._phase, self._away = float(rng.uniform(0, SCRAPE_S)), _away(rng)
        self._rate, self._at, self._uid = rate, BASE_POINT + begun, uid
        self._measured: float | None = None
        self.begun, self.spent = begun, Spent(BUDGET.sli, 0.0, 0.0, until=self._at)

    def look(self, now: float) -> None:
        """Count what Prometheus shows."""
        now -= self.begun
        newest = np.floor((now - self._phase) / SCRAPE_S) * SCRAPE_S + self._phase
        if newest > 0 and not self._away[0] <= now < self._away[1]:
            at = int(newest)
            sample = Sample(0.0, 0.0, float(self._total[at]), float(self._bad[at]), newest=self._at + at)
            self.spent = counted(self.spent, sample, self._at + now)
            before = max(at - int(RATE_SECONDS), 0)
            self._measured = float(self._total[at] - self._total[before]) / (at - before) if at > before else None
        self.spent = replace(self.spent, rate=pace(self.spent, self._at, self._measured, self._rate))

    @property
    def trial(self) -> Trial:
        """As it is on record."""
        times = PhaseTimes(self._at - 30, self._at - 20, self._at, self._at + 120)
        return replace(TRIAL, uid=self._uid, spent=(self.spent,), times=times)

    def close(self, end: float) -> tuple[float, float]:
        """(bad events that it really served, what is booked), when it is gone at `end`."""
        booked = closed(self.spent, BASE_POINT + end, self.spent.rate or self._rate)
        return float(self._bad[int(np.ceil(end - self.begun))]), booked.cost


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
