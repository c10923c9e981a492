"""The safety loop: one supervised task over all live trials, level-triggered, never behind fitting or reconciling.

It starts from the arms that exist in the cluster, so an arm whose Trial is gone is found too. It has its own clients.
It never writes an Experiment's status: it deletes arms first, then records the outcome in the Trial.

A tick judges every live trial by what needs no telemetry: hard signals, requests to stop, deadlines. All that may take
long is a task of its own per trial, begun by the tick: reading telemetry, budgets, taking arms away. So a slow answer
delays nobody else, and the heartbeat means that every live trial was judged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from trimtab.domain.errors import ApiError, CorruptLedger, Forbidden, LeadershipLost, NotFound, TrimtabError
from trimtab.domain.kube import ArmView
from trimtab.domain.trial import Trial, TrialPhase
from trimtab.ports import Clock, Cluster, ExperimentRecord, Ledger, Telemetry
from trimtab.runtime.arms import ArmReader
from trimtab.runtime.budgets import KnownSums
from trimtab.runtime.crew import Crew
from trimtab.runtime.events import EventRecorder
from trimtab.runtime.killswitch import KillSwitches
from trimtab.runtime.lived import Lived
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.shown import ShownGood
from trimtab.runtime.sight import InTraffic, Sight, live, stays
from trimtab.runtime.spending import SpendingAccount
from trimtab.runtime.watch import Watchman, serves
from trimtab.runtime.withdraw import Latch, Withdrawer
from trimtab.runtime.withdrawals import Overdue, Rollback, Withdrawals
from trimtab.slo.safety import Withdraw

log = structlog.get_logger(__name__)

IDLE_SECONDS = 2.0  # between ticks, at most
LATE_FACTOR = 3.0
LEAST_AGE = 30.0  # seconds that a tick may take while the API server is slow
LOOK_SECONDS = 10.0  # to read one trial, its Experiment and the kill switches
UNREAD_SECONDS = 15.0  # after so long an arm whose Trial or Experiment cannot be read is taken away
EARLY = 0.5  # of a tick, by which a look at telemetry may begin early


@dataclass(frozen=True)
class _Live:
    """The arms of one trial, and where they are."""

    namespace: str
    experiment_uid: str
    experiment_name: str
    trial_uid: str
    trial_name: str
    arms: tuple[ArmView, ...]
    at: float  # when they were asked for, in monotonic seconds

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and uid: the label of an arm is what somebody wrote, maybe somewhere else."""
        return self.namespace, self.trial_uid

    @property
    def rollback(self) -> Rollback:
        return Rollback(self.namespace, self.experiment_name, self.experiment_uid, self.trial_uid, self.trial_name)

    @property
    def serving(self) -> bool:
        return any(a.ready_endpoints for a in self.arms)


@dataclass(frozen=True)
class _Looked:
    """What a tick did with one trial: until the next one, is it on its way out, was it judged, has it no live Trial?"""

    interval: float = IDLE_SECONDS
    leaving: bool = False
    judged: bool = True
    stray: bool = False


class SafetyLoop:
    """Judges every live trial at its checkInterval."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        ledger: Ledger,
        telemetry: Telemetry,
        spending: SpendingAccount,
        switches: KillSwitches,
        clock: Clock,
        latch: Latch,
        events: EventRecorder,
        metrics: Metrics,
        check: Callable[[], None],
        namespaces: Sequence[str],
        on_withdrawn: Callable[[str, str], None] = lambda namespace, name: None,  # noqa: ARG005
        sums: KnownSums | None = None,
        lived: Lived | None = None,
        shown: ShownGood | None = None,
    ) -> None:
        self._arms, self._ledger, self._clock = ArmReader(cluster), ledger, clock
        self._latch, self._metrics, self._check = latch, metrics, check
        self._crew = Crew()
        self._withdrawer = Withdrawer(cluster, clock)
        self._watchman = Watchman(switches, ledger, telemetry, spending, clock, metrics, sums, lived, shown)
        self._withdrawals = Withdrawals(
            cluster=cluster,
            ledger=ledger,
            clock=clock,
            latch=latch,
            events=events,
            metrics=metrics,
            check=check,
            crew=self._crew,
            on_withdrawn=lambda namespace, name: self.on_withdrawn(namespace, name),
        )
        self._overdue = Overdue(clock, events, metrics)
        self._scopes: tuple[str | None, ...] = tuple(namespaces) or (None,)
        self.on_withdrawn = on_withdrawn
        self.judged_once = asyncio.Event()
        self._unread: dict[tuple[str, str], float] = {}
        self._looked: dict[str, float] = {}
        self._sights: dict[str, Sight] = {}
        self._seen: tuple[tuple[_Live, _Looked], ...] = ()
        self._interval = IDLE_SECONDS
        self._beat = clock.monotonic()

    def begin(self) -> None:
        """The heartbeat starts now, not when the process started."""
        self._beat = self._clock.monotonic()

    def keep_only(self, experiment_uids: Set[str]) -> None:
        """Forget Experiments that are gone; of trials each tick sees by itself which there are."""
        self._arms.keep_only(experiment_uids)

    def age(self) -> float:
        """Seconds since every live trial was judged."""
        return self._clock.monotonic() - self._beat

    def age_limit(self) -> float:
        """The age from which on the loop counts as dead: three intervals, and never less than requests may take."""
        return max(LATE_FACTOR * self._interval, LEAST_AGE)

    async def run(self) -> None:
        """Tick until cancelled. An API server that does not answer is retried at the next tick; a defect, in whichever
        of its tasks, ends this one, and with it the process."""
        due = self._clock.monotonic()
        try:
            while True:
                late = max(0.0, self._clock.monotonic() - due)
                self._metrics.safety_tick_lateness.observe(late)
                try:
                    if await self.tick():
                        self._beat = self._clock.monotonic()
                        self.judged_once.set()
                except LeadershipLost:
                    log.warning("safety.not_leading")
                except ApiError as error:
                    log.warning("safety.api_error", error=str(error))
                    self._tell()
                due += self._interval if late < self._interval else late + self._interval
                await self._crew.rest(self._clock.sleep(max(0.0, due - self._clock.monotonic())))
        finally:
            await self._crew.close()

    async def tick(self) -> bool:
        """Judge every live trial by what needs no telemetry, and begin what takes longer; whether all were judged.

        Raises:
            ApiError: the arms could be listed nowhere.
            LeadershipLost: this process may no longer write.
        """
        found, refused = await self._in_sight()
        hidden = [(live, done) for live, done in self._seen if live.namespace in refused]
        self._keep_only({live.trial_uid for live in (*found, *(live for live, _ in hidden))})
        looked = [_settled(x) for x in await asyncio.gather(*(self._look(x) for x in found), return_exceptions=True)]
        self._interval = min((IDLE_SECONDS, *(done.interval for done in looked)))
        self._seen = (*zip(found, looked, strict=True), *hidden)
        self._tell()
        awaited = [error for error in refused.values() if not isinstance(error, Forbidden | NotFound)]
        return all(done.judged for done in looked) and not awaited

    async def _in_sight(self) -> tuple[list[_Live], dict[str, ApiError]]:
        """The arms of live trials, and the namespaces in which they could not be listed: these keep nobody from judging
        the others. One that is gone, or in which this operator has no rights any more, is not waited for.

        Raises:
            ApiError: they could be listed nowhere.
        """
        found: list[_Live] = []
        refused: dict[str, ApiError] = {}
        for scope in self._scopes:
            at = self._clock.monotonic()
            try:
                found += _by_trial(await self._arms.read(scope), at)
            except ApiError as error:
                if scope is None:
                    raise
                log.warning("safety.namespace_not_read", namespace=scope, error=str(error))
                refused[scope] = error
        if len(refused) == len(self._scopes):
            raise next(iter(refused.values()))
        self._metrics.unread_namespaces.set(float(len(refused)))
        return found, refused

    def _tell(self) -> None:
        """Tell of what is in the traffic, as it was last seen. Called also when nothing can be seen, as the API server
        is away: rollbacks that do not end and canaries that nobody looks at grow older all the same."""
        leaving = [live.rollback for live, done in self._seen if done.leaving and live.serving]
        self._overdue.update((*leaving, *self._withdrawals.under_way))
        told = (
            InTraffic(
                x.namespace, x.experiment_name, x.serving, done.stray, done.leaving, self._sights.get(x.trial_uid)
            )
            for x, done in self._seen
        )
        self._metrics.observe_live(live(told, self._clock.now()))

    def _keep_only(self, trial_uids: set[str]) -> None:
        self._watchman.keep_only(trial_uids)
        self._unread = {key: at for key, at in self._unread.items() if key[1] in trial_uids}
        self._looked = {uid: at for uid, at in self._looked.items() if uid in trial_uids}
        self._sights = {uid: sight for uid, sight in self._sights.items() if uid in trial_uids}

    async def _look(self, live: _Live) -> _Looked:
        """Judge one trial by what needs no telemetry."""
        with structlog.contextvars.bound_contextvars(
            namespace=live.namespace, experiment=live.experiment_name, trial=live.trial_name
        ):
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    looked = await self._judge(live)
            except LeadershipLost:
                raise
            except CorruptLedger as error:
                log.error("safety.trial_unreadable", error=str(error))
                return self._leave(live)
            except (TrimtabError, TimeoutError) as error:
                return self._not_read(live, str(error) or "the API server does not answer")
            self._unread.pop(live.key, None)
            return looked

    def _not_read(self, live: _Live, why: str) -> _Looked:
        """Nobody can tell whether this arm may stay: for a short while it does, as API servers restart."""
        now = self._clock.monotonic()
        since = self._unread.setdefault(live.key, now)
        log.warning("safety.trial_not_judged", seconds=round(now - since, 1), error=why)
        if now - since < UNREAD_SECONDS:
            return _Looked(judged=False)
        self._latch.set(live.trial_uid)
        return self._leave(live)

    async def _judge(self, live: _Live) -> _Looked:
        read = await self._read(live)
        if read is None:
            return replace(self._leave(live), stray=stays(live.arms))
        trial, experiment = read
        sight = self._watchman.sight(experiment, trial, live.arms)
        if sight is not None:
            self._sights[trial.uid] = sight
        interval = experiment.spec.safety.check_interval if experiment.spec is not None else IDLE_SECONDS
        if trial.phase is TrialPhase.DRAINING or self._latch.is_set(trial.uid):
            return self._leave(live, interval)
        judgement = await self._watchman.at_once(experiment, trial, live.arms, live.at)
        if isinstance(judgement, Withdraw):
            self._withdrawals.begin(experiment, self._watchman.known(trial), judgement)
        elif serves(trial, live.arms):
            self._begin_looks(live, trial, experiment, interval)
        return _Looked(interval)

    async def _read(self, live: _Live) -> tuple[Trial, ExperimentRecord] | None:
        """The live Trial of these arms with its Experiment; None when there is none, or another one took its name."""
        if not live.trial_name:
            return None
        try:
            trial = await self._ledger.trial(live.namespace, live.trial_name)
            if trial.uid != live.trial_uid or trial.phase.terminal:
                return None
            return trial, await self._ledger.experiment(live.namespace, trial.experiment_name)
        except NotFound:
            return None

    def _leave(self, live: _Live, interval: float = IDLE_SECONDS) -> _Looked:
        """These arms have to go: nobody judges them any more."""
        self._check()
        self._crew.start(f"remove {'/'.join(live.key)}", partial(self._guarded, partial(self._remove, live)))
        return _Looked(interval, leaving=True)

    async def _remove(self, live: _Live) -> None:
        sent = await self._withdrawer.send(live.namespace, live.experiment_uid, live.trial_uid)
        if sent:
            log.warning("safety.arms_removed", objects=sent)

    def _begin_looks(self, live: _Live, trial: Trial, experiment: ExperimentRecord, interval: float) -> None:
        """Read telemetry and budgets when this trial's own interval has passed or a window is complete, unless the last
        look still lasts."""
        now, before = self._clock.monotonic(), self._looked.get(trial.uid)
        early = before is not None and now - before < interval - EARLY * min(self._interval, interval)
        if early and not self._watchman.has_window(experiment, trial):
            return
        by_telemetry = partial(self._by_telemetry, experiment, trial, live.arms)
        read_budgets = partial(self._watchman.read_budgets, experiment, trial)
        if self._crew.start(f"telemetry {trial.uid}", partial(self._guarded, by_telemetry)):
            self._looked[trial.uid] = now
        self._crew.start(f"budgets {experiment.uid}", partial(self._guarded, read_budgets))
        if not self._watchman.histories.settled(trial.uid):
            read_history = partial(self._watchman.histories.read, experiment, trial)
            self._crew.start(f"history {trial.uid}", partial(self._guarded, read_history))

    async def _by_telemetry(self, experiment: ExperimentRecord, trial: Trial, arms: tuple[ArmView, ...]) -> None:
        judgement = await self._watchman.by_telemetry(experiment, trial, arms)
        if isinstance(judgement, Withdraw) and not self._latch.is_set(trial.uid):
            self._withdrawals.begin(experiment, self._watchman.known(trial), judgement)

    async def _guarded(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """What the world refuses is tried again at the next tick; a defect is not caught."""
        try:
            await work()
        except TrimtabError as error:
            log.warning("safety.not_done", error=str(error))


def _settled(answer: _Looked | BaseException) -> _Looked:
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _by_trial(views: tuple[ArmView, ...], at: float) -> list[_Live]:
    found: list[_Live] = []
    for namespace, uid in sorted({(v.namespace, v.trial_uid) for v in views}):
        mine = tuple(v for v in views if (v.namespace, v.trial_uid) == (namespace, uid))
        name = next((v.trial_name for v in mine if v.trial_name), "")
        found.append(_Live(namespace, mine[0].experiment_uid, mine[0].experiment_name, uid, name, mine, at))
    return found


__all__ = ["SafetyLoop"]
