"""How many queries may be asked in a minute for each live trial, and a count of all that are asked.

No trial may ask more than the limit, and its Experiment, whose questions about the target come on top, no more than the
limit for each of its trials that asked within the minute, or once without any. Of both the reconciler may use half, the
safety loop whatever is left: so at least the other half is the safety loop's, whatever the reconciler does. A query
over the limit is not sent; its reading says so, and a trial that cannot be watched any more is withdrawn as one that is
blind.

A store that hangs holds the passes that ask it, and there are few workers for all Experiments. So the reconciler leaves
a store alone for a moment that did not answer several times in a row. The safety loop, which has a task for each trial,
always asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from enum import StrEnum
from typing import TypeVar

from trimtab.adapters.series_store import QueryFailed, SeriesStore, StoreSilent, StoreUnavailable
from trimtab.domain.measurement import NotAsked, TelemetryError
from trimtab.ports import Account
from trimtab.slo.series import Series

T = TypeVar("T")
MINUTE = 60.0
QUERY_LIMIT = 1200
RECONCILER_SHARE = 0.5
SILENCES = 3  # time-outs in a row, without an answer in between
ALONE_SECONDS = 5.0

_ACCOUNT: contextvars.ContextVar[Account | None] = contextvars.ContextVar("account", default=None)


class Loop(StrEnum):
    """Who asks."""

    RECONCILE = "reconcile"
    SAFETY = "safety"


class Asked(StrEnum):
    """What became of a query."""

    ANSWERED = "answered"
    FAILED = "failed"
    REFUSED = "refused"
    SKIPPED = "skipped"


OnQuery = Callable[[str, Loop, Asked, float], None]
"""Told of each query: the store's name, who asked, what became of it, seconds that it took."""


class OverLimit(StoreUnavailable):
    """It was not sent, as the trial's or the Experiment's queries of this minute are used up."""


def absence_of(error: QueryFailed) -> TelemetryError:
    """The reading that a failed query leaves behind."""
    return NotAsked(str(error)) if isinstance(error, OverLimit) else TelemetryError(str(error))


@contextlib.contextmanager
def on_account(account: Account | None) -> Iterator[None]:
    """Queries that are asked within, also by tasks that begin within, count for this one; None for nobody."""
    token = _ACCOUNT.set(account)
    try:
        yield
    finally:
        _ACCOUNT.reset(token)


_Times = dict[tuple[str, Loop], deque[float]]
"""When (monotonic seconds) an Experiment asked within the last minute, by uid of the trial and loop; none is empty."""


class QueryLimiter:
    """One for the process: both loops and all stores count together.

    Args:
        per_minute: queries within any 60 s, for each trial.
    """

    def __init__(self, per_minute: int = QUERY_LIMIT, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._monotonic = per_minute, monotonic
        self._asked: dict[str, _Times] = {}  # by uid of the Experiment

    def take(self, account: Account | None, loop: Loop) -> None:
        """Count one query, if there is room for it. Without an account nothing is limited.

        Raises:
            OverLimit: says how many may be asked.
        """
        if account is None:
            return
        now = self._monotonic()
        self._forget(now - MINUTE)
        asked = self._asked.setdefault(account.experiment, {})
        trials = {trial for trial, _ in asked} | {account.trial}
        own = {each: len(asked.get((account.trial, each), ())) for each in Loop}
        every = {each: sum(len(times) for (_, who), times in asked.items() if who is each) for each in Loop}
        of_all = self._limit * max(len(trials - {""}), 1)
        if not (_room(own, self._limit, loop) and _room(every, of_all, loop)):
            raise OverLimit(  # the same words each time: a status that changes is looked at again
                f"not asked: the {self._limit} queries that this Experiment may ask in a minute for each live trial, "
                f"{_share(self._limit, loop)} of them in the {loop} loop, are used up"
            )
        asked.setdefault((account.trial, loop), deque()).append(now)

    def _forget(self, since: float) -> None:
        """Drop what is older than a minute, and who asked nothing since: Experiments come and go for years."""
        for experiment, asked in list(self._asked.items()):
            for who, times in list(asked.items()):
                while times and times[0] <= since:
                    times.popleft()
                if not times:
                    del asked[who]
            if not asked:
                del self._asked[experiment]


def _share(limit: int, loop: Loop) -> int:
    return limit if loop is Loop.SAFETY else int(limit * RECONCILER_SHARE)


def _room(asked: Mapping[Loop, int], limit: int, loop: Loop) -> bool:
    return asked[loop] < _share(limit, loop) and sum(asked.values()) < limit


class Patience:
    """Whether a store that hung is asked again: after some time-outs in a row by one query each few seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._silences, self._until, self._trying = 0, 0.0, False

    def begin(self) -> None:
        """Before a query.

        Raises:
            StoreUnavailable: it is left alone.
        """
        if self._silences < SILENCES:
            return
        if self._trying or self._monotonic() < self._until:
            raise StoreUnavailable("left alone for a moment, as it does not answer")
        self._trying = True

    def end(self, *, silent: bool) -> None:
        """After a query that was sent: was there an answer, whatever it was?"""
        self._trying = False
        self._silences = self._silences + 1 if silent else 0
        self._until = self._monotonic() + ALONE_SECONDS


class MeteredStore:
    """A store whose queries are counted, and not sent over the limit, or for the reconciler while the store hangs."""

    def __init__(
        self,
        store: SeriesStore,
        name: str,
        loop: Loop,
        limiter: QueryLimiter,
        on_query: OnQuery,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._name, self._loop = store, name, loop
        self._limiter, self._on_query, self._monotonic = limiter, on_query, monotonic
        self._patience = Patience(monotonic) if loop is Loop.RECONCILE else None

    async def matrix(self, expression: str, at: float, timeout: float) -> tuple[Series, ...]:
        """See the protocol."""
        return await self._metered(lambda: self._store.matrix(expression, at, timeout))

    async def vector(self, expression: str, at: float, timeout: float) -> tuple[Series, ...]:
        """See the protocol."""
        return await self._metered(lambda: self._store.vector(expression, at, timeout))

    async def range(self, expression: str, start: float, end: float, step: float, timeout: float) -> tuple[Series, ...]:
        """See the protocol."""
        return await self._metered(lambda: self._store.range(expression, start, end, step, timeout))

    async def _metered(self, ask: Callable[[], Awaitable[T]]) -> T:
        begun, outcome = self._monotonic(), Asked.REFUSED
        try:
            self._limiter.take(_ACCOUNT.get(), self._loop)
            outcome = Asked.SKIPPED
            if self._patience is not None:
                self._patience.begin()
            outcome = Asked.FAILED
            found = await self._sent(ask)
            outcome = Asked.ANSWERED
            return found
        finally:
            self._on_query(self._name, self._loop, outcome, self._monotonic() - begun)

    async def _sent(self, ask: Callable[[], Awaitable[T]]) -> T:
        silent = False
        try:
            return await ask()
        except (StoreSilent, asyncio.CancelledError):  # whoever asked gave up
            silent = True
            raise
        finally:
            if self._patience is not None:
                self._patience.end(silent=silent)


__all__ = [
    "QUERY_LIMIT",
    "Asked",
    "Loop",
    "MeteredStore",
    "OnQuery",
    "OverLimit",
    "QueryLimiter",
    "absence_of",
    "on_account",
]
