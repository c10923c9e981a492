"""The faults that act now, as the faulty ports ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trimtab.simulate.faults.kinds import FaultKind
from trimtab.simulate.faults.plan import Fault


@dataclass(frozen=True, eq=False)
class Acting:
    """One fault since it struck. `process` names the only operator process that it concerns, "" all of them."""

    fault: Fault
    since: float
    process: str = ""


class ActingFaults:
    """Faults come and go; nothing else is kept."""

    def __init__(self) -> None:
        self._all: list[Acting] = []

    def add(self, acting: Acting) -> None:
        self._all.append(acting)

    def remove(self, acting: Acting) -> None:
        self._all.remove(acting)

    @property
    def none(self) -> bool:
        """Whether nothing acts, as nearly always."""
        return not self._all

    def of(self, *kinds: FaultKind, process: str = "") -> Iterator[Acting]:
        """Those of these kinds that concern a process, in the order in which they struck."""
        for each in tuple(self._all):
            if each.fault.kind in kinds and each.process in ("", process):
                yield each

    def first(self, *kinds: FaultKind, process: str = "") -> Fault | None:
        """The first of them."""
        if not self._all:  # as nearly always, and everybody asks before everything
            return None
        return next((each.fault for each in self.of(*kinds, process=process)), None)


__all__ = ["Acting", "ActingFaults"]
