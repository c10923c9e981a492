"""The operator with four fits of the model always under way: `python -m benchmarks.operator.fitting`.

Its event loop keeps four more fitting workers busy, each asked as its own one is: a study is sent, the Gaussian process
is fitted in the worker, the suggestion comes back, and the next study follows at once. The operator by itself has one
worker, which serves one Experiment after the other, so this is more than it ever does.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from unittest.mock import patch

import structlog

from benchmarks.suggest.problem import study
from trimtab.adapters.executor import ProcessDesigner
from trimtab.runtime import main as runtime

FITS = 4
DIMENSIONS, ROWS, STUDIES = 8, 200, 3  # an Experiment's 100th trial
DEADLINE = 120.0  # seconds: no fit ends before it is done, however busy the machine
DONE = "fitting.done"

log = structlog.get_logger(__name__)


class Fitting(ProcessDesigner):
    """The operator's Designer, and beside it workers that fit without end."""

    def __init__(self) -> None:
        super().__init__()
        self._fits: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Also begin the fits, once."""
        await super().start()
        if not self._fits:
            self._fits = [asyncio.create_task(fit(number)) for number in range(FITS)]

    async def close(self) -> None:
        """Also end the fits."""
        for task in self._fits:
            task.cancel()
        await asyncio.gather(*self._fits, return_exceptions=True)
        await super().close()


async def fit(number: int) -> None:
    """Fit one study after the other in a worker of its own, and log how long each took."""
    studies = [study(DIMENSIONS, ROWS, seed) for seed in range(STUDIES * number, STUDIES * (number + 1))]
    async with ProcessDesigner(deadline=DEADLINE) as designer:
        for each in itertools.cycle(studies):
            begun = time.time()
            found = await designer.suggest(each)
            log.info(DONE, fit=number, begun=begun, ended=time.time(), lost=found.diagnostics.fallback)


def main() -> None:
    """The operator's entry point with another Designer."""
    with patch.object(runtime, "ProcessDesigner", Fitting):
        runtime.main()


if __name__ == "__main__":
    main()
