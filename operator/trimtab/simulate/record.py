"""The past of a simulated world with what a simulation alone can know: who sent which write, and which fault struck."""

from __future__ import annotations

from dataclasses import dataclass, field

from trimtab.domain.study import Study
from trimtab.simulate.faults.catalogue import Row
from trimtab.simulate.faults.kinds import FaultKind, Moment
from trimtab.simulate.faults.plan import Fault
from trimtab.simulate.history import Change


@dataclass(frozen=True)
class Deed:
    """A write that an operator process sent: when, after which version, and what."""

    at: float
    version: int
    process: str
    verb: str  # create | update | delete
    kind: str  # plural
    namespace: str
    name: str
    subresource: str = ""

    def __str__(self) -> str:
        where = f"/{self.subresource}" if self.subresource else ""
        return f"{self.process}: {self.verb} {self.kind}{where} {self.name}"


@dataclass
class Strike:
    """A fault that struck: when (unix seconds), at which moment of which Experiment's life, and until when."""

    fault: Fault
    at: float
    moment: Moment
    until: float | None = None  # None while it lasts
    process: str = ""  # the only operator process that it concerns

    @property
    def kind(self) -> FaultKind:
        return self.fault.kind

    @property
    def row(self) -> Row:
        return self.fault.row

    @property
    def hinders(self) -> bool:
        """The operator or its way to the API server is impaired."""
        return self.row.hinders or bool(self.fault.parameters.get("operatorAbsent"))


@dataclass(frozen=True)
class Asked:
    """A study that an operator asked its Designer about."""

    at: float
    version: int
    study: Study


@dataclass
class Record:
    """Everything that the invariants are checked on.

    `hands` are the resource versions of changes that people or other tools made to what is theirs; `limits` are, per
    Trial uid, the bad events that its canary may cause, and `caused` those that it did, by the truth of a simulation.
    `stood_still` is when the cluster's own controllers did nothing (from and until, in unix seconds). `reaping`:
    `trimtab reap` ran each minute, so its promises are checked, too. `cut_short`: whoever told the story left it before
    the Experiment's own time was over, so nobody promised that it would have ended.
    """

    changes: list[Change] = field(default_factory=list)
    deeds: list[Deed] = field(default_factory=list)
    strikes: list[Strike] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    hands: set[int] = field(default_factory=set)
    stood_still: list[tuple[float, float]] = field(default_factory=list)
    ended: float | None = None
    reaping: bool = False
    cut_short: bool = False

    @property
    def end(self) -> float:
        """When the record ends (unix seconds)."""
        return self.ended if self.ended is not None else max((c.at for c in self.changes), default=0.0)


__all__ = ["Asked", "Deed", "Record", "Strike"]
