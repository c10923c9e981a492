"""Leadership by a Lease: own code, because the library's election does not fence.

A leader trusts only its monotonic clock: it leads until `renew_deadline` after the START of its last successful
renewal. A candidate takes over only when it has seen the same record, by its own monotonic clock, for a whole
`duration`. Nobody compares wall clocks. Every failure of a renewal, of whatever kind, is just a renewal that did not
happen. A Lease still does not fence by itself, so every write also carries a resourceVersion, and `check` is asked
before each effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from trimtab.api.times import zulu
from trimtab.domain.errors import AlreadyExists, LeadershipLost, NotFound, RetryLater
from trimtab.domain.kinds import LEASES
from trimtab.ports import Clock, Cluster

MOST_TRANSITIONS = 2**31 - 1  # of a Lease: an int32


@dataclass(frozen=True)
class LeaseTiming:
    """Seconds. `renew_deadline` stays well under `duration`: between the two nobody leads."""

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0
    request_timeout: float = 3.0

    @classmethod
    def of_duration(cls, duration: float) -> LeaseTiming:
        """The usual proportions for another duration."""
        return cls(duration, duration * 2 / 3, duration / 7.5, min(3.0, duration / 5))


@dataclass(frozen=True)
class Stamp:
    """Who leads, and how often the Lease had changed hands by then; written as `identity/transitions`."""

    identity: str
    transitions: int

    @classmethod
    def parse(cls, text: str) -> Stamp:
        """From a Trial; what no Lease can have counted is of no leader, before all others."""
        identity, _, digits = text.rpartition("/")
        counted = digits.isascii() and digits.isdecimal() and len(digits) <= len(str(MOST_TRANSITIONS))
        transitions = int(digits) if counted else -1
        return cls(identity, transitions) if 0 <= transitions < MOST_TRANSITIONS else cls(text, -1)

    def __str__(self) -> str:
        return f"{self.identity}/{self.transitions}"


@dataclass(frozen=True)
class Heartbeat:
    """The safety loop's pulse: `age` in seconds, and the age from which on a leader no longer renews."""

    age: Callable[[], float]
    limit: Callable[[], float]


def unique_identity() -> str:
    """Host name and a random part: a restarted pod of the same name is another operator."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


def micro_time(unix: float) -> str:
    """A `metav1.MicroTime`, in UTC."""
    return zulu(datetime.fromtimestamp(unix, UTC), "microseconds")


class Elector:
    """One candidate for leadership.

    Ask `leading` or `check` before each effect; `run` does the rest. `on_lost` is called once, with the reason, and the
    process is expected to end: what it has in memory may be stale.
    """

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        *,
        namespace: str,
        name: str,
        identity: str,
        timing: LeaseTiming | None = None,
        heartbeat: Heartbeat | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._cluster, self._clock = cluster, clock
        self._namespace, self._name = namespace, name
        self.identity = identity
        self.timing = timing or LeaseTiming()
        self._heartbeat = heartbeat
        self._rng = rng or random.Random()
        self._record: dict[str, Any] | None = None  # the Lease as last read or written
        self._seen: tuple[object, ...] = ()  # what of it must change for its holder to be alive
        self._seen_at = 0.0
        self._renewed_at: float | None = None
        self._attempting = asyncio.Lock()
        self._stopping: asyncio.Future[Any]  # while it runs: one waits for `stop`, not one a renewal
        self.transitions = 0
        self.holder = ""
        self.last_failure = ""

    @property
    def leading(self) -> bool:
        """May this process write now? Turns False by itself, even when nothing could run for a while."""
        return self._renewed_at is not None and self._left() > 0

    def check(self) -> None:
        """Make sure that this process may write.

        Raises:
            LeadershipLost: it may not.
        """
        if not self.leading:
            raise LeadershipLost(f"not the leader ({self.last_failure or 'lease not held'})")

    def stamp(self) -> str:
        """What a Trial says of the leader that may make its arms."""
        return str(Stamp(self.identity, self.transitions))

    async def confirm(self, stamp: str) -> None:
        """Make sure that this process leads although a Trial may carry a later leader's stamp: only the Lease can tell.

        Where that says so, it was deleted and began to count anew; this leader then counts on from the stamp.

        Raises:
            LeadershipLost: another process leads.
            RetryLater: the Lease could not be renewed now.
        """
        other = Stamp.parse(stamp)
        if other.identity == self.identity or other.transitions <= self.transitions:
            return
        self._record = None  # so that the Lease is read
        if await self._attempt():
            self.transitions = max(self.transitions, other.transitions + 1)
            return
        self.check()
        why = f"{other.identity} may lead, the Lease does not answer: {self.last_failure}"
        raise RetryLater(self.timing.retry_period, why)

    async def run(self, stop: asyncio.Event, *, on_started: Callable[[], None], on_lost: Callable[[str], None]) -> None:
        """Become the leader, stay it until `stop` or the loss, release."""
        self._stopping = asyncio.ensure_future(stop.wait())
        try:
            if not await self._acquire(stop):
                return
            on_started()
            try:
                await self._hold(stop)
            except LeadershipLost as error:
                self._renewed_at = None
                on_lost(str(error))
                return
            await self.release()
        finally:
            self._stopping.cancel()

    async def release(self) -> None:
        """Let the next candidate start at once; failing to is harmless, it then waits for the duration."""
        if not self.leading:
            self._renewed_at = None
            return
        self._renewed_at = None
        record = self._record or {}
        spec = dict(record.get("spec") or {}) | {
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "renewTime": micro_time(self._clock.now()),
        }
        with contextlib.suppress(Exception):
            async with asyncio.timeout(self.timing.request_timeout):
                await self._cluster.replace(LEASES, self._namespace, self._name, record | {"spec": spec})

    async def _acquire(self, stop: asyncio.Event) -> bool:
        while not stop.is_set():
            if await self._attempt():
                return True
            if await self._pause(self.timing.retry_period * (1 + 0.2 * self._rng.random()), stop):
                break
        return False

    async def _hold(self, stop: asyncio.Event) -> None:
        while not await self._pause(min(self.timing.retry_period, self._left()), stop):
            stale = self._stale_heartbeat()
            if stale:
                self.last_failure = stale
            else:
                await self._attempt()
            if self._renewed_at is None or self._left() <= 0:
                raise LeadershipLost(f"lease {self._namespace}/{self._name} lost: {self.last_failure}")

    def _left(self) -> float:
        """Seconds of leadership left if no renewal succeeds any more."""
        if self._renewed_at is None:
            return 0.0
        return self._renewed_at + self.timing.renew_deadline - self._clock.monotonic()

    def _stale_heartbeat(self) -> str:
        if self._heartbeat is None:
            return ""
        age, limit = self._heartbeat.age(), self._heartbeat.limit()
        return f"safety loop silent for {age:.1f} s (limit {limit:.1f} s)" if age > limit else ""

    async def _pause(self, seconds: float, stop: asyncio.Event) -> bool:
        """Wait for this long or for `stop`; True when it is time to stop."""
        sleeping = asyncio.ensure_future(self._clock.sleep(max(0.0, seconds)))
        try:
            await asyncio.wait((sleeping, self._stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
        return stop.is_set()

    async def _attempt(self) -> bool:
        """Try once to get or keep the Lease; any failure only says why."""
        async with self._attempting:
            return await self._attempt_alone()

    async def _attempt_alone(self) -> bool:
        started = self._clock.monotonic()
        limit = self.timing.request_timeout
        if self._renewed_at is not None:
            limit = max(0.0, min(limit, self._left()))
        try:
            async with asyncio.timeout(limit):
                held = await self._get_or_keep()
        except TimeoutError:
            self.last_failure = f"no answer within {limit:.1f} s"
            self._record = None
            return False
        except Exception as error:
            self.last_failure = f"{type(error).__name__}: {error}"
            self._record = None
            return False
        if held:
            self._renewed_at, self.last_failure = started, ""
        return held

    async def _get_or_keep(self) -> bool:
        if self._record is None or self._renewed_at is None:
            try:
                self._record = dict(await self._cluster.get(LEASES, self._namespace, self._name))
            except NotFound:
                return await self._create()
        if not self._may_take(self._record):
            return False
        spec = self._spec(self._record)
        body = self._record | {"spec": spec}
        self._accept(await self._cluster.replace(LEASES, self._namespace, self._name, body))
        return True

    async def _create(self) -> bool:
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.name,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._spec({}),
        }
        try:
            self._accept(await self._cluster.create(LEASES, self._namespace, body))
        except AlreadyExists:
            self.last_failure = "another candidate was faster"
            return False
        return True

    def _may_take(self, record: Mapping[str, Any]) -> bool:
        spec = record.get("spec") or {}
        self.holder = str(spec.get("holderIdentity") or "")
        if self.holder in ("", self.identity):
            return True
        if self._renewed_at is not None:
            self._renewed_at = None
            self.last_failure = f"taken over by {self.holder}"
            return False
        now = self._clock.monotonic()
        seen = (self.holder, spec.get("renewTime"), (record.get("metadata") or {}).get("resourceVersion"))
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        duration = max(self.timing.duration, float(spec.get("leaseDurationSeconds") or 0))
        self.last_failure = f"held by {self.holder}"
        return now - self._seen_at >= duration

    def _spec(self, record: Mapping[str, Any]) -> dict[str, Any]:
        old = record.get("spec") or {}
        now = micro_time(self._clock.now())
        mine = old.get("holderIdentity") == self.identity
        transitions = int(old.get("leaseTransitions") or 0)
        return dict(old) | {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self.timing.duration)),
            "acquireTime": old.get("acquireTime") or now if mine else now,
            "renewTime": now,
            "leaseTransitions": max(self.transitions, transitions if mine or not old else transitions + 1),
        }

    def _accept(self, record: Mapping[str, Any]) -> None:
        self._record = dict(record)
        spec = self._record["spec"]
        self.holder = str(spec["holderIdentity"])
        self.transitions = int(spec.get("leaseTransitions") or 0)


__all__ = ["Elector", "Heartbeat", "LeaseTiming", "micro_time", "unique_identity"]
