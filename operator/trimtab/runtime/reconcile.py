"""One pass over one Experiment: observe, decide, ask what is missing, act, write the status.

Errors become conditions or a retry, never a crash and never a hot loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import structlog

from trimtab.control.actions import Decision
from trimtab.control.decide import decide
from trimtab.control.snapshot import Inquiry
from trimtab.domain.errors import (
    Conflict,
    CorruptLedger,
    Forbidden,
    NotFound,
    RetryLater,
    Throttled,
    TrimtabError,
    Unavailable,
)
from trimtab.domain.state import ConditionType, ExperimentState
from trimtab.ports import Clock, ExperimentRecord, Ledger
from trimtab.runtime.act import Actor
from trimtab.runtime.answer import Answerer
from trimtab.runtime.metrics import Metrics
from trimtab.runtime.observe import Observer

log = structlog.get_logger(__name__)

MAX_ROUNDS = 6
CONFLICT_RETRY = 0.1
ERROR_RETRY = 5.0
DENIED_RETRY = 30.0


class Reconciler:
    """Called by the workqueue with a key; returns after how many seconds to come back (None: on change only)."""

    def __init__(
        self, ledger: Ledger, observer: Observer, answerer: Answerer, actor: Actor, clock: Clock, metrics: Metrics
    ) -> None:
        self._ledger, self._observer, self._answerer = ledger, observer, answerer
        self._actor, self._clock, self._metrics = actor, clock, metrics

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """One pass.

        Raises:
            LeadershipLost: this process may no longer write.
        """
        with structlog.contextvars.bound_contextvars(namespace=namespace, experiment=name):
            try:
                experiment = await self._ledger.experiment(namespace, name)
            except NotFound:
                self._metrics.forget(namespace, name)
                return None
            except TrimtabError as error:
                return self._retry(error)
            try:
                return await self._pass(experiment)
            except (Forbidden, CorruptLedger) as error:
                return await self._refused(experiment, error)
            except TrimtabError as error:
                return self._retry(error)

    async def _pass(self, experiment: ExperimentRecord) -> float | None:
        now = self._clock.now()
        answers: Mapping[Inquiry, Any] = MappingProxyType({})
        for _ in range(MAX_ROUNDS):
            seen = await self._observer.observe(experiment, now, answers)
            decision = decide(experiment.state or ExperimentState(), seen)
            if not decision.inquiries:
                return await self._carry_out(experiment, decision)
            experiment = await self._save(experiment, decision.state)
            fresh = {inquiry: await self._answerer.answer(inquiry, seen) for inquiry in decision.inquiries}
            answers = MappingProxyType({**answers, **fresh})
        raise RetryLater(ERROR_RETRY, f"undecided after {MAX_ROUNDS} rounds of questions")

    async def _carry_out(self, experiment: ExperimentRecord, decision: Decision) -> float | None:
        experiment = await self._actor.act(experiment, decision.actions)
        experiment = await self._save(experiment, decision.state)
        self._metrics.observe_state(experiment, decision.state)
        return decision.requeue_after

    async def _save(self, experiment: ExperimentRecord, state: ExperimentState) -> ExperimentRecord:
        """Write the status when it changed. A status that could not be read is left for a person to look at."""
        if state == experiment.state or experiment.state_problem:
            return experiment
        try:
            return await self._ledger.write_state(experiment, state)
        except NotFound:
            return experiment

    async def _refused(self, experiment: ExperimentRecord, error: TrimtabError) -> float:
        """A missing right, or a ledger that cannot be read: said in the status, retried slowly."""
        if isinstance(error, Forbidden):
            reason, remedy = "RBACDenied", "grant the right in the chart's Role and wait, or correct the install"
        else:
            reason, remedy = "LedgerCorrupted", "restore the object or delete this Experiment"
        message = f"{error}; {remedy}"
        log.warning("reconcile.refused", reason=reason, error=str(error))
        try:
            experiment = await self._ledger.experiment(experiment.namespace, experiment.name)
            state = (experiment.state or ExperimentState()).with_condition(
                ConditionType.STALLED, True, reason, message, self._clock.now(), experiment.generation
            )
            await self._save(experiment, replace(state, message=f"{reason}: {message}"))
        except TrimtabError as second:
            log.warning("reconcile.status_not_written", error=str(second))
        return DENIED_RETRY

    def _retry(self, error: TrimtabError) -> float:
        match error:
            case Conflict():
                return CONFLICT_RETRY
            case Throttled(after=after) | RetryLater(after=after):
                log.info("reconcile.later", after=after, why=str(error))
                return after
            case NotFound():
                return CONFLICT_RETRY
            case Unavailable():
                log.warning("reconcile.unavailable", error=str(error))
                return ERROR_RETRY
            case _:
                log.error("reconcile.failed", error=str(error), kind=type(error).__name__)
                return ERROR_RETRY
