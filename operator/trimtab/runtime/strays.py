"""Trials whose Experiment is gone: their arms are taken away and our finalizer with them, since nobody else will.

An Experiment is only let go once nothing of it is left, so there are none as a rule. But a leader that stood still may
have been about to create a Trial, or a hand may have taken the Experiment's finalizer; then the garbage collector wants
the Trial gone, and our finalizer would hold it for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog

from trimtab.domain.errors import NotFound
from trimtab.domain.trial import StrayTrial
from trimtab.ports import Ledger
from trimtab.runtime.withdraw import Latch, Withdrawer

log = structlog.get_logger(__name__)


class Strays:
    """Undoes what is left of Experiments that are gone."""

    def __init__(self, ledger: Ledger, withdrawer: Withdrawer, latch: Latch, check: Callable[[], None]) -> None:
        self._ledger, self._withdrawer, self._latch, self._check = ledger, withdrawer, latch, check

    async def of(self, namespace: str, name: str) -> None:
        """Undo all of this name, of which there is no Experiment. Raises as `undo` does."""
        await self.undo(await self._ledger.strays(namespace, name))

    async def undo(self, trials: Iterable[StrayTrial]) -> None:
        """Arms first, then the finalizer.

        Raises:
            LeadershipLost: before the first effect that this process may not have.
            ApiError, RetryLater: what came before is done; try again.
        """
        for trial in trials:
            self._check()
            self._latch.set(trial.uid)
            await self._withdrawer.verified(trial.namespace, trial.experiment_uid, trial.uid)
            self._check()
            try:
                await self._ledger.let_go(trial)
            except NotFound:
                continue
            log.warning("trial.stray", trial=trial.name, why="its Experiment is gone; undone and let go")


__all__ = ["Strays"]
