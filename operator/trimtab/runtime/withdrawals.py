"""Withdrawals that the safety loop decided: each a task of its own, carried on until it is on record.

A withdrawal that takes long delays neither the judgement of other trials nor their withdrawals. One that is not over
after 30 s is somebody's page: `trimtab_rollbacks_stuck`, and an Event that says what to type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import structlog

from trimtab.control import machine
from trimtab.domain.errors import Conflict, NotFound, RetryLater, TrimtabError
from trimtab.domain.kinds import EXPERIMENTS
from trimtab.domain.trial import Trial, TrialPhase
from trimtab.ports import Clock, Cluster, ExperimentRecord, Ledger
from trimtab.runtime.crew import Crew
from trimtab.runtime.events import EventRecorder, EventType, Subject
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.series import Labels
from trimtab.runtime.withdraw import STUCK_SECONDS, Latch, Withdrawer, by_hand
from trimtab.slo.safety import Withdraw
from trimtab.slo.spending import merged

log = structlog.get_logger(__name__)

RETRY_SECONDS = 0.5
WRITE_ATTEMPTS = 5


@dataclass(frozen=True)
class Rollback:
    """A trial whose arms are on their way out."""

    namespace: str
    experiment_name: str
    experiment_uid: str
    trial_uid: str
    trial_name: str

    @property
    def owner(self) -> Labels:
        return (self.namespace, self.experiment_name)


@dataclass(frozen=True)
class _Decided:
    """A withdrawal under way; `at` in unix seconds, `begun` in monotonic ones."""

    experiment: ExperimentRecord
    trial: Trial
    judgement: Withdraw
    at: float
    begun: float


class Withdrawals:
    """From the decision on a withdrawal happens, whatever fails: arms are deleted, then the outcome is written."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        ledger: Ledger,
        clock: Clock,
        latch: Latch,
        events: EventRecorder,
        metrics: Metrics,
        check: Callable[[], None],
        crew: Crew,
        on_withdrawn: Callable[[str, str], None],
    ) -> None:
        self._ledger, self._clock, self._latch = ledger, clock, latch
        self._events, self._metrics, self._check = events, metrics, check
        self._crew, self._on_withdrawn = crew, on_withdrawn
        self._withdrawer = Withdrawer(cluster, clock)
        self._decided: dict[str, _Decided] = {}

    @property
    def under_way(self) -> tuple[Rollback, ...]:
        """Those that are not on record yet."""
        return tuple(
            Rollback(t.namespace, t.experiment_name, t.experiment_uid, t.uid, t.name)
            for t in (d.trial for d in self._decided.values())
        )

    def begin(self, experiment: ExperimentRecord, trial: Trial, judgement: Withdraw) -> None:
        """Withdraw this trial; nothing when that is under way.

        Raises:
            LeadershipLost: this process may no longer write.
        """
        if trial.uid in self._decided:
            return
        self._check()
        self._latch.set(trial.uid)
        self._latch.begin(trial.uid)
        found = _Decided(experiment, trial, judgement, self._clock.now(), self._clock.monotonic())
        self._decided[trial.uid] = found
        why, reason = judgement.outcome.message, judgement.outcome.reason
        log.warning("safety.withdraw", rule=judgement.rule, reason=reason, why=why)
        self._crew.start(f"withdraw {trial.uid}", partial(self._until_done, found))

    async def _until_done(self, found: _Decided) -> None:
        while True:
            try:
                await self._carry_out(found)
                break
            except TrimtabError as error:
                log.warning("safety.withdrawal_not_finished", error=str(error))
            await self._clock.sleep(RETRY_SECONDS)
        del self._decided[found.trial.uid]
        self._latch.end(found.trial.uid)
        self._on_withdrawn(found.experiment.namespace, found.experiment.name)

    async def _carry_out(self, found: _Decided) -> None:
        """Delete, wait until nothing serves, record. The record comes last: an undo's effect goes first."""
        self._check()
        trial, outcome = found.trial, found.judgement.outcome
        await self._withdrawer.silenced(trial.namespace, trial.experiment_uid, trial.uid)
        seconds = self._clock.monotonic() - found.begun
        done = await self._record(found, seconds)
        if done is not None:
            words = f"{outcome.reason}: {outcome.message}; no endpoint after {seconds:.1f} s"
            await self._events.emit(found.experiment, "Warning", "TrialWithdrawn", words, done)

    async def _record(self, found: _Decided, seconds: float) -> Trial | None:
        """Write the outcome; when somebody wrote meanwhile, on top of that. None when the trial had ended by itself."""
        base = found.trial
        for _ in range(WRITE_ATTEMPTS):
            done = replace(
                machine.withdrawn(base, found.at, found.judgement.outcome),
                withdraw_seconds=seconds,
                evidence=found.judgement.evidence,
                spent=merged(base.spent, found.trial.spent),
                measurements=found.trial.measurements,
            )
            try:
                written = await self._ledger.write_trial(done)
            except NotFound:
                return None
            except Conflict:
                base = await self._ledger.trial(base.namespace, base.name)
                if base.uid != found.trial.uid or base.phase.terminal or base.phase is TrialPhase.DRAINING:
                    return None
            else:
                self._metrics.observe_trial(written)
                return written
        raise RetryLater(RETRY_SECONDS, "the outcome could not be written yet")


class Overdue:
    """Rollbacks that are not over after 30 s, whoever began them."""

    def __init__(self, clock: Clock, events: EventRecorder, metrics: Metrics) -> None:
        self._clock, self._events, self._metrics = clock, events, metrics
        self._since: dict[str, float] = {}
        self._told: frozenset[str] = frozenset()

    def update(self, under_way: Iterable[Rollback]) -> None:
        """What is under way now; what is missing is over."""
        now, found = self._clock.monotonic(), {r.trial_uid: r for r in under_way}
        self._since = {uid: self._since.get(uid, now) for uid in found}
        late = [r for uid, r in found.items() if now - self._since[uid] > STUCK_SECONDS]
        for rollback in late:
            if rollback.trial_uid not in self._told:
                self._tell(rollback)
        self._told = frozenset(r.trial_uid for r in late)
        self._show(found.values(), late, now)

    def _tell(self, rollback: Rollback) -> None:
        log.error("withdraw.stuck", trial=rollback.trial_name, experiment=rollback.experiment_name)
        subject = Subject(EXPERIMENTS, rollback.namespace, rollback.experiment_name, rollback.experiment_uid)
        words = (
            f"the arms of trial {rollback.trial_name or rollback.trial_uid} are not gone after {STUCK_SECONDS:.0f} s; "
            + by_hand(rollback.namespace, rollback.trial_uid)
        )
        self._events.record(subject, EventType.WARNING, "RollbackStuck", words)

    def _show(self, under_way: Iterable[Rollback], late: list[Rollback], now: float) -> None:
        lasting: dict[Labels, float] = {}
        for rollback in under_way:
            seconds = now - self._since[rollback.trial_uid]
            lasting[rollback.owner] = max(seconds, lasting.get(rollback.owner, 0.0))
        owners = [r.owner for r in late]
        self._metrics.observe_rollbacks(lasting, {owner: float(owners.count(owner)) for owner in owners})


__all__ = ["Overdue", "Rollback", "Withdrawals"]
