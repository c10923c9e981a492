"""A process that goes on twice from where it is, and hears from its double how that one ended.

What a world needs to go on is in its process: its loop runs in virtual time, starts no thread, waits for no file and
writes none. So a fork in the middle of a callback is a whole second world, which does exactly what the first would do,
and neither can see the other. The one thing to mend in the child is asyncio's note of which loop runs: it holds for one
process only. Libraries with threads of their own must have been told to use none (`OPENBLAS_NUM_THREADS=1`).
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar, cast

A = TypeVar("A")
HUNG_SECONDS = 300.0  # of CPU: a process that has used so much by itself, without its children, is killed


@dataclass(frozen=True)
class Lost:
    """A process that ended without an answer, and how."""

    how: str


class Forks(Generic[A]):
    """The forks of a process and of its children; each answers to whoever forked it, before it ends."""

    def __init__(self) -> None:
        self._to: int | None = None  # where this process answers; None: nobody forked it

    def ask(self, tell: Callable[[], A]) -> A | Lost:
        """What `tell` returns in a process of its own; children that it forks end where it does."""
        answer = self.fork()
        if answer is not None:
            return answer
        try:
            self.answer(tell())
        except BaseException:
            traceback.print_exc()
        finally:  # never back into the code of whoever asked
            os._exit(1)

    def fork(self) -> A | Lost | None:
        """Go on twice: in the child with None, in this process with the child's answer, as soon as the child ended."""
        loop = asyncio._get_running_loop()
        reader, writer = os.pipe()
        gc.freeze()  # what was there is not looked through again, so its memory stays shared
        child = os.fork()
        if child == 0:
            os.close(reader)
            if self._to is not None:
                os.close(self._to)
            self._to = writer
            signal.setitimer(signal.ITIMER_PROF, HUNG_SECONDS)
            asyncio._set_running_loop(loop)
            return None
        os.close(writer)
        with open(reader, "rb") as pipe:
            answer = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return cast(A, pickle.loads(answer)) if code == 0 else Lost(_how(code))

    def answer(self, value: A) -> NoReturn:
        """Answer, and end this process at once: nothing is cleaned up."""
        assert self._to is not None, "only a child answers"
        with open(self._to, "wb") as pipe:
            pipe.write(pickle.dumps(value))
        os._exit(0)


def _how(code: int) -> str:
    if code == -signal.SIGPROF:
        return f"hung: killed after {HUNG_SECONDS:g} s of CPU"
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


__all__ = ["HUNG_SECONDS", "Forks", "Lost"]
