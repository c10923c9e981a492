"""A Ledger whose reader notices that another operator leads: the stamp on a Trial is a fencing token.

An operator may believe that it leads when it does not: somebody took the Lease away from under it. Then both withdraw
and record, and what one proved to be gone the other may be about to make. Every live Trial carries the stamp of the
leader that may make its arms, and what is written rests on what was read; so whoever reads the stamp of a LATER leader
looks at the Lease before going on (M. Kleppmann, "How to do distributed locking", 2016, on fencing tokens).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from trimtab.domain.state import ExperimentState
from trimtab.domain.trial import BrokenTrial, StrayTrial, Trial, TrialRows
from trimtab.ports import ExperimentRecord, Ledger, NewTrial

Confirm = Callable[[str], Awaitable[None]]
"""Called with the stamp of a live Trial; raises when this process may not go on."""


class FencedLedger:
    """Implements `trimtab.ports.Ledger`; every read of Trials may raise what `confirm` raises."""

    def __init__(self, ledger: Ledger, confirm: Confirm) -> None:
        self._ledger, self._confirm = ledger, confirm

    async def experiment(self, namespace: str, name: str) -> ExperimentRecord:
        """Pass through."""
        return await self._ledger.experiment(namespace, name)

    async def trials(self, experiment: ExperimentRecord) -> TrialRows:
        """All Trials, once it is clear that this process leads them."""
        rows = await self._ledger.trials(experiment)
        await self._fence(rows.readable)
        return rows

    async def strays(self, namespace: str, name: str) -> tuple[StrayTrial, ...]:
        """Pass through: nobody leads what has no Experiment."""
        return await self._ledger.strays(namespace, name)

    async def trial(self, namespace: str, name: str) -> Trial:
        """One Trial, once it is clear that this process leads it."""
        found = await self._ledger.trial(namespace, name)
        await self._fence([found])
        return found

    async def create_trial(self, experiment: ExperimentRecord, new: NewTrial) -> Trial:
        """Pass through."""
        return await self._ledger.create_trial(experiment, new)

    async def write_trial(self, trial: Trial) -> Trial:
        """Pass through."""
        return await self._ledger.write_trial(trial)

    async def finalize_trial(self, trial: Trial, present: bool) -> Trial:
        """Pass through."""
        return await self._ledger.finalize_trial(trial, present)

    async def let_go(self, trial: BrokenTrial | StrayTrial) -> None:
        """Pass through."""
        await self._ledger.let_go(trial)

    async def write_state(self, experiment: ExperimentRecord, state: ExperimentState) -> ExperimentRecord:
        """Pass through."""
        return await self._ledger.write_state(experiment, state)

    async def finalize_experiment(self, experiment: ExperimentRecord, present: bool) -> ExperimentRecord:
        """Pass through."""
        return await self._ledger.finalize_experiment(experiment, present)

    async def _fence(self, trials: Iterable[Trial]) -> None:
        for trial in trials:
            if trial.live and trial.leader:
                await self._confirm(trial.leader)


__all__ = ["FencedLedger"]
