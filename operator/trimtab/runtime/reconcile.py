"""One pass over one Experiment: observe, decide, ask what is missing, act, write the status.

An error becomes a condition with a remedy (see `control/faults.py`) and goes on to the workqueue, which comes back
later and later. Whatever cannot be read, what must be undone and what people asked for is done first.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars, unbind_contextvars

from trimtab.control import faults, summary
from trimtab.control.actions import Decision
from trimtab.control.decide import decide
from trimtab.control.snapshot import Inquiry, Snapshot
from trimtab.domain.errors import LeadershipLost, NotFound, RetryLater, TrimtabError
from trimtab.domain.state import ExperimentState
from trimtab.ports import Clock, ExperimentRecord, Ledger
from trimtab.runtime.act import Actor
from trimtab.runtime.answer import Answerer
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.observe import Observer
from trimtab.runtime.strays import Strays
from trimtab.runtime.workqueue import Key

log = structlog.get_logger(__name__)

MAX_ROUNDS = 8
UNDECIDED_RETRY = 5.0
FRESH_SECONDS = 2.0  # for so long a look serves the next round of questions, too


class Reconciler:
    """Called by the workqueue with a key; returns after how many seconds to come back (None: on change only)."""

    def __init__(
        self,
        ledger: Ledger,
        observer: Observer,
        answerer: Answerer,
        actor: Actor,
        strays: Strays,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._ledger, self._observer, self._answerer = ledger, observer, answerer
        self._actor, self._strays, self._clock, self._metrics = actor, strays, clock, metrics
        self._failures: dict[Key, int] = {}  # passes in a row that failed

    def keep_only(self, experiment_uids: Set[str]) -> None:
        """Forget Experiments that are gone: after a list of all that there are."""
        self._observer.keep_only(experiment_uids)
        summary.keep_only(experiment_uids)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """One pass.

        Raises:
            LeadershipLost: this process may no longer write.
            Exception: the pass failed; the Experiment's status says so where people should know. Try again, later and
                later.
        """
        key = Key(namespace, name)
        with bound_contextvars(namespace=namespace, experiment=name):
            try:
                after = await self._reconcile(key)
            except LeadershipLost:
                raise
            except Exception as error:
                await self._failed(key, error)
                raise
            finally:
                unbind_contextvars("trial")
            self._failures.pop(key, None)
            return after

    async def _reconcile(self, key: Key) -> float | None:
        try:
            experiment = await self._ledger.experiment(key.namespace, key.name)
        except NotFound:
            self._metrics.forget(key.namespace, key.name)
            self._answerer.forget(key.namespace, key.name)
            await self._strays.of(key.namespace, key.name)
            return None
        try:
            return await self._rounds(experiment)
        except _Unseen as unseen:
            if await self._at_least(unseen.experiment):
                return 0.0
            raise unseen.error from None

    async def _rounds(self, experiment: ExperimentRecord, *, fallback: bool = False) -> float | None:
        """Observe and decide, ask what is missing and decide again, act.

        Raises:
            _Unseen: not even the first look was possible; not with `fallback`, which is content with less.
        """
        now = self._clock.now()
        answers: Mapping[Inquiry, Any] = MappingProxyType({})
        seen, looked = await self._look(experiment, now, fallback), self._clock.monotonic()
        for _ in range(MAX_ROUNDS):
            if self._clock.monotonic() - looked > FRESH_SECONDS:  # much may have happened meanwhile
                seen, looked = await self._look(experiment, now, fallback), self._clock.monotonic()
            seen = replace(seen, experiment=experiment, answers=answers)
            decision = _decided(experiment, seen)
            if not decision.inquiries:
                return await self._carry_out(experiment, decision, recovered=not fallback)
            if decision.actions:  # Events: the next round starts from a state in which they have happened
                experiment = await self._actor.act(experiment, decision.actions)
            experiment = await self._save(experiment, decision.state)
            fresh = {inquiry: await self._answerer.answer(inquiry, seen) for inquiry in decision.inquiries}
            answers = MappingProxyType({**answers, **fresh})
        raise RetryLater(UNDECIDED_RETRY, f"undecided after {MAX_ROUNDS} rounds of questions")

    async def _look(self, experiment: ExperimentRecord, now: float, fallback: bool) -> Snapshot:
        try:
            seen = await self._observer.observe(experiment, now, quick=fallback)
            await self._strays.undo(seen.strays)
            return seen
        except TrimtabError as error:
            if fallback or isinstance(error, LeadershipLost):
                raise
            raise _Unseen(experiment, error) from error

    async def _at_least(self, experiment: ExperimentRecord) -> bool:
        """Something cannot be read: do what needs none of it, which is to undo and to answer people.

        Returns:
            Whether there is more of that to do at once.
        """
        try:
            return await self._rounds(experiment, fallback=True) == 0.0
        except LeadershipLost:
            raise
        except TrimtabError as error:
            log.warning("reconcile.not_even_undone", error=str(error))
            return False

    async def _carry_out(self, experiment: ExperimentRecord, decision: Decision, recovered: bool) -> float | None:
        experiment = await self._actor.act(experiment, decision.actions)
        state = decision.state
        if recovered:
            state = faults.recovered(state, self._clock.now(), experiment.generation)
        experiment = await self._save(experiment, state)
        self._metrics.observe_state(experiment, state)
        return decision.requeue_after

    async def _save(self, experiment: ExperimentRecord, state: ExperimentState) -> ExperimentRecord:
        """Write the status when it changed. A status that could not be read is left for a person to look at."""
        if state == experiment.state or experiment.state_problem:
            return experiment
        try:
            return await self._ledger.write_state(experiment, state)
        except NotFound:
            return experiment

    async def _failed(self, key: Key, error: Exception) -> None:
        """Say why nothing moves: in the log, and in the status. That the latter may fail changes nothing."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        if isinstance(error, TrimtabError):
            log.warning("reconcile.failed", kind=type(error).__name__, error=str(error), failures=failures)
        else:
            log.error("reconcile.defect", failures=failures, exc_info=error)
        try:
            experiment = await self._ledger.experiment(key.namespace, key.name)
            old = experiment.state or ExperimentState()
            state = faults.told(old, error, failures, self._clock.now(), experiment.generation)
            await self._save(experiment, state)
        except NotFound:
            self._failures.pop(key, None)
        except TrimtabError as second:
            log.warning("reconcile.status_not_written", error=str(second))


class _Unseen(Exception):
    """The first look of a pass failed."""

    def __init__(self, experiment: ExperimentRecord, error: TrimtabError) -> None:
        self.experiment, self.error = experiment, error
        super().__init__(str(error))


def _decided(experiment: ExperimentRecord, seen: Snapshot) -> Decision:
    """The decision; from here on log lines carry the live trial, where there is one."""
    bind_contextvars(**({"trial": seen.live[0].name} if seen.live else {}))
    return decide(experiment.state or ExperimentState(), seen)
