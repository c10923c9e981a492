"""How many queries one Experiment may ask in a minute, and a count of all that are asked.

An Experiment has at most one live trial, so its queries are that trial's. The reconciler may use half of the limit, the
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
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from trimtab.adapters.series_store import QueryFailed, SeriesStore, StoreSilent, StoreUnavailable
from trimtab.domain.measurement import NotAsked, TelemetryError
from trimtab.slo.series import Series

T = TypeVar("T")
MINUTE = 60.0
QUERY_LIMIT = 1200
RECONCILER_SHARE = 0.5
SILENCES = 3  # time-outs in a row, without an answer in between
ALONE_SECONDS = 5.0

_ACCOUNT: contextvars.ContextVar[str] = contextvars.ContextVar("account", default="")


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
    """It was not sent, as the Experiment's queries of this minute are used up."""


def absence_of(error: QueryFailed) -> TelemetryError:
    """The reading that a failed query leaves behind."""
    return NotAsked(str(error)) if isinstance(error, OverLimit) else TelemetryError(str(error))


@contextlib.contextmanager
def on_account(account: str) -> Iterator[None]:
    """Queries that are asked within, also by tasks that begin within, count for this Experiment; "" for none."""
    token = _ACCOUNT.set(account)
    try:
        yield
    finally:
        _ACCOUNT.reset(token)


@dataclass
class _Account:
    """Times (monotonic seconds) of the queries of the last minute."""

    times: dict[Loop, deque[float]] = field(default_factory=lambda: {loop: deque() for loop in Loop})

    def count(self, loop: Loop, since: float) -> int:
        times = self.times[loop]
        while times and times[0] <= since:
            times.popleft()
        return len(times)


class QueryLimiter:
    """One for the process: both loops and all stores count together.

    Args:
        per_minute: queries of one Experiment within any 60 s.
    """

    def __init__(self, per_minute: int = QUERY_LIMIT, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._monotonic = per_minute, monotonic
        self._accounts: dict[str, _Account] = {}

    def take(self, account: str, loop: Loop) -> None:
        """Count one query, if there is room for it. Without an account nothing is limited.

        Raises:
            OverLimit: says how many may be asked.
        """
        if not account:
            return
        now = self._monotonic()
        self._forget(now - MINUTE)
        own = self._accounts.get(account)
        if own is None:
            own = self._accounts[account] = _Account()
        asked = {each: own.count(each, now - MINUTE) for each in Loop}
        share = self._limit if loop is Loop.SAFETY else int(self._limit * RECONCILER_SHARE)
        if asked[loop] >= share or sum(asked.values()) >= self._limit:
            raise OverLimit(  # the same words each time: a status that changes is looked at again
                f"not asked: the {self._limit} queries that this Experiment may ask in a minute, {share} of them in "
                f"the {loop} loop, are used up"
            )
        own.times[loop].append(now)

    def _forget(self, since: float) -> None:
        """Drop accounts that asked nothing within the last minute: Experiments come and go for years."""
        idle = [a for a, own in self._accounts.items() if not any(own.count(each, since) for each in Loop)]
        for account in idle:
            del self._accounts[account]


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
