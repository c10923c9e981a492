"""What a canary costs: never less than it did, and never more than the experiments' share, though Prometheus stops."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from tests.unit.control.builders import ROUTE, both_arms, experiment, running, spec, trial

from trimtab.control.gates import cap_of
from trimtab.control.snapshot import BudgetReadings
from trimtab.domain.measurement import Ambiguous, NoData, Reading, Sample, TelemetryError
from trimtab.domain.spec import ExperimentSpec, SafetySpec
from trimtab.domain.state import BudgetState
from trimtab.domain.trial import PhaseTimes, Spent, TrialPhase
from trimtab.runtime.caps import judge_cap
from trimtab.slo.safety import SafetyView, WatchState, judge_tick
from trimtab.slo.safety import Withdraw as Withdrawn
from trimtab.slo.spending import closed, counted, expected_rate, merged, pace, unseen_seconds

T = 1_790_000_000.0
OLD = Spent("errors", 5.0, 1000.0, rate=10.0, until=T)


def sums(bad: float, total: float, newest: float | None = None) -> Sample:
    return Sample(bad / total, 0.001, total, bad, newest=newest)


class TestCounts:
    def test_a_reading_counts_up_to_its_newest_sample(self) -> None:
        assert counted(OLD, sums(7, 1200, T + 18), T + 20) == replace(OLD, bad=7.0, total=1200.0, until=T + 18)
        assert counted(OLD, sums(7, 1200), T + 20).until == T + 20
        assert counted(OLD, sums(7, 1200, T + 99), T + 20).until == T + 20

    def test_it_only_grows(self) -> None:
        """A counter that a restarted store has lost is no refund."""
        assert counted(OLD, sums(1, 10, T - 50), T + 20) == OLD

    def test_pods_that_had_nothing_to_count_were_seen(self) -> None:
        assert counted(OLD, NoData("no traffic", newest=T + 18), T + 20) == replace(OLD, until=T + 18)

    @pytest.mark.parametrize(
        "reading", [NoData("no series"), TelemetryError("down"), Ambiguous("two"), Sample(1, 1, 1)]
    )
    def test_what_is_absent_changes_nothing(self, reading: Reading) -> None:
        assert counted(OLD, reading, T + 20) == OLD

    def test_two_accounts_of_one_canary(self) -> None:
        other = Spent("errors", 4.0, 1100.0, unseen=3.0, rate=12.0, until=T + 5)
        assert merged((OLD,), (other, Spent("slow", 1.0, 2.0))) == (
            Spent("errors", 5.0, 1100.0, unseen=3.0, rate=12.0, until=T + 5),
            Spent("slow", 1.0, 2.0),
        )
        assert merged((other,), (OLD,)) == merged((OLD,), (other,))


class TestUnseen:
    def test_every_unseen_request_is_bad(self) -> None:
        settled = closed(OLD, T + 30, rate=10.0)
        assert (settled.bad, settled.unseen, settled.cost) == (5.0, 300.0, 305.0)

    def test_a_canary_that_never_served_costs_nothing(self) -> None:
        assert closed(Spent("errors", 0.0, 0.0), T, rate=10.0).cost == 0.0
        assert unseen_seconds(Spent("errors", 0.0, 0.0), T) == 0.0

    def test_settled_twice_is_settled_once(self) -> None:
        once = closed(OLD, T + 30, rate=10.0)
        assert closed(once, T + 30, rate=10.0) == once
        assert closed(once, T + 20, rate=10.0).unseen == once.unseen


class TestPace:
    def test_what_was_measured_comes_first_then_what_was_known(self) -> None:
        assert pace(OLD, T - 100, measured=3.0, expected=50.0) == 3.0
        assert pace(OLD, T - 100, measured=None, expected=50.0) == 10.0

    def test_before_the_first_window_it_is_the_larger_of_share_and_average(self) -> None:
        new = replace(OLD, rate=None)
        assert pace(new, T - 100, None, expected=4.0) == 10.0
        assert pace(new, T - 100, None, expected=50.0) == 50.0
        assert pace(new, T - 100, None, expected=None) == 10.0
        assert pace(Spent("errors", 0.0, 0.0), None, None, expected=50.0) == 50.0

    def test_a_share_of_the_load(self) -> None:
        assert expected_rate(spec(), 1100.0, 20) == 50.0
        assert expected_rate(spec(), None, 20) is None

    def test_of_a_route_is_what_its_weights_say(self) -> None:
        assert expected_rate(spec(route=ROUTE), 1000.0, 3) == 50.0


# The cap, over whole searches


@dataclass
class Canary:
    """Serves `rate` requests a second from `born`; all of them fail from `onset` on, and a few before."""

    rate: float
    born: float
    onset: float
    usual: float

    def bad(self, until: float) -> float:
        before = max(min(until, self.onset) - self.born, 0.0)
        return self.rate * (self.usual * before + max(until - max(self.onset, self.born), 0.0))

    def total(self, until: float) -> float:
        return self.rate * max(until - self.born, 0.0)


@dataclass
class Case:
    """One target with one budget, scrapes every so often, and a store that is down now and then."""

    seed: int
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = rng = np.random.default_rng(self.seed)
        self.scrape = float(rng.choice([1.0, 5.0, 15.0, 30.0, 60.0]))
        self.phase = float(rng.uniform(0, self.scrape))
        self.tick = float(rng.choice([5.0, 10.0, 20.0]))
        stale = float(max(2 * self.scrape, rng.uniform(20, 120)))
        self.rate = float(rng.uniform(1, 500))
        budget = replace(spec().budgets[0], objective=float(rng.choice([0.99, 0.999])), pause_on_burn=None)
        self.about: ExperimentSpec = spec(
            budgets=(budget,), safety=SafetySpec(0.95, self.tick, stale), constraints=(), trial=replace(spec().trial)
        )
        reserve = cap_of(self.about, budget, 0.0, 0.0, self.scrape, self.rate).reserve
        self.limit = float(rng.uniform(1.0, 6.0)) * reserve
        self.allowed = self.limit / budget.experiment_share
        starts = np.cumsum(rng.uniform(50, 600, size=60))
        lengths = rng.choice([0.0, 20.0, 100.0, 10_000.0], size=60)
        self.outages = [(T + float(a), T + float(a + b)) for a, b in zip(starts, lengths, strict=True)]

    def down(self, at: float) -> bool:
        return any(a <= at < b for a, b in self.outages)

    def newest(self, until: float, born: float) -> float | None:
        """The last scrape of the canary until then."""
        at = math.floor((until - self.phase) / self.scrape) * self.scrape + self.phase
        while at >= born and self.down(at):
            at -= self.scrape
        return at if at >= born else None

    def read(self, canary: Canary, now: float, until: float) -> Reading:
        if self.down(now):
            return TelemetryError("down")
        newest = self.newest(min(now, until), canary.born)
        if newest is None:
            return NoData("no series")
        if canary.total(newest) <= 0:
            return NoData("no traffic", newest)
        return sums(canary.bad(newest), canary.total(newest), newest)


def serve(case: Case, canary: Canary, account: float, until: float) -> tuple[Spent, float]:
    """One live trial under the safety rules: (what is counted, when its last request was served)."""
    spent = Spent("errors", 0.0, 0.0, until=canary.born)
    stored = running(budgets=(BudgetState("availability", 1.0, 0.0, account, 0.0, allowed_bad=case.allowed),))
    record = experiment(replace(stored, scrape_interval=case.scrape), spec=case.about)
    times = PhaseTimes(created=T, deploying=canary.born, warming_up=canary.born, measuring=canary.born)
    live = trial(TrialPhase.MEASURING, times=times, deadline=math.inf, window=None)
    readings = BudgetReadings((), (("errors", account),))
    now = canary.born + float(case.rng.uniform(0, case.tick))
    last_good: float | None = None
    while now < until:
        reading = case.read(canary, now, math.inf)
        spent = counted(spent, reading, now)
        spent = replace(spent, rate=pace(spent, canary.born, None, case.rate))
        watch = WatchState(last_good=last_good).looked([("errors", reading)], now)
        last_good = watch.last_good
        view = SafetyView(
            now, case.about, replace(live, spent=(spent,)), *both_arms(live), watch,
            scrape_interval=case.scrape, blind_since=last_good if last_good is not None else canary.born,
        )  # fmt: skip
        view = replace(view, cap=judge_cap(record, readings, view).exceeded)
        if isinstance(judge_tick(view), Withdrawn):
            break
        now += case.tick
    return spent, min(now, until) + float(case.rng.uniform(0, 5.0))


def play(case: Case) -> tuple[float, float, int]:
    """Trials until none may start or fifteen were: (truly bad, on record, trials)."""
    now, truth, account, trials = T, 0.0, 0.0, 0
    while trials < 15:
        cap = cap_of(case.about, case.about.budgets[0], case.allowed, account, case.scrape, case.rate)
        if cap.start_refused():
            break
        if case.down(now):  # the budget cannot be read
            now += 30.0
            if now > T + 50_000:
                break
            continue
        onset = now + float(case.rng.choice([math.inf, case.rng.uniform(0, 300), 290.0]))
        canary = Canary(case.rate, now, onset, usual=float(case.rng.uniform(0, 0.01)))
        spent, ended = serve(case, canary, account, until=now + 300.0)
        seen_gone = ended + float(case.rng.uniform(0, 3.0))
        spent = counted(spent, case.read(canary, seen_gone, ended), seen_gone)
        settled = closed(spent, seen_gone, pace(spent, canary.born, None, case.rate))
        assert settled.cost >= canary.bad(ended) - 1e-6, f"under-counted in case {case.seed}"
        truth, account = truth + canary.bad(ended), account + settled.cost
        now, trials = seen_gone + 10.0, trials + 1
    return truth, account, trials


@pytest.mark.thorough
def test_the_cap_is_never_exceeded_by_more_than_one_tick_of_canary_traffic() -> None:
    """200 searches: any scrape interval, canaries that turn all bad at any moment, a store that goes and comes."""
    started, most = 0, 0.0
    for seed in range(200):
        case = Case(seed)
        truth, account, trials = play(case)
        over = (truth - case.limit) / (case.rate * case.tick)
        assert over <= 1.0, f"case {seed}: {truth:.0f} bad of {case.limit:.0f}, {over:.2f} ticks too many"
        assert account >= truth - 1e-6, f"case {seed}"
        started, most = started + trials, max(most, truth / case.limit)
    assert started > 400
    assert most > 0.9  # the cases do try the cap
    print(f"{started} trials, at most {100 * most:.1f} % of a share spent")
