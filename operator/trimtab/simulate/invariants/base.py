"""What invariants share: breaches, the times at which a promise about time counts, and conditions that must end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from trimtab.domain.names import FINALIZER
from trimtab.domain.trial import TERMINAL_PHASES
from trimtab.simulate.faults.catalogue import BY_HAND, DELETED, GONE, TEMPLATE
from trimtab.simulate.faults.kinds import FaultKind
from trimtab.simulate.history import Change, View
from trimtab.simulate.record import Record, Strike

SETTLE = 30.0
"""Seconds after a hindrance before promises about time begin: a lease must run out, a standby or restart take over."""

UNSETTLED = 120.0
"""Seconds after a disturbance in which a request that was under way may still arrive."""

ENDED_PHASES = frozenset({"Completed", "Stopped", "Failed"})
TERMINAL = frozenset(phase.value for phase in TERMINAL_PHASES)
_HANDS = frozenset({BY_HAND, GONE, DELETED, TEMPLATE})

Obj = Mapping[str, Any]


@dataclass(frozen=True)
class Breach:
    """A broken invariant: which, when (unix seconds), and what was seen."""

    invariant: str
    at: float
    words: str

    def __str__(self) -> str:
        return f"{self.invariant} at {self.at:.3f}: {self.words}"


class Calm:
    """When nothing hindered the operator, and when nothing had disturbed it for a while. `also`: what hinders it, too,
    in what is promised here."""

    def __init__(self, strikes: Iterable[Strike], end: float, also: frozenset[FaultKind] = frozenset()) -> None:
        self._strikes = tuple(strikes)
        hinder = (s for s in self._strikes if s.hinders or s.kind in also)
        spans = sorted((s.at, (end if s.until is None else s.until) + SETTLE) for s in hinder)
        self._hindered: list[tuple[float, float]] = []
        for begin, until in spans:
            if self._hindered and begin <= self._hindered[-1][1]:
                self._hindered[-1] = (self._hindered[-1][0], max(self._hindered[-1][1], until))
            else:
                self._hindered.append((begin, until))

    def longest(self, since: float, until: float) -> float:
        """Seconds of the longest unhindered stretch within this time."""
        best, at = 0.0, since
        for begin, end in self._hindered:
            if end <= at:
                continue
            if begin >= until:
                break
            best, at = max(best, begin - at), max(at, end)
        return max(best, until - at)

    def disturbed(self, at: float) -> bool:
        """Something that may leave requests under way, or a hand in the operator's own things, was not long ago."""
        return any(
            s.at <= at and (s.until is None or at <= s.until + UNSETTLED)
            for s in self._strikes
            if s.hinders or s.row.survives in _HANDS
        )


class Invariant:
    """One promise, checked along a record: `see` after each change of its `kinds`, `end` once.

    With a `bound` it has conditions (`waits`) that must end within so many seconds.
    """

    kinds: ClassVar[frozenset[str]] = frozenset()
    bound: ClassVar[float] = 0.0

    def __init__(self, record: Record, calm: Calm, view: View) -> None:
        self.record, self.calm, self.view = record, calm, view
        self.breaches: list[Breach] = []
        self.waits = Waits(self)
        self.begin()

    def begin(self) -> None:
        """Before the first change."""

    def see(self, change: Change) -> None:
        """A change; `view` shows what exists after it."""

    def end(self) -> None:
        """The record is over, and with it every condition that still holds."""
        self.waits.end(self.record.end)

    def broken(self, at: float, words: str) -> None:
        """Note a breach; the same is noted once."""
        if not any(b.words == words for b in self.breaches):
            self.breaches.append(Breach(type(self).__name__, at, words))


class Waits:
    """Conditions that may begin but must end: within the bound in seconds during which nothing hinders the operator."""

    def __init__(self, invariant: Invariant) -> None:
        self._invariant, self._bound = invariant, invariant.bound
        self._open: dict[str, tuple[float, str]] = {}

    def update(self, at: float, present: Mapping[str, str]) -> None:
        """The conditions that hold now, each with its words; those that do no more are over."""
        for key in tuple(self._open):
            if key not in present:
                self.close(key, at)
        for key, words in present.items():
            self.open(key, at, words)

    def open(self, key: str, since: float, words: str) -> None:
        """This condition holds since then."""
        self._open.setdefault(key, (since, words))

    def close(self, key: str, at: float) -> None:
        """It is over."""
        found = self._open.pop(key, None)
        if found is None:
            return
        since, words = found
        lasted = self._invariant.calm.longest(since, at) if at > since else 0.0
        if lasted > self._bound:
            self._invariant.broken(at, f"{words} for {lasted:.1f} s, at most {self._bound:g} s")

    def end(self, at: float) -> None:
        """The record is over, and with it every condition."""
        for key in tuple(self._open):
            self.close(key, at)


def phase_of(obj: Obj) -> str:
    """The phase of a Trial or an Experiment."""
    return str((obj.get("status") or {}).get("phase") or "Pending")


def held(obj: Obj) -> bool:
    """Our finalizer is on it."""
    return FINALIZER in (obj["metadata"].get("finalizers") or ())


def parallel_of(experiment: Obj) -> int:
    """How many trials an Experiment allows at a time."""
    return int(((experiment.get("spec") or {}).get("trial") or {}).get("parallel", 1))


def deleting(obj: Obj) -> bool:
    """Its deletion was asked for."""
    return "deletionTimestamp" in obj["metadata"]


def namespace_of(obj: Obj) -> str:
    """Its namespace."""
    return str(obj["metadata"].get("namespace", ""))


def labels_of(obj: Obj) -> Obj:
    """Its labels."""
    found: Obj = obj["metadata"].get("labels") or {}
    return found


def annotations_of(obj: Obj) -> Obj:
    """Its annotations."""
    found: Obj = obj["metadata"].get("annotations") or {}
    return found


def trials_by_uid(view: View) -> dict[str, Obj]:
    """Trials that exist."""
    return {t["metadata"]["uid"]: t for t in view.all("trials").values()}


__all__ = ["Breach", "Calm", "Invariant", "Waits"]
