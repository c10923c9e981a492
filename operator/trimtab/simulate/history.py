"""What happened in a cluster, change by change, simulated or real: what invariants are checked against."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    kinds.NAMESPACES,
    kinds.HORIZONTAL_POD_AUTOSCALERS,
    kinds.POD_DISRUPTION_BUDGETS,
    kinds.HTTP_ROUTES,
    kinds.SERVICES,
)


@dataclass(frozen=True)
class Change:
    """One change: when it was seen (unix seconds), its place in the API server's order, what happened to what."""

    at: float
    version: int
    type: str  # ADDED | MODIFIED | DELETED
    kind: str  # plural
    object: Mapping[str, Any]

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
        """Subscribe this to a cluster, for the recorded kinds."""
        change = Change(self._clock.now(), event.version, event.type, event.kind.plural, event.object)
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


Objects = dict[str, dict[str, Mapping[str, Any]]]
"""plural -> name -> object. Of objects of one name in several namespaces, the one that came first has the name; the
others are named with their namespace, as `annex/web`."""


class View:
    """What exists after a change."""

    def __init__(self) -> None:
        self.objects: Objects = {}
        self._places: dict[tuple[str, str], str] = {}

    def apply(self, change: Change) -> None:
        """The next change."""
        table, name = self.objects.setdefault(change.kind, {}), self._name(change)
        if change.type == "DELETED":
            table.pop(name, None)
        else:
            table[name] = change.object

    def _name(self, change: Change) -> str:
        namespace = str(change.object["metadata"].get("namespace", ""))
        place = self._places.setdefault((change.kind, change.name), namespace)
        return change.name if place == namespace else f"{namespace}/{change.name}"

    def all(self, kind: str) -> Mapping[str, Mapping[str, Any]]:
        """Objects of a kind by name."""
        return self.objects.get(kind, {})

    def arms(self) -> Iterator[Mapping[str, Any]]:
        """Deployments that are arms, without copies."""
        return (d for d in self._labelled() if not self.is_copy(d))

    def copies(self) -> Iterator[Mapping[str, Any]]:
        """Deployments that look like an arm of another namespace."""
        return filter(self.is_copy, self._labelled())

    def is_copy(self, deployment: Mapping[str, Any]) -> bool:
        """Whether a Deployment of its name came first in another namespace."""
        metadata = deployment["metadata"]
        namespace = str(metadata.get("namespace", ""))
        return self._places.get(("deployments", str(metadata["name"])), namespace) != namespace

    def _labelled(self) -> Iterator[Mapping[str, Any]]:
        return (d for d in self.all("deployments").values() if LABEL_ARM in (d["metadata"].get("labels") or {}))


def views(changes: Iterable[Change]) -> Iterator[tuple[Change, View]]:
    """After each change: what exists. The view is one object that goes along."""
    view = View()
    for change in changes:
        view.apply(change)
        yield change, view


def serving(view: View, suffix: str = "-c-") -> list[str]:
    """Pods of canaries (or with `-b-` of controls) that some EndpointSlice shows ready: those that get traffic."""
    return sorted(
        {
            endpoint["targetRef"]["name"]
            for item in view.all("endpointslices").values()
            for endpoint in item.get("endpoints") or ()
            if (endpoint.get("conditions") or {}).get("ready") is not False
            and endpoint.get("targetRef", {}).get("name", "").startswith("tt-")
            and suffix in endpoint["targetRef"]["name"]
        }
    )


__all__ = ["RECORDED", "Change", "History", "Objects", "View", "serving", "views"]
