"""What happened in a cluster, change by change, simulated or real: what invariants are checked against."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from trimtab.domain import kinds
from trimtab.domain.kinds import Kind
from trimtab.domain.names import LABEL_ARM
from trimtab.ports import Clock
from trimtab.simulate.store import WatchEvent

RECORDED: tuple[Kind, ...] = (
    kinds.DEPLOYMENTS,
    kinds.REPLICA_SETS,
    kinds.PODS,
    kinds.ENDPOINT_SLICES,
    kinds.EXPERIMENTS,
    kinds.TRIALS,
    kinds.CONFIG_MAPS,
    kinds.LEASES,
)


@dataclass(frozen=True)
class Change:
    """One change: when it was seen (unix seconds), its place in the API server's order, what happened to what."""

    at: float
    version: int
    type: str  # ADDED | MODIFIED | DELETED
    kind: str  # plural
    object: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def owned(self) -> bool:
        """Is it one of Trimtab's own objects, or of an arm?"""
        return self.kind in ("experiments", "trials") or LABEL_ARM in (self.object["metadata"].get("labels") or {})


class History:
    """Every change of the recorded kinds, or with `most` the last so many of them."""

    def __init__(self, clock: Clock, most: int | None = None) -> None:
        self._clock = clock
        self._changes: deque[Change] = deque(maxlen=most)
        self.listeners: list[Callable[[Change], None]] = []

    def record(self, event: WatchEvent) -> None:
        """Subscribe this to a cluster."""
        if event.kind in RECORDED:
            change = Change(self._clock.now(), event.version, event.type, event.kind.plural, event.object)  # type: ignore[arg-type]
            self._changes.append(change)
            for listener in self.listeners:
                listener(change)

    @property
    def changes(self) -> list[Change]:
        """All of them, in order."""
        return list(self._changes)

    @property
    def owned(self) -> list[Change]:
        """Those of Trimtab's own objects and of arms."""
        return [c for c in self._changes if c.owned]


Existing = dict[str, dict[str, dict[str, Any]]]


def states(changes: Iterable[Change], plurals: Iterable[str] = ()) -> Iterator[tuple[Change, Existing]]:
    """After each change: what exists, as plural -> name -> object."""
    world: Existing = {plural: {} for plural in (*(k.plural for k in RECORDED), *plurals)}
    for change in changes:
        if change.type == "DELETED":
            world[change.kind].pop(change.name, None)
        else:
            world[change.kind][change.name] = change.object
        yield change, world


__all__ = ["RECORDED", "Change", "Existing", "History", "states"]
