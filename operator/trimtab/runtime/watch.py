"""One live trial under watch: read what the safety rules need, within their time, and ask them.

What is remembered between ticks is a cache: after a restart it is rebuilt from absolute windows.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import NamedTuple

import structlog

from trimtab.control.context import DEFAULT_SCRAPE
from trimtab.control.gates import cap_of, evaluate_all
from trimtab.control.requests import stop_request
from trimtab.control.snapshot import BudgetReadings, BudgetWindow
from trimtab.domain.kube import ArmView
from trimtab.domain.measurement import Absence, Arm, Measurement, Sample, Stale, TelemetryError, Window
from trimtab.domain.names import ANNOTATION_SKIP
from trimtab.domain.spec import ErrorBudget, ExperimentSpec
from trimtab.domain.state import BudgetState
from trimtab.domain.trial import Outcome, Spent, Trial, TrialPhase
from trimtab.ports import Clock, ExperimentRecord, Ledger, PodSet, SliRequest, Telemetry
from trimtab.runtime.answer import read_spending, trial_pods
from trimtab.runtime.killswitch import KillSwitches
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.spending import SpendingAccount
from trimtab.slo.budget import history_of, needed_windows
from trimtab.slo.safety import (
    Continue,
    Judgement,
    SafetyView,
    SafetyWindow,
    StopRequest,
    WatchState,
    Withdraw,
    judge_tick,
)
from trimtab.slo.verdict import absence_reason

log = structlog.get_logger(__name__)

LAG_SCRAPES = 1.0
LAG_SLACK = 0.25
MAX_WINDOWS_A_TICK = 12
PERSIST_SECONDS = 15.0
REREAD_FRACTION = 120.0
REREAD_MOST = 60.0
SERVING = frozenset({TrialPhase.WARMING_UP, TrialPhase.MEASURING})
LIVE_GATES = frozenset({"BudgetBurning", "BudgetLow"})


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
    ) -> None:
        self._switches, self._ledger, self._telemetry = switches, ledger, telemetry
        self._spending, self._clock, self._metrics = spending, clock, metrics
        self._states: dict[str, WatchState] = {}
        self._budgets: dict[tuple[str, str, float], tuple[float, BudgetWindow]] = {}
        self._persisted: dict[str, float] = {}
        self._looked: dict[str, float] = {}

    def keep_only(self, trial_uids: set[str]) -> None:
        """Forget trials that are gone."""
        self._states = {uid: s for uid, s in self._states.items() if uid in trial_uids}
        self._persisted = {uid: t for uid, t in self._persisted.items() if uid in trial_uids}
        self._looked = {uid: t for uid, t in self._looked.items() if uid in trial_uids}
        if not trial_uids:
            self._budgets.clear()

    async def judge(
        self, experiment: ExperimentRecord, trial: Trial, arms: tuple[ArmView, ...]
    ) -> tuple[Judgement, Trial]:
        """The rules' answer, and the trial with what its canary has spent and shown so far.

        Signals that need no telemetry are judged first, so that a slow Prometheus delays none of them.
        """
        spec = experiment.spec
        if spec is None:
            return _unreadable(experiment, trial), trial
        view = SafetyView(
            now=self._clock.now(),
            spec=spec,
            trial=trial,
            canary=next((a for a in arms if a.arm is Arm.CANARY), None),
            control=next((a for a in arms if a.arm is Arm.CONTROL), None),
            watch=self._states.get(trial.uid, WatchState()),
            request=await self._request(experiment, trial),
            scrape_interval=_scrape(experiment),
        )
        # Windows that were judged already say nothing new: only evidence needs them.
        first = judge_tick(replace(view, watch=WatchState()))
        if isinstance(first, Withdraw):
            return judge_tick(view), _with_measurements(trial, view.watch)
        if trial.phase not in SERVING or not self._due(view):
            return first, trial
        self._looked[trial.uid] = view.now
        view, trial = await self._with_telemetry(experiment, spec, view)
        return judge_tick(view), _with_measurements(trial, view.watch)

    def _due(self, view: SafetyView) -> bool:
        """Is there telemetry to look at: a window that is complete now, or a checkInterval since the last look?"""
        looked = self._looked.get(view.trial.uid)
        if looked is None or not 0 <= view.now - looked < 0.9 * view.spec.safety.check_interval:
            return True
        return _complete_windows(view).complete > 0

    async def _request(self, experiment: ExperimentRecord, trial: Trial) -> StopRequest | None:
        if experiment.deleting or trial.deleting:
            return StopRequest("ExperimentDeleted" if experiment.deleting else "TrialDeleted", "deleted by somebody")
        place = await self._switches.namespace(experiment.namespace)
        if place.leaving:
            return StopRequest("NamespaceDeleted", "the Namespace is being deleted")
        asked = stop_request(experiment, place.paused, await self._switches.operator())
        if asked is not None:
            return StopRequest(asked.reason, asked.words)
        skip = dict(experiment.annotations).get(ANNOTATION_SKIP)
        if skip is not None and skip.split(",")[0].strip() in {trial.name, str(trial.index)}:
            return StopRequest("Skipped", f"skipped on call: {skip}")
        return None

    async def _with_telemetry(
        self, experiment: ExperimentRecord, spec: ExperimentSpec, view: SafetyView
    ) -> tuple[SafetyView, Trial]:
        trial = view.trial
        canary = trial_pods(trial, Arm.CANARY, view.canary)
        watch, readings, spent = await asyncio.gather(
            self._windows(experiment, spec, view),
            self._budget_readings(experiment, spec, trial),
            read_spending(self._telemetry, spec, trial, canary, view.now, timeout=_timeout(spec)),
        )
        self._states[trial.uid] = watch
        trial = await self._persist(replace(trial, spent=spent), trial)
        begun = watch.last_good if watch.last_good is not None else trial.times.warming_up
        return replace(
            view,
            trial=trial,
            watch=watch,
            gate=_gate(experiment, spec, readings, view.now),
            cap=_cap(experiment, spec, readings, replace(view, trial=trial)),
            blind_since=begun,
        ), trial

    async def _windows(self, experiment: ExperimentRecord, spec: ExperimentSpec, view: SafetyView) -> WatchState:
        """Read the complete windows that were not judged yet, oldest first."""
        watch = view.watch
        start, length, count = _complete_windows(view)
        if count > MAX_WINDOWS_A_TICK:
            start += (count - MAX_WINDOWS_A_TICK) * length
            count = MAX_WINDOWS_A_TICK
        for number in range(count):
            window = Window(start + number * length, start + (number + 1) * length)
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
                return watch  # the same window is asked again at the next tick
            watch = watch.with_window(found, spec, since=_tested_from(trial))
        for name, test in watch.tests:
            self._metrics.slo_evalue.labels(experiment.namespace, experiment.name, name).set(test.value)
        return watch

    async def _read(self, spec: ExperimentSpec, view: SafetyView, window: Window) -> SafetyWindow:
        arms = ((Arm.CANARY, view.canary), (Arm.CONTROL, view.control))
        asked = [(sli, arm, trial_pods(view.trial, arm, seen)) for sli in spec.slis for arm, seen in arms]
        requests = [SliRequest(sli, pods, window) for sli, _, pods in asked]
        readings = await self._telemetry.read(requests, timeout=_timeout(spec))
        return SafetyWindow(
            window,
            tuple(
                Measurement(sli.name, arm, window, reading)
                for (sli, arm, _), reading in zip(asked, readings, strict=True)
            ),
        )

    async def _budget_readings(
        self, experiment: ExperimentRecord, spec: ExperimentSpec, trial: Trial
    ) -> BudgetReadings:
        """Event sums of the target. A window is read again after a hundredth of its length: sooner it cannot have
        changed by more."""
        now, pods = self._clock.now(), PodSet(experiment.namespace, (spec.target.name,))
        windows = await asyncio.gather(
            *(
                self._budget_window(experiment, spec, b, seconds, pods, now)
                for b in spec.budgets
                for seconds in needed_windows(b)
            )
        )
        spent = []
        for budget in spec.budgets:
            bad = await self._spending.total(
                experiment.namespace, trial.environment.target_uid, budget.sli, now, budget.window
            )
            spent.append((budget.sli, bad))
        return BudgetReadings(tuple(windows), tuple(spent))

    async def _budget_window(
        self,
        experiment: ExperimentRecord,
        spec: ExperimentSpec,
        budget: ErrorBudget,
        seconds: float,
        pods: PodSet,
        now: float,
    ) -> BudgetWindow:
        key = (experiment.uid, budget.name, seconds)
        known = self._budgets.get(key)
        wait = min(max(spec.safety.check_interval, seconds / REREAD_FRACTION), REREAD_MOST)
        if known is not None and now - known[0] < wait:
            return known[1]
        window = Window(now - seconds, now)
        reading = await self._telemetry.totals(spec.sli(budget.sli), pods, window, timeout=_timeout(spec))
        found = BudgetWindow(budget.name, seconds, reading)
        if isinstance(reading, Sample):
            self._budgets[key] = (now, found)
        return found

    async def _persist(self, trial: Trial, stored: Trial) -> Trial:
        """Write down what the canary has spent, now and then: the account must survive Prometheus."""
        now = self._clock.now()
        grew = _bad(trial.spent) > _bad(stored.spent)
        if not grew or now - self._persisted.get(trial.uid, 0.0) < PERSIST_SECONDS:
            return trial
        self._persisted[trial.uid] = now
        return await self._ledger.write_trial(trial)


class _Windows(NamedTuple):
    """Windows that can be read and were not judged yet: the first one's start, their length (seconds), how many."""

    start: float
    length: float
    complete: int


def _complete_windows(view: SafetyView) -> _Windows:
    watch, times = view.watch, view.trial.times
    length = max(view.spec.safety.check_interval, 2 * view.scrape_interval)
    begun = times.warming_up if times.warming_up is not None else view.now
    start = watch.judged_until if watch.judged_until is not None else begun
    ready_until = view.now - LAG_SCRAPES * view.scrape_interval - LAG_SLACK
    return _Windows(start, length, math.floor((ready_until - start) / length))


def _tested_from(trial: Trial) -> float:
    """Unix seconds from which on windows are tested: the end of the warm-up, which a trial that warms up does not know
    yet. Budgets and hard signals count from the first request."""
    return trial.times.measuring if trial.times.measuring is not None else math.inf


def _bad(spent: tuple[Spent, ...]) -> float:
    return sum(s.bad for s in spent)


def _scrape(experiment: ExperimentRecord) -> float:
    state = experiment.state
    return state.scrape_interval if state is not None and state.scrape_interval else DEFAULT_SCRAPE


def _timeout(spec: ExperimentSpec) -> float:
    return max(2.0, min(spec.safety.check_interval, 10.0))


def _unreadable(experiment: ExperimentRecord, trial: Trial) -> Judgement:
    """An Experiment whose spec cannot be read any more (a downgrade) protects nothing: its canary goes."""
    if trial.phase is TrialPhase.DRAINING:
        return Continue()
    outcome = Outcome(TrialPhase.STALE, experiment.problem_reason or "InvalidSpec", experiment.problem[:500])
    return Withdraw(outcome, "request", ())


def _gate(experiment: ExperimentRecord, spec: ExperimentSpec, readings: BudgetReadings, now: float) -> str:
    verdicts = evaluate_all(spec, readings, _stored(experiment), now)
    return next((v.closed for v in verdicts if v.reason in LIVE_GATES), "")


def _stored(experiment: ExperimentRecord) -> tuple[BudgetState, ...]:
    return experiment.state.budgets if experiment.state is not None else ()


def _cap(experiment: ExperimentRecord, spec: ExperimentSpec, readings: BudgetReadings, view: SafetyView) -> str:
    trial, known = view.trial, {b.name: b for b in _stored(experiment)}
    spent = {s.sli: s for s in trial.spent}
    for budget in spec.budgets:
        mine = spent.get(budget.sli)
        if mine is None or not any(w.budget == budget.name and isinstance(w.reading, Sample) for w in readings.windows):
            continue
        since = trial.times.deploying  # the counts began there, too
        rate = mine.total / max(view.now - since, 1.0) if since is not None else 0.0
        history = history_of(known.get(budget.name), view.now)
        words = cap_of(spec, budget, readings, view.scrape_interval, rate, history).exceeded(mine.bad)
        if words:
            return f"{budget.name}: {words}"
    return ""


def _with_measurements(trial: Trial, watch: WatchState) -> Trial:
    """What the windows so far add up to: the truncated measurement that a withdrawn trial keeps."""
    if trial.phase is not TrialPhase.MEASURING or not watch.windows:
        return trial
    whole = Window(watch.windows[0].window.start, watch.windows[-1].window.end)
    found = []
    for sli, arm in sorted({(m.sli, m.arm) for w in watch.windows for m in w.measurements}):
        pooled = _pooled([r for w in watch.windows if isinstance(r := w.reading(sli, arm), Sample)])
        if pooled is not None:
            found.append(Measurement(sli, arm, whole, pooled))
    return replace(trial, measurements=tuple(found))


def _pooled(samples: list[Sample]) -> Sample | None:
    """Counts of several windows together; None for values without counts."""
    if not samples or any(s.bad is None for s in samples):
        return None
    bad, total = sum(s.bad or 0.0 for s in samples), sum(s.total for s in samples)
    if total <= 0:
        return None
    phi = max(s.overdispersion for s in samples)
    smooth = (bad + 0.5) / (total + 1)
    return Sample(bad / total, math.sqrt(phi * smooth * (1 - smooth) / total), total, bad, phi)
