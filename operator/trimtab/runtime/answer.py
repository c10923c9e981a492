"""Inquiries to answers: the expensive facts that `decide` asked for, through Telemetry and Designer."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

from trimtab.control.context import DEFAULT_SCRAPE
from trimtab.control.floors import DAYS
from trimtab.control.snapshot import (
    AskAlerts,
    AskBudgets,
    AskEarlier,
    AskLoads,
    AskMeasurements,
    AskPresent,
    AskProbes,
    AskProposal,
    AskRecommendation,
    AskShown,
    AskSpent,
    AskUsage,
    AskUse,
    BudgetReadings,
    Inquiry,
    LoadHistory,
    PresentLoad,
    Shown,
    Snapshot,
    SpentReadings,
    TrialReadings,
    Usage,
)
from trimtab.domain.kube import ArmView, Target
from trimtab.domain.measurement import Absence, AlertSeen, Arm, Measurement, Reading, Sample, TelemetryError, Window
from trimtab.domain.names import arm_name
from trimtab.domain.space import Resource
from trimtab.domain.spec import ExperimentSpec, Scaling, ScalingQuery, Sli, ValueQuery
from trimtab.domain.state import ScaledBy
from trimtab.domain.study import Hold, Proposal, Study
from trimtab.domain.trial import Load, Trial
from trimtab.ports import Account, Clock, Designer, ExperimentRecord, PodSet, SliProbe, SliRequest, Telemetry, UseOf
from trimtab.runtime.budgets import BudgetReader, KnownSums
from trimtab.runtime.earlier import Earlier
from trimtab.runtime.lived import Lived
from trimtab.runtime.shown import ShownGood
from trimtab.runtime.spending import SpendingAccount, read_events
from trimtab.slo.arm_scaling import settled
from trimtab.slo.budget import CLEAR_SECONDS

TIMEOUT = 10.0
PROBE_TIMEOUT = 20.0
SPENT_TIMEOUT = 5.0  # a draining trial, and perhaps a deletion, waits for it
DAY = 86400.0
USAGE_SECONDS = DAYS * DAY
USE_SECONDS = 300.0
LATELY = 900.0  # seconds that say how high the load is at present
PEAK_STEP, PEAK_EVERY = 600.0, 6 * 3600.0  # seconds over which a peak is a mean, and for which an answer stands
SURE = 3.0  # standard deviations of a count
PROBE_EVERY = 5.0  # seconds for which an answer stands for the next pass, too
UNSCRAPED_SECONDS = 60.0  # for which a pod that an autoscaler added may be Ready without being scraped
PROBE_SCRAPES, PROBE_LEAST = 4, 60.0  # scrapes, and seconds at least, that a probe looks back


class Answerer:
    """Answers one inquiry at a time; never raises for missing data (absence is part of the answer)."""

    def __init__(
        self,
        telemetry: Telemetry,
        designer: Designer,
        spending: SpendingAccount,
        earlier: Earlier,
        clock: Clock,
        sums: KnownSums | None = None,
        lived: Lived | None = None,
        shown: ShownGood | None = None,
    ) -> None:
        self._telemetry, self._designer, self._clock = telemetry, designer, clock
        self._earlier = earlier
        self._lived, self._shown = lived or Lived(clock), shown or ShownGood()
        self._budget_reader = BudgetReader(telemetry, spending, clock, sums or KnownSums())
        self._held: dict[tuple[str, str], tuple[Study, Proposal]] = {}  # by namespace and name of the Experiment
        self._probed: dict[str, tuple[float, Reading]] = {}
        self._peaks: dict[str, tuple[float, tuple[float, ...]]] = {}
        self._alerts: dict[str, tuple[float, tuple[AlertSeen, ...] | TelemetryError]] = {}

    async def answer(self, inquiry: Inquiry, seen: Snapshot) -> Any:
        """The answer's type belongs to the inquiry's, as `Snapshot`'s accessors say."""
        match inquiry:
            case AskProposal(study):
                return await self._proposal(study, seen.experiment)
            case AskRecommendation(study):
                return await self._designer.recommend(study)
            case AskEarlier():
                return await self._earlier.trials(seen.experiment.namespace, _spec(seen))
            case AskProbes():
                return await self._probes(seen)
            case AskUsage(containers):
                return await self._usage(containers, seen)
            case AskUse(resource, container):
                return await self._use(seen, resource, container)
            case AskBudgets():
                return await self._budgets(seen)
            case AskAlerts():
                return await self._alerts_seen(seen)
            case AskMeasurements():
                return await self._measurements(inquiry, seen)
            case AskShown(trial_uid):
                return Shown(self._shown.until(trial_uid))
            case AskSpent():
                return await self._spent(inquiry, seen)
            case AskLoads():
                return await self._history(seen)
            case AskPresent():
                return await self._present(seen)

    def forget(self, namespace: str, name: str) -> None:
        """The Experiment is gone. What else is remembered of one grows old by itself."""
        self._held.pop((namespace, name), None)

    async def _proposal(self, study: Study, experiment: ExperimentRecord) -> Proposal:
        """The Designer's answer. A Hold beside what is pending stands until that ends, whatever load is expected: it is
        not asked for in every pass."""
        place = (experiment.namespace, experiment.name)
        key, known = replace(study, expected_load=None), self._held.pop(place, None)
        if known is None or known[0] != key:
            known = key, await self._designer.suggest(study)
        if study.pending and isinstance(known[1].answer, Hold):
            self._held[place] = known
        return known[1]

    async def _probes(self, seen: Snapshot) -> tuple[SliProbe, ...]:
        spec, pods = _spec(seen), _target_pods(seen)
        history = max((b.window for b in spec.budgets), default=3600.0)
        probe = self._telemetry.probe
        return tuple(
            await asyncio.gather(*(probe(s, pods, seen.now, history, timeout=PROBE_TIMEOUT) for s in spec.slis))
        )

    async def _usage(self, containers: tuple[str, ...], seen: Snapshot) -> tuple[Usage, ...]:
        pods, window = _target_pods(seen), Window(seen.now - USAGE_SECONDS, seen.now)
        read = self._telemetry.working_set
        store = _spec(seen).store
        found = await asyncio.gather(
            *(read(pods, name, window, store=store, timeout=PROBE_TIMEOUT) for name in containers)
        )
        return tuple(Usage(name, reading) for name, reading in zip(containers, found, strict=True))

    async def _history(self, seen: Snapshot) -> LoadHistory:
        """One query for lately, and three for each of the days before."""
        spec, pods, now = _spec(seen), _target_pods(seen), seen.now
        sli = counting_sli(spec)
        if sli is None:
            return LoadHistory()
        end = spec.trial.warm_up + spec.trial.duration
        spans = ((-LATELY, 0.0), (0.0, end), (end, end + spec.trial.duration))  # the last one if it is extended

        async def rate(days_ago: int, begin: float, end: float) -> float | None:
            window = Window(now - days_ago * DAY + begin, now - days_ago * DAY + end)
            reading = await self._telemetry.totals(sli, pods, window, timeout=TIMEOUT)
            return reading.total / window.seconds if isinstance(reading, Sample) and reading.total > 0 else None

        lately, *rates = await asyncio.gather(
            rate(0, *spans[0]), *(rate(d, *span) for d in range(1, DAYS + 1) for span in spans)
        )
        days = zip(rates[0::3], rates[1::3], rates[2::3], strict=True)
        known = ((then, max(soon, later)) for then, soon, later in days if then and soon and later)
        return LoadHistory(lately, tuple(known), await self._highest(sli, pods, seen), await self._present(seen))

    async def _present(self, seen: Snapshot) -> PresentLoad:
        """Over the last minute, or some scrapes: a crowd comes within less than `LATELY`."""
        sli, state = counting_sli(_spec(seen)), seen.experiment.state
        if sli is None:
            return PresentLoad()
        scrape = (state.scrape_interval if state is not None else None) or DEFAULT_SCRAPE
        seconds = max(PROBE_SCRAPES * scrape, PROBE_LEAST)
        window = Window(seen.now - seconds, seen.now)
        reading = await self._telemetry.totals(sli, _target_pods(seen), window, timeout=TIMEOUT)
        if not isinstance(reading, Sample):
            return PresentLoad()
        least = max(reading.total - SURE * math.sqrt(reading.total), 0.0)
        return PresentLoad(reading.total / seconds, least / seconds)

    async def _highest(self, sli: Sli, pods: PodSet, seen: Snapshot) -> tuple[float, ...]:
        """The highest load of each day; for some hours it stands for the next trials, too."""
        at, uid = self._clock.monotonic(), seen.experiment.uid
        self._peaks = {u: p for u, p in self._peaks.items() if at - p[0] < PEAK_EVERY}
        if uid not in self._peaks:
            ends = (seen.now - days_ago * DAY for days_ago in range(DAYS))
            ask = self._telemetry.history
            found = await asyncio.gather(
                *(ask(sli, pods, Window(end - DAY, end), PEAK_STEP, timeout=TIMEOUT) for end in ends)
            )
            sums = ((sum(n for _, n in step) for step in day) for day in found if not isinstance(day, Absence))
            highest = (max(day, default=0.0) / PEAK_STEP for day in sums)
            known = tuple(load for load in highest if load > 0)
            if not known:
                return ()
            self._peaks[uid] = (at, known)
        return self._peaks[uid][1]

    async def _budgets(self, seen: Snapshot) -> BudgetReadings:
        spec, target = _spec(seen), seen.target
        assert isinstance(target, Target)
        found = await self._budget_reader.read(seen.experiment, spec, target.uid, timeout=TIMEOUT)
        return replace(found, probe=await self._probe(seen))  # the sums may be some minutes old

    async def _probe(self, seen: Snapshot) -> Reading:
        """One SLI of the target over its last scrapes. Passes that follow each other closely share one query."""
        now, at, uid = self._clock.now(), self._clock.monotonic(), seen.experiment.uid
        self._probed = {u: p for u, p in self._probed.items() if at - p[0] < PROBE_EVERY}
        if uid not in self._probed:
            spec, state = _spec(seen), seen.experiment.state
            scrape = (state.scrape_interval if state is not None else None) or DEFAULT_SCRAPE
            window = Window(now - max(PROBE_SCRAPES * scrape, PROBE_LEAST), now)
            asked = SliRequest(counting_sli(spec) or spec.slis[0], _target_pods(seen), window, fresh=False)
            (reading,) = await self._telemetry.read([asked], timeout=TIMEOUT)
            self._probed[uid] = (at, reading)
        return self._probed[uid][1]

    async def _alerts_seen(self, seen: Snapshot) -> tuple[AlertSeen, ...] | TelemetryError:
        """Of the time in which one that has fired holds trials back. Passes that follow each other closely share it."""
        now, at, key = self._clock.now(), self._clock.monotonic(), f"{seen.experiment.uid}/{_spec(seen).digest}"
        self._alerts = {k: a for k, a in self._alerts.items() if at - a[0] < PROBE_EVERY}
        if key not in self._alerts:
            names, window = _spec(seen).safety.pause_on_alerts, Window(now - CLEAR_SECONDS, now)
            namespace, store = seen.experiment.namespace, _spec(seen).store
            found = await self._telemetry.alerts(names, namespace, window, store=store, timeout=TIMEOUT)
            self._alerts[key] = (at, found)
        return self._alerts[key][1]

    async def _measurements(self, ask: AskMeasurements, seen: Snapshot) -> TrialReadings:
        spec = _spec(seen)
        trial = next(t for t in seen.trials if t.name == ask.trial)
        arms = (Arm.CANARY, Arm.CONTROL)
        pods = {arm: trial_pods(trial, arm, seen.arm(trial, arm), ask.window.end) for arm in arms}
        asked = [(sli, arm) for sli in spec.slis for arm in arms]
        requests = [SliRequest(sli, pods[arm], ask.window) for sli, arm in asked]
        readings = await self._telemetry.read(requests, timeout=TIMEOUT)
        measurements = tuple(
            Measurement(sli.name, arm, ask.window, reading) for (sli, arm), reading in zip(asked, readings, strict=True)
        )
        counting = counting_sli(spec)
        load = () if counting is None else await self._loads(counting, pods, seen, trial, ask.window)
        if counting is not None and _scaled_by(seen) is not None:
            load = await self._counted(counting, pods, load, seen, trial, ask.window)
        return TrialReadings(measurements, load)

    async def _counted(
        self,
        sli: Sli,
        pods: dict[Arm, PodSet],
        loads: tuple[Load, ...],
        seen: Snapshot,
        trial: Trial,
        window: Window,
    ) -> tuple[Load, ...]:
        """With the pods that arms had on average, which an autoscaler decides: `loads` divide by the last number."""
        query = sli.query
        assert not isinstance(query, ValueQuery | ScalingQuery)
        asked = [load.arm for load in loads if load.arm in pods]
        scaling = replace(sli, query=ScalingQuery(Scaling.MEAN_REPLICAS, query))
        found = await self._telemetry.read([SliRequest(scaling, pods[arm], window) for arm in asked], timeout=TIMEOUT)
        counted = {arm: reading for arm, reading in zip(asked, found, strict=True) if isinstance(reading, Sample)}
        found_loads = (_by_pods(load, seen.arm(trial, load.arm), counted.get(load.arm)) for load in loads)
        return await self._used(pods, tuple(load for load in found_loads if load is not None), seen, window)

    async def _used(
        self, pods: dict[Arm, PodSet], loads: tuple[Load, ...], seen: Snapshot, window: Window
    ) -> tuple[Load, ...]:
        """With what one pod of each arm used of what the autoscaler goes by; without where cAdvisor does not tell."""
        by, asked = _scaled_by(seen), [load.arm for load in loads if load.arm in pods]
        if by is None or by.resource is None or not asked:
            return loads
        of = UseOf(by.resource, by.container, _spec(seen).store)
        found = await self._telemetry.use([pods[arm] for arm in asked], of, window, timeout=TIMEOUT)
        used = {arm: reading for arm, reading in zip(asked, found, strict=True) if isinstance(reading, Sample)}
        return tuple(
            replace(load, use=used[load.arm].value, use_error=used[load.arm].standard_error)
            if load.arm in used
            else load
            for load in loads
        )

    async def _use(self, seen: Snapshot, resource: Resource, container: str) -> Reading:
        """What one pod of the target used lately."""
        window = Window(seen.now - USE_SECONDS, seen.now)
        of = UseOf(resource, container, _spec(seen).store)
        (found,) = await self._telemetry.use([_target_pods(seen)], of, window, timeout=PROBE_TIMEOUT)
        return found

    async def _spent(self, ask: AskSpent, seen: Snapshot) -> SpentReadings:
        trial = next(t for t in seen.trials if t.name == ask.trial)
        canary = trial_pods(trial, Arm.CANARY, None)
        found = await read_events(self._telemetry, _spec(seen), trial, canary, ask.until, timeout=SPENT_TIMEOUT)
        known = ((b.sli, self._lived.at_most(trial.uid, b.sli)) for b in _spec(seen).budgets)
        return SpentReadings(found, tuple((sli, seconds) for sli, seconds in known if seconds is not None))

    async def _loads(
        self, sli: Sli, pods: dict[Arm, PodSet], seen: Snapshot, trial: Trial, window: Window
    ) -> tuple[Load, ...]:
        """Requests per second and pod of both arms and of the target, with their errors: the verdict asks whether the
        arms got their share, and the same."""
        target = seen.target
        assert isinstance(target, Target)
        views = {arm: seen.arm(trial, arm) for arm in pods}
        replicas = {arm: view.replicas for arm, view in views.items() if view is not None and view.replicas}
        if target.ready_replicas:
            replicas[Arm.TARGET] = target.ready_replicas
        of = {**pods, Arm.TARGET: _target_pods(seen)}
        readings = await asyncio.gather(
            *(self._telemetry.load(sli, of[arm], window, timeout=TIMEOUT) for arm in replicas)
        )
        return tuple(
            Load(arm, reading.value / count, reading.standard_error / count)
            for (arm, count), reading in zip(replicas.items(), readings, strict=True)
            if isinstance(reading, Sample)
        )


def _by_pods(load: Load, view: ArmView | None, pods: Sample | None) -> Load | None:
    """The same requests, divided by how many pods there were on average; None for an arm of which that is not known:
    by the last number it would be another load. The target's pods are not counted."""
    if load.arm is Arm.TARGET:
        return load
    if view is None or pods is None or not pods.value > 0:
        return None
    factor = view.replicas / pods.value
    error = None if load.standard_error is None else load.standard_error * factor
    return Load(load.arm, load.rps_per_pod * factor, error, pods.value, pods.standard_error)


def _scaled_by(seen: Snapshot) -> ScaledBy | None:
    state = seen.experiment.state
    return state.target.scaled if state is not None and state.target is not None else None


def counting_sli(spec: ExperimentSpec) -> Sli | None:
    """The SLI whose total counts requests: the first that is no plain value, nor made of another."""
    return next((s for s in spec.slis if not isinstance(s.query, ValueQuery | ScalingQuery)), None)


def trial_pods(trial: Trial, arm: Arm, view: ArmView | None, until: float | None = None) -> PodSet:
    """The pods of one arm, by name; those that the API server shows Ready must be scraped, but for those that an
    autoscaler added only just before `until` (unix seconds)."""
    ready = [p for p in view.pods if p.ready and not p.deleting] if view is not None else []
    if view is not None and view.scaled_by and until is not None:
        known = until - UNSCRAPED_SECONDS
        ready = [p for p in ready if settled(p, trial.times) or (p.ready_since is not None and p.ready_since < known)]
    live = tuple(p.name for p in ready)
    account = Account(trial.experiment_uid, trial.uid)
    return PodSet(trial.namespace, (arm_name(trial.experiment_uid, trial.index, arm),), live, account)


def _target_pods(seen: Snapshot) -> PodSet:
    target = seen.target
    assert isinstance(target, Target)
    return PodSet(target.namespace, (target.name,), account=Account(seen.experiment.uid))


def _spec(seen: Snapshot) -> ExperimentSpec:
    spec = seen.experiment.spec
    assert spec is not None
    return spec
