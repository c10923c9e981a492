"""One live trial under watch: read what the safety rules need, within their time, and ask them.

What is remembered between ticks is a cache: after a restart it is rebuilt from absolute windows.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import structlog

from trimtab.control.context import DEFAULT_SCRAPE
from trimtab.control.gates import evaluate_all, windows_of
from trimtab.control.requests import skip_request, stop_request
from trimtab.control.snapshot import BudgetReadings
from trimtab.domain.errors import TrimtabError
from trimtab.domain.kube import ArmView
from trimtab.domain.measurement import (
    Absence,
    Arm,
    ContainerUse,
    Measurement,
    Reading,
    Stale,
    TelemetryError,
    Window,
)
from trimtab.domain.remembered import Remembered
from trimtab.domain.spec import ExperimentSpec
from trimtab.domain.state import BudgetState
from trimtab.domain.trial import Outcome, Spent, Trial, TrialPhase
from trimtab.ports import Clock, ExperimentRecord, Ledger, PodSet, SliRequest, Telemetry
from trimtab.runtime.answer import trial_pods
from trimtab.runtime.budgets import BudgetReader, KnownSums
from trimtab.runtime.caps import expected_load, judge_cap
from trimtab.runtime.histories import Histories
from trimtab.runtime.killswitch import KillSwitches
from trimtab.runtime.lived import Lived
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.pausing import look_at_alerts, outside_schedule
from trimtab.runtime.remembered import tested_from, with_measurements, with_spent
from trimtab.runtime.shown import ShownGood
from trimtab.runtime.sight import Sight, sight_of
from trimtab.runtime.spending import SpendingAccount, read_events
from trimtab.slo.alerts import Alarm
from trimtab.slo.budget import BURNING, burn_words
from trimtab.slo.evidence import clearly_good
from trimtab.slo.safety import (
    SERVING,
    Closed,
    Continue,
    Judgement,
    SafetyView,
    SafetyWindow,
    StopRequest,
    WatchState,
    Withdraw,
    judge_tick,
)
from trimtab.slo.spending import counted, pace
from trimtab.slo.verdict import absence_reason
from trimtab.slo.watching import watched_slis, windowed_slis

log = structlog.get_logger(__name__)

LAG_SCRAPES = 1.0
LAG_SLACK = 0.25
MAX_WINDOWS_A_TICK = 12
PERSIST_SECONDS, PERSIST_ANYWAY = 15.0, 60.0
LOOK_SCRAPES = 4.0
LIVE_GATES = frozenset({BURNING, "BudgetLow"})


@dataclass(frozen=True)
class _Memory:
    """What is known of one live trial since `since`, the first look (unix seconds)."""

    since: float
    watch: WatchState = field(default_factory=WatchState)
    spent: tuple[Spent, ...] = ()
    alarm: Alarm | None = None
    persisted: float = -math.inf  # monotonic seconds


class Watchman:
    """Judges live trials; holds a small cache per trial."""

    def __init__(
        self,
        switches: KillSwitches,
        ledger: Ledger,
        telemetry: Telemetry,
        spending: SpendingAccount,
        clock: Clock,
        metrics: Metrics,
        sums: KnownSums | None = None,
        lived: Lived | None = None,
        shown: ShownGood | None = None,
    ) -> None:
        self._lived, self._shown = lived or Lived(clock), shown or ShownGood()
        self._switches, self._ledger, self._telemetry = switches, ledger, telemetry
        self._clock, self._metrics = clock, metrics
        self._budgets = BudgetReader(telemetry, spending, clock, sums or KnownSums())
        self.histories = Histories(telemetry)
        self._memories: dict[str, _Memory] = {}
        self._spending: Remembered[Trial] = Remembered()
        self._tempered: Remembered[WatchState] = Remembered()
        self._sights: Remembered[Sight] = Remembered()
        self._met: dict[str, Trial] = {}  # live trials, as last read
        self._looking: set[str] = set()

    def keep_only(self, trial_uids: set[str]) -> None:
        """Forget trials that are gone."""
        self._memories = {uid: m for uid, m in self._memories.items() if uid in trial_uids}
        self._met = {uid: trial for uid, trial in self._met.items() if uid in trial_uids}
        self.histories.keep_only(trial_uids)
        self._shown.keep_only(trial_uids)
        for each in (self._spending, self._tempered, self._sights):
            each.keep_only(trial_uids)

    def known(self, trial: Trial) -> Trial:
        """The trial with what its canary has spent and shown so far."""
        memory = self._memories.get(trial.uid)
        return trial if memory is None else with_measurements(with_spent(trial, memory.spent), memory.watch)

    async def at_once(
        self, experiment: ExperimentRecord, trial: Trial, arms: tuple[ArmView, ...], at: float
    ) -> Judgement:
        """The answer of the rules that need no telemetry beside what was read before. While a look is under way that
        the store has not answered yet, a canary may turn out to be out of sight.

        Args:
            at: when the arms were asked for, in monotonic seconds.

        Raises:
            ApiError: a kill switch could not be read.
        """
        self._met[trial.uid] = trial
        if experiment.spec is None:
            return _unreadable(experiment, trial)
        if trial.times.warming_up is None and not serves(trial, arms):
            self._lived.unserved(trial.uid, at)
        view = self._view(experiment, experiment.spec, trial, arms)
        blind = view.blind_since if trial.uid in self._looking else None
        # Windows that were judged already say nothing new: only evidence needs them.
        bare = replace(view, request=await self._request(experiment, trial), blind_since=blind, watch=WatchState())
        first = judge_tick(bare)
        return judge_tick(replace(bare, watch=view.watch)) if isinstance(first, Withdraw) else first

    def sight(self, experiment: ExperimentRecord, trial: Trial, arms: tuple[ArmView, ...]) -> Sight | None:
        """What there is to tell of a trial; None before the first look at it, and where the spec cannot be read."""
        memory = self._memories.get(trial.uid)
        if experiment.spec is None or memory is None:
            return None
        view = self._view(experiment, experiment.spec, trial, arms)
        shown = (experiment.spec, view.watch, view.blind_since)
        return self._sights.known((trial.uid,), shown, lambda _: sight_of(*shown))

    def has_window(self, experiment: ExperimentRecord, trial: Trial) -> bool:
        """Whether a window is complete that was not judged yet."""
        spec, memory = experiment.spec, self._memories.get(trial.uid)
        if spec is None or memory is None:
            return True
        view = SafetyView(self._clock.now(), spec, trial, None, None, memory.watch, scrape_interval=_scrape(experiment))
        return next(_due_windows(spec, view), None) is not None

    async def by_telemetry(self, experiment: ExperimentRecord, trial: Trial, arms: tuple[ArmView, ...]) -> Judgement:
        """The answer of all rules, after reading what is new."""
        spec = experiment.spec
        if spec is None:
            return _unreadable(experiment, trial)
        self._looking.add(trial.uid)
        try:
            await self._look(experiment, spec, trial, arms)
        finally:
            self._looking.discard(trial.uid)
        view, readings = self._view(experiment, spec, trial, arms), self._budgets.known(experiment, spec)
        cap = judge_cap(experiment, readings, view, self._others(trial))
        view = replace(view, gate=_gate(experiment, spec, readings, view.now), cap=cap.exceeded)
        unread = self._budgets.blind(experiment, spec)
        if unread is not None:
            view = _unsighted(view, view.now - unread[0], unread[1])
        if cap.unknown:
            view = _unsighted(view, _serving_since(trial, view.canary, self._memories[trial.uid].since), cap.unknown)
        judgement = judge_tick(view)
        good = isinstance(judgement, Continue) and clearly_good(spec, view.watch.tests)
        self._shown.tell(trial.uid, view.watch.judged_until if good else None)
        if isinstance(judgement, Continue):
            await self._persist(trial)
        return judgement

    def _others(self, trial: Trial) -> tuple[Trial, ...]:
        """The live trials beside this one, with what they have spent so far."""
        mine = (t for t in self._met.values() if t.experiment_uid == trial.experiment_uid and t.uid != trial.uid)
        return tuple(self.known(t) for t in mine)

    async def _look(
        self, experiment: ExperimentRecord, spec: ExperimentSpec, trial: Trial, arms: tuple[ArmView, ...]
    ) -> None:
        """Remember what is new."""
        view, at = self._view(experiment, spec, trial, arms), self._clock.monotonic()
        memory = self._memories.setdefault(trial.uid, _Memory(view.now))
        canary = trial_pods(trial, Arm.CANARY, view.canary, view.now)
        watch, seen, alerts, events = await asyncio.gather(
            self._windows(experiment, spec, view),
            self._newest(spec, view, canary),
            look_at_alerts(self._telemetry, experiment.namespace, spec, view.now, timeout=_timeout(spec)),
            read_events(self._telemetry, spec, trial, canary, view.now, timeout=_timeout(spec)),
        )
        if not alerts.answered:
            self._metrics.telemetry_errors.labels(experiment.namespace, experiment.name, "TelemetryError").inc()
        expected = expected_load(experiment, trial)
        since, old = _serving_since(trial, view.canary, memory.since), {s.sli: s for s in view.trial.spent}
        spent = []
        for sli, reading in events:
            before = old.get(sli, Spent(sli, 0.0, 0.0, until=since))
            found = counted(before, reading, view.now)
            spent.append(replace(found, rate=pace(found, since, watch.rate(sli), expected)))
        self._lived.counted(trial.uid, spent, view.now, at)
        watch, alarm = (
            watch.looked((*seen, *alerts.readings), view.now),
            alerts.alarm if alerts.answered else memory.alarm,
        )
        self._memories[trial.uid] = replace(memory, watch=watch, spent=tuple(spent), alarm=alarm)

    async def read_budgets(self, experiment: ExperimentRecord, trial: Trial) -> None:
        """Bring the budgets' event sums up to date: the next judgement knows them.

        Raises:
            ApiError, CorruptLedger: what experiments spent could not be read.
        """
        spec = experiment.spec
        if spec is not None and spec.budgets:
            await self._budgets.read(experiment, spec, trial.environment.target_uid, timeout=_timeout(spec))

    def _view(
        self, experiment: ExperimentRecord, spec: ExperimentSpec, trial: Trial, arms: tuple[ArmView, ...]
    ) -> SafetyView:
        memory, now, scrape = self._memories.get(trial.uid), self._clock.now(), _scrape(experiment)
        canary, control = (next((a for a in arms if a.arm is arm), None) for arm in (Arm.CANARY, Arm.CONTROL))
        if memory is None:
            return SafetyView(now, spec, trial, canary, control, WatchState(), scrape_interval=scrape)
        seen, phis, spent = memory.watch, self.histories.of(trial.uid), memory.spent
        watch = self._tempered.known((trial.uid,), (seen, phis), lambda _: seen.tempered(phis))
        return SafetyView(
            now,
            spec,
            self._spending.known((trial.uid,), (trial, spent), lambda _: with_spent(trial, spent)),
            canary,
            control,
            watch,
            alert=memory.alarm,
            blind_since=_serving_since(trial, canary, memory.since) if watch.last_good is None else watch.last_good,
            absent=watch.absent,
            scrape_interval=scrape,
        )

    async def _request(self, experiment: ExperimentRecord, trial: Trial) -> StopRequest | None:
        if experiment.deleting or trial.deleting:
            return StopRequest("ExperimentDeleted" if experiment.deleting else "TrialDeleted", "deleted by somebody")
        place = await self._switches.namespace(experiment.namespace)
        if place.leaving:
            return StopRequest("NamespaceDeleted", "the Namespace is being deleted")
        asked = stop_request(experiment, place.paused, await self._switches.operator())
        if asked is not None:
            return StopRequest(asked.reason, asked.words)
        skip = skip_request(experiment, experiment.state)
        if skip is not None and skip.names(trial):
            return StopRequest("Skipped", skip.words)
        return outside_schedule(experiment, self._clock.now())

    async def _newest(self, spec: ExperimentSpec, view: SafetyView, canary: PodSet) -> tuple[tuple[str, Reading], ...]:
        """The last scrapes of the canary, for each SLI under watch: is it still seen?"""
        window = Window(view.now - LOOK_SCRAPES * view.scrape_interval, view.now)
        slis = watched_slis(spec)
        readings = await self._telemetry.read([SliRequest(s, canary, window) for s in slis], timeout=_timeout(spec))
        return tuple((sli.name, reading) for sli, reading in zip(slis, readings, strict=True))

    async def _windows(self, experiment: ExperimentRecord, spec: ExperimentSpec, view: SafetyView) -> WatchState:
        """Read the complete windows that were not judged yet, oldest first. A store that does not answer is asked once
        in a tick."""
        watch = view.watch
        for window in _due_windows(spec, view):
            found = await self._read(spec, view, window)
            absent = [m.reading for m in found.measurements if isinstance(m.reading, Absence)]
            if absent:
                log.info("safety.absent", window=[window.start, window.end], why=str(absent[0]))
            for reading in absent:
                self._metrics.telemetry_errors.labels(
                    experiment.namespace, experiment.name, absence_reason(reading)
                ).inc()
            again = any(isinstance(r, TelemetryError | Stale) for r in absent)
            if again and window.end > view.now - spec.safety.stale_after:
                break  # the same window is asked again at the next tick
            watch = watch.with_window(found, spec, since=tested_from(view.trial))
            if any(isinstance(r, TelemetryError) for r in absent):
                break
        return watch

    async def _read(self, spec: ExperimentSpec, view: SafetyView, window: Window) -> SafetyWindow:
        arms = ((Arm.CANARY, view.canary), (Arm.CONTROL, view.control))
        pods = {arm: trial_pods(view.trial, arm, seen, window.end) for arm, seen in arms}
        asked = [(sli, arm, pods[arm]) for sli in windowed_slis(spec) for arm, _ in arms]
        requests = [SliRequest(sli, of, window) for sli, _, of in asked]
        readings, uses = await asyncio.gather(
            self._telemetry.read(requests, timeout=_timeout(spec)), self._uses(spec, view, window)
        )
        return SafetyWindow(
            window,
            tuple(
                Measurement(sli.name, arm, window, reading)
                for (sli, arm, _), reading in zip(asked, readings, strict=True)
            ),
            uses,
        )

    async def _uses(self, spec: ExperimentSpec, view: SafetyView, window: Window) -> tuple[ContainerUse, ...]:
        """What the containers of both arms used; nothing where nobody knows, as it is no condition of a trial."""
        if not spec.safety.resource_guards:
            return ()
        arms = [trial_pods(view.trial, Arm.CANARY, view.canary), trial_pods(view.trial, Arm.CONTROL, view.control)]
        workloads = tuple(dict.fromkeys(w for pods in arms for w in pods.workloads))
        both = PodSet(arms[0].namespace, workloads, account=arms[0].account)
        found = await self._telemetry.usage(both, window, store=spec.store, timeout=_timeout(spec))
        return found if isinstance(found, tuple) else ()

    async def _persist(self, stored: Trial) -> None:
        """Write down what the canary has spent, now and then: the account must survive Prometheus, and a longer time
        without a record would all count as bad then."""
        now, memory = self._clock.monotonic(), self._memories[stored.uid]
        grew = _bad(memory.spent) > _bad(stored.spent)
        if not memory.spent or now - memory.persisted < (PERSIST_SECONDS if grew else PERSIST_ANYWAY):
            return
        self._memories[stored.uid] = replace(memory, persisted=now)
        try:
            await self._ledger.write_trial(self.known(stored))
        except TrimtabError as error:
            log.info("safety.spending_not_written", error=str(error))


def _due_windows(spec: ExperimentSpec, view: SafetyView) -> Iterator[Window]:
    """Complete windows after the last judged one, at most so many that a tick does not take long; the newest ones when
    there are more."""
    length = max(spec.safety.check_interval, 2 * view.scrape_interval)
    begun = view.trial.times.warming_up if view.trial.times.warming_up is not None else view.now
    start = view.watch.judged_until if view.watch.judged_until is not None else begun
    ready_until = view.now - LAG_SCRAPES * view.scrape_interval - LAG_SLACK
    count = math.floor((ready_until - start) / length)
    for number in range(max(count - MAX_WINDOWS_A_TICK, 0), count):
        yield Window(start + number * length, start + (number + 1) * length)


def serves(trial: Trial, arms: tuple[ArmView, ...]) -> bool:
    """Whether the canary gets requests, so that telemetry has something to say about it: also while the control is not
    ready yet."""
    canary = next((a for a in arms if a.arm is Arm.CANARY), None)
    return trial.phase in SERVING or (canary is not None and canary.ready_endpoints > 0)


def _serving_since(trial: Trial, canary: ArmView | None, first_look: float) -> float:
    """From when on the canary serves (unix seconds), at the latest."""
    ready = [p.ready_since for p in (canary.pods if canary is not None else ()) if p.ready_since is not None]
    if trial.times.warming_up is not None:
        ready.append(trial.times.warming_up)
    return min(ready, default=first_look)


def _bad(spent: tuple[Spent, ...]) -> float:
    return sum(s.bad for s in spent)


def _scrape(experiment: ExperimentRecord) -> float:
    state = experiment.state
    return state.scrape_interval if state is not None and state.scrape_interval else DEFAULT_SCRAPE


def _timeout(spec: ExperimentSpec) -> float:
    return max(2.0, min(spec.safety.check_interval, 10.0))


def _unsighted(view: SafetyView, since: float, words: str) -> SafetyView:
    """Blind in another way, too, since then (unix seconds): what has lasted longer counts."""
    if view.blind_since is not None and view.blind_since < since:
        return view
    return replace(view, blind_since=since, absent=words)


def _unreadable(experiment: ExperimentRecord, trial: Trial) -> Judgement:
    """An Experiment whose spec cannot be read any more (a downgrade) protects nothing: its canary goes."""
    if trial.phase is TrialPhase.DRAINING:
        return Continue()
    outcome = Outcome(TrialPhase.STALE, experiment.problem_reason or "InvalidSpec", experiment.problem[:500])
    return Withdraw(outcome, "request", ())


def _gate(experiment: ExperimentRecord, spec: ExperimentSpec, readings: BudgetReadings, now: float) -> Closed | None:
    verdicts = zip(spec.budgets, evaluate_all(spec, readings, _stored(experiment), now), strict=True)
    found = next(((b, v) for b, v in verdicts if v.reason in LIVE_GATES), None)
    if found is None:
        return None
    budget, verdict = found
    return Closed(budget.name, verdict.reason, verdict.closed, burn_words(budget, windows_of(readings, budget.name)))


def _stored(experiment: ExperimentRecord) -> tuple[BudgetState, ...]:
    return experiment.state.budgets if experiment.state is not None else ()
