"""The safety loop: one supervised task over all live trials, level-triggered, never behind fitting or reconciling.

It starts from the arms that exist in the cluster, so an arm whose Trial is gone is found too. It has its own clients.
It never writes an Experiment's status: it deletes arms first, then records the outcome in the Trial.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from trimtab.control import machine
from trimtab.domain.errors import ApiError, Conflict, LeadershipLost, NotFound, RetryLater, TrimtabError
from trimtab.domain.kube import ArmView
from trimtab.domain.trial import Trial, TrialPhase
from trimtab.ports import Clock, Cluster, ExperimentRecord, Ledger, Telemetry
from trimtab.runtime.arms import read_arms
from trimtab.runtime.events import EventRecorder
from trimtab.runtime.killswitch import KillSwitches
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.spending import SpendingAccount
from trimtab.runtime.watch import Watchman
from trimtab.runtime.withdraw import Latch, Withdrawer
from trimtab.slo.safety import Withdraw

log = structlog.get_logger(__name__)

IDLE_SECONDS = 2.0
LATE_FACTOR = 3.0


@dataclass(frozen=True)
class _Live:
    """The arms of one trial, and where they are."""

    namespace: str
    experiment_uid: str
    experiment_name: str
    trial_uid: str
    trial_name: str
    arms: tuple[ArmView, ...]


@dataclass(frozen=True)
class _Withdrawal:
    """One that was decided; `begun` in monotonic seconds."""

    experiment: ExperimentRecord
    trial: Trial
    judgement: Withdraw
    begun: float


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
    ) -> None:
        self._cluster, self._ledger, self._clock = cluster, ledger, clock
        self._latch, self._events, self._metrics, self._check = latch, events, metrics, check
        self._withdrawer = Withdrawer(cluster, clock)
        self._watchman = Watchman(switches, ledger, telemetry, spending, clock, metrics)
        self._scopes: tuple[str | None, ...] = tuple(namespaces) or (None,)
        self.on_withdrawn = on_withdrawn
        self.judged_once = asyncio.Event()
        self._withdrawals: dict[str, _Withdrawal] = {}
        self._interval = IDLE_SECONDS
        self._beat = clock.monotonic()

    def begin(self) -> None:
        """The heartbeat starts now, not when the process started."""
        self._beat = self._clock.monotonic()

    def age(self) -> float:
        """Seconds since the last complete tick."""
        return self._clock.monotonic() - self._beat

    def age_limit(self) -> float:
        """The age from which on the loop counts as dead: three intervals, and never less than a request may take."""
        return max(LATE_FACTOR * self._interval, 30.0)

    async def run(self) -> None:
        """Tick until cancelled. An API server that does not answer is retried at the next tick; a defect ends the
        task, and with it the process."""
        due = self._clock.monotonic()
        while True:
            self._metrics.safety_tick_lateness.observe(max(0.0, self._clock.monotonic() - due))
            try:
                self._interval = await self.tick()
                self._beat = self._clock.monotonic()
                self.judged_once.set()
            except LeadershipLost:
                log.warning("safety.not_leading")
            except ApiError as error:
                log.warning("safety.api_error", error=str(error))
            due = max(due + self._interval, self._clock.monotonic())
            await self._clock.sleep(max(0.0, due - self._clock.monotonic()))

    async def tick(self) -> float:
        """Judge everything once; returns seconds until the next tick."""
        await self._finish_withdrawals()
        found = [live for scope in self._scopes for live in _by_trial(await read_arms(self._cluster, scope))]
        self._watchman.keep_only({live.trial_uid for live in found})
        answers = await asyncio.gather(*(self._one(live) for live in found), return_exceptions=True)
        intervals = [IDLE_SECONDS]
        for live, answer in zip(found, answers, strict=True):
            if isinstance(answer, float):
                intervals.append(answer)
            elif isinstance(answer, TrimtabError):
                log.warning("safety.trial_not_judged", trial=live.trial_name, error=str(answer))
            elif isinstance(answer, BaseException):
                raise answer
        return min(intervals)

    async def _one(self, live: _Live) -> float:
        """Judge one trial; returns its check interval."""
        with structlog.contextvars.bound_contextvars(experiment=live.experiment_name, trial=live.trial_name):
            trial = await self._trial(live)
            if trial is None or trial.phase.terminal:
                await self._remove(live)
                return IDLE_SECONDS
            experiment = await self._ledger.experiment(live.namespace, trial.experiment_name)
            interval = experiment.spec.safety.check_interval if experiment.spec is not None else IDLE_SECONDS
            if trial.phase is TrialPhase.DRAINING or self._latch.is_set(trial.uid):
                await self._withdrawer.send(live.namespace, live.experiment_uid, live.trial_uid)
                return interval
            judgement, trial = await self._watchman.judge(experiment, trial, live.arms)
            if isinstance(judgement, Withdraw):
                await self._withdraw(experiment, trial, judgement)
            return interval

    async def _trial(self, live: _Live) -> Trial | None:
        """The Trial of these arms, None when it is gone or another one took its name."""
        if not live.trial_name:
            return None
        try:
            trial = await self._ledger.trial(live.namespace, live.trial_name)
        except NotFound:
            return None
        return trial if trial.uid == live.trial_uid else None

    async def _remove(self, live: _Live) -> None:
        """Arms without a live Trial."""
        self._check()
        if any(a.uid is not None or any(not p.deleting for p in a.pods) for a in live.arms):
            log.warning("safety.leftover_arm", trial_uid=live.trial_uid)
        await self._withdrawer.send(live.namespace, live.experiment_uid, live.trial_uid)

    async def _withdraw(self, experiment: ExperimentRecord, trial: Trial, judgement: Withdraw) -> None:
        """From here on the withdrawal happens, whatever fails: it is carried on at each tick until it is recorded."""
        self._check()
        self._latch.set(trial.uid)
        self._latch.begin(trial.uid)
        self._withdrawals[trial.uid] = _Withdrawal(experiment, trial, judgement, self._clock.monotonic())
        why, reason = judgement.outcome.message, judgement.outcome.reason
        log.warning("safety.withdraw", rule=judgement.rule, reason=reason, why=why)
        await self._carry_on(trial.uid)

    async def _carry_on(self, trial_uid: str) -> None:
        """Delete, wait until nothing serves, record. The record comes last: an undo's effect goes first."""
        self._check()
        found = self._withdrawals[trial_uid]
        trial, outcome = found.trial, found.judgement.outcome
        await self._withdrawer.silenced(trial.namespace, trial.experiment_uid, trial.uid)
        seconds = self._clock.monotonic() - found.begun
        done = replace(
            machine.withdrawn(trial, self._clock.now(), outcome),
            withdraw_seconds=seconds,
            evidence=found.judgement.evidence,
        )
        await self._record(done)
        del self._withdrawals[trial_uid]
        self._latch.end(trial_uid)
        words = f"{outcome.reason}: {outcome.message}; no endpoint after {seconds:.1f} s"
        await self._events.emit(found.experiment, "Warning", "TrialWithdrawn", words, done)
        self.on_withdrawn(found.experiment.namespace, found.experiment.name)

    async def _finish_withdrawals(self) -> None:
        """What an earlier tick could not complete; its arms may be gone, so no list shows it."""
        for trial_uid in tuple(self._withdrawals):
            try:
                await self._carry_on(trial_uid)
            except LeadershipLost:
                raise
            except TrimtabError as error:
                log.warning("safety.withdrawal_not_finished", trial_uid=trial_uid, error=str(error))

    async def _record(self, done: Trial) -> None:
        """Write the outcome; when somebody wrote meanwhile, on top of that, unless the trial has ended."""
        for _ in range(5):
            try:
                await self._ledger.write_trial(done)
                self._metrics.observe_trial(done)
                return
            except NotFound:
                return
            except Conflict:
                current = await self._ledger.trial(done.namespace, done.name)
                if current.uid != done.uid or current.phase.terminal or current.phase is TrialPhase.DRAINING:
                    return
                done = replace(done, resource_version=current.resource_version)
        raise RetryLater(0.5, f"the outcome of trial {done.index} could not be written yet")


def _by_trial(views: tuple[ArmView, ...]) -> list[_Live]:
    found: list[_Live] = []
    for uid in sorted({v.trial_uid for v in views}):
        mine = tuple(v for v in views if v.trial_uid == uid)
        name = next((v.trial_name for v in mine if v.trial_name), "")
        found.append(_Live(mine[0].namespace, mine[0].experiment_uid, mine[0].experiment_name, uid, name, mine))
    return found


__all__ = ["SafetyLoop"]
