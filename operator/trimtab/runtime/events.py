"""Kubernetes Events: what happened to an Experiment, with the values and the thresholds that decided it.

Events are for people and may get lost; the ledger never depends on them. So recording never blocks and never fails: it
queues, a task of its own posts. The same text again within ten minutes becomes one Event with a count, and one object
cannot flood the server. What is lost is logged and counted. Rights to get, create and update are needed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import structlog

from trimtab.domain.errors import AlreadyExists, ApiError, Conflict, NotFound
from trimtab.domain.kinds import EVENTS, EXPERIMENTS, TRIALS, Kind
from trimtab.domain.kube import Manifest
from trimtab.domain.names import ANNOTATION_OWNER
from trimtab.domain.trial import Trial
from trimtab.ports import Clock, Cluster, ExperimentRecord
from trimtab.runtime.lease import micro_time

log = structlog.get_logger(__name__)

SERIES_SECONDS = 600.0
REFRESH_SECONDS = 30.0
QUEUE_LENGTH = 1000
REMEMBERED = 2000
BURST = 25.0
RESERVE = 10.0  # of the burst, for warnings alone
REFILL_PER_SECOND = 1 / 2
NOTE_BYTES = 1024


class EventType(StrEnum):
    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True)
class Subject:
    """The object that an Event is about."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    resource_version: str = ""


@dataclass
class _Series:
    """One Event in the cluster and how often it happened; `stored` is None until the server has answered."""

    name: str
    posted: float
    last: float
    count: int = 1
    stored: dict[str, Any] | None = None


@dataclass
class _Bucket:
    tokens: float
    at: float


@dataclass(frozen=True)
class _Entry:
    subject: Subject
    type: EventType
    reason: str
    note: str
    action: str
    related: Subject | None
    at: float
    moment: float = field(compare=False)
    owner: str = ""

    @property
    def identity(self) -> tuple[str, ...]:
        return (self.subject.uid, self.type, self.reason, self.note, self.action)


class EventRecorder:
    """Record from anywhere; run `run` as one task, and `flush` before the process ends."""

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        *,
        instance: str,
        controller: str = "trimtab.dev/operator",
        on_dropped: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`on_dropped` is told of each Event that is lost: `TooMany`, `QueueFull`, or the error's name."""
        self._cluster, self._clock, self._on_dropped = cluster, clock, on_dropped
        self._controller, self._instance = controller, instance[:128]
        self._queue: deque[_Entry] = deque(maxlen=QUEUE_LENGTH)
        self._filled = asyncio.Event()
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._owners: OrderedDict[str, str] = OrderedDict()  # by uid, as last read

    def keep_only(self, experiment_uids: Set[str]) -> None:
        """Forget what was told of Experiments that are gone."""
        for identity in [identity for identity in self._series if identity[0] not in experiment_uids]:
            del self._series[identity]
        for known in (self._buckets, self._owners):
            for uid in known.keys() - experiment_uids:
                del known[uid]

    async def emit(
        self, experiment: ExperimentRecord, severity: str, reason: str, message: str, trial: Trial | None = None
    ) -> None:
        """Tell something about an Experiment, and the Trial that it is about; only queues. Its owner is remembered, for
        Events about it that come when its spec cannot be read."""
        subject = Subject(
            EXPERIMENTS, experiment.namespace, experiment.name, experiment.uid, experiment.resource_version
        )
        related = None
        if experiment.spec is not None:
            self._owners[experiment.uid] = experiment.spec.owner
            self._owners.move_to_end(experiment.uid)
            if len(self._owners) > REMEMBERED:
                self._owners.popitem(last=False)
        if trial is not None:
            related = Subject(TRIALS, trial.namespace, trial.name, trial.uid, trial.resource_version)
        self.record(subject, EventType(severity), reason, message, related=related)

    def record(
        self,
        subject: Subject,
        kind: EventType,
        reason: str,
        note: str,
        *,
        action: str = "Reconcile",
        related: Subject | None = None,
    ) -> None:
        """Queue one Event."""
        now = self._clock.monotonic()
        owner = self._owners.get(subject.uid, "")
        entry = _Entry(subject, kind, reason[:128], _cut(note), action[:128], related, self._clock.now(), now, owner)
        if not self._allowed(subject.uid, kind, now):
            self._drop(entry, "TooMany")
            return
        if len(self._queue) == self._queue.maxlen:
            self._drop(self._queue.popleft(), "QueueFull")
        self._queue.append(entry)
        self._filled.set()

    @property
    def waiting(self) -> int:
        """How many are queued."""
        return len(self._queue)

    async def run(self) -> None:
        """Post what is queued until cancelled."""
        while True:
            await self._filled.wait()
            await self.flush()

    async def flush(self) -> None:
        """Post what is queued now."""
        self._filled.clear()
        while self._queue:
            entry = self._queue.popleft()
            try:
                await self._post(entry)
            except ApiError as error:
                self._drop(entry, type(error).__name__, str(error))

    def _drop(self, entry: _Entry, why: str, error: str = "") -> None:
        """Its words stay in the log."""
        self._on_dropped(why)
        about = f"{entry.subject.namespace}/{entry.subject.name}"
        log.warning("event.dropped", why=why, error=error, about=about, reason=entry.reason, note=entry.note)

    def _allowed(self, uid: str, kind: EventType, now: float) -> bool:
        """What went as planned never takes the place of a warning."""
        bucket = self._buckets.setdefault(uid, _Bucket(BURST, now))
        self._buckets.move_to_end(uid)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.at) * REFILL_PER_SECOND)
        bucket.at = now
        if bucket.tokens < 1.0 + (RESERVE if kind is EventType.NORMAL else 0.0):
            return False
        bucket.tokens -= 1.0
        return True

    async def _post(self, entry: _Entry) -> None:
        series = self._series.get(entry.identity)
        if series is None or entry.moment - series.last > SERIES_SECONDS:
            await self._create(entry, self._begun(entry))
            return
        series.count += 1
        series.last = entry.moment
        if series.stored is None:  # the first POST failed, or its answer was lost
            await self._create(entry, series)
        elif entry.moment - series.posted >= REFRESH_SECONDS or series.count == 2:
            await self._update(entry, series)

    def _begun(self, entry: _Entry) -> _Series:
        series = _Series(_event_name(entry), entry.moment, entry.moment)
        self._series[entry.identity] = series
        self._series.move_to_end(entry.identity)
        if len(self._series) > REMEMBERED:
            self._series.popitem(last=False)
        return series

    async def _create(self, entry: _Entry, series: _Series) -> None:
        series.posted = entry.moment
        namespace = entry.subject.namespace
        try:
            series.stored = dict(await self._cluster.create(EVENTS, namespace, self._body(entry, series)))
        except AlreadyExists:
            series.stored = dict(await self._cluster.get(EVENTS, namespace, series.name))

    async def _update(self, entry: _Entry, series: _Series) -> None:
        """Write the count. Whose last answer was lost knows an old version: it is read again, once."""
        series.posted = entry.moment
        try:
            try:
                await self._replace(entry, series)
            except Conflict:
                series.stored = dict(await self._cluster.get(EVENTS, entry.subject.namespace, series.name))
                await self._replace(entry, series)
        except NotFound:  # Events expire after an hour
            await self._create(entry, self._begun(entry))

    async def _replace(self, entry: _Entry, series: _Series) -> None:
        assert series.stored is not None
        body: Manifest = series.stored | {"series": _counted(entry, series)}
        series.stored = dict(await self._cluster.replace(EVENTS, entry.subject.namespace, series.name, body))

    def _body(self, entry: _Entry, series: _Series) -> dict[str, Any]:
        body: dict[str, Any] = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.name,
            "metadata": {"name": series.name, "namespace": entry.subject.namespace} | _owned(entry.owner),
            "eventTime": micro_time(entry.at),
            "reportingController": self._controller,
            "reportingInstance": self._instance,
            "action": entry.action,
            "reason": entry.reason,
            "type": entry.type.value,
            "note": entry.note,
            "regarding": _reference(entry.subject),
        }
        if entry.related is not None:
            body["related"] = _reference(entry.related)
        if series.count > 1:
            body["series"] = _counted(entry, series)
        return body


def _counted(entry: _Entry, series: _Series) -> Mapping[str, Any]:
    return {"count": series.count, "lastObservedTime": micro_time(entry.at)}


def _owned(owner: str) -> dict[str, Any]:
    """Where tools that route Events look for whose one is."""
    return {"annotations": {ANNOTATION_OWNER: owner}} if owner else {}


def _reference(subject: Subject) -> Mapping[str, str]:
    reference = {
        "apiVersion": subject.kind.api_version,
        "kind": subject.kind.name,
        "namespace": subject.namespace,
        "name": subject.name,
        "uid": subject.uid,
    }
    return reference | ({"resourceVersion": subject.resource_version} if subject.resource_version else {})


def _event_name(entry: _Entry) -> str:
    """Unique by content and first time: a POST that is repeated because its answer was lost finds the first one."""
    digest = hashlib.sha256("\0".join((*entry.identity, f"{entry.at:.6f}")).encode()).hexdigest()[:16]
    return f"{entry.subject.name[:200].rstrip('-.')}.{digest}"


def _cut(note: str) -> str:
    """At most 1024 bytes, as the server demands."""
    raw = note.encode()
    return note if len(raw) <= NOTE_BYTES else raw[: NOTE_BYTES - 3].decode(errors="ignore") + "…"


__all__ = ["EventRecorder", "EventType", "Subject"]
