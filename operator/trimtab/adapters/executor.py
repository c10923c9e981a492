"""The Designer port over the optimizer: in a worker process with a deadline, or inline for simulations.

Fits block for up to hundreds of milliseconds, and a defect in native code could block for ever; safety ticks must never
wait for either. So the operator's Designer is one child process that is killed and replaced at its deadline, and the
answer is then a space-filling suggestion that needs no model. Inline, a count of evaluations takes the deadline's
place, so that replays are identical.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import sys
from collections.abc import Callable
from typing import Any

import structlog

from trimtab.domain.study import NoAnswer, Proposal, Recommended, Study
from trimtab.optimize.sobol import without_model
from trimtab.optimize.worker import HEADER, READY, pack

DEADLINE_SECONDS = 10.0
START_SECONDS = 30.0
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

log = structlog.get_logger(__name__)


class WorkerLost(Exception):
    """The worker did not answer: it died, was killed at the deadline, or could not start."""


def no_time() -> float:
    """A timer that stands still: replays must not depend on the machine's speed."""
    return 0.0


class InlineDesigner:
    """The optimizer in this process; `study.max_fit_evaluations` is its only limit."""

    def __init__(self, timer: Callable[[], float] = no_time) -> None:
        self._timer = timer

    async def suggest(self, study: Study) -> Proposal:
        from trimtab.optimize import designer

        return designer.suggest(study, self._timer)

    async def recommend(self, study: Study) -> Recommended | NoAnswer:
        from trimtab.optimize import designer

        return designer.recommend(study)


class ProcessDesigner:
    """The optimizer in one worker process.

    Use as an async context manager, or call `start` and `close`. Calls are served one after the other; each has
    `deadline` seconds from the moment when the worker turns to it. A lost worker is replaced in the background.
    """

    def __init__(self, deadline: float = DEADLINE_SECONDS, start_timeout: float = START_SECONDS) -> None:
        self._deadline = deadline
        self._start_timeout = start_timeout
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._respawn: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The worker's process id, None while there is none."""
        return None if self._process is None else self._process.pid

    async def __aenter__(self) -> ProcessDesigner:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Start and warm up the worker; a worker that does not start is logged, and calls fall back."""
        async with self._turn:
            await self._try_spawn()

    async def close(self) -> None:
        """Stop the worker and wait until it is gone. Idempotent."""
        self._closed = True
        if self._respawn is not None:
            self._respawn.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._respawn
        async with self._turn:
            await self._kill()

    async def suggest(self, study: Study) -> Proposal:
        """See the port. When the worker is lost: a space-filling suggestion, noted in `diagnostics.fallback`."""
        try:
            found = await self._call("suggest", study)
        except WorkerLost as lost:
            return without_model(study, str(lost))
        return found if isinstance(found, Proposal) else without_model(study, "the worker's answer was not a Proposal")

    async def recommend(self, study: Study) -> Recommended | NoAnswer:
        """See the port. When the worker is lost, nothing is known of the answer."""
        try:
            found = await self._call("recommend", study)
        except WorkerLost as lost:
            return NoAnswer(str(lost))
        if isinstance(found, Recommended | NoAnswer):
            return found
        return NoAnswer("the worker's answer was not a Recommended")

    async def _call(self, name: str, study: Study) -> object:
        async with self._turn:
            if self._process is None or self._process.returncode is not None:
                await self._kill()
                await self._try_spawn()
            process = self._process
            if process is None:
                raise WorkerLost("the fitting worker did not start")
            try:
                return await asyncio.wait_for(_exchange(process, (name, study)), self._deadline)
            except TimeoutError:
                problem = f"no answer to {name} within {self._deadline:g} s: the fitting worker was replaced"
            except (OSError, EOFError, asyncio.IncompleteReadError, pickle.UnpicklingError) as error:
                problem = f"the fitting worker died during {name} ({type(error).__name__}) and was replaced"
            except BaseException:  # cancelled: its answer would be taken for the next call's
                await self._kill()
                raise
            log.warning("fitting worker lost", problem=problem, pid=process.pid)
            await self._kill()
        if not self._closed:
            self._respawn = asyncio.create_task(self.start())
        raise WorkerLost(problem)

    async def _try_spawn(self) -> None:
        if self._closed or (self._process is not None and self._process.returncode is None):
            return
        try:
            self._process = await asyncio.wait_for(self._spawn(), self._start_timeout)
        except (OSError, EOFError, TimeoutError, asyncio.IncompleteReadError, pickle.UnpicklingError) as error:
            log.error("fitting worker does not start", error=f"{type(error).__name__}: {error}")
            await self._kill()

    async def _spawn(self) -> asyncio.subprocess.Process:
        environment = os.environ | dict.fromkeys(_THREADS, "1")
        environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "trimtab.optimize.worker",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment,
        )  # fmt: skip
        if await _receive(self._process) != READY:
            raise EOFError("the worker's first frame is not `ready`")
        return self._process

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if process.stdout is not None:
            await process.stdout.read()  # to its end, so that the transport closes with the process


async def _exchange(process: asyncio.subprocess.Process, call: tuple[str, Any]) -> object:
    assert process.stdin is not None
    process.stdin.write(pack(call))
    await process.stdin.drain()
    return await _receive(process)


async def _receive(process: asyncio.subprocess.Process) -> object:
    assert process.stdout is not None
    (size,) = HEADER.unpack(await process.stdout.readexactly(HEADER.size))
    return pickle.loads(await process.stdout.readexactly(size))
