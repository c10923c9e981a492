"""The Designer port with its faults, and with a memory of what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from trimtab.adapters.executor import DEADLINE_SECONDS
from trimtab.domain.study import NoAnswer, Proposal, Recommended, Study
from trimtab.optimize.sobol import without_model
from trimtab.ports import Designer
from trimtab.simulate.faults.acting import ActingFaults
from trimtab.simulate.faults.kinds import FaultKind


class FaultyDesigner:
    """Implements `trimtab.ports.Designer` over another one.

    What fails inside the real one's worker process is answered by its executor; so it is here.

    Args:
        asked: told each study.
        standing: waits while the process that asks stands still.
    """

    def __init__(
        self,
        designer: Designer,
        acting: ActingFaults,
        asked: Callable[[Study], None],
        standing: Callable[[], Awaitable[None]],
    ) -> None:
        self._designer, self._acting, self._asked, self._standing = designer, acting, asked, standing

    async def suggest(self, study: Study) -> Proposal:
        """See the port."""
        self._asked(study)
        why = await self._fails()
        return without_model(study, why) if why else await self._designer.suggest(study)

    async def recommend(self, study: Study) -> Recommended | NoAnswer:
        """See the port."""
        self._asked(study)
        why = await self._fails()
        return NoAnswer(why) if why else await self._designer.recommend(study)

    async def _fails(self) -> str:
        """Why there is no answer, "" when there is one."""
        await self._standing()
        if self._acting.first(FaultKind.FIT_TOO_LONG) is not None:
            await asyncio.sleep(DEADLINE_SECONDS)
            return f"no answer within {DEADLINE_SECONDS:g} s: the fitting worker was replaced"
        if self._acting.first(FaultKind.FIT_FAILS) is not None:
            return "the fitting worker died (EOFError) and was replaced"
        return ""


__all__ = ["FaultyDesigner"]
